"""Frames of pixel data from bytes to arrays of stored values (PS3.5 8, PS3.3 C.7.6.3).

Grey frames are ``(rows, columns)``, colour frames ``(rows, columns, 3)`` in RGB. Stored values are what the Modality
LUT takes: bits beyond Bits Stored are no part of them, and palette indices stay indices.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    import numpy as np
    from pydicom import Dataset

__all__ = [
    "PixelLayout",
    "decode_frame",
    "decode_frame_into",
    "decode_frames",
    "decode_instance",
    "layout_of",
    "require_plausible",
    "stored_dtype",
]

_NATIVE = frozenset(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"))
_LARGE_FRAME = 256 << 20
_MOST_EXPANSION = 1000
_FLOAT_KEYWORDS = {"FloatPixelData": ("float32", 32), "DoubleFloatPixelData": ("float64", 64)}


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the pixels of an instance are written: everything a decoder must know (Image Pixel Module)."""

    transfer_syntax_uid: str
    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    pixel_representation: int
    """0 unsigned, 1 two's complement."""
    photometric_interpretation: str
    planar_configuration: int
    number_of_frames: int = 1
    pixel_keyword: str = "PixelData"
    """PixelData, FloatPixelData or DoubleFloatPixelData."""
    high_bit: int | None = None
    """High Bit where it is not Bits Stored - 1, as the Standard has demanded since it retired other values."""
    table_bits: int | None = None
    """Bits of what stored values are looked up as: the palette's colours, or the Modality LUT's entries; 0 where the
    table does not tell them, None where there is no table."""

    @property
    def is_palette(self) -> bool:
        """Whether stored values are indices of colours."""
        return self.photometric_interpretation == "PALETTE COLOR"

    @property
    def highest_bit(self) -> int:
        """Position of a stored value's most significant bit, from 0."""
        return self.bits_stored - 1 if self.high_bit is None else self.high_bit

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """``(rows, columns)`` or ``(rows, columns, 3)``: the shape of a decoded frame."""
        shape = (self.rows, self.columns)
        return shape if self.samples_per_pixel == 1 else (*shape, self.samples_per_pixel)

    @property
    def frame_bits(self) -> int:
        """Bits of a native frame; two pixels share their chroma in YBR_FULL_422 (PS3.3 C.7.6.3.1.2)."""
        bits = self.rows * self.columns * self.samples_per_pixel * self.bits_allocated
        return bits * 2 // 3 if self.photometric_interpretation == "YBR_FULL_422" else bits

    @property
    def is_native(self) -> bool:
        """Whether frames are written without compression, so that a frame is a range of bare bytes."""
        return self.transfer_syntax_uid in _NATIVE


def layout_of(ds: "Dataset | Mapping[str, Any]", transfer_syntax_uid: str) -> PixelLayout | None:
    """Read the layout from a header; pixel data need not be in it.

    Returns
    -------
    layout
        As declared, not checked against anything; without frames where their number cannot be read. None where Rows,
        Columns or BitsAllocated is missing: no image.
    """
    numbers = {keyword: _number(ds, keyword) for keyword in ("Rows", "Columns", "BitsAllocated")}
    rows, columns, bits_allocated = numbers.values()
    if not (rows and columns and bits_allocated):
        return None
    bits_stored = _number(ds, "BitsStored") or bits_allocated
    high_bit = _number(ds, "HighBit")
    return PixelLayout(
        transfer_syntax_uid=str(transfer_syntax_uid),
        rows=rows,
        columns=columns,
        samples_per_pixel=_number(ds, "SamplesPerPixel") or 1,
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        pixel_representation=_number(ds, "PixelRepresentation") or 0,
        photometric_interpretation=str(ds.get("PhotometricInterpretation") or "MONOCHROME2"),
        planar_configuration=_number(ds, "PlanarConfiguration") or 0,
        number_of_frames=_number_of_frames(ds),
        pixel_keyword=_pixel_keyword(ds, bits_allocated),
        high_bit=None if high_bit is None or high_bit == bits_stored - 1 else high_bit,
        table_bits=_table_bits(ds),
    )


def stored_dtype(layout: PixelLayout) -> "np.dtype[np.generic]":
    """Type of a decoded frame's values, in native byte order; bit-packed ones become uint8.

    Raises
    ------
    PixelDataError
        No frame is written in so many bits.
    """
    import numpy as np

    from researchpacs.errors import PixelDataError

    if layout.pixel_keyword in _FLOAT_KEYWORDS:
        name, bits = _FLOAT_KEYWORDS[layout.pixel_keyword]
    else:
        bits = layout.bits_allocated
        name = f"{'int' if layout.pixel_representation else 'uint'}{bits}" if bits != 1 else "uint8"
    if bits != layout.bits_allocated or bits not in (1, 8, 16, 32, 64):
        raise PixelDataError(
            f"BitsAllocated is {layout.bits_allocated} where {layout.pixel_keyword} has 1, 8, 16, 32 or 64"
        )
    if not 1 <= layout.bits_stored <= layout.highest_bit + 1 <= bits:
        raise PixelDataError(
            f"BitsStored is {layout.bits_stored} and HighBit {layout.highest_bit} where BitsAllocated is {bits}"
        )
    return np.dtype(name)


