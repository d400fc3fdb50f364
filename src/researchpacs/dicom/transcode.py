"""Write an instance in another transfer syntax, without losing a bit of its pixels (PS3.5 10, A.4)."""

from io import BytesIO

from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from researchpacs.dicom.native import as_explicit_little_endian
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import PixelDataError, UnsupportedError

__all__ = ["TARGETS", "transcode"]

_NATIVE = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian})
_COMPRESSED = frozenset({RLELossless, JPEGLSLossless, JPEG2000Lossless})
TARGETS: frozenset[str] = frozenset(str(uid) for uid in _NATIVE | _COMPRESSED)
"""Transfer syntaxes that can be written; every one that can be decoded can be read."""


def transcode(file: bytes, *, header_length: int, transfer_syntax_uid: str, to: str) -> bytes:
    """Transcode a whole instance; its values, its pixels and its identity stay.

    Parameters
    ----------
    file
        The whole file, which has passed `researchpacs.dicom.scan.scan`.
    header_length, transfer_syntax_uid
        As the scan found them.
    to
        One of `TARGETS`. An object without pixels has nothing to compress and comes in Explicit VR Little Endian.

    Raises
    ------
    UnsupportedError
        `to` is none of them.
    PixelDataError
        Its pixels cannot be decoded or written so.
    """
    if to not in TARGETS:
        raise UnsupportedError(f"cannot write transfer syntax {to}; these can be written: {', '.join(sorted(TARGETS))}")
    if to == transfer_syntax_uid:
        return file
    plain = as_explicit_little_endian(file, header_length=header_length, transfer_syntax_uid=transfer_syntax_uid)
    return plain if to == ExplicitVRLittleEndian else _rewritten(plain, to)


def _rewritten(plain: bytes, to: str) -> bytes:
    with reading_quietly():
        ds = dcmread(BytesIO(plain), force=True)
        buffer = BytesIO()
        try:
            if to in _COMPRESSED:
                if "PixelData" not in ds:
                    return plain
                ds.compress(to, generate_instance_uid=False)
            else:
                ds.file_meta.TransferSyntaxUID = UID(to)
            ds.save_as(buffer, enforce_file_format=True, implicit_vr=to == ImplicitVRLittleEndian, little_endian=True)
        except Exception as error:
            # The message may quote a value, so only its kind is told.
            raise PixelDataError(f"the instance cannot be written in {to} ({type(error).__name__})") from error
    return buffer.getvalue()
