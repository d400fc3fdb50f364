"""The generated chests: what `truth` says is what the pixels and the headers say."""

import itertools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from researchpacs import datasets

DIRECTIONS = [d for d in itertools.product((-1, 0, 1), repeat=3) if d > (0, 0, 0)]
FINE = 400
CHESTS = ("chest_ct", "chest_ct_prior")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("datasets")


def read(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in sorted(folder.glob("*.dcm"))])
    return reader.Execute()


@pytest.fixture(scope="session")
def images(cache: Path) -> dict[str, sitk.Image]:
    return {name: read(datasets.path(name, cache=cache)) for name in CHESTS}


def half_maximum_diameter(image: sitk.Image, center: NDArray[np.float64], direction: NDArray[np.float64]) -> float:
    """Length between the two points on a line through the centre where the density is half of the nodule's."""
    steps = np.arange(-11, 11.001, 0.05)
    values = np.array([image.EvaluateAtPhysicalPoint((center + t * direction).tolist()) for t in steps])
    inside = np.abs(steps) < 2
    outside = np.abs(steps) > 9
    half = (np.median(values[inside]) + np.median(values[outside])) / 2
    above = values > half
    middle = len(steps) // 2
    last = middle + int(np.argmin(above[middle:])) - 1
    first = middle - int(np.argmin(above[middle::-1])) + 1

    def crossing(low: int, high: int) -> float:
        share = (half - values[low]) / (values[high] - values[low])
        return float(steps[low] + share * (steps[high] - steps[low]))

    return crossing(last, last + 1) - crossing(first - 1, first)


@pytest.mark.parametrize("name", CHESTS)
def test_half_maximum_diameter_is_the_truth_along_the_axes(images: dict[str, sitk.Image], name: str) -> None:
    nodule = datasets.truth(name)["nodule"]
    for axis in np.eye(3):
        measured = half_maximum_diameter(images[name], np.array(nodule["center_lps"]), axis)
        assert measured == pytest.approx(nodule["diameter_mm"], abs=0.2)


@pytest.mark.parametrize("name", CHESTS)
def test_half_maximum_diameter_is_the_truth_in_every_direction_of_thin_slices(cache: Path, name: str) -> None:
    from researchpacs.datasets._chest import Chest
    from researchpacs.datasets._ct import Acquisition
    from researchpacs.datasets._definition import definition

    truth = datasets.truth(name, slices=FINE)
    acquisition = Acquisition(definition(name), FINE)
    chest = Chest(acquisition.definition)
    center, (dz, dy, dx) = np.array(truth["nodule"]["center_lps"]), truth["spacing"]
    indices = [k for k in range(FINE) if abs(acquisition.position(k)[2] - center[2]) < 14]
    volume = np.stack([chest.slice_hu(acquisition.position(k)[2], dz) + chest.noise_hu(k) for k in indices])
    image = sitk.GetImageFromArray(volume)
    image.SetSpacing((dx, dy, dz))
    image.SetOrigin(acquisition.position(indices[0]))
    measured = [half_maximum_diameter(image, center, np.array(d) / np.linalg.norm(d)) for d in DIRECTIONS]
    assert len(measured) == 13
    assert np.abs(np.array(measured) - truth["nodule"]["diameter_mm"]).max() < 0.2


def test_ends_span_the_diameter_about_the_centre() -> None:
    for name, diameter in zip(CHESTS, (12.0, 8.0), strict=True):
        nodule = datasets.truth(name)["nodule"]
        first, second = np.array(nodule["diameter_ends_lps"])
        assert np.linalg.norm(second - first) == diameter == nodule["diameter_mm"]
        assert ((first + second) / 2).tolist() == list(nodule["center_lps"])


@pytest.mark.parametrize("name", CHESTS)
def test_organs_have_their_density(images: dict[str, sitk.Image], name: str) -> None:
    truth = datasets.truth(name)
    image = images[name]
    for organ, known in truth["organs"].items():
        x, y, z = image.TransformPhysicalPointToIndex(known["point_lps"])
        block = sitk.GetArrayViewFromImage(image)[z - 1 : z + 2, y - 3 : y + 4, x - 3 : x + 4]
        assert block.mean() == pytest.approx(known["hu"], abs=5), organ
        assert 8 < block.std() < 18, organ


@pytest.mark.parametrize("name", CHESTS)
def test_volume_lies_where_the_truth_says(images: dict[str, sitk.Image], name: str) -> None:
    truth, image = datasets.truth(name), images[name]
    assert image.GetSize()[::-1] == truth["shape"]
    assert image.GetSpacing()[::-1] == pytest.approx(truth["spacing"])
    assert image.GetOrigin() == pytest.approx(truth["origin_lps"])
    assert image.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)


def test_prior_is_the_same_patient_a_year_before(cache: Path) -> None:
    now, before = (pydicom.dcmread(datasets.path(name, cache=cache) / "0001.dcm") for name in CHESTS)
    assert now.PatientID == before.PatientID
    assert str(now.PatientName) == str(before.PatientName) == "Phantom^Chest"
    assert int(now.StudyDate) - int(before.StudyDate) == 10000
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID"):
        assert now[keyword].value != before[keyword].value


@pytest.mark.parametrize("name", CHESTS)
def test_headers_carry_the_uids_of_the_truth(cache: Path, name: str) -> None:
    truth = datasets.truth(name)
    headers = [pydicom.dcmread(f, stop_before_pixels=True) for f in sorted(datasets.path(name, cache=cache).iterdir())]
    assert [ds.SOPInstanceUID for ds in headers] == truth["SOPInstanceUIDs"]
    for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert {ds[keyword].value for ds in headers} == {truth[keyword]}
    assert all(ds.SOPInstanceUID.is_valid for ds in headers)
    assert [ds.InstanceNumber for ds in headers] == list(range(1, 151))


@pytest.mark.parametrize("name", CHESTS)
def test_dciodvfy_finds_no_error(cache: Path, name: str) -> None:
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is missing: apt-get install dicom3tools")
    for file in sorted(datasets.path(name, cache=cache).iterdir())[::17]:
        verdict = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False)
        assert verdict.returncode == 0
        assert "Error" not in verdict.stdout + verdict.stderr


def test_other_numbers_of_slices_are_other_series_of_one_study() -> None:
    usual, fine = datasets.truth("chest_ct"), datasets.truth("chest_ct", slices=275)
    assert fine["spacing"][0] == 1.09
    assert fine["shape"] == (275, 512, 512)
    assert fine["StudyInstanceUID"] == usual["StudyInstanceUID"]
    assert fine["FrameOfReferenceUID"] == usual["FrameOfReferenceUID"]
    assert fine["SeriesInstanceUID"] != usual["SeriesInstanceUID"]
    assert not set(fine["SOPInstanceUIDs"]) & set(usual["SOPInstanceUIDs"])
