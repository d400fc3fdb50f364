"""What a header tells of stacks and frames beside their dimension comes along as coordinates with units."""

import json

import numpy as np
import pytest
from pydicom.dataset import Dataset

import researchpacs as rp
from researchpacs.volume import open_frames, open_volume, read_volume

DIRECTIONS = [None, (1.0, 0.0, 0.0), (0.0, 0.6, 0.8), (-0.6, 0.0, 0.8)]
HEIGHTS = [(0, 0, 2.0 * k) for k in range(3)]


def repeated(make_series, count, each):
    """Three slices, acquired so many times."""

    def stacked(k, ds):
        ds.Modality = "MR"
        each(k // len(HEIGHTS), ds)

    return make_series(HEIGHTS * count, each=stacked)


def standard(stack, ds):
    ds.DiffusionBValue = 1000.0 if DIRECTIONS[stack] else 0.0
    if DIRECTIONS[stack]:
        ds.DiffusionGradientOrientation = list(DIRECTIONS[stack])


def siemens(stack, ds):
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", "1000" if DIRECTIONS[stack] else "0")
    if DIRECTIONS[stack]:
        block.add_new(0x0E, "FD", list(DIRECTIONS[stack]))


@pytest.mark.parametrize("each", [standard, siemens])
def test_gradients_stand_beside_their_b_values(make_series, each):
    vol = read_volume(repeated(make_series, 4, each))
    assert vol.dims == ("b_value", "z", "y", "x")
    acquired = vol.values[:, 0, 0, 0].argsort()  # pixels tell the file
    assert vol.b_value.values[acquired].tolist() == [0, 1000, 1000, 1000]
    found = np.stack([vol[f"gradient_{axis}"].values for axis in "xyz"], axis=1)[acquired]
    np.testing.assert_allclose(found, [direction or (np.nan,) * 3 for direction in DIRECTIONS], atol=1e-9)
    assert vol.gradient_x.dims == ("b_value",)
    assert vol.b_value.attrs["units"] == "s/mm2"
    assert vol.isel(b_value=int(acquired[2])).gradient_z.item() == pytest.approx(0.8)


def test_directions_that_are_none_are_not_told(make_series):
    def each(stack, ds):
        siemens(stack, ds)
        ds[0x0019, 0x100E].value = [3.0, 0.0, 0.0]

    vol = open_volume(repeated(make_series, 2, lambda stack, ds: each(stack + 1, ds)))
    assert "gradient_x" not in vol.coords


def test_trigger_times_stand_beside_acquisition_times(make_series):
    def each(stack, ds):
        ds.AcquisitionDate, ds.AcquisitionTime = "20240301", f"1200{10 * stack:02}"
        ds.TriggerTime = str(300 + 7 * stack)

    vol = open_volume(repeated(make_series, 3, each))
    assert vol.time.values.tolist() == [0, 10, 20]
    assert vol.trigger_time.values.tolist() == [300, 307, 314]
    assert (vol.time.attrs["units"], vol.trigger_time.attrs["units"]) == ("s", "ms")


def test_what_slices_of_a_stack_differ_in_or_all_share_is_no_label(make_series):
    def each(stack, ds):
        ds.AcquisitionDate, ds.AcquisitionTime = "20240301", f"1200{10 * stack:02}"
        ds.EchoTime = "30"
        ds.TriggerTime = str(ds.InstanceNumber)

    assert set(open_volume(repeated(make_series, 2, each)).coords) == {"time", "z", "y", "x", "frame"}


def test_labels_along_two_dimensions_keep_both(make_series):
    def each(stack, ds):
        echo, time = stack % 2, stack // 2
        ds.AcquisitionDate, ds.AcquisitionTime = "20240301", f"1200{10 * time:02}"
        ds.EchoTime = str(10 + 20 * echo)
        ds.TriggerTime = str(100 * time + echo)

    vol = open_volume(repeated(make_series, 4, each))
    assert vol.dims[:2] == ("time", "echo")
    assert vol.trigger_time.dims == ("time", "echo")
    assert vol.trigger_time.values.tolist() == [[0, 1], [100, 101]]


def test_labels_survive_repair_selection_and_arithmetic(make_series):
    def each(k, ds):
        ds.Modality = "MR"
        standard(k // 3, ds)

    series = make_series([(0, 0, z) for z in (0.0, 2.0, 6.0)] * 4, each=each)
    vol = open_volume(series, on_irregular="repair")
    assert vol.sizes["z"] == 4
    assert (vol * 2).isel(b_value=slice(1, 3)).gradient_x.shape == (2,)
    kept = open_volume(series, on_irregular="keep")
    np.testing.assert_array_equal(kept.gradient_y.values, vol.gradient_y.values)


def test_frames_one_by_one_have_the_times_that_files_tell(make_series):
    def each(k, ds):
        ds.AcquisitionDate, ds.AcquisitionTime = "20240301", f"1200{5 * k:02}.5"

    assert open_frames(make_series([None] * 4, each=each)).time.values.tolist() == [0, 5, 10, 15]
    assert "time" not in open_frames(make_series([None] * 2)).coords


@pytest.mark.data
def test_real_ultrasound_has_the_times_of_its_frames_and_its_regions(home, real_data):
    with rp.connect(home) as pacs:
        pacs.ingest(real_data / "us_nm_cine", copy=False, progress=False)
        (series,) = (one for one in pacs.search("series", Modality="US") if len(one.frames()) == 10)
        frames = rp.open_frames(series, rescale=False)
        (series,) = (one for one in pacs.search("series", Modality="US") if len(one.frames()) == 1)
        picture = rp.open_frames(series)
    # A part of that picture shows tissue: 0.00953678 cm for each pixel.
    whole, tissue = json.loads(picture.attrs["regions"])
    assert (whole["format"], whole["row_step"], tissue["format"], tissue["data"]) == ("", None, "2D", "tissue")
    assert (tissue["rows"], tissue["columns"]) == ([48, 415], [84, 483])
    assert (tissue["row_units"], tissue["column_units"]) == ("mm", "mm")
    assert tissue["row_step"] == tissue["column_step"] == pytest.approx(0.0953678518)
    assert "regions" not in frames.attrs
    # Frame Time of 76 ms.
    np.testing.assert_allclose(frames.time.values, 0.076 * np.arange(10))
    assert frames.time.dims == ("frame",)


def test_frame_times_may_differ():
    from researchpacs.volume._labels import frame_labels

    ds = Dataset()
    ds.FrameTimeVector = [0, 40, 60, 40]
    (label,) = frame_labels(cine(4), ds)
    assert label.values == (0, 0.04, 0.1, 0.14)
    ds.FrameTimeVector = [0, 40, -60, 40]  # time does not run back
    assert frame_labels(cine(4), ds) == ()
    assert frame_labels(cine(5), ds) == ()


def cine(count):
    from researchpacs.dicom.pixels import PixelLayout
    from researchpacs.model import Frame

    layout = PixelLayout("1.2.840.10008.1.2.1", 4, 5, 1, 8, 8, 0, "MONOCHROME2", 0, number_of_frames=count)
    return [Frame("1.2", k, 1, None, None, None, 1.0, 0.0, 20 * k, 20, layout) for k in range(count)]
