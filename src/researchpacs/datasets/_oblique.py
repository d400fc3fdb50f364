"""The beads as an oblique MR of two series: one study, one Frame of Reference, planes turned against each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID, MRImageStorage

from researchpacs.datasets._bead_files import DATE, TIME, header
from researchpacs.datasets._beads import BEADS, RADIUS_MM, Beads, share_of
from researchpacs.datasets._files import decimals, save

__all__ = ["COUNT", "LEAST_BYTES", "oblique_truth", "write_oblique"]

BEADS_OF = Beads("oblique_mr", "MR of two oblique series", 0, 0.0)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """How one series is acquired."""

    name: str
    description: str
    orientation: tuple[float, float, float, float, float, float]
    """Cosines with six digits, as a header holds them."""
    slices: int
    step_mm: float
    pixel_mm: float
    side: int
    echo_ms: str
    repetition_ms: str
    water: float
    bead: float
    """Stored values."""

    @property
    def axes(self) -> tuple[Floats, Floats, Floats]:
        """Unit vectors of increasing column, row and slice, LPS."""
        right, down = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        return right, down, np.cross(right, down)

    def position(self, index: int) -> tuple[float, float, float]:
        """Centre of the first pixel of a slice, LPS mm; the middle of the volume is the origin."""
        right, down, normal = self.axes
        half = (self.side - 1) / 2 * self.pixel_mm
        x, y, z = (
            (-half * right - half * down + (index - (self.slices - 1) / 2) * self.step_mm * normal).round(6).tolist()
        )
        return x, y, z

    def plane(self, index: int) -> NDArray[np.uint16]:
        """(rows, columns) stored values."""
        right, down, _ = self.axes
        rows, columns = np.mgrid[: self.side, : self.side] * self.pixel_mm
        x, y, z = (self.position(index)[k] + columns * float(right[k]) + rows * float(down[k]) for k in range(3))
        share = share_of(x, y, z)
        values = self.water * (share >= 0) + (self.bead - self.water) * np.clip(share, 0, 1)
        return np.rint(values).astype("<u2")

    def uid(self, kind: str, *names: str) -> UID:
        """A UID that is the same on every machine."""
        return BEADS_OF.uid(kind, self.name, *names)


VIEWS = (
    View(
        "t1", "T1 axial oblique", (0.939693, 0.0, 0.34202, -0.059391, 0.984808, 0.163176),
        26, 4.0, 1.75, 80, "10", "500", 300, 1500,
    ),
    View(
        "t2", "T2 sagittal oblique", (0.173648, 0.984808, 0.0, 0.085832, -0.015134, -0.996195),
        22, 5.0, 1.5, 96, "90", "4000", 1400, 400,
    ),
)  # fmt: skip
COUNT = sum(view.slices for view in VIEWS)
LEAST_BYTES = 2 * min(view.side for view in VIEWS) ** 2


def write_oblique(folder: Path) -> None:
    """Write both series, a file for each slice."""
    number = 0
    for k, view in enumerate(VIEWS, 1):
        for index in range(view.slices):
            number += 1
            save(_slice(view, k, index), folder / f"{number:04d}.dcm")


def oblique_truth() -> Mapping[str, Any]:
    """What is known because it was made that way."""
    return {
        "description": BEADS_OF.description,
        "beads": {bead: {"center_lps": center, "radius_mm": RADIUS_MM} for bead, center in BEADS.items()},
        "series": {
            view.name: {
                "SeriesInstanceUID": view.uid("series"),
                "orientation": view.orientation,
                "spacing": (view.step_mm, view.pixel_mm, view.pixel_mm),
                "shape": (view.slices, view.side, view.side),
                "origin_lps": view.position(0),
                "water": view.water,
                "bead": view.bead,
            }
            for view in VIEWS
        },
        "PatientID": "BEADS",
        "StudyInstanceUID": BEADS_OF.uid("study"),
        "SeriesInstanceUIDs": [view.uid("series") for view in VIEWS],
        "FrameOfReferenceUID": BEADS_OF.uid("frame of reference"),
    }


def _slice(view: View, number: int, index: int) -> Dataset:
    ds = header(BEADS_OF, MRImageStorage, "MR")
    ds.SeriesInstanceUID, ds.SeriesNumber = view.uid("series"), str(number)
    ds.SeriesDescription = view.description
    ds.SOPInstanceUID, ds.InstanceNumber = view.uid("instance", str(index)), str(index + 1)
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.AcquisitionDate, ds.AcquisitionTime = DATE, TIME
    ds.ImagePositionPatient = decimals(view.position(index))
    ds.ImageOrientationPatient = decimals(view.orientation)
    ds.PixelSpacing = decimals((view.pixel_mm, view.pixel_mm))
    ds.SliceThickness = decimals([view.step_mm])[0]
    ds.Rows = ds.Columns = view.side
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "NONE", "", "2D"
    ds.RepetitionTime, ds.EchoTime, ds.EchoTrainLength = view.repetition_ms, view.echo_ms, "1"
    ds.PixelData = view.plane(index).tobytes()
    return ds
