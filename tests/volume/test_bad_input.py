"""Headers that lie about where frames are: one typed error that names the series, never a volume somewhere else."""

import copy

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

import researchpacs as rp
from researchpacs.dicom.frames import frames_of
from researchpacs.dicom.mosaics import mosaic_of
from researchpacs.dicom.pixels import layout_of
from researchpacs.dicom.siemens import csa_numbers
from researchpacs.errors import GeometryError, PixelDataError

HEIGHTS = [(0.0, 0.0, 2.0 * k) for k in range(4)]


def as_written(keyword, text):
    """Set a decimal string as it is, whatever pydicom would say to it."""

    def each(k, ds):
        ds.PatientID = "P"
        if k == 2:
            element = pydicom.DataElement(keyword, "LO", text)
            element.VR = "DS"
            ds[element.tag] = pydicom.dataelem.RawDataElement(
                element.tag, "DS", len(text), text.encode(), 0, is_implicit_VR=False, is_little_endian=True
            )

    return each


PLACES = [
    ("ImagePositionPatient", "nan\\0\\4 "),
    ("ImagePositionPatient", "0\\0\\1e999"),
    ("ImagePositionPatient", "0\\0"),
    ("ImagePositionPatient", "0\\0\\4\\5 "),
    ("ImagePositionPatient", "zero"),
    ("PixelSpacing", "0\\0.7 "),
    ("PixelSpacing", "-1\\0.7"),
    ("PixelSpacing", "0.8 "),
    ("ImageOrientationPatient", "1\\0\\0\\1\\0\\0 "),
    ("ImageOrientationPatient", "1\\0\\0\\0\\0.9\\0 "),
    ("ImageOrientationPatient", "0\\0\\0\\0\\0\\0 "),
    ("ImageOrientationPatient", "2\\0\\0\\0\\2\\0 "),
]


def test_a_slice_whose_place_cannot_be_is_no_part_of_a_volume(home, make_series, tmp_path):
    uids = {make_series(HEIGHTS, each=as_written(*place)).uid: place for place in PLACES}
    with rp.connect(home) as pacs:
        assert pacs.ingest(tmp_path, progress=False).stored == 4 * len(PLACES)
        for uid, place in uids.items():
            series = pacs.series(uid)
            assert "no_position" in series.geometry.reasons, place
            assert not series.geometry.is_volume
            for opens in (rp.open_volume, rp.read_volume):
                with pytest.raises(GeometryError, match="usable position") as caught:
                    opens(series)
                assert "no_position" in caught.value.reasons
                assert caught.value.series_uid == uid
            for on_irregular in ("raise", "repair"):
                with pytest.raises(GeometryError):
                    rp.open_volumes(series, on_irregular=on_irregular)
            assert rp.open_frames(series).shape == (4, 5, 6)
        told = dict(pacs.sql("select SeriesInstanceUID, reasons from series_index").fetchall())
    assert all("no_position" in told[uid] for uid in uids)


def lie(values):
    def each(k, ds):
        ds.PatientID = "P"
        if k == 2:
            for keyword, value in values.items():
                setattr(ds, keyword, value)

    return each


LIES = [
    {"Rows": 5000, "Columns": 5000},
    {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 2**31 - 1},
    {"NumberOfFrames": 1000},
    {"NumberOfFrames": -1},
    {"BitsAllocated": 32},
    {"BitsAllocated": 8, "BitsStored": 12},
    {"BitsStored": 17, "HighBit": 16},
    {"SamplesPerPixel": 3},
    {"Rows": 0},
]


def test_a_header_that_lies_about_its_pixels_is_one_error(home, make_series, tmp_path):
    uids = {make_series(HEIGHTS, each=lie(values)).uid: values for values in LIES}
    with rp.connect(home) as pacs:
        pacs.ingest(tmp_path, progress=False)
        for uid, values in uids.items():
            with pytest.raises((GeometryError, PixelDataError)) as caught:
                rp.read_volume(pacs.series(uid))
            assert "..." in str(caught.value), values


@pytest.fixture(scope="module")
def mosaic(real_data):
    path = sorted((real_data / "mr_fmri_4d" / "20180918Si").rglob("*.dcm"))[0]
    return pydicom.dcmread(path, stop_before_pixels=True)


@pytest.mark.data
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_no_csa_header_makes_it_fail(mosaic, data):
    header = bytearray(mosaic[0x0029, 0x1010].value)
    for _ in range(data.draw(st.integers(1, 5))):
        header[data.draw(st.integers(0, len(header) - 1))] = data.draw(st.integers(0, 255))
    ds = Dataset()
    ds.update({element.tag: element for element in mosaic if element.tag != (0x0029, 0x1010)})
    ds.add_new((0x0029, 0x1010), "OB", bytes(header[: data.draw(st.integers(0, len(header)))]))
    assert all(isinstance(one, float) for one in csa_numbers(ds, "SliceNormalVector"))
    found = mosaic_of(ds, layout_of(ds, "1.2.840.10008.1.2.1"))
    assert found is None or (2 <= found.tiles <= 4096 and np.isfinite([*found.step, *found.position]).all())


@pytest.mark.data
@pytest.mark.parametrize(("keyword", "value"), [
    ("SpacingBetweenSlices", 0), ("SpacingBetweenSlices", None), ("ImagePositionPatient", None), ("Rows", 217),
])  # fmt: skip
def test_a_mosaic_that_does_not_tell_where_its_slices_are_is_none(mosaic, keyword, value):
    ds = copy.deepcopy(mosaic)
    setattr(ds, keyword, value)
    layout = layout_of(ds, "1.2.840.10008.1.2.1")
    assert mosaic_of(ds, layout) is None
    assert frames_of(ds, layout, None)[0].traits.tiles is None
