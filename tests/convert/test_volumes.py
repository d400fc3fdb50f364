"""Volumes become slices: voxel for voxel at the same place, as other readers see them."""

import gzip
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from pydicom.uid import CTImageStorage, MRImageStorage, SecondaryCaptureImageStorage
from scipy.spatial.transform import Rotation

import researchpacs as rp
from researchpacs.errors import GeometryError, InvalidInputError, UnsupportedError

A17 = {"PatientID": "A17"}


def nifti(data: np.ndarray, affine: np.ndarray, code: int = 1) -> nib.Nifti1Image:
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    return image


def oblique(handed: int = 1) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec([0.4, -0.3, 0.2]).as_matrix() * [0.9 * handed, 0.8, 2.5]
    affine[:3, 3] = [-80, 40, 300]
    return affine


def numbers(kind: str = "int16", shape: tuple[int, ...] = (11, 9, 6)) -> np.ndarray:
    values = np.random.default_rng(7).integers(-1000, 3000, shape)
    return values.astype(kind) if kind != "float32" else (values / 7).astype(np.float32)


def by_dcm2niix(folder: Path) -> nib.Nifti1Image:
    out = folder.parent / "dcm2niix"
    out.mkdir()
    command = [
        str(Path(sys.executable).parent / "dcm2niix"),
        "-z",
        "n",
        "-b",
        "n",
        "-f",
        "v",
        "-o",
        str(out),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (file,) = out.glob("*.nii")
    assert done.returncode == 0, done.stdout
    return nib.load(file)


def assert_same_places(ours: nib.Nifti1Image, theirs: nib.Nifti1Image, atol: float = 0.0) -> None:
    """Every voxel centre of one is a voxel centre of the other, with the same value."""
    index = np.stack(np.meshgrid(*map(np.arange, ours.shape), indexing="ij"), -1).reshape(-1, 3)
    there = nib.affines.apply_affine(np.linalg.inv(theirs.affine) @ ours.affine, index)
    rounded = np.rint(there).astype(int)
    assert np.abs(there - rounded).max() < 2e-3
    assert sorted(ours.shape) == sorted(theirs.shape)
    np.testing.assert_allclose(
        np.asarray(theirs.dataobj)[tuple(rounded.T)], np.asarray(ours.dataobj)[tuple(index.T)], atol=atol, rtol=1e-6
    )


@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_dcm2niix_gives_the_same_voxels_and_affine(written, modality, handed):
    image = nifti(numbers(), oblique(handed))
    made = rp.to_dicom(image, modality=modality, attributes=A17)
    assert_same_places(image, by_dcm2niix(written(made)))


@pytest.mark.data
@pytest.mark.parametrize(
    ("path", "modality"),
    [
        ("digital_phantom_orientation/nifti/orientation/image/orientation.nii.gz", "MR"),
        ("petct_mr_rtstruct_sts_002/reference/CT_image.nii.gz", "CT"),
        ("petct_mr_rtstruct_sts_002/reference/PET_image.nii.gz", "PT"),
        ("mr_enhanced/reference/Philips_WIP_B0_NS_801_e2_fieldmaphz.nii.gz", "MR"),
    ],
)
def test_a_real_nifti_comes_back_from_dcm2niix(written, real_data, path, modality):
    made = rp.to_dicom(real_data / path, modality=modality, attributes=A17)
    assert_same_places(nib.load(real_data / path), by_dcm2niix(written(made)), atol=error_told(made[0]) * 1.01)


def error_told(ds) -> float:
    """How far off values are by the header, 0.0 where it says that none is."""
    told = ds.DerivationDescription
    assert "at most" in told or "every value kept" in told
    return float(told.split("at most ")[1].split()[0]) if "at most" in told else 0.0


def test_simpleitk_reads_the_same_image(written):
    image = nifti(numbers(), oblique())
    folder = written(rp.to_dicom(image, modality="CT", attributes=A17))
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    read = reader.Execute()
    for index in [(0, 0, 0), (3, 8, 5), (10, 2, 1)]:
        ras = nib.affines.apply_affine(image.affine, index)
        place = read.TransformPhysicalPointToIndex((ras * [-1, -1, 1]).tolist())
        assert read[place] == image.dataobj[index]


@pytest.mark.parametrize(
    ("modality", "sop_class"),
    [("CT", CTImageStorage), ("MR", MRImageStorage), ("PT", SecondaryCaptureImageStorage)],
)
@pytest.mark.parametrize("kind", ["int16", "float32", "uint16", "int32"])
def test_dciodvfy_finds_no_error(errors_of, modality, sop_class, kind):
    image = nifti(np.abs(numbers(kind)), oblique())
    made = rp.to_dicom(image, modality=modality, description="Größe", attributes=A17)
    assert {ds.SOPClassUID for ds in made} == {sop_class}
    assert errors_of(made) == []


def test_a_slope_of_the_file_stays_its_slope(tmp_path):
    image = nifti(numbers(), oblique())
    image.header.set_slope_inter(0.25, -7)
    nib.save(image, tmp_path / "scaled.nii")
    stored = nib.load(tmp_path / "scaled.nii")
    made = rp.to_dicom(tmp_path / "scaled.nii", modality="MR", attributes=A17)
    assert (float(made[0].RescaleSlope), float(made[0].RescaleIntercept)) == (
        stored.dataobj.slope,
        stored.dataobj.inter,
    )
    raw = np.stack([ds.pixel_array for ds in made]).transpose(2, 1, 0)
    np.testing.assert_array_equal(raw, stored.dataobj.get_unscaled())
    assert "every value kept" in made[0].DerivationDescription


@pytest.mark.parametrize(
    "values",
    [
        numbers("float32"),
        np.abs(numbers("float32")) * 1e-4,
        numbers("float32") + 1e6,
        numbers("float32") - 1e6,
        numbers("int32").astype(np.int64) * 100_000,
        np.full((3, 4, 5), 0.1),
        np.zeros((3, 4, 5)),
    ],
)
def test_floats_are_at_most_as_far_off_as_the_header_says(values):
    made = rp.to_dicom(values, spacing=(1, 1, 1), modality="MR", attributes=A17)
    bound = error_told(made[0])
    slope, intercept = float(made[0].get("RescaleSlope", 1)), float(made[0].get("RescaleIntercept", 0))
    back = np.stack([ds.pixel_array for ds in made]) * slope + intercept
    off = np.abs(back - values.astype(np.float64)).max()
    assert off <= bound * 1.01 + 1e-9 * np.abs(back).max()
    assert bound <= (values.max() - min(values.min(), 0)) / 65_535 * 1.01
    assert not back[values == 0].any()


def test_whole_numbers_beyond_16_bits_are_shifted_not_rounded():
    values = np.arange(60).reshape(3, 4, 5).astype(np.int32) * 1000 + 5_000_000
    made = rp.to_dicom(values, spacing=(2, 1, 1), modality="OT", attributes=A17)
    back = np.stack([ds.pixel_array for ds in made]) * float(made[0].RescaleSlope) + float(made[0].RescaleIntercept)
    np.testing.assert_array_equal(back, values)
    assert "every value kept" in made[0].DerivationDescription


def test_an_archive_opens_what_was_converted(pacs, series):
    vol = rp.read_volume(series)
    smooth = (vol * 0.5).astype("float32")
    made = rp.to_dicom(smooth, like=series, description="halved")
    report = pacs.ingest(made)
    assert report.stored == 4
    back = rp.read_volume(report.series[0])
    assert (back - vol * 0.5).dims == ("z", "y", "x")  # arithmetic refuses another grid or frame
    assert float(abs(back - vol * 0.5).max()) < 0.03
    assert report.series[0].study.uid == series.study.uid
    assert report.series[0].PatientID == series.PatientID


def test_the_unit_of_a_volume_comes_back(pacs, series, errors_of):
    vol = rp.read_volume(series).astype("float32").assign_attrs(units="g/ml", Modality="PT")
    made = rp.to_dicom(vol, like=series, description="uptake")
    assert errors_of(made) == []
    back = rp.read_volume(pacs.ingest(made).series[0])
    assert (back.attrs["units"], back.attrs["Modality"]) == ("g/ml", "PT")
    np.testing.assert_allclose(back, vol, atol=0.03)


def test_an_array_takes_the_grid_of_the_series_it_is_like(series):
    vol = rp.read_volume(series)
    made = rp.to_dicom(vol.values[::, ::, ::], like=series)
    header = series.header()
    assert {ds.FrameOfReferenceUID for ds in made} == {header.FrameOfReferenceUID}
    assert made[0].Modality == "CT"
    np.testing.assert_allclose(made[0].ImagePositionPatient, vol.dicom.to_lps([0, 0, 0]), atol=1e-4)
    with pytest.raises(GeometryError, match="shape"):
        rp.to_dicom(vol.values[1:], like=series)


def test_simpleitk_images_and_volumes_say_the_same(series):
    vol = rp.read_volume(series)
    ours, theirs = (rp.to_dicom(source, like=series, modality="CT") for source in (vol, vol.dicom.to_sitk()))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.ImagePositionPatient, b.ImagePositionPatient, atol=1e-6)
        assert a.PixelData == b.PixelData


