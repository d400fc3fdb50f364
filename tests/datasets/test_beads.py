"""The phantom of beads: valid DICOM, the same everywhere, and where `truth` says that its beads are."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import researchpacs as rp
from researchpacs import datasets
from researchpacs.errors import GeometryError

SETS = ("tilted_ct", "gapped_ct", "cine_mr", "enhanced_mr")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory, cache: Path):
    with rp.connect(tmp_path_factory.mktemp("home")) as pacs:
        pacs.ingest([datasets.path(name, cache=cache) for name in SETS], progress=False)
        yield {name: pacs.series(datasets.truth(name)["SeriesInstanceUID"]) for name in SETS}


def centres(vol: xr.DataArray, name: str) -> dict[str, np.ndarray]:
    """Centres of mass of the beads in a (z, y, x) volume, LPS mm."""
    points = vol.dicom.to_lps(np.indices(vol.shape).reshape(3, -1).T)
    values = vol.values.ravel().astype(float)
    water = np.median(values[np.hypot(*points[:, :2].T) < 10])
    found = {}
    for bead, known in datasets.truth(name)["beads"].items():
        near = np.linalg.norm(points - known["center_lps"], axis=1) < 14
        weights = np.clip(values[near] - water, 0, None)
        found[bead] = (points[near] * weights[:, None]).sum(axis=0) / weights.sum()
    return found


@pytest.mark.parametrize("name", SETS)
def test_the_files_are_valid_and_small(cache: Path, name: str) -> None:
    files = sorted(datasets.path(name, cache=cache).iterdir())
    assert sum(file.stat().st_size for file in files) < 1_000_000
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is missing: apt-get install dicom3tools")
    for file in (files[0], files[-1]):
        verdict = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
        assert [line for line in (verdict.stdout + verdict.stderr).splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("name", SETS)
def test_the_bytes_are_the_same_each_time(cache: Path, tmp_path: Path, name: str) -> None:
    def digest(folder: Path) -> str:
        return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.iterdir()))).hexdigest()

    assert digest(datasets.path(name, cache=cache)) == digest(datasets.path(name, cache=tmp_path))


@pytest.mark.parametrize("name", SETS)
def test_beads_are_where_the_truth_says_also_after_a_repair(series, name: str) -> None:
    vol = rp.read_volume(series[name], on_irregular="repair")
    for _ in range(vol.ndim - 3):
        vol = vol[0]
    assert vol.dicom.frame_of_reference_uid == datasets.truth(name)["FrameOfReferenceUID"]
    for bead, center in centres(vol, name).items():
        off = (center - datasets.truth(name)["beads"][bead]["center_lps"]) / vol.dicom.spacing[::-1]
        assert np.linalg.norm(off) < 0.5, bead


def test_a_tilt_and_lost_slices_are_told(series) -> None:
    with pytest.raises(GeometryError, match=r"13\.50 degrees") as tilted:
        rp.open_volume(series["tilted_ct"])
    with pytest.raises(GeometryError) as gapped:
        rp.open_volume(series["gapped_ct"])
    assert (tilted.value.reasons, gapped.value.reasons) == (("gantry_tilt",), ("missing_slices",))
    repaired = rp.open_volume(series["gapped_ct"], on_irregular="repair")
    assert tuple(np.flatnonzero(repaired.interpolated)) == datasets.truth("gapped_ct")["missing_slices"]


def test_the_heart_beats_as_the_truth_says(series) -> None:
    truth, vol = datasets.truth("cine_mr"), rp.read_volume(series["cine_mr"])
    assert vol.dims == ("phase", "z", "y", "x")
    assert tuple(vol.phase.values) == truth["trigger_ms"]
    middle = vol.interp(z=0.0, method="linear").sel(x=slice(-40, -8), y=slice(-16, 16))
    area = (middle - 200).clip(0).sum(("y", "x")).values / 1500 * 4
    # Two slices 3 mm above and below the middle: their cross-sections are those of chords.
    expected = [np.pi * (radius**2 - 9) for radius in truth["beating_radius_mm"]]
    np.testing.assert_allclose(area, expected, rtol=0.08)
    assert int(np.argmin(area)) == 5


def test_the_echoes_decay_with_their_times(series) -> None:
    vol = rp.read_volume(series["enhanced_mr"])
    assert vol.dims == ("echo", "z", "y", "x")
    assert tuple(vol.echo.values) == datasets.truth("enhanced_mr")["echo_ms"] == (10.0, 40.0)
    center = vol.dicom.to_index(datasets.truth("enhanced_mr")["beads"]["left"]["center_lps"]).round().astype(int)
    first, second = vol.values[(slice(None), *center)]
    assert np.log(first / second) == pytest.approx((40 - 10) / 60, rel=0.01)
