"""Segments as highdicom reads them: who they are, how many voxels, how many cubic millimetres."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from researchpacs.dicom.seg import Amount, count_voxels, segments, voxel_mm3
from researchpacs.errors import PixelDataError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def segmentations(real_data: Path) -> list[Path]:
    found = [
        *(real_data / "highdicom_seg_sr_sm_ann").glob("seg*.dcm"),
        *(real_data / "pet_seg_qin" / "SEG").rglob("*.dcm"),
    ]
    assert len(found) == 13
    return sorted(found)


def frames(ds: Dataset) -> np.ndarray:
    pixels = ds.pixel_array
    return pixels if pixels.ndim == 3 else pixels[np.newaxis]


def test_segments_are_those_that_highdicom_describes(real_data: Path) -> None:
    count = 0
    for path in segmentations(real_data):
        ds = pydicom.dcmread(path)
        theirs = highdicom.seg.Segmentation.from_dataset(ds)
        described = {int(one.SegmentNumber): one for one in ds.SegmentSequence}
        for ours in segments(ds):
            one = theirs.get_segment_description(ours.number) if ours.number else described[0]
            assert ours.label == str(one.SegmentLabel)
            assert ours.algorithm_type == str(one.SegmentAlgorithmType)
            kind = one.SegmentedPropertyTypeCodeSequence[0]
            assert str(ours.type) == f"{kind.CodingSchemeDesignator}:{kind.CodeValue}"
            assert ours.series_uid == ds.ReferencedSeriesSequence[0].SeriesInstanceUID
            assert ours.tracking_uid == one.get("TrackingUID")
            count += 1
        assert {one.number for one in segments(ds)} == set(described)
    assert count > 150


def test_voxels_are_those_of_the_volume_that_highdicom_builds(real_data: Path) -> None:
    volumes = 0
    for path in segmentations(real_data):
        ds = pydicom.dcmread(path)
        amounts, size = count_voxels(ds, frames(ds)), voxel_mm3(ds)
        theirs = highdicom.seg.Segmentation.from_dataset(ds)
        if path.name == "seg_image_cr_binary.dcm":  # a radiograph: pixels, and no place for them
            assert (amounts, size) == ({1: Amount(int(ds.pixel_array.sum()), float(ds.pixel_array.sum()))}, None)
            continue
        volume = theirs.get_volume(skip_overlap_checks=True)
        numbers = [number for number in theirs.segment_numbers if number]
        expected = volume.array.reshape(-1, len(numbers)).sum(axis=0, dtype=float)
        filled = [amounts.get(number, Amount(0, 0.0)).filled for number in numbers]
        np.testing.assert_allclose(filled, expected, rtol=1e-6)
        if "_sm_" in path.name:  # on a slide, not in a patient
            assert size is None
        else:
            assert size == pytest.approx(np.prod(volume.spacing), rel=1e-6)
            volumes += 1
    assert volumes == 6


def binary(*positions: float, declared: float | None = None) -> Dataset:
    ds, shared = Dataset(), Dataset()
    ds.SegmentationType, ds.NumberOfFrames = "BINARY", len(positions)
    measures, plane = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [2, 3], 99
    if declared is not None:
        measures.SpacingBetweenSlices = declared
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = []
    for z in positions:
        frame, place, segment = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient, segment.ReferencedSegmentNumber = [0, 0, z], 1
        frame.PlanePositionSequence, frame.SegmentIdentificationSequence = [place], [segment]
        ds.PerFrameFunctionalGroupsSequence.append(frame)
    return ds


@pytest.mark.parametrize(
    ("positions", "declared", "step"),
    [
        ((0, 1, 2), None, 1),
        ((4, 0, 2, 2), None, 2),
        ((0, 5, 15), None, 5),
        ((0, 6), 2, 2),
        ((0, 1, 2), 5, 1),
        ((0,), 4, 4),
        ((0,), None, None),
        ((3, 3), None, None),
        ((0, 2, 5), None, None),
    ],
)
def test_planes_are_as_far_apart_as_their_positions_say(positions, declared, step) -> None:
    assert voxel_mm3(binary(*positions, declared=declared)) == (None if step is None else pytest.approx(6 * step))


def test_frames_without_a_segment_or_a_place_are_not_guessed_at() -> None:
    ds = binary(0, 1, 2)
    del ds.PerFrameFunctionalGroupsSequence[1].SegmentIdentificationSequence
    del ds.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    assert count_voxels(ds, np.ones((3, 4, 4), np.uint8)) == {1: Amount(32, 32.0)}
    assert voxel_mm3(ds) is None


def test_a_labelmap_of_numbers_that_are_no_labels_is_refused() -> None:
    ds = Dataset()
    ds.SegmentationType = "LABELMAP"
    assert count_voxels(ds, [np.array([[0, 7]], np.uint16)]) == {0: Amount(1, 1.0), 7: Amount(1, 1.0)}
    with pytest.raises(PixelDataError, match="int32"):
        count_voxels(ds, [np.array([[0, 1 << 30]], np.int32)])


@pytest.mark.parametrize("name", ["CT_small.dcm", "test-SR.dcm", "rtstruct.dcm"])
def test_other_objects_have_no_segments(real_data: Path, name: str) -> None:
    assert segments(pydicom.dcmread(real_data / "misc_pydicom" / name, force=True)) == []
