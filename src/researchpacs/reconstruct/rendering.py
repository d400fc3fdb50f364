"""A picture of a volume as a solid thing, by vtk's ray casting without a screen."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import SimpleITK
import xarray as xr
from numpy.typing import ArrayLike

from researchpacs.errors import InvalidInputError, MissingExtraError, UnsupportedError
from researchpacs.reconstruct._renderer import renderer
from researchpacs.reconstruct._scene import PRESETS, picture
from researchpacs.reconstruct.grid import require_plain
from researchpacs.reconstruct.reformat import directions_of
from researchpacs.volume import Dicom
from researchpacs.volume.arguments import as_number
from researchpacs.volume.frame import AXES
from researchpacs.volume.padding import padding_of

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["render"]

Preset = Literal["bone", "lung", "vessel", "skin"]
SIDES = {
    "front": ((0, 1, 0), (0, 0, 1)), "back": ((0, -1, 0), (0, 0, 1)), "left": ((-1, 0, 0), (0, 0, 1)),
    "right": ((1, 0, 0), (0, 0, 1)), "head": ((0, 0, -1), (0, -1, 0)), "feet": ((0, 0, 1), (0, -1, 0)),
}  # fmt: skip
"""LPS directions of the look, and of what is up."""
LARGEST_PICTURE = 8192
BLUR_VOXELS = 0.8
"""Sigma: light falls by the slope of the values, and slopes of bare voxels make rings on smooth skin."""


def render(
    vol: xr.DataArray,
    preset: Preset = "bone",
    *,
    side: str = "front",
    look: ArrayLike | None = None,
    up: ArrayLike | None = None,
    size: tuple[int, int] = (600, 600),
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> "Image":
    """Render a CT as a solid thing.

    Parameters
    ----------
    vol
        HU, dimensions z, y, x; read into memory. Padding, and NaN, are clear.
    preset
        ``"bone"``, ``"lung"``, ``"vessel"`` (with contrast agent) or ``"skin"``: colour and opacity by HU.
    side
        Where the onlooker stands: ``"front"``, ``"back"``, ``"left"``, ``"right"``, ``"head"`` or ``"feet"``.
    look, up
        Instead of `side`: (3,) LPS directions from the onlooker to the patient, and of what is up.
    size
        (width, height) in pixels.
    background
        Red, green and blue from 0 to 1.

    Returns
    -------
    picture
        PIL image, RGB; all of the volume is in it, in parallel projection, smoothed over about a voxel.

    Raises
    ------
    UnsupportedError
        This machine has no OpenGL to render with off screen, neither on a graphics card nor in software.
    MissingExtraError
        vtk is not installed.
    InvalidInputError
        Another preset or side, values that are not HU, a size that cannot be.
    GeometryError
        The volume has no affine.
    """
    if preset not in PRESETS:
        raise InvalidInputError(f"preset={preset!r}: expected one of {', '.join(map(repr, PRESETS))}")
    if look is None and side not in SIDES:
        raise InvalidInputError(f"side={side!r}: expected one of {', '.join(map(repr, SIDES))}")
    width, height = _as_size(size)
    require_plain(vol)
    if vol.attrs.get("units", "HU") != "HU" or vol.dtype.kind not in "if":
        raise InvalidInputError(f"presets are of HU; the values are {vol.attrs.get('units', vol.dtype)}")
    directions = directions_of(None, look, up) if look is not None else directions_of(None, *SIDES[side])
    affine, colour = Dicom(vol).affine_lps, _as_colour(background)
    try:
        import vtkmodules.vtkRenderingVolumeOpenGL2
    except ImportError as error:
        raise MissingExtraError("a rendering", "mesh") from error
    del vtkmodules
    window_name = renderer()
    if window_name is None:
        raise UnsupportedError(
            "no OpenGL renders off screen here; install Mesa's EGL (Debian: libegl1 and libegl-mesa0), or take "
            "project or rotate, which need none"
        )
    from PIL import Image

    pixels = picture(
        _values(vol), affine, directions, preset, size=(width, height), background=colour, window_name=window_name
    )
    return Image.fromarray(pixels)


def _values(vol: xr.DataArray) -> Any:
    vol = vol.compute().transpose(*AXES)
    air = -1024
    clear = padding_of(vol) if "padding" in vol.attrs else None
    if vol.dtype.kind == "f":
        clear = vol.isnull() if clear is None else clear | vol.isnull()
    values = vol.clip(-1024, 3071)
    if clear is not None:
        values = values.where(~clear, air)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(values.values.astype(np.float32)))
    blurred = SimpleITK.DiscreteGaussian(
        image, variance=[BLUR_VOXELS**2] * 3, maximumKernelWidth=9, useImageSpacing=False
    )
    return np.rint(SimpleITK.GetArrayViewFromImage(blurred)).astype(np.int16)


def _as_size(size: Any) -> tuple[int, int]:
    try:
        width, height = (int(as_number(one, "size")) for one in size)
    except (TypeError, ValueError):
        width = height = 0
    if not (0 < width <= LARGEST_PICTURE and 0 < height <= LARGEST_PICTURE):
        raise InvalidInputError(f"size={size!r}: expected (width, height) in pixels, from 1 to {LARGEST_PICTURE}")
    return width, height


def _as_colour(colour: Any) -> tuple[float, float, float]:
    try:
        red, green, blue = (as_number(one, "background") for one in colour)
    except (TypeError, ValueError):
        red = green = blue = -1.0
    if not all(0 <= one <= 1 for one in (red, green, blue)):
        raise InvalidInputError(f"background={colour!r}: expected red, green and blue from 0 to 1")
    return red, green, blue
