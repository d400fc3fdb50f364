"""NIfTI files and images (NIfTI-1 and -2): RAS mm, axes (i, j, k) that become (column, row, slice) voxel for voxel."""

import gzip
import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from researchpacs.convert._voxels import Voxels
from researchpacs.errors import GeometryError, InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from io import IOBase

    import nibabel as nib

__all__ = ["nifti_image_voxels", "nifti_voxels"]

_MOST_BYTES = 8 << 30
_DEFLATE_RATIO = 1032
"""The most that deflate can do: more is a lie of the header."""
_LABELS = 1002
_APART_MM = 1.0
_OF_PATIENT = (1, 2)
"""Codes of affines in the coordinates of the scanner, or of another image of the patient; 3 and more are templates."""
_TO_MM = {1: 1000.0, 3: 0.001}
"""By code of the unit of length: metres and micrometres; all else, unknown too, is meant as mm."""
_UNIT_OF_LENGTH = 0x07
_DAMAGED = (OSError, EOFError, ValueError, zlib.error, OverflowError)


def nifti_voxels(path: Path) -> Voxels:
    """Read a ``.nii`` or ``.nii.gz``, whatever its name is.

    Raises
    ------
    InvalidInputError
        Damaged, truncated, or a header that promises more than the file can hold.
    UnsupportedError
        More than three dimensions, colour, labels, or a pair of files.
    GeometryError
        No affine to patient coordinates.
    """
    try:
        # Numbers of a damaged affine may be signalling: they are refused below, with a reason.
        with path.open("rb") as file, np.errstate(all="ignore"):
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = cast("IOBase", gzip.GzipFile(fileobj=file) if packed else file)
            image = _parsed(stream)
            _require_room(image, path.stat().st_size, packed=packed)
            return nifti_image_voxels(image)
    except InvalidInputError:
        raise
    except _DAMAGED as error:
        raise InvalidInputError("the NIfTI file is damaged or truncated") from error


def nifti_image_voxels(image: "nib.Nifti1Pair") -> Voxels:
    """Take the values of a nibabel image as they are stored, with its slope, and its affine.

    Raises
    ------
    UnsupportedError, GeometryError
        As `nifti_voxels`.
    """
    header = image.header
    if int(header["intent_code"]) == _LABELS:
        raise UnsupportedError("the NIfTI file holds labels; these become a segmentation (SEG), never images")
    shape = _three(image.shape)
    affine, in_patient = _affine_ras(image)
    stored = image.dataobj
    raw: NDArray[Any] = np.asanyarray(stored.get_unscaled() if hasattr(stored, "get_unscaled") else stored)
    if raw.dtype.names:
        raise UnsupportedError("the NIfTI file is in colour; a volume has one value per voxel")
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return Voxels(
        values=raw.reshape(shape).T,
        affine_lps=to_lps[:, [2, 1, 0, 3]],
        origin="a NIfTI file",
        slope=float(getattr(stored, "slope", 1.0)),
        intercept=float(getattr(stored, "inter", 0.0)),
        in_patient=in_patient,
    )


def _parsed(stream: "IOBase") -> "nib.Nifti1Pair":
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    start = stream.read(348)
    stream.seek(0)
    kind = nib.Nifti2Image if 540 in (int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")) else None
    magic = start[4:7] if kind else start[344:347]
    if magic.startswith(b"ni"):
        raise UnsupportedError("one half of a NIfTI pair (.hdr and .img); save it as one .nii file")
    try:
        return (kind or nib.Nifti1Image).from_stream(stream)
    except (ImageFileError, HeaderDataError) as error:
        raise InvalidInputError("the header of the NIfTI file is damaged") from error


def _require_room(image: "nib.Nifti1Pair", size: int, *, packed: bool) -> None:
    """Refuse a header that promises more voxels than the file can have, before any is read."""
    wanted = math.prod(image.shape) * image.get_data_dtype().itemsize
    if wanted > _MOST_BYTES:
        raise InvalidInputError(f"the NIfTI file declares {wanted:,} bytes of voxels; at most {_MOST_BYTES:,} are read")
    if min(image.shape, default=0) < 1 or wanted > size * (_DEFLATE_RATIO if packed else 1):
        raise InvalidInputError("the NIfTI file is damaged or truncated: its header declares more than it can hold")


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    if math.prod(shape[3:]) > 1:
        raise UnsupportedError(
            f"the NIfTI file has {len(shape)} dimensions {shape}; convert one volume at a time, "
            "as with nibabel.load(path).slicer[..., 0]"
        )
    i, j, k = (*shape[:3], 1, 1, 1)[:3]
    return i, j, k


def _affine_ras(image: "nib.Nifti1Pair") -> tuple[NDArray[np.float64], bool]:
    """Choose the affine: the sform, unless it is of a template and the qform is the patient's own."""
    header = image.header
    codes = {name: int(header[f"{name}_code"]) for name in ("sform", "qform")}
    known = [name for name, code in codes.items() if code > 0]
    if not known:
        raise GeometryError(
            "the NIfTI file has no affine (sform and qform code are 0), so nobody knows which side is left; "
            "pass its values as an array with affine_lps="
        )
    name = next((name for name in known if codes[name] in _OF_PATIENT), known[0])
    if codes["sform"] == codes["qform"] and _apart(image.shape, header.get_sform(), header.get_qform()) > _APART_MM:
        raise GeometryError(
            "the NIfTI file has two affines, sform and qform, which claim the same space and disagree; "
            "pass its values as an array with affine_lps="
        )
    affine = np.array(header.get_sform() if name == "sform" else header.get_qform(), np.float64)
    affine[:3] *= _TO_MM.get(int(header["xyzt_units"]) & _UNIT_OF_LENGTH, 1.0)
    return affine, codes[name] in _OF_PATIENT


def _apart(shape: tuple[int, ...], one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """How far two affines place a corner voxel apart, in the file's unit."""
    last = np.append(np.array((*shape[:3], 1, 1, 1)[:3]) - 1, 1)
    corners = np.array([[0, 0, 0, 1], *(last * [*axis, 1] for axis in np.eye(3)), last])
    return float(np.abs((one - other) @ corners.T).max())
