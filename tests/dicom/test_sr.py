"""Numbers in structured reports: as highdicom reads them, and no failure on what others write."""

import copy
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dictionary
from pydicom.uid import CTImageStorage

from researchpacs.dicom import codes
from researchpacs.dicom.sr import measured, measurement_rows

COLUMNS = [
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientID",
    "object_sop_instance_uid",
    "tracking_uid",
    "tracking_id",
    "label",
    "group_code",
    "finding_code",
    "finding",
    "site_code",
    "site",
    "quantity_code",
    "quantity",
    "value",
    "unit",
    "ucum_value",
    "ucum_unit",
    "method",
    "author",
    "created_at",
    "changed_at",
]
FOREIGN = ["sr_document.dcm", "sr_document_with_multiple_groups.dcm"]


@pytest.fixture
def image() -> Dataset:
    ds = Dataset()
    ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID = "1.2.3.1", "1.2.3", "1.2"
    ds.FrameOfReferenceUID = "1.2.9"
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "P1", "A^B", "", ""
    ds.AccessionNumber, ds.StudyID, ds.StudyDate, ds.StudyTime = "", "", "", ""
    return ds


def line(*points: tuple[float, float, float]) -> highdicom.sr.CoordinatesForMeasurement3D:
    return highdicom.sr.CoordinatesForMeasurement3D("POLYLINE", np.array(points), "1.2.9")


def report(image: Dataset, groups: list[highdicom.sr.MeasurementsAndQualitativeEvaluations], **other) -> Dataset:
    """A report as another program would make it with highdicom."""
    person = highdicom.sr.PersonObserverIdentifyingAttributes(name="Doe^Jane")
    context = highdicom.sr.ObservationContext(
        highdicom.sr.ObserverContext(highdicom.sr.CodedConcept("121006", "DCM", "Person"), person)
    )
    content = highdicom.sr.MeasurementReport(context, dictionary.LN.CTUnspecifiedBodyRegion, groups)
    return highdicom.sr.Comprehensive3DSR(
        other.pop("evidence", [image]),
        content[0],
        "2.25.1",
        1,
        "2.25.2",
        1,
        "Other",
        content_date="20240131",
        content_time="101112",
        **other,
    )


def group(
    *numbers: highdicom.sr.Measurement, uid: str = "2.25.3", **other
) -> highdicom.sr.MeasurementsAndQualitativeEvaluations:
    tracking = highdicom.sr.TrackingIdentifier(uid, "lesion 1")
    return highdicom.sr.MeasurementsAndQualitativeEvaluations(tracking, measurements=numbers, **other)


def number(value: float, **other) -> highdicom.sr.Measurement:
    return highdicom.sr.Measurement(dictionary.SCT.Length, value, dictionary.UCUM.Millimeter, **other)


def as_highdicom_reads(ds: Dataset) -> list[tuple[object, ...]]:
    """Tracking, finding, quantity, value and unit of every number of TID 1410, 1411 and 1501 groups."""
    content = highdicom.sr.Comprehensive3DSR.from_dataset(ds).content
    groups = [
        *content.get_planar_roi_measurement_groups(),
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]
    return sorted(
        (
            group.tracking_uid,
            group.tracking_identifier,
            f"{group.finding_type.scheme_designator}:{group.finding_type.value}" if group.finding_type else None,
            number.name.meaning,
            float(number.value),
            number.unit.value,
        )
        for group in groups
        for number in group.get_measurements()
    )


def as_we_read(ds: Dataset) -> list[tuple[object, ...]]:
    names = ("tracking_uid", "label", "finding_code", "quantity", "value", "unit")
    return sorted(tuple(row[name] for name in names) for row in measurement_rows(ds))


@pytest.mark.parametrize("name", FOREIGN)
def test_numbers_are_those_that_highdicom_reads(real_data: Path, name: str) -> None:
    ds = pydicom.dcmread(real_data / "highdicom_seg_sr_sm_ann" / name)
    ours = as_we_read(ds)
    assert ours
    assert [(*row[:4], pytest.approx(row[4]), row[5]) for row in as_highdicom_reads(ds)] == ours


