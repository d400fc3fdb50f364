"""A volume that went through a file or another process is where it was, and refuses what it refused."""

import copy
import pickle

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy.spatial.transform import Rotation

from researchpacs.errors import GeometryError
from researchpacs.volume import AxisIndex, as_stored, as_volume, restore

HISTORY = [("opened: uniform",), ("opened: gantry_tilt", "repaired: sheared by 13.5 degrees")]


def volume(history=HISTORY[0], *, tilt=0.0, uid="1.2.3"):
    axes = Rotation.from_rotvec([0.4, -0.3, 0.2]).as_matrix()
    axes[:, 0] = np.cos(tilt) * axes[:, 0] + np.sin(tilt) * axes[:, 1]
    affine = np.eye(4)
    affine[:3, :3] = axes * [3.0, 0.9375, 0.8]
    affine[:3, 3] = [-239.53125, 40, 900]
    data = np.random.default_rng(5).integers(-1000, 3000, (5, 6, 7)).astype(np.int16)
    attrs = {
        "Modality": "CT",
        "units": "HU",
        "SeriesInstanceUID": "1.2",
        "history": history,
        "padding": (-2000.0, -1500.0),
    }
    return as_volume(data, affine, uid, attrs=attrs)


def by_netcdf(vol, folder):
    vol.to_netcdf(folder / "vol.nc", engine="h5netcdf")
    with xr.open_dataarray(folder / "vol.nc", engine="h5netcdf") as opened:
        return opened.load()


def by_old_zarr(vol, folder):
    vol.to_zarr(folder / "vol.zarr", zarr_format=2)
    with xr.open_dataarray(folder / "vol.zarr", engine="zarr") as opened:
        return opened.load()


def by_zarr(vol, folder):
    as_stored(vol).to_zarr(folder / "vol.zarr", zarr_format=3, consolidated=False)
    with xr.open_zarr(folder / "vol.zarr", consolidated=False) as opened:
        return opened["image"].load()


FILES = [by_netcdf, by_old_zarr, by_zarr]


@pytest.mark.parametrize("through", FILES)
@pytest.mark.parametrize("history", HISTORY)
@pytest.mark.parametrize("tilt", [0.0, 0.24])
def test_a_file_gives_the_volume_back(through, history, tilt, tmp_path):
    vol = volume(history, tilt=tilt)
    bare = through(vol, tmp_path)
    np.testing.assert_array_equal(bare.dicom.affine_lps, vol.dicom.affine_lps)  # reads right also as it is
    back = restore(bare)
    np.testing.assert_array_equal(back.values, vol.values)
    assert back.dtype == vol.dtype
    assert back.attrs == vol.attrs
    assert back.dicom.frame_of_reference_uid == "1.2.3"
    assert all(isinstance(back.xindexes[axis], AxisIndex) for axis in "zyx")
    assert all(back[axis].attrs == vol[axis].attrs for axis in "zyx")
    assert float(np.abs(back - vol).max()) == 0
    assert (back - vol).shape == vol.shape
    assert bool((back.dicom.padding == vol.dicom.padding).all())


@pytest.mark.parametrize("through", FILES)
def test_after_a_file_another_frame_is_refused_again(through, tmp_path):
    back, other = through(volume(), tmp_path), volume(uid="1.2.4")
    with pytest.raises(GeometryError, match="different patient frames"):
        restore(back) + other
    with pytest.raises(GeometryError, match="'frame'"):
        _ = (back + other).dicom.affine_lps  # without indexes the refusal comes late, but comes
    with pytest.raises(GeometryError, match="do not coincide"):
        restore(back) + volume().assign_coords(z=volume().z + 1).pipe(restore)


@pytest.mark.parametrize("through", FILES)
def test_crops_strides_and_flips_go_through_files(through, tmp_path):
    vol = volume()[1:, ::-1, ::3]
    back = restore(through(vol, tmp_path))
    np.testing.assert_array_equal(back.dicom.affine_lps, vol.dicom.affine_lps)
    assert float(np.abs(back - volume()).max()) == 0


@pytest.mark.parametrize("through", FILES)
def test_of_one_plane_a_file_holds_no_spacing_and_that_is_said(through, tmp_path):
    plane = volume().isel(z=[2])
    assert plane.dicom.spacing[0] == 3.0
    back = restore(through(plane, tmp_path))
    with pytest.raises(GeometryError, match="unknown spacing along 'z'"):
        _ = back.dicom.affine_lps


@pytest.mark.parametrize("through", FILES)
def test_times_and_names_of_a_dimension_go_through_files(through, tmp_path):
    vol = volume()
    several = xr.concat([vol, vol + 1], "time").assign_coords(time=("time", [0.0, 2.5], {"units": "s"}))
    several = several.assign_coords(state=("time", ["rest", "stress"]))
    back = restore(through(several, tmp_path))
    assert back.time.values.tolist() == [0.0, 2.5]
    assert back.time.attrs == {"units": "s"}
    assert [str(one) for one in back.state.values] == ["rest", "stress"]
    np.testing.assert_array_equal(back.dicom.affine_lps, vol.dicom.affine_lps)


@pytest.mark.parametrize("through", [copy.copy, copy.deepcopy, lambda vol: pickle.loads(pickle.dumps(vol))])
@pytest.mark.parametrize("lazy", [False, True])
def test_pickles_and_copies_are_identical_and_keep_their_indexes(through, lazy):
    vol = volume()
    vol = vol.copy(data=da.from_array(vol.values, chunks=2)) if lazy else vol
    for one in (vol, vol.isel(z=[2]), vol[:, ::-1]):
        back = through(one)
        assert back.identical(one)
        assert all(isinstance(back.xindexes[axis], AxisIndex) for axis in "zyx")
        np.testing.assert_array_equal(back.dicom.affine_lps, one.dicom.affine_lps)


def test_parts_and_times_are_joined():
    vol = volume()
    assert xr.concat([vol[:2], vol[2:]], "z").identical(vol)
    assert xr.concat([vol[:, :, :3], vol[:, :, 3:]], "x").identical(vol)
    with pytest.raises(GeometryError, match="different patient frames"):
        xr.concat([vol[:2], volume(uid="1.2.4")[2:]], "z", join="outer")
    joined = xr.concat([vol, vol * 2], "time")
    assert joined.isel(time=1).identical(vol * 2)
