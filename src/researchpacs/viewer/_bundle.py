"""The viewer's JavaScript, as it is built into the package."""

import gzip
import hashlib
from functools import cache
from importlib.resources import files

from researchpacs.errors import UnsupportedError

__all__ = ["compressed", "fingerprint"]


@cache
def compressed() -> bytes:
    """The bundle, compressed with gzip.

    Raises
    ------
    UnsupportedError
        Where the package was installed without its build step.
    """
    bundle = files("researchpacs.viewer") / "static" / "viewer.js"
    if not bundle.is_file():
        raise UnsupportedError(
            "the viewer's JavaScript is not built; run 'npm ci && npm run build' in extensions/, or install a wheel"
        )
    return gzip.compress(bundle.read_bytes(), compresslevel=6, mtime=0)


@cache
def fingerprint() -> str:
    """What tells one build from another on a page: 16 hex digits, or ``"missing"``."""
    try:
        return hashlib.sha256(compressed()).hexdigest()[:16]
    except UnsupportedError:
        return "missing"