def test_one_slice_is_enough(series, pacs):
    vol = rp.read_volume(series).isel(z=[2])
    (made,) = rp.to_dicom(vol, like=series, description="one")
    np.testing.assert_allclose(made.ImagePositionPatient, vol.dicom.to_lps([0, 0, 0]), atol=1e-4)
    alone = pacs.ingest(made).series[0]
    opened = rp.read_volume(alone)
    (again,) = rp.to_dicom(opened, like=series, description="one")
    assert again.PixelData == made.PixelData
    np.testing.assert_allclose(again.ImagePositionPatient, made.ImagePositionPatient, atol=1e-4)


def test_the_patients_own_coordinates_come_before_those_of_a_template():
    image = nib.Nifti1Image(numbers(), np.eye(4))
    image.set_sform(np.diag([3.0, 3, 3, 1]), 4)
    image.set_qform(oblique(), 1)
    made = rp.to_dicom(image, modality="MR", attributes=A17)
    ras = image.header.get_qform()[:3, 3]
    np.testing.assert_allclose(made[0].ImagePositionPatient, ras * [-1, -1, 1], atol=1e-5)


def test_two_affines_that_disagree_are_nobodys_place():
    image = nifti(numbers(), oblique())
    image.header.set_qform(oblique() + 2 * np.eye(4, k=3), 1)
    with pytest.raises(GeometryError, match="disagree"):
        rp.to_dicom(image, modality="MR", attributes=A17)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda a: np.where(np.eye(4, k=1) * [0, 1, 0, 0], 0.3, a), GeometryError, "degrees"),
        (lambda a: a * np.nan, GeometryError, "not finite"),
        (lambda a: np.diag([1.0, 1, 0, 1]), GeometryError, "not invertible"),
        (lambda a: a + np.outer([0.123, 0, 0, 0], [0, 0, 0, 1]) + 1e14 * np.eye(4, k=3), GeometryError, "would move"),
    ],
)
def test_an_affine_that_no_slices_can_have_is_refused(change, error, words):
    with pytest.raises(error, match=words):
        rp.to_dicom(numbers(shape=(3, 4, 5)), affine_lps=change(np.eye(4)), modality="MR", attributes=A17)


