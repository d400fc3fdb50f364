"""PET opens as standardized uptake values: of known uptake, of real scans, with units; or says what is missing."""

import json

import nibabel as nib
import numpy as np
import pytest

import researchpacs as rp
from researchpacs import datasets
from researchpacs.errors import InvalidInputError


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    with rp.connect(tmp_path_factory.mktemp("home")) as pacs:
        pacs.ingest(datasets.path("chest_pet"), progress=False)
        yield pacs


@pytest.fixture(scope="module")
def truth():
    return datasets.truth("chest_pet")


@pytest.fixture(scope="module")
def pet(pacs, truth):
    return rp.read_volume(pacs.series(truth["SeriesInstanceUID"]))


def at(vol, point):
    return float(vol.values[tuple(vol.dicom.to_index(point).round().astype(int))])


def test_organs_and_the_hot_spot_have_the_uptake_that_is_known(pet, truth):
    suv = pet.dicom.suv()
    for name, organ in truth["organs"].items():
        assert at(suv, organ["point_lps"]) == pytest.approx(organ["suv"], rel=1e-3), name
    spot = truth["hot_spot"]
    assert at(suv, spot["center_lps"]) == pytest.approx(spot["suv"], rel=1e-3)
    assert float(suv.max()) == pytest.approx(spot["suv"], rel=1e-3)
    assert pet.attrs["units"] == "Bq/ml"
    decayed = truth["dose_bq"] * 0.5 ** (truth["uptake_s"] / truth["half_life_s"])
    assert at(pet, spot["center_lps"]) == pytest.approx(spot["suv"] * decayed / 76_000, rel=1e-3)


def test_it_stays_lazy_on_its_grid_and_says_what_it_is(pacs, pet, truth):
    vol = rp.open_volume(pacs.series(truth["SeriesInstanceUID"]))
    suv = vol.dicom.suv()
    assert suv.chunks == vol.chunks
    assert suv.dtype == np.float32
    np.testing.assert_array_equal(suv.values, pet.dicom.suv().values)
    np.testing.assert_array_equal(suv.dicom.affine_lps, vol.dicom.affine_lps)
    assert (suv.attrs["units"], suv.attrs["SUVType"]) == ("g/ml", "BW")
    assert "SUV (BW)" in suv.attrs["history"][-1]
    assert suv.attrs["history"][:-1] == vol.attrs["history"]
    assert pet.dicom.suv("BSA").attrs["units"] == "cm2/ml"


def test_kinds_differ_by_the_body_alone(pet):
    ratio = float(pet.dicom.suv("BSA").max() / pet.dicom.suv().max())
    # 76 kg and 174 cm: 1.90 m2.
    assert ratio == pytest.approx(0.007184 * 76**0.425 * 174**0.725 * 10_000 / 76_000, rel=1e-5)
    with pytest.raises(InvalidInputError, match="PatientSex"):
        pet.dicom.suv("LBM")


def test_linear_arithmetic_comes_before_or_after(pet):
    crop = pet.isel(z=slice(40, 50))
    np.testing.assert_allclose((2 * crop).dicom.suv().values, 2 * crop.dicom.suv().values, rtol=1e-6)
    np.testing.assert_allclose(pet.mean("z").dicom.suv().values, pet.dicom.suv().mean("z").values, rtol=1e-4)


def test_what_is_no_activity_is_refused(pacs, pet, truth):
    with pytest.raises(InvalidInputError, match="already"):
        pet.dicom.suv().dicom.suv()
    with pytest.raises(InvalidInputError, match="only PET"):
        (pet > 1000).dicom.suv()
    with pytest.raises(InvalidInputError, match="rescale=True"):
        rp.open_volume(pacs.series(truth["SeriesInstanceUID"]), rescale=False).dicom.suv()
    with pytest.raises(InvalidInputError, match="BW, LBM"):
        pet.dicom.suv("bodyweight")


def test_attributes_show_nothing_of_the_patient(pet):
    told = json.loads(pet.attrs["suv_factors"])
    assert isinstance(told["BW"], float)
    assert not any(word in repr(pet.attrs) for word in ("PatientWeight", "76", "174", "350000000", "20250612"))


@pytest.mark.data
def test_a_published_scan_in_g_per_ml_is_what_its_nifti_says(pacs, real_data):
    folder = real_data / "petct_mr_rtstruct_sts_002"
    pacs.ingest(folder, copy=False, progress=False)
    suv = rp.read_volume(pacs.search("series", Modality="PT", Manufacturer="GE MEDICAL SYSTEMS").one()).dicom.suv()
    theirs = nib.load(folder / "reference" / "PET_image.nii.gz")
    values = np.asarray(theirs.dataobj)
    index = np.array(list(np.ndindex(values.shape)))[::97]
    points = (index @ theirs.affine[:3, :3].T + theirs.affine[:3, 3]) * [-1, -1, 1]
    mine = suv.dicom.to_index(points).round().astype(int)
    np.testing.assert_allclose(suv.values[tuple(mine.T)], values[tuple(index.T)], rtol=1e-4, atol=1e-5)
    assert suv.attrs["SUVType"] == "BW"


@pytest.mark.data
def test_a_scan_without_a_height_has_suv_by_weight_only(pacs, real_data):
    pacs.ingest(real_data / "pet_seg_qin", copy=False, progress=False)
    vol = rp.open_volume(pacs.search("series", Modality="PT", Manufacturer="CPS").one())
    # 66.2 kg; 381.47 MBq decayed for 5024.678 s at a half-life of 6586.2 s.
    factor = 66_200 / (381_470_000 * 0.5 ** (5024.678 / 6586.2))
    plane = vol.isel(z=[150])
    np.testing.assert_allclose(plane.dicom.suv().values, plane.values * factor, rtol=1e-6)
    with pytest.raises(InvalidInputError, match=r"series \.\.\.\d+ cannot be scaled to SUV \(LBM\): PatientSize"):
        vol.dicom.suv("LBM")
