"""A generated chest as a volume, and the headers of its series."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
import xarray as xr
from pydicom.dataset import Dataset

from researchpacs import datasets
from researchpacs.volume import as_volume

SLICES = 3


@pytest.fixture(scope="session")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return datasets.path("chest_ct", slices=SLICES, cache=tmp_path_factory.mktemp("chest"))


@pytest.fixture(scope="session")
def headers(chest: Path) -> list[Dataset]:
    return [pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(chest.iterdir())]


@pytest.fixture
def evidence(headers: list[Dataset]) -> Callable[[str], Sequence[Dataset]]:
    return lambda series_uid: [ds for ds in headers if ds.SeriesInstanceUID == series_uid]


@pytest.fixture
def vol(headers: list[Dataset]) -> xr.DataArray:
    return volume_like(headers[0])


def volume_like(header: Dataset) -> xr.DataArray:
    """A small volume in the series and the Frame of Reference of a header."""
    return as_volume(
        np.zeros((4, 5, 6), np.int16),
        np.array([[0, 0, 0.7, -100], [0, 0.7, 0, -100], [2, 0, 0, -150], [0, 0, 0, 1.0]]),
        header.FrameOfReferenceUID,
        attrs={"SeriesInstanceUID": header.SeriesInstanceUID},
    )
