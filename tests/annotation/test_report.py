"""Measurements as reports: readable by others, the same bytes each time, and back without loss."""

import copy
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from tests.annotation.conftest import volume_like

from researchpacs.annotation import Measurement, as_datasets, from_datasets, to_datasets
from researchpacs.dicom import codes
from researchpacs.errors import InvalidInputError, NotFoundError, UnsupportedError

P, Q = (-88.6171875, 10.8984375, 31.0), (-76.6171875, 10.8984375, 31.0)
NOON = datetime(2026, 2, 3, 12, 0, 0, 250000, tzinfo=UTC)


def full(vol: xr.DataArray, **other: object) -> Measurement:
    told = {"label": "nodule 1", "author": "Curie^Marie", "finding": codes.NODULE, "site": codes.LUNG}
    return Measurement.length(vol, P, Q, **{**told, "algorithm": "rule of thumb 1.0", "created_at": NOON, **other})


def plain(vol: xr.DataArray, **other: object) -> Measurement:
    return Measurement.length(vol, P, Q, **{"label": "nodule", "author": "reader", **other})


def written(report: Dataset) -> bytes:
    buffer = BytesIO()
    report.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_measurement_comes_back_as_it_was(vol: xr.DataArray, evidence) -> None:
    for length in (full(vol), plain(vol)):
        assert from_datasets(to_datasets([length], evidence=evidence)) == [length]


def test_equal_measurements_make_equal_bytes(vol: xr.DataArray, evidence) -> None:
    first = [written(report) for report in to_datasets([full(vol), plain(vol)], evidence=evidence)]
    second = [written(report) for report in to_datasets([full(vol), plain(vol)], evidence=evidence)]
    assert first == second


def test_measurements_of_one_thing_are_all_kept(vol: xr.DataArray, evidence) -> None:
    a = plain(vol)
    b = replace(a, points_lps=(P, (-80.0, 10.0, 31.0)), value=8.66)
    (one,), (other,) = to_datasets([a, b], evidence=evidence), to_datasets([b, a], evidence=evidence)
    assert b.tracking_uid == a.tracking_uid
    assert set(from_datasets([one])) == {a, b}
    assert written(one) == written(other)


def test_order_and_repetition_do_not_matter(vol: xr.DataArray, evidence) -> None:
    a, b = plain(vol, label="a"), plain(vol, label="b")
    (one,), (other,) = to_datasets([a, b], evidence=evidence), to_datasets([b, a, b], evidence=evidence)
    assert written(one) == written(other)
    assert len(from_datasets([one])) == 2


def test_bytes_do_not_depend_on_the_clock(vol: xr.DataArray, evidence) -> None:
    (report,) = to_datasets([plain(vol)], evidence=evidence)
    header = evidence(vol.dicom.series)[0]
    assert (report.ContentDate, report.ContentTime) == (header.SeriesDate, header.SeriesTime)
    assert "InstanceCreationDate" not in report
    assert "0040A032" not in report.to_json()


def test_time_of_measuring_is_told_where_it_is_known(vol: xr.DataArray, evidence) -> None:
    (report,) = to_datasets(
        [full(vol), full(vol, label="earlier", created_at=datetime(2026, 1, 1, tzinfo=UTC))], evidence=evidence
    )
    assert (report.ContentDate, report.ContentTime) == ("20260203", "120000.250000")
    assert {made.created_at for made in from_datasets([report])} == {NOON, datetime(2026, 1, 1, tzinfo=UTC)}


def test_other_content_has_other_uids(vol: xr.DataArray, evidence) -> None:
    (one,), (other,) = to_datasets([plain(vol)], evidence=evidence), to_datasets([full(vol)], evidence=evidence)
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesInstanceUID != other.SeriesInstanceUID
    assert one.StudyInstanceUID == other.StudyInstanceUID


