"""Read a CT of 512 x 512 x 400, uncompressed: all of it, the first slice, and a plane across all slices."""

import json
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from _measure import Clock, alternately, clock
from _row import Row
from _series import ingested, open_series, write_ct

SLICES = 400


def rows() -> Iterable[Row]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files, home = root / "ct", root / "home"
        uid, warm_uid = write_ct(files, slices=SLICES), write_ct(root / "warm", slices=8)
        ingested(files, home)
        ingested(root / "warm", home)
        given = json.dumps({
            "home": str(home), "files": str(files), "uid": uid, "warm": str(root / "warm"), "warm_uid": warm_uid,
        })  # fmt: skip
        volume_bytes = SLICES * 512 * 512 * 2
        versions = {name: version(name) for name in ("researchpacs", "SimpleITK", "numpy", "dask", "xarray")}
        read, peer, bare, lazy = alternately(ours_read, sitk_read, bare_read, ours_compute, given=given)
        volumes = _volumes(read.peak_bytes, volume_bytes)
        ratio = peer.seconds / read.seconds
        yield Row(
            f"read_volume, CT 512x512x{SLICES} ({volumes:.2f} volumes at the peak)", read.seconds,
            "SimpleITK ImageSeriesReader, names given", peer.seconds, "ratio >= 5, peak <= 1.2 volumes",
            ratio >= 5 and volumes <= 1.2, _mb(read.peak_bytes), read.rounds, versions, (read.slowest, peer.slowest),
        )  # fmt: skip
        yield Row(
            "read_volume, the same", read.seconds,
            "its pixels read into a fresh array by one loop: what disk and memory allow", bare.seconds, "",
            None, None, read.rounds, versions, (read.slowest, bare.slowest),
        )  # fmt: skip
        volumes = _volumes(lazy.peak_bytes, volume_bytes)
        yield Row(
            f"open_volume().compute() ({volumes:.2f} volumes at the peak)", lazy.seconds,
            "SimpleITK ImageSeriesReader, names given", peer.seconds, "peak <= 2.2 volumes",
            volumes <= 2.2, _mb(lazy.peak_bytes), lazy.rounds, versions, (lazy.slowest, peer.slowest),
        )  # fmt: skip
        first, peer = alternately(ours_first_slice, sitk_first_slice, given=given)
        yield Row(
            "first slice through open_volume, warm process", first.seconds,
            "SimpleITK: list the series, read one file", peer.seconds, "ratio >= 5",
            peer.seconds / first.seconds >= 5, _mb(first.peak_bytes), first.rounds, versions,
            (first.slowest, peer.slowest),
        )  # fmt: skip
        plane, peer = alternately(ours_sagittal, sitk_read, given=given)
        yield Row(
            "open the series and read a sagittal plane (xarray's engine)", plane.seconds,
            "SimpleITK ImageSeriesReader, names given", peer.seconds, "ratio >= 10",
            peer.seconds / plane.seconds >= 10, _mb(plane.peak_bytes), plane.rounds, versions,
            (plane.slowest, peer.slowest),
        )  # fmt: skip


def ours_read(given: str) -> Clock:
    import researchpacs as rp

    at = json.loads(given)
    series = open_series(Path(at["home"]), at["uid"])
    rp.read_volume(open_series(Path(at["home"]), at["warm_uid"]))
    with clock() as found:
        vol = rp.read_volume(series)
    assert vol.shape == (SLICES, 512, 512)
    return found


def ours_compute(given: str) -> Clock:
    import researchpacs as rp

    at = json.loads(given)
    series = open_series(Path(at["home"]), at["uid"])
    rp.open_volume(open_series(Path(at["home"]), at["warm_uid"])).compute()
    with clock() as found:
        vol = rp.open_volume(series).compute()
    assert vol.shape == (SLICES, 512, 512)
    return found


def sitk_read(given: str) -> Clock:
    import SimpleITK

    at = json.loads(given)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in sorted(Path(at["warm"]).iterdir())])
    reader.Execute()
    reader.SetFileNames([str(path) for path in sorted(Path(at["files"]).iterdir())])
    with clock() as found:
        image = reader.Execute()
    assert image.GetSize() == (512, 512, SLICES)
    return found


def bare_read(given: str) -> Clock:
    import numpy as np

    names = sorted(Path(json.loads(given)["files"]).iterdir())
    with clock() as found:
        data = np.empty((SLICES, 512, 512), np.int16)
        for name, plane in zip(names, data, strict=True):
            with name.open("rb", buffering=0) as file:
                file.seek(-plane.nbytes, 2)
                assert file.readinto(plane.data.cast("B")) == plane.nbytes
    return found


def ours_first_slice(given: str) -> Clock:
    import researchpacs as rp

    at = json.loads(given)
    _ = rp.open_volume(open_series(Path(at["home"]), at["warm_uid"]))[0].values
    series = open_series(Path(at["home"]), at["uid"])
    with clock() as found:
        plane = rp.open_volume(series)[0].values
    assert plane.shape == (512, 512)
    return found


def ours_sagittal(given: str) -> Clock:
    import xarray as xr

    at = json.loads(given)
    _ = xr.open_dataset(open_series(Path(at["home"]), at["warm_uid"]), engine="researchpacs")["image"][:, :, 0].values
    series = open_series(Path(at["home"]), at["uid"])
    with clock() as found:
        plane = xr.open_dataset(series, engine="researchpacs")["image"].isel(x=256).values
    assert plane.shape == (SLICES, 512)
    return found


def sitk_first_slice(given: str) -> Clock:
    import SimpleITK

    at = json.loads(given)
    _first_slice(SimpleITK, at["warm"], at["warm_uid"])
    with clock() as found:
        image = _first_slice(SimpleITK, at["files"], at["uid"])
    assert image.GetSize()[:2] == (512, 512)
    return found


def _first_slice(sitk, folder, uid):
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder, uid)
    return sitk.ReadImage(names[0])


def _volumes(peak_bytes: int | None, volume_bytes: int) -> float:
    return float("nan") if peak_bytes is None else peak_bytes / volume_bytes


def _mb(peak_bytes: int | None) -> float | None:
    return None if peak_bytes is None else peak_bytes / 1e6
