"""Volumes of real scanners are where and what dcm2niix, SimpleITK and the headers say."""

import hashlib
import itertools
import json

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK

from researchpacs.volume import open_volume, read_volume

pytestmark = pytest.mark.data

SERIES = {
    "CT head": ("ct_head_phantom", "S2020", "202_STD_BRAIN_1MM,_iDose.nii"),
    "MR T1": ("mr_ge_t1_dwi", "05_3D_Ax_T1_MP_RAGE_R22", "5_3D_Ax_T1_MP-RAGE_R22.nii"),
    "PET": ("pet_seg_qin", "PET", "3471270653_PET_WB_0.nii"),
    "orientation phantom": ("digital_phantom_orientation", "dicom/orientation", "1_orientation.nii"),
    "STS_002 CT": ("petct_mr_rtstruct_sts_002", "CT/image", "3_IBSI_1_STS_002_CT_image.nii"),
    "STS_002 PET": ("petct_mr_rtstruct_sts_002", "PET/image", "4_IBSI_1_STS_002_PET_image.nii"),
    "STS_002 MR": ("petct_mr_rtstruct_sts_002", "MR_T1/image", "6564013_IBSI_1_STS_002_MR_T1_image.nii"),
}


@pytest.fixture(params=SERIES, scope="module")
def case(request, real_data, series_of):
    root, folder, name = SERIES[request.param]
    known = json.loads((real_data / root / "reference" / "dcm2niix_reference.json").read_text())
    reference = next(v for v in known["volumes"] if v["file"] == name)
    series = series_of(real_data / root / folder)
    return series, reference, read_volume(series)


def corners(affine, shape):
    index = np.array(list(itertools.product(*[(0, n - 1) for n in shape])))
    return index @ affine[:3, :3].T + affine[:3, 3]


def apart(points, others):
    """Distance of each point to the nearest of the others, each of which must be nearest to one."""
    distances = np.linalg.norm(points[:, None] - others, axis=2)
    assert sorted(distances.argmin(axis=1)) == list(range(len(others)))
    return distances.min(axis=1)


def header_positions(series):
    return np.array([pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient for p in series.paths], float)


def dcm2niix_error(series, reference):
    """How far dcm2niix is from the headers: it keeps positions in float32 (4.5e-3 mm for the long PET)."""
    affine = np.array(reference["affine"])
    columns, rows, slices = reference["shape"]
    # dcm2niix turns rows round; where the first pixel of each slice went is one of the corners.
    ends = [(i, j) for i in (0, columns - 1) for j in (0, rows - 1)]
    index = np.array([[(i, j, k) for k in range(slices)] for i, j in ends])
    points = index @ affine[:3, :3].T + affine[:3, 3]
    headers = header_positions(series) * [-1, -1, 1]
    return min(np.linalg.norm(p[:, None] - headers, axis=2).min(axis=1).max() for p in points)


def test_corners_are_where_dcm2niix_puts_them(case):
    series, reference, vol = case
    mine = corners(vol.dicom.affine_ras, vol.shape)
    theirs = corners(np.array(reference["affine"]), reference["shape"])
    error = dcm2niix_error(series, reference)
    assert error < 5e-3
    assert apart(mine, theirs).max() < max(2e-3, error + 1e-3)


def test_every_slice_is_where_its_header_says(case):
    series, _, vol = case
    first_pixels = vol.dicom.to_lps([(k, 0, 0) for k in range(vol.sizes["z"])])
    assert apart(first_pixels, header_positions(series)).max() < 1e-4


def in_nifti_order(values, vol, reference):
    """(z, y, x) values as (x, y, z), turned as dcm2niix turns them."""
    mine = np.diag([-1.0, -1.0, 1.0]) @ vol.dicom.direction
    theirs = np.array(reference["affine"])[:3, 2::-1]
    flips = np.sign(np.einsum("ij,ij->j", mine, theirs)).astype(int)
    return np.ascontiguousarray(values[tuple(slice(None, None, f) for f in flips)].transpose(2, 1, 0))


def test_stored_voxels_are_those_of_dcm2niix(case):
    series, reference, vol = case
    if reference["dtype"] == "float32":
        # Slopes differ from slice to slice: dcm2niix stores rescaled values, rounded otherwise than float64 rounds.
        assert vol.dtype == np.float32
        assert vol.values.max() == pytest.approx(reference["max"], rel=3e-7)
        return
    mine = in_nifti_order(read_volume(series, rescale=False).values, vol, reference)
    assert mine.dtype.itemsize == 2
    assert hashlib.sha256(mine.tobytes()).hexdigest() == reference["sha256"]


