"""Contours as an RT structure set (PS3.3 A.19).

Written in implicit VR: a contour of more than some thousand points has no room in the explicit form (PS3.5 6.2.2).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import UID, ImplicitVRLittleEndian

from researchpacs.annotation._header import UNIDENTIFIED, Source, content_time, copy_subject
from researchpacs.annotation.contour import Contour
from researchpacs.dicom.codes import Code
from researchpacs.dicom.rtstruct import SOP_CLASSES
from researchpacs.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

__all__ = ["compose"]

_SERIES_NUMBER = 9003
_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management, retired; the Standard still asks for it here (PS3.3 C.8.8.5.4)."""
_CONTOUR_DATA = Tag(0x3006, 0x0050)
_DECIMALS = 6
_ON_PLANE_MM = 0.02
_LONGEST = 1024


def compose(contours: Sequence[Contour], source: Source) -> Dataset:
    """Make a structure set of contours of one series and one author, all but its UIDs.

    Raises
    ------
    UnsupportedError
        The series has no Frame of Reference.
    """
    day, time = content_time([one.created_at for one in contours], source.header)
    ds = Dataset()
    (ds.SOPClassUID,) = SOP_CLASSES
    ds.SOPInstanceUID = ds.SeriesInstanceUID = UNIDENTIFIED
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.Modality, ds.SeriesNumber, ds.SeriesDescription = "RTSTRUCT", _SERIES_NUMBER, "Contours"
    ds.OperatorsName = None
    ds.Manufacturer, ds.ManufacturerModelName = "researchpacs", "researchpacs contours"
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        setattr(ds, keyword, None)
    ds.AccessionNumber = ds.ReferringPhysicianName = None
    copy_subject(source.header, ds)
    ds.InstanceNumber = 1
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "CONTOURS", day, time
    history = dict.fromkeys(line for one in contours for line in one.history)
    if history:
        ds.StructureSetDescription = "; ".join(history)[:_LONGEST]
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = source.frame_of_reference_uid, None
    ds.ReferencedFrameOfReferenceSequence = [_referenced(source)]
    images = _Images(source)
    ds.StructureSetROISequence = [_region(at, one, source) for at, one in enumerate(contours, start=1)]
    ds.ROIContourSequence = [_drawn(at, one, images) for at, one in enumerate(contours, start=1)]
    ds.RTROIObservationsSequence = [_observed(at, one) for at, one in enumerate(contours, start=1)]
    ds.ApprovalStatus = "UNAPPROVED"
    ds.file_meta = _file_meta(ds)
    return ds


def _region(number: int, one: Contour, source: Source) -> Dataset:
    roi = Dataset()
    roi.ROINumber = number
    roi.ReferencedFrameOfReferenceUID = source.frame_of_reference_uid
    roi.ROIName = one.label
    roi.ROIGenerationAlgorithm = "AUTOMATIC" if one.algorithm else "MANUAL"
    if one.algorithm:
        roi.ROIGenerationDescription = one.algorithm[:_LONGEST]
    return roi


def _observed(number: int, one: Contour) -> Dataset:
    observed = Dataset()
    observed.ObservationNumber = observed.ReferencedROINumber = number
    if one.type:
        observed.RTROIIdentificationCodeSequence = [_coded(one.type)]
    observed.RTROIInterpretedType = one.roi_type
    observed.ROIInterpreter = one.author if one.author is None or "^" in one.author else f"{one.author}^"
    return observed


def _coded(code: Code) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = code.value, code.scheme, code.meaning
    return ds


def _drawn(number: int, one: Contour, images: "_Images") -> Dataset:
    roi = Dataset()
    if one.colour:
        roi.ROIDisplayColor = list(one.colour)
    roi.ContourSequence = [_contour(at, points, images) for at, points in enumerate(one.points_lps, start=1)]
    roi.ReferencedROINumber = number
    return roi


def _contour(number: int, points: NDArray[np.float64], images: "_Images") -> Dataset:
    contour = Dataset()
    met = images.at(points[0])
    if met:
        contour.ContourImageSequence = met
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(points)
    contour.ContourNumber = number
    # As decimal strings of pydicom, hundreds of thousands of points would take minutes.
    text = "\\".join(_decimal(value) for value in points.ravel().tolist()).encode()
    text += b" " * (len(text) % 2)
    contour[_CONTOUR_DATA] = RawDataElement(_CONTOUR_DATA, "DS", len(text), text, 0, True, True)
    return contour


def _decimal(value: float) -> str:
    text = f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _referenced(source: Source) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = source.header.SeriesInstanceUID
    series.ContourImageSequence = [
        _image(uid, None, source) for uid in dict.fromkeys(frame.sop_uid for frame in source.frames)
    ]
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_MANAGEMENT
    study.ReferencedSOPInstanceUID = source.header.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = source.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    return frame


class _Images:
    """The images of a series by where they are."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._frames = [one for one in source.frames if one.position and one.orientation]
        self._positions = np.array([one.position for one in self._frames]).reshape(-1, 3)
        right_down = np.array([one.orientation for one in self._frames]).reshape(-1, 2, 3)
        self._normals = np.cross(right_down[:, 0], right_down[:, 1])

    def at(self, point: NDArray[np.float64]) -> list[Dataset]:
        """Those whose plane a point is in."""
        off = np.abs(((point - self._positions) * self._normals).sum(axis=1))
        found = [self._frames[at] for at in np.flatnonzero(off <= _ON_PLANE_MM)]
        return [
            _image(one.sop_uid, one.index + 1 if one.layout.number_of_frames > 1 else None, self._source)
            for one in found
        ]


def _image(uid: str, frame_number: int | None, source: Source) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = source.sop_class(uid), uid
    if frame_number is not None:
        image.ReferencedFrameNumber = frame_number
    return image


def _file_meta(ds: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta
