"""Colour comes out as RGB, whatever model, order and depth it was written in."""

import io
import random
import sys
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.pixels import get_decoder
from pydicom.pixels.encoders import RLELosslessEncoder
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import UID

from researchpacs.dicom.pixels import PixelLayout, decode_frame
from researchpacs.errors import PixelDataError

EXPLICIT, RLE, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.8.1"
JPEG, LOSSLESS, JPEG_LS, J2K, J2K_LOSSY, HTJ2K = (
    f"1.2.840.10008.1.2.4.{tail}" for tail in ("50", "70", "80", "90", "91", "201")
)
RNG = np.random.default_rng(9)
RGB8 = RNG.integers(0, 256, (24, 40, 3)).astype(np.uint8)
RGB16 = RNG.integers(0, 65536, (24, 40, 3)).astype(np.uint16)
SMOOTH = np.stack(np.broadcast_arrays(*np.ogrid[0:240:24j, 0:240:40j], 99), axis=-1).astype(np.uint8)


def layout(values, syntax, photometric="RGB", planar=0):
    bits = 8 * values.itemsize
    return PixelLayout(syntax, *values.shape[:2], 3, bits, bits, 0, photometric, planar)


def item(data):
    return b"\xfe\xff\x00\xe0" + (len(data) + len(data) % 2).to_bytes(4, "little") + data + b"\0" * (len(data) % 2)


def rle(values):
    return RLELosslessEncoder.encode(
        values.tobytes(), rows=values.shape[0], columns=values.shape[1], samples_per_pixel=3, number_of_frames=1,
        bits_allocated=8 * values.itemsize, bits_stored=8 * values.itemsize, pixel_representation=0,
        planar_configuration=0, photometric_interpretation="RGB",
    )  # fmt: skip


def jpeg(values, **options):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


@pytest.mark.parametrize("values", [RGB8, RGB16], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (RLE, rle),
        (JPEG_LS, imagecodecs.jpegls_encode),
        (J2K, lambda one: imagecodecs.jpeg2k_encode(one, codecformat="J2K", reversible=True, level=0)),
        (J2K, lambda one: imagecodecs.jpeg2k_encode(one, codecformat="J2K", reversible=True, level=0, mct=False)),
        (HTJ2K, lambda one: imagecodecs.htj2k_encode(one, reversible=True)),
    ],
    ids=["RLE", "JPEG-LS", "J2K", "J2K untransformed", "HTJ2K"],
)
def test_lossless_colour_comes_back_as_it_was(values, syntax, encode):
    photometric = "YBR_RCT" if syntax in (J2K, HTJ2K) else "RGB"
    for planar in (0, 1):  # of compressed frames the codec tells the order
        frame = decode_frame(item(encode(values)), layout(values, syntax, photometric, planar))
        assert frame.dtype == values.dtype
        np.testing.assert_array_equal(frame, values)


@pytest.mark.parametrize("values", [RGB8, RGB16], ids=["8 bits", "16 bits"])
def test_planes_of_colour_are_put_together(values):
    for planar, data in ((0, values), (1, values.transpose(2, 0, 1))):
        told = layout(values, EXPLICIT, planar=planar)
        np.testing.assert_array_equal(decode_frame(data.tobytes(), told), values)


@pytest.mark.parametrize(
    ("syntax", "encode"), [(RLE, rle), (JPEG_LS, imagecodecs.jpegls_encode), (EXPLICIT, None)],
    ids=["RLE", "JPEG-LS", "native"],
)  # fmt: skip
def test_luminance_and_chroma_are_converted_as_pydicom_converts_them(syntax, encode):
    told = layout(RGB8, syntax, "YBR_FULL")
    data = RGB8.tobytes() if encode is None else item(encode(RGB8))
    np.testing.assert_array_equal(decode_frame(data, told), convert_color_space(RGB8, "YBR_FULL", "RGB"))


