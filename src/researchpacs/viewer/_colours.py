"""Colour maps: what colour a grey level has. The browser is sent the same even steps that the kernel draws with."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError

__all__ = ["NAMES", "as_colormap", "coloured", "steps"]

NAMES = ("grey", "hot", "viridis", "magma", "turbo")
STEPS = 33


def as_colormap(name: object) -> str:
    """Parse the name of a colour map.

    Raises
    ------
    InvalidInputError
        It is none; the message lists the names.
    """
    if isinstance(name, str) and name.lower() in NAMES:
        return name.lower()
    raise InvalidInputError(f"no colour map {name!r}: pass one of {', '.join(NAMES)}")


@cache
def steps(name: str) -> NDArray[np.float64]:
    """Colours of even steps from the lowest grey level to the highest, (33, 3), 0 to 1."""
    import matplotlib

    known = matplotlib.colormaps["gray" if name == "grey" else name]
    colours: NDArray[np.float64] = np.round(known(np.linspace(0, 1, STEPS))[:, :3], 3)
    return colours


def coloured(grey: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Give grey levels their colours.

    Parameters
    ----------
    grey
        Any shape.

    Returns
    -------
    rgb
        uint8, the shape of `grey` with three behind.
    """
    at = np.linspace(0, 255, STEPS)
    levels = np.column_stack([np.interp(np.arange(256), at, channel) for channel in steps(name).T])
    rgb: NDArray[np.uint8] = np.rint(levels * 255).astype(np.uint8)[grey]
    return rgb
