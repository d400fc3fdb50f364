"""A segmentation as a DICOM data set, through highdicom.

Frames are whole frames of the series where the masks are on its grid, and refer to the instances they were drawn on.
"""

from collections.abc import Sequence
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code as CodedEntry
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless
from pydicom.valuerep import DS

from researchpacs.annotation._header import UNIDENTIFIED, Source, content_time, copy_subject
from researchpacs.annotation._segment_values import STEPS
from researchpacs.annotation._segment_voxels import Made, Part, plane_at
from researchpacs.annotation._source_planes import Canvas, canvas_of
from researchpacs.annotation.segmentation import Segmentation
from researchpacs.dicom import codes
from researchpacs.dicom.codes import Code
from researchpacs.dicom.seg import Plane, Segment
from researchpacs.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from researchpacs.model import Frame

__all__ = ["compose"]

_SERIES_NUMBER = 9002
_MODEL = "researchpacs segmentation"
_LONGEST = 1024
"""Characters of a Derivation Description (VR ST)."""
_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"

_TISSUE = Code("85756007", "SCT", "Tissue")
_ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
_SEGMENTATION = CodedEntry("113076", "DCM", "Segmentation")
_MORPHOLOGIES = frozenset({codes.CYST, codes.LESION, codes.MASS, codes.NEOPLASM, codes.NODULE})


def compose(one: Segmentation, voxels: Made, source: Source) -> Dataset:
    """Make a segmentation, all but its UIDs.

    Raises
    ------
    UnsupportedError
        The series has no Frame of Reference.
    """
    source.frame_of_reference_uid  # noqa: B018 - refuses a series without
    first, last = _extent(voxels.parts)
    planes = [plane_at(voxels.volume, (z, 0, 0), None) for z in range(first, last)]
    canvas = canvas_of(planes, (voxels.volume.shape[1], voxels.volume.shape[2]), source.frames)
    day, time = content_time([one.created_at], source.header)
    ds = hd.seg.Segmentation(
        source_images=[_stand_in(at, plane, canvas, source.header) for at, plane in enumerate(planes)],
        pixel_array=_pixels(one, voxels.parts, canvas, first, last),
        segmentation_type=one.kind,
        segment_descriptions=[_description(segment) for segment in one.segments],
        series_instance_uid=UNIDENTIFIED,
        series_number=_SERIES_NUMBER,
        sop_instance_uid=UNIDENTIFIED,
        instance_number=1,
        manufacturer="researchpacs",
        manufacturer_model_name=_MODEL,
        software_versions="researchpacs",
        device_serial_number="1",
        series_description="Segmentation",
        max_fractional_value=STEPS,
        content_label="SEGMENTATION",
        content_creator_name=_person(one.author),
        transfer_syntax_uid=RLELossless if one.rle else ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
        content_date=day,
        content_time=time,
    )
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "ContributingEquipmentSequence"):
        ds.pop(keyword, None)
    copy_subject(source.header, ds)
    _refer(ds, canvas, source)
    if one.history:
        ds.DerivationDescription = "; ".join(one.history)[:_LONGEST]
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    ds.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return ds


def _extent(parts: Sequence[Part]) -> tuple[int, int]:
    filled = [part for part in parts if part.values.size]
    return min(part.origin[0] for part in filled), max(part.origin[0] + len(part.values) for part in filled)


def _pixels(one: Segmentation, parts: Sequence[Part], canvas: Canvas, first: int, last: int) -> NDArray[Any]:
    """Labels in one array where segments do not meet, which takes least; else an array for each."""
    shape = (last - first, canvas.rows, canvas.columns)
    if one.kind == "LABELMAP":
        labels = np.zeros(shape, parts[0].values.dtype)
        labels[_box(parts[0], canvas, first)] = parts[0].values
        return labels
    if one.kind == "BINARY":
        labels = np.zeros(shape, np.uint8 if len(parts) < 256 else np.uint16)
        if all(_put(labels[_box(part, canvas, first)], part) for part in parts):
            return labels
    stack: NDArray[Any] = np.zeros((*shape, len(parts)), np.float32 if one.kind == "FRACTIONAL" else np.bool_)
    for at, part in enumerate(parts):
        z, y, x = _box(part, canvas, first)
        stack[z, y, x, at] = part.values / np.float32(STEPS) if one.kind == "FRACTIONAL" else part.values
    return stack


def _put(box: NDArray[Any], part: Part) -> bool:
    """Write the number of a segment where nothing else is; False where something is."""
    inside = part.values != 0
    if box[inside].any():
        return False
    box[inside] = part.number
    return True


def _box(part: Part, canvas: Canvas, first: int) -> tuple[slice, slice, slice]:
    z, y, x = part.origin
    z, y, x = (z - first, y + canvas.origin[0], x + canvas.origin[1]) if part.values.size else (0, 0, 0)
    depth, rows, columns = part.values.shape
    return slice(z, z + depth), slice(y, y + rows), slice(x, x + columns)


