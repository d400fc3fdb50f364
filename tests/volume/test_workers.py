"""Graphs run where their files can be read; a long series is reduced in little memory."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from distributed import Client, LocalCluster
from pydicom.uid import RLELossless

from researchpacs.errors import NotFoundError
from researchpacs.volume import open_volume

HEIGHTS = [(0, 0, 3.0 * k) for k in range(8)]


def test_two_worker_processes_compute_what_this_one_does(make_series):
    stored = np.random.default_rng(2).integers(0, 4096, (8, 40, 50)).astype(np.uint16)
    series = make_series(HEIGHTS, pixels=stored)
    small = make_series(
        HEIGHTS, pixels=stored, each=lambda k, ds: ds.compress(RLELossless, generate_instance_uid=False)
    )
    vol, compressed = open_volume(series, chunks={"z": 2, "y": 20}), open_volume(small)
    unread = open_volume(series, rescale=False)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        doubled = (vol + compressed.data).compute()
        plane = vol.isel(x=7).compute()
        mean = compressed.mean("z").compute()
        where = set(client.run(os.getpid).values())
        series.paths[3].unlink()
        with pytest.raises(NotFoundError, match=r"instance .* in series"):
            unread.compute()
        rest = vol.isel(z=slice(4, None)).compute()
    expected = vol.copy(data=stored.astype(np.int16) - 1024)
    assert len(where) == 2
    assert os.getpid() not in where
    np.testing.assert_array_equal(doubled.values, 2 * expected.values)
    np.testing.assert_array_equal(doubled.dicom.affine_lps, vol.dicom.affine_lps)
    assert plane.identical(expected.isel(x=7))
    np.testing.assert_allclose(mean.values, expected.values.mean(0))
    assert rest.identical(expected.isel(z=slice(4, None)))


REDUCE = """
import json, sys
import dask
import researchpacs as rp
from researchpacs.dicom.frame_traits import Timing
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.model import Frame, Location

path, size, times, slices, side = sys.argv[1], *map(int, sys.argv[2:])

class Cine:
    uid = "1.2.3"
    def attributes(self):
        return {"Modality": "MR", "FrameOfReferenceUID": "1.2.4"}
    def frames(self):
        layout = PixelLayout("1.2.840.10008.1.2.1", side, side, 1, 16, 16, 1, "MONOCHROME2", 0)
        return [
            Frame("1.2.5", t * slices + z, 1, (0.0, 0.0, 2.0 * z), (1.0, 0, 0, 0, 1, 0), (1.0, 1.0), 1.0, 0.0,
                  (t * slices + z) * side * side * 2, side * side * 2, layout, timing=Timing(acquired_us=2_000_000 * t))
            for t in range(times) for z in range(slices)
        ]
    def locate(self, sop_uids):
        return [Location(uid, path, size, 0) for uid in sop_uids]

vol = rp.open_volume(Cine())
with dask.config.set(num_workers=2):
    mean = vol.mean("time").compute()
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "nbytes": vol.nbytes, "dims": vol.dims, "peak": int(status["VmHWM"].split()[0]) * 1024,
    "values": sorted(set(mean.values.ravel().tolist())), "at": mean.values[3, 5, 7],
    "affine": mean.dicom.affine_lps.tolist(),
}))
"""


@pytest.mark.timeout(1800)
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="/proc is missing: only Linux tells peak memory")
@pytest.mark.parametrize(
    ("times", "slices", "nbytes", "most"),
    [(48, 25, 6e8, 5e8), pytest.param(400, 50, 1e10, 1e9, marks=pytest.mark.soak)],
    ids=["0.6 GB in 0.5 GB", "10 GB in 1 GB"],
)
def test_a_long_series_is_reduced_in_little_memory(tmp_path, times, slices, nbytes, most):
    side = 500
    path = tmp_path / "cine.raw"
    size = times * slices * side * side * 2
    with path.open("wb") as file:  # sparse: one pixel is there, the rest reads as zero
        file.truncate(size)
        file.seek(((times - 1) * slices + 3) * side * side * 2 + (5 * side + 7) * 2)
        file.write(np.int16(times * 4).tobytes())
    done = subprocess.run(
        [sys.executable, "-c", REDUCE, str(path), *map(str, (size, times, slices, side))],
        capture_output=True, text=True, check=True, timeout=1700,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["nbytes"] == size == nbytes
    assert found["dims"] == ["time", "z", "y", "x"]
    assert found["values"] == [0.0, 4.0]
    assert found["at"] == 4.0
    assert found["affine"][2][0] == 2.0
    assert found["peak"] < most