@pytest.mark.parametrize(
    ("source", "options", "error", "words"),
    [
        (np.full((2, 3, 4), np.nan), {"spacing": (1, 1, 1)}, InvalidInputError, "24 of 24 voxels"),
        (np.full((2, 3, 4), 1j), {"spacing": (1, 1, 1)}, InvalidInputError, "complex"),
        (np.array([[["a"]]]), {"spacing": (1, 1, 1)}, InvalidInputError, "real numbers"),
        (np.zeros((0, 3, 4)), {"spacing": (1, 1, 1)}, InvalidInputError, "without voxels"),
        (np.zeros((2, 3, 4)), {"spacing": (1, -1, 1)}, InvalidInputError, "positive"),
        (np.zeros((2, 3, 4)), {}, InvalidInputError, "where is the array"),
        (np.zeros((2, 3, 4)), {"spacing": (1, 1, 1), "affine_lps": np.eye(4)}, InvalidInputError, "one of the two"),
        (np.zeros((2, 3, 4, 5)), {"spacing": (1, 1, 1)}, InvalidInputError, "shape"),
        (np.array([[[1e300, -1e300]]]), {"spacing": (1, 1, 1)}, InvalidInputError, "scale them"),
        (nifti(numbers(shape=(2, 2, 2, 3)), np.eye(4)), {}, UnsupportedError, "4 dimensions"),
        (nifti(numbers(shape=(2, 2, 2, 1, 3)), np.eye(4)), {}, UnsupportedError, "5 dimensions"),
        (nifti(numbers(), np.eye(4), code=0), {}, GeometryError, "which side is left"),
        (object(), {}, InvalidInputError, "cannot convert"),
    ],
)
def test_what_is_no_volume_is_refused_with_the_reason(source, options, error, words):
    with pytest.raises(error, match=words):
        rp.to_dicom(source, modality="MR", attributes=A17, **options)