def test_one_report_for_each_series_and_author(vol: xr.DataArray, headers: list[Dataset]) -> None:
    second = copy.deepcopy(headers[0])
    second.SeriesInstanceUID, second.SOPInstanceUID = "1.2.3.4", "1.2.3.4.1"
    both = {ds.SeriesInstanceUID: [ds] for ds in (headers[0], second)}
    lengths = [
        plain(vol, label="a"),
        plain(vol, label="b"),
        plain(vol, author="second reader"),
        plain(volume_like(second)),
    ]
    reports = to_datasets(lengths, evidence=both.__getitem__)
    assert [len(from_datasets([report])) for report in reports] == [2, 1, 1]
    assert len({report.SOPInstanceUID for report in reports}) == 3
    assert from_datasets(reports[2:])[0].series_uid == "1.2.3.4"


def test_highdicom_reads_the_same_numbers(vol: xr.DataArray, evidence, tmp_path: Path) -> None:
    (report,) = to_datasets([full(vol)], evidence=evidence)
    report.save_as(tmp_path / "sr.dcm")
    document = highdicom.sr.srread(tmp_path / "sr.dcm")
    assert isinstance(document, highdicom.sr.Comprehensive3DSR)
    (group,) = document.content.get_image_measurement_groups()
    (number,) = group.get_measurements()
    (coordinates,) = number.referenced_coordinates
    assert (number.value, number.unit.value, number.name.meaning) == (12.0, "mm", "Length")
    assert coordinates.graphic_type.value == "POLYLINE"
    assert coordinates.frame_of_reference_uid == vol.dicom.frame_of_reference_uid
    np.testing.assert_allclose(coordinates.value, [P, Q], atol=1e-4)
    assert group.tracking_identifier == "nodule 1"
    assert group.tracking_uid == full(vol).tracking_uid
    assert group.finding_type.value == codes.NODULE.value
    assert group.finding_sites[0].value.value == codes.LUNG.value
    assert {series for _, series in document.get_evidence_series()} == {vol.dicom.series}


def test_dciodvfy_finds_no_error(vol: xr.DataArray, evidence, tmp_path: Path) -> None:
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is missing: apt-get install dicom3tools")
    for length in (full(vol), plain(vol)):
        (report,) = to_datasets([length], evidence=evidence)
        report.save_as(tmp_path / "sr.dcm")
        verdict = subprocess.run(["dciodvfy", tmp_path / "sr.dcm"], capture_output=True, text=True, check=False)
        assert verdict.returncode == 0
        assert "Error" not in verdict.stdout + verdict.stderr
        assert "Comprehensive3DSR" in verdict.stdout + verdict.stderr


def test_report_belongs_to_the_patient_and_study_of_the_images(vol: xr.DataArray, evidence) -> None:
    (report,) = to_datasets([plain(vol)], evidence=evidence)
    header = evidence(vol.dicom.series)[0]
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert report[keyword].value == header[keyword].value, keyword


@pytest.mark.parametrize("name", ["chrFren", "chrGerm", "chrH31", "chrRuss", "chrX1"])
def test_names_survive_any_character_set(real_data: Path, name: str) -> None:
    header = pydicom.dcmread(real_data / "charset" / f"{name}.dcm", stop_before_pixels=True)
    expected = str(header.PatientName)
    header.FrameOfReferenceUID = "1.2.3"
    vol = volume_like(header)
    (report,) = to_datasets([plain(vol, label="Knötchen 結節")], evidence=lambda _: [header])
    (again,) = (pydicom.dcmread(BytesIO(written(report))),)
    assert str(again.PatientName) == expected
    assert from_datasets([again])[0].label == "Knötchen 結節"


