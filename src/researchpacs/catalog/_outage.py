"""What DuckDB says when a database or a store does not answer, or not to this user -> errors of the contract."""

import re

import duckdb

from researchpacs.errors import AccessError, RemoteError, ResearchPacsError

__all__ = ["outage"]

_REFUSED = re.compile(r"authentication failed|no password supplied|permission denied|HTTP code 40[13]|HTTP 40[13]\b")
_UNREACHABLE = re.compile(
    r"Unable to connect to Postgres|Could not connect to server|server closed the connection|terminating connection|"
    r"connection to server|Timeout was reached|timed out|NoSuchBucket|HTTP code 5\d\d|HTTP 5\d\d\b"
)


def outage(error: duckdb.Error, place: str) -> ResearchPacsError | None:
    """Tell that a place refuses or does not answer; None where the error is about something else.

    Parameters
    ----------
    error
        Of DuckDB; its text is not repeated.
    place
        In words, without credentials.
    """
    text = str(error)
    if _REFUSED.search(text):
        return AccessError(f"{place} lets this user not in, or not do that; check user, password and keys")
    if _UNREACHABLE.search(text):
        return RemoteError(
            f"{place} does not answer; the archive is whole, and the next question tries again. Check the address, and "
            "that database, store and bucket are there"
        )
    return None
