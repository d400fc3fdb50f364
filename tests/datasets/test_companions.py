"""What goes with the chest CT, and an oblique MR: valid, the same everywhere, and as `truth` says."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

import researchpacs as rp
from researchpacs import datasets

NAMES = ("chest_pet", "chest_rtstruct", "chest_seg", "oblique_mr")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("datasets")


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_valid_small_and_named(cache: Path, name: str) -> None:
    files = sorted(datasets.path(name, cache=cache).iterdir())
    assert name in datasets.names()
    assert sum(file.stat().st_size for file in files) < 2_000_000
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is missing: apt-get install dicom3tools")
    for file in (files[0], files[-1]):
        verdict = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
        assert [line for line in (verdict.stdout + verdict.stderr).splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_bytes_are_the_same_each_time(cache: Path, tmp_path: Path, name: str) -> None:
    def digest(folder: Path) -> str:
        return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.iterdir()))).hexdigest()

    assert digest(datasets.path(name, cache=cache)) == digest(datasets.path(name, cache=tmp_path))


@pytest.mark.parametrize("name", ["chest_pet", "chest_rtstruct", "chest_seg"])
def test_they_belong_to_the_patient_and_the_study_of_the_ct(cache: Path, name: str) -> None:
    ct, truth = datasets.truth("chest_ct"), datasets.truth(name)
    for file in datasets.path(name, cache=cache).iterdir():
        ds = pydicom.dcmread(file)
        for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
            assert ds[keyword].value == truth[keyword] == ct[keyword]
        assert ds.SeriesInstanceUID == truth["SeriesInstanceUID"] != ct["SeriesInstanceUID"]
    assert truth["ct_series_uid"] == ct["SeriesInstanceUID"]


def test_the_segmentation_has_the_voxels_that_are_told(cache: Path) -> None:
    truth, ct = datasets.truth("chest_seg"), datasets.truth("chest_ct")
    (file,) = datasets.path("chest_seg", cache=cache).iterdir()
    seg = highdicom.seg.segread(file)
    found = seg.get_pixels_by_source_instance(ct["SOPInstanceUIDs"], assert_missing_frames_are_empty=True)
    columns, rows, slices = (np.arange(size) for size in ct["shape"][::-1])
    dz, dy, dx = ct["spacing"]
    x0, y0, z0 = ct["origin_lps"]
    cx, cy, cz = truth["center_lps"]
    squared = (
        (z0 + slices[:, None, None] * dz - cz) ** 2
        + (y0 + rows[:, None] * dy - cy) ** 2
        + (x0 + columns * dx - cx) ** 2
    )
    for label, one in truth["segments"].items():
        assert seg.get_segment_description(one["number"]).segment_label == label
        mask = found[..., one["number"] - 1].astype(bool)
        np.testing.assert_array_equal(mask, squared < one["radius_mm"] ** 2)
        assert mask.sum() == one["voxels"]
        assert one["mm3"] == pytest.approx(4 / 3 * np.pi * one["radius_mm"] ** 3, rel=0.05)


def test_the_contours_are_circles_about_the_nodule(cache: Path) -> None:
    truth, ct = datasets.truth("chest_rtstruct"), datasets.truth("chest_ct")
    (file,) = datasets.path("chest_rtstruct", cache=cache).iterdir()
    ds = pydicom.dcmread(file)
    names = {int(roi.ROINumber): roi.ROIName for roi in ds.StructureSetROISequence}
    for roi in ds.ROIContourSequence:
        known = truth["rois"][names[int(roi.ReferencedROINumber)]]
        uids = [one.ContourImageSequence[0].ReferencedSOPInstanceUID for one in roi.ContourSequence]
        assert uids == [ct["SOPInstanceUIDs"][k] for k in known["slices"]]
        for contour in roi.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert len(points) == contour.NumberOfContourPoints
            away = np.linalg.norm(points - truth["center_lps"], axis=1)
            np.testing.assert_allclose(away, known["radius_mm"], atol=2e-3)


def test_the_catalog_fills_from_them(cache: Path, tmp_path: Path) -> None:
    truth = datasets.truth("chest_seg")
    with rp.connect(tmp_path / "home") as pacs:
        pacs.ingest([datasets.path(name, cache=cache) for name in ("chest_seg", "chest_rtstruct")], progress=False)
        counted = dict(pacs.sql("select label, voxel_count from segments").fetchall())
        assert counted == {label: one["voxels"] for label, one in truth["segments"].items()}
        contours = pacs.sql("select distinct SeriesInstanceUID from contours").fetchall()
        assert contours == [(truth["ct_series_uid"],)]


def test_the_oblique_series_show_the_same_beads(cache: Path, tmp_path: Path) -> None:
    truth = datasets.truth("oblique_mr")
    with rp.connect(tmp_path / "home") as pacs:
        pacs.ingest(datasets.path("oblique_mr", cache=cache), progress=False)
        assert len(pacs.search("series", StudyInstanceUID=truth["StudyInstanceUID"])) == 2
        for known in truth["series"].values():
            vol = rp.read_volume(pacs.series(known["SeriesInstanceUID"]))
            assert vol.shape == known["shape"]
            assert vol.dicom.frame_of_reference_uid == truth["FrameOfReferenceUID"]
            np.testing.assert_allclose(vol.dicom.spacing, known["spacing"], rtol=1e-5)
            np.testing.assert_allclose(vol.dicom.to_lps((0, 0, 0)), known["origin_lps"], atol=1e-3)
            cosines = vol.dicom.direction[:, ::-1]
            np.testing.assert_allclose(cosines[:, 0], known["orientation"][:3], atol=1e-5)
            np.testing.assert_allclose(cosines[:, 1], known["orientation"][3:], atol=1e-5)
            for bead, one in truth["beads"].items():
                center = centre(vol, one["center_lps"], known["bead"] - known["water"], known["water"])
                off = vol.dicom.to_index(center) - vol.dicom.to_index(one["center_lps"])
                assert np.linalg.norm(off) < 0.5, bead


def centre(vol, near, sign: float, water: float) -> np.ndarray:
    """Centre of mass of a bead, brighter or darker than water, LPS mm."""
    points = vol.dicom.to_lps(np.indices(vol.shape).reshape(3, -1).T)
    close = np.linalg.norm(points - near, axis=1) < 14
    weights = np.clip((vol.values.ravel()[close] - water) / sign, 0, 1)
    return (points[close] * weights[:, None]).sum(axis=0) / weights.sum()
