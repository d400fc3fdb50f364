"""The closed loop, and notebooks that share an archive."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import researchpacs as rp
from researchpacs.errors import InvalidInputError, NotFoundError


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory):
    with rp.connect(tmp_path_factory.mktemp("loop") / "home") as pacs:
        pacs.ingest(rp.datasets.path("chest_ct"))
        yield pacs


@pytest.fixture
def series(pacs: rp.Pacs):
    return pacs.search("series", Modality="CT").one()


def test_a_measured_number_comes_back_from_sql_and_as_a_measurement(pacs: rp.Pacs, series):
    truth = rp.datasets.truth("chest_ct")["nodule"]
    vol = rp.open_volume(series)
    length = rp.Measurement.length(vol, *truth["diameter_ends_lps"], label="round trip")
    assert length.value == pytest.approx(truth["diameter_mm"], abs=1e-6)

    assert pacs.ingest(length).stored == 1
    assert pacs.ingest(length).duplicates == 1

    rows = pacs.sql(
        "select value, unit, SeriesInstanceUID from measurements where label = $label", label="round trip"
    ).fetchall()
    assert rows == [(pytest.approx(length.value, abs=1e-3), "mm", series.SeriesInstanceUID)]

    (back,) = (made for made in pacs.annotations(series) if made.label == "round trip")
    np.testing.assert_allclose(back.points_lps, length.points_lps, atol=1e-4)


def test_lengths_drawn_in_a_viewer_are_saved_where_the_series_is(pacs: rp.Pacs, series):
    vol = rp.open_volume(series)
    viewer = rp.view(vol)
    points = vol.dicom.to_lps([[3, 100, 100], [3, 100, 180]])
    message = {
        "kind": "mark",
        "id": "1",
        "shape": "length",
        "volume": 0,
        "plane": "axial",
        "index": 3,
        "points_lps": points.tolist(),
    }
    viewer._handle_custom_msg(message, [])
    viewer._handle_custom_msg({"kind": "label", "id": "1", "label": "drawn"}, [])
    assert viewer.save().stored == 1
    rows = pacs.sql("select value from measurements where label = 'drawn'").fetchall()
    assert rows == [(pytest.approx(80 * vol.dicom.spacing[2], abs=1e-4),)]


def test_a_volume_equals_the_truth_of_the_phantom(series):
    truth = rp.datasets.truth("chest_ct")
    vol = rp.read_volume(series)
    z, y, x = np.round(vol.dicom.to_index(truth["nodule"]["center_lps"])).astype(int)
    inside = vol.isel(z=z, y=slice(y - 2, y + 3), x=slice(x - 2, x + 3))
    assert float(inside.mean()) == pytest.approx(truth["nodule"]["hu"], abs=25)
    assert vol.attrs["units"] == "HU"


def test_handles_know_their_attributes_and_name_nobody(series):
    assert series.Modality == "CT"
    assert series.PatientName is not None
    assert series.EchoTime is None
    with pytest.raises(AttributeError, match="SeriesDescription"):
        _ = series.SeriesDescripton
    person = str(series.PatientName)
    for handle in (series, series.study, series.instances[0]):
        assert person not in repr(handle) + handle._repr_html_()
        assert str(series.PatientID) not in repr(handle) + handle._repr_html_()


def test_header_is_the_first_instance_without_pixels(series):
    header = series.header()
    assert header.InstanceNumber == 1
    assert "PixelData" not in header


def test_handles_are_found_by_a_unique_beginning_of_their_uid(pacs: rp.Pacs, series):
    assert pacs.series(series.uid[:-1]) == series
    assert series in pacs.study(series.study.uid).series
    with pytest.raises(NotFoundError):
        pacs.series("9.9.9")
    with pytest.raises(InvalidInputError):
        pacs.series("*")


def test_delete_leaves_every_table(tmp_path: Path):
    with rp.connect(tmp_path / "home") as pacs:
        pacs.ingest(rp.datasets.path("chest_ct", slices=4))
        (study,) = pacs.search()
        assert pacs.delete(study, dry_run=True) == 4
        assert pacs.delete(study) == 4
        tables = ("patients", "studies", "series", "instances", "frames", "geometry", "measurements", "issues")
        left = {table: pacs.sql(f"select count(*) from {table}").fetchall()[0][0] for table in tables}
        assert left == dict.fromkeys(tables, 0)
        assert not list((tmp_path / "home").glob("archive/*/*.dcm"))


def test_pacs_repr_shows_counts(pacs: rp.Pacs):
    assert "1 patients, 1 studies" in repr(pacs)


def test_two_notebooks_ingest_and_query_at_the_same_time(tmp_path: Path):
    """Four processes on one home, two ingesting and two asking: all succeed, and no answer is torn."""
    home = tmp_path / "home"
    rp.connect(home).close()
    write = textwrap.dedent("""
        import sys, researchpacs as rp
        with rp.connect(sys.argv[1]) as pacs:
            report = pacs.ingest(rp.datasets.path(sys.argv[2], slices=40))
            assert report.stored == 40, report
            n = pacs.sql("select count(*) from instances where SeriesInstanceUID = $uid", uid=report.series[0].uid)
            assert n.fetchall() == [(40,)]
    """)
    ask = textwrap.dedent("""
        import sys, time, researchpacs as rp
        end = time.monotonic() + 8
        with rp.connect(sys.argv[1]) as pacs:
            while time.monotonic() < end:
                torn = pacs.sql('''
                    select s.SeriesInstanceUID from series s left join instances i using (SeriesInstanceUID)
                    group by all having any_value(s.instance_count) <> count(i.SOPInstanceUID)
                ''').fetchall()
                assert torn == [], torn
    """)
    commands = [(write, "chest_ct"), (write, "chest_ct_prior"), (ask, ""), (ask, "")]
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(home), name], stderr=subprocess.PIPE, text=True)
        for code, name in commands
    ]
    faults = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 4, "\n".join(faults)
    with rp.connect(home) as pacs:
        assert pacs.sql("select sum(instance_count) from series").fetchall() == [(80,)]


def test_marks_that_were_saved_are_there_when_the_series_is_viewed_again(pacs: rp.Pacs, series):
    vol = rp.open_volume(series)
    first = rp.view(vol)
    centre, rim = vol.dicom.to_lps([[3, 100, 100], [3, 100, 120]]).tolist()
    place = {"kind": "mark", "id": "1", "shape": "circle", "plane": "axial", "index": 3, "volume": 0}
    first._handle_custom_msg({**place, "points_lps": [centre, rim]}, [])
    assert first.save().stored == 1
    again = series.view()
    assert set(again.annotations) == set(first.annotations)
    (mark,) = (one for one in again._marks if one["label"] == "circle 1")
    assert (mark["shape"], mark["plane"], mark["index"], mark["state"]) == ("ellipse", "axial", 3, "saved")
    quantities = pacs.sql("select quantity, value, unit from measurements where label = 'circle 1'").fetchall()
    assert {name for name, _, _ in quantities} == {"Area", "Mean", "Standard Deviation", "Minimum", "Maximum"}
    near = vol.values[3, 80:121, 80:121].astype(float)
    y, x = np.ogrid[-20:21, -20:21]
    under = near[y**2 + x**2 <= 400]
    found = {name: value for name, value, _ in quantities}
    assert found["Mean"] == pytest.approx(under.mean(), abs=1)
    assert (found["Minimum"], found["Maximum"]) == (under.min(), under.max())
