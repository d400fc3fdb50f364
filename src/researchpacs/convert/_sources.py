"""From a source to drafts: what it is, by its type or, of a file, by its content."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from researchpacs.convert._nifti import nifti_voxels
from researchpacs.convert._slices import slice_drafts
from researchpacs.convert._subject import Subject
from researchpacs.convert._volume_sources import array_voxels, image_voxels
from researchpacs.convert._voxels import Voxels
from researchpacs.dicom.foreign import CONVERTIBLE, OPENING_BYTES, foreign_kind
from researchpacs.errors import AccessError, InvalidInputError, NotFoundError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Drafts", "Wish", "drafts_of", "file_kind"]

_MOST_BYTES = 1 << 31
_LONGEST_MODALITY = 16


class Drafts(NamedTuple):
    """Instances of one series without patient and UIDs."""

    datasets: "list[Dataset]"
    transfer_syntax: str = ""
    """Empty for explicit little endian."""


class Wish(NamedTuple):
    """What the user says of the instances to be made."""

    subject: Subject
    modality: str = ""
    title: str = ""
    affine_lps: ArrayLike | None = None
    spacing: ArrayLike | None = None


def drafts_of(source: Any, wish: Wish) -> Drafts:
    """Make drafts of a file or of an object in memory.

    Raises
    ------
    InvalidInputError
        Nothing that is known here, or damaged.
    NotFoundError
        There is no such file.
    """
    _check_modality(wish.modality)
    if isinstance(source, np.ndarray):
        return _array(source, wish)
    if wish.affine_lps is not None or wish.spacing is not None:
        raise InvalidInputError("affine_lps= and spacing= are for numpy arrays; this source has a geometry of its own")
    if isinstance(source, str | os.PathLike):
        return _file(Path(source).expanduser(), wish)
    voxels = image_voxels(source)
    if voxels is not None:
        return _volume(voxels, wish)
    pillow = sys.modules.get("PIL.Image")
    if pillow and isinstance(source, pillow.Image):
        from researchpacs.convert.picture import image_draft

        return _picture(image_draft(source), wish)
    if hasattr(source, "as_stl") and hasattr(source, "frame_of_reference_uid"):
        return _model(source.as_stl(), wish, str(source.frame_of_reference_uid))
    raise InvalidInputError(
        f"cannot convert a {type(source).__name__}; give the path of a file, a DataArray, a numpy array, a Mesh, or an "
        "image of nibabel, SimpleITK or PIL"
    )


def file_kind(path: Path) -> str | None:
    """Name the kind of a file that is no DICOM, by its content.

    Raises
    ------
    NotFoundError, AccessError
        There is no such file, or it must not be read.
    """
    if not path.is_file():
        raise NotFoundError("no such file to convert")
    try:
        with path.open("rb") as file:
            return foreign_kind(file.read(OPENING_BYTES), os.fstat(file.fileno()).st_size)
    except PermissionError as error:
        raise AccessError("no permission to read the file") from error


def _file(path: Path, wish: Wish) -> Drafts:
    kind = file_kind(path)
    if kind == "NIfTI":
        return _volume(nifti_voxels(path), wish)
    if kind not in _OF_CONTENT:
        raise InvalidInputError(
            f"a {kind or 'file of an unknown kind'} cannot be converted; known are {', '.join(sorted(CONVERTIBLE))}. "
            "DICOM itself is ingested as it is"
        )
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise InvalidInputError(f"a {kind} of {size:,} bytes; at most {_MOST_BYTES:,} become one instance")
    return _OF_CONTENT[kind](path.read_bytes(), wish)


def _volume(voxels: Voxels, wish: Wish) -> Drafts:
    modality = wish.modality or voxels.modality or wish.subject.modality
    if not modality:
        raise InvalidInputError(
            "what do the values mean? Give modality='CT' (values in HU), 'MR', or another Modality such as 'OT'"
        )
    return Drafts(slice_drafts(voxels, wish.subject, modality))


def _array(values: "np.ndarray[Any, Any]", wish: Wish) -> Drafts:
    series = wish.subject.series
    placed = wish.affine_lps is not None or wish.spacing is not None
    # No series has three columns: what ends in three is colour, unless it is told where it lies.
    colour = not placed and values.shape[2:] == (3,) and (series is None or values.dtype.name in ("uint8", "uint16"))
    if values.ndim == 2 or colour:
        if placed:
            raise InvalidInputError("a picture has no place in a patient; one slice has the shape (1, rows, columns)")
        from researchpacs.convert.picture import array_draft

        return _picture(array_draft(values), wish)
    return _volume(array_voxels(values, affine_lps=wish.affine_lps, spacing=wish.spacing, series=series), wish)


def _picture(ds: "Dataset", wish: Wish, transfer_syntax: str = "") -> Drafts:
    ds.Modality = wish.modality or ds.Modality
    return Drafts([ds], transfer_syntax)


def _picture_file(content: bytes, wish: Wish) -> Drafts:
    from researchpacs.convert.picture import picture_draft

    ds, transfer_syntax = picture_draft(content)
    return _picture(ds, wish, transfer_syntax)


def _pdf(content: bytes, wish: Wish) -> Drafts:
    from researchpacs.convert.document import pdf_draft, require_whole_pdf

    if wish.modality not in ("", "DOC"):
        raise InvalidInputError(f"modality={wish.modality!r}: that of a document is DOC; leave it out")
    require_whole_pdf(content)
    return _picture(pdf_draft(content, wish.title), wish)


def _model(content: bytes, wish: Wish, frame_of_reference_uid: str = "") -> Drafts:
    from researchpacs.convert.document import model_draft, place_model

    if wish.modality not in ("", "M3D"):
        raise InvalidInputError(f"modality={wish.modality!r}: that of a model is M3D; leave it out")
    ds = model_draft(content, wish.title)
    place_model(ds, wish.subject, frame_of_reference_uid)
    return Drafts([ds])


def _video(content: bytes, wish: Wish) -> Drafts:
    from researchpacs.convert.video import video_draft

    ds, transfer_syntax = video_draft(content, wish.modality or "XC")
    return Drafts([ds], transfer_syntax)


_OF_CONTENT: dict[str | None, Callable[[bytes, Wish], Drafts]] = {
    "JPEG": _picture_file,
    "MP4": _video,
    "PDF": _pdf,
    "PNG": _picture_file,
    "STL": _model,
}


def _check_modality(modality: str) -> None:
    plain = modality.replace("_", "")
    if modality and not (plain.isascii() and plain.isalnum() and plain == plain.upper()):
        raise InvalidInputError(f"modality={modality!r} is no code string such as 'CT' or 'MR'")
    if len(modality) > _LONGEST_MODALITY:
        raise InvalidInputError("a modality has at most 16 characters, such as 'CT' or 'MR'")
