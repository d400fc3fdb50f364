"""Frames of remote instances, in any process: a location is enough, and the credentials the process has.

Connections and what was read last are shared by all threads of a process and bounded.
"""

import os
import tempfile
import threading
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from researchpacs.archive._remote_address import Address, address_of, credentials_of
from researchpacs.archive._remote_server import Server
from researchpacs.dicom.encapsulation import frame_ranges
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.dicom.scan import scan
from researchpacs.errors import NotFoundError, PixelDataError, RemoteError
from researchpacs.model import Location
from researchpacs.storage.frame_cache import frames as _frames

__all__ = ["RemoteFrame", "forget_frames", "name_in", "read_frame", "read_header", "server_of"]

_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_ITEM = b"\xfe\xff\x00\xe0"

_guard = threading.Lock()
_servers: dict[tuple[object, ...], Server] = {}


@dataclass(frozen=True, slots=True)
class RemoteFrame:
    """One frame as a decoder takes it."""

    data: bytes = field(repr=False)
    """As a frame's bytes in a file (`researchpacs.model.Frame`), or the whole file."""
    transfer_syntax_uid: str
    """In which it came."""
    is_whole_file: bool


def server_of(address: Address, *, timeout_s: int = 0) -> Server:
    """The connection of this process to a server, with the credentials the process has for it."""
    name = (os.getpid(), address, credentials_of(address), timeout_s)
    with _guard:
        if name not in _servers:
            if address.kind == "orthanc":
                from researchpacs.archive._orthanc import OrthancServer

                _servers[name] = OrthancServer(address, timeout_s=timeout_s)
            else:
                from researchpacs.archive._dicomweb import DicomwebServer

                _servers[name] = DicomwebServer(address, timeout_s=timeout_s)
        return _servers[name]


def forget_frames() -> None:
    """Hold no frame any more: not every server tells when one has changed."""
    _frames.clear()


def name_in(location: Location) -> str:
    """The server's name of the instance at a location."""
    return location.path.partition("#")[0]


def read_frame(location: Location, index: int, layout: PixelLayout) -> RemoteFrame:
    """Read one frame over HTTP.

    Where the server cannot take a frame out of its file, the whole file is read.

    Parameters
    ----------
    location
        With a URL.
    index
        Zero-based in the instance.
    layout
        How its pixels are written.

    Raises
    ------
    RemoteError, AccessError, NotFoundError
        The server does not give it; the message names series and frame.
    """
    try:
        return _read_frame(location, index, layout)
    except (RemoteError, PermissionError, NotFoundError) as error:
        where = f"frame {index} of instance ...{location.sop_uid[-8:]} in series {location.series_uid}"
        message = f"{where} could not be read: {error}"
        if isinstance(error, RemoteError):
            raise RemoteError(message, status=error.status) from None
        raise type(error)(message) from None


def read_header(location: Location) -> bytes:
    """Read the file of an instance up to its pixel data over HTTP; errors as for `read_frame`."""
    name = ("header", location.url, location.path)
    held = _frames.get(name)
    if isinstance(held, bytes):
        return held
    with tempfile.TemporaryFile() as file:
        server_of(address_of(location.url or "")).retrieve(name_in(location), file)
        file.seek(0)
        header = _read(file, 0, scan(file).header_length)
    _frames.put(name, header, len(header))
    return header


def _read_frame(location: Location, index: int, layout: PixelLayout) -> RemoteFrame:
    server = server_of(address_of(location.url or ""))
    held = _held(location, index)
    if held is not None:
        return held
    sent = None
    if _stands_alone(layout):
        sent = server.frame(name_in(location), index, layout.transfer_syntax_uid)
    if sent is None:
        with tempfile.TemporaryFile() as file:
            server.retrieve(name_in(location), file)
            return _from_whole_file(file, location, index, layout)
    data = sent.data if sent.is_native else _ITEM + len(sent.data).to_bytes(4, "little") + sent.data
    return _hold(location, index, data, sent.transfer_syntax_uid)


def _from_whole_file(file: BinaryIO, location: Location, index: int, layout: PixelLayout) -> RemoteFrame:
    """Find a frame in its file, and keep some of those that were moved with it, the next ones first."""
    file.seek(0)
    found = scan(file)
    syntax = found.transfer_syntax_uid
    layout = replace(layout, transfer_syntax_uid=syntax)
    size = file.seek(0, os.SEEK_END)
    ranges = frame_ranges(lambda at, length: _read(file, at, length), found.header_length, size, layout)
    if ranges is None:
        return RemoteFrame(_read(file, 0, size), syntax, is_whole_file=True)
    if index >= len(ranges):
        raise PixelDataError(f"frame {index} is not in the file that the server sent, which has {len(ranges)}")
    room = _frames.limit // 2 - ranges[index][1]
    for other in (*range(index + 1, len(ranges)), *range(index)):
        room -= ranges[other][1]
        if room < 0:
            break
        _hold(location, other, _read(file, *ranges[other]), syntax)
    return _hold(location, index, _read(file, *ranges[index]), syntax)


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _held(location: Location, index: int) -> RemoteFrame | None:
    held = _frames.get(("sent", location.url, location.path, index))
    if not isinstance(held, bytes):
        return None
    syntax, _, data = held.partition(b"\0")
    return RemoteFrame(data, syntax.decode(), is_whole_file=False)


def _hold(location: Location, index: int, data: bytes, syntax: str) -> RemoteFrame:
    held = syntax.encode() + b"\0" + data
    _frames.put(("sent", location.url, location.path, index), held, len(held))
    return RemoteFrame(data, syntax, is_whole_file=False)


def _stands_alone(layout: PixelLayout) -> bool:
    """Whether a frame means the same without its file; servers differ in how they give the others."""
    if not layout.is_native:
        return layout.transfer_syntax_uid != _DEFLATED
    shared_bytes = layout.frame_bits % 8 and layout.number_of_frames > 1
    return not (layout.transfer_syntax_uid == _BIG_ENDIAN or layout.high_bit is not None or shared_bytes)
