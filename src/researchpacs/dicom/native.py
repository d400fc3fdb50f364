"""Write an instance anew in Explicit VR Little Endian, its pixels decoded (PS3.5 A.2): what every reader can read."""

from collections.abc import Iterator
from io import BytesIO

import numpy as np
from pydicom import DataElement, Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian

from researchpacs.dicom.encapsulation import frame_ranges
from researchpacs.dicom.pixels import PixelLayout, decode_frame, decode_instance, layout_of
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import PixelDataError

__all__ = ["as_explicit_little_endian", "native_bytes"]

_LARGEST = (1 << 32) - 2
"""Bytes that an element of defined length can have (PS3.5 7.1)."""
_OFFSET_TABLES = (0x7FE00001, 0x7FE00002, 0x7FE00003)
_WORDS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


def as_explicit_little_endian(file: bytes, *, header_length: int, transfer_syntax_uid: str) -> bytes:
    """Transcode a whole instance; its values and its identity stay.

    Parameters
    ----------
    file
        The whole file, which has passed `researchpacs.dicom.scan.scan`.
    header_length, transfer_syntax_uid
        As the scan found them.

    Raises
    ------
    PixelDataError
        Its pixels cannot be decoded here, or its values cannot be written.
    """
    if transfer_syntax_uid == ExplicitVRLittleEndian and file[128:132] == b"DICM":
        return file
    with reading_quietly():
        ds = dcmread(BytesIO(file), force=True)
        layout = layout_of(ds, transfer_syntax_uid)
        if layout is not None and any(tag in ds for tag in _PIXELS):
            _decode_pixels(ds, file, header_length, layout)
        if transfer_syntax_uid == ExplicitVRBigEndian:
            _swap_words(ds)
        return _written(ds)


def native_bytes(frame: np.ndarray, layout: PixelLayout) -> bytes:
    """A decoded frame as native little endian pixel data has it; single bits are packed."""
    if layout.bits_allocated == 1:
        return np.packbits(frame.reshape(-1), bitorder="little").tobytes()
    return frame.astype(frame.dtype.newbyteorder("<"), copy=False).tobytes()


def _decode_pixels(ds: Dataset, file: bytes, header_length: int, layout: PixelLayout) -> None:
    if layout.is_native and layout.transfer_syntax_uid != ExplicitVRBigEndian:
        return
    if layout.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        return
    size = layout.rows * layout.columns * layout.samples_per_pixel * layout.number_of_frames * layout.bits_allocated
    if size // 8 > _LARGEST:
        raise PixelDataError("the decoded pixels would be longer than a native element can be; ask for them by frames")
    if layout.bits_allocated == 1:
        bits = np.concatenate([frame.reshape(-1) for frame in _frames(file, header_length, layout)])
        value = np.packbits(bits, bitorder="little").tobytes()
    else:
        value = b"".join(native_bytes(frame, layout) for frame in _frames(file, header_length, layout))
    for tag in _OFFSET_TABLES:
        ds.pop(tag, None)
    if layout.samples_per_pixel == 3:
        # Decoding has undone the colour model and the order of samples.
        ds.PhotometricInterpretation, ds.PlanarConfiguration = "RGB", 0
    vr = {"FloatPixelData": "OF", "DoubleFloatPixelData": "OD"}.get(layout.pixel_keyword)
    vr = vr or ("OW" if layout.bits_allocated > 8 else "OB")
    setattr(ds, layout.pixel_keyword, None)
    element = ds[layout.pixel_keyword]
    ds[element.tag] = DataElement(element.tag, vr, value + b"\0" * (len(value) % 2))
    ds[element.tag].is_undefined_length = False


def _frames(file: bytes, header_length: int, layout: PixelLayout) -> Iterator[np.ndarray]:
    def read(offset: int, length: int) -> bytes:
        return file[offset : offset + length]

    ranges = frame_ranges(read, header_length, len(file), layout)
    for index in range(layout.number_of_frames):
        if ranges is None:
            yield decode_instance(file, index, layout)
        else:
            offset, length = ranges[index]
            yield decode_frame(memoryview(file)[offset : offset + length], layout)


def _swap_words(ds: Dataset) -> None:
    """Turn big endian words in byte strings round; pydicom does so for numbers only."""
    for tag in list(ds.keys()):
        element = ds[tag]
        if element.VR == "SQ":
            for item in element.value:
                _swap_words(item)
        elif int(tag) not in _PIXELS and element.VR in _WORDS and isinstance(element.value, bytes):
            width = _WORDS[element.VR]
            whole = element.value[: len(element.value) // width * width]
            element.value = np.frombuffer(whole, f">u{width}").astype(f"<u{width}").tobytes()


def _written(ds: Dataset) -> bytes:
    plain = Dataset()
    for tag in ds.keys():  # noqa: SIM118 - iterating a Dataset gives its elements
        plain[tag] = ds[tag]
    plain.file_meta = ds.file_meta
    plain.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    try:
        plain.save_as(buffer, enforce_file_format=True)
    except Exception as error:
        # The message may quote a value, so only its kind is told.
        raise PixelDataError(
            f"a value of the instance cannot be written anew ({type(error).__name__}); ask for it as it is stored"
        ) from None
    return buffer.getvalue()