@pytest.mark.parametrize("name", FOREIGN)
def test_rows_name_the_imaged_series(real_data: Path, name: str) -> None:
    folder = real_data / "highdicom_seg_sr_sm_ann"
    imaged = pydicom.dcmread(folder / "ct_image.dcm", stop_before_pixels=True)
    for row in measurement_rows(pydicom.dcmread(folder / name)):
        assert row["SeriesInstanceUID"] == imaged.SeriesInstanceUID
        assert row["StudyInstanceUID"] == imaged.StudyInstanceUID


def test_rows_have_the_columns_of_the_table(image: Dataset) -> None:
    ds = report(image, [group(number(12.5, referenced_coordinates=[line((1, 2, 3), (4, 5, 6))]))])
    (row,) = measurement_rows(ds)
    assert list(row) == COLUMNS
    assert row == {
        "SeriesInstanceUID": "1.2.3",
        "StudyInstanceUID": "1.2",
        "PatientID": "P1",
        "object_sop_instance_uid": "2.25.2",
        "tracking_uid": "2.25.3",
        "tracking_id": "lesion 1",
        "label": "lesion 1",
        "group_code": "DCM:125007",
        "finding_code": None,
        "finding": None,
        "site_code": None,
        "site": None,
        "quantity_code": "SCT:410668003",
        "quantity": "Length",
        "value": 12.5,
        "unit": "mm",
        "ucum_value": 0.0125,
        "ucum_unit": "m",
        "method": None,
        "author": "Doe^Jane",
        "created_at": datetime(2024, 1, 31, 10, 11, 12),
        "changed_at": None,
    }


def test_finding_site_method_and_algorithm_are_read(image: Dataset) -> None:
    ds = report(
        image,
        [
            group(
                number(1.0, method=dictionary.SCT.Length),
                finding_type=dictionary.SCT.Nodule,
                finding_sites=[highdicom.sr.FindingSite(dictionary.SCT.Lung)],
                algorithm_id=highdicom.sr.AlgorithmIdentification("finder", "2.0"),
            )
        ],
    )
    (row,), (found,) = measurement_rows(ds), measured(ds)
    assert (row["finding_code"], row["site_code"], row["method"]) == ("SCT:27925004", "SCT:39607008", "Length")
    assert (found.finding, found.site, found.algorithm) == (codes.NODULE, codes.LUNG, "finder 2.0")


def test_a_number_never_takes_the_points_of_another(image: Dataset) -> None:
    drawn = number(1.0, referenced_coordinates=[line((1, 2, 3), (4, 5, 6))])
    first, second = measured(report(image, [group(drawn, number(2.0))]))
    assert first.points_lps == ((1, 2, 3), (4, 5, 6))
    assert second.points_lps == ()


def test_series_is_left_out_where_it_cannot_be_told(image: Dataset) -> None:
    other = copy.deepcopy(image)
    other.SOPInstanceUID, other.SeriesInstanceUID = "1.2.4.1", "1.2.4"
    ds = report(image, [group(number(1.0))], evidence=[image, other])
    assert measurement_rows(ds)[0]["SeriesInstanceUID"] is None
    source = highdicom.sr.SourceImageForMeasurement(other.SOPClassUID, other.SOPInstanceUID)
    ds = report(image, [group(number(1.0, referenced_images=[source]))], evidence=[image, other])
    assert measurement_rows(ds)[0]["SeriesInstanceUID"] == "1.2.4"


def test_segmentation_among_the_evidence_is_not_what_was_imaged(image: Dataset) -> None:
    segmentation = copy.deepcopy(image)
    segmentation.SOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    segmentation.SOPInstanceUID, segmentation.SeriesInstanceUID = "1.2.5.1", "1.2.5"
    ds = report(image, [group(number(1.0))], evidence=[segmentation, image])
    assert measurement_rows(ds)[0]["SeriesInstanceUID"] == "1.2.3"


def test_time_zone_is_taken_into_account(image: Dataset) -> None:
    ds = report(image, [group(number(1.0))])
    ds.TimezoneOffsetFromUTC = "+0900"
    assert measurement_rows(ds)[0]["created_at"] == datetime(2024, 1, 31, 1, 11, 12)
    ds.ContentSequence[-1].ContentSequence[0].ObservationDateTime = "20240101120000-0500"
    assert measurement_rows(ds)[0]["created_at"] == datetime(2024, 1, 1, 17)


def test_number_without_a_value_is_left_out(image: Dataset) -> None:
    ds = report(image, [group(number(1.0), number(2.0))])
    ds.ContentSequence[-1].ContentSequence[0].ContentSequence[-1].MeasuredValueSequence = []
    assert [row["value"] for row in measurement_rows(ds)] == [1.0]