@pytest.mark.parametrize(
    "absent", ["StudyDate", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"]
)
def test_headers_of_anonymised_images_are_good_enough(headers: list[Dataset], absent: str) -> None:
    header = copy.deepcopy(headers[0])
    del header[absent]
    (report,) = to_datasets([plain(volume_like(header))], evidence=lambda _: [header])
    assert from_datasets([report])


def test_images_without_any_date_still_make_a_valid_report(headers: list[Dataset]) -> None:
    header = copy.deepcopy(headers[0])
    for level in ("Study", "Series", "Acquisition", "Content"):
        del header[f"{level}Date"], header[f"{level}Time"]
    (report,) = to_datasets([plain(volume_like(header))], evidence=lambda _: [header])
    assert (report.ContentDate, report.ContentTime) == ("19000101", "000000")
    assert from_datasets([report])[0].created_at is None


def test_broken_values_of_the_images_are_repeated_not_refused(headers: list[Dataset]) -> None:
    header = pydicom.dcmread(BytesIO(written(headers[0])))
    header["PatientBirthDate"]._value = "1960.2.29"
    header["PatientSex"]._value = "X"
    header["StudyDate"]._value = "yesterday"
    with pydicom.config.disable_value_validation():
        (report,) = to_datasets([plain(volume_like(header))], evidence=lambda _: [header])
        assert (report.PatientBirthDate, report.PatientSex, report.StudyDate) == ("1960.2.29", "X", "yesterday")


def test_series_without_frame_of_reference_is_unsupported(headers: list[Dataset]) -> None:
    header = copy.deepcopy(headers[0])
    length = plain(volume_like(header))
    del header.FrameOfReferenceUID
    with pytest.raises(UnsupportedError, match="Frame of Reference"):
        to_datasets([length], evidence=lambda _: [header])


def test_points_of_another_frame_of_reference_are_refused(headers: list[Dataset]) -> None:
    header = copy.deepcopy(headers[0])
    length = plain(volume_like(header))
    header.FrameOfReferenceUID = "1.2.3"
    with pytest.raises(InvalidInputError, match="volume of the series itself"):
        to_datasets([length], evidence=lambda _: [header])


def test_series_that_is_not_there_is_not_found(vol: xr.DataArray, headers: list[Dataset]) -> None:
    other = copy.deepcopy(headers[0])
    other.SeriesInstanceUID = "1.2.3"
    for evidence in ([], [other]):
        with pytest.raises(NotFoundError, match="ingest the images"):
            to_datasets([plain(vol)], evidence=lambda _, evidence=evidence: evidence)


def test_only_measurements_are_adapted(vol: xr.DataArray, evidence) -> None:
    assert len(as_datasets(plain(vol), evidence=evidence)) == 1
    assert len(as_datasets([plain(vol), full(vol)], evidence=evidence)) == 2
    for thing in (None, "path", [], [plain(vol), "path"], 7, {"a": 1}):
        assert as_datasets(thing, evidence=evidence) is None


@pytest.mark.parametrize(
    "path",
    [
        "highdicom_seg_sr_sm_ann/sr_document.dcm",
        "highdicom_seg_sr_sm_ann/sr_document_with_multiple_groups.dcm",
        "misc_pydicom/test-SR.dcm",
        "misc_pydicom/reportsi.dcm",
        "misc_pydicom/CT_small.dcm",
        "misc_pydicom/rtstruct.dcm",
    ],
)
def test_reports_without_lengths_in_space_give_none(real_data: Path, path: str) -> None:
    assert from_datasets([pydicom.dcmread(real_data / path, force=True)]) == []


def test_length_of_another_vendor_comes_back(vol: xr.DataArray, evidence) -> None:
    (report,) = to_datasets([plain(vol)], evidence=evidence)
    report.Manufacturer, report.ManufacturerModelName = "Other", "Other viewer"
    group = report.ContentSequence[-1].ContentSequence[0]
    tracking = [
        item for item in group.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue in ("112039", "112040")
    ]
    for item in tracking:
        group.ContentSequence.remove(item)
    (length,) = from_datasets([report])
    assert (length.value, length.points_lps, length.label) == (12.0, (P, Q), "length")
    assert length.tracking_uid


coordinate = st.floats(-1500, 1500, allow_nan=False)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    p=st.tuples(coordinate, coordinate, coordinate),
    q=st.tuples(coordinate, coordinate, coordinate),
    label=st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1).filter(str.strip),
)
def test_any_length_survives_the_file(vol: xr.DataArray, evidence, p, q, label: str) -> None:
    if p == q:
        return
    length = Measurement.length(vol, p, q, label=label, author="reader")
    (report,) = to_datasets([length], evidence=evidence)
    (back,) = from_datasets([pydicom.dcmread(BytesIO(written(report)))])
    np.testing.assert_allclose(back.points_lps, [p, q], atol=1e-4)
    assert back.value == pytest.approx(np.linalg.norm(np.subtract(p, q)), abs=1e-6)
    assert back == length
