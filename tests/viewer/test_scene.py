"""Whatever is given is shown as what it is: volumes, repeats, frames, colour, arrays, images, series and studies."""

from dataclasses import dataclass, field
from typing import Any

import dask.array as da
import numpy as np
import pytest
import SimpleITK
import xarray as xr

from researchpacs.errors import InvalidInputError, NotFoundError, PixelDataError
from researchpacs.viewer import Viewer, Window, view


def stacks_of(viewer: Viewer) -> dict[str, tuple[int, int, int]]:
    return {stack["name"]: (stack["count"], stack["rows"], stack["columns"]) for stack in viewer._stacks}


def picture_of(viewer: Viewer, plane: str, index: int, volume: int = 0) -> np.ndarray:
    return viewer._shown.voxels.pixels(viewer._planes[plane], index, volume)[0]


def frames_of(values: np.ndarray, **attrs: Any) -> xr.DataArray:
    dims = ("frame", "row", "column", "rgb")[: values.ndim]
    return xr.DataArray(values, dims=dims, attrs=attrs)


def test_a_volume_is_shown_on_three_planes(numbered):
    viewer = view(numbered)
    assert stacks_of(viewer) == {"axial": (6, 8, 10), "coronal": (8, 6, 10), "sagittal": (10, 6, 8)}
    assert viewer._measures
    np.testing.assert_array_equal(picture_of(viewer, "sagittal", 3), numbered.values[::-1, :, 3])


def test_repeated_volumes_are_told_apart_by_what_repeats(numbered):
    times = xr.concat([numbered, numbered + 1000], dim="time")
    times = times.assign_coords(time=("time", [0.0, 2.5], {"units": "s"}))
    viewer = view(times)
    assert viewer._repeats == ["time 0 s", "time 2.5 s"]
    assert "2 x 10 x 8 x 6" in repr(viewer)
    for plane, cut in (("axial", numbered.values[4]), ("coronal", numbered.values[::-1, 4])):
        np.testing.assert_array_equal(picture_of(viewer, plane, 4, 0), cut)
        np.testing.assert_array_equal(picture_of(viewer, plane, 4, 1), cut + 1000)
    viewer.volume = 1
    with pytest.raises(InvalidInputError, match="no volume 2: set one of 0 to 1"):
        viewer.volume = 2


