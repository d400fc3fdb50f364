"""Masks of segments, voxel for voxel those of highdicom, whatever way the volume lies."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import xarray as xr
from pydicom.dataset import Dataset

from researchpacs.annotation.masks import segment_masks
from researchpacs.dicom.seg import segments
from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.volume import as_volume

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

NAMES = ("binary", "binary_fractional", "binary_overlap", "true_fractional", "binary_single_frame")


def frames(ds: Dataset) -> np.ndarray:
    pixels = ds.pixel_array
    return pixels if pixels.ndim == 3 else pixels[np.newaxis]


def theirs(ds: Dataset, number: int) -> highdicom.Volume:
    """The segment as highdicom places it."""
    seg = highdicom.seg.Segmentation.from_dataset(ds)
    return seg.get_volume(segment_numbers=[number], combine_segments=False, rescale_fractional=True)


def volume_of(volume: highdicom.Volume, *, margin: int = 2) -> xr.DataArray:
    """An empty image that the segment lies in, with more around it."""
    affine = volume.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ ([margin] * 3)
    shape = tuple(size + 2 * margin for size in volume.spatial_shape)
    return as_volume(np.zeros(shape, np.int16), affine, volume.frame_of_reference_uid)


@pytest.fixture
def binary(real_data: Path) -> Dataset:
    return pydicom.dcmread(real_data / "highdicom_seg_sr_sm_ann" / "seg_image_ct_binary.dcm")


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_those_of_highdicom(real_data, name):
    ds = pydicom.dcmread(real_data / "highdicom_seg_sr_sm_ann" / f"seg_image_ct_{name}.dcm")
    for segment in segments(ds):
        volume = theirs(ds, segment.number)
        expected = np.pad(volume.array[..., 0] >= 0.5, 2)
        assert expected.any()
        like = volume_of(volume)
        mask = segment_masks(ds, frames(ds), [segment.label], like=like)[segment.label]
        np.testing.assert_array_equal(mask.values, expected)
        assert mask.dtype == bool
        np.testing.assert_allclose(mask.dicom.affine_lps, like.dicom.affine_lps)


def test_the_whole_real_segmentation_of_a_pet_is_that_of_highdicom(real_data):
    (path,) = (real_data / "pet_seg_qin" / "SEG").rglob("*.dcm")
    ds = pydicom.dcmread(path)
    for segment in segments(ds):
        volume = theirs(ds, segment.number)
        mask = segment_masks(ds, frames(ds), [segment.label], like=volume_of(volume))[segment.label]
        np.testing.assert_array_equal(mask.values, np.pad(volume.array[..., 0] > 0, 2))
        assert mask.any()


def test_a_mask_follows_a_volume_that_was_flipped_cropped_or_turned(binary):
    like = volume_of(theirs(binary, 1))
    label = segments(binary)[0].label
    whole = segment_masks(binary, frames(binary), [label], like=like)[label]
    filled = np.argwhere(whole.values)
    low, high = filled.min(axis=0), filled.max(axis=0) + 1
    part = {axis: slice(int(a), int(b)) for axis, a, b in zip("zyx", low, high, strict=True)}
    for other in (like[::-1], like[:, ::-1, ::-1], like.isel(part), like.expand_dims(time=3)):
        mask = segment_masks(binary, frames(binary), [label], like=other)[label]
        assert mask.sum() == whole.sum()
        for axis in "zyx":
            np.testing.assert_array_equal(mask[axis], other[axis])
            np.testing.assert_array_equal(
                mask.sel({axis: mask[axis][0].item()}).sum(), whole.sel({axis: mask[axis][0].item()}).sum()
            )
    turned = volume_of(theirs(binary, 1).permute_spatial_axes((2, 0, 1)).flip_spatial([0, 2]))
    mask = segment_masks(binary, frames(binary), [label], like=turned)[label]
    np.testing.assert_array_equal(mask.values, np.transpose(whole.values, (2, 0, 1))[::-1, :, ::-1])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda affine: affine @ np.diag([1, 0.5, 0.5, 1]), "another grid"),
        (lambda affine: affine @ np.diag([2, 1, 1, 1]), "another grid"),
        (lambda affine: affine + np.eye(4, k=3) * 0.3, "another grid"),
        (lambda affine: affine + np.outer([1, 0, 0, 0], [0, 0, 0, 500.0]), "reaches out"),
    ],
)
def test_another_grid_is_refused(binary, change, reason):
    volume = theirs(binary, 1)
    like = as_volume(np.zeros(volume.spatial_shape), change(volume.affine), volume.frame_of_reference_uid)
    with pytest.raises(GeometryError, match=reason):
        segment_masks(binary, frames(binary), ["first segment"], like=like)


def test_what_cannot_be_placed_or_is_not_there_is_told(binary):
    like = volume_of(theirs(binary, 1))
    with pytest.raises(InvalidInputError, match="no segment 'Lung'"):
        segment_masks(binary, frames(binary), ["first segment", "Lung"], like=like)
    with pytest.raises(GeometryError, match="has 2"):
        segment_masks(binary, frames(binary)[:2], ["first segment"], like=like)
    elsewhere = as_volume(np.zeros((3, 3, 3)), np.eye(4), "1.2.3")
    with pytest.raises(GeometryError, match="another Frame of Reference"):
        segment_masks(binary, frames(binary), ["first segment"], like=elsewhere)
    del binary.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    with pytest.raises(GeometryError, match=r"frame 1 .* no place"):
        segment_masks(binary, frames(binary), ["first segment"], like=like)


def test_a_labelmap_has_a_mask_for_each_of_its_labels(binary):
    """Each label comes back alone, on the slices that were given in another order."""
    volume = theirs(binary, 1)
    labels = np.zeros(volume.spatial_shape, np.uint8)
    labels[0, 2:5, 3:9] = 1
    labels[1:, 4:8, 1:3] = 2
    ds = Dataset()
    ds.update(binary)
    ds.SegmentationType, ds.BitsAllocated = "LABELMAP", 8
    second = Dataset()
    second.update(binary.SegmentSequence[0])
    second.SegmentNumber, second.SegmentLabel = 2, "second"
    ds.SegmentSequence = [binary.SegmentSequence[0], second]
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.pop("SegmentIdentificationSequence", None)
    ds.SharedFunctionalGroupsSequence[0].pop("SegmentIdentificationSequence", None)
    order = np.argsort([frame.PlanePositionSequence[0].ImagePositionPatient[2]
                        for frame in ds.PerFrameFunctionalGroupsSequence])  # fmt: skip
    rising = volume.affine[2, 0] > 0
    stored = np.empty_like(labels)
    for place, at in enumerate(order if rising else order[::-1]):
        stored[at] = labels[place]
    like = volume_of(volume)
    masks = segment_masks(ds, stored, ["second", "first segment"], like=like)
    for label, number in (("first segment", 1), ("second", 2)):
        np.testing.assert_array_equal(masks[label].values, np.pad(labels == number, 2))
