"""Registrations as Spatial Registration objects (PS3.3 A.39.1, C.20.2) and back.

Their matrices take points of a registered Frame of Reference to that of the object, here the fixed one.
"""

import hashlib
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from researchpacs.dicom.make import file_meta_of, set_empty
from researchpacs.dicom.uids import derived_uid
from researchpacs.errors import GeometryError, InvalidInputError, UnsupportedError

if TYPE_CHECKING:
    from researchpacs.reconstruct.registration import Kind, Registration

__all__ = ["Source", "compose", "parse"]

Floats = NDArray[np.floating[Any]]

SPATIAL_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.1"
SERIES_NUMBER = 9101
UNIDENTIFIED = "2.25.0"
"""Stands for the UIDs until the content is complete."""
KEPT = (
    "SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
    "PatientIdentityRemoved", "DeidentificationMethod", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID",
    "StudyDescription", "AccessionNumber", "ReferringPhysicianName", "TimezoneOffsetFromUTC",
)  # fmt: skip
"""What is repeated of the images' headers."""
_CODES = {"same": ("125021", "Frame of Reference Identity"), "content": ("125024", "Image Content-based Alignment")}
"""Of CID 7100."""
_RIGID = 1e-4
"""How far a matrix may be off a rotation: decimal strings have 16 characters."""


class _Instances(Protocol):
    @property
    def instances(self) -> Sequence[Any]:
        """Each with `header()`."""
        ...


Source = _Instances | Sequence[Dataset]
"""A handle of a series, or headers of its instances."""


def compose(registration: "Registration", moving: Source, fixed: Source) -> Dataset:
    """Make the object of a registration."""
    if registration.deformation is not None:
        raise UnsupportedError(
            "a B-spline registration is no Spatial Registration; apply it and keep the volume, or register 'affine'"
        )
    headers = [_headers(one, name) for one, name in ((fixed, "fixed"), (moving, "moving"))]
    uids = (registration.fixed_frame_of_reference_uid, registration.moving_frame_of_reference_uid)
    for found, uid, name in zip(headers, uids, ("fixed", "moving"), strict=True):
        _require_frame(found, uid, name)
    ds = Dataset()
    for keyword in KEPT:
        if keyword in headers[0][0]:
            ds[keyword] = headers[0][0][keyword]
    ds.SOPClassUID = SPATIAL_REGISTRATION
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "REG", SERIES_NUMBER, 1
    ds.SeriesDescription, ds.Laterality = "Registration", ""
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uids[0], ""
    ds.Manufacturer, ds.ManufacturerModelName = "researchpacs", "researchpacs"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.ContentDate = headers[0][0].get("StudyDate") or "19000101"
    ds.ContentTime = headers[0][0].get("StudyTime") or "000000"
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "REGISTRATION", registration.kind, ""
    matrix = registration.moving_to_fixed
    ds.RegistrationSequence = [
        _item(headers[0], uids[0], np.eye(4), "RIGID", "same"),
        _item(headers[1], uids[1], matrix, "RIGID" if registration.kind == "rigid" else "AFFINE", "content"),
    ]
    _set_references(ds, headers)
    set_empty(ds)
    return _identified(ds)


def parse(ds: Dataset, fixed_uid: str) -> tuple["Kind", Floats, str]:
    """Read where the one moving frame of a registration is.

    Returns
    -------
    kind, moving_to_fixed, uid
        (4, 4) LPS mm, and the moving Frame of Reference.
    """
    if ds.get("SOPClassUID") != SPATIAL_REGISTRATION:
        raise InvalidInputError("the data set is no Spatial Registration (1.2.840.10008.5.1.4.1.1.66.1)")
    if ds.get("FrameOfReferenceUID") != fixed_uid:
        raise GeometryError(
            f"the object registers to Frame of Reference ...{str(ds.get('FrameOfReferenceUID'))[-8:]}, "
            f"the volume is in ...{fixed_uid[-8:]}"
        )
    found = [
        (str(item.get("FrameOfReferenceUID") or ""), _matrix_of(item)) for item in ds.get("RegistrationSequence") or ()
    ]
    moved = [one for one in found if one[0] != fixed_uid or not np.allclose(one[1], np.eye(4), rtol=0, atol=1e-9)]
    if len(moved) != 1 or not moved[0][0]:
        raise InvalidInputError(
            f"the registration has {len(moved)} moving frames of a known Frame of Reference; expected one"
        )
    ((uid, matrix),) = moved
    turn = matrix[:3, :3]
    is_rigid = np.abs(turn.T @ turn - np.eye(3)).max() < _RIGID and np.linalg.det(turn) > 0
    return ("rigid" if is_rigid else "affine"), matrix, uid


