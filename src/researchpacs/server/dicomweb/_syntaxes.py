"""Transfer syntaxes and the media types of their frames (PS3.18 8.7.3.3)."""

from collections.abc import Mapping

from researchpacs.archive import Stored

__all__ = ["BARE", "EXPLICIT", "can_become", "frame_media_type", "is_native"]

EXPLICIT = "1.2.840.10008.1.2.1"
"""Explicit VR Little Endian: what every client can read."""
BARE = "application/octet-stream"
"""Frames without compression."""

_NATIVE = frozenset({"1.2.840.10008.1.2", EXPLICIT, "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"})
_FRAMES: Mapping[str, str] = {
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.92": "image/jpx",
    "1.2.840.10008.1.2.4.93": "image/jpx",
    "1.2.840.10008.1.2.4.100": "video/mpeg2",
    "1.2.840.10008.1.2.4.101": "video/mpeg2",
    "1.2.840.10008.1.2.4.102": "video/mp4",
    "1.2.840.10008.1.2.4.103": "video/mp4",
    "1.2.840.10008.1.2.4.104": "video/mp4",
    "1.2.840.10008.1.2.4.105": "video/mp4",
    "1.2.840.10008.1.2.4.106": "video/mp4",
    "1.2.840.10008.1.2.4.110": "image/jxl",
    "1.2.840.10008.1.2.4.111": "image/jxl",
    "1.2.840.10008.1.2.4.112": "image/jxl",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
}
_UNDECODABLE = ("video/",)


def frame_media_type(transfer_syntax_uid: str) -> str:
    """Media type of frames as they are stored."""
    return _FRAMES.get(transfer_syntax_uid, BARE)


def is_native(stored: Stored) -> bool:
    """Whether an instance's pixels are stored without compression of their own."""
    return stored.transfer_syntax_uid in _NATIVE


def can_become(stored: Stored, transfer_syntax_uid: str) -> bool:
    """Whether an instance can be given in a transfer syntax: the one it is stored in, or Explicit VR Little Endian."""
    if stored.transfer_syntax_uid == transfer_syntax_uid:
        return True
    return transfer_syntax_uid == EXPLICIT and not frame_media_type(stored.transfer_syntax_uid).startswith(_UNDECODABLE)
