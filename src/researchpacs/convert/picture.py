"""Pictures as Secondary Capture Image (PS3.3 A.8.1): PNG, JPEG, PIL images, arrays of grey values or RGB.

Only the picture goes in: no EXIF, no text chunk. A baseline JPEG keeps its compressed data; everything else is written
without compression. What was ever compressed with loss says so.
"""

import warnings
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage

from researchpacs.convert._jpeg import Jpeg, read_jpeg
from researchpacs.errors import InvalidInputError, ResearchPacsError

__all__ = ["array_draft", "image_draft", "picture_draft"]

_MAX_PIXELS = 1 << 27
_TOO_LARGE = "the picture is larger than 2^27 pixels"
_DECODED = (0xC0, 0xC1, 0xC2)
"""Frame headers of what Pillow decodes: baseline, extended sequential and progressive, with Huffman codes."""
_ORIENTATION = 0x0112
_RGB_PROFILE = b"RGB "
_MAX_PROFILE_BYTES = 1 << 20
_OVER_BLACK = "; what is transparent laid over black"


def picture_draft(content: bytes, *, keep_jpeg: bool = True) -> tuple[Dataset, str]:
    """Make an image of a PNG or JPEG.

    Parameters
    ----------
    content
        The file.
    keep_jpeg
        Keep the compressed data of a baseline JPEG that stands upright; else decode it.

    Returns
    -------
    ds
        The image without patient and UIDs.
    transfer_syntax
        Empty for explicit little endian.

    Raises
    ------
    InvalidInputError
        Damaged, animated, CMYK, or larger than 2^27 pixels.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of what it mends, and of pictures greater than common ones, which have a limit of their own.
            warnings.simplefilter("ignore")
            if content.startswith(b"\xff\xd8"):
                return _of_jpeg(content, keep=keep_jpeg)
            return _of_png(content), ""
    except ResearchPacsError:
        raise
    except Image.DecompressionBombError as error:
        raise InvalidInputError(_TOO_LARGE) from error
    except Exception as error:
        raise InvalidInputError("the picture is damaged or truncated: it cannot be read as PNG or JPEG") from error


def image_draft(image: Image.Image, origin: str = "a PIL image") -> Dataset:
    """Make an image of a picture as Pillow holds it, turned upright by its EXIF orientation.

    Raises
    ------
    InvalidInputError
        Animated, larger than 2^27 pixels, or in a mode other than grey, palette and RGB.
    """
    _require_one(image)
    profile = image.info.get("icc_profile") or b""
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "P" or "transparency" in upright.info:
        upright = upright.convert("RGBA")
    if upright.mode not in ("1", "L", "LA", "RGB", "RGBA", "I", "I;16", "I;16L", "I;16B", "I;16N"):
        raise InvalidInputError(f"a picture in mode {upright.mode}; convert it to RGB or grey first")
    pixels = np.asarray(upright.convert("L") if upright.mode == "1" else upright)
    if upright.mode == "I":
        if pixels.size and not 0 <= pixels.min() <= pixels.max() <= 0xFFFF:
            raise InvalidInputError("a picture with values outside of 0 to 65,535")
        pixels = pixels.astype(np.uint16)
    return _of_channels(pixels, origin, profile)


def array_draft(pixels: NDArray[Any], origin: str = "an array") -> Dataset:
    """Make an image of (rows, columns) grey values or (rows, columns, 3) RGB, uint8 or uint16.

    Raises
    ------
    InvalidInputError
        Another shape or type.
    """
    rgb = pixels.ndim == 3 and pixels.shape[2] == 3
    if not (pixels.ndim == 2 or rgb) or pixels.dtype.name not in ("uint8", "uint16") or not pixels.size:
        raise InvalidInputError(
            f"a picture is uint8 or uint16, (rows, columns) or (rows, columns, 3); this array is {pixels.dtype} of "
            f"shape {pixels.shape}. A volume takes affine_lps= or spacing="
        )
    if max(pixels.shape[:2]) > 0xFFFF:
        raise InvalidInputError("a picture has at most 65,535 rows and columns")
    ds = _image(origin)
    bits = pixels.dtype.itemsize * 8
    _describe(ds, pixels.shape[0], pixels.shape[1], "RGB" if rgb else "MONOCHROME2", bits)
    value = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)).tobytes()
    ds.PixelData = value + b"\0" * (len(value) % 2)
    ds["PixelData"].VR = "OW" if bits == 16 else "OB"
    return ds


def _of_jpeg(content: bytes, *, keep: bool) -> tuple[Dataset, str]:
    jpeg = read_jpeg(content)
    if len(jpeg.components) == 4:
        raise InvalidInputError("a JPEG in CMYK, made for print; convert it to RGB first")
    if jpeg.process not in _DECODED or jpeg.precision != 8:
        raise InvalidInputError(
            f"a JPEG of {jpeg.precision} bits by process SOF{jpeg.process & 0xF}; baseline and progressive ones of 8 "
            "bits are taken"
        )
    orientation = Image.open(BytesIO(content), formats=("JPEG",)).getexif().get(_ORIENTATION, 1)
    # Decoded from the stream alone: the file may hold further pictures. It proves that the data is whole, too.
    image = Image.open(BytesIO(jpeg.stream), formats=("JPEG",))
    _require_one(image)
    image.load()
    if keep and jpeg.is_baseline and orientation not in range(2, 9):
        ds = _encapsulated(jpeg)
        syntax = str(JPEGBaseline8Bit)
    else:
        image.getexif()[_ORIENTATION] = orientation
        ds, syntax = image_draft(image, "a JPEG file, decoded"), ""
        _add_profile(ds, jpeg.icc_profile)
    ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
    bare = jpeg.rows * jpeg.columns * len(jpeg.components)
    ds.LossyImageCompressionRatio = f"{bare / len(jpeg.stream):.4g}"
    return ds, syntax


def _encapsulated(jpeg: Jpeg) -> Dataset:
    ds = _image("a JPEG file, its compressed data kept")
    _describe(ds, jpeg.rows, jpeg.columns, jpeg.photometric_interpretation, 8)
    ds.PixelData = encapsulate([jpeg.stream])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    _add_profile(ds, jpeg.icc_profile)
    return ds


def _of_png(content: bytes) -> Dataset:
    image = Image.open(BytesIO(content), formats=("PNG",))
    _require_one(image)
    image.load()
    depth, kind = content[24], content[25]
    if depth == 16 and kind != 0:
        # Pillow would keep the upper eight bits only.
        from imagecodecs import png_decode

        return _of_channels(png_decode(content), "a PNG file", image.info.get("icc_profile") or b"")
    return image_draft(image, "a PNG file")


def _of_channels(pixels: NDArray[Any], origin: str, profile: bytes) -> Dataset:
    """Resolve an alpha channel, and make an image of what is left."""
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        alpha, pixels = pixels[..., -1:], pixels[..., :-1]
        most = np.iinfo(pixels.dtype).max
        if (alpha != most).any():
            origin += _OVER_BLACK
            pixels = ((pixels.astype(np.uint64) * alpha + most // 2) // most).astype(pixels.dtype)
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    ds = array_draft(pixels, origin)
    _add_profile(ds, profile)
    return ds


def _require_one(image: Image.Image) -> None:
    if image.width * image.height > _MAX_PIXELS:
        raise InvalidInputError(_TOO_LARGE)
    if getattr(image, "n_frames", 1) > 1:
        raise InvalidInputError("an animated picture; save one frame of it, or make a video")


def _image(origin: str) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.Modality, ds.ConversionType = SecondaryCaptureImageStorage, "OT", "WSD"
    ds.ImageType, ds.PatientOrientation = ["DERIVED", "SECONDARY"], None
    ds.DerivationDescription = f"Converted from {origin}"
    return ds


def _describe(ds: Dataset, rows: int, columns: int, photometric: str, bits: int) -> None:
    ds.Rows, ds.Columns, ds.PhotometricInterpretation = rows, columns, photometric
    ds.SamplesPerPixel = 1 if photometric == "MONOCHROME2" else 3
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits, bits - 1, 0


def _add_profile(ds: Dataset, profile: bytes) -> None:
    """Keep what says which red is meant (PS3.3 C.11.15)."""
    if ds.SamplesPerPixel == 3 and profile[16:20] == _RGB_PROFILE and len(profile) <= _MAX_PROFILE_BYTES:
        ds.ICCProfile = profile + b"\0" * (len(profile) % 2)
