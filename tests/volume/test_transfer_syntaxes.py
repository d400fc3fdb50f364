"""One CT slice in every transfer syntax is one and the same volume."""

import numpy as np
import pydicom
import pytest

from researchpacs.errors import GeometryError
from researchpacs.volume import open_volume, read_volume

pytestmark = pytest.mark.data

LOSSLESS = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
)  # fmt: skip
LOSSY_HU = {
    "1.2.840.10008.1.2.4.50": 130,  # 8 bits: one step is 32 HU
    "1.2.840.10008.1.2.4.51": 40,
    "1.2.840.10008.1.2.4.53": 40,
    "1.2.840.10008.1.2.4.55": 40,
    "1.2.840.10008.1.2.4.81": 3,
    "1.2.840.10008.1.2.4.91": 40,
}
"""Largest error of a pixel; the mean must be 0.3 of that at most."""


@pytest.fixture(scope="module")
def by_syntax(real_data):
    paths = (real_data / "transfer_syntaxes_ct").glob("CTImage*")
    return {str(pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID): path for path in paths}


@pytest.fixture(scope="module")
def plain(by_syntax, series_of):
    return read_volume(series_of([by_syntax["1.2.840.10008.1.2.1"]]))


def test_no_file_is_left_out(by_syntax):
    assert set(by_syntax) == {*LOSSLESS, *LOSSY_HU}


def test_the_uncompressed_one_is_what_pydicom_reads(by_syntax, plain):
    ds = pydicom.dcmread(by_syntax["1.2.840.10008.1.2.1"])
    np.testing.assert_array_equal(plain.values[0], ds.pixel_array.astype(int) + int(ds.RescaleIntercept))
    np.testing.assert_allclose(plain.z.values, [ds.ImagePositionPatient[2]])


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("opens", [open_volume, read_volume])
def test_lossless_ones_are_equal(by_syntax, series_of, plain, syntax, opens):
    vol = opens(series_of([by_syntax[syntax]]))
    assert vol.dtype == plain.dtype
    assert vol.compute().equals(plain)


@pytest.mark.parametrize("syntax", LOSSY_HU)
def test_lossy_ones_are_close(by_syntax, series_of, plain, syntax):
    vol = read_volume(series_of([by_syntax[syntax]]))
    error = np.abs(vol.values.astype(float) - plain.values)
    assert 0 < error.max() <= LOSSY_HU[syntax]
    assert error.mean() <= 0.3 * LOSSY_HU[syntax]
    assert vol.coords.equals(plain.coords)


def test_the_one_without_a_position_is_refused(real_data, series_of):
    path = real_data / "transfer_syntaxes_ct" / "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm"
    with pytest.raises(GeometryError) as caught:
        open_volume(series_of([path]))
    assert caught.value.reasons[0] == "no_position"
