"""A research PACS that lives in JupyterLab: archive, SQL catalog, checked lazy volumes, viewer and annotations.

    import researchpacs as rp

    pacs = rp.connect("~/pacs")
    pacs.ingest("scans/")
    vol = rp.open_volume(pacs.search("series", Modality="CT").first())
    rp.view(vol)

Names load on first use, so that the import itself is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from researchpacs import datasets, errors, features, reconstruct
    from researchpacs._pacs import Pacs, connect, show_versions, view
    from researchpacs.annotation import Contour, Measurement, Segmentation
    from researchpacs.convert import to_dicom
    from researchpacs.dicom import codes
    from researchpacs.search import MISSING
    from researchpacs.viewer import Viewer, Window
    from researchpacs.volume import adopt, from_sitk, open_frames, open_volume, open_volumes, read_volume, restore

__version__ = "0.1.0"

__all__ = [  # noqa: RUF022 - plainly sorted, capitals or not
    "Contour",
    "MISSING",
    "Measurement",
    "Pacs",
    "Segmentation",
    "Viewer",
    "Window",
    "adopt",
    "codes",
    "connect",
    "datasets",
    "errors",
    "features",
    "from_sitk",
    "open_frames",
    "open_volume",
    "open_volumes",
    "read_volume",
    "reconstruct",
    "restore",
    "show_versions",
    "to_dicom",
    "view",
]

_HOMES = {
    "MISSING": "search",
    "Contour": "annotation",
    "Measurement": "annotation",
    "Pacs": "_pacs",
    "Segmentation": "annotation",
    "Viewer": "viewer",
    "Window": "viewer",
    "adopt": "volume",
    "codes": "dicom.codes",
    "connect": "_pacs",
    "datasets": "datasets",
    "errors": "errors",
    "features": "features",
    "from_sitk": "volume",
    "open_frames": "volume",
    "open_volume": "volume",
    "open_volumes": "volume",
    "read_volume": "volume",
    "reconstruct": "reconstruct",
    "restore": "volume",
    "show_versions": "_pacs",
    "to_dicom": "convert",
    "view": "_pacs",
}
_MODULES = {"codes", "datasets", "errors", "features", "reconstruct"}


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Add the SQL cell ``%%pacs`` to a notebook: ``%load_ext researchpacs``."""
    import_module("researchpacs.jupyter").load(shell)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'researchpacs' has no attribute {name!r}")
    module = import_module(f"researchpacs.{_HOMES[name]}")
    value = module if name in _MODULES else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
