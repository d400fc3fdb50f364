"""Files that are no DICOM, told by their first bytes; a file's name says nothing."""

import zlib

__all__ = ["CONVERTIBLE", "OPENING_BYTES", "foreign_kind"]

OPENING_BYTES = 4096
"""How much of a file `foreign_kind` wants to see."""
CONVERTIBLE = frozenset({"NIfTI", "PNG", "JPEG", "PDF", "STL", "MP4"})
"""The kinds that `researchpacs.to_dicom` makes instances of."""

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"%PDF-": "PDF",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"BM": "BMP",
    b"\x1aE\xdf\xa3": "Matroska or WebM",
    b"NRRD": "NRRD",
    b"PK\x03\x04": "zip",
}
_NIFTI_SIZES = {348: (344, b"n+1\0", b"ni1\0"), 540: (4, b"n+2\0", b"ni2\0")}
"""By length of the header: where its magic stands, and what it is for a single file and for a pair."""
_STL_HEADER = 84
_STL_TRIANGLE = 50


def foreign_kind(start: bytes, size: int) -> str | None:
    """Name the kind of a file, such as ``"NIfTI"``; None for DICOM and for what is not known here.

    Parameters
    ----------
    start
        Its first `OPENING_BYTES` bytes, or all of a shorter one.
    size
        Bytes of the whole file.
    """
    if start[128:132] == b"DICM":
        return None
    if _is_nifti(start) or (start[:2] == b"\x1f\x8b" and _is_nifti(_inflated(start))):
        return "NIfTI"
    if start[4:8] == b"ftyp":
        return "QuickTime" if start[8:12] == b"qt  " else "MP4"
    if start[:4] == b"RIFF":
        return {b"WEBP": "WebP", b"AVI ": "AVI"}.get(start[8:12])
    if _is_stl(start, size):
        return "STL"
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)


def _is_nifti(start: bytes) -> bool:
    for order in ("little", "big"):
        known = _NIFTI_SIZES.get(int.from_bytes(start[:4], order))
        if known and start[known[0] : known[0] + 4] in known[1:]:
            return True
    return False


def _inflated(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(start, 540)
    except zlib.error:
        return b""


def _is_stl(start: bytes, size: int) -> bool:
    triangles = int.from_bytes(start[80:84], "little")
    if triangles and size == _STL_HEADER + _STL_TRIANGLE * triangles:
        return True
    return start.lstrip()[:6].lower().startswith(b"solid") and b"facet" in start.lower()
