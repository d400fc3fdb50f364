"""Whether the instance that a server holds is the one that is to be stored."""

import hashlib
from typing import BinaryIO

from researchpacs.archive._compare import same_object

__all__ = ["is_same"]

_PIECE = 1 << 20


def is_same(there: BinaryIO, here: BinaryIO) -> bool:
    """Compare a file of a server with a file here.

    A server may write File Meta Information, lengths and transfer syntax anew, so where bytes differ the elements and
    the decoded pixels are compared.
    """
    if _digest(there) == _digest(here):
        return True
    there.seek(0)
    here.seek(0)
    return same_object(there, here)


def _digest(file: BinaryIO) -> str:
    file.seek(0)
    found = hashlib.sha256()
    while piece := file.read(_PIECE):
        found.update(piece)
    return found.hexdigest()
