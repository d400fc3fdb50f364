"""What a report of a fault should name: versions of everything that takes part."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

__all__ = ["show_versions"]

_PACKAGES = (
    "researchpacs",
    "anywidget",
    "dask",
    "duckdb",
    "duckdb-extension-ducklake",
    "highdicom",
    "imagecodecs",
    "ipykernel",
    "ipywidgets",
    "jupyterlab",
    "nibabel",
    "numpy",
    "pandas",
    "pydicom",
    "SimpleITK",
    "vtk",
    "xarray",
)


def show_versions() -> None:
    """Print the versions of Python, the platform and the libraries that matter."""
    rows = [("python", sys.version.split()[0]), ("platform", platform.platform())]
    rows += [(name, _version(name)) for name in _PACKAGES]
    for name, found in rows:
        print(f"{name:26}{found}")  # noqa: T201


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
