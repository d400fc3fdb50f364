"""Arguments as users type them, parsed at the border: what cannot be used is told by the name of its argument."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError, NotFoundError

__all__ = ["as_number", "as_target", "as_triples"]


def as_number(value: Any, name: str) -> float:
    """Parse a finite number.

    Raises
    ------
    InvalidInputError
        It is none.
    """
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInputError(f"{name}={_shortened(value)}: expected a finite number")
    return number


def as_target(path: Any) -> Path:
    """Parse the path of a file to be written.

    Raises
    ------
    InvalidInputError
        It is no path, or names a folder.
    NotFoundError
        Its folder does not exist.
    """
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise InvalidInputError(f"{_shortened(path)}: expected the path of a file to write")
    target = Path(path).expanduser()
    if not target.parent.is_dir():
        raise NotFoundError("the folder to write into does not exist; make it first, or give another")
    if target.is_dir():
        raise InvalidInputError("the path names a folder; give the name of a file in it")
    return target


def as_triples(values: Any, name: str, meaning: str) -> NDArray[np.float64]:
    """Parse ``(..., 3)`` numbers.

    Parameters
    ----------
    meaning
        What the three are, for the message.

    Raises
    ------
    InvalidInputError
        Another shape, or no numbers.
    """
    try:
        triples = np.zeros(0) if isinstance(values, str | bytes) else np.asarray(values, np.float64)
    except (TypeError, ValueError):
        triples = np.zeros(0)
    if triples.ndim == 0 or triples.shape[-1] != 3:
        raise InvalidInputError(f"{name}={_shortened(values)}: expected {meaning}, an array of shape (..., 3)")
    return triples


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