def test_of_repeated_lazy_volumes_only_those_that_are_looked_at_are_read(make_volume, numbered):
    read: list[int] = []

    def frame(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        read.append(block_info[0]["chunk-location"][0])
        return block

    values = np.broadcast_to(numbered.values, (9, *numbered.shape)).copy()
    lazy = da.from_array(values, chunks=(1, 1, 8, 10))
    lazy = lazy.map_blocks(frame, dtype=np.int16, meta=np.empty((0, 0, 0, 0), np.int16))
    times = xr.concat([numbered] * 9, dim="time").copy(data=lazy)
    viewer = view(times)
    picture_of(viewer, "coronal", 2, 7)
    assert set(read) == {0, 7}


def test_frames_without_a_place_are_shown_in_their_order_and_not_measured():
    values = np.arange(5 * 4 * 6, dtype=np.uint8).reshape(5, 4, 6)
    viewer = view(frames_of(values, Modality="XA"))
    assert stacks_of(viewer) == {"frame": (5, 4, 6)}
    assert repr(viewer) == "<Viewer XA · 6 x 4, 5 frames, 0 marks>"
    assert not viewer._measures
    assert not viewer._stacks[0]["calibrated"]
    np.testing.assert_array_equal(picture_of(viewer, "frame", 3), values[3])
    place = {"kind": "mark", "id": "a", "shape": "length", "plane": "frame", "index": 0, "volume": 0}
    with pytest.raises(InvalidInputError, match="not calibrated"):
        viewer._lengths.put({**place, "points_lps": [[0, 0, 0], [3, 0, 0]]})


@pytest.mark.parametrize(("dtype", "scale"), [("u1", 1), ("u2", 257)])
def test_colour_is_shown_in_its_colours(dtype, scale):
    values = np.random.default_rng(1).integers(0, 256, (3, 4, 6, 3)).astype(dtype)
    viewer = view(frames_of((values * scale).astype(dtype)))
    assert viewer._is_colour
    assert picture_of(viewer, "frame", 2).dtype == np.uint8
    np.testing.assert_array_equal(picture_of(viewer, "frame", 2), values[2])
    assert np.asarray(viewer.screenshot(height=64)).std() > 10


def test_an_array_is_measured_only_with_a_spacing():
    values = np.zeros((3, 4, 5), np.float32)
    assert stacks_of(view(values)) == {"frame": (3, 4, 5)}
    viewer = view(values, spacing=(3, 1, 0.5))
    assert stacks_of(viewer) == {"z": (3, 4, 5), "y": (4, 3, 5), "x": (5, 3, 4)}
    assert not any(stack["oriented"] for stack in viewer._stacks), (
        "no letters: nobody knows where the patient's left is"
    )
    assert stacks_of(view(values[0], spacing=0.5)) == {"z": (1, 4, 5)}
    assert stacks_of(view(np.zeros((4, 5, 3), np.uint8))) == {"frame": (1, 4, 5)}


@pytest.mark.parametrize("spacing", [(1, 1), 0, -1, (1, 1, np.nan), "1 mm"])
def test_a_spacing_is_three_lengths(spacing):
    with pytest.raises(InvalidInputError, match="mm along"):
        view(np.zeros((3, 4, 5)), spacing=spacing)


@pytest.mark.parametrize("values", [np.zeros((2, 3, 4, 5)), np.zeros(5), np.zeros((0, 4, 4)), np.array(["a"])])
def test_what_is_no_picture_is_refused(values):
    with pytest.raises(InvalidInputError, match="cannot view an array"):
        view(values)


def test_a_simpleitk_image_is_shown_where_it_is():
    image = SimpleITK.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    image.SetSpacing((0.5, 1.0, 3.0))
    image.SetOrigin((-10.0, 20.0, 30.0))
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))  # columns lead back, rows up, slices to the left
    viewer = view(image)
    assert stacks_of(viewer) == {"axial": (4, 5, 3), "coronal": (5, 4, 3), "sagittal": (3, 4, 5)}
    point = (4.0, 2.0, 1.0)
    expected = image.TransformContinuousIndexToPhysicalPoint(point)
    np.testing.assert_allclose(viewer._shown.affine @ [*reversed(point), 1], [*expected, 1], atol=1e-9)
    viewer.position_lps = expected
    assert viewer._slices == {"axial": 2, "coronal": 4, "sagittal": 1}
    assert picture_of(viewer, "sagittal", 1)[4 - 1 - 2, 4] == image.GetPixel(4, 2, 1)


def test_a_frame_that_cannot_be_read_does_not_keep_the_others_from_being_seen(make_volume, numbered):
    def failing(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        if block_info[0]["chunk-location"][0] == 3:
            raise PixelDataError("frame 3 is cut short")
        return block

    lazy = da.from_array(numbered.values, chunks=(1, 8, 10))
    lazy = lazy.map_blocks(failing, dtype=np.int16, meta=np.empty((0, 0, 0), np.int16))
    viewer = view(make_volume(lazy, numbered.dicom.affine_lps, modality="MR"))
    assert viewer.window == Window(np.mean(np.percentile(numbered.values[0], (1, 99))), viewer.window.width)
    data, _ = viewer._repr_mimebundle_()
    assert data["image/png"], "and the saved notebook has a picture that says so"
    np.testing.assert_array_equal(picture_of(viewer, "axial", 2), numbered.values[2])


@dataclass
class Study:
    """As much of a study as a viewer asks for."""

    series: list[Any] = field(default_factory=list)


def test_a_study_without_images_is_told():
    with pytest.raises(NotFoundError, match="no series of images"):
        view(Study([]))
