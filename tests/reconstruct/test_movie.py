"""A turn around the patient shows what is where from each side, and its file plays."""

import json
import shutil
import subprocess

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from researchpacs.errors import InvalidInputError, UnsupportedError
from researchpacs.reconstruct import rotate, save_movie
from researchpacs.volume import as_volume

LEFT_LPS = np.array([18.0, 0.0, 6.0])
"""A bead at the patient's left, a little up; the middle of the volume is at 0."""


def volume(dtype=np.int16, handed=1):
    shape, affine = (30, 44, 48), np.eye(4)
    affine[:3, :3] = np.array([[0.0, 0, 1], [0, 1, 0], [handed, 0, 0]]) * (2.0, 1.0, 1.0)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    places = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    values = -1000 + 2000 * np.exp(-((places - LEFT_LPS) ** 2).sum(axis=-1) / 2 / 2.5**2)
    return as_volume(values.astype(dtype), affine, "1.2.3", attrs={"Modality": "CT", "units": "HU"})


def spot(frames, k):
    """Row and column in mm of the brightest pixel."""
    image = frames[k].values.astype(float)
    row, column = np.unravel_index(image.argmax(), image.shape)
    return float(frames.row[row]), float(frames.column[column])


@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize("is_lazy", [False, True])
def test_the_onlooker_goes_around_the_patient(handed, is_lazy):
    vol = volume(handed=handed)
    frames = rotate(vol.chunk({"z": 5}) if is_lazy else vol, count=4, spacing=1.0)
    assert isinstance(frames.data, da.Array) == is_lazy
    assert frames.dims == ("angle", "row", "column")
    assert frames.angle.values.tolist() == [0, 90, 180, 270]
    # From the front the patient's left is right in the picture, from his left it is in the middle, then left.
    for k, column in enumerate((18, 0, -18, 0)):
        found = spot(frames, k)
        assert found[0] == pytest.approx(-6, abs=1.1), "up is the head"
        assert found[1] == pytest.approx(column, abs=1.1)
    assert frames.dtype == np.int16
    assert int(frames.min()) == -1000
    assert int(frames.max()) > 700


def test_the_first_frame_is_the_brightest_along_every_line_to_the_back():
    frames = rotate(volume(), count=1, spacing=1.0)
    row, column = np.meshgrid(frames.row, frames.column, indexing="ij")
    expected = -1000 + 2000 * np.exp(-((column - 18) ** 2 + (row + 6) ** 2) / 2 / 2.5**2)
    # Linear interpolation takes a tenth off the top of a bead that is so small, on slices of 2 mm.
    np.testing.assert_allclose(frames.values[0], expected, atol=250)


def test_minimum_and_mean_leave_out_what_is_not_seen():
    vol = volume() + np.int16(1000)
    assert int(rotate(vol, how="min", count=3, spacing=2.0).min()) == -1000, "nothing was seen there"
    seen = rotate(vol, how="min", count=3, spacing=2.0, fill=5000)
    assert int(seen.where(seen < 5000).max()) < 100
    mean = rotate(vol, how="mean", count=3, spacing=2.0, fill=0)
    assert mean.dtype == np.float32
    assert float(mean.min()) == 0


@pytest.mark.parametrize("wrong", [
    {"count": 0}, {"count": 1.5}, {"count": True}, {"how": "median"}, {"axis": (0, 0, 0)}, {"axis": (1, 2)},
    {"spacing": 0}, {"spacing": "x"},
])  # fmt: skip
def test_wrong_calls_say_what_was_expected(wrong):
    with pytest.raises(InvalidInputError, match="expected"):
        rotate(volume(), **wrong)


def moving():
    """Ten frames of odd size, a bar that goes down."""
    frames = np.zeros((10, 41, 63), np.int16)
    for k in range(10):
        frames[k, 4 * k : 4 * k + 4] = 1000
    return xr.DataArray(frames, dims=("angle", "row", "column"))


@pytest.mark.parametrize("is_lazy", [False, True])
def test_a_gif_has_every_frame(tmp_path, is_lazy):
    frames = moving().chunk({"angle": 1}) if is_lazy else moving()
    save_movie(frames, tmp_path / "turn.gif", frames_per_second=10)
    with Image.open(tmp_path / "turn.gif") as picture:
        assert picture.n_frames == 10
        for k in range(10):
            picture.seek(k)
            assert picture.info["duration"] == 100
            np.testing.assert_array_equal(np.asarray(picture.convert("L")), moving().values[k] // 1000 * 255)


def test_limits_are_black_and_white(tmp_path):
    save_movie(moving(), tmp_path / "turn.gif", limits=(-1000, 3000))
    with Image.open(tmp_path / "turn.gif") as picture:
        assert sorted(set(np.asarray(picture.convert("L")).ravel().tolist())) == [64, 128]


def test_an_mp4_plays_in_browsers(tmp_path):
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is missing: apt-get install ffmpeg")
    save_movie(moving(), tmp_path / "turn.mp4", frames_per_second=10)
    asked = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(tmp_path / "turn.mp4")]
    (stream,) = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)["streams"]
    assert (stream["codec_name"], stream["pix_fmt"]) == ("h264", "yuv420p")
    assert (stream["width"], stream["height"], stream["nb_read_frames"]) == (64, 42, "10")
    played = ["ffmpeg", "-v", "error", "-i", str(tmp_path / "turn.mp4"), "-f", "rawvideo", "-pix_fmt", "gray", "-"]
    raw = subprocess.run(played, capture_output=True, check=True).stdout
    shown = np.frombuffer(raw, np.uint8).reshape(10, 42, 64)[:, :41, :63]
    assert np.abs(shown.astype(int) - moving().values // 1000 * 255).mean() < 12


def test_colours_are_kept(tmp_path):
    data = np.zeros((3, 10, 12, 3), np.uint8)
    data[..., 0] = 255
    save_movie(xr.DataArray(data, dims=("z", "y", "x", "rgb")), tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.convert("RGB").getpixel((5, 5)) == (255, 0, 0)


def test_without_ffmpeg_there_is_a_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UnsupportedError, match=r"\.gif"):
        save_movie(moving(), tmp_path / "turn.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("frames", "name", "options"), [
    (moving(), "a.avi", {}), (moving()[0], "a.gif", {}), (moving()[:0], "a.gif", {}),
    (moving(), "a.gif", {"limits": (3, 1)}), (moving(), "a.gif", {"limits": 3}),
    (moving(), "a.gif", {"frames_per_second": 0}),
])  # fmt: skip
def test_wrong_movies_are_refused(tmp_path, frames, name, options):
    with pytest.raises(InvalidInputError, match="expected"):
        save_movie(frames, tmp_path / name, **options)
