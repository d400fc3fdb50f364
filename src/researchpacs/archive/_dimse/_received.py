"""A data set on its way from a peer into a file: its bytes as they come, behind a File Meta Information of ours."""

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from researchpacs.archive._dimse._errors import ProtocolError
from researchpacs.archive._dimse._negotiation import VERSION_NAME
from researchpacs.dicom.uids import IMPLEMENTATION_CLASS_UID
from researchpacs.ingest import Spool

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FileSink", "file_meta"]

_ELEMENT = struct.Struct("<HH2sH")


class FileSink:
    """Takes a data set, in memory while it is small, then into a file.

    Parameters
    ----------
    folder
        A workspace on the disk of the archive; the name of the file comes from nobody.
    meta
        What `file_meta` made.
    most_bytes
        More than this is refused before it fills the disk.
    """

    def __init__(self, folder: Path, meta: bytes, *, most_bytes: int) -> None:
        self.spool = Spool(folder)
        self.error: OSError | None = None
        """What kept the data set from being written; the file is gone then."""
        self._left = most_bytes
        self.write(memoryview(meta))

    def write(self, data: memoryview) -> None:
        """Take a fragment; after an error the rest is read and dropped, so that the peer gets a status."""
        self._left -= len(data)
        if self._left < 0:
            self.discard()
            raise ProtocolError("the peer sent a data set that is longer than any instance may be")
        if self.error is not None:
            return
        try:
            self.spool.write(data)
        except OSError as error:
            self.discard()
            self.error = error

    def discard(self) -> None:
        """Forget the data set, and remove the file if it is still where it was."""
        self.spool.discard()


def file_meta(*, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_aet: str) -> bytes:
    """Write preamble, prefix and File Meta Information (PS3.10 7.1)."""
    values: Mapping[int, tuple[bytes, bytes]] = {
        0x0002: (b"UI", sop_class_uid.encode("ascii")),
        0x0003: (b"UI", sop_instance_uid.encode("ascii")),
        0x0010: (b"UI", transfer_syntax_uid.encode("ascii")),
        0x0012: (b"UI", IMPLEMENTATION_CLASS_UID.encode("ascii")),
        0x0013: (b"SH", VERSION_NAME.encode("ascii")),
        0x0016: (b"AE", source_aet.encode("ascii", "replace")),
    }
    # (0002,0001) has a VR with a long header.
    elements = _ELEMENT.pack(2, 1, b"OB", 0) + struct.pack("<I", 2) + b"\0\1"
    for number, (vr, value) in values.items():
        padded = value + (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        elements += _ELEMENT.pack(2, number, vr, len(padded)) + padded
    return bytes(128) + b"DICM" + _ELEMENT.pack(2, 0, b"UL", 4) + struct.pack("<I", len(elements)) + elements
