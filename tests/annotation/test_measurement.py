"""A measurement is its content: equal content, equal measurement."""

import dataclasses
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from researchpacs import datasets
from researchpacs.annotation import Measurement
from researchpacs.dicom import codes
from researchpacs.errors import GeometryError, InvalidInputError

P, Q = (1.0, 2.0, 3.0), (4.0, 6.0, 3.0)
NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)


def test_length_is_the_distance_in_mm(vol: xr.DataArray) -> None:
    length = Measurement.length(vol, P, Q, label="nodule")
    assert (length.value, length.unit, length.kind) == (5.0, "mm", "length")
    assert length.points_lps == (P, Q)


def test_length_knows_where_it_was_measured(vol: xr.DataArray) -> None:
    length = Measurement.length(vol, P, Q, label="nodule")
    assert length.series_uid == vol.dicom.series
    assert length.frame_of_reference_uid == vol.dicom.frame_of_reference_uid


@pytest.mark.parametrize("name", ["chest_ct", "chest_ct_prior"])
def test_ends_of_the_nodule_measure_its_diameter(vol: xr.DataArray, name: str) -> None:
    nodule = datasets.truth(name)["nodule"]
    assert Measurement.length(vol, *nodule["diameter_ends_lps"], label="nodule").value == nodule["diameter_mm"]


@pytest.mark.parametrize("kind", [list, tuple, np.array, lambda p: np.array(p, np.float32), iter])
def test_points_come_as_any_three_numbers(vol: xr.DataArray, kind) -> None:
    assert Measurement.length(vol, kind(P), kind(Q), label="a") == Measurement.length(vol, P, Q, label="a")


@pytest.mark.parametrize(
    "point",
    [(1, 2), (1, 2, 3, 4), (1, 2, float("nan")), (1, 2, float("inf")), "123", 7, None, ("a", 2, 3), (1e300, 0, 0)],
)
def test_what_is_no_point_is_refused(vol: xr.DataArray, point: object) -> None:
    with pytest.raises(InvalidInputError, match="mm"):
        Measurement.length(vol, P, point, label="a")


def test_two_ends_at_one_point_are_refused(vol: xr.DataArray) -> None:
    with pytest.raises(InvalidInputError, match="same point"):
        Measurement.length(vol, P, P, label="a")


@pytest.mark.parametrize("label", ["", "  ", "two\nlines", "bell\x07", 7])
def test_label_is_one_line_of_text(vol: xr.DataArray, label: object) -> None:
    with pytest.raises(InvalidInputError, match="label"):
        Measurement.length(vol, P, Q, label=label)


def test_what_is_no_volume_is_refused_with_the_way_out(vol: xr.DataArray) -> None:
    with pytest.raises(InvalidInputError, match="open_volume"):
        Measurement.length(vol.values, P, Q, label="a")
    with pytest.raises(GeometryError, match="series"):
        Measurement.length(vol.drop_attrs(), P, Q, label="a")


def test_code_as_label_is_the_finding(vol: xr.DataArray) -> None:
    length = Measurement.length(vol, P, Q, label=codes.NODULE, site=codes.LUNG)
    assert (length.label, length.finding, length.site) == ("Nodule", codes.NODULE, codes.LUNG)


def test_author_is_who_the_environment_says(vol: xr.DataArray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "rontgen")
    monkeypatch.delenv("RESEARCHPACS_AUTHOR", raising=False)
    assert Measurement.length(vol, P, Q, label="a").author == "rontgen"
    monkeypatch.setenv("RESEARCHPACS_AUTHOR", "Curie^Marie")
    assert Measurement.length(vol, P, Q, label="a").author == "Curie^Marie"
    assert Measurement.length(vol, P, Q, label="a", author="reader 1^").author == "reader 1"


@pytest.mark.parametrize("author", ["", "^", "a\\b", "a=b", "x" * 64])
def test_author_that_is_no_person_name_is_refused(vol: xr.DataArray, author: str) -> None:
    with pytest.raises(InvalidInputError, match="author"):
        Measurement.length(vol, P, Q, label="a", author=author)


def test_algorithm_has_a_version(vol: xr.DataArray) -> None:
    assert Measurement.length(vol, P, Q, label="a", algorithm="nnU-Net 2.5").algorithm == "nnU-Net 2.5"
    with pytest.raises(InvalidInputError, match="version"):
        Measurement.length(vol, P, Q, label="a", algorithm="nnU-Net")


def test_time_of_measuring_has_a_zone_and_is_kept_in_utc(vol: xr.DataArray) -> None:
    local = NOON.astimezone(timezone(timedelta(hours=9)))
    assert Measurement.length(vol, P, Q, label="a", created_at=local).created_at == NOON
    with pytest.raises(InvalidInputError, match="time zone"):
        Measurement.length(vol, P, Q, label="a", created_at=NOON.replace(tzinfo=None))


def test_same_content_is_the_same_measurement(vol: xr.DataArray) -> None:
    assert Measurement.length(vol, P, Q, label="a") == Measurement.length(vol.copy(), list(P), Q, label="a")


@pytest.mark.parametrize(
    "change",
    [
        {"label": "b"},
        {"author": "other"},
        {"finding": codes.NODULE},
        {"site": codes.LUNG},
        {"algorithm": "rule 1"},
        {"created_at": NOON},
        {"points_lps": (P, (4.0, 6.0, 3.001))},
        {"value": 5.1},
        {"series_uid": "1.2.3"},
        {"frame_of_reference_uid": "1.2.3"},
    ],
)
def test_other_content_has_another_tracking_uid(vol: xr.DataArray, change: dict[str, object]) -> None:
    length = Measurement.length(vol, P, Q, label="a")
    assert dataclasses.replace(length, **change, tracking_uid="").tracking_uid != length.tracking_uid


@given(st.tuples(*[st.floats(-2000, 2000)] * 3))
def test_points_survive_the_precision_of_a_report(point: tuple[float, float, float]) -> None:
    length = Measurement("length", (point, (5000.0, 0, 0)), 1.0, "mm", "a", "1.2", "1.3", "x")
    np.testing.assert_allclose(length.points_lps[0], point, atol=1e-4)
    assert np.array_equal(np.float32(length.points_lps), length.points_lps)


def test_it_cannot_be_changed(vol: xr.DataArray) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Measurement.length(vol, P, Q, label="a").value = 3.0  # type: ignore[misc]


def test_reprs_are_safe_to_save_in_a_notebook(vol: xr.DataArray) -> None:
    length = Measurement.length(vol, P, Q, label="<script>alert(1)</script>", author="a<b>")
    shown = length._repr_html_()
    assert "<script>" not in shown
    assert "<b>" not in shown
    assert "5.0 mm" in shown
    for text in (shown, repr(length)):
        assert "Phantom" not in text
        assert "RP-PHANTOM" not in text
