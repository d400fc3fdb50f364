"""A plane or a crop reads its part of each frame; a compressed frame is decoded once."""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import RLELossless

from researchpacs.errors import ConflictError, InvalidInputError, NotFoundError, PixelDataError
from researchpacs.storage.frame_cache import frames as held
from researchpacs.volume import open_volume, read_volume
from researchpacs.volume._lazy import frame_array
from researchpacs.volume._slices import slices_of
from researchpacs.volume.plan import plan

SIDE = 256
FRAME = SIDE * SIDE * 2
HEIGHTS = [(0, 0, 3.0 * k) for k in range(6)]
NOISE = 50_000
"""Bytes that a test runner and late imports may read meanwhile; the frames have 786,432."""


@dataclass
class Known:
    """A series that has answered once, so that nothing but pixels is left to read; of references if asked."""

    series: object
    referenced: bool = False

    def __post_init__(self):
        self.uid = self.series.uid
        self._attributes, self._frames = self.series.attributes(), self.series.frames()
        self._places = {u.sop_uid: self._placed(u) for u in self.series.locate([f.sop_uid for f in self._frames])}

    def attributes(self):
        return self._attributes

    def frames(self):
        return self._frames

    def locate(self, sop_uids):
        return [self._places[uid] for uid in sop_uids]

    def _placed(self, place):
        return replace(place, mtime_ns=Path(place.path).stat().st_mtime_ns) if self.referenced else place


@contextmanager
def counted():
    """Count the bytes that this process reads by the kernel's count, beside that of reading the counter."""
    counts = Path("/proc/self/io")
    if not counts.exists():
        pytest.skip("/proc/self/io is missing: only Linux counts what a process reads")
    found = []
    before = int(counts.read_text().split()[1])
    noise = int(counts.read_text().split()[1]) - before
    yield found
    found.append(int(counts.read_text().split()[1]) - before - 2 * noise)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(3).integers(0, 4096, (len(HEIGHTS), SIDE, SIDE)).astype(np.uint16)


@pytest.fixture(params=[False, True], ids=["ours", "referenced"])
def series(make_series, noise, request):
    return Known(make_series(HEIGHTS, pixels=noise), request.param)


@pytest.mark.parametrize("chunks", ["frame", 4, {"z": 6, "y": 100}])
@pytest.mark.parametrize("take", [
    {"x": 100}, {"y": 31}, {"x": [100]}, {"z": 3, "x": slice(10, 40, 3)}, {"y": slice(200, 10, -7)},
    {"z": slice(None, None, -1), "y": slice(3, 9)}, {"x": [5, 3, 200]}, {"z": [4, 1]}, {"y": slice(9, 9)},
])  # fmt: skip
def test_a_part_is_that_part_of_the_whole(series, noise, chunks, take):
    vol = open_volume(series, chunks=chunks)
    expected = vol.copy(data=noise.astype(np.int16) - 1024).isel(take)
    assert vol.isel(take).compute().identical(expected)


def test_a_coronal_plane_reads_its_rows_and_a_sagittal_one_no_whole_frame(make_series, noise):
    vol = open_volume(Known(make_series(HEIGHTS, pixels=noise)))
    vol.isel(x=0).compute(scheduler="synchronous")
    for take, most in (({"y": 31}, SIDE * 2), ({"x": 31}, 2 * SIDE), ({"y": slice(10, 20)}, 20 * SIDE)):
        with counted() as found:
            vol.isel(take).compute(scheduler="synchronous")
        assert found[0] < len(HEIGHTS) * most + NOISE < len(HEIGHTS) * FRAME / 5


def test_of_references_no_more_is_read_than_lies_between_the_first_pixel_and_the_last(make_series, noise):
    vol = open_volume(Known(make_series(HEIGHTS, pixels=noise), referenced=True))
    vol.isel(x=0).compute(scheduler="synchronous")
    with counted() as found:
        vol.isel(x=slice(100, 110), y=slice(50, 60)).compute(scheduler="synchronous")
    assert found[0] < len(HEIGHTS) * 10 * SIDE * 2 + NOISE


def test_chunks_of_rows_are_read_as_rows(make_series, noise):
    series = Known(make_series(HEIGHTS, pixels=noise))
    vol = open_volume(series, chunks={"z": 6, "y": 16})
    open_volume(series).isel(z=0).compute(scheduler="synchronous")
    with counted() as found:
        vol.isel(y=slice(32, 48)).compute(scheduler="synchronous")
    assert found[0] < len(HEIGHTS) * 16 * SIDE * 2 + NOISE