def test_stored_values_do_not_pass_for_hu(series):
    with pytest.raises(InvalidInputError, match="not HU"):
        rp.to_dicom(rp.read_volume(series, rescale=False), like=series)


def test_what_was_once_lossy_stays_lossy(series, errors_of):
    like = series.header()
    like.LossyImageCompression, like.LossyImageCompressionRatio = "01", "8"
    made = rp.to_dicom(rp.read_volume(series), like=like)
    assert {(ds.LossyImageCompression, ds.LossyImageCompressionRatio) for ds in made} == {("01", 8)}
    assert errors_of(made) == []
    assert "LossyImageCompression" not in rp.to_dicom(numbers(), spacing=(1, 1, 1), modality="MR", attributes=A17)[0]


def test_a_modality_has_to_be_said():
    with pytest.raises(InvalidInputError, match="what do the values mean"):
        rp.to_dicom(nifti(numbers(), oblique()), attributes=A17)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_nifti_is_refused_whatever_it_is_called(tmp_path, packed, kept):
    whole = nifti(numbers(), oblique()).to_bytes()
    whole = gzip.compress(whole) if packed else whole
    file = tmp_path / "volume.dat"
    file.write_bytes(whole[: max(400, int(len(whole) * kept))])
    with pytest.raises(InvalidInputError, match="truncated"):
        rp.to_dicom(file, modality="MR", attributes=A17)
    file.write_bytes(whole)
    assert len(rp.to_dicom(file, modality="MR", attributes=A17)) == 6


def test_a_header_that_promises_what_the_file_cannot_hold_reads_nothing(tmp_path):
    bomb = bytearray(nifti(numbers(), oblique()).to_bytes())
    bomb[42:48] = np.array([30_000, 30_000, 30_000], "<i2").tobytes()
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(bytes(bomb)))
    with pytest.raises(InvalidInputError, match="declares"):
        rp.to_dicom(tmp_path / "bomb.nii.gz", modality="MR", attributes=A17)


def test_what_is_elsewhere_does_not_claim_the_frame_of_a_series(series):
    far = np.eye(4)
    far[:3, 3] = 5000
    with pytest.raises(GeometryError, match="mm away"):
        rp.to_dicom(numbers(shape=(3, 4, 5)), affine_lps=far, like=series)
    template = nifti(numbers(), np.eye(4), code=4)
    with pytest.raises(GeometryError, match="template"):
        rp.to_dicom(template, like=series)
    other = rp.to_dicom(template, like=series.study, modality="MR")
    assert other[0].FrameOfReferenceUID != series.header().FrameOfReferenceUID
