"""Volumes to SimpleITK, NIfTI and NRRD and back keep every voxel where it is."""

import gzip
import re

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import xarray as xr
from scipy.spatial.transform import Rotation

from researchpacs.errors import GeometryError, InvalidInputError, UnsupportedError
from researchpacs.volume import as_volume, from_sitk

VOXELS = [(0, 0, 0), (1, 2, 3), (4, 5, 6), (2, 0, 6)]


def oblique(handed=1, shear=0.0):
    affine = np.eye(4)
    axes = Rotation.from_rotvec([0.4, -0.3, 0.2]).as_matrix()
    axes[:, 0] = handed * axes[:, 0] + shear * axes[:, 1]
    affine[:3, :3] = axes * [3.0, 0.9, 0.8]
    affine[:3, 3] = [-80, 40, 900]
    data = np.random.default_rng(5).integers(-1000, 3000, (5, 6, 7)).astype(np.int16)
    return as_volume(data, affine, "1.2.3", attrs={"Modality": "CT"})


@pytest.fixture(
    params=[oblique(), oblique(-1), oblique(1, 0.001), oblique()[:, ::-1], oblique().transpose("x", "z", "y")]
)
def vol(request):
    return request.param


def at(vol, z, y, x):
    return vol.transpose("z", "y", "x").values[z, y, x]


def test_simpleitk_finds_each_voxel_at_the_same_place(vol):
    image = vol.dicom.to_sitk()
    for index in VOXELS:
        xyz = [int(i) for i in index[::-1]]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(xyz), vol.dicom.to_lps(index), atol=1e-9)
        assert image[xyz] == at(vol, *index)


def test_from_simpleitk_is_where_it_came_from_and_aligns_with_it(vol):
    image = vol.dicom.to_sitk()
    back = from_sitk(image, like=vol)
    assert back.dicom.frame_of_reference_uid == "1.2.3"
    np.testing.assert_array_equal((back - vol).transpose("z", "y", "x").values, 0)
    assert (back + vol).shape == (back.shape if back.dims == vol.dims else (back + vol).shape)


def test_from_simpleitk_keeps_a_grid_of_its_own():
    vol = oblique()
    image = SimpleITK.Shrink(vol.dicom.to_sitk(), [2, 2, 1])
    half = from_sitk(image, like=vol)
    np.testing.assert_allclose(half.dicom.spacing, [3.0, 1.8, 1.6], atol=1e-4)
    np.testing.assert_allclose(half.dicom.to_lps([0, 0, 0]), image.GetOrigin(), atol=2e-4)
    assert half.attrs["Modality"] == "CT"


def test_from_simpleitk_refuses_what_is_no_volume():
    vol = oblique()
    with pytest.raises(InvalidInputError, match="2 dimensions"):
        from_sitk(SimpleITK.Image(3, 4, SimpleITK.sitkInt16), like=vol)
    with pytest.raises(InvalidInputError, match="3 values per voxel"):
        from_sitk(SimpleITK.Image([3, 4, 5], SimpleITK.sitkVectorUInt8, 3), like=vol)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_has_axes_x_y_z_and_each_voxel_at_its_place(vol, suffix, tmp_path):
    path = tmp_path / f"vol{suffix}"
    vol.dicom.to_nifti(path)
    image = nib.load(path)
    assert image.shape == (7, 6, 5)
    assert image.get_data_dtype() == np.int16
    assert image.header.get_xyzt_units()[0] == "mm"
    for z, y, x in VOXELS:
        np.testing.assert_allclose(
            image.affine @ [x, y, z, 1], [*(vol.dicom.to_lps((z, y, x)) * [-1, -1, 1]), 1], atol=1e-4
        )
        assert image.dataobj[x, y, z] == at(vol, z, y, x)


def test_simpleitk_reads_the_nifti_at_the_same_place(tmp_path):
    vol = oblique()
    vol.dicom.to_nifti(tmp_path / "vol.nii")
    image = SimpleITK.ReadImage(str(tmp_path / "vol.nii"))
    for index in VOXELS:
        xyz = [int(i) for i in index[::-1]]
        np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(xyz), vol.dicom.to_lps(index), atol=1e-4)


