"""The private scale of Philips is applied only when asked for, and gives what dcm2niix's slopes give."""

import json

import numpy as np
import pytest

import researchpacs as rp
from researchpacs.errors import InvalidInputError, UnsupportedError
from researchpacs.volume import open_volume, read_volume

CREATOR = "Philips MR Imaging DD 001"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    with rp.connect(tmp_path_factory.mktemp("home")) as pacs:
        yield pacs


@pytest.mark.data
def test_an_enhanced_image_has_the_values_of_dcm2niix(pacs, real_data):
    known = json.loads((real_data / "mr_enhanced" / "reference" / "dcm2niix_reference.json").read_text())["volumes"]
    (series,) = pacs.ingest(real_data / "mr_enhanced" / "Philips", copy=False, progress=False).series
    asked, usual = (rp.open_volumes(series, rescale=rescale) for rescale in ("philips", True))
    # dcm2niix applies the private scale to the magnitude; of the field map, in Hz, both scales are one.
    for vol, file in zip(asked, ("801_B0_NS_e1.nii", "801_B0_NS_e2_fieldmaphz.nii"), strict=True):
        reference = next(one for one in known if one["file"] == file)
        values = vol.values.astype(float)
        # It keeps slopes in float32, 0.006 Hz off the header at the ends.
        ends = pytest.approx([reference["min"], reference["max"], reference["mean"]], rel=1e-6, abs=0.01)
        assert [values.min(), values.max(), values.mean()] == ends
    assert float(usual[0].max()) == pytest.approx(float(asked[0].max()) * 1.27985347985347 * 8.448640073766e-06)


def scaled(scales, slope="2.5", intercept="-10"):
    def each(k, ds):
        ds.PatientID, ds.Modality = "P", "MR"
        ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
        if scales[k] is not None:
            block = ds.private_block(0x2005, CREATOR, create=True)
            block.add_new(0x0E, "FL", scales[k])

    return each


def ingested(pacs, make_series, scales):
    files = make_series([(0, 0, 2.0 * k) for k in range(len(scales))], each=scaled(scales))
    (series,) = pacs.ingest(files.paths[0].parent, progress=False).series
    return series


def test_single_frames_have_stored_values_by_both_slopes(pacs, make_series):
    series = ingested(pacs, make_series, [0.5, 0.5, 0.5])
    read = read_volume(series, rescale="philips")
    stored = read_volume(series, rescale=False).values.astype(float)
    assert open_volume(series, rescale="philips").compute().identical(read)
    np.testing.assert_allclose(read.values, (stored * 2.5 - 10) / (2.5 * 0.5), rtol=1e-6)


@pytest.mark.parametrize("scales", [[None, None], [0.5, 0.25], [0.5, None], [0.0, 0.0]])
def test_a_scale_that_images_do_not_share_is_refused(pacs, make_series, scales):
    series = ingested(pacs, make_series, scales)
    with pytest.raises(UnsupportedError, match=r"2005,xx0E"):
        open_volume(series, rescale="philips")
    assert open_volume(series).sizes["z"] == 2


def test_another_word_is_no_scale(make_series):
    with pytest.raises(InvalidInputError, match="'philips'"):
        open_volume(make_series([(0, 0, 0)]), rescale="siemens")
