"""The handle of an archive and files read with pydicom give the same volume."""

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

import researchpacs as rp
from researchpacs.errors import GeometryError, PixelDataError


def without_suv(vol):
    """Forget what of a PET the files of the test do not tell, weight and dose among it."""
    vol.attrs.pop("suv_factors", None)
    return vol


@pytest.mark.data
@pytest.mark.parametrize(("copy", "folder"), [(True, "PET/image"), (False, "CT/image")])
def test_a_series_of_an_archive_opens_as_its_files_do(home, real_data, series_of, copy, folder):
    files = real_data / "petct_mr_rtstruct_sts_002" / folder
    expected = without_suv(rp.read_volume(series_of(files)))
    with rp.connect(home) as pacs:
        pacs.ingest(files, copy=copy, progress=False)
        series = pacs.search("series").one()
        vol = without_suv(rp.read_volume(series))
        assert vol.identical(expected)
        assert without_suv(rp.open_volume(series).compute()).identical(expected)
        assert series.geometry.shape == vol.shape
        assert series.geometry.kind == "uniform"
    assert vol.attrs["units"] == ("g/ml" if folder.startswith("PET") else "HU")


def uids(k, ds):
    ds.PatientID = "P"
    if k == 2:
        ds.FrameOfReferenceUID = "1.2.3"


def no_uid(k, ds):
    ds.PatientID = "P"
    if k == 2:
        del ds.FrameOfReferenceUID


@pytest.mark.parametrize("each", [uids, no_uid])
def test_slices_of_different_frames_of_reference_are_no_volume(home, make_series, each):
    files = make_series([(0, 0, 2.0 * k) for k in range(3)], each=each)
    with rp.connect(home) as pacs:
        series = pacs.ingest(files.paths[0].parent, progress=False).series[0]
        with pytest.raises(GeometryError, match="Frame of Reference") as caught:
            rp.open_volume(series)
    assert caught.value.reasons == ("multiple_stacks",)


def lut(k, ds):
    ds.PatientID = "P"
    if k == 1:
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [256, 0, 16], "US"
        table.add_new("LUTData", "OW", bytes(512))
        ds.ModalityLUTSequence = [table]
        del ds.RescaleSlope, ds.RescaleIntercept


def no_number(k, ds):
    ds.PatientID = "P"
    if k == 1:
        tag = Tag("RescaleSlope")
        ds[tag] = RawDataElement(tag, "DS", 4, b"2,5 ", 0, False, True)


@pytest.mark.parametrize("each", [lut, no_number])
def test_one_slice_of_unknown_values_is_enough_to_refuse_rescaled_ones(home, make_series, each):
    files = make_series([(0, 0, 2.0 * k) for k in range(3)], each=each)
    with rp.connect(home) as pacs:
        series = pacs.ingest(files.paths[0].parent, progress=False).series[0]
        with pytest.raises(PixelDataError, match="rescale=False"):
            rp.open_volume(series)
        assert rp.read_volume(series, rescale=False)[1, 0, 0] == 100


@pytest.mark.data
def test_a_dose_is_in_its_units(home, real_data):
    path = real_data / "misc_pydicom" / "rtdose.dcm"
    ds = pydicom.dcmread(path)
    with rp.connect(home) as pacs:
        vol = rp.read_volume(pacs.ingest(path, progress=False).series[0])
    np.testing.assert_allclose(vol.values, ds.pixel_array * float(ds.DoseGridScaling), rtol=1e-6)
    assert vol.attrs["units"] == "relative"
    assert ds.DoseUnits == "RELATIVE"
