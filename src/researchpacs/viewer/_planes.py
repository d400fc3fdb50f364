"""Planes of a volume as pictures: which array axis is sliced, which way is up, and where every pixel lies.

A stack is all planes along one array axis. Pictures keep the radiological convention: the axial one shows the
patient's right on the left and anterior on top, the coronal one the patient's right on the left and superior on top,
the sagittal one anterior on the left and superior on top. What lies nowhere in a patient is shown as the array is.
For an oblique acquisition each plane is cut along the array axis nearest to the anatomical one, so no value is
interpolated.

Index order is (z, y, x), points are (x, y, z) LPS mm. A picture's origin, cosines and spacing are those of an Image
Plane (PS3.3 C.7.6.2): the origin is the *centre* of the first pixel, spacing is (between rows, between columns).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from researchpacs.errors import GeometryError

__all__ = ["PlaneStack", "array_stacks", "letters", "plane_stacks", "stored_type"]

MAX_SHEAR_DEG = 0.1
"""In-plane axes further from a right angle than this cannot be shown as a rectangular picture."""

Triple = tuple[int, int, int]

_TOWARDS = {"x": ("R", "L"), "y": ("A", "P"), "z": ("F", "H")}
"""Letters of the falling and the rising LPS coordinate (Patient Orientation, PS3.3 C.7.6.1.1.1)."""


@dataclass(frozen=True, slots=True)
class PlaneStack:
    """All pictures along one array axis."""

    name: str
    """``"axial"``, ``"coronal"`` or ``"sagittal"``; outside of a patient the axis across it, or ``"frame"``."""
    axes: tuple[int, int, int]
    """Array axes that run across the slices, down the rows' order and along the columns' order of a picture."""
    flipped: tuple[bool, bool]
    """Whether the picture's rows, and its columns, run against the array axis."""
    shape: tuple[int, int, int]
    """Slices, rows, columns."""
    spacing: tuple[float, float]
    """mm between rows, mm between columns."""
    row_cosines: tuple[float, float, float]
    """LPS unit vector along a row: of increasing column."""
    column_cosines: tuple[float, float, float]
    """LPS unit vector along a column: of increasing row."""
    origin: tuple[float, float, float]
    """LPS mm of the first pixel of slice 0."""
    step: tuple[float, float, float]
    """LPS mm from a slice to the next."""
    oriented: bool = True
    """Whether LPS is the patient's; else it only counts mm along the array's axes."""
    calibrated: bool = True
    """Whether a mm is one; else spacing is one a pixel."""

    @property
    def axis(self) -> str:
        """The coordinate that grows from slice to slice; empty where slices have no place."""
        return {"axial": "z", "coronal": "y", "sagittal": "x", "frame": ""}.get(self.name, self.name)

    @property
    def normal(self) -> np.ndarray:
        """Unit vector across the planes ``(3,)``, to where a viewer's back is: row x column cosines."""
        return np.cross(self.row_cosines, self.column_cosines)

    def to_lps(self, index: float, row: float, column: float) -> np.ndarray:
        """LPS mm ``(3,)`` of a pixel centre; fractions allowed."""
        down = np.asarray(self.column_cosines) * (self.spacing[0] * row)
        along = np.asarray(self.row_cosines) * (self.spacing[1] * column)
        point: np.ndarray = np.asarray(self.origin) + np.asarray(self.step) * index + down + along
        return point

    def to_pixel(self, point_lps: Sequence[float]) -> tuple[float, float, float]:
        """Slice, row and column, fractional, of a point in LPS mm."""
        matrix = np.column_stack(
            [
                self.step,
                np.asarray(self.column_cosines) * self.spacing[0],
                np.asarray(self.row_cosines) * self.spacing[1],
            ]
        )
        index, row, column = np.linalg.solve(matrix, np.asarray(point_lps, dtype=float) - np.asarray(self.origin))
        return float(index), float(row), float(column)

    def location(self, index: float) -> float:
        """LPS mm of a slice along its normal, in the sense of the rising coordinate; x, y or z where unrotated."""
        normal = self.normal * np.sign(self.normal[np.argmax(np.abs(self.normal))])
        return float(normal @ (np.asarray(self.origin) + np.asarray(self.step) * index))

    def picture(self, plane: np.ndarray) -> np.ndarray:
        """Turn a plane, as cut from the array, into a picture: a view of shape ``(rows, columns)``."""
        _, down, along = self.axes
        upright = plane if down < along else plane.swapaxes(0, 1)
        rows, columns = (slice(None, None, -1) if flip else slice(None) for flip in self.flipped)
        return upright[rows, columns]


