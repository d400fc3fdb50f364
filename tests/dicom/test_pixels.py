"""Frames decode to the values that were stored, whatever they were written in."""

import io
import zlib
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import UID

from researchpacs.dicom import _pixel_codecs
from researchpacs.dicom.encapsulation import frame_ranges
from researchpacs.dicom.pixels import (
    PixelLayout,
    decode_frame,
    decode_frame_into,
    decode_instance,
    layout_of,
    stored_dtype,
)
from researchpacs.dicom.scan import scan
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import PixelDataError

PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED = (f"1.2.840.10008.1.2{tail}" for tail in ("", ".1", ".2", ".1.99"))
JPEG, JPEG_LOSSLESS, JPEG_LS, JPEG_2000, HTJ2K = (
    f"1.2.840.10008.1.2.4.{tail}" for tail in ("50", "70", "80", "90", "201")
)
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
GREY = PixelLayout(EXPLICIT, 4, 6, 1, 16, 16, 0, "MONOCHROME2", 0)
LOSSLESS = ("Implicit", "Explicit", "Deflated", "2000LosslessOnly", "JPEGLSLossless", "Process14", "RLELossless")
# Greatest distance in HU of a lossy frame. The 12-bit JPEG files were scaled to steps of 2 HU, the 8-bit one to 32.
LOSSY = {"2000Transfer": 5, "JPEGLSLossy": 1, "Process10_12": 40, "Process6_8": 40, "Process2_4": 40, "Process1T": 65}


def item(value):
    return b"\xfe\xff\x00\xe0" + len(value).to_bytes(4, "little") + value


def open_instance(path):
    data, ds = path.read_bytes(), pydicom.dcmread(path, force=True)
    found = scan(io.BytesIO(data))
    layout = layout_of(ds, found.transfer_syntax_uid)
    ranges = frame_ranges(lambda offset, length: data[offset : offset + length], found.header_length, len(data), layout)
    return data, ds, layout, ranges


def decode_all(path):
    data, _, layout, ranges = open_instance(path)
    if ranges is None:
        return [decode_instance(data, index, layout) for index in range(layout.number_of_frames)]
    return [decode_frame(data[offset : offset + length], layout) for offset, length in ranges]


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_transfer_syntaxes_give_equal_pixels(real_data, name):
    folder = real_data / "transfer_syntaxes_ct"
    [expected] = decode_all(folder / "CTImage.dcm")
    paths = [path for path in folder.iterdir() if name in path.name and path.name != "CTImage.dcm"]
    assert paths
    for path in paths:
        [frame] = decode_all(path)
        assert frame.dtype == np.int16
        np.testing.assert_array_equal(frame, expected, err_msg=path.name)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_transfer_syntaxes_stay_near(real_data, name):
    folder = real_data / "transfer_syntaxes_ct"
    [path] = [path for path in folder.iterdir() if name in path.name]

    def hounsfield(path):
        ds, [frame] = pydicom.dcmread(path), decode_all(path)
        return frame * float(ds.RescaleSlope) + float(ds.RescaleIntercept)

    assert np.abs(hounsfield(path) - hounsfield(folder / "CTImage.dcm")).max() <= LOSSY[name]


def test_jpeg_in_several_fragments_without_table(real_data):
    first, second = decode_all(real_data / "transfer_syntaxes_ct" / "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm")
    assert first.shape == second.shape == (512, 512)
    # two neighbouring frames of one acquisition
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.8


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_every_frame_of_pydicom_s_files_is_as_pydicom_decodes_it():
    compared = 0
    for path in sorted(PYDICOM_FILES.glob("*.dcm")):
        try:
            theirs = pixel_array(path)
            layout = open_instance(path)[2]
        except (AttributeError, ValueError, NotImplementedError, RuntimeError, KeyError):
            continue  # no image, no identity, or nothing of pydicom's decodes it
        theirs = theirs if layout.number_of_frames > 1 else theirs[None]
        frames = decode_all(path)
        assert len(frames) == len(theirs) == layout.number_of_frames, path.name
        for ours, expected in zip(frames, theirs, strict=True):
            assert ours.dtype == expected.dtype.newbyteorder("="), path.name
            np.testing.assert_array_equal(ours, expected, err_msg=path.name)
        compared += 1
    assert compared > 50


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("misc_pydicom", "*emri_small*.dcm"),
        ("misc_pydicom", "parametric_map_*.dcm"),
        ("misc_pydicom", "693_J2KR.dcm"),
        ("misc_pydicom", "OBXXXX1A_rle_2frame.dcm"),
        ("misc_pydicom", "OT-PAL-8-face.dcm"),
        ("misc_pydicom", "bad_sequence.dcm"),
        ("us_nm_cine", "*"),
        ("xa_wg04", "J*/*"),
        ("highdicom_seg_sr_sm_ann", "seg_image_*.dcm"),
    ],
)
def test_real_frames_are_as_pydicom_decodes_them(real_data, folder, name):
    compared = 0
    for path in sorted((real_data / folder).glob(name)):
        if path.suffix in (".md", ".txt") or "too_short" in path.name:
            continue
        _, ds, layout, _ = open_instance(path)
        if "TransferSyntaxUID" not in ds.file_meta:
            ds.file_meta.TransferSyntaxUID = UID(layout.transfer_syntax_uid)
        theirs = ds.pixel_array if layout.number_of_frames > 1 else ds.pixel_array[None]
        for ours, expected in zip(decode_all(path), theirs, strict=True):
            np.testing.assert_array_equal(ours, expected, err_msg=path.name)
        compared += 1
    assert compared


