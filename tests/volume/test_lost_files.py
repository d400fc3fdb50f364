"""A file that vanished, changed or broke since it was ingested is one error that names series and frame, no more."""

import os

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

import researchpacs as rp
from researchpacs.errors import ConflictError, NotFoundError, PixelDataError

HEIGHTS = [(0, 0, 2.0 * k) for k in range(5)]
PLANES = np.random.default_rng(2).integers(0, 4096, (5, 16, 12)).astype(np.uint16)
ENCODERS = {
    None: None,
    JPEG2000Lossless: lambda one: imagecodecs.jpeg2k_encode(one, codecformat="J2K", reversible=True, level=0),
    JPEGLSLossless: imagecodecs.jpegls_encode,
}


def vanish(path):
    path.unlink()


def change(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(1, 1))


def shorten(path):
    path.write_bytes(path.read_bytes()[:-8])


TROUBLE = {vanish: NotFoundError, change: ConflictError, shorten: ConflictError}


def compressed(syntax):
    """A CT of five slices, uncompressed or not."""
    encode = ENCODERS[syntax]

    def each(k, ds):
        ds.PatientID = "P"
        if encode is not None:
            ds.PixelData = encapsulate([encode(PLANES[k])])
            ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
            ds.file_meta.TransferSyntaxUID = syntax

    return each


def others_are_as_they_were(lazy, missing):
    for k in {0, 1, 2, 3, 4} - {missing}:
        np.testing.assert_array_equal(lazy[k].values, PLANES[k].astype(int) - 1024)


def test_one_file_in_trouble_is_one_error(home, make_series, tmp_path):
    made = {
        (syntax, trouble): make_series(HEIGHTS, pixels=PLANES, each=compressed(syntax))
        for syntax in ENCODERS
        for trouble in TROUBLE
    }
    with rp.connect(home) as pacs:
        pacs.ingest(tmp_path, copy=False, progress=False)
        for (_, trouble), files in made.items():
            series = pacs.series(files.uid)
            lazy = rp.open_volume(series)
            sop_uid = pydicom.dcmread(files.paths[3]).SOPInstanceUID
            trouble(files.paths[3])
            for read in (lazy.compute, lambda series=series: rp.read_volume(series)):
                with pytest.raises(TROUBLE[trouble]) as caught:
                    read()
                message = str(caught.value)
                assert files.uid in message
                assert f"frame 0 of instance ...{sop_uid[-8:]}" in message
                assert str(tmp_path) not in message
            others_are_as_they_were(lazy, 3)


def test_a_stored_frame_that_broke_is_one_error(home, make_series, tmp_path):
    made = [make_series(HEIGHTS, pixels=PLANES, each=compressed(syntax)) for syntax in ENCODERS]
    with rp.connect(home) as pacs:
        pacs.ingest(tmp_path, progress=False)
        for series in (pacs.series(files.uid) for files in made):
            lazy = rp.open_volume(series)
            (frame,) = [one for one in series.frames() if one.instance_number == 4]
            (place,) = series.locate([frame.sop_uid])
            with open(place.path, "r+b") as file:
                if frame.layout.is_native:
                    file.truncate(place.size - 10)
                else:
                    file.seek(frame.byte_offset + 8)
                    file.write(bytes(24))
            with pytest.raises(PixelDataError) as caught:
                rp.read_volume(series)
            assert series.uid in str(caught.value)
            assert f"frame 0 of instance ...{frame.sop_uid[-8:]}" in str(caught.value)
            if not frame.layout.is_native:
                assert frame.layout.transfer_syntax_uid in str(caught.value)
            others_are_as_they_were(lazy, 3)


def test_a_frame_of_many_is_named(home, make_series):
    frames = np.stack([PLANES[0]] * 4)

    def each(_, ds):
        ds.PatientID, ds.NumberOfFrames = "P", 4
        whole = [imagecodecs.jpegls_encode(one) for one in frames]
        ds.PixelData = encapsulate([*whole[:2], whole[2][:-30], whole[3]])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.file_meta.TransferSyntaxUID = JPEGLSLossless

    files = make_series(HEIGHTS[:1], pixels=PLANES, each=each)
    with rp.connect(home) as pacs:
        opened = rp.open_frames(pacs.ingest(files.paths[0], progress=False).series[0])
        assert opened.shape == (4, 16, 12)
        for k in (0, 1, 3):
            np.testing.assert_array_equal(opened[k].values, PLANES[0].astype(int) - 1024)
        with pytest.raises(PixelDataError, match="frame 2 of instance"):
            opened.compute()


def test_a_small_frame_of_very_many_pixels_is_refused_before_it_is_made(make_series):
    """Header and codestream agree, so only its size gives it away."""
    side = 60_000

    def each(_, ds):
        ds.PatientID = "P"
        frame = bytearray(imagecodecs.jpegls_encode(np.zeros((256, 256), np.uint16)))
        place = frame.index(b"\xff\xf7")
        frame[place + 5 : place + 9] = side.to_bytes(2, "big") * 2
        ds.Rows = ds.Columns = side
        ds.PixelData = encapsulate([bytes(frame)])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.file_meta.TransferSyntaxUID = JPEGLSLossless

    files = make_series(HEIGHTS[:2], pixels=PLANES, each=each)
    for opens in (rp.open_volume, rp.read_volume, rp.open_frames):
        with pytest.raises(PixelDataError, match="are said to be a frame") as caught:
            opens(files)
        assert "frame 0 of instance" in str(caught.value)


def test_fragments_are_shared_out_whatever_the_table_says(home, make_series, tmp_path):
    """Offset tables that point outside, backwards or to the same frame twice are not believed."""
    whole = [imagecodecs.jpegls_encode(PLANES[k]) for k in range(3)]
    whole = [one + b"\0" * (len(one) % 2) for one in whole]
    item = lambda data: b"\xfe\xff\x00\xe0" + len(data).to_bytes(4, "little") + data  # noqa: E731
    made = {}
    for table in ((0, 2**31, 2**32 - 1), (0, 0, 0), (8, 4, 0), (0, 10**6, 2 * 10**6), (0, 2, 4), ()):
        value = item(np.array(table, "<u4").tobytes()) + b"".join(map(item, whole))

        def each(_, ds, value=value):
            ds.PatientID, ds.NumberOfFrames = "P", 3
            ds.PixelData = value
            ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
            ds.file_meta.TransferSyntaxUID = JPEGLSLossless

        made[table] = make_series(HEIGHTS[:1], pixels=PLANES, each=each)
    with rp.connect(home) as pacs:
        pacs.ingest(tmp_path, progress=False)
        for table, files in made.items():
            opened = rp.open_frames(pacs.series(files.uid), rescale=False)
            np.testing.assert_array_equal(opened.values, PLANES[:3], err_msg=str(table))
