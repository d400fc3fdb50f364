"""Where frames are, compared with an independent reading through highdicom and pydicom."""

from datetime import UTC, datetime

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from researchpacs.dicom.frames import frames_of
from researchpacs.dicom.pixels import PixelLayout, layout_of

EXPLICIT = "1.2.840.10008.1.2.1"


def layout(frames: int) -> PixelLayout:
    return PixelLayout(EXPLICIT, 4, 5, 1, 16, 16, 0, "MONOCHROME2", 0, number_of_frames=frames)


def test_a_single_frame_image_says_so_at_the_top():
    ds = Dataset()
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [1, 2, 3], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing, ds.RescaleSlope, ds.RescaleIntercept = [0.5, 0.75], "2", "-1024"

    (frame,) = frames_of(ds, layout(1), [(100, 40)])

    assert frame.position == (1, 2, 3)
    assert frame.orientation == (1, 0, 0, 0, 1, 0)
    assert frame.pixel_spacing == (0.5, 0.75)
    assert (frame.rescale_slope, frame.rescale_intercept) == (2, -1024)
    assert (frame.byte_offset, frame.byte_length) == (100, 40)


@pytest.mark.parametrize(("date", "time"), [
    ("20240229", "235958.5"), ("20240229", "235958.500000"), ("2024.02.29", "23:59:58.5"), (" 20240229", "235958.5 "),
])  # fmt: skip
def test_the_moment_of_a_frame_is_read_as_it_was_written_then_and_now(date, time):
    header = {"AcquisitionDate": date, "AcquisitionTime": time}
    (frame,) = frames_of(header, layout(1), None)
    assert frame.timing.acquired_us == datetime(2024, 2, 29, 23, 59, 58, 500_000, UTC).timestamp() * 10**6


@pytest.mark.parametrize("name", ["6_1.dcm", "6_4.dcm"])
def test_frames_of_an_enhanced_image_have_the_positions_of_their_functional_groups(real_data, name):
    (path,) = (real_data / "mr_enhanced").rglob(name)
    ds = pydicom.dcmread(path, stop_before_pixels=True)

    frames = frames_of(ds, layout_of(ds, EXPLICIT), None)

    assert len(frames) == ds.NumberOfFrames
    for frame, groups in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        assert frame.position == tuple(groups.PlanePositionSequence[0].ImagePositionPatient)
        assert frame.dimension_indices == tuple(groups.FrameContentSequence[0].DimensionIndexValues)
        shared = ds.SharedFunctionalGroupsSequence[0]
        measures = (groups if "PixelMeasuresSequence" in groups else shared).PixelMeasuresSequence[0]
        assert frame.pixel_spacing == tuple(measures.PixelSpacing)
        transformation = groups if "PixelValueTransformationSequence" in groups else shared
        assert frame.rescale_slope == transformation.PixelValueTransformationSequence[0].RescaleSlope


def test_a_dose_grid_places_its_frames_by_their_offsets():
    ds = Dataset()
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [10, 20, 30], [1, 0, 0, 0, 1, 0]
    ds.GridFrameOffsetVector = [0, 2.5, 5]

    frames = frames_of(ds, layout(3), None)

    np.testing.assert_allclose([frame.position for frame in frames], [[10, 20, 30], [10, 20, 32.5], [10, 20, 35]])


@pytest.mark.parametrize("row", [1, -1])
@pytest.mark.parametrize("column", [1, -1])
def test_offsets_of_a_dose_grid_may_be_z_coordinates(row, column):
    ds = Dataset()
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [10, 20, 30], [row, 0, 0, 0, column, 0]
    ds.GridFrameOffsetVector = [30, 32.5, 35]

    heights = [frame.position[2] for frame in frames_of(ds, layout(3), None)]

    assert heights == [30, 32.5, 35]  # PS3.3 C.8.8.3.2, also where the normal points down


def test_z_coordinates_place_no_coronal_dose():
    ds = Dataset()
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [10, 20, 30], [1, 0, 0, 0, 0, -1]
    ds.GridFrameOffsetVector = [30, 32.5, 35]

    assert [frame.position for frame in frames_of(ds, layout(3), None)] == [(10, 20, 30), None, None]


def test_one_position_is_never_given_to_many_frames():
    ds = Dataset()
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [10, 20, 30], [1, 0, 0, 0, 1, 0]

    assert [frame.position for frame in frames_of(ds, layout(3), None)] == [(10, 20, 30), None, None]


@pytest.mark.parametrize("value", [["1", "nan", "3"], ["1", "2"]])
def test_a_broken_position_is_none(value):
    ds = Dataset()
    ds.add_new("ImagePositionPatient", "FD" if "nan" in value else "DS", [float(x) for x in value])

    assert frames_of(ds, layout(1), None)[0].position is None


def test_an_empty_functional_group_leaves_the_shared_one_alone():
    shared, plane = Dataset(), Dataset()
    plane.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    shared.PlaneOrientationSequence = Sequence([plane])
    ds = Dataset()
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence([Dataset(), Dataset()])

    assert [frame.orientation for frame in frames_of(ds, layout(2), None)] == [(1, 0, 0, 0, 0, -1)] * 2


def test_what_is_no_image_has_no_frames():
    assert frames_of(Dataset(), None, None) == []


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("value", [b"abc ", b"2,5 ", b"NaN ", b"1\\2 "])
def test_a_rescale_that_is_no_number_is_not_taken_for_none(keyword, value):
    tag = pydicom.tag.Tag(keyword)
    ds = Dataset()
    ds.RescaleSlope, ds.RescaleIntercept = "1", "0"
    ds[tag] = pydicom.dataelem.RawDataElement(tag, "DS", len(value), value, 0, False, True)

    (frame,) = frames_of(ds, layout(1), None)

    assert np.isnan([frame.rescale_slope, frame.rescale_intercept]).tolist() == [
        keyword == "RescaleSlope", keyword == "RescaleIntercept",
    ]  # fmt: skip


def test_a_rescale_that_is_absent_or_empty_changes_nothing():
    empty = Dataset()
    empty.RescaleSlope = empty.RescaleIntercept = None

    for ds in (Dataset(), empty):
        assert [(u.rescale_slope, u.rescale_intercept) for u in frames_of(ds, layout(1), None)] == [(1, 0)]


def test_values_that_a_table_maps_have_no_slope():
    ds = Dataset()
    ds.ModalityLUTSequence = [Dataset()]

    assert np.isnan(frames_of(ds, layout(1), None)[0].rescale_slope)


def test_a_dose_is_scaled_by_its_grid_scaling():
    ds = Dataset()
    ds.DoseGridScaling = "2.5e-6"

    assert frames_of(ds, layout(1), None)[0].rescale_slope == 2.5e-6