def test_lossless_pair_of_two_codecs_is_equal(real_data):
    [[jpeg], [jpeg_2000]] = [
        decode_all(path) for path in sorted(path for path in (real_data / "xa_wg04").glob("J*/*") if path.is_file())
    ]
    np.testing.assert_array_equal(jpeg, jpeg_2000)


def test_sign_of_the_header_beats_that_of_the_codestream():
    path = PYDICOM_FILES / "J2K_pixelrep_mismatch.dcm"
    [frame] = decode_all(path)
    assert frame.min() == -2000, "13 bits of two's complement that the codestream calls unsigned"
    np.testing.assert_array_equal(frame, pixel_array(path))


@st.composite
def native_frames(draw):
    allocated = draw(st.sampled_from([8, 16, 32]))
    layout = PixelLayout(
        draw(st.sampled_from([IMPLICIT, EXPLICIT, BIG_ENDIAN])),
        rows=draw(st.integers(1, 5)),
        columns=draw(st.integers(1, 5)),
        samples_per_pixel=1,
        bits_allocated=allocated,
        bits_stored=draw(st.integers(1, allocated)),
        pixel_representation=draw(st.integers(0, 1)),
        photometric_interpretation="MONOCHROME2",
        planar_configuration=0,
    )
    length = layout.frame_bits // 8
    return layout, draw(st.binary(min_size=length, max_size=length))


@settings(max_examples=200, deadline=None)
@given(native_frames())
def test_native_frames_are_as_pydicom_decodes_them_whatever_the_unused_bits_hold(given_frame):
    layout, data = given_frame
    expected, _ = get_decoder(UID(layout.transfer_syntax_uid)).as_array(
        data + b"\0" * (len(data) % 2),
        rows=layout.rows,
        columns=layout.columns,
        number_of_frames=1,
        samples_per_pixel=1,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=layout.bits_allocated,
        bits_stored=layout.bits_stored,
        pixel_representation=layout.pixel_representation,
        pixel_keyword="PixelData",
        pixel_vr="OB" if layout.bits_allocated == 8 else "OW",
    )
    frame = decode_frame(data, layout)
    assert frame.dtype == stored_dtype(layout)
    np.testing.assert_array_equal(frame, expected)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 16), st.integers(0, 1), st.sampled_from([JPEG_LS, JPEG_2000, HTJ2K, DEFLATED_FRAMES]), st.data())
def test_compressed_frames_come_back_signed_as_declared(bits, signed, transfer_syntax, data):
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    values = np.array(data.draw(st.lists(st.integers(low, high), min_size=64, max_size=64))).reshape(8, 8)
    layout = replace(GREY, transfer_syntax_uid=transfer_syntax, rows=8, columns=8, bits_stored=bits)
    layout = replace(layout, pixel_representation=signed)
    # JPEG-LS and DEFLATE know no sign: two's complement in as many bits as are stored
    bare = (values & ((1 << bits) - 1)).astype(np.uint16)
    written = values.astype(stored_dtype(layout))
    if transfer_syntax == JPEG_LS:
        compressed = imagecodecs.jpegls_encode(bare)
    elif transfer_syntax == JPEG_2000:
        compressed = imagecodecs.jpeg2k_encode(written, codecformat="J2K", reversible=True, level=0)
    elif transfer_syntax == HTJ2K:
        compressed = imagecodecs.htj2k_encode(written, reversible=True)
    else:
        stream = zlib.compressobj(wbits=-15)
        compressed = stream.compress(bare.tobytes()) + stream.flush()
    compressed += b"\0" * (len(compressed) % 2)
    frame = decode_frame(item(compressed), layout)
    assert frame.dtype == written.dtype
    np.testing.assert_array_equal(frame, values)