def test_subsampled_native_colour_is_what_pydicom_makes_of_it():
    told = layout(RGB8, EXPLICIT, "YBR_FULL_422")
    data = RGB8.tobytes()[: told.frame_bits // 8]
    expected, _ = get_decoder(UID(EXPLICIT)).as_array(
        data, rows=24, columns=40, number_of_frames=1, samples_per_pixel=3, photometric_interpretation="YBR_FULL_422",
        bits_allocated=8, bits_stored=8, pixel_representation=0, planar_configuration=0, pixel_keyword="PixelData",
        pixel_vr="OB",
    )  # fmt: skip
    np.testing.assert_array_equal(decode_frame(data, told), expected)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_jpeg_colour_is_what_pillow_makes_of_it(subsampling, photometric):
    data = jpeg(SMOOTH, subsampling=subsampling)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode_frame(item(data), layout(SMOOTH, JPEG, photometric)), expected)


def marked(data, transform):
    """With Adobe's marker, or with none at all, where JFIF's was."""
    length = int.from_bytes(data[4:6], "big")
    adobe = b"" if transform is None else b"\xff\xee\x00\x0eAdobe\x00\x64" + bytes(4) + bytes([transform])
    assert data[2:4] == b"\xff\xe0"
    return data[:2] + adobe + data[4 + length :]


@pytest.mark.parametrize("transform", [None, 0, 1])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
def test_markers_and_header_say_whether_jpeg_was_transformed(transform, photometric):
    """pydicom converts YBR_FULL_422 with Adobe's marker twice; what the header says is what the encoder was given."""
    sound = jpeg(SMOOTH, subsampling="4:4:4")
    data = marked(sound, transform)
    image = Image.open(io.BytesIO(sound))
    if photometric == "RGB" and transform != 1:
        image.draft("YCbCr", None)
    expected = np.asarray(image)
    np.testing.assert_array_equal(decode_frame(item(data), layout(SMOOTH, JPEG, photometric)), expected)
    if photometric == "RGB":
        told = {
            "rows": 24, "columns": 40, "number_of_frames": 1, "samples_per_pixel": 3, "bits_allocated": 8,
            "bits_stored": 8, "pixel_representation": 0, "planar_configuration": 0, "pixel_keyword": "PixelData",
            "pixel_vr": "OB", "photometric_interpretation": photometric,
        }  # fmt: skip
        source = b"\xfe\xff\x00\xe0" + bytes(4) + item(data)
        theirs, _ = get_decoder(UID(JPEG)).as_array(source, index=0, decoding_plugin="pillow", **told)
        np.testing.assert_array_equal(theirs, expected)


@pytest.mark.parametrize(
    ("photometric", "samples"), [("CMYK", 4), ("ARGB", 4), ("HSV", 3), ("YBR_PARTIAL_422", 3), ("MONOCHROME2", 3)]
)
@pytest.mark.parametrize("syntax", [EXPLICIT, RLE, JPEG])
def test_colour_that_nobody_knows_is_refused(photometric, samples, syntax):
    values = np.zeros((24, 40, samples), np.uint8)
    told = replace(layout(values, syntax, photometric), samples_per_pixel=samples)
    data = {EXPLICIT: values.tobytes(), RLE: item(rle(RGB8)), JPEG: item(jpeg(SMOOTH))}[syntax]
    with pytest.raises(PixelDataError, match=UID(syntax).name.split()[0]):
        decode_frame(data, told)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("values", [RGB16[..., 0] >> 4, RGB8], ids=["grey", "colour"])
def test_a_frame_on_which_openjph_gives_up_is_never_half_a_frame(values, monkeypatch):
    """imagecodecs tells of it on `sys.unraisablehook` alone."""
    given_up: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", given_up.append)
    values = np.ascontiguousarray(values)
    sound = imagecodecs.htj2k_encode(values, reversible=True)
    told = layout(np.empty((*values.shape[:2], 3), values.dtype), HTJ2K, "YBR_RCT")
    told = told if values.ndim == 3 else replace(told, samples_per_pixel=1, photometric_interpretation="MONOCHROME2")
    seen = 0
    for seed in range(400):
        chance = random.Random(seed)
        broken = bytearray(sound)
        for _ in range(3):
            broken[chance.randrange(120, len(broken))] = chance.randrange(256)
        given_up.clear()
        try:
            frame = decode_frame(item(bytes(broken)), told)
        except PixelDataError:
            seen += bool(given_up)
            continue
        if given_up:
            seen += 1
            np.testing.assert_array_equal(frame, imagecodecs.jpeg2k_decode(bytes(broken)))
    assert seen, "OpenJPH gave up on none of them"
