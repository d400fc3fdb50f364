"""A deflated data set, inflated in small steps and no further than it may (PS3.5 A.5)."""

import tempfile
import zlib
from typing import BinaryIO, cast

from researchpacs.dicom._walk_limits import inflated_limit
from researchpacs.errors import InvalidInputError

__all__ = ["inflate"]

_STEP_BYTES = 65_536
_IN_MEMORY_BYTES = 16 << 20


def inflate(file: BinaryIO, offset: int, size: int) -> tuple[BinaryIO, int]:
    """Inflate a data set that begins at ``offset`` of a file of ``size`` bytes.

    Both sides go in steps, because zlib copies whatever input it could not yet take.

    Returns
    -------
    inflated
        A seekable file; the caller closes it. Beyond 16 MiB it lies on disk.
    left
        Bytes of the file after the deflated stream.

    Raises
    ------
    InvalidInputError
        The stream is broken, ends early, or inflates beyond what a data set of its size can be.
    """
    limit = inflated_limit(size - offset)
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES))  # noqa: SIM115
    try:
        file.seek(offset)
        while not stream.eof:
            taken = stream.unconsumed_tail or file.read(_STEP_BYTES)
            given = stream.decompress(taken, _STEP_BYTES)
            if not taken and not given:  # all input is taken, and nothing of it is still to come
                raise InvalidInputError(f"truncated: the deflated data set does not end by byte {size}")
            inflated.write(given)
            if inflated.tell() > limit:
                raise InvalidInputError(f"the deflated data set inflates to more than {limit} bytes")
        left = len(stream.unused_data) + size - file.tell()
    except zlib.error:
        inflated.close()
        raise InvalidInputError(f"the deflated data set at byte {offset} is not a deflate stream") from None
    except InvalidInputError:
        inflated.close()
        raise
    return inflated, left