def test_values_in_the_high_bits_are_shifted_down(tmp_path):
    ds = pydicom.dcmread(PYDICOM_FILES / "CT_small.dcm")
    values = ds.pixel_array & 0x0FFF
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 15, 0
    ds.PixelData = (values.astype(np.uint16) << 4 | 0x000F).tobytes()
    ds.save_as(tmp_path / "high.dcm")
    [frame] = decode_all(tmp_path / "high.dcm")
    np.testing.assert_array_equal(frame, values)


def test_eight_bit_frames_in_big_endian_words_are_swapped(tmp_path):
    ds = pydicom.dcmread(PYDICOM_FILES / "CT_small.dcm")
    frames = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    ds.Rows, ds.Columns, ds.NumberOfFrames = 3, 5, 2
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    ds.PixelData = frames.tobytes()
    data = io.BytesIO()
    ds.file_meta.TransferSyntaxUID = BIG_ENDIAN
    ds["PixelData"].VR = "OW"
    ds["PixelData"].value = np.frombuffer(frames.tobytes(), np.uint16).byteswap().tobytes()
    pydicom.dcmwrite(data, ds, implicit_vr=False, little_endian=False)
    path = tmp_path / "words.dcm"
    path.write_bytes(data.getvalue())
    np.testing.assert_array_equal(decode_all(path), frames)


def test_frames_decode_straight_into_a_volume():
    volume = np.full((3, 4, 6), 7, np.uint16)
    decode_frame_into(np.arange(24, dtype=np.uint16).tobytes(), GREY, volume[1])
    np.testing.assert_array_equal(volume[1].ravel(), np.arange(24))
    assert (volume[[0, 2]] == 7).all()


def test_frames_decode_into_a_wider_type_and_no_narrower_one():
    data = np.full(24, 65535, np.uint16).tobytes()
    wide = np.empty((4, 6), np.float32)
    decode_frame_into(data, GREY, wide)
    assert (wide == 65535).all()
    with pytest.raises(TypeError):
        decode_frame_into(data, GREY, np.empty((4, 6), np.int16))
    with pytest.raises(ValueError, match="array to decode into"):
        decode_frame_into(data, GREY, np.empty((6, 4), np.uint16))


@pytest.mark.parametrize("length", [0, 47, 49, 480])
def test_native_frame_of_another_length_is_an_error(length):
    with pytest.raises(PixelDataError, match="48 bytes"):
        decode_frame(bytes(length), GREY)


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.4.102", "1.2.840.113619.5.2", "1.2.840.10008.1.2.4.94", DEFLATED])
def test_transfer_syntax_that_nothing_decodes_is_named(uid):
    with pytest.raises(PixelDataError) as caught:
        decode_frame(item(bytes(40)), replace(GREY, transfer_syntax_uid=uid))
    assert uid in str(caught.value)
    assert UID(uid).name in str(caught.value)
    assert "imagecodecs" in str(caught.value)


def compressed_frames():
    """One complete compressed frame and its layout by codec."""
    values = np.random.default_rng(3).integers(0, 4096, (64, 64)).astype(np.uint16)
    layout = replace(GREY, rows=64, columns=64, bits_stored=12)
    made = {
        HTJ2K: imagecodecs.htj2k_encode(values, reversible=True),
        JPEG_LS: imagecodecs.jpegls_encode(values),
        JPEG_2000: imagecodecs.jpeg2k_encode(values, codecformat="J2K", reversible=True, level=0),
        JPEG_LOSSLESS: imagecodecs.ljpeg_encode(values, bitspersample=12),
    }
    frames = {UID(uid).name: (frame, replace(layout, transfer_syntax_uid=uid)) for uid, frame in made.items()}
    small = replace(layout, transfer_syntax_uid=JPEG, bits_allocated=8, bits_stored=8)
    frames["JPEG baseline"] = (imagecodecs.jpeg8_encode((values >> 4).astype(np.uint8), level=90), small)
    data, _, rle, [(offset, length)] = open_instance(PYDICOM_FILES / "MR_small_RLE.dcm")
    return frames | {"RLE": (data[offset + 8 : offset + length], rle)}