def test_rescaled_voxels_have_the_statistics_of_dcm2niix(case):
    _, reference, vol = case
    assert vol.values.min() == pytest.approx(reference["min"], rel=1e-5)
    assert vol.values.max() == pytest.approx(reference["max"], rel=1e-5)
    assert vol.values.mean(dtype=float) == pytest.approx(reference["mean"], rel=1e-5)


def test_simpleitk_reads_the_same_volume(case):
    series, _, vol = case
    reader = SimpleITK.ImageSeriesReader()
    names = reader.GetGDCMSeriesFileNames(str(series.paths[0].parent), series.uid)
    reader.SetFileNames(names)
    image = reader.Execute()
    mine = vol.dicom.to_sitk()
    # ITK sorts by the same normal, so nothing needs to be turned.
    assert mine.GetSize() == image.GetSize()
    np.testing.assert_allclose(mine.GetOrigin(), image.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(mine.GetSpacing(), image.GetSpacing(), atol=5e-6)
    np.testing.assert_allclose(mine.GetDirection(), image.GetDirection(), atol=1e-6)
    theirs = SimpleITK.GetArrayViewFromImage(image)
    if len({u.rescale_slope for u in series.frames()}) == 1:  # ITK takes the slope of one slice for all
        np.testing.assert_allclose(vol.values, theirs, rtol=1e-6)


def test_pixels_are_those_of_pydicom_slice_by_slice(case):
    series, _, vol = case
    for path in series.paths[:: max(1, len(series.paths) // 5)]:
        ds = pydicom.dcmread(path)
        k = round(vol.dicom.to_index(ds.ImagePositionPatient)[0])
        expected = (
            ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) if "RescaleSlope" in ds else None
        )
        expected = ds.pixel_array if expected is None else expected
        np.testing.assert_array_equal(vol.values[k], expected.astype(vol.dtype))


def test_the_lazy_volume_equals_the_read_one(case):
    series, _, vol = case
    lazy = open_volume(series)
    assert lazy.chunks is not None
    assert lazy.dtype == vol.dtype
    assert lazy.compute().identical(vol)


def test_nifti_is_the_file_that_dcm2niix_would_write_but_for_flips(case, tmp_path):
    series, reference, vol = case
    vol.dicom.to_nifti(tmp_path / "vol.nii.gz")
    image = nib.load(tmp_path / "vol.nii.gz")
    assert list(image.shape) == reference["shape"]
    theirs = corners(np.array(reference["affine"]), reference["shape"])
    tolerance = max(2e-3, dcm2niix_error(series, reference) + 1e-3)
    assert apart(corners(image.affine, image.shape), theirs).max() < tolerance
    back = SimpleITK.ReadImage(str(tmp_path / "vol.nii.gz"))
    index = [int(n) // 3 for n in back.GetSize()]
    np.testing.assert_allclose(back.TransformIndexToPhysicalPoint(index), vol.dicom.to_lps(index[::-1]), atol=2e-4)
    assert back[tuple(index)] == vol.values[tuple(index[::-1])]


@pytest.mark.parametrize(("modality", "folder"), [("CT", "CT"), ("PET", "PET"), ("MR_T1", "MR_T1")])
def test_sts_002_is_the_nifti_that_its_publishers_ship(real_data, series_of, modality, folder):
    root = real_data / "petct_mr_rtstruct_sts_002"
    vol = read_volume(series_of(root / folder / "image"))
    image = nib.load(root / "reference" / f"{modality}_image.nii.gz")
    ras = vol.dicom.to_lps(np.indices(vol.shape).reshape(3, -1).T) * [-1, -1, 1]
    at = np.linalg.solve(image.affine[:3, :3], (ras - image.affine[:3, 3]).T)
    assert np.abs(at - np.rint(at)).max() < 1e-3
    np.testing.assert_allclose(
        vol.values.ravel(), np.asarray(image.dataobj)[tuple(np.rint(at).astype(int))], rtol=1e-5, atol=1e-6
    )


def test_units_say_what_the_values_are(case):
    _, _, vol = case
    assert vol.attrs["units"] == {"CT": "HU", "MR": "", "PT": vol.attrs["units"]}[vol.attrs["Modality"]]
    if vol.attrs["Modality"] == "PT":
        assert vol.attrs["units"] in ("Bq/ml", "g/ml")
