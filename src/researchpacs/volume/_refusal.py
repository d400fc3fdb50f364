"""Why a series is not opened as a volume, in words: what was found, and the way out."""

from collections.abc import Mapping

import numpy as np

from researchpacs.dicom.geometry import Geometry
from researchpacs.errors import GeometryError

__all__ = ["refusal"]

FOUND = {
    "not_an_image": "holds no image",
    "no_position": "has frames without a usable position, orientation or pixel spacing",
    "multiple_stacks": "holds more than one stack: frames differ in size or pixel spacing, or do not lie on one line",
    "mixed_orientation": "has planes of different orientation",
    "duplicate_positions": "has more than one slice at the same position, as series over time or echoes have",
    "missing_slices": "lacks slices: some gaps are whole multiples of the spacing",
    "nonuniform_spacing": "has slices off the regular grid",
    "gantry_tilt": "is tilted: its slices do not step along their normal",
    "single_slice": "is a single image",
}
WAY_OUT = (
    "A volume needs slices of one size and orientation at one spacing. Repairing and keeping irregular stacks comes "
    "with a later version; the images can be read one by one, through the series' instances"
)


def refusal(series_uid: str, geometry: Geometry, blamed: Mapping[str, tuple[int, ...]]) -> GeometryError:
    """Say why a series is refused.

    Parameters
    ----------
    series_uid
        SeriesInstanceUID.
    geometry
        What the series was found to be.
    blamed
        Reason to slices, as `researchpacs.dicom.geometry.blame` gives it.
    """
    found = [FOUND[reason] + _where(blamed.get(reason, ()), geometry.shape[0]) for reason in geometry.reasons]
    way_out = WAY_OUT if geometry.kind != "not_an_image" else "Its attributes can be read with series.header()"
    slices = sorted({k for reason in geometry.reasons for k in blamed.get(reason, ())})
    return GeometryError(
        f"series ...{series_uid[-8:]} {', '.join(found)}{_measured(geometry)}. {way_out}.",
        reasons=geometry.reasons,
        series_uid=series_uid,
        slices=slices,
    )


def _where(slices: tuple[int, ...], count: int) -> str:
    if not slices or len(slices) == count:
        return ""
    shown = ", ".join(map(str, slices[:5])) + (", ..." if len(slices) > 5 else "")
    return f" (in sorted order from 0, {'slice' if len(slices) == 1 else 'slices'} {shown} of {count})"


def _measured(geometry: Geometry) -> str:
    if geometry.kind == "gantry_tilt" and geometry.affine_lps is not None:
        step, down, right = np.array(geometry.affine_lps)[:3, :3].T
        normal = np.cross(right, down)
        cosine = abs(step @ normal) / np.linalg.norm(step) / np.linalg.norm(normal)
        return f", by {np.degrees(np.arccos(min(cosine, 1.0))):.2f} degrees"
    if geometry.kind == "nonuniform_spacing" and geometry.spacing_error_mm is not None:
        return f", by up to {geometry.spacing_error_mm:.3f} mm"
    return ""
