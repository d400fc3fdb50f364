"""Opening reads nothing; asking for a slice reads that slice."""

import pickle
import time
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest

import researchpacs as rp
from researchpacs.dicom.frame_traits import Timing
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.volume import open_volume, plan, read_volume

HEIGHTS = [(0, 0, 3.0 * k) for k in range(8)]


def bytes_read():
    """What this process has read so far, by the kernel's count."""
    counts = Path("/proc/self/io")
    if not counts.exists():
        pytest.skip("/proc/self/io is missing: only Linux counts what a process reads")
    return int(counts.read_text().split()[1])


class Known:
    """A series that has answered once already, so that nothing but pixels is left to read."""

    def __init__(self, series):
        self.uid, self._attributes, self._frames = series.uid, series.attributes(), series.frames()
        self._places = {u.sop_uid: u for u in series.locate([f.sop_uid for f in self._frames])}

    def attributes(self):
        return self._attributes

    def frames(self):
        return self._frames

    def locate(self, sop_uids):
        return [self._places[uid] for uid in sop_uids]


def test_opening_needs_no_file_and_a_slice_needs_only_its_own(make_series):
    series = Known(make_series(HEIGHTS))
    expected = read_volume(series)
    for path in [Path(u.path) for u in series.locate([f.sop_uid for f in series.frames()])][:5]:
        path.unlink()
    vol = open_volume(series)
    np.testing.assert_array_equal(vol.isel(z=6).values, expected.values[6])
    with pytest.raises(NotFoundError, match="gone"):
        vol.isel(z=2).compute()


def test_opening_reads_no_byte_and_a_slice_reads_one_frame(make_series):
    side = 512
    series = Known(make_series(HEIGHTS, pixels=np.zeros((8, side, side), np.uint16)))
    open_volume(series).isel(z=0).compute()  # whatever is imported on first use
    before = bytes_read()
    vol = open_volume(series)
    noise = bytes_read() - before
    assert noise < 5_000  # reading the counter itself
    vol.isel(z=5).compute(scheduler="synchronous")
    frame = side * side * 2
    assert frame <= bytes_read() - before - noise < frame + 10_000


def test_the_graph_is_picklable_and_holds_places_not_files(make_series):
    vol = open_volume(make_series(HEIGHTS))
    back = pickle.loads(pickle.dumps(vol))
    assert back.identical(vol)
    assert back.dicom.spacing == vol.dicom.spacing
    assert len(pickle.dumps(vol)) < 20_000


def test_what_a_scheduler_may_log_of_a_task_has_no_path(make_series):
    series = make_series(HEIGHTS)
    vol = open_volume(series)
    assert str(series.paths[0].parent) not in repr(dict(vol.data.dask))


def test_names_are_hashes_of_content(make_series):
    series = make_series(HEIGHTS)
    vol = open_volume(series)
    assert open_volume(series).data.name == vol.data.name
    assert open_volume(series, rescale=False).data.name != vol.data.name
    assert open_volume(make_series(HEIGHTS)).data.name != vol.data.name
    assert dask.base.tokenize(open_volume(series).data) == dask.base.tokenize(vol.data)


@pytest.mark.parametrize(("chunks", "expected"), [
    ("frame", ((1,) * 8, (5,), (6,))),
    (3, ((3, 3, 2), (5,), (6,))),
    ({"z": 4}, ((4, 4), (5,), (6,))),
    ({"z": 4, "y": 2}, ((4, 4), (2, 2, 1), (6,))),
    ({"x": 3}, ((1,) * 8, (5,), (3, 3))),
    (100, ((8,), (5,), (6,))),
])  # fmt: skip
def test_chunks_are_frames_numbers_of_slices_or_sizes_by_axis(make_series, chunks, expected):
    series = make_series(HEIGHTS)
    vol = open_volume(series, chunks=chunks)
    assert vol.chunks == expected
    assert vol.compute().identical(read_volume(series))


@pytest.mark.parametrize("chunks", ["slice", 0, {"z": 0}, {"t": 1}, 1.5, {"z": "auto"}])
def test_chunks_that_make_no_sense_are_refused(make_series, chunks):
    with pytest.raises(InvalidInputError, match="chunks="):
        open_volume(make_series(HEIGHTS), chunks=chunks)


def test_slices_are_sorted_whatever_the_order_of_files(make_series):
    heights = [HEIGHTS[k] for k in (3, 0, 7, 1, 6, 2, 5, 4)]
    vol = read_volume(make_series(heights))
    assert vol.z.values.tolist() == [3.0 * k for k in range(8)]
    assert vol.values[:, 0, 0].tolist() == [100 * heights.index(h) - 1024 for h in HEIGHTS]


def repeat(times):
    def each(k, ds):
        ds.AcquisitionDate, ds.AcquisitionTime = "20250217", f"1015{k // (len(HEIGHTS) // times):02}"

    return each


def test_repeated_stacks_are_chunks_of_frames_that_read_alone(make_series):
    heights = HEIGHTS[:4] * 2
    series = make_series(heights, each=repeat(2))
    vol = open_volume(series, chunks={"z": 3})
    assert (vol.dims, vol.shape) == (("time", "z", "y", "x"), (2, 4, 5, 6))
    assert vol.chunks == ((1, 1), (3, 1), (5,), (6,))
    assert vol.compute().identical(read_volume(series))
    assert pickle.loads(pickle.dumps(vol)).identical(vol)
    assert vol.isel(time=1, z=2).values[0, 0] == 600 - 1024


def test_twenty_thousand_frames_over_time_are_planned_in_a_second(make_series):
    known = Known(make_series(HEIGHTS[:1]))
    (frame,) = known.frames()
    known._frames = [
        replace(
            frame,
            sop_uid=f"1.2.{t}.{z}",
            position=(0.0, 0.0, 2.0 * z),
            instance_number=t * 100 + z + 1,
            timing=Timing(acquired_us=2_000_000 * t),
        )
        for t in range(200)
        for z in range(100)
    ]
    start = time.process_time()
    planned = plan(known)
    assert time.process_time() - start < 1.0
    assert planned.shape == (200, 100, 5, 6)
    assert [one.name for one in planned.dimensions] == ["time"]


@pytest.mark.data
def test_a_mosaic_is_read_as_a_whole(real_data, home):
    with rp.connect(home) as pacs:
        series = pacs.ingest(real_data / "mr_fmri_4d" / "20180918Si", copy=False, progress=False).series[0]
        vol = open_volume(series)
        assert vol.chunks == ((1, 1), (5,), (72,), (72,))
        assert len(dict(vol.data.dask)) == 2
        assert vol.compute().identical(read_volume(series))
