"""Why a series is not opened as a volume, in words: what was found, and the way out."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from researchpacs.dicom.geometry import Geometry
from researchpacs.dicom.stacks import Part, StackedFrame, geometry_of
from researchpacs.errors import GeometryError

__all__ = ["refusal", "refusal_of_parts"]

FOUND = {
    "not_an_image": "holds no image",
    "no_position": "has frames without a usable position, orientation or pixel spacing",
    "multiple_stacks": "holds more than one stack: frames differ in what they are, or do not lie on one line",
    "mixed_orientation": "has planes of different orientation",
    "duplicate_positions": "has more than one slice at the same position, and nothing tells them all apart",
    "missing_slices": "lacks slices: some gaps are whole multiples of the spacing",
    "nonuniform_spacing": "has slices off the regular grid",
    "gantry_tilt": "is tilted: its slices do not step along their normal",
    "single_slice": "is a single image",
}
KEEP = "on_irregular='keep' stacks the images as they are"
WAY_OUT = {
    "not_an_image": "Its attributes can be read with series.header()",
    "gantry_tilt": f"on_irregular='repair' shears it upright, and {KEEP}, with the sheared affine",
    "missing_slices": f"on_irregular='repair' fills the gaps and marks what it invents, and {KEEP}, without an affine",
    "nonuniform_spacing": f"on_irregular='repair' resamples it onto a regular grid, and {KEEP}, without an affine",
}
OTHERWISE = f"{KEEP}, without an affine; open_frames gives them one by one"


def refusal(
    series_uid: str, geometry: Geometry, blamed: Mapping[str, tuple[int, ...]], *, on_irregular: str = "raise"
) -> GeometryError:
    """Say why a stack is refused.

    Parameters
    ----------
    series_uid
        SeriesInstanceUID.
    geometry
        What the series was found to be.
    blamed
        Reason to slices, as `researchpacs.dicom.geometry.blame` gives it.
    on_irregular
        What was asked for.
    """
    found = [FOUND[reason] + _where(blamed.get(reason, ()), geometry.shape[0]) for reason in geometry.reasons]
    way_out = WAY_OUT.get(geometry.kind, OTHERWISE)
    if on_irregular == "repair":
        way_out = f"That cannot be repaired; {way_out}"
    slices = sorted({k for reason in geometry.reasons for k in blamed.get(reason, ())})
    return GeometryError(
        f"series ...{series_uid[-8:]} {', '.join(found)}{_measured(geometry)}. {way_out}.",
        reasons=geometry.reasons,
        series_uid=series_uid,
        slices=slices,
    )


def refusal_of_parts(series_uid: str, frames: Sequence[StackedFrame], parts: Sequence[Part]) -> GeometryError:
    """Say why a series that is several volumes, or none, does not open as one."""
    geometry = geometry_of(frames, parts)
    if not parts:
        return refusal(series_uid, geometry, {})
    firsts = [frames[part.order[0]] for part in parts]
    differ = [words for words, told in _TOLD_APART.items() if len({told(frame) for frame in firsts}) > 1]
    differ += ["orientation"] if "mixed_orientation" in geometry.reasons else []
    why = f"that differ in {', '.join(differ)}" if differ else "of which one was interrupted"
    odd = [FOUND[reason] for reason in geometry.reasons if reason not in ("multiple_stacks", "mixed_orientation")]
    also = f", and {', '.join(odd)}" if odd else ""
    return GeometryError(
        f"series ...{series_uid[-8:]} holds {len(parts)} volumes {why}{also}. open_volumes() opens them one by one.",
        reasons=geometry.reasons,
        series_uid=series_uid,
        slices=[part.order[0] for part in parts],
    )


_TOLD_APART: Mapping[str, Callable[[StackedFrame], object]] = {
    "Frame of Reference": lambda frame: frame.traits.frame_of_reference_uid,
    "image type": lambda frame: frame.traits.image_type,
    "component": lambda frame: frame.traits.component,
    "stack": lambda frame: frame.traits.stack_id,
    "segment": lambda frame: frame.traits.segment,
    "size": lambda frame: frame.layout and (frame.layout.rows, frame.layout.columns),
    "pixel spacing": lambda frame: frame.pixel_spacing and tuple(frame.pixel_spacing),
}


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
