"""A file seen through a moving window of bytes, so that values nobody wants are never read."""

from typing import BinaryIO

from researchpacs.errors import InvalidInputError

__all__ = ["Window"]

BLOCK_BYTES = 16_384


class Window:
    """Bytes of a seekable file, read in blocks on demand.

    Parameters
    ----------
    file
        Seekable, binary; only its reading position changes.

    Attributes
    ----------
    data, start
        The block held now and the offset of its first byte in the file. Hot loops read them directly and call
        `hold` when they run out.
    size
        Bytes of the whole file.
    """

    __slots__ = ("_file", "data", "size", "start")

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, 2)
        self.start = 0
        file.seek(0)
        self.data = file.read(BLOCK_BYTES)

    def hold(self, offset: int, length: int) -> int:
        """Have ``length`` bytes from ``offset`` on in `data`; returns the index of the first.

        Raises
        ------
        InvalidInputError
            The file does not have that many bytes.
        """
        index = offset - self.start
        if index < 0 or index + length > len(self.data):
            self._file.seek(offset)
            self.data = self._file.read(max(length, BLOCK_BYTES))
            self.start = offset
            index = 0
            if len(self.data) < length:
                raise InvalidInputError(
                    f"truncated: the file ends at byte {offset + len(self.data)}, {length} bytes expected at {offset}"
                )
        return index

    def take(self, offset: int, length: int) -> bytes:
        """Read ``length`` bytes from ``offset`` on, all of them."""
        index = self.hold(offset, length)
        return self.data[index : index + length]

    def is_zero(self, offset: int, end: int) -> bool:
        """Whether all bytes from ``offset`` up to ``end`` are zero."""
        while offset < end:
            length = min(end - offset, BLOCK_BYTES)
            if self.take(offset, length).strip(b"\0"):
                return False
            offset += length
        return True
