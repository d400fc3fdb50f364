"""`to_dicom`: from what a source is to the instances that hold it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from researchpacs.errors import InvalidInputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pydicom import Dataset

__all__ = ["to_dicom"]


def to_dicom(
    source: Any,
    *,
    like: Any = None,
    modality: str | None = None,
    description: str | None = None,
    affine_lps: "ArrayLike | None" = None,
    spacing: "ArrayLike | None" = None,
    attributes: Mapping[str, Any] | None = None,
) -> "list[Dataset]":
    """Make DICOM instances of a volume, picture, document, model or video.

    Parameters
    ----------
    source
        The path of a file, told by its content: NIfTI, PNG, JPEG, PDF, STL (in mm) or MP4 (H.264 High, H.265 Main).
        Or a volume in memory: a DataArray, a numpy array of the shape (slices, rows, columns), a nibabel or SimpleITK
        image. Or a picture: a PIL image, a uint8 or uint16 array of the shape (rows, columns) or (rows, columns, 3).
    like
        What the instances belong to: a study, series, instance or patient of an archive, or a pydicom Dataset. A series
        or an instance also gives the Frame of Reference, a series the grid of an array of its shape.
    modality
        Of a volume ``"CT"`` (values are HU), ``"MR"`` or another, by default its own or that of ``like``. Of a picture
        by default ``"OT"``. Of a video ``"XC"`` (photographic, the default), ``"ES"`` (endoscopic) or ``"GM"``.
    description
        The SeriesDescription; of a document also its title.
    affine_lps
        (4, 4), for an array: voxel index (z, y, x, 1) to LPS mm.
    spacing
        mm along z, y, x, for an array that lies axially with its first voxel at the origin.
    attributes
        Values by DICOM keyword of patient, study, series and equipment. Without ``like`` a PatientID has to be here.

    Returns
    -------
    instances
        Data sets with File Meta Information; one for each slice of a volume, one for all else. Their UIDs derive from
        their whole content: the same call gives the same instances.

    Raises
    ------
    InvalidInputError
        An unknown or damaged source, values that DICOM cannot hold, or nobody to belong to.
    NotFoundError
        There is no such file.
    GeometryError
        A sheared or unknown geometry, or one that is not where ``like`` is.
    UnsupportedError
        A valid source that has no DICOM form here: four dimensions, labels, another codec, sound.
    """
    from researchpacs.convert._identity import completed
    from researchpacs.convert._sources import Wish, drafts_of
    from researchpacs.convert._subject import as_subject

    told = _told(attributes, description)
    subject = as_subject(like, told)
    drafts = drafts_of(source, Wish(subject, modality or "", description or "", affine_lps, spacing))
    return completed(drafts.datasets, subject, told, transfer_syntax=drafts.transfer_syntax)


def _told(attributes: Mapping[str, Any] | None, description: str | None) -> Mapping[str, Any]:
    told = dict(attributes or {}) if isinstance(attributes, Mapping | None) else attributes
    if description is None:
        return told
    if "SeriesDescription" in told:
        raise InvalidInputError("description= is the SeriesDescription; leave that out of attributes=")
    return {**told, "SeriesDescription": description}
