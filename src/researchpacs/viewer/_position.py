"""Where the planes of a scene meet, and how a stack of planes is told to the browser."""

from collections.abc import Mapping, Sequence

import numpy as np

from researchpacs.errors import InvalidInputError
from researchpacs.viewer._messages import PlaneGeometry
from researchpacs.viewer._planes import PlaneStack
from researchpacs.viewer._scene import Scene

__all__ = ["as_state", "meeting_point", "slices_at"]


def meeting_point(scene: Scene, slices: Mapping[str, int]) -> tuple[float, float, float]:
    """LPS mm where planes meet; in the middle of a direction that no plane lies across."""
    index = (np.asarray(scene.shape, dtype=float) - 1) / 2
    for name, stack in scene.stacks.items():
        index[stack.axes[0]] = slices.get(name, index[stack.axes[0]])
    x, y, z = (float(value) for value in (scene.affine @ [*index, 1.0])[:3])
    return x, y, z


def slices_at(scene: Scene, point: object) -> dict[str, int]:
    """The planes nearest to a point in LPS mm, by stack.

    Raises
    ------
    InvalidInputError
        It is no point, or lies outside.
    """
    try:
        place = np.asarray(point, dtype=float)
    except (TypeError, ValueError):
        place = np.zeros(0)
    if place.shape != (3,) or not np.isfinite(place).all():
        raise InvalidInputError(f"a position is (x, y, z) in LPS mm, not {point!r}")
    slices = {}
    for name, stack in scene.stacks.items():
        nearest, count = round(stack.to_pixel(place.tolist())[0]), stack.shape[0]
        if not 0 <= nearest < count:
            raise InvalidInputError(f"the point lies outside of the volume: {name} plane {nearest + 1} of {count}")
        slices[name] = nearest
    return slices


def as_state(stack: PlaneStack) -> PlaneGeometry:
    """Tell the browser of a stack."""
    return PlaneGeometry(
        name=stack.name,
        count=stack.shape[0],
        rows=stack.shape[1],
        columns=stack.shape[2],
        row_spacing=stack.spacing[0],
        column_spacing=stack.spacing[1],
        row_cosines=_numbers(stack.row_cosines),
        column_cosines=_numbers(stack.column_cosines),
        origin=_numbers(stack.origin),
        step=_numbers(stack.step),
        axis=stack.axis,
        location=stack.location(0),
        location_step=stack.location(1) - stack.location(0),
        oriented=stack.oriented,
        calibrated=stack.calibrated,
    )


def _numbers(values: Sequence[float]) -> list[float]:
    return [float(value) for value in values]
