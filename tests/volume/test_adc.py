"""The apparent diffusion coefficient is what numpy's fit of the logarithm gives, lazily, in mm2/s."""

import numpy as np
import pytest

import researchpacs as rp
from researchpacs.errors import InvalidInputError
from researchpacs.volume import as_volume, open_volume, read_volume


def weighted(make_series, b_values, coefficient):
    """Slices whose signal falls with b."""
    signal = [np.rint(4000 * np.exp(-b * coefficient)).astype(np.uint16) for b in b_values]

    def each(k, ds):
        ds.Modality, ds.RescaleIntercept = "MR", 0
        ds.DiffusionBValue = float(b_values[k // 2])

    return make_series([(0, 0, 2.0 * k) for k in range(2)] * len(b_values), each=each, pixels=np.repeat(signal, 2, 0))


def test_a_known_coefficient_comes_back(make_series):
    truth = np.linspace(0.2e-3, 2.5e-3, 30).reshape(5, 6)
    series = weighted(make_series, (0, 50, 400, 800), truth)
    vol = open_volume(series)
    found = vol.dicom.adc()
    assert found.dims == ("z", "y", "x")
    assert found.chunks is not None
    assert (found.attrs["units"], found.dtype) == ("mm2/s", np.float32)
    assert "ADC" in found.attrs["history"][-1]
    np.testing.assert_array_equal(found.dicom.affine_lps, vol.dicom.affine_lps)
    np.testing.assert_allclose(found.values[0], truth, rtol=0.01)
    np.testing.assert_array_equal(read_volume(series).dicom.adc().values, found.values)


def test_signal_that_is_not_there_has_none(make_series):
    series = weighted(make_series, (0, 10_000), np.where(np.arange(30).reshape(5, 6) % 2, 1.0, 1e-4))
    found = read_volume(series).dicom.adc().values[0].ravel()
    assert np.isnan(found[1::2]).all()
    np.testing.assert_allclose(found[::2], 1e-4, rtol=0.01)


def test_without_b_values_that_differ_there_is_none(make_series):
    with pytest.raises(InvalidInputError, match="b_value"):
        read_volume(make_series([(0, 0, 0), (0, 0, 2)])).dicom.adc()
    with pytest.raises(InvalidInputError, match="b_value"):
        as_volume(np.ones((3, 3, 3)), np.eye(4), "1.2.3").dicom.adc()
    vol = read_volume(weighted(make_series, (0, 800), np.full((5, 6), 1e-3)))
    with pytest.raises(InvalidInputError, match="differ"):
        vol.isel(b_value=[1]).dicom.adc()


@pytest.mark.data
def test_a_real_tensor_scan_has_the_fit_of_numpy(home, real_data):
    with rp.connect(home) as pacs:
        (folder,) = (real_data / "mr_ge_t1_dwi").glob("01_*")
        vol = rp.read_volume(pacs.ingest(folder, copy=False, progress=False).series[0])
    assert vol.sizes["b_value"] == 7
    seen = (vol.values > 0).all(axis=0)
    assert 0.1 < seen.mean() < 1
    slope, _ = np.polyfit(vol.b_value.values, np.log(vol.values[:, seen].astype(float)), 1)
    found = vol.dicom.adc().values
    np.testing.assert_allclose(found[seen], -slope, rtol=1e-4, atol=1e-9)
    assert np.isnan(found[~seen]).all()
