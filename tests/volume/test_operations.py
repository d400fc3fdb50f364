"""What ordinary xarray does to a volume: right, refused, or refused later; never silently wrong."""

import pickle

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from researchpacs.errors import GeometryError
from researchpacs.volume import AxisIndex, as_volume, restore

AFFINE = np.array([[0, 0, 0.9375, -239.53125], [0, 0.9375, 0, -30], [2, 0, 0, 5], [0, 0, 0, 1.0]])
SHAPE = (10, 8, 6)


def volume(affine=AFFINE, uid="1.2.3", shape=SHAPE, start=0):
    return as_volume(np.arange(start, start + np.prod(shape)).reshape(shape).astype(float), affine, uid, attrs={"a": 1})


def shifted(mm, axis=0):
    affine = AFFINE.copy()
    affine[:3, 3] += np.asarray(AFFINE[:3, axis]) / np.linalg.norm(AFFINE[:3, axis]) * mm
    return volume(affine)


def turned():
    angle = np.radians(5)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = AFFINE.copy()
    affine[:3, :3] = turn @ affine[:3, :3]
    vol = volume(affine)
    # The same numbers on all axes: only the frame tells them apart.
    return vol.assign_coords({a: volume()[a].variable for a in "zyx"}).pipe(restore)


def unindexed(vol):
    """As after opening a file with bare xarray."""
    return xr.DataArray.from_dict(vol.to_dict())


@pytest.fixture
def v():
    return volume()


def same_place(result, vol):
    np.testing.assert_allclose(result.dicom.affine_lps, vol.dicom.affine_lps, atol=1e-3)
    return True


@pytest.mark.parametrize("operation", [
    lambda v: v + v,
    lambda v: v * 2,
    lambda v: v.where(v > 3),
    lambda v: v.cumsum("z"),
    lambda v: v.rolling(z=3, min_periods=1, center=True).mean(),
    lambda v: v.transpose("x", "z", "y"),
    lambda v: v.T,
    lambda v: v.expand_dims(time=[0, 1]),
    lambda v: v.chunk({"z": 2}),
    lambda v: v.chunk({"z": 2}).compute(),
    lambda v: v.chunk({"z": 2}).map_blocks(lambda b: b * 2, template=v.chunk({"z": 2})),
    lambda v: pickle.loads(pickle.dumps(v)),
    lambda v: v.copy(deep=True),
    lambda v: v.to_dataset(name="v")["v"],
    lambda v: xr.apply_ufunc(np.sqrt, v),
    lambda v: xr.apply_ufunc(np.sqrt, v, keep_attrs=False),
    lambda v: v - v.mean("z"),
    lambda v: v + v.isel(z=3),
    lambda v: v + shifted(1e-9),
    lambda v: v + shifted(1e-4),
    lambda v: v + unindexed(v).pipe(restore),
    lambda v: xr.concat([v[:4], v[4:]], "z"),
    lambda v: xr.concat([v, v], "time").isel(time=0),
    lambda v: v[::-1].sortby("z"),
])  # fmt: skip
def test_geometry_and_every_slice_survive(v, operation):
    result = operation(v)
    assert {a: result.sizes[a] for a in "zyx"} == dict(zip("zyx", SHAPE, strict=True))
    assert same_place(result, v)


def test_one_slice_off_by_a_rounding_step_loses_no_slice(v):
    z = v.z.values.copy()
    z[-1] += 1e-4
    other = restore(v.assign_coords(z=z))
    assert (v + other).shape == SHAPE


@pytest.mark.parametrize("operation", [
    lambda v, w: v + w,
    lambda v, w: v.where(w > 0),
    lambda v, w: v.fillna(w),
    lambda v, w: v.combine_first(w),
    xr.corr,
    lambda v, w: xr.Dataset({"a": v, "b": w}),
    lambda v, w: xr.merge([v.rename("a"), w.rename("b")], join="outer"),
    lambda v, w: xr.merge([v.rename("a"), w.rename("b")], join="outer", compat="override"),
    lambda v, w: v.to_dataset(name="a").assign(b=w),
    lambda v, w: v.drop_vars("frame") + w,
    lambda v, w: v.isel(z=0) + w.isel(z=0),
    lambda v, w: v.mean("z") + w.mean("z"),
    lambda v, w: v.reindex_like(w),
    xr.align,
])  # fmt: skip
@pytest.mark.parametrize("other", ["turned", "other frame of reference"])
def test_two_frames_never_meet(v, operation, other):
    w = turned() if other == "turned" else volume(uid="1.2.4")
    with pytest.raises(GeometryError, match="different patient frames"):
        operation(v, w)


