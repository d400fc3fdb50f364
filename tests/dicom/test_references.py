"""Who points at whom, as pydicom's own walk over each data set finds it."""

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from researchpacs.dicom.references import object_references
from researchpacs.dicom.values import tags_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

FOLDERS = ("highdicom_seg_sr_sm_ann", "misc_pydicom", "mr_enhanced", "rt_dicompyler", "rtstruct_rt_utils")


def referred(ds: Dataset) -> set[tuple[str, str]]:
    found = set()

    def look(item: Dataset, element: pydicom.DataElement) -> None:
        if element.keyword == "ReferencedSOPInstanceUID" and element.value:
            found.add((str(item.get("ReferencedSOPClassUID", "")), str(element.value)))

    ds.walk(look)
    return found


def test_every_reference_is_found_however_deep(real_data: Path) -> None:
    count = 0
    for path in sorted(path for folder in FOLDERS for path in (real_data / folder).rglob("*.dcm")):
        try:
            ds = pydicom.dcmread(path, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            continue
        try:
            expected = referred(ds)
        except Exception:  # what pydicom cannot walk is no oracle
            continue
        found = object_references(tags_of(ds))
        assert {(one.sop_class_uid, one.sop_uid) for one in found if one.sop_uid} == expected, path
        count += len(expected)
    assert count > 100


def test_series_and_study_are_those_around_it(real_data: Path) -> None:
    ds = pydicom.dcmread(real_data / "highdicom_seg_sr_sm_ann" / "sr_document.dcm")
    evidence = [one for one in object_references(tags_of(ds)) if one.path.startswith("PertinentOtherEvidence")]
    study = ds.PertinentOtherEvidenceSequence[0]
    expected = {
        (str(study.StudyInstanceUID), str(series.SeriesInstanceUID), str(one.ReferencedSOPInstanceUID))
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert {(one.study_uid, one.series_uid, one.sop_uid) for one in evidence} == expected


def test_a_series_without_instances_is_a_reference_too() -> None:
    tags = {"ReferencedSeriesSequence": [{"SeriesInstanceUID": "1.2"}], "SeriesInstanceUID": "1.9"}
    (one,) = object_references(tags)
    assert (one.path, one.series_uid, one.sop_uid, one.study_uid) == ("ReferencedSeriesSequence", "1.2", "", "")


def test_the_depth_of_a_report_makes_no_other_path() -> None:
    image = {"ReferencedSOPSequence": [{"ReferencedSOPInstanceUID": "1.2", "ReferencedSOPClassUID": "1.1"}]}
    deep = {"ContentSequence": [{"ContentSequence": [{"ContentSequence": [image]}, image]}]}
    assert [one.path for one in object_references(deep)] == ["ContentSequence.ReferencedSOPSequence"]


@pytest.mark.parametrize("value", [None, "", 5, [], [None], [[{}]], {"value": [{}]}])
def test_odd_values_are_passed_over(value: object) -> None:
    assert object_references({"ReferencedSeriesSequence": value, "(0009,1001)": value}) == []