def _description(segment: Segment) -> hd.seg.SegmentDescription:
    what = segment.type or _TISSUE
    identification = None
    if segment.algorithm:
        name, _, version = segment.algorithm.rpartition(" ")
        identification = hd.AlgorithmIdentificationSequence(name=name, family=_SEGMENTATION, version=version)
    return hd.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=segment.label or "",
        segmented_property_category=_coded(segment.category or _category(segment.type)),
        segmented_property_type=_coded(what),
        algorithm_type=segment.algorithm_type or "MANUAL",
        algorithm_identification=identification,
        anatomic_regions=[_coded(segment.site)] if segment.site else None,
    )


def _category(what: Code | None) -> Code:
    if what is None:
        return _TISSUE
    return _ABNORMAL if what in _MORPHOLOGIES else _ANATOMY


def _coded(code: Code) -> CodedEntry:
    return CodedEntry(code.value, code.scheme, code.meaning)


def _person(author: str | None) -> str | None:
    # A name of one part is marked by a caret, or it could be meant for more than one (PS3.5 6.2.1.2).
    return None if author is None else author if "^" in author else f"{author}^"


# -- what it was drawn on ----------------------------------------------------------------------------------------------


def _stand_in(at: int, plane: Plane, canvas: Canvas, header: Dataset) -> Dataset:
    """An image of one plane, for highdicom to take its geometry from; `_refer` puts the real ones in its place."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = _CT_IMAGE, f"2.25.{at}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = header.StudyInstanceUID, header.SeriesInstanceUID
    ds.FrameOfReferenceUID = header.FrameOfReferenceUID
    ds.PositionReferenceIndicator = header.get("PositionReferenceIndicator")
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        setattr(ds, keyword, "")
    ds.StudyDate = ds.StudyTime = None
    ds.Rows, ds.Columns = canvas.rows, canvas.columns
    ds.ImageOrientationPatient = _decimals(canvas.orientation)
    ds.ImagePositionPatient = _decimals(canvas.positions[at])
    ds.PixelSpacing = _decimals(canvas.pixel_spacing)
    # What a voxel is thick is not known: of the image it is what the image says, and readers ask for some number.
    ds.SliceThickness = header.get("SliceThickness") or (_decimals([plane.between_mm])[0] if plane.between_mm else None)
    if plane.between_mm:
        ds.SpacingBetweenSlices = _decimals([plane.between_mm])[0]
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if header.get(keyword):
            setattr(ds, keyword, header[keyword].value)
    return ds


def _refer(ds: Dataset, canvas: Canvas, source: Source) -> None:
    """Name the frames of the series that each plane was drawn on, and its instances."""
    by_stand_in = {f"2.25.{at}": frames for at, frames in enumerate(canvas.frames)}
    # Frames of several segments share items, so all are read before one is changed.
    found = [(frame, _derivation(frame)) for frame in ds.PerFrameFunctionalGroupsSequence]
    uids_of = [str(one.SourceImageSequence[0].ReferencedSOPInstanceUID) if one else "" for _, one in found]
    for (frame, derivation), uid in zip(found, uids_of, strict=True):
        if derivation is None:
            continue
        if met := by_stand_in[uid]:
            derived = Dataset()
            derived.update(derivation)
            derived.SourceImageSequence = [_image(derivation.SourceImageSequence[0], one, source) for one in met]
            frame.DerivationImageSequence = [derived]
        else:
            del frame.DerivationImageSequence
    met_uids = dict.fromkeys(frame.sop_uid for frames in canvas.frames for frame in frames)
    uids = met_uids or dict.fromkeys(frame.sop_uid for frame in source.frames)
    series = Dataset()
    series.SeriesInstanceUID = source.header.SeriesInstanceUID
    series.ReferencedInstanceSequence = [_instance(uid, source) for uid in uids]
    ds.ReferencedSeriesSequence = [series]


def _derivation(frame: Dataset) -> Dataset | None:
    return next(iter(frame.get("DerivationImageSequence") or ()), None)


def _image(pattern: Dataset, frame: Frame, source: Source) -> Dataset:
    image = Dataset()
    image.update(pattern)
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = source.sop_class(frame.sop_uid), frame.sop_uid
    if frame.layout.number_of_frames > 1:
        image.ReferencedFrameNumber = frame.index + 1
    return image


def _instance(uid: str, source: Source) -> Dataset:
    instance = Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = source.sop_class(uid), uid
    return instance


def _decimals(values: Sequence[float]) -> list[Any]:
    # Rounded to a picometre: what is left of a zero would only make strings long.
    return [DS(round(float(value), 9) + 0.0, auto_format=True) for value in values]