@pytest.mark.parametrize(("times", "step"), [([0.0, 2.5, 5.0], 2.5), ([0.0, 2.5, 7.0], 1.0)])
def test_a_dimension_beside_is_the_fourth_of_nifti(times, step, tmp_path):
    vol = oblique()
    several = xr.concat([vol, vol + 100, vol + 200], "time")
    several = several.assign_coords(time=("time", times, {"units": "s"}))
    several.transpose("z", "time", "y", "x").dicom.to_nifti(tmp_path / "vol.nii")
    image = nib.load(tmp_path / "vol.nii")
    assert image.shape == (*vol.shape[::-1], 3)
    assert image.header.get_zooms()[3] == pytest.approx(step)
    assert image.header.get_xyzt_units() == ("mm", "sec" if step > 1 else "unknown")
    for at in range(3):
        np.testing.assert_array_equal(image.dataobj[..., at].T, vol.values + 100 * at)
    np.testing.assert_allclose(image.affine, vol.dicom.affine_ras[:, [2, 1, 0, 3]], atol=1e-4)


def test_masks_are_written_as_bytes(tmp_path):
    mask = oblique() > 0
    mask.dicom.to_nifti(tmp_path / "mask.nii")
    assert nib.load(tmp_path / "mask.nii").get_data_dtype() == np.uint8
    assert mask.dicom.to_sitk().GetPixelID() == SimpleITK.sitkUInt8


def read_nrrd(path):
    """By its header: values as (z, y, x), and the affine from (x, y, z) to the space it names."""
    header, _, data = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in header.decode().split("\n") if ": " in line and line[0] != "#")
    assert (fields["space"], fields["encoding"], fields.get("endian", "little")) == (
        "left-posterior-superior",
        "gzip",
        "little",
    )
    sizes = [int(size) for size in fields["sizes"].split()]
    values = np.frombuffer(gzip.decompress(data), {"short": "<i2", "unsigned char": "u1"}[fields["type"]])
    affine = np.eye(4)
    vectors = re.findall(r"\(([^)]*)\)", fields["space directions"] + fields["space origin"])
    affine[:3] = np.array([[float(number) for number in vector.split(",")] for vector in vectors]).T
    return values.reshape(sizes[::-1]), affine


def test_nrrd_has_axes_x_y_z_and_each_voxel_at_its_place(vol, tmp_path):
    vol.dicom.to_nrrd(tmp_path / "vol.nrrd")
    values, affine = read_nrrd(tmp_path / "vol.nrrd")
    image = SimpleITK.ReadImage(str(tmp_path / "vol.nrrd"))
    for z, y, x in VOXELS:
        np.testing.assert_allclose((affine @ [x, y, z, 1])[:3], vol.dicom.to_lps((z, y, x)), atol=1e-6)
        np.testing.assert_allclose(
            image.TransformIndexToPhysicalPoint((x, y, z)), vol.dicom.to_lps((z, y, x)), atol=1e-6
        )
        assert values[z, y, x] == image[x, y, z] == at(vol, z, y, x)


def test_a_tilt_stays_a_tilt_in_nrrd(tmp_path):
    vol = oblique(1, 0.24)
    vol.dicom.to_nrrd(tmp_path / "vol.nrrd")
    _, affine = read_nrrd(tmp_path / "vol.nrrd")
    np.testing.assert_allclose(affine, vol.dicom.affine_lps[:, [2, 1, 0, 3]], atol=1e-6)
    (vol > 0).dicom.to_nrrd(tmp_path / "mask.nrrd")
    np.testing.assert_array_equal(read_nrrd(tmp_path / "mask.nrrd")[0], vol.values > 0)


def test_what_cannot_be_written_right_is_refused(tmp_path):
    vol = oblique()
    with pytest.raises(InvalidInputError, match=r"\.nii"):
        vol.dicom.to_nifti(tmp_path / "vol.nrrd")
    with pytest.raises(InvalidInputError, match=r"\.nrrd"):
        vol.dicom.to_nrrd(tmp_path / "vol.nii")
    with pytest.raises(GeometryError, match="dimensions"):
        xr.concat([vol, vol], "time").dicom.to_nrrd(tmp_path / "vol.nrrd")
    with pytest.raises(UnsupportedError, match="int64"):
        vol.astype("int64").dicom.to_nifti(tmp_path / "vol.nii")
    with pytest.raises(GeometryError, match="dimensions"):
        xr.concat([vol, vol], "time").expand_dims("echo").dicom.to_nifti(tmp_path / "vol.nii")
    with pytest.raises(GeometryError, match="dimensions"):
        xr.concat([vol, vol], "time").dicom.to_sitk()
    with pytest.raises(GeometryError, match="no extent along 'z'"):
        vol.isel(z=2).dicom.to_sitk()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [">i2", ">f4"])
def test_byte_order_is_no_value(dtype, tmp_path):
    vol = oblique()
    foreign = vol.astype(dtype)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(foreign.dicom.to_sitk()), vol.values)
    foreign.dicom.to_nifti(tmp_path / "a.nii")
    np.testing.assert_array_equal(nib.load(tmp_path / "a.nii").get_fdata().T, vol.values)
