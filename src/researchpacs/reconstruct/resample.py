"""Values of a volume on another grid."""

import numpy as np
import xarray as xr

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct._deformation import Deformation
from researchpacs.reconstruct._kernels import Interpolation
from researchpacs.reconstruct._sampling import sampled
from researchpacs.reconstruct.grid import Floats, Spacing, as_spacing, centred, grid_of, placed
from researchpacs.volume import Dicom
from researchpacs.volume.frame import AXES

__all__ = ["moved_onto", "resample"]


def resample(
    vol: xr.DataArray,
    *,
    spacing: Spacing | None = None,
    like: xr.DataArray | None = None,
    interpolation: Interpolation = "linear",
    fill: float | None = None,
) -> xr.DataArray:
    """Resample a volume to another spacing, or onto the grid of another volume.

    Parameters
    ----------
    vol
        Dimensions z, y, x; others, such as time, may lead. Its padding is never mixed with what was seen.
    spacing
        mm between voxel centres: one number, or (z, y, x). Directions stay; the grid is centred in the volume and no
        voxel centre lies outside of it. Nothing is smoothed before it is made coarser.
    like
        A volume in the same Frame of Reference; the result has its very coordinates.
    interpolation
        ``"linear"``; ``"nearest"`` for masks and labels; ``"bspline"``, cubic, which keeps detail best and may
        overshoot at edges.
    fill
        The value outside of `vol`, by default air, -1000, for CT in HU, else 0.

    Returns
    -------
    vol
        Type as `vol`, integers rounded; attributes as `vol`, coordinates of the new grid. Of a lazy volume a lazy one,
        each block of which reads no more than what it is made of.

    Raises
    ------
    InvalidInputError
        Not exactly one of spacing and like, or a spacing that is no positive number.
    GeometryError
        `vol` or `like` has no affine, or their Frames of Reference differ.
    """
    if like is not None and spacing is None:
        _require_one_frame(vol, like)
        return moved_onto(
            vol, like, None, f"resampled: {interpolation}, like another volume", interpolation=interpolation, fill=fill
        )
    if like is not None or spacing is None:
        raise InvalidInputError("resample needs either spacing= or like=")
    wanted = as_spacing(spacing)
    grid = centred(vol, wanted)
    data = sampled(vol, grid, interpolation=interpolation, fill=fill)
    return placed(data, grid, vol, f"resampled: {interpolation}, spacing {' x '.join(f'{v:g}' for v in wanted)} mm")


def moved_onto(
    vol: xr.DataArray,
    like: xr.DataArray,
    transform: Floats | Deformation | None,
    done: str,
    *,
    interpolation: Interpolation = "linear",
    fill: float | None = None,
) -> xr.DataArray:
    """Put a volume on the grid of another, moved.

    Parameters
    ----------
    transform
        Where a point of `like` is in `vol`, LPS mm to LPS mm.
    done
        For the history.
    """
    grid = grid_of(like)
    data = sampled(vol, grid, interpolation=interpolation, fill=fill, transform=transform)
    made = placed(data, grid, vol, done, uid=Dicom(like).frame_of_reference_uid)
    # The very coordinates of `like`, so that arithmetic with it aligns to the last digit.
    over = like.isel(dict.fromkeys((name for name in like.dims if name not in AXES), 0), drop=True)
    onto = over.transpose(*AXES).copy(data=np.broadcast_to(np.zeros((), np.int8), grid.shape))
    coords = made.drop_vars([*AXES, "frame"]).coords
    taken = onto.coords.assign({name: one for name, one in coords.items() if name not in onto.coords})
    return xr.DataArray(made.data, dims=made.dims, coords=taken, name=made.name, attrs=made.attrs)


def _require_one_frame(vol: xr.DataArray, like: xr.DataArray) -> None:
    mine, other = Dicom(vol).frame_of_reference_uid, Dicom(like).frame_of_reference_uid
    if mine != other:
        raise GeometryError(
            f"the volumes are in different Frames of Reference, ...{mine[-8:]} and ...{other[-8:]}: where one is in "
            "the other is not known without a registration: rp.reconstruct.register(vol, like).apply(vol)"
        )
