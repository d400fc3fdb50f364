"""Volumes in Zarr: written with a pyramid, and shown as a store that nothing is copied to."""

import asyncio
import sys

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from ome_zarr_models.v05.image import Image
from scipy.spatial.transform import Rotation

from researchpacs.errors import (
    ConflictError,
    GeometryError,
    InvalidInputError,
    MissingExtraError,
    NotFoundError,
    UnsupportedError,
)
from researchpacs.volume import AxisIndex, as_volume, open_volume, restore


def oblique(shape=(20, 200, 150), spacing=(3.0, 0.9, 0.8), dtype=np.int16):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec([0.4, -0.3, 0.2]).as_matrix() * spacing
    affine[:3, 3] = [-80, 40, 900]
    data = np.random.default_rng(5).integers(-1000, 3000, shape).astype(dtype)
    return as_volume(
        data, affine, "1.2.3", attrs={"Modality": "CT", "history": ("opened: uniform",), "padding": (1.0, 2.0)}
    )


def level_of(path, number):
    return restore(xr.open_zarr(path, group=str(number), consolidated=False)["image"])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    vol = oblique()
    path = tmp_path_factory.mktemp("zarr") / "vol.zarr"
    vol.chunk({"z": 1}).dicom.to_zarr(path)
    return vol, path


def test_an_independent_reader_finds_a_valid_image_of_all_levels(written):
    _, path = written
    (scales,) = Image.from_zarr(zarr.open_group(path, mode="r")).ome_attributes.multiscales
    assert [(axis.name, axis.type, axis.unit) for axis in scales.axes] == [(a, "space", "millimeter") for a in "zyx"]
    group = zarr.open_group(path, mode="r")
    for number, dataset in enumerate(scales.datasets):
        scale, translation = dataset.coordinateTransformations
        level = level_of(path, number)
        assert group[dataset.path].shape == level.shape
        np.testing.assert_allclose(scale.scale, level.dicom.spacing)
        np.testing.assert_allclose(translation.translation, [level[axis].values[0] for axis in "zyx"])
    np.testing.assert_allclose(scales.datasets[0].coordinateTransformations[0].scale, [3.0, 0.9, 0.8], atol=1e-4)


def test_the_first_level_is_the_volume(written):
    vol, path = written
    back = level_of(path, 0)
    np.testing.assert_array_equal(back.values, vol.values)
    np.testing.assert_array_equal(back.dicom.affine_lps, vol.dicom.affine_lps)
    assert back.dtype == vol.dtype
    assert back.dicom.frame_of_reference_uid == "1.2.3"
    assert back.attrs == vol.attrs
    assert all(isinstance(back.xindexes[axis], AxisIndex) for axis in "zyx")
    assert float(np.abs(back - vol).max()) == 0


def test_every_level_is_of_means_at_their_place(written):
    vol, path = written
    first, second = level_of(path, 0), level_of(path, 1)
    assert dict(second.sizes) == {"z": 20, "y": 100, "x": 75}  # slices are apart too far to be halved
    blocks = vol.values.reshape(20, 100, 2, 75, 2).mean((2, 4))
    np.testing.assert_array_equal(second.values, np.round(blocks))
    np.testing.assert_allclose(second.dicom.to_lps([0, 0, 0]), first.dicom.to_lps([0, 0.5, 0.5]), atol=2e-4)
    np.testing.assert_allclose(second.dicom.to_lps([19, 99, 74]), first.dicom.to_lps([19, 198.5, 148.5]), atol=2e-4)
    assert zarr.open_group(path, mode="r")["1/image"].shape == (20, 100, 75)
    assert "2" not in zarr.open_group(path, mode="r")


def test_xarray_opens_all_levels_as_a_tree(written):
    vol, path = written
    tree = xr.open_datatree(path, engine="zarr", consolidated=False)
    assert set(tree.children) == {"0", "1"}
    assert restore(tree["1"]["image"]).dicom.orientation == vol.dicom.orientation


def test_names_are_never_averaged(tmp_path):
    mask = oblique() > 1000
    mask.dicom.to_zarr(tmp_path / "mask.zarr")
    second = level_of(tmp_path / "mask.zarr", 1)
    assert second.dtype == np.bool_
    np.testing.assert_array_equal(second.values, mask.values[:, ::2, ::2])
    names = (oblique() % 5).astype(np.uint8)
    names.dicom.to_zarr(tmp_path / "names.zarr", labels=True)
    np.testing.assert_array_equal(level_of(tmp_path / "names.zarr", 1).values, names.values[:, ::2, ::2])


def test_flips_and_strides_lie_where_they_lay(tmp_path):
    vol = oblique()[:, ::-1, ::2]
    vol.dicom.to_zarr(tmp_path / "vol.zarr")
    back = level_of(tmp_path / "vol.zarr", 0)
    assert (np.diff(back.y) > 0).all()
    assert float(np.abs(back - vol).max()) == 0
    assert (back - vol).shape == vol.shape


def test_time_and_colour_have_their_place(tmp_path):
    vol = oblique((3, 20, 15))
    several = xr.concat([vol, vol + 1], "time").assign_coords(time=("time", [0.0, 2.5], {"units": "s"}))
    colour = xr.concat([several, several * 2, several * 3], "rgb").transpose("time", "z", "y", "x", "rgb")
    colour.dicom.to_zarr(tmp_path / "vol.zarr")
    (scales,) = Image.from_zarr(zarr.open_group(tmp_path / "vol.zarr", mode="r")).ome_attributes.multiscales
    assert [(axis.name, axis.type) for axis in scales.axes] == [
        ("time", "time"), ("rgb", "channel"), ("z", "space"), ("y", "space"), ("x", "space"),
    ]  # fmt: skip
    assert scales.axes[0].unit == "second"
    assert scales.datasets[0].coordinateTransformations[0].scale[:2] == [2.5, 1.0]
    back = level_of(tmp_path / "vol.zarr", 0)
    np.testing.assert_array_equal(back.transpose(*colour.dims).values, colour.values)
    assert back.time.values.tolist() == [0.0, 2.5]


