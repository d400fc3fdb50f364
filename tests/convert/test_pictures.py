"""Pictures become Secondary Capture: the picture, whole, and nothing of what a camera wrote beside it."""

import hashlib
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

import researchpacs as rp
from researchpacs.errors import InvalidInputError

A17 = {"PatientID": "A17"}
ROWS, COLUMNS = 45, 64


def colours(dtype=np.uint8) -> np.ndarray:
    """A smooth picture, brighter to the right in red and downwards in green."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    scale = np.iinfo(dtype).max // 255
    return (np.stack([x * 3, y * 5, 255 - x - y], -1) * scale).astype(dtype)


@pytest.fixture
def saved(tmp_path):
    """Save a picture under a name that says nothing, and give its path."""

    def save(image, kind, **options):
        path = tmp_path / f"picture-{len(list(tmp_path.iterdir()))}"
        image = image if isinstance(image, Image.Image) else Image.fromarray(image)
        image.save(path, format=kind, **options)
        return path

    return save


def shown(ds) -> np.ndarray:
    """RGB or grey as pydicom decodes it."""
    from pydicom.pixels import pixel_array

    return pixel_array(ds)


@pytest.mark.parametrize(
    "pixels", [colours(), colours()[..., 0], colours(np.uint16)[..., 0], colours()[..., 0] > 90], ids=str
)
def test_a_png_keeps_every_value(saved, errors_of, pixels):
    (ds,) = rp.to_dicom(saved(pixels, "PNG"), like=None, attributes=A17)
    expected = pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels
    np.testing.assert_array_equal(shown(ds), expected)
    assert errors_of([ds]) == []


def test_a_png_of_48_bits_keeps_all_of_them(tmp_path, errors_of):
    (tmp_path / "deep").write_bytes(imagecodecs.png_encode(colours(np.uint16)))
    (ds,) = rp.to_dicom(tmp_path / "deep", attributes=A17)
    assert ds.BitsStored == 16
    np.testing.assert_array_equal(shown(ds), colours(np.uint16))
    assert errors_of([ds]) == []


def test_palettes_are_resolved(saved):
    palette = Image.fromarray(colours()).quantize(64)
    (ds,) = rp.to_dicom(saved(palette, "PNG"), attributes=A17)
    np.testing.assert_array_equal(shown(ds), np.asarray(palette.convert("RGB")))


def test_what_is_transparent_lies_over_black_and_the_header_says_so(saved):
    alpha = np.full((ROWS, COLUMNS, 1), 255, np.uint8)
    (opaque,) = rp.to_dicom(saved(np.dstack([colours(), alpha]), "PNG"), attributes=A17)
    np.testing.assert_array_equal(shown(opaque), colours())
    assert "black" not in opaque.DerivationDescription
    alpha[: ROWS // 2] = 51
    (half,) = rp.to_dicom(saved(np.dstack([colours(), alpha]), "PNG"), attributes=A17)
    np.testing.assert_array_equal(shown(half)[ROWS // 2 :], colours()[ROWS // 2 :])
    np.testing.assert_allclose(shown(half)[: ROWS // 2], colours()[: ROWS // 2] / 5, atol=0.5)
    assert "black" in half.DerivationDescription


@pytest.mark.parametrize(
    ("subsampling", "photometric"),
    [(0, "YBR_FULL_422"), (1, "YBR_FULL_422"), (2, "YBR_FULL_422"), (None, "MONOCHROME2")],
)
def test_a_baseline_jpeg_keeps_its_compressed_data(saved, errors_of, subsampling, photometric):
    grey = subsampling is None
    options = {} if grey else {"subsampling": subsampling}
    path = saved(colours()[..., 0] if grey else colours(), "JPEG", quality=90, **options)
    (ds,) = rp.to_dicom(path, attributes=A17)
    assert ds.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert ds.PhotometricInterpretation == photometric
    (stream,) = generate_frames(ds.PixelData, number_of_frames=1)
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(stream))), np.asarray(Image.open(path)))
    np.testing.assert_allclose(shown(ds), np.asarray(Image.open(path)), atol=4)
    assert (ds.LossyImageCompression, ds.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert float(ds.LossyImageCompressionRatio) > 1
    assert errors_of([ds]) == []


def test_a_jpeg_coded_in_rgb_says_so(tmp_path, errors_of):
    (tmp_path / "rgb").write_bytes(imagecodecs.jpeg8_encode(colours(), level=95, colorspace="rgb", outcolorspace="rgb"))
    (ds,) = rp.to_dicom(tmp_path / "rgb", attributes=A17)
    assert ds.PhotometricInterpretation == "RGB"
    np.testing.assert_allclose(shown(ds).astype(int), colours(), atol=12)
    assert errors_of([ds]) == []


def test_a_progressive_jpeg_is_decoded_and_stays_lossy(saved, errors_of):
    path = saved(colours(), "JPEG", progressive=True)
    (ds,) = rp.to_dicom(path, attributes=A17)
    assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    np.testing.assert_array_equal(shown(ds), np.asarray(Image.open(path)))
    assert ds.LossyImageCompression == "01"
    assert "decoded" in ds.DerivationDescription
    assert errors_of([ds]) == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_pictures_stand_upright(saved, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (ds,) = rp.to_dicom(saved(colours(), kind, exif=exif), attributes=A17)
    turned = np.rot90(colours(), {3: 2, 6: 3}[orientation])
    assert shown(ds).shape == turned.shape
    np.testing.assert_allclose(shown(ds).astype(int), turned, atol=25)


@pytest.mark.parametrize("progressive", [False, True])
def test_nothing_that_a_camera_wrote_goes_in(saved, written, progressive):
    exif = Image.Exif()
    exif[0x013B], exif[0x010F] = "SECRET-artist", "SECRET-camera"
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 12.0)
    path = saved(colours(), "JPEG", exif=exif, comment=b"SECRET-comment", progressive=progressive)
    path.write_bytes(path.read_bytes() + b"SECRET-trailer")
    assert path.read_bytes().count(b"SECRET") == 4
    made = rp.to_dicom(path, attributes=A17)
    (file,) = written(made).iterdir()
    assert b"SECRET" not in file.read_bytes()
    assert b"Exif" not in file.read_bytes()


def test_the_colour_profile_is_kept(saved):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("JPEG", "PNG"):
        (ds,) = rp.to_dicom(saved(colours(), kind, icc_profile=profile), attributes=A17)
        assert ds.ICCProfile[: len(profile)] == profile


def test_of_a_file_with_several_pictures_the_first_goes_in(saved):
    """Phones append a second picture, of the background or of the other lens."""
    other = Image.fromarray(255 - colours())
    path = saved(colours(), "MPO", save_all=True, append_images=[other])
    made = rp.to_dicom(path, attributes=A17)
    np.testing.assert_allclose(shown(made[0]).astype(int), colours(), atol=25)
    (stream,) = generate_frames(made[0].PixelData, number_of_frames=1)
    assert path.read_bytes().count(b"\xff\xd8\xff") == 2
    assert stream.count(b"\xff\xd8\xff") == 1


@pytest.mark.parametrize("codec", ["ljpeg_encode", "jpeg8_encode"])
def test_jpegs_of_other_kinds_are_refused_by_name(tmp_path, codec):
    deep = colours(np.uint16)[..., 0] >> 4
    options = {"bitspersample": 12} if codec == "ljpeg_encode" else {}
    (tmp_path / "deep").write_bytes(getattr(imagecodecs, codec)(deep, **options))
    with pytest.raises(InvalidInputError, match="12 bits by process SOF"):
        rp.to_dicom(tmp_path / "deep", attributes=A17)


def test_pil_images_and_arrays_are_pictures_too(errors_of):
    for source in (colours(), Image.fromarray(colours()), Image.fromarray(colours()).convert("RGBA")):
        (ds,) = rp.to_dicom(source, modality="XC", description="wound", attributes=A17)
        np.testing.assert_array_equal(shown(ds), colours())
        assert (ds.Modality, ds.SeriesDescription) == ("XC", "wound")
        assert errors_of([ds]) == []


def test_a_picture_joins_the_study_of_a_series(series):
    (ds,) = rp.to_dicom(colours(), like=series)
    assert ds.StudyInstanceUID == series.StudyInstanceUID
    np.testing.assert_array_equal(shown(ds), colours())


def test_a_letter_is_neither_mirrored_nor_turned(saved):

    letter = Image.new("L", (COLUMNS, ROWS))
    ImageDraw.Draw(letter).text((5, 5), "F", fill=255)
    (ds,) = rp.to_dicom(saved(letter, "PNG"), attributes=A17)
    np.testing.assert_array_equal(shown(ds), np.asarray(letter))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_truncated_picture_is_refused(saved, kind, kept):
    path = saved(np.random.default_rng(3).integers(0, 255, (60, 60, 3), np.uint8), kind)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InvalidInputError, match="truncated"):
        rp.to_dicom(path, attributes=A17)


def test_a_decompression_bomb_is_refused_before_it_inflates(tmp_path):
    header = bytearray(imagecodecs.png_encode(np.zeros((4, 4), np.uint8)))
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    import zlib

    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    (tmp_path / "bomb").write_bytes(bytes(header))
    with pytest.raises(InvalidInputError, match="larger than"):
        rp.to_dicom(tmp_path / "bomb", attributes=A17)


@pytest.mark.parametrize(
    ("mode", "kind", "words"), [("CMYK", "JPEG", "CMYK"), ("RGB", "GIF", "GIF"), ("RGB", "TIFF", "TIFF")]
)
def test_other_pictures_are_refused_by_name(saved, mode, kind, words):
    with pytest.raises(InvalidInputError, match=words):
        rp.to_dicom(saved(Image.new(mode, (8, 8)), kind), attributes=A17)


def test_animations_are_refused(saved):
    frames = [Image.fromarray(np.full((9, 9, 3), k, np.uint8)) for k in (0, 90, 200)]
    for kind in ("GIF", "PNG"):
        with pytest.raises(InvalidInputError, match=r"GIF|animated"):
            rp.to_dicom(saved(frames[0], kind, save_all=True, append_images=frames[1:]), attributes=A17)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8)])
def test_arrays_that_are_no_pictures_are_refused(pixels):
    with pytest.raises(InvalidInputError):
        rp.to_dicom(pixels, attributes=A17)


def test_the_same_picture_is_the_same_instance(saved):
    path = saved(colours(), "JPEG")
    first, second = (rp.to_dicom(path, attributes=A17)[0] for _ in range(2))
    assert first == second
    assert first.SOPInstanceUID == second.SOPInstanceUID
    other = rp.to_dicom(path, description="other", attributes=A17)[0]
    assert other.SOPInstanceUID != first.SOPInstanceUID
    assert hashlib.sha256(other.PixelData).digest() == hashlib.sha256(first.PixelData).digest()
