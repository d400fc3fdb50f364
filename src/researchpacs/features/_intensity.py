"""How the values of a region are distributed."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError
from researchpacs.features._region import as_mask, as_values, is_seen, on_one_grid

__all__ = ["first_order"]

Floats = NDArray[np.float64]


def first_order(vol: Any, mask: Any = None, *, bin_width: float | None = None) -> dict[str, float]:
    """Describe the distribution of values by the intensity-based statistics of the IBSI (UHIW).

    Parameters
    ----------
    vol
        (z, y, x): a volume or a plain array. Values that are not finite are left out, and the padding of a volume.
    mask
        The region, true or 1 inside, on the same grid; all of the volume unless given.
    bin_width
        In the units of the values: bins start at the region's minimum (fixed bin size). Only ``entropy`` and
        ``uniformity`` depend on it; without it each value is a bin of its own, which suits few whole numbers.

    Returns
    -------
    features
        By name: voxel_count, mean (Q4LE), variance (ECT3), standard_deviation, skewness (KE2M), kurtosis (IPH6, 0 for
        a normal distribution), median (Y12H), minimum (1GSF), percentile_10 (QG58), percentile_90 (8DWT), maximum
        (84IY), interquartile_range (SALO), range (2OJQ), mean_absolute_deviation (4FUA),
        robust_mean_absolute_deviation (1128), median_absolute_deviation (N72L), coefficient_of_variation (7TET),
        quartile_coefficient_of_dispersion (9S40), energy (N8CA), root_mean_square (5ZWQ), entropy in bits (TLU2) and
        uniformity (BJ5W). A quotient by zero is NaN; skewness and kurtosis of equal values are 0, as the IBSI says.

    Raises
    ------
    InvalidInputError
        The region is empty, or the mask has another shape.
    GeometryError
        The mask lies on another grid.
    """
    inside = is_seen(vol)
    if mask is not None:
        on_one_grid(vol, mask)
        inside = as_mask(mask) if inside is None else as_mask(mask) & inside
    chosen = as_values(vol).ravel() if inside is None else as_values(vol)[inside]
    values = chosen.astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        raise InvalidInputError("the region has no finite value, there is nothing to describe")
    return {**_moments(values), **_order(values), **_histogram(values, bin_width)}


def _moments(values: Floats) -> dict[str, float]:
    mean, variance = float(values.mean()), float(values.var())
    away = values - mean
    energy = float(values @ values)
    return {
        "voxel_count": values.size,
        "mean": mean,
        "variance": variance,
        "standard_deviation": math.sqrt(variance),
        "skewness": float((away**3).mean()) / variance**1.5 if variance else 0.0,
        "kurtosis": float((away**4).mean()) / variance**2 - 3.0 if variance else 0.0,
        "mean_absolute_deviation": float(np.abs(away).mean()),
        "coefficient_of_variation": _quotient(math.sqrt(variance), mean),
        "energy": energy,
        "root_mean_square": math.sqrt(energy / values.size),
    }


def _order(values: Floats) -> dict[str, float]:
    low, p10, p25, median, p75, p90, high = np.percentile(values, [0, 10, 25, 50, 75, 90, 100]).tolist()
    robust = values[(values >= p10) & (values <= p90)]
    return {
        "minimum": low,
        "percentile_10": p10,
        "median": median,
        "percentile_90": p90,
        "maximum": high,
        "range": high - low,
        "interquartile_range": p75 - p25,
        "robust_mean_absolute_deviation": _mean_deviation(robust),
        "median_absolute_deviation": float(np.abs(values - median).mean()),
        "quartile_coefficient_of_dispersion": _quotient(p75 - p25, p75 + p25),
    }


def _histogram(values: Floats, bin_width: float | None) -> dict[str, float]:
    if bin_width is not None:
        if isinstance(bin_width, bool) or not isinstance(bin_width, int | float) or not 0 < bin_width < math.inf:
            raise InvalidInputError(f"bin_width={bin_width!r}: expected a positive number in the units of the values")
        values = np.floor((values - values.min()) / bin_width)
    shares = np.unique(values, return_counts=True)[1] / values.size
    # Adding 0.0 makes -0.0, of a single bin, a plain zero.
    return {"entropy": float(-(shares * np.log2(shares)).sum() + 0.0), "uniformity": float((shares**2).sum())}


def _mean_deviation(values: Floats) -> float:
    # Of two values none lies between their percentiles.
    return float(np.abs(values - values.mean()).mean()) if values.size else math.nan


def _quotient(upper: float, lower: float) -> float:
    return upper / lower if lower else math.nan
