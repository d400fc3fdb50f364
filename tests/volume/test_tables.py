"""Values by table: palettes to colours, Modality LUTs and Real World Value Mappings to quantities, lazily or not."""

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

import researchpacs as rp
from researchpacs.errors import InvalidInputError, NotFoundError, PixelDataError

HEIGHTS = [(0, 0, 2.0 * k) for k in range(3)]
ENTRIES = np.random.default_rng(1).integers(0, 30_000, 400)


def by_table(bits=16, kind="HU", entries=ENTRIES, only=None):
    def each(k, ds):
        ds.PatientID = "P"
        if only is not None and k not in only:
            return
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [len(entries), 0, bits], kind
        table.add_new("LUTData", "US", [int(one) for one in entries])
        ds.ModalityLUTSequence = [table]
        del ds.RescaleSlope, ds.RescaleIntercept

    return each


@pytest.fixture
def ingested(home):
    with rp.connect(home) as pacs:
        yield lambda path: pacs.ingest(path, progress=False).series[0]


@pytest.mark.parametrize(("bits", "dtype"), [(16, np.int32), (15, np.int16)])
def test_a_modality_lut_is_the_rescale_of_those_that_have_it(ingested, make_series, bits, dtype):
    files = make_series(HEIGHTS, each=by_table(bits))
    series = ingested(files.paths[0].parent)
    vol = rp.read_volume(series)
    assert vol.dtype == dtype
    assert vol.attrs["units"] == "HU"
    for path, plane in zip(files.paths, vol.values, strict=True):
        ds = pydicom.dcmread(path)
        ds.ModalityLUTSequence[0].LUTDescriptor[2] = 16
        np.testing.assert_array_equal(plane, apply_modality_lut(ds.pixel_array, ds))
    assert rp.open_volume(series).compute().identical(vol)
    assert rp.open_volume(series, chunks={"y": 2}).compute().identical(vol)
    stored = rp.read_volume(series, rescale=False)
    assert stored.dtype == np.uint16
    assert rp.open_volume(series, rescale=False).data.name != rp.open_volume(series).data.name
    np.testing.assert_array_equal(stored.values[2].ravel(), np.arange(200, 230))


def test_padding_is_not_told_of_values_by_table(ingested, make_series):
    def each(k, ds):
        by_table()(k, ds)
        ds.PixelPaddingValue = 3

    vol = rp.read_volume(ingested(make_series(HEIGHTS, each=each).paths[0].parent))
    assert "padding" not in vol.attrs


def test_tables_in_some_slices_only_are_refused(ingested, make_series):
    series = ingested(make_series(HEIGHTS, each=by_table(only=[1])).paths[0].parent)
    with pytest.raises(PixelDataError, match="in some frames only"):
        rp.open_volume(series)
    assert rp.read_volume(series, rescale=False).shape == (3, 5, 6)


def test_a_table_that_breaks_off_names_series_and_frame_and_leaves_the_others(ingested, make_series):
    def each(k, ds):
        by_table()(k, ds)
        if k == 1:
            ds.ModalityLUTSequence[0]["LUTData"].value = [1, 2, 3]

    series = ingested(make_series(HEIGHTS, each=each).paths[0].parent)
    vol = rp.open_volume(series)
    for k in (0, 2):
        assert vol[k].compute().shape == (5, 6)
    with pytest.raises(PixelDataError, match="3 of its 400 entries") as caught:
        vol.compute()
    assert series.uid in str(caught.value)
    assert "frame 0 of instance" in str(caught.value)


@pytest.mark.data
@pytest.mark.parametrize("name", ["us_nm_cine/US-PAL-8-10x-echo", "misc_pydicom/OBXXXX1A_rle_2frame.dcm"])
def test_frames_of_a_palette_open_in_colour(ingested, real_data, name):
    series = ingested(real_data / name)
    ds = pydicom.dcmread(real_data / name)
    frames = rp.open_frames(series)
    assert frames.dims == ("frame", "row", "column", "rgb")
    assert frames.dtype == np.uint16
    np.testing.assert_array_equal(frames.values, apply_color_lut(ds.pixel_array, ds))
    indices = rp.open_frames(series, rescale=False)
    assert indices.dims == ("frame", "row", "column")
    np.testing.assert_array_equal(indices.values, ds.pixel_array)


def mapped(label, units, *, slope=None, intercept=0.0, table=None, limits=(0, 4095)):
    item, code = Dataset(), Dataset()
    item.LUTLabel, item.LUTExplanation = label, label
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = limits
    if table is None:
        item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    else:
        item.RealWorldValueLUTData = table
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = units, "UCUM", units
    item.MeasurementUnitsCodeSequence = [code]
    return item


def telling(*mappings, only=None):
    def each(k, ds):
        ds.PatientID = "P"
        if only is None or k in only:
            ds.RealWorldValueMappingSequence = list(mappings)

    return each


def test_stored_values_are_mapped_to_a_quantity_with_units(ingested, make_series):
    told = telling(
        mapped("ADC", "mm2/s", slope=1e-6, intercept=0.5, limits=(10, 210)),
        mapped("T", "K", table=[float(k) ** 2 for k in range(201)], limits=(10, 210)),
    )
    series = ingested(make_series(HEIGHTS, each=told).paths[0].parent)
    stored = rp.open_volume(series, rescale=False)
    adc, kelvin = stored.dicom.real_world(), stored.dicom.real_world("T")
    assert (adc.attrs["units"], kelvin.attrs["units"]) == ("mm2/s", "K")
    assert adc.dtype == np.float32
    assert adc.chunks == stored.chunks
    values = stored.values.astype(float)
    within = (values >= 10) & (values <= 210)
    np.testing.assert_allclose(adc.values, np.where(within, values * 1e-6 + 0.5, np.nan), rtol=1e-6)
    np.testing.assert_allclose(kelvin.values, np.where(within, (values - 10) ** 2, np.nan))
    np.testing.assert_allclose(adc.dicom.affine_lps, stored.dicom.affine_lps)
    with pytest.raises(InvalidInputError, match="'ADC', 'T'"):
        stored.dicom.real_world("SUV")
    with pytest.raises(InvalidInputError, match="rescale=False"):
        rp.open_volume(series).dicom.real_world()


@pytest.mark.parametrize(
    "each",
    [
        telling(mapped("ADC", "mm2/s", slope=1e-6), only=[0, 1]),
        telling(mapped("T", "K", table=[1.0, 2.0])),
        lambda k, ds: telling(mapped("ADC", "mm2/s", slope=1e-6 * (k + 1)))(k, ds),
        lambda _, ds: setattr(ds, "PatientID", "P"),
    ],
    ids=["not all", "half a table", "differ", "none"],
)
def test_half_a_mapping_is_none(ingested, make_series, each):
    stored = rp.open_volume(ingested(make_series(HEIGHTS, each=each).paths[0].parent), rescale=False)
    with pytest.raises(NotFoundError):
        stored.dicom.real_world()


@pytest.mark.data
@pytest.mark.parametrize("name", ["parametric_map_float.dcm", "parametric_map_double_float.dcm"])
def test_a_parametric_map_is_what_highdicom_maps_it_to(ingested, real_data, name):
    path = real_data / "misc_pydicom" / name
    theirs = highdicom.imread(path).get_frames(apply_real_world_transform=True, dtype=np.float64)
    ours = rp.open_frames(ingested(path), rescale=False).dicom.real_world()
    np.testing.assert_allclose(ours.values, theirs, rtol=1e-6)
    assert ours.attrs["units"] == "1"
