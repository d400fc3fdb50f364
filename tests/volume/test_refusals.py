"""What is not one uniform volume is refused, with the reason, the slices to blame and the way out."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from researchpacs.errors import (
    AccessError,
    ConflictError,
    GeometryError,
    InvalidInputError,
    PixelDataError,
    UnsupportedError,
)
from researchpacs.model import Location
from researchpacs.volume import open_volume, read_volume


def heights(*zs, shear=0.0):
    return [(0.0, shear * z, float(z)) for z in zs]


CASES = {
    "gantry_tilt": {"positions": heights(0, 2, 4, 6, shear=0.3)},
    "missing_slices": {"positions": heights(0, 2, 4, 8, 10)},
    "duplicate_positions": {"positions": heights(0, 2, 4, 4, 6)},
    "nonuniform_spacing": {"positions": heights(0, 2, 4, 5.1, 7.1)},
    "no_position": {"positions": [None, None]},
}


@pytest.mark.parametrize("opens", [open_volume, read_volume])
@pytest.mark.parametrize("reason", CASES)
def test_each_irregular_stack_is_refused_with_its_reason(make_series, opens, reason):
    series = make_series(**CASES[reason])
    with pytest.raises(GeometryError) as caught:
        opens(series)
    error = caught.value
    assert error.reasons == (reason,)
    assert error.series_uid == series.uid
    assert error.slices
    assert series.uid[-8:] in str(error)
    assert "on_irregular='keep'" in str(error)


SEVERAL = {
    ("multiple_stacks", "mixed_orientation"): {
        "positions": heights(0, 2, 4),
        "orientation": [(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, 1)],
    },
    ("no_position", "multiple_stacks"): {"positions": [(0, 0, 0), None, (0, 0, 2)]},
}


@pytest.mark.parametrize("reasons", SEVERAL)
def test_a_series_of_several_volumes_is_told_so(make_series, reasons):
    series = make_series(**SEVERAL[reasons])
    with pytest.raises(GeometryError, match=r"holds 2 volumes.*open_volumes") as caught:
        open_volume(series)
    assert caught.value.reasons == reasons
    assert caught.value.series_uid == series.uid


def test_the_message_has_what_was_measured(make_series):
    with pytest.raises(GeometryError, match=r"by 16\.70 degrees"):
        open_volume(make_series(heights(0, 2, 4, 6, shear=0.3)))
    with pytest.raises(GeometryError, match="slice 3 of 5") as caught:
        open_volume(make_series(heights(0, 2, 4, 8, 10)))
    assert caught.value.slices == (3,)


def test_frames_of_two_sizes_are_two_stacks(make_series):
    planes = [np.zeros((4, 5), np.uint16)] * 3 + [np.zeros((4, 6), np.uint16)]
    with pytest.raises(GeometryError) as caught:
        open_volume(make_series(heights(0, 2, 4, 6), pixels=planes))
    assert caught.value.reasons == ("multiple_stacks",)


class Nothing:
    uid = "1.2.3.4.5.6.7.8"

    def attributes(self):
        return {"Modality": "SR"}

    def frames(self):
        return []

    def locate(self, sop_uids):
        return []


def test_a_series_without_images_is_no_volume():
    with pytest.raises(GeometryError, match="holds no image") as caught:
        open_volume(Nothing())
    assert caught.value.reasons == ("not_an_image",)


def test_a_policy_that_does_not_exist_is_refused(make_series):
    with pytest.raises(InvalidInputError, match="expected 'raise'"):
        read_volume(make_series(heights(0, 2, 4)), on_irregular="ignore")


def test_a_palette_that_is_missing_is_refused(make_series):
    def paint(_, ds):
        ds.PhotometricInterpretation = "PALETTE COLOR"

    series = make_series(heights(0, 2), each=paint)
    with pytest.raises(PixelDataError, match="palette"):
        open_volume(series)
    assert read_volume(series, rescale=False).shape == (2, 5, 6)


def test_mosaics_that_do_not_tell_where_their_slices_are_are_refused(make_series):
    def tile(_, ds):
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]

    with pytest.raises(UnsupportedError, match="mosaic"):
        open_volume(make_series(heights(0, 2), each=tile))


def test_a_modality_lut_without_a_descriptor_is_not_passed_over(make_series):
    def tabulate(_, ds):
        table = Dataset()
        table.ModalityLUTType = "US"
        table.add_new("LUTData", "OW", b"\0\0d\0")
        ds.ModalityLUTSequence = [table]
        del ds.RescaleSlope, ds.RescaleIntercept

    series = make_series(heights(0, 2), each=tabulate)
    with pytest.raises(PixelDataError, match="Modality LUT"):
        open_volume(series)
    assert read_volume(series, rescale=False).shape == (2, 5, 6)


@pytest.mark.parametrize("slope", ["0", "1e999"])
def test_a_slope_that_is_no_slope_is_refused(make_series, slope):
    def flatten(_, ds):
        ds.RescaleSlope = slope

    with pytest.raises(PixelDataError, match="RescaleSlope"):
        open_volume(make_series(heights(0, 2), each=flatten))


def test_stored_values_are_there_whatever_the_slope(make_series):
    def flatten(_, ds):
        ds.RescaleSlope = 0

    vol = read_volume(make_series(heights(0, 2), each=flatten), rescale=False)
    assert vol.values[1, 0, :2].tolist() == [100, 101]


def test_a_truncated_file_is_an_error_that_names_the_instance_only(make_series):
    series = make_series(heights(0, 2, 4))
    path = series.paths[1]
    places = {u.path: u for u in series.locate([f.sop_uid for f in series.frames()])}
    vol = open_volume(series)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(PixelDataError, match="expected") as caught:
        vol.compute(scheduler="synchronous")
    assert str(path.parent) not in str(caught.value)
    assert places[str(path)].sop_uid[-8:] in str(caught.value)


def test_a_frame_shorter_than_its_image_is_an_error(make_series):
    def cut(_, ds):
        ds.PixelData = ds.PixelData[:-10]

    with pytest.raises(PixelDataError, match="50 bytes of pixels; expected 60"):
        read_volume(make_series(heights(0, 2), each=cut))


class Referenced:
    """The series as files that stay where they are, with the time of change they had."""

    def __init__(self, series):
        self._series, self.uid = series, series.uid
        self._places = {}
        for place in series.locate([f.sop_uid for f in series.frames()]):
            path = next(p for p in series.paths if str(p) == place.path)
            self._places[place.sop_uid] = Location(place.sop_uid, place.path, place.size, 0, path.stat().st_mtime_ns)

    def attributes(self):
        return self._series.attributes()

    def frames(self):
        return self._series.frames()

    def locate(self, sop_uids):
        return [self._places[uid] for uid in sop_uids]


def test_a_referenced_file_that_changed_is_not_believed(make_series):
    series = make_series(heights(0, 2, 4))
    referenced = Referenced(series)
    before = read_volume(referenced)
    path = series.paths[0]
    path.write_bytes(path.read_bytes())
    with pytest.raises(ConflictError, match="changed since"):
        read_volume(referenced)
    assert read_volume(series).equals(before)


def test_a_file_that_may_not_be_read(make_series, monkeypatch):
    series = make_series(heights(0, 2))

    def forbid(*_):
        raise PermissionError(13, "Permission denied", str(series.paths[0]))

    monkeypatch.setattr("researchpacs.volume._source.FileIO", forbid)  # root may read everything
    with pytest.raises(AccessError, match="may not be read") as caught:
        read_volume(series)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("other", ["scans/ct", None, np.zeros((3, 4, 5))])
def test_only_a_series_opens(other):
    with pytest.raises(InvalidInputError, match=r"pacs\.series"):
        open_volume(other)
