"""The lengths of one viewer: drafts drawn by hand, and those already saved."""

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import xarray as xr

from researchpacs.errors import InvalidInputError
from researchpacs.viewer._messages import Mark, MarkRequest
from researchpacs.viewer._planes import PlaneStack

if TYPE_CHECKING:
    from researchpacs.annotation import Measurement

__all__ = ["Drawn", "Marks"]

ON_PLANE_MM = 0.01
"""A point further from the plane it was drawn on did not come from there."""
SHORTEST_MM = 0.1
"""A click without a drag is no length."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A length and the plane it was drawn on."""

    id: str
    plane: str
    index: int
    measurement: "Measurement"
    saved: bool = False


class Marks:
    """The list of lengths; safe to change from any thread.

    Parameters
    ----------
    vol
        The volume that is measured.
    stacks
        The planes that can be drawn on, by name.
    """

    def __init__(self, vol: xr.DataArray, stacks: dict[str, PlaneStack]) -> None:
        self._vol = vol
        self._stacks = stacks
        self._lock = threading.Lock()
        self._drawn: dict[str, Drawn] = {}

    def __iter__(self) -> Iterator[Drawn]:
        return iter(tuple(self._drawn.values()))

    def put(self, request: MarkRequest) -> None:
        """Add a length, or move the draft of the same id.

        Raises
        ------
        InvalidInputError
            For points that are not on the plane, a length of nearly zero, a length that is already saved.
        """
        p, q = self._points(request)
        with self._lock:
            before = self._drawn.get(request["id"])
            self._refuse_saved(before)
            label = before.measurement.label if before else self._next_label()
            self._drawn[request["id"]] = Drawn(
                request["id"], request["plane"], request["index"], self._length(p, q, label)
            )

    def rename(self, mark_id: str, label: str) -> None:
        """Give a draft another label."""
        with self._lock:
            before = self._drawn.get(mark_id)
            if before is None:
                raise InvalidInputError("there is no such length")
            self._refuse_saved(before)
            kept = label.strip() or before.measurement.label
            # Not measured again: points are kept in single precision, the value in more.
            renamed = replace(before.measurement, label=kept, tracking_uid="")
            self._drawn[mark_id] = replace(before, measurement=renamed)

    def remove(self, mark_id: str) -> None:
        """Forget a draft."""
        with self._lock:
            self._refuse_saved(self._drawn.get(mark_id))
            self._drawn.pop(mark_id, None)

    def drafts(self) -> list[Drawn]:
        """What is not saved."""
        return [drawn for drawn in self if not drawn.saved]

    def mark_saved(self, drafts: Sequence[Drawn]) -> None:
        """Remember that these were saved; one that was moved meanwhile stays a draft."""
        with self._lock:
            for draft in drafts:
                if self._drawn.get(draft.id) is draft:
                    self._drawn[draft.id] = replace(draft, saved=True)

    def as_state(self) -> list[Mark]:
        """The list as the browser draws it."""
        return [
            Mark(
                id=drawn.id,
                plane=drawn.plane,
                index=drawn.index,
                points_lps=[[float(value) for value in point] for point in drawn.measurement.points_lps],
                label=drawn.measurement.label,
                value_mm=float(drawn.measurement.value),
                state="saved" if drawn.saved else "draft",
            )
            for drawn in self
        ]

    def _length(self, p: Sequence[float], q: Sequence[float], label: str) -> "Measurement":
        from researchpacs.annotation import Measurement

        return Measurement.length(self._vol, p, q, label=label, created_at=datetime.now(UTC))

    def _points(self, request: MarkRequest) -> tuple[list[float], list[float]]:
        stack = self._stacks.get(request["plane"])
        points = request["points_lps"]
        if stack is None or not 0 <= request["index"] < stack.shape[0]:
            raise InvalidInputError(f"the volume has no {request['plane']} plane {request['index']}")
        if len(points) != 2 or any(len(point) != 3 or not all(map(math.isfinite, point)) for point in points):
            raise InvalidInputError("a length has two points of three coordinates")
        if math.dist(*points) < SHORTEST_MM:
            raise InvalidInputError(f"a length is at least {SHORTEST_MM} mm: press, drag and release")
        gap = max(abs(stack.to_pixel(point)[0] - request["index"]) * math.hypot(*stack.step) for point in points)
        if gap > ON_PLANE_MM:
            raise InvalidInputError(f"the points lie {gap:.2f} mm off the {stack.name} plane they were drawn on")
        return points[0], points[1]

    def _next_label(self) -> str:
        taken = {drawn.measurement.label for drawn in self._drawn.values()}
        return next(f"length {n}" for n in range(1, len(taken) + 2) if f"length {n}" not in taken)

    def _refuse_saved(self, drawn: Drawn | None) -> None:
        if drawn is not None and drawn.saved:
            raise InvalidInputError("this length is saved and stays as it is; draw another one")