def plane_stacks(affine_lps: np.ndarray, shape: Triple) -> tuple[PlaneStack, ...]:
    """Describe the axial, coronal and sagittal pictures of a volume, as far as they are pictures.

    A stack is left out where its planes are lines, as those across a single slice, or no rectangles, as some of a
    tilted gantry.

    Parameters
    ----------
    affine_lps
        ``(4, 4)``, voxel index (z, y, x, 1) to LPS mm.
    shape
        Voxels along z, y, x.

    Raises
    ------
    GeometryError
        Where the axes of the acquired planes themselves are not at a right angle.
    """
    affine = np.asarray(affine_lps, dtype=float)
    left, posterior, superior = _anatomical_axes(affine[:3, :3])
    found = (
        _stack("axial", affine, shape, (superior, posterior, left), down=(0, 1, 0)),
        _stack("coronal", affine, shape, (posterior, superior, left), down=(0, 0, -1)),
        _stack("sagittal", affine, shape, (left, superior, posterior), down=(0, 0, -1)),
    )
    for stack in found:
        if stack.axes[0] == 0:
            _check_right_angle(stack)
    areas = [stack for stack in found if min(stack.shape[1:]) > 1] or [s for s in found if s.axes[0] == 0]
    return tuple(stack for stack in areas if _shear_deg(stack) <= MAX_SHEAR_DEG)


def array_stacks(shape: Triple, spacing: tuple[float, float, float] | None) -> tuple[PlaneStack, ...]:
    """Describe the pictures of an array that lies in no patient, upright as the array is printed.

    Parameters
    ----------
    shape
        Along z, y, x.
    spacing
        mm along z, y, x: then planes across all three axes. None: the array is a row of frames, and only these.
    """
    z, y, x = spacing or (1.0, 1.0, 1.0)
    affine = np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1.0]])
    if spacing is None:
        return (replace(_upright("frame", affine, shape, (0, 1, 2)), oriented=False, calibrated=False),)
    found = [
        _upright(name, affine, shape, axes) for name, axes in (("z", (0, 1, 2)), ("y", (1, 0, 2)), ("x", (2, 0, 1)))
    ]
    kept = [stack for stack in found if min(stack.shape[1:]) > 1] or found[:1]
    return tuple(replace(stack, oriented=False) for stack in kept)


def letters(direction_lps: Sequence[float]) -> str:
    """Where a direction leads, in letters: ``"L"``, or ``"LP"`` where it is oblique by more than a fifth."""
    parts = sorted(zip(_TOWARDS.values(), direction_lps, strict=True), key=lambda part: -abs(part[1]))
    return "".join(pair[value > 0] for pair, value in parts if abs(value) > 0.2)


def stored_type(dtype: np.dtype) -> np.dtype:
    """The type in which planes travel: int16 where it holds every value of the volume's type, else float32.

    Values are never scaled. float32 is exact for integers up to 2**24; it serves display, not statistics.
    """
    return np.dtype("<i2") if np.can_cast(dtype, np.int16, casting="safe") else np.dtype("<f4")


def _anatomical_axes(columns: np.ndarray) -> tuple[int, int, int]:
    """Array axes nearest to left, posterior and superior, each used once."""
    cosines = np.abs(columns / np.linalg.norm(columns, axis=0))
    left, posterior, superior = max(
        permutations(range(3)), key=lambda axes: sum(cosines[lps, axis] for lps, axis in enumerate(axes))
    )
    return left, posterior, superior


def _stack(name: str, affine: np.ndarray, shape: Triple, axes: Triple, *, down: Triple) -> PlaneStack:
    _, rows, columns = axes
    flip_rows = bool(affine[:3, rows] @ np.asarray(down) < 0)
    # Sagittal pictures have the front on the left.
    flip_columns = bool(affine[1 if name == "sagittal" else 0, columns] < 0)
    return _laid_out(name, affine, shape, axes, (flip_rows, flip_columns))


def _upright(name: str, affine: np.ndarray, shape: Triple, axes: Triple) -> PlaneStack:
    return _laid_out(name, affine, shape, axes, (False, False))


def _laid_out(name: str, affine: np.ndarray, shape: Triple, axes: Triple, flipped: tuple[bool, bool]) -> PlaneStack:
    across, rows, columns = axes
    flip_rows, flip_columns = flipped
    first = np.zeros(4)
    first[3] = 1
    first[rows] = shape[rows] - 1 if flip_rows else 0
    first[columns] = shape[columns] - 1 if flip_columns else 0
    row_step = affine[:3, rows] * (-1 if flip_rows else 1)
    column_step = affine[:3, columns] * (-1 if flip_columns else 1)
    spacing = float(np.linalg.norm(row_step)), float(np.linalg.norm(column_step))
    return PlaneStack(
        name=name,
        axes=axes,
        flipped=flipped,
        shape=(shape[across], shape[rows], shape[columns]),
        spacing=spacing,
        row_cosines=_point(column_step / spacing[1]),
        column_cosines=_point(row_step / spacing[0]),
        origin=_point((affine @ first)[:3]),
        step=_point(affine[:3, across]),
    )


def _shear_deg(stack: PlaneStack) -> float:
    """How far the angle between rows and columns is from a right one."""
    cosine = float(np.dot(stack.row_cosines, stack.column_cosines))
    return float(np.degrees(np.arcsin(min(1.0, abs(cosine)))))


def _check_right_angle(stack: PlaneStack) -> None:
    if (shear := _shear_deg(stack)) > MAX_SHEAR_DEG:
        raise GeometryError(
            f"the axes of the {stack.name} plane are {shear:.1f} degrees off a right angle and cannot be shown as a "
            "picture. Open the series with on_irregular='repair'.",
            reasons=("gantry_tilt",),
        )


def _point(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
