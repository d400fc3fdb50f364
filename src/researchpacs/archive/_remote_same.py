"""Whether the instance that a server holds is the one that is to be stored."""

import hashlib
from io import BytesIO
from pathlib import Path

from researchpacs.archive._compare import same_object

__all__ = ["is_same"]


def is_same(there: bytes, file: Path) -> bool:
    """Compare the bytes of a file at a server with a file here.

    A server may write File Meta Information, lengths and transfer syntax anew, so where bytes differ the elements and
    the decoded pixels are compared.
    """
    here = file.read_bytes()
    if hashlib.sha256(there).digest() == hashlib.sha256(here).digest():
        return True
    return same_object(BytesIO(there), BytesIO(here))