def test_two_frames_never_meet_in_place_or_by_concat(v):
    w = volume(uid="1.2.4")
    with pytest.raises((GeometryError, xr.MergeError)):
        v += w
    with pytest.raises((GeometryError, ValueError)):
        xr.concat([v, w], "time", join="outer")


@pytest.mark.parametrize("operation", [
    lambda v: v + shifted(1.0),
    lambda v: v[::2] + v[1::2],
    lambda v: v + shifted(0.3, axis=2),
    lambda v: v[:3] + v[7:],
])  # fmt: skip
def test_shifted_grids_raise_instead_of_giving_nothing(v, operation):
    with pytest.raises(GeometryError, match="do not coincide"):
        operation(v)


def test_a_crop_meets_the_whole_where_it_is(v):
    crop = v[2:7, 1:, ::2]
    total = v + crop
    assert total.shape == crop.shape
    np.testing.assert_array_equal(total.values, 2 * crop.values)
    assert same_place(total, crop)
    flipped = v + v[::-1]
    np.testing.assert_array_equal(flipped.values, 2 * v.values)


def test_an_operand_without_indexes_drops_the_frame_and_the_affine_refuses(v):
    mixed = v + unindexed(volume(uid="1.2.4"))
    assert "frame" not in mixed.coords
    with pytest.raises(GeometryError, match="'frame'"):
        _ = mixed.dicom.affine_lps


@pytest.mark.parametrize("operation", [
    lambda v: v.isel(z=[0, 1, 5]),
    lambda v: v.pad(z=1),
    lambda v: v.roll(z=2, roll_coords=True),
    lambda v: xr.concat([v, v], "z"),
    lambda v: v.isel(z=4),
    lambda v: v.mean("z"),
    lambda v: v.rename(z="depth"),
    lambda v: v.stack(voxel=("z", "y")),
    lambda v: v.drop_vars("z"),
    lambda v: v.quantile(0.5, "z"),
    lambda v: v.rename(frame="other"),
    lambda v: v.drop_vars("frame"),
    lambda v: v[:0],
])  # fmt: skip
def test_what_has_no_affine_any_more_says_so(v, operation):
    with pytest.raises(GeometryError):
        _ = operation(v).dicom.affine_lps


def test_selection_by_millimetres(v):
    assert v.sel(z=slice(8, 13)).z.values.tolist() == [9, 11, 13]
    assert float(v.sel(z=9.4, method="nearest").z) == 9
    shown = float(v.x[3])
    assert float(v.sel(x=shown).x) == shown
    assert v.sel(z=[5, 9], method="nearest").sizes["z"] == 2


def test_interp_and_coarsen_come_back_with_restore(v):
    between = restore(v.interp(z=v.z.values[:-1] + 1))
    assert isinstance(between.xindexes["z"], AxisIndex)
    np.testing.assert_allclose(between.dicom.to_lps([0, 0, 0]), v.dicom.to_lps([0.5, 0, 0]))
    coarse = restore(v.coarsen(z=2, y=2, x=2).mean())
    assert coarse.dicom.spacing == pytest.approx((4, 1.875, 1.875))
    np.testing.assert_allclose(coarse.dicom.to_lps([0, 0, 0]), v.dicom.to_lps([0.5, 0.5, 0.5]), atol=1e-4)


def test_a_flipped_volume_keeps_its_place(v):
    flipped = v[:, ::-1]
    np.testing.assert_allclose(flipped.dicom.to_lps([0, 0, 0]), v.dicom.to_lps([0, SHAPE[1] - 1, 0]))
    assert flipped.dicom.spacing == v.dicom.spacing
    np.testing.assert_array_equal(flipped.dicom.direction[:, 1], -v.dicom.direction[:, 1])


def test_equality_stays_xarrays(v):
    assert v.equals(volume())
    assert v.identical(volume())
    assert not v.equals(shifted(2e-4))


def test_dask_keeps_index_and_laziness(v):
    lazy = v.copy(data=da.from_array(v.values, chunks=2))
    total = lazy + lazy
    assert isinstance(total.data, da.Array)
    assert all(isinstance(total.xindexes[a], AxisIndex) for a in "zyx")


def test_a_time_series_of_volumes_has_the_affine_of_its_volumes(v):
    series = xr.concat([v, v, v], "time").assign_coords(time=[0, 1, 2])
    assert same_place(series, v)
    assert same_place(series.isel(time=1).expand_dims(rgb=3, axis=-1), v)


def test_coordinates_on_a_rounding_tie_still_align():
    affine = AFFINE.copy()
    affine[0, 3] += 1e-9
    total = volume(shape=(3, 4, 512)) + volume(affine, shape=(3, 4, 512))
    assert total.shape == (3, 4, 512)
