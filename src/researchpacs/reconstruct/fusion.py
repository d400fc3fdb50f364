"""Two volumes of one patient together: laid over one another, subtracted, or brought onto one grid first."""

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.errors import GeometryError, InvalidInputError
from researchpacs.reconstruct._kernels import Interpolation
from researchpacs.reconstruct._sampling import sampled
from researchpacs.reconstruct.grid import grid_of, require_plain
from researchpacs.reconstruct.registration import Kind, Registration, register
from researchpacs.volume import Dicom
from researchpacs.volume.arguments import as_number
from researchpacs.volume.frame import AXES

__all__ = ["align_prior", "fuse", "subtract"]

Limits = tuple[float, float]
SOFT_TISSUE_HU = (-160.0, 240.0)


def fuse(
    vol: xr.DataArray,
    over: xr.DataArray,
    *,
    alpha: float = 0.5,
    limits: Limits | None = None,
    over_limits: Limits | None = None,
    colours: str = "hot",
    registration: Registration | None = None,
    interpolation: Interpolation = "linear",
) -> xr.DataArray:
    """Lay a volume in colours over another in grey, such as PET over CT, on the grid of the latter.

    Parameters
    ----------
    vol
        Dimensions z, y, x: shown in grey.
    over
        In the same Frame of Reference, or in the one that `registration` moves from.
    alpha
        How opaque the brightest colours are, from 0 to 1; the darkest ones are clear, by the same measure.
    limits, over_limits
        (low, high): the values that are shown black and white, or in the first and last colour. By default soft tissue
        for CT in HU, else the smallest and largest value, for which everything is read.
    colours
        A colour map of matplotlib.

    Returns
    -------
    picture
        uint8, dimensions (z, y, x, rgb), on the grid of `vol`; lazy if either is. What `over` has not seen stays grey.

    Raises
    ------
    GeometryError
        Other Frames of Reference and no registration.
    """
    if not 0 <= as_number(alpha, "alpha") <= 1:
        raise InvalidInputError(f"alpha={alpha!r}: expected a number from 0 to 1")
    table = _colour_table(colours)
    require_plain(vol, over)
    values = _onto(over, vol, registration, interpolation)
    grey = _scaled(vol.transpose(*AXES).data, _limits(vol, limits, "limits"))
    shown = _scaled(values, _limits(over, over_limits, "over_limits"))
    if isinstance(grey, da.Array) or isinstance(shown, da.Array):
        chunks = (grey if isinstance(grey, da.Array) else shown).chunks
        grey, shown = (da.asarray(one).rechunk(chunks) for one in (grey, shown))
        data = da.map_blocks(
            _blended, grey, shown, alpha=float(alpha), table=table, dtype=np.uint8, new_axis=3, chunks=(*chunks, (3,))
        )
    else:
        data = np.stack([_blended(a, b, alpha=float(alpha), table=table) for a, b in zip(grey, shown, strict=True)])
    attrs: dict[str, Any] = {k: vol.attrs[k] for k in ("SeriesInstanceUID", "StudyInstanceUID") if k in vol.attrs}
    attrs["history"] = (*vol.attrs.get("history", ()), f"fused: {colours}, alpha {alpha:g}")
    plain = vol.transpose(*AXES)
    return xr.DataArray(data, dims=(*AXES, "rgb"), coords=plain.coords, attrs=attrs)


