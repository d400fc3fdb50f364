"""Windows and VOI LUTs show what pydicom shows."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_voi, apply_windowing

from researchpacs.dicom.voi import VoiTable, VoiWindow, voi_of
from researchpacs.errors import InvalidInputError, PixelDataError

VALUES = np.linspace(-1100, 3100, 997)


def image(**told):
    ds = Dataset()
    ds.PhotometricInterpretation, ds.BitsStored, ds.PixelRepresentation = "MONOCHROME2", 16, 1
    for keyword, value in told.items():
        setattr(ds, keyword, value)
    return ds


def table(entries, first=0, bits=16, vr="US"):
    item = Dataset()
    item.add_new("LUTDescriptor", "SS", [len(entries), first, bits])
    item.add_new("LUTData", vr, np.asarray(entries, "<u2").tobytes() if vr == "OW" else [int(one) for one in entries])
    item.LUTExplanation = "as drawn"
    return item


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # of pydicom
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(40, 400), (-600, 1500.5), (0.5, 1), (100, 2)])
def test_windows_give_the_levels_that_pydicom_gives(function, center, width):
    ds = image(WindowCenter=center, WindowWidth=width, VOILUTFunction=function)
    (voi,) = voi_of(ds)
    low, high = -32768.0, 32767.0  # pydicom's output has the range of the stored values
    expected = (apply_windowing(VALUES, ds) - low) / (high - low)
    np.testing.assert_allclose(voi.apply(VALUES), expected, atol=1e-6)


def test_linear_and_exact_differ_by_half_a_value_as_the_standard_has_it():
    values = np.array([-0.5, 0.0, 63.5, 127.0, 127.5])
    np.testing.assert_allclose(VoiWindow(64, 128).apply(values), [0, 0.5 / 127 - 0.5 / 127, 63.5 / 127, 1, 1])
    np.testing.assert_allclose(VoiWindow(64, 128, "LINEAR_EXACT").apply(values), values.clip(0) / 128)


def test_windows_of_no_width_are_left_out_and_the_others_keep_their_names():
    ds = image(
        WindowCenter=[40, 40, 500], WindowWidth=[0, 400, 2000], WindowCenterWidthExplanation=["A", "SOFT", "BONE"]
    )
    assert voi_of(ds) == (VoiWindow(40, 400, explanation="SOFT"), VoiWindow(500, 2000, explanation="BONE"))
    assert voi_of(image()) == ()
    assert voi_of(image(WindowCenter=40)) == ()
    for width, function in ((0.5, "LINEAR"), (0, "SIGMOID"), (float("nan"), "LINEAR_EXACT")):
        with pytest.raises(InvalidInputError):
            VoiWindow(0, width, function)


@pytest.mark.parametrize("first", [0, -20])
@pytest.mark.parametrize("vr", ["US", "OW"])
def test_tables_give_the_levels_that_pydicom_gives(first, vr):
    entries = np.random.default_rng(4).integers(0, 65536, 100)
    ds = image(VOILUTSequence=[table(entries, first, vr=vr)])
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    values = np.arange(-50, 150)
    (voi,) = voi_of(ds)
    assert isinstance(voi, VoiTable)
    assert voi.explanation == "as drawn"
    np.testing.assert_allclose(voi.apply(values), apply_voi(values, ds) / 65535)
    np.testing.assert_allclose(voi.apply(values + 0.2), voi.apply(values))


def test_no_value_has_no_level():
    values = np.array([np.nan, 10.0])
    (by_table,) = voi_of(image(VOILUTSequence=[table([0, 65535])]))
    for voi in (VoiWindow(0, 10), VoiWindow(0, 1), VoiWindow(0, 10, "SIGMOID"), by_table):
        levels = voi.apply(values)
        assert np.isnan(levels[0])
        assert levels[1] > 0.9


def test_frames_of_enhanced_images_have_windows_of_their_own():
    def group(center):
        window, item = image(WindowCenter=center, WindowWidth=100), Dataset()
        item.FrameVOILUTSequence = [window]
        return item

    ds = image(PerFrameFunctionalGroupsSequence=[group(1), Dataset()], SharedFunctionalGroupsSequence=[group(3)])
    assert [voi_of(ds, k)[0].center for k in range(3)] == [1, 3, 3]


def test_a_broken_table_is_an_error():
    item = table([1, 2, 3])
    del item.LUTData
    with pytest.raises(PixelDataError, match="VOI LUT"):
        voi_of(image(VOILUTSequence=[item]))
