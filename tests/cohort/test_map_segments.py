"""Functions over volumes with the masks of named segments, of real segmentations."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

import researchpacs as rp
from researchpacs.cohort import Cohort
from researchpacs.errors import InvalidInputError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

AGAIN = "1.2.826.0.1.3680043.8.498.9"
CT = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"


def _filled(home: Path, real_data: Path) -> rp.Pacs:
    """A real slice of a CT with its segmentation."""
    folder = real_data / "highdicom_seg_sr_sm_ann"
    made = rp.connect(home)
    made.ingest([folder / "ct_image.dcm", folder / "seg_image_ct_binary_single_frame.dcm"])
    return made


@pytest.fixture
def pacs(tmp_path: Path, real_data: Path) -> Iterator[rp.Pacs]:
    with _filled(tmp_path / "home", real_data) as made:
        yield made


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Iterator[Cohort]:
    """The same cohort, for tests that change nothing."""
    with _filled(tmp_path_factory.mktemp("segments") / "home", real_data) as made:
        yield made.freeze([CT], name="ct")


@pytest.fixture
def cohort(pacs: rp.Pacs) -> Cohort:
    return pacs.freeze([CT], name="ct")


def inside(vol: Any, masks: Any) -> dict[str, float]:
    """What the masks hold; each must be on the grid of the volume."""
    return {
        f"{label} {name}": value
        for label, mask in masks.items()
        for name, value in {"voxels": int(mask.sum()), "mean": float(vol.where(mask).mean())}.items()
    }


def _again(pacs: rp.Pacs, *, label: str | None = None) -> str:
    """The segmentation another time, under another UID, perhaps of another label."""
    (uid,) = pacs.sql("select distinct object_sop_instance_uid from segments limit 1").fetchall()[0]
    ds = pydicom.dcmread(BytesIO(pacs.archive.read(uid)))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = AGAIN
    if label is not None:
        ds.SegmentSequence[0].SegmentLabel = label
    pacs.ingest(ds)
    return AGAIN


def test_a_real_pet_is_measured_inside_its_real_segmentation(real_data, tmp_path):
    (seg_path,) = (real_data / "pet_seg_qin" / "SEG").rglob("*.dcm")
    seg = highdicom.seg.segread(seg_path)
    with rp.connect(tmp_path / "home") as pacs:
        pacs.ingest(real_data / "pet_seg_qin")
        series = pacs.search("series", Modality="PT").one()
        label = str(seg.SegmentSequence[0].SegmentLabel)
        found = pacs.freeze([series], name="pet").map(inside, segments=[label], save="inside")
        ((voxels, mean, of),) = pacs.sql(
            f'select "{label} voxels", "{label} mean", segmentations from features_inside'
        ).fetchall()
        sources = sorted({one[2] for one in seg.get_source_image_uids()})
        masks = seg.get_pixels_by_source_instance(
            sources, segment_numbers=[1], combine_segments=False, ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )[..., 0].astype(bool)  # fmt: skip
        images = [pydicom.dcmread(BytesIO(pacs.archive.read(uid))) for uid in sources]
        pixels = np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in images])
    assert found["error"].isna().all()
    assert voxels == masks.sum()
    assert mean == pytest.approx(pixels[masks].mean(), rel=1e-6)
    assert json.loads(of) == [str(seg.SOPInstanceUID)]


def test_the_mask_is_on_the_grid_that_features_want(untouched, real_data):
    expected = highdicom.seg.segread(
        real_data / "highdicom_seg_sr_sm_ann" / "seg_image_ct_binary_single_frame.dcm"
    ).pixel_array

    def features(vol: Any, masks: Any) -> dict[str, float]:
        mask = masks["first segment"]
        return {"voxels": int(mask.sum()), **rp.features.first_order(vol, mask)}

    found = untouched.map(features, segments=["first segment"])
    pixels = pydicom.dcmread(real_data / "highdicom_seg_sr_sm_ann" / "ct_image.dcm")
    values = (pixels.pixel_array * pixels.RescaleSlope + pixels.RescaleIntercept)[expected.astype(bool)]
    assert found["error"].isna().all()
    assert found["voxels"][0] == expected.sum() == len(values)
    assert found["mean"][0] == pytest.approx(values.mean())


def test_a_segment_that_is_not_there_or_there_twice_is_a_row_with_an_error(pacs, cohort):
    assert cohort.map(inside, segments=["Lung"])["error"][0].startswith("NotFoundError: no segmentation")
    _again(pacs)
    assert "2 segmentations" in cohort.map(inside, segments=["first segment"])["error"][0]


def test_masks_of_two_segmentations_come_together(pacs, cohort):
    _again(pacs, label="other")
    found = cohort.map(inside, segments=["other", "first segment"])
    assert found["error"].isna().all()
    assert found["other voxels"][0] == found["first segment voxels"][0] > 0
    assert len(json.loads(found["segmentations"][0])) == 2


def test_another_segmentation_is_computed_anew(pacs, cohort):
    first = cohort.map(inside, segments=["first segment"], save="inside")
    (old,) = json.loads(first["segmentations"][0])
    new = _again(pacs)
    pacs.delete(pacs.search("instance", SOPInstanceUID=old).one())
    second = cohort.map(inside, segments=["first segment"], save="inside")
    assert json.loads(second["segmentations"][0]) == [new]
    assert second["computed_at"][0] > first["computed_at"][0]
    again = cohort.map(inside, segments=["first segment"], save="inside")
    assert again["computed_at"][0] == second["computed_at"][0]
    assert pacs.sql("select segmentations from features_inside").fetchall() == [(json.dumps([new]),)]


@pytest.mark.parametrize("segments", [[], [""], [1], ["a", "a"]])
def test_what_is_no_label_is_refused(untouched, segments):
    with pytest.raises(InvalidInputError, match="labels of segments"):
        untouched.map(inside, segments=segments)