def subtract(
    vol: xr.DataArray,
    prior: xr.DataArray,
    *,
    registration: Registration | None = None,
    interpolation: Interpolation = "linear",
) -> xr.DataArray:
    """Subtract a prior from a volume, voxel by voxel on the grid of the volume.

    Parameters
    ----------
    vol, prior
        Dimensions z, y, x; in one Frame of Reference, or `registration` moves from that of `prior`.

    Returns
    -------
    difference
        float32, float64 where either needs it; NaN where one of them has padding or the prior has not seen. Lazy if
        either is.

    Raises
    ------
    GeometryError
        Other Frames of Reference and no registration.
    InvalidInputError
        The values are in other units.
    """
    units = [one.attrs.get("units") for one in (vol, prior)]
    if None not in units and units[0] != units[1]:
        raise InvalidInputError(f"values in {units[0]} and in {units[1]} have no difference")
    require_plain(vol, prior)
    before = _onto(prior, vol, registration, interpolation)
    now = sampled(vol, grid_of(vol), interpolation="nearest", unseen_as_nan=True)
    difference = vol.transpose(*AXES).copy(data=now - before)
    how = "" if registration is None else f", registered ({registration.kind})"
    attrs = {k: v for k, v in vol.attrs.items() if k != "padding"}
    difference.attrs = {
        **attrs,
        "history": (*vol.attrs.get("history", ()), f"subtracted: a prior{how}, {interpolation}"),
    }
    return difference


def align_prior(
    prior: xr.DataArray, vol: xr.DataArray, kind: Kind = "rigid", *, interpolation: Interpolation = "linear"
) -> xr.DataArray:
    """Register a prior to a volume and bring it onto its grid, for looking at both side by side.

    Returns
    -------
    prior
        In the Frame of Reference of `vol`, with its very coordinates; `register` gives the registration itself.
    """
    return register(prior, vol, kind).apply(prior, interpolation=interpolation)


def _onto(
    vol: xr.DataArray, like: xr.DataArray, registration: Registration | None, interpolation: Interpolation
) -> Any:
    """Values on the grid of another, NaN where nothing was seen."""
    mine, other = Dicom(vol).frame_of_reference_uid, Dicom(like).frame_of_reference_uid
    if registration is None:
        if mine != other:
            raise GeometryError(
                f"the volumes are in different Frames of Reference, ...{mine[-8:]} and ...{other[-8:]}: "
                "give registration=rp.reconstruct.register(one, other)"
            )
        return sampled(vol, grid_of(like), interpolation=interpolation, unseen_as_nan=True)
    if (registration.moving_frame_of_reference_uid, registration.fixed_frame_of_reference_uid) != (mine, other):
        raise GeometryError("the registration is between other Frames of Reference than those of the volumes")
    return sampled(
        vol, grid_of(like), interpolation=interpolation, unseen_as_nan=True, transform=registration.transform
    )


def _limits(vol: xr.DataArray, limits: Limits | None, name: str) -> Limits:
    if limits is None:
        if vol.attrs.get("Modality") == "CT" and vol.attrs.get("units") == "HU":
            return SOFT_TISSUE_HU
        found = vol.min(), vol.max()
        low, high = (float(one) for one in found)
        return (low, high) if low < high else (low, low + 1)
    try:
        low, high = limits
    except (TypeError, ValueError):
        raise InvalidInputError(f"{name}={limits!r}: expected (low, high)") from None
    low, high = as_number(low, name), as_number(high, name)
    if low >= high:
        raise InvalidInputError(f"{name}={limits!r}: expected (low, high), low below high")
    return low, high


def _scaled(data: Any, limits: Limits) -> Any:
    """0 to 1, NaN kept."""
    low, high = limits
    return ((data - np.float32(low)) / np.float32(high - low)).clip(0, 1).astype(np.float32)


def _blended(
    grey: NDArray[np.float32], shown: NDArray[np.float32], *, alpha: float, table: NDArray[np.float32]
) -> NDArray[np.uint8]:
    seen = np.isfinite(shown)
    level = np.where(seen, shown, 0)
    share = (alpha * level)[..., None]
    colour = table[np.rint(level * (len(table) - 1)).astype(np.intp)]
    mixed = (1 - share) * np.nan_to_num(grey)[..., None] + share * colour
    return np.asarray(np.rint(mixed * 255)).astype(np.uint8)


def _colour_table(name: str) -> NDArray[np.float32]:
    """(256, 3) from 0 to 1."""
    from matplotlib import colormaps

    if not isinstance(name, str) or name not in colormaps:
        raise InvalidInputError(f"colours={name!r}: expected the name of a colour map of matplotlib, such as 'hot'")
    return np.asarray(colormaps[name](np.linspace(0, 1, 256))[:, :3], np.float32)