@pytest.fixture(params=["grey", "colour", "compressed"])
def whole(request, make_series):
    """Some frames as an array that reads, and the same in memory."""
    shape = (3, 5, 6, 3) if request.param == "colour" else (3, 5, 6)
    stored = np.random.default_rng(5).integers(0, 256, shape).astype(np.uint8)

    def each(k, ds):
        if request.param == "colour":
            ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
            ds.PixelData = stored[k].tobytes()
        elif request.param == "compressed":
            ds.compress(RLELossless, generate_instance_uid=False)

    pixels = stored[..., 0] if request.param == "colour" else stored
    series = make_series(HEIGHTS[:3], pixels=pixels, each=each)
    planned = plan(series, rescale=False)
    return frame_array(planned, slices_of(planned, series), threads=2), stored


def indices(shape):
    """Whole numbers, slices and at most one list, as numpy takes them."""
    plain = [st.integers(-n, n - 1) | st.slices(n) for n in shape]
    listed = [st.lists(st.integers(0, n - 1), max_size=3).map(lambda found: np.array(found, int)) for n in shape]
    return st.one_of(
        st.tuples(*plain),
        *(st.tuples(*plain[:k], listed[k], *plain[k + 1 :]) for k in range(len(shape))),
        *(st.tuples(*plain[:k]) for k in range(1, len(shape))),
    )


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_frame_array_is_indexed_as_numpy_is(whole, data):
    frames, expected = whole
    index = data.draw(indices(expected.shape))
    np.testing.assert_array_equal(frames[index], expected[index])


# -- the cache --------------------------------------------------------------------------------------------------------


@pytest.fixture
def compressed(make_series, noise):
    """Compressed references, no frame of which is held yet."""
    held.clear()
    series = make_series(
        HEIGHTS, pixels=noise, each=lambda k, ds: ds.compress(RLELossless, generate_instance_uid=False)
    )
    yield Known(series, referenced=True)
    held.clear()


def test_a_compressed_frame_is_read_and_decoded_once(compressed, noise):
    vol = open_volume(compressed, chunks={"y": 32})
    vol.isel(z=0).compute(scheduler="synchronous")  # whatever is imported on first use
    held.clear()
    expected = noise.astype(np.int16) - 1024
    with counted() as first:
        np.testing.assert_array_equal(vol.isel(x=7).compute(scheduler="synchronous").values, expected[:, :, 7])
    files = sum(Path(place.path).stat().st_size for place in compressed._places.values())
    assert files / 2 < first[0] < files + NOISE
    with counted() as again:
        np.testing.assert_array_equal(vol.isel(x=8).compute(scheduler="synchronous").values, expected[:, :, 8])
        np.testing.assert_array_equal(vol.compute(scheduler="synchronous").values, expected)
    assert again[0] < NOISE
    assert held.size == len(HEIGHTS) * FRAME


def test_reading_everything_at_once_holds_nothing(compressed):
    read_volume(compressed)
    assert held.size == 0


def test_a_held_frame_is_given_only_while_its_file_is_the_one_it_was(compressed):
    vol = open_volume(compressed)
    vol.isel(z=[1, 2]).compute()
    first, second = (Path(place.path) for place in list(compressed._places.values())[1:3])
    first.unlink()
    second.write_bytes(second.read_bytes() + b"\0")
    with pytest.raises(NotFoundError, match="gone"):
        vol.isel(z=1).compute()
    with pytest.raises(ConflictError, match="changed"):
        vol.isel(z=2).compute()
    assert vol.isel(z=3).compute().shape == (SIDE, SIDE)


@pytest.mark.parametrize(("megabytes", "frames"), [("0", 0), ("1", 8)])
def test_the_cache_is_as_large_as_the_environment_says(monkeypatch, megabytes, frames):
    monkeypatch.setenv("RESEARCHPACS_FRAME_CACHE_MB", megabytes)
    held.clear()
    for k in range(20):
        held.put(k, bytes(FRAME), FRAME)
    assert held.size == frames * FRAME
    assert [held.get(k) is not None for k in range(20)] == [k >= 20 - frames for k in range(20)]
    monkeypatch.undo()
    held.clear()
    assert held.limit == 128 << 20


@pytest.mark.parametrize("told", ["-1", "1.5", "many", str(1 << 40)])
def test_a_size_that_is_none_is_refused(monkeypatch, compressed, told):
    monkeypatch.setenv("RESEARCHPACS_FRAME_CACHE_MB", told)
    held.clear()
    with pytest.raises(InvalidInputError, match="RESEARCHPACS_FRAME_CACHE_MB"):
        open_volume(compressed).isel(z=0).compute()


def test_pixels_that_end_beyond_their_file_are_refused_in_every_part(make_series, noise):
    series = Known(make_series(HEIGHTS, pixels=noise))
    series._frames = [replace(frame, byte_offset=frame.byte_offset + 1000) for frame in series._frames]
    vol = open_volume(series)
    for take in ({"x": 3}, {"y": SIDE - 1}, {"x": slice(0, 200)}):
        with pytest.raises(PixelDataError, match="end"):
            vol.isel(take).compute()