def _matrix_of(item: Dataset) -> Floats:
    """All matrices of an item, one after the other (PS3.3 C.20.2.1.1)."""
    matrix = np.eye(4)
    for group in item.get("MatrixRegistrationSequence") or ():
        for one in group.get("MatrixSequence") or ():
            values = np.array(one.get("FrameOfReferenceTransformationMatrix") or (), np.float64)
            if values.shape != (16,) or not np.isfinite(values).all() or not np.allclose(values[12:], [0, 0, 0, 1]):
                raise InvalidInputError("a matrix of the registration is no (4, 4) of finite numbers ending in 0 0 0 1")
            matrix = values.reshape(4, 4) @ matrix
    if abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
        raise InvalidInputError("a matrix of the registration cannot be inverted")
    return matrix


def _headers(source: Source, name: str) -> list[Dataset]:
    if isinstance(source, Sequence):
        headers = list(source)
    else:
        headers = [one.header() for one in getattr(source, "instances", ())]
    if not headers or not all(isinstance(one, Dataset) for one in headers):
        raise InvalidInputError(f"{name}: expected a series of at least one instance, or headers of its instances")
    if len({(one.get("StudyInstanceUID"), one.get("SeriesInstanceUID")) for one in headers}) != 1:
        raise InvalidInputError(f"{name}: the instances are of more than one series")
    return headers


def _require_frame(headers: list[Dataset], uid: str, name: str) -> None:
    found = {str(one.get("FrameOfReferenceUID") or "") for one in headers}
    if found != {uid}:
        others = ", ".join(f"...{one[-8:]}" for one in sorted(found)) or "none"
        raise InvalidInputError(
            f"{name}: registered was Frame of Reference ...{uid[-8:]}, the instances are in {others}"
        )


def _item(headers: list[Dataset], uid: str, matrix: Floats, kind: str, code: str) -> Dataset:
    item, group, one = Dataset(), Dataset(), Dataset()
    one.FrameOfReferenceTransformationMatrixType = kind
    one.FrameOfReferenceTransformationMatrix = [format_number_as_ds(float(v) + 0.0) for v in matrix.ravel()]
    group.MatrixSequence = [one]
    group.RegistrationTypeCodeSequence = [_code(*_CODES[code])]
    item.FrameOfReferenceUID = uid
    item.ReferencedImageSequence = [_reference(header) for header in headers]
    item.MatrixRegistrationSequence = [group]
    return item


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _reference(header: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = header.SOPClassUID
    reference.ReferencedSOPInstanceUID = header.SOPInstanceUID
    return reference


def _set_references(ds: Dataset, headers: list[list[Dataset]]) -> None:
    """Common Instance Reference (PS3.3 C.12.2): series of the study of the object, and of other studies."""
    own: list[Dataset] = []
    others: dict[str, list[Dataset]] = {}
    series = {found[0].SeriesInstanceUID: found for found in headers}
    for uid, found in series.items():
        item = Dataset()
        item.SeriesInstanceUID = uid
        item.ReferencedInstanceSequence = [_reference(header) for header in found]
        study = str(found[0].StudyInstanceUID)
        (own if study == ds.StudyInstanceUID else others.setdefault(study, [])).append(item)
    ds.ReferencedSeriesSequence = own
    if others:
        ds.StudiesContainingOtherReferencedInstancesSequence = []
        for study, items in others.items():
            item = Dataset()
            item.StudyInstanceUID, item.ReferencedSeriesSequence = study, items
            ds.StudiesContainingOtherReferencedInstancesSequence.append(item)


def _identified(ds: Dataset) -> Dataset:
    """Give an object the UIDs that its bytes without UIDs hash to."""
    ds.SOPInstanceUID = ds.SeriesInstanceUID = UNIDENTIFIED
    digest = hashlib.sha256(_written(ds)).hexdigest()
    ds.SOPInstanceUID = derived_uid("registration", digest)
    ds.SeriesInstanceUID = derived_uid("registration series", digest)
    return dcmread(BytesIO(_written(ds)))


def _written(ds: Dataset) -> bytes:
    ds.file_meta = file_meta_of(ds, ExplicitVRLittleEndian)
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
