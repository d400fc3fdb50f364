"""How an association ends before its time."""

from researchpacs.errors import RemoteError

__all__ = ["AbortedError", "GoneError", "ProtocolError", "RejectedError", "TimedOutError"]


class GoneError(RemoteError):
    """The connection is closed or was never made."""


class AbortedError(GoneError):
    """The peer sent an A-ABORT."""


class TimedOutError(RemoteError):
    """The peer did not answer in time."""


class ProtocolError(RemoteError):
    """The peer sent what the protocol does not allow."""


class RejectedError(RemoteError):
    """The peer refused the association."""
