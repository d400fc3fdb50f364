"""Any mask on any grid survives a structure set and a segmentation, in files and without an archive."""

from io import BytesIO

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom.dataset import Dataset

import researchpacs as rp
from researchpacs.annotation import Contour, Segmentation, Source, annotation_datasets, annotations_of
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.model import Frame
from researchpacs.volume import as_volume

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:(pydicom|highdicom)")

SHAPE = (3, 7, 6)
masks = hnp.arrays(np.bool_, SHAPE).filter(np.any)
angles = st.tuples(*[st.floats(-3, 3)] * 3)
spacings = st.tuples(*[st.floats(0.2, 6)] * 3)
origins = st.tuples(*[st.floats(-400, 400)] * 3)


def placed(turn: tuple[float, ...], spacing: tuple[float, ...], origin: tuple[float, ...], flip: bool) -> xr.DataArray:
    """A volume whose axes point anywhere, left-handed ones too."""
    axes = np.eye(3)
    for axis, angle in enumerate(turn):
        other = [k for k in range(3) if k != axis]
        turned = np.eye(3)
        turned[np.ix_(other, other)] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        axes = axes @ turned
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing * ([-1, 1, 1] if flip else [1, 1, 1])
    affine[:3, 3] = origin
    return as_volume(np.zeros(SHAPE, np.int16), affine, "1.2.3", attrs={"SeriesInstanceUID": "1.2.4"})


def source_of(vol: xr.DataArray) -> Source:
    """The series of a volume: its header and its frames."""
    header = Dataset()
    header.SOPClassUID, header.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.5.0"
    header.SeriesInstanceUID, header.StudyInstanceUID, header.FrameOfReferenceUID = "1.2.4", "1.2.6", "1.2.3"
    header.PatientID, header.SeriesDate = "A1", "20250102"
    layout = PixelLayout("1.2.840.10008.1.2.1", vol.shape[1], vol.shape[2], 1, 16, 16, 0, "MONOCHROME2", 0)
    axes, spacing = vol.dicom.direction, vol.dicom.spacing
    frames = [
        Frame(
            sop_uid=f"1.2.5.{at}",
            index=0,
            instance_number=at,
            position=tuple(vol.dicom.to_lps([at, 0, 0]).tolist()),
            orientation=(*axes[:, 2].tolist(), *axes[:, 1].tolist()),
            pixel_spacing=(spacing[1], spacing[2]),
            rescale_slope=1,
            rescale_intercept=0,
            byte_offset=0,
            byte_length=1,
            layout=layout,
        )
        for at in range(vol.shape[0])
    ]
    return Source(header, frames)


def through_a_file(made: object, source: Source) -> object:
    found = annotation_datasets(made, evidence=lambda _: [source.header], sources=lambda _: source)
    assert found is not None
    (ds,) = found
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    (back,) = annotations_of(buffer.getvalue())
    return back


@settings(max_examples=25)
@given(masks, angles, spacings, origins, st.booleans())
def test_any_mask_survives_a_structure_set(mask, turn, spacing, origin, flip: bool) -> None:
    vol = placed(turn, spacing, origin, flip)
    back = through_a_file(Contour.from_mask(mask, label="x", like=vol, author="a"), source_of(vol))
    assert isinstance(back, Contour)
    np.testing.assert_array_equal(back.mask(like=vol).values, mask)
    np.testing.assert_array_equal(back.mask(like=vol[::-1, :, ::-1]).values, mask[::-1, :, ::-1])


@settings(max_examples=15)
@given(masks, angles, spacings, origins, st.booleans())
def test_any_mask_survives_a_segmentation(mask, turn, spacing, origin, flip: bool) -> None:
    vol = placed(turn, spacing, origin, flip)
    back = through_a_file(Segmentation.from_mask(mask, label="x", like=vol, author="a"), source_of(vol))
    assert isinstance(back, Segmentation)
    np.testing.assert_array_equal(back.mask("x", like=vol).values, mask)
    np.testing.assert_array_equal(back.mask("x", like=vol[::-1, :, ::-1]).values, mask[::-1, :, ::-1])


@settings(max_examples=10)
@given(st.lists(masks, min_size=2, max_size=3), angles, spacings, origins)
def test_any_masks_survive_together(found, turn, spacing, origin) -> None:
    vol = placed(turn, spacing, origin, False)
    made = Segmentation.from_masks({f"s{at}": mask for at, mask in enumerate(found)}, like=vol, author="a")
    back = through_a_file(made, source_of(vol))
    assert isinstance(back, Segmentation)
    for at, mask in enumerate(found):
        np.testing.assert_array_equal(back.mask(f"s{at}", like=vol).values, mask)


def test_contours_and_segmentation_of_the_sample_nodule_agree(tmp_path) -> None:
    (seg,), regions = (
        annotations_of(next(rp.datasets.path(name, cache=tmp_path).iterdir()).read_bytes())
        for name in ("chest_seg", "chest_rtstruct")
    )
    assert isinstance(seg, Segmentation)
    told = rp.datasets.truth("chest_seg")["segments"]
    assert {one.label for one in regions} == set(told) == set(seg.labels)
    for region in regions:
        assert isinstance(region, Contour)
        mask = seg.mask(region.label)
        np.testing.assert_array_equal(region.mask(like=mask).values, mask.values)
        assert int(mask.sum()) == told[region.label]["voxels"]
