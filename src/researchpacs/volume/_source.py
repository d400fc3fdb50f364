"""Where the bytes of a frame come from: an open file that is checked to be the one it was, or what a server sent."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, FileIO

from researchpacs.errors import AccessError, ConflictError, NotFoundError, PixelDataError
from researchpacs.model import Location

__all__ = ["header_at", "opened", "read_into"]


@contextmanager
def opened(location: Location, name: str) -> Iterator[FileIO]:
    """Open an instance's file and make sure that it is the file it was; `name` says in errors what is read from it.

    Raises
    ------
    NotFoundError, AccessError
        The file is gone, or may not be read.
    ConflictError
        A referenced file is no longer the one that was ingested.
    PixelDataError
        The file has another size than it had.
    """
    # `from None`: the path may hold a name, and must not appear in a traceback.
    try:
        file = FileIO(location.path)
    except FileNotFoundError:
        raise NotFoundError(
            f"the file of {name} is gone; put it back, or delete the instance and ingest it again"
        ) from None
    except PermissionError:
        raise AccessError(f"the file of {name} may not be read by this user") from None
    except OSError as error:
        raise PixelDataError(f"the file of {name} cannot be opened: {error.strerror}") from None
    with file:
        found = os.fstat(file.fileno())
        if location.mtime_ns is not None and (found.st_size, found.st_mtime_ns) != (location.size, location.mtime_ns):
            raise ConflictError(
                f"the referenced file of {name} changed since it was ingested ({found.st_size} bytes, was "
                f"{location.size}); delete the instance and ingest the file again"
            )
        if found.st_size != location.size:
            raise PixelDataError(f"the file of {name} has {found.st_size} bytes; expected {location.size}: run verify")
        yield file


def header_at(location: Location, name: str) -> bytes:
    """Read an instance up to its pixel data; errors are those of `opened` and `read_into`."""
    if location.url is not None:
        from researchpacs.archive import read_remote_header

        return read_remote_header(location)
    header = bytearray(location.header_length)
    with opened(location, name) as file:
        read_into(file, 0, memoryview(header), name)
    return bytes(header)


def read_into(file: FileIO | BytesIO, offset: int, buffer: memoryview, name: str) -> None:
    """Read as many bytes as the buffer has.

    Raises
    ------
    PixelDataError
        The file ends too early.
    """
    done = 0
    file.seek(offset)
    while done < len(buffer):
        count = file.readinto(buffer[done:])
        if not count:
            raise PixelDataError(f"{name} ends after {done} of {len(buffer)} bytes: run verify")
        done += count
