"""De-identification: whatever kind of attribute may name a patient is gone, wherever it stands; the image stays."""

import warnings
from collections.abc import Iterator

import pytest
from pydicom import DataElement, Dataset
from pydicom.datadict import DicomDictionary, tag_for_keyword

from researchpacs.dicom.deidentify import deidentify
from researchpacs.errors import UnsupportedError
from researchpacs.testing import small_ct

TOLD = {
    "AE": "TOLD", "AS": "030Y", "DA": "20200101", "DT": "20200101101010", "LO": "told", "LT": "told", "PN": "Told^Told",
    "SH": "told", "ST": "told", "TM": "101010", "UC": "told", "UI": "1.2.3.4", "UR": "http://told", "UT": "told",
}  # fmt: skip
SAID_BY_KIND = {"AE", "AS", "DA", "DT", "LT", "PN", "ST", "TM", "UI", "UR", "UT"}
DOCUMENTS = ("ContentSequence", "EncapsulatedDocument", "GraphicAnnotationSequence")
CODES = {"LongCodeValue", "URNCodeValue"}


def _everything() -> Dataset:
    """A CT image with every text attribute that the data dictionary has."""
    ds = small_ct()
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr in TOLD and keyword and tag not in ds and tag >> 16 not in (0, 2, 4) and keyword not in DOCUMENTS:
            ds[tag] = DataElement(tag, vr, TOLD[vr])
    return ds


def _elements(ds: Dataset) -> Iterator[DataElement]:
    for element in ds:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from _elements(item)


def _cleaned(ds: Dataset, **options: object) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        deidentify(ds, new_uid=lambda uid: f"2.25.{sum(uid.encode())}", **options)  # type: ignore[arg-type]
    return ds


def test_persons_dates_ages_places_and_free_text_go_whatever_they_are_called() -> None:
    inner = _everything()
    ds = _everything()
    ds.SharedFunctionalGroupsSequence = [inner]
    for element in _elements(_cleaned(ds)):
        if element.VR in SAID_BY_KIND and element.keyword not in CODES | {"TrackingID"}:
            assert element.value in (None, "", "19000101", "000000") or element.VR == "UI", element.keyword


@pytest.mark.parametrize(
    "keyword",
    ["InstitutionName", "StationName", "DeviceSerialNumber", "StudyDescription", "SeriesDescription", "ProtocolName",
     "AccessionNumber", "StudyID", "AdmissionID", "OtherPatientIDs", "PatientSex", "PatientWeight", "EthnicGroup",
     "RequestedProcedureID", "ClinicalTrialSubjectID", "IssuerOfPatientID", "ImageComments", "PatientID"],
)  # fmt: skip
def test_names_and_numbers_of_the_table_go(keyword: str) -> None:
    ds = small_ct()
    setattr(ds, keyword, "7")
    nested = Dataset()
    setattr(nested, keyword, "7")
    ds.ContributingEquipmentSequence = [nested]
    _cleaned(ds)
    assert ds.get(keyword) in (None, "")
    assert ds.ContributingEquipmentSequence[0].get(keyword) in (None, "")


def test_private_unknown_curve_and_overlay_data_go() -> None:
    ds = small_ct()
    for tag, vr in ((0x00091001, "LO"), (0x00081FFE, "LO"), (0x50003000, "OW"), (0x60003000, "OW"), (0x60004000, "LT")):
        ds[tag] = DataElement(tag, vr, b"told" if vr == "OW" else "told")
    _cleaned(ds)
    assert not any(tag in ds for tag in (0x00091001, 0x00081FFE, 0x50003000, 0x60003000, 0x60004000))


def test_uids_are_replaced_the_same_for_the_same_and_the_standards_stay() -> None:
    ds = small_ct()
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.ReferencedImageSequence = [reference]
    _cleaned(ds)
    assert ds.SOPClassUID == small_ct().SOPClassUID
    assert ds.SOPInstanceUID != small_ct().SOPInstanceUID
    assert ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID == ds.SOPInstanceUID
    assert ds.FrameOfReferenceUID != small_ct().FrameOfReferenceUID


def test_the_image_and_its_geometry_stay() -> None:
    ds, was = _cleaned(small_ct()), small_ct()
    kept = "PixelData ImagePositionPatient ImageOrientationPatient PixelSpacing RescaleSlope RescaleIntercept KVP "
    for keyword in (kept + "Modality Manufacturer InstanceNumber PatientPosition").split():
        assert ds[keyword].value == was[keyword].value
    assert ds.PatientIdentityRemoved == "YES"
    assert ds.DeidentificationMethodCodeSequence[0].CodeValue == "113100"


def test_what_is_kept_stays_and_private_data_only_when_told() -> None:
    ds = small_ct()
    ds[0x00091001] = DataElement(0x00091001, "LO", "private")
    _cleaned(ds, keep={tag_for_keyword("StudyDescription"), tag_for_keyword("StudyInstanceUID")}, keep_private=True)
    assert (ds.StudyDescription, ds.StudyInstanceUID) == ("test", small_ct().StudyInstanceUID)
    assert ds[0x00091001].value == "private"


@pytest.mark.parametrize("keyword", DOCUMENTS)
def test_a_document_is_refused_rather_than_passed_on(keyword: str) -> None:
    ds = small_ct()
    setattr(ds, keyword, b"%PDF" if keyword == "EncapsulatedDocument" else [Dataset()])
    with pytest.raises(UnsupportedError, match=keyword):
        deidentify(ds, new_uid=str)
