"""Small volumes whose every voxel says where it is."""

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from numpy.typing import ArrayLike

from researchpacs.volume import as_volume

SERIES = "1.2.826.0.1.3680043.8.498.1"
FRAME = "1.2.826.0.1.3680043.8.498.2"


def affine_of(directions: ArrayLike, spacing: tuple[float, float, float], origin: tuple[float, ...]) -> np.ndarray:
    """Affine from LPS unit vectors of increasing z, y, x (as columns), mm, and the LPS of voxel (0, 0, 0)."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(directions, dtype=float) * np.asarray(spacing)
    affine[:3, 3] = origin
    return affine


@pytest.fixture
def make_volume() -> Callable[..., xr.DataArray]:
    """Build a volume in the patient: values, affine, modality."""

    def make(values: ArrayLike, affine: np.ndarray, modality: str = "CT") -> xr.DataArray:
        return as_volume(values, affine, FRAME, attrs={"Modality": modality, "SeriesInstanceUID": SERIES})

    return make


@pytest.fixture
def numbered(make_volume: Callable[..., xr.DataArray]) -> xr.DataArray:
    """An unrotated CT of 6 x 8 x 10 voxels, each with its own value."""
    values = np.arange(480, dtype=np.int16).reshape(6, 8, 10)
    unrotated = [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    return make_volume(values, affine_of(unrotated, (2.5, 0.8, 0.7), (-30.0, -40.0, 100.0)))