def test_numbers_in_plain_containers_are_read_too(real_data: Path) -> None:
    ds = pydicom.dcmread(real_data / "misc_pydicom" / "test-SR.dcm")
    expected = [
        (item.ConceptNameCodeSequence[0].CodeMeaning, float(item.MeasuredValueSequence[0].NumericValue))
        for item, _ in every_item(ds)
        if item.get("ValueType") == "NUM"
    ]
    rows = measurement_rows(ds)
    assert [(row["quantity"], row["value"]) for row in rows] == expected == [("Diameter", 3.0)] * 2
    # This report's centimetres are coded in a scheme of its own, of which nobody knows what they are.
    assert {(row["unit"], row["ucum_value"], row["group_code"]) for row in rows} == {("cm", None, None)}


def test_numbers_below_numbers_are_no_measurements(image: Dataset) -> None:
    ds = report(image, [group(number(1.0))])
    outer = ds.ContentSequence[-1].ContentSequence[0].ContentSequence[-1]
    outer.ContentSequence = [copy.deepcopy(outer)]
    outer.ContentSequence[0].MeasuredValueSequence[0].NumericValue = "99"
    assert [row["value"] for row in measurement_rows(ds)] == [1.0]


@pytest.mark.parametrize("name", ["reportsi.dcm", "CT_small.dcm", "rtstruct.dcm", "waveform_ecg.dcm"])
def test_objects_without_numbers_have_no_rows(real_data: Path, name: str) -> None:
    assert measurement_rows(pydicom.dcmread(real_data / "misc_pydicom" / name, force=True)) == []


def every_item(ds: Dataset) -> Iterator[tuple[Dataset, int]]:
    for item in ds.get("ContentSequence", ()):
        yield item, 0
        yield from every_item(item)


def elements(ds: Dataset) -> Iterator[tuple[Dataset, pydicom.tag.BaseTag]]:
    for element in list(ds):
        yield ds, element.tag
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)


@pytest.mark.parametrize("damage", ["absent", "empty", "several", "bytes", "sequence"])
def test_no_damaged_element_makes_it_fail(image: Dataset, damage: str) -> None:
    drawn = number(1.0, referenced_coordinates=[line((1, 2, 3), (4, 5, 6))])
    ds = pydicom.Dataset(report(image, [group(drawn, finding_type=dictionary.SCT.Nodule)]))
    values = {"empty": None, "several": ["1", "2"], "bytes": b"\xff\x00", "sequence": pydicom.Sequence([Dataset()])}
    count = 0
    for owner, tag in list(elements(ds)):
        element = owner[tag]
        if damage == "absent":
            del owner[tag]
        else:
            broken = copy.copy(element)
            broken._value = values[damage]
            owner._dict[tag] = broken
        rows = measurement_rows(ds)
        assert all(isinstance(row["value"], float) for row in rows)
        owner._dict[tag] = element
        count += 1
    assert count > 80
    assert len(measurement_rows(ds)) == 1


def test_time_of_day_alone_is_no_time(image: Dataset) -> None:
    ds = pydicom.Dataset(report(image, [group(number(1.0))]))
    ds.ContentTime = "101112"
    del ds.ContentDate
    assert measurement_rows(ds)[0]["created_at"] is None


def test_report_nested_without_end_is_read_to_its_end(image: Dataset) -> None:
    ds = pydicom.Dataset(report(image, [group(number(1.0))]))
    for _ in range(5000):
        outer = Dataset()
        outer.ValueType = "CONTAINER"
        outer.ContentSequence = [ds]
        ds = outer
    assert [row["value"] for row in measurement_rows(ds)] == [1.0]


def test_codes_are_those_of_the_dictionary() -> None:
    known = {
        (entry.value, entry.scheme_designator)
        for scheme in (dictionary.SCT, dictionary.UCUM)
        for entry in (getattr(scheme, name) for name in scheme.dir())
    }
    for name in codes.__all__:
        if name != "Code":
            code = getattr(codes, name)
            if not code.scheme.startswith("99"):  # else private: for what no dictionary has (PS3.16, 8)
                assert (code.value, code.scheme) in known, name
                assert code.meaning.upper().replace(" ", "_") == name