def require_plausible(layout: PixelLayout, length: int) -> None:
    """Refuse a frame that is declared far larger than its bytes can make it, before anything is allocated for it.

    Parameters
    ----------
    layout
        How it is written.
    length
        Of its bytes.

    Raises
    ------
    PixelDataError
        Small frames may be any, for a blank one takes next to nothing; a large one is over 256 MB.
    """
    size = layout.frame_bits // 8
    if size > _LARGE_FRAME and size > length * _MOST_EXPANSION:
        from researchpacs.errors import PixelDataError

        raise PixelDataError(
            f"{length} bytes are said to be a frame of {layout.rows} rows and {layout.columns} columns, {size} bytes; "
            "Rows, Columns or the frame is wrong"
        )


def decode_frame(data: bytes | memoryview, layout: PixelLayout) -> "np.ndarray":
    """Decode one frame.

    Parameters
    ----------
    data
        The bytes that `researchpacs.dicom.encapsulation.frame_ranges` gives for the frame.
    layout
        How they are written.

    Returns
    -------
    frame
        Stored values, ``(rows, columns)`` or ``(rows, columns, 3)`` in RGB; writable; dtype as `stored_dtype` says.

    Raises
    ------
    PixelDataError
        The bytes are not a frame of this layout, or nothing here decodes its transfer syntax; the message names it.
    """
    import numpy as np

    dtype = stored_dtype(layout)
    require_plausible(layout, len(data))
    frame = np.empty(layout.frame_shape, dtype)
    decode_frame_into(data, layout, frame)
    return frame


def decode_frame_into(data: bytes | memoryview, layout: PixelLayout, out: "np.ndarray") -> None:
    """Decode one frame into an array, such as a slice of a volume; without a copy between where the codec allows.

    Parameters
    ----------
    data, layout
        As for `decode_frame`.
    out
        ``layout.frame_shape``, of the dtype that `stored_dtype` says or of one that holds all its values.

    Raises
    ------
    PixelDataError
        As for `decode_frame`; ``out`` is then undefined.
    TypeError
        ``out`` cannot hold the values.
    ValueError
        ``out`` has another shape.
    """
    import numpy as np

    from researchpacs.dicom import _pixel_codecs, _pixel_native

    dtype = stored_dtype(layout)
    require_plausible(layout, len(data))
    if out.shape != layout.frame_shape:
        raise ValueError(f"a frame is {layout.frame_shape}, the array to decode into {out.shape}")
    if not np.can_cast(dtype, out.dtype, "safe"):
        raise TypeError(f"stored values are {dtype}, which {out.dtype} cannot hold")
    target = out if out.dtype == dtype else np.empty(layout.frame_shape, dtype)
    if layout.is_native:
        _pixel_native.decode_into(data, layout, target)
    else:
        _pixel_codecs.decode_into(data, layout, target)
    if target is not out:
        out[...] = target


def decode_instance(file_bytes: bytes, index: int, layout: PixelLayout) -> "np.ndarray":
    """Decode one frame of an instance whose frames cannot be read by themselves: deflated or not in whole bytes.

    Parameters
    ----------
    file_bytes
        The whole file, which has passed `researchpacs.dicom.scan.scan`.
    index
        Zero-based frame.
    layout
        How the pixels are written.

    Returns
    -------
    frame
        As from `decode_frame`.

    Raises
    ------
    PixelDataError
        As for `decode_frame`.
    """
    from researchpacs.dicom import _pixel_instance

    return next(_pixel_instance.decode(file_bytes, [index], layout))


def decode_frames(file_bytes: bytes, layout: PixelLayout) -> "Iterator[np.ndarray]":
    """Decode all frames of an instance as `decode_instance` does one, which is read once for all."""
    from researchpacs.dicom import _pixel_instance

    return _pixel_instance.decode(file_bytes, range(layout.number_of_frames), layout)


def _number(ds: "Dataset | Mapping[str, Any]", keyword: str) -> int | None:
    """Read a number; what is none counts as absent, as the scan has noted it."""
    value: Any = ds.get(keyword)
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _table_bits(ds: "Dataset | Mapping[str, Any]") -> int | None:
    """Read how wide the entries of the image's table are, from its descriptor (PS3.3 C.7.6.3.1.5, C.11.1.1)."""
    from researchpacs.dicom.attributes import items_of, numbers_of

    descriptor: tuple[float, ...] | None
    if ds.get("PhotometricInterpretation") == "PALETTE COLOR":
        descriptor = numbers_of(ds, "RedPaletteColorLookupTableDescriptor", 3)
    elif "ModalityLUTSequence" in ds:
        items = items_of(ds, "ModalityLUTSequence")
        descriptor = numbers_of(items[0], "LUTDescriptor", 3) if items else None
    else:
        return None
    return int(descriptor[2]) if descriptor is not None and 1 <= descriptor[2] <= 16 else 0


def _number_of_frames(ds: "Dataset | Mapping[str, Any]") -> int:
    """One where it is absent, empty or zero; none where it cannot be read, for one of many would pass for all."""
    frames = _number(ds, "NumberOfFrames")
    return frames or 1 if frames is not None or ds.get("NumberOfFrames") in (None, "") else 0


def _pixel_keyword(ds: "Dataset | Mapping[str, Any]", bits_allocated: int) -> str:
    """Tell which element holds the pixels, from a header that may end before it.

    Images with float pixels have no Bits Stored (PS3.3 C.7.6.24, C.7.6.25).
    """
    for keyword in ("PixelData", *_FLOAT_KEYWORDS):
        if keyword in ds:
            return keyword
    if ds.get("BitsStored") is None:
        for keyword, (_, bits) in _FLOAT_KEYWORDS.items():
            if bits == bits_allocated:
                return keyword
    return "PixelData"