def test_what_cannot_be_written_right_is_refused_and_nothing_is_left(tmp_path):
    vol = oblique((3, 20, 15))
    (tmp_path / "there.zarr").mkdir()
    (tmp_path / "file.zarr").write_bytes(b"mine")
    for path, error in (
        ("there.zarr", ConflictError), ("file.zarr", ConflictError), ("vol.nii", InvalidInputError),
        ("absent/vol.zarr", NotFoundError), ("", InvalidInputError),
    ):  # fmt: skip
        with pytest.raises(error):
            vol.dicom.to_zarr(tmp_path / path if path else "")
    with pytest.raises(GeometryError, match="not evenly spaced"):
        vol.isel(z=[0, 2, 1]).dicom.to_zarr(tmp_path / "vol.zarr")
    with pytest.raises(UnsupportedError, match="echo, b_value"):
        vol.expand_dims(["echo", "b_value"]).dicom.to_zarr(tmp_path / "vol.zarr")
    assert (tmp_path / "file.zarr").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.zarr", "there.zarr"]


def test_a_volume_that_fails_on_the_way_leaves_nothing(tmp_path):
    def fail(block):
        raise OSError("the disk is gone")

    vol = oblique((3, 20, 15)).chunk({"z": 1})
    with pytest.raises(OSError, match="disk is gone"):
        vol.copy(data=vol.data.map_blocks(fail, dtype=vol.dtype)).dicom.to_zarr(tmp_path / "vol.zarr")
    assert list(tmp_path.iterdir()) == []


def test_without_zarr_it_is_said_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "zarr", None)
    vol = oblique((3, 20, 15))
    for call in (
        lambda: vol.dicom.to_zarr(tmp_path / "vol.zarr"),
        lambda: vol.dicom.to_kerchunk(tmp_path / "vol.json"),
        vol.dicom.as_zarr_store,
    ):
        with pytest.raises(MissingExtraError, match=r"researchpacs\[zarr\]"):
            call()
    assert list(tmp_path.iterdir()) == []


# -- as a store -------------------------------------------------------------------------------------------------------


def counting(vol):
    """A lazy volume that notes how often a chunk of it was made."""
    made = []

    def note(block):
        made.append(block.shape)
        return block

    return vol.copy(data=vol.data.map_blocks(note, dtype=vol.dtype, meta=np.empty((0,) * vol.ndim, vol.dtype))), made


@pytest.mark.parametrize("chunks", [{"z": 1}, {"z": 8, "y": 64, "x": 150}])
def test_a_volume_is_a_zarr_group_without_being_copied(chunks):
    vol = oblique()
    lazy, made = counting(vol.chunk(chunks))
    store = lazy.dicom.as_zarr_store()
    group = zarr.open_group(store, mode="r")
    assert made == []
    assert group["image"].shape == vol.shape
    np.testing.assert_array_equal(group["image"][3, 10:20, 5], vol.values[3, 10:20, 5])
    assert len(made) == 1
    np.testing.assert_array_equal(group["image"][:], vol.values)
    back = restore(xr.open_zarr(store, consolidated=False)["image"])
    assert float(np.abs(back - vol).max()) == 0
    np.testing.assert_array_equal(back.dicom.affine_lps, vol.dicom.affine_lps)


def test_planes_are_the_chunks_of_a_volume_in_memory():
    vol = oblique((4, 6, 5), dtype=np.float32)
    group = zarr.open_group(vol.dicom.as_zarr_store(), mode="r")
    assert group["image"].chunks == (1, 6, 5)
    np.testing.assert_array_equal(group["image"][:], vol.values)
    assert sorted(group.array_keys()) == ["frame", "image", "x", "y", "z"]


def test_nothing_can_be_written_to_the_view():
    store = oblique((4, 6, 5)).dicom.as_zarr_store()
    with pytest.raises((ValueError, UnsupportedError)):
        zarr.open_group(store, mode="r+")["image"][0] = 1
    with pytest.raises(UnsupportedError, match="view"):
        asyncio.run(store.set("image/c/0/0/0", None))
    with pytest.raises(UnsupportedError, match="view"):
        asyncio.run(store.delete("image/c/0/0/0"))


def test_keys_are_those_of_chunks_and_nothing_else():
    store = oblique((4, 6, 5)).dicom.as_zarr_store()
    for key in ("image/c/4/0/0", "image/c/0/0", "image/c/-1/0/0", "image/c/0/0/0/0", "image/c/a/0/0", "nothing"):
        assert not asyncio.run(store.exists(key))
        assert asyncio.run(store.get(key)) is None
    assert asyncio.run(store.exists("image/c/3/0/0"))


def test_what_a_chunk_raises_its_reader_sees(make_series):
    series = make_series([(0, 0, 3.0 * k) for k in range(4)])
    group = zarr.open_group(open_volume(series).dicom.as_zarr_store(), mode="r")
    np.testing.assert_array_equal(group["image"][1], open_volume(series).values[1])
    series.paths[2].unlink()
    with pytest.raises(NotFoundError, match="gone"):
        group["image"][2]


def test_a_store_can_be_opened_by_dask():
    vol = oblique()
    lazy = da.from_zarr(zarr.open_array(vol.chunk({"z": 4}).dicom.as_zarr_store(), path="image", mode="r"))
    np.testing.assert_array_equal(lazy.max(axis=0).compute(), vol.values.max(axis=0))
