"""A phantom of beads, acquired in ways that volumes have to be told apart by: tilted, with gaps, over time, enhanced.

A cylinder of water holds four beads whose centres are known; one of them beats. Values are analytic, without noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from researchpacs.datasets._files import sample_uid

__all__ = ["BEADS", "RADIUS_MM", "SETS", "Beads", "share_of", "truth_of"]

Floats = NDArray[np.float64]

SIDE, PIXEL_MM = 64, 2.0
BEADS: Mapping[str, tuple[float, float, float]] = {
    "front": (0.0, -30.0, -16.0),
    "back": (10.0, 32.0, 20.0),
    "left": (34.0, 4.0, 6.0),
    "beating": (-24.0, 0.0, 0.0),
}
"""LPS mm of their centres."""
RADIUS_MM, BEAT_MM = 9.0, 3.0
CYLINDER_MM = 56.0


@dataclass(frozen=True)
class Beads:
    """How one set is acquired."""

    name: str
    description: str
    slices: int
    step_mm: float
    """Between slices, along z."""
    tilt_deg: float = 0.0
    missing: tuple[int, ...] = ()
    """Slices that are not there, counted from the feet."""
    trigger_ms: tuple[float, ...] = ()
    """Cardiac phases."""
    echo_ms: tuple[float, ...] = ()

    @property
    def present(self) -> tuple[int, ...]:
        """Slices that are there, counted from the feet."""
        return tuple(k for k in range(self.slices) if k not in self.missing)

    def position(self, index: int) -> tuple[float, float, float]:
        """Centre of the first pixel of a slice, LPS mm: planes are upright, a tilt moves them back as they go up."""
        z = (index - (self.slices - 1) / 2) * self.step_mm
        corner = -(SIDE - 1) / 2 * PIXEL_MM
        return corner, round(corner + z * float(np.tan(np.deg2rad(self.tilt_deg))), 6), round(z, 6)

    def radius_mm(self, phase: int) -> float:
        """Of the beating bead."""
        share = phase / len(self.trigger_ms) if self.trigger_ms else 0.0
        return RADIUS_MM - BEAT_MM * float(np.sin(np.pi * share)) ** 2

    def plane(self, index: int, phase: int = 0) -> Floats:
        """(rows, columns) share of bead in each pixel, -1 outside of the cylinder."""
        x0, y0, z = self.position(index)
        y, x = np.mgrid[:SIDE, :SIDE] * PIXEL_MM + np.array([y0, x0]).reshape(2, 1, 1)
        return share_of(x, y, z, self.radius_mm(phase))

    def uid(self, kind: str, *names: str) -> UID:
        """A UID that is the same on every machine."""
        return sample_uid(kind, self.name, *names)


def share_of(x: Floats, y: Floats, z: Floats | float, beating_mm: float = RADIUS_MM) -> Floats:
    """Give the share of bead at points, LPS mm; -1 outside of the cylinder."""
    values = np.where(np.hypot(x, y) <= CYLINDER_MM, 0.0, -1.0)
    for name, (cx, cy, cz) in BEADS.items():
        radius = beating_mm if name == "beating" else RADIUS_MM
        distance = np.sqrt((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2)
        # The surface is blurred over a voxel, so that centres of mass are exact to a fraction of it.
        values = np.maximum(values, np.clip((radius - distance) / PIXEL_MM + 0.5, values.min(), 1.0))
    return np.where((values < 0) & (np.hypot(x, y) <= CYLINDER_MM), 0.0, values)


SETS = {
    one.name: one
    for one in (
        Beads("tilted_ct", "CT with a gantry tilt of 13.5 degrees", 24, 3.0, tilt_deg=13.5),
        Beads("gapped_ct", "CT of which slices were lost", 24, 3.0, missing=(5, 6, 14)),
        Beads("cine_mr", "MR over a heartbeat, a file for each slice and phase", 10, 6.0, trigger_ms=tuple(
            80.0 * k for k in range(10)
        )),
        Beads("enhanced_mr", "Enhanced MR of two echoes in one multi-frame file", 12, 5.0, echo_ms=(10.0, 40.0)),
    )
}  # fmt: skip


def truth_of(name: str) -> dict[str, Any]:
    """What is known about a set because it was made that way."""
    beads = SETS[name]
    return {
        "description": beads.description,
        "beads": {bead: {"center_lps": center, "radius_mm": RADIUS_MM} for bead, center in BEADS.items()},
        "beating_radius_mm": tuple(beads.radius_mm(k) for k in range(len(beads.trigger_ms))),
        "spacing": (beads.step_mm, PIXEL_MM, PIXEL_MM),
        "shape": (beads.slices, SIDE, SIDE),
        "origin_lps": beads.position(0),
        "tilt_deg": beads.tilt_deg,
        "missing_slices": beads.missing,
        "trigger_ms": beads.trigger_ms,
        "echo_ms": beads.echo_ms,
        "PatientID": "BEADS",
        "StudyInstanceUID": beads.uid("study"),
        "SeriesInstanceUID": beads.uid("series"),
        "FrameOfReferenceUID": beads.uid("frame of reference"),
    }
