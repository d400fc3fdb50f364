"""``xr.open_dataset(..., engine="researchpacs")`` gives what `open_volume` gives, from wherever it is."""

import pickle
import subprocess
import sys
import zipfile

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import researchpacs as rp
from researchpacs.errors import GeometryError, InvalidInputError, NotFoundError
from researchpacs.testing import small_ct
from researchpacs.volume import AxisIndex

ENGINE = {"engine": "researchpacs"}
STUDY, SERIES = small_ct().StudyInstanceUID, small_ct().SeriesInstanceUID
UNEVEN, TWO = f"{SERIES}.7", f"{SERIES}.8"
SIZES = {"z": 6, "y": 16, "x": 16}


def stack(uid, positions, *, first=1, coronal=False):
    axes = ["1", "0", "0", "0", "0", "-1"] if coronal else ["1", "0", "0", "0", "1", "0"]
    return [
        small_ct(
            first + k, SeriesInstanceUID=uid, SOPInstanceUID=f"{uid}.{first + k}", ImageOrientationPatient=axes,
            ImagePositionPatient=["0", str(at), "0"] if coronal else ["0", "0", str(at)],
        )
        for k, at in enumerate(positions)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    """An open archive with a study of a volume, of one with a gap, and of two stacks of other sizes."""
    with rp.connect(tmp_path_factory.mktemp("engine") / "home") as pacs:
        pacs.ingest([
            *(small_ct(number) for number in range(1, 7)),
            *stack(UNEVEN, [0, 2, 4, 9]),
            *stack(TWO, [0, 2, 4]),
            *stack(TWO, [0, 5, 10, 15], first=11, coronal=True),
        ])  # fmt: skip
        yield pacs


@pytest.fixture
def vol(pacs):
    return rp.read_volume(pacs.series(SERIES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for number in range(1, 7):
        small_ct(number).save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def test_a_uid_gives_the_volume_and_reads_it_where_it_is_indexed(vol):
    ds = xr.open_dataset(SERIES, **ENGINE)
    image = ds["image"]
    assert not image.variable._in_memory
    assert ds.encoding["source"] == SERIES
    np.testing.assert_array_equal(image.dicom.affine_lps, vol.dicom.affine_lps)
    assert all(isinstance(image.xindexes[axis], AxisIndex) for axis in "zyx")
    for take in ({"x": 3}, {"y": slice(10, 2, -3)}, {"z": [5, 0], "x": 2}, {"z": [4], "y": [1, 9]}):
        np.testing.assert_array_equal(image.isel(take).values, vol.isel(take).values)
    assert not image.variable._in_memory
    assert image.identical(vol.rename("image"))
    assert float(np.abs(image - vol).max()) == 0


def test_chunks_make_it_a_dask_array_of_frames(vol):
    ds = xr.open_dataset(SERIES, chunks={}, **ENGINE)
    assert isinstance(ds["image"].data, da.Array)
    assert ds["image"].chunks == ((1,) * 6, (16,), (16,))
    assert isinstance(ds["image"].xindexes["z"], AxisIndex)
    assert ds["image"].compute().identical(vol.rename("image"))
    ds = xr.open_dataset(SERIES, chunks={"z": 6, "y": 4}, **ENGINE)
    assert ds["image"].chunks == ((6,), (4,) * 4, (16,))
    np.testing.assert_array_equal(ds["image"].mean("z").values, vol.mean("z").values)


def test_it_is_pickled_unread(vol):
    ds = xr.open_dataset(SERIES, **ENGINE)
    sent = pickle.dumps(ds)
    assert len(sent) < 20_000
    assert pickle.loads(sent)["image"].identical(vol.rename("image"))


def test_a_uid_is_looked_up_in_open_archives_then_in_the_default_one_or_in_that_which_is_named(
    pacs, vol, monkeypatch, tmp_path
):
    monkeypatch.setenv("RESEARCHPACS_HOME", str(tmp_path / "default"))
    assert xr.open_dataset(pacs.series(SERIES), **ENGINE)["image"].identical(vol.rename("image"))
    with rp.connect() as default:
        default.ingest(small_ct(1, SeriesInstanceUID=f"{SERIES}.9"))
    assert xr.open_dataset(f"{SERIES}.9", **ENGINE).sizes["z"] == 1
    assert xr.open_dataset(SERIES[:-1], home=tmp_path / "default", **ENGINE).sizes["z"] == 1


def test_a_folder_is_opened_where_it_lies_and_nothing_is_left_behind(folder, vol, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
    for given in (folder, str(folder)):
        assert xr.open_dataset(given, **ENGINE)["image"].identical(vol.rename("image"))
    assert xr.open_dataset(folder / "2.dcm", **ENGINE)["image"].shape == (1, 16, 16)
    assert list(tmp_path.iterdir()) == []
    assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before


def test_what_names_no_series_is_refused(pacs, folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as packed:
        packed.write(folder / "1.dcm", "1.dcm")
    (tmp_path / "several").mkdir()
    for number, uid in enumerate((SERIES, UNEVEN)):
        small_ct(number + 1, SeriesInstanceUID=uid).save_as(
            tmp_path / "several" / f"{number}.dcm", enforce_file_format=True
        )
    (tmp_path / "empty").mkdir()
    for given, error, words in (
        (tmp_path / "scan.zip", InvalidInputError, "zip archive"),
        (tmp_path / "several", InvalidInputError, "more than one series"),
        (tmp_path / "empty", InvalidInputError, "no DICOM"),
        (tmp_path / "absent", NotFoundError, "nothing at that path"),
        ("dicomweb+http://127.0.0.1:9/dicom-web", InvalidInputError, "/series/<uid>"),
        ("orthanc+http://127.0.0.1:9/studies/1.2", InvalidInputError, "/series/<uid>"),
        (5, InvalidInputError, "int"),
    ):
        with pytest.raises(error, match=words):
            xr.open_dataset(given, **ENGINE)
    with pytest.raises(NotFoundError):
        xr.open_dataset("1.2.3.4.5", home=pacs.home, **ENGINE)
    with pytest.raises(InvalidInputError, match="home="):
        xr.open_dataset(folder, home=pacs.home, **ENGINE)


def test_options_are_those_of_open_volume(pacs):
    with pytest.raises(GeometryError, match="off the regular grid"):
        xr.open_dataset(UNEVEN, **ENGINE)
    repaired = xr.open_dataset(UNEVEN, on_irregular="repair", **ENGINE)
    assert bool(repaired["interpolated"].any())
    stored = xr.open_dataset(SERIES, rescale=False, drop_variables="frame", **ENGINE)
    np.testing.assert_array_equal(stored["image"][2].values, small_ct(3).pixel_array)
    assert "frame" not in stored.coords


@pytest.mark.parametrize("chunks", [None, {}])
def test_a_study_is_a_tree_of_all_its_series(pacs, vol, chunks):
    tree = xr.open_datatree(STUDY, chunks=chunks, **ENGINE)
    assert tree.attrs["StudyInstanceUID"] == STUDY
    assert set(tree.children) == {SERIES, UNEVEN, TWO}
    image = tree[SERIES]["image"]
    assert image.drop_attrs(deep=False).identical(vol.rename("image").drop_attrs(deep=False))
    assert isinstance(image.xindexes["z"], AxisIndex)
    assert "off the regular grid" in tree[UNEVEN].attrs["refused"]
    assert dict(tree[UNEVEN].sizes) == {"frame": 4, "row": 16, "column": 16}
    assert "frame" not in tree[UNEVEN].coords
    assert {name: dict(part.sizes) for name, part in tree[TWO].children.items()} == {
        "1": {"z": 3, "y": 16, "x": 16}, "2": {"z": 4, "y": 16, "x": 16},
    }  # fmt: skip
    assert tree[TWO]["1"]["image"].dicom.orientation != tree[TWO]["2"]["image"].dicom.orientation
    assert set(xr.open_groups(STUDY, **ENGINE)) == set(tree.groups)


def test_it_answers_unasked_only_to_its_own_urls(tmp_path, folder):
    from researchpacs._xarray import ResearchPacsBackend

    backend = ResearchPacsBackend()
    for given in (SERIES, str(folder), folder / "1.dcm", "a.nc", "https://host/series/1.2", 5, b"x", tmp_path):
        assert not backend.guess_can_open(given)
    assert backend.guess_can_open("dicomweb+https://host/dicom-web/studies/1.2.3/series/1.2.3.4")
    assert backend.guess_can_open("orthanc+http://user:secret@host:8042/series/1.2.3")


def test_looking_for_engines_loads_nothing_heavy():
    code = (
        "import sys, xarray as xr; found = xr.backends.list_engines()['researchpacs']; "
        "print([m for m in ('duckdb', 'pydicom', 'SimpleITK', 'researchpacs._pacs') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
