"""One image for each slice of a volume: CT Image (PS3.3 A.3), MR Image (A.4), for all else Secondary Capture (A.8.1).

CT Image and MR Image have attributes that only a scanner knows. Those that may be empty are empty; where a value has to
be, it is the one that claims least: ScanningSequence RM (research mode), SequenceVariant NONE. PET, NM and ultrasound
have no such way out: PT without an isotope and a decay correction would be a lie, so their slices are Secondary Capture
with the same Modality and geometry, which every reader of volumes takes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage, SecondaryCaptureImageStorage

from researchpacs.convert._grid import Grid, corners_lps, grid_of, require_overlap
from researchpacs.convert._subject import Subject
from researchpacs.convert._voxels import Stored, Voxels, quantise
from researchpacs.errors import GeometryError, InvalidInputError

__all__ = ["slice_drafts"]

_LONGEST_TYPE = 16
_EXACT = "every value kept"


def slice_drafts(voxels: Voxels, subject: Subject, modality: str) -> list[Dataset]:
    """Make the images of a volume, in the order of its slices, without patient and UIDs.

    Parameters
    ----------
    voxels
        The volume.
    subject
        Gives the Frame of Reference where it is that of a series.
    modality
        ``"CT"``: values are Hounsfield units.

    Raises
    ------
    GeometryError
        Sheared, not finite, or in another Frame of Reference than the series it shall be like.
    InvalidInputError
        Values that are no finite real numbers, or stored ones where HU are meant.
    """
    if modality == "CT" and not voxels.is_rescaled:
        raise InvalidInputError("the volume has stored values, not HU; open it with rescale=True")
    stored = quantise(voxels)
    grid = grid_of(voxels.affine_lps, stored.values.shape, spacing_z_known=voxels.spacing_z_known)
    frame = _frame_of_reference(voxels, subject)
    module, sop_class, image_type = _KINDS.get(modality, _OTHER)
    drafts = []
    for k, position in enumerate(grid.positions):
        ds = Dataset()
        ds.SOPClassUID, ds.Modality, ds.ImageType = sop_class, modality, list(image_type)
        _place(ds, grid, position, frame, subject)
        _pixels(ds, stored, stored.values[k])
        if 1 < len(voxels.units) <= _LONGEST_TYPE:
            ds.RescaleType = voxels.units
        module(ds)
        ds.DerivationDescription = _derivation(voxels, stored)
        drafts.append(ds)
    return drafts


def _frame_of_reference(voxels: Voxels, subject: Subject) -> str:
    """Name the Frame of Reference, empty for a new one."""
    told = str(subject.of_series.get("FrameOfReferenceUID") or "")
    if voxels.of_like or not told:
        return voxels.frame_of_reference_uid
    if voxels.frame_of_reference_uid not in ("", told):
        raise GeometryError(
            f"the volume is in Frame of Reference ...{voxels.frame_of_reference_uid[-12:]}, the series in like= in "
            f"...{told[-12:]}; give its own series, or the study, as like="
        )
    if not voxels.in_patient:
        raise GeometryError(
            f"{voxels.origin} is in the coordinates of a template (Talairach or MNI), not of the series in like=; "
            "give the study as like="
        )
    if subject.series is not None:
        require_overlap(corners_lps(voxels.affine_lps, voxels.values.shape), subject.series, voxels.origin)
    return told


def _place(ds: Dataset, grid: Grid, position: tuple[str, ...], frame: str, subject: Subject) -> None:
    for element in subject.of_series:
        ds[element.tag] = element
    if "PatientPosition" not in ds:
        ds.PatientPosition = None
    ds.FrameOfReferenceUID = frame
    if "PositionReferenceIndicator" not in ds:
        ds.PositionReferenceIndicator = None
    ds.ImagePositionPatient, ds.ImageOrientationPatient = list(position), list(grid.orientation)
    ds.PixelSpacing = list(grid.pixel_spacing)
    ds.SliceThickness = None
    if grid.spacing_z:
        ds.SpacingBetweenSlices = grid.spacing_z


def _pixels(ds: Dataset, stored: Stored, plane: NDArray[Any]) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = plane.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(plane.dtype.kind == "i")
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = stored.slope, stored.intercept, "US"
    ds.PixelData = np.ascontiguousarray(plane).tobytes()
    ds["PixelData"].VR = "OW"


def _ct(ds: Dataset) -> None:
    ds.RescaleType = "HU"
    ds.AcquisitionNumber = ds.KVP = None


def _mr(ds: Dataset) -> None:
    ds.ScanningSequence, ds.SequenceVariant = "RM", "NONE"
    ds.ScanOptions = ds.MRAcquisitionType = ds.EchoTime = ds.RepetitionTime = ds.EchoTrainLength = None
    if (ds.RescaleSlope, ds.RescaleIntercept) == (1, 0):
        # MR Image has no Modality LUT; where it would say nothing, it is not there.
        del ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType


def _other(ds: Dataset) -> None:
    ds.ConversionType = "WSD"
    cosines = np.array(ds.ImageOrientationPatient, np.float64).reshape(2, 3)
    ds.PatientOrientation = [_letters(cosine) for cosine in cosines]
    del ds.SliceThickness, ds.PatientPosition


def _letters(cosine: NDArray[np.float64]) -> str:
    """Name a direction in the patient, such as ``"L"`` or ``"PL"`` (PS3.3 C.7.6.1.1.1)."""
    order = np.argsort(-np.abs(cosine), kind="stable")
    return "".join(("LR", "PA", "HF")[axis][int(cosine[axis] < 0)] for axis in order if abs(cosine[axis]) > 0.01)


_Kind = tuple[Callable[[Dataset], None], str, tuple[str, ...]]
_KINDS: Mapping[str, _Kind] = {
    "CT": (_ct, CTImageStorage, ("DERIVED", "SECONDARY", "AXIAL")),
    "MR": (_mr, MRImageStorage, ("DERIVED", "SECONDARY", "OTHER")),
}
_OTHER: _Kind = (_other, SecondaryCaptureImageStorage, ("DERIVED", "SECONDARY"))


def _derivation(voxels: Voxels, stored: Stored) -> str:
    kept = f"rounded to 16 bits, at most {stored.error:.3g} off" if stored.error else _EXACT
    return f"Converted from {voxels.origin}: {kept}"
