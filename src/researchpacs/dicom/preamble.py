"""The 128 bytes before a DICOM file's own (PS3.10 7.1), which may make it another kind of file as well."""

__all__ = ["safe_preamble"]

_LENGTH = 128
_EXECUTABLE = (
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xca\xfe\xba\xbe",
)
"""How programs of Windows, Linux and macOS begin, and scripts."""


def safe_preamble(start: bytes) -> bytes:
    """Blank a preamble that a system would run or a browser would show; a TIFF's and all others stay.

    Parameters
    ----------
    start
        The first bytes of a file, at least 132 where it has so many.

    Returns
    -------
    start
        As long as before.
    """
    if start[_LENGTH : _LENGTH + 4] != b"DICM":
        return start
    preamble = start[:_LENGTH]
    if preamble.startswith(_EXECUTABLE) or preamble.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return bytes(_LENGTH) + start[_LENGTH:]
    return start
