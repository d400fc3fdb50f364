"""The error tree: every error that researchpacs raises on purpose.

    ResearchPacsError
    |- InvalidInputError   (ValueError)       fix the call: bad filter, bad SQL, not DICOM
    |- NotFoundError       (LookupError)      look elsewhere
    |- ConflictError                          same identity, other content
    |- GeometryError       (ValueError)       .reasons .series_uid .slices
    |- PixelDataError                         cannot decode: names the transfer syntax and the extra that can
    |- AccessError         (PermissionError)
    |- UnsupportedError                       this server or platform cannot do that; says what can
    |- RemoteError         (ConnectionError)  refused, timed out; carries the HTTP or DIMSE status
    `- MissingExtraError   (ImportError)      pip install 'researchpacs[...]'

A message says what was found, what was expected and the next step. It holds UIDs at most, never a name, a birth date,
a patient identifier or a password.
"""

from collections.abc import Sequence

__all__ = [
    "AccessError",
    "ConflictError",
    "GeometryError",
    "InvalidInputError",
    "MissingExtraError",
    "NotFoundError",
    "PixelDataError",
    "RemoteError",
    "ResearchPacsError",
    "UnsupportedError",
]


class ResearchPacsError(Exception):
    """Root of every error raised on purpose."""


class InvalidInputError(ResearchPacsError, ValueError):
    """The call has to change: a bad filter, bad SQL, bytes that are not DICOM."""


class NotFoundError(ResearchPacsError, LookupError):
    """No such object here."""


class ConflictError(ResearchPacsError):
    """Same identity, other content; the first stays, the second is kept aside."""


class GeometryError(ResearchPacsError, ValueError):
    """Frames that do not make the volume asked for.

    Parameters
    ----------
    message
        What was found, what was expected, the way out.
    reasons
        Out of the geometry kinds of `researchpacs.dicom.geometry`.
    series_uid
        SeriesInstanceUID, where one series is to blame.
    slices
        Zero-based indices, in sorted order, of the slices to blame.
    """

    def __init__(
        self, message: str, *, reasons: Sequence[str] = (), series_uid: str | None = None, slices: Sequence[int] = ()
    ) -> None:
        super().__init__(message)
        self.reasons = tuple(reasons)
        self.series_uid = series_uid
        self.slices = tuple(slices)


class PixelDataError(ResearchPacsError):
    """Pixel data that cannot be decoded here."""


class AccessError(ResearchPacsError, PermissionError):
    """Not allowed to this user."""


class UnsupportedError(ResearchPacsError):
    """This server, format or platform cannot do that."""


class RemoteError(ResearchPacsError, ConnectionError):
    """A peer refused, failed or did not answer in time.

    Parameters
    ----------
    message
        What was asked of whom, without credentials.
    status
        The HTTP or DIMSE status, where there was one.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class MissingExtraError(ResearchPacsError, ImportError):
    """An optional library is not installed.

    Parameters
    ----------
    purpose
        What was asked for, such as ``"a surface"``.
    extra
        The extra that brings it, such as ``"mesh"``.
    """

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs an optional library: pip install 'researchpacs[{extra}]'")
        self.extra = extra