COMPRESSED = compressed_frames()


@pytest.mark.parametrize("name", COMPRESSED)
class TestDamagedFrames:
    def test_undamaged_frame_is_none(self, name):
        compressed, layout = COMPRESSED[name]
        assert decode_frame(item(compressed), layout).shape == (64, 64)

    def test_declared_shape_other_than_written_is_an_error(self, name):
        compressed, layout = COMPRESSED[name]
        with pytest.raises(PixelDataError, match=layout.transfer_syntax_uid):
            decode_frame(item(compressed), replace(layout, rows=layout.rows + 1))

    @pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
    @pytest.mark.parametrize("part", [0, 0.05, 0.5, 0.95])
    def test_cut_frame_is_an_error_never_a_partial_picture(self, name, part):
        compressed, layout = COMPRESSED[name]
        with pytest.raises(PixelDataError, match=layout.transfer_syntax_uid):
            decode_frame(item(compressed[: int(len(compressed) * part)]), layout)

    def test_noise_is_an_error(self, name):
        _, layout = COMPRESSED[name]
        noise = np.random.default_rng(1).bytes(500)
        with pytest.raises(PixelDataError, match=layout.transfer_syntax_uid):
            decode_frame(item(noise), layout)


def test_codestream_of_enormous_size_is_not_allocated():
    data, _, layout, [(offset, length)] = open_instance(PYDICOM_FILES / "MR_small_jp2klossless.dcm")
    frame = bytearray(data[offset : offset + length])
    at = frame.index(b"\xff\x51") + 6
    frame[at : at + 8] = (1 << 30).to_bytes(4, "big") * 2
    with pytest.raises(PixelDataError, match="1073741824"):
        decode_frame(bytes(frame), layout)


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless", "MR_small_jp2klossless"])
def test_pydicom_s_plugins_take_over_where_imagecodecs_has_no_codec(monkeypatch, name):
    [expected] = decode_all(PYDICOM_FILES / f"{name}.dcm")
    monkeypatch.setattr(_pixel_codecs, "_CODECS", {})
    [frame] = decode_all(PYDICOM_FILES / f"{name}.dcm")
    np.testing.assert_array_equal(frame, expected)


def test_unknown_colour_is_an_error_not_a_guess():
    layout = replace(GREY, samples_per_pixel=3, bits_allocated=8, bits_stored=8, photometric_interpretation="HSV")
    with pytest.raises(PixelDataError, match="HSV"):
        decode_frame(bytes(72), layout)


@pytest.mark.parametrize(("allocated", "stored"), [(12, 12), (16, 17), (16, 0), (24, 24)])
def test_bits_that_cannot_be_are_an_error(allocated, stored):
    with pytest.raises(PixelDataError, match="Bits"):
        stored_dtype(replace(GREY, bits_allocated=allocated, bits_stored=stored))


def test_header_without_an_image_has_no_layout():
    assert layout_of(pydicom.dcmread(PYDICOM_FILES / "test-SR.dcm"), EXPLICIT) is None


def test_layout_is_read_from_a_header_that_ends_before_the_pixels(real_data):
    for name, keyword in (("float", "FloatPixelData"), ("double_float", "DoubleFloatPixelData")):
        ds = pydicom.dcmread(real_data / "misc_pydicom" / f"parametric_map_{name}.dcm", stop_before_pixels=True)
        assert layout_of(ds, EXPLICIT).pixel_keyword == keyword
    ds = pydicom.dcmread(PYDICOM_FILES / "CT_small.dcm", stop_before_pixels=True)
    assert layout_of(ds, EXPLICIT) == PixelLayout(EXPLICIT, 128, 128, 1, 16, 16, 1, "MONOCHROME2", 0)


@pytest.mark.parametrize(("value", "frames"), [(b"1A", 0), (b"15", 15), (b"0 ", 1), (b"  ", 1), (b"", 1), (None, 1)])
def test_a_number_of_frames_that_cannot_be_read_is_not_one(value, frames):
    ds = pydicom.Dataset()
    ds.Rows, ds.Columns, ds.BitsAllocated = 4, 5, 16
    if value is not None:
        tag = pydicom.tag.Tag("NumberOfFrames")
        ds[tag] = pydicom.dataelem.RawDataElement(tag, "IS", len(value), value, 0, False, True)
    with reading_quietly():
        assert layout_of(ds, "1.2.840.10008.1.2.1").number_of_frames == frames
