"""A series has the same voxels in files, references and a zip archive, and behind servers: those that pydicom finds."""

import hashlib
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
import xarray as xr

import researchpacs as rp
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access

pytestmark = [pytest.mark.server, pytest.mark.data]

CUT = {"x": slice(60, 63), "y": slice(10, 140, 2)}


@pytest.fixture(scope="module")
def folder(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten neighbouring slices of a real CT."""
    paths = list((real_data / "petct_mr_rtstruct_sts_002" / "CT" / "image").iterdir())
    paths.sort(key=lambda path: pydicom.dcmread(path, specific_tags=["ImagePositionPatient"]).ImagePositionPatient[2])
    folder = tmp_path_factory.mktemp("ct")
    for path in paths[20:30]:
        shutil.copy(path, folder)
    return folder


@pytest.fixture(scope="module")
def expected(folder: Path) -> tuple[str, str]:
    """Digests of all voxels and of a cut through all slices, by pydicom and numpy alone."""
    datasets = sorted(map(pydicom.dcmread, folder.iterdir()), key=lambda ds: ds.ImagePositionPatient[2])
    planes = [ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in datasets]
    voxels = np.stack(planes).astype(np.int16)
    return digest(voxels), digest(voxels[:, CUT["y"], CUT["x"]])


def digest(voxels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(voxels)).hexdigest()


def found(series: rp.Pacs) -> Iterator[tuple[str, str]]:
    """The digests by each way of reading."""
    lazy, parts = rp.open_volume(series), rp.open_volume(series, chunks={"z": 7, "y": 50, "x": 80})
    yield digest(rp.read_volume(series).values), digest(lazy.isel(CUT).values)
    yield digest(lazy.values), digest(parts.isel(CUT).values)
    yield digest(parts.values), digest(xr.open_dataset(series, engine="researchpacs")["image"].isel(CUT).values)


@pytest.mark.parametrize("kind", ["copied", "referenced", "zipped"])
def test_on_this_machine(kind: str, folder: Path, expected: tuple[str, str], tmp_path: Path) -> None:
    source = folder
    if kind == "zipped":
        source = tmp_path / "scan.zip"
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in folder.iterdir():
                packed.write(path, path.name)
    with rp.connect(tmp_path / "home") as pacs:
        (series,) = pacs.ingest(source, copy=kind != "referenced", progress=False).series
        assert set(found(series)) == {expected}


@pytest.fixture
def default_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEARCHPACS_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("default_home")
def test_behind_debians_orthanc(real_orthanc, folder: Path, expected: tuple[str, str]) -> None:
    with real_orthanc(*map(pydicom.dcmread, folder.iterdir()), plugin=True) as http:
        _, host, port = str(http.base_url).rstrip("/").rsplit(":", 2)
        _both(f"http:{host}:{port}", "/dicom-web", expected)


@pytest.mark.usefixtures("default_home")
def test_behind_our_own_server(served, folder: Path, expected: tuple[str, str], tmp_path: Path) -> None:
    with rp.connect(tmp_path / "served") as local, served(create_app(local, access=Access())) as url:
        local.ingest(folder, progress=False)
        _both(url, "/dicom-web", expected)


def _both(root: str, dicomweb: str, expected: tuple[str, str]) -> None:
    """By Orthanc's own routes and by DICOMweb; by handle, and by URL through xarray."""
    assert httpx.get(f"{root}/system", timeout=30).status_code == 200
    for url in (f"orthanc+{root}", f"dicomweb+{root}{dicomweb}"):
        with rp.connect(f"{url}/") as pacs:
            (series,) = pacs.search("series")
            assert set(found(series)) == {expected}
            uid, study = series.SeriesInstanceUID, series.StudyInstanceUID
        image = xr.open_dataset(f"{url}/series/{uid}", engine="researchpacs")["image"]
        assert (digest(image.values), digest(image.isel(CUT).values)) == expected
    unasked = xr.open_dataset(f"{url}/studies/{study}/series/{uid}", chunks={})["image"]
    assert digest(unasked.isel(CUT).values) == expected[1]
    tree = xr.open_datatree(f"{url}/studies/{study}", engine="researchpacs")
    assert digest(tree[uid]["image"].isel(CUT).values) == expected[1]
