"""Angles, axes, areas and single values as reports: valid, readable by others, and back without loss."""

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime

import highdicom
import numpy as np
import pytest

from researchpacs.annotation import Measurement, Number, from_datasets, to_datasets
from researchpacs.dicom import codes
from researchpacs.dicom.sr import measurement_rows

NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)
TURN = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
STATISTICS = tuple(
    Number(code, value, "[hnsf'U]")
    for code, value in (
        (codes.MEAN, 40.123456),
        (codes.STANDARD_DEVIATION, 12.5),
        (codes.MINIMUM, -1024.0),
        (codes.MAXIMUM, 3071.0),
    )
)
SHAPES = {
    "length": ([(0, 0), (3, 4)], 5.0, "mm", ()),
    "angle": ([(10, 0), (0, 0), (0, 10)], 90.0, "deg", ()),
    "cobb": ([(0, 0), (10, 1), (0, 30), (10, 27)], 22.4, "deg", ()),
    "bidirectional": ([(0, 0), (20, 0), (10, -4), (10, 4)], 20.0, "mm", (Number(codes.SHORT_AXIS, 8.0, "mm"),)),
    "ellipse": ([(-5, 0), (5, 0), (0, -3), (0, 3)], 47.12389, "mm2", STATISTICS),
    "polygon": ([(0, 0), (31.4, 0.3), (29.9, 22.2), (4.1, 20.7), (2, 9)], 500.25, "mm2", STATISTICS),
    "probe": ([(7, 8)], -812.0, "[hnsf'U]", ()),
}


def shape_of(kind, vol, **told) -> Measurement:
    """A shape on an oblique plane far from the origin, where single precision is coarse."""
    flat, value, unit, more = SHAPES[kind]
    points = [tuple((TURN @ (u, v, 0) + (412.3, -377.7, 1203.1)).tolist()) for u, v in flat]
    return Measurement(
        kind=kind,
        points_lps=tuple(points),
        value=value,
        unit=unit,
        label=f"{kind} 1",
        series_uid=vol.dicom.series,
        frame_of_reference_uid=vol.dicom.frame_of_reference_uid,
        author="reader",
        created_at=NOON,
        more=more,
        **told,
    )


@pytest.mark.parametrize("kind", SHAPES)
def test_a_shape_comes_back_as_it_was(vol, evidence, kind):
    shape = shape_of(kind, vol, finding=codes.NODULE, site=codes.LUNG)
    assert from_datasets(to_datasets([shape], evidence=evidence)) == [shape]


def test_shapes_of_one_report_are_kept_apart(vol, evidence):
    shapes = [shape_of(kind, vol) for kind in SHAPES]
    again = replace(shapes[4], value=12.5)
    assert again.tracking_uid == shapes[4].tracking_uid, "one thing, measured twice"
    (report,) = to_datasets([*shapes, again], evidence=evidence)
    found = from_datasets([report])
    assert len(found) == len(shapes) + 1
    assert set(found) == {*shapes, again}


def test_every_number_is_a_row_with_its_unit(vol, evidence):
    (report,) = to_datasets([shape_of(kind, vol) for kind in SHAPES], evidence=evidence)
    rows = {(row["label"], row["quantity"]): (row["value"], row["unit"]) for row in measurement_rows(report)}
    assert len(rows) == 16
    assert rows["ellipse 1", "Area"] == (47.12389, "mm2")
    assert rows["ellipse 1", "Mean"] == (40.123456, "[hnsf'U]")
    assert rows["polygon 1", "Standard Deviation"] == (12.5, "[hnsf'U]")
    assert rows["bidirectional 1", "Long Axis"] == (20.0, "mm")
    assert rows["bidirectional 1", "Short Axis"] == (8.0, "mm")
    assert rows["cobb 1", "Cobb angle"] == (22.4, "deg")
    assert {row["SeriesInstanceUID"] for row in measurement_rows(report)} == {vol.dicom.series}


def test_highdicom_finds_the_regions_of_areas(vol, evidence, tmp_path):
    (report,) = to_datasets([shape_of(kind, vol) for kind in SHAPES], evidence=evidence)
    report.save_as(tmp_path / "sr.dcm")
    content = highdicom.sr.srread(tmp_path / "sr.dcm").content
    groups = {g.tracking_identifier: g for g in content.get_planar_roi_measurement_groups()}
    assert set(groups) == {"ellipse 1", "polygon 1"}
    outline = groups["polygon 1"].roi
    assert outline.graphic_type.value == "POLYGON"
    points = np.asarray(shape_of("polygon", vol).points_lps)
    np.testing.assert_array_equal(outline.value, [*points, points[0]])
    assert [m.value for m in groups["ellipse 1"].get_measurements()] == [47.12389, 40.123456, 12.5, -1024.0, 3071.0]
    others = {g.tracking_identifier for g in content.get_image_measurement_groups()}
    assert others == {"length 1", "angle 1", "cobb 1", "bidirectional 1", "probe 1"}


def test_dciodvfy_finds_no_error(vol, evidence, tmp_path):
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is missing: apt-get install dicom3tools")
    (report,) = to_datasets([shape_of(kind, vol) for kind in SHAPES], evidence=evidence)
    report.save_as(tmp_path / "sr.dcm")
    verdict = subprocess.run(["dciodvfy", tmp_path / "sr.dcm"], capture_output=True, text=True, check=False)
    assert verdict.returncode == 0
    assert "Error" not in verdict.stdout + verdict.stderr


def test_numbers_are_part_of_what_a_measurement_is(vol):
    ellipse = shape_of("ellipse", vol)
    other = replace(ellipse, more=STATISTICS[:2], tracking_uid="")
    assert other.tracking_uid != ellipse.tracking_uid
