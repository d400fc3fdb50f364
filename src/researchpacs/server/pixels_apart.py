"""Large instances are read and written without their pixels, which go from file to file as they are."""

from collections.abc import Collection, Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from pydicom import Dataset, dcmread

from researchpacs.archive import Stored
from researchpacs.dicom.encapsulation import pixels_end
from researchpacs.dicom.pixels import layout_of
from researchpacs.errors import PixelDataError, UnsupportedError

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["pixels_of", "read_apart"]

SMALL = 32 << 20
"""Bytes of pixels that are read with the rest."""
MOST_BYTES = 256 << 20
"""Of an instance whose pixels cannot stay as they are, and of any header."""
_CHUNK = 1 << 20
_PIXELS = 0x7FE00000


def read_apart(pacs: "Pacs", stored: Stored, touched: Collection[int] = ()) -> tuple[Dataset, bool]:
    """Read an instance, without its pixels where these are many and the last that stands in it.

    Parameters
    ----------
    touched
        Tags that will be changed. Where one is of the pixels, or stands behind them, all is read.

    Returns
    -------
    ds, apart
        Whether the pixels are left out; `pixels_of` has them.

    Raises
    ------
    UnsupportedError
        All would have to be read, and is too much.
    """
    large = stored.size - stored.header_length > SMALL and stored.header_length <= MOST_BYTES
    if large and all(tag < _PIXELS for tag in touched):
        ds = dcmread(BytesIO(pacs.archive.read(stored.key, 0, stored.header_length)), force=True)
        if _is_last(pacs, stored, ds):
            return ds, True
    if stored.size > MOST_BYTES:
        raise UnsupportedError(
            f"an instance of more than {MOST_BYTES} bytes is changed only where its pixels stay as they are and stand "
            "at its end"
        )
    return dcmread(BytesIO(pacs.archive.read(stored.key)), force=True), False


def pixels_of(pacs: "Pacs", stored: Stored) -> Iterator[bytes]:
    """The element that holds the pixels, as it stands at the end of the file, piece by piece."""
    for offset in range(stored.header_length, stored.size, _CHUNK):
        yield pacs.archive.read(stored.key, offset, min(_CHUNK, stored.size - offset))


def _is_last(pacs: "Pacs", stored: Stored, ds: Dataset) -> bool:
    def read(offset: int, length: int) -> bytes:
        return pacs.archive.read(stored.key, offset, length)

    layout = layout_of(ds, stored.transfer_syntax_uid)
    try:
        return layout is not None and pixels_end(read, stored.header_length, stored.size, layout) == stored.size
    except PixelDataError:
        return False
