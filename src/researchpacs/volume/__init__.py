"""Series to labelled volumes: plan, read, and the geometry that travels with the array as ``DataArray.dicom``."""

from researchpacs.volume._zarr_layout import as_stored, require_zarr
from researchpacs.volume.accessor import Dicom, install
from researchpacs.volume.adopt import adopt
from researchpacs.volume.convert import from_sitk
from researchpacs.volume.coordinates import as_volume, restore
from researchpacs.volume.frame import PatientFrame, frame_of
from researchpacs.volume.index import AxisIndex
from researchpacs.volume.open import open_frames, open_volume, open_volumes
from researchpacs.volume.overlays import open_overlays
from researchpacs.volume.plan import Plan, plan
from researchpacs.volume.read import read_volume
from researchpacs.volume.real_world import real_world

__all__ = [
    "AxisIndex",
    "Dicom",
    "PatientFrame",
    "Plan",
    "adopt",
    "as_stored",
    "as_volume",
    "frame_of",
    "from_sitk",
    "open_frames",
    "open_overlays",
    "open_volume",
    "open_volumes",
    "plan",
    "read_volume",
    "real_world",
    "require_zarr",
    "restore",
]

install()
