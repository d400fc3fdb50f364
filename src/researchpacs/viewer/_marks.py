"""The marks of one scene: drafts drawn by hand or in Python, and those already saved."""

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast
from uuid import uuid4

from researchpacs.errors import InvalidInputError
from researchpacs.viewer._measures import AREAS, POINTS, SHORTEST_MM, Quantity, geometry_of, on_plane, values_of
from researchpacs.viewer._messages import Mark, MarkRequest
from researchpacs.viewer._messages import Quantity as QuantityState
from researchpacs.viewer._scene import Scene

if TYPE_CHECKING:
    from researchpacs.annotation import Measurement

__all__ = ["Drawn", "Marks"]

ON_PLANE_MM = 0.01
"""A point further from the plane it was drawn on did not come from there."""
MOST_POINTS = 5000
MOST_UNDONE = 200
NOUNS = {"cobb": "Cobb angle", "polygon": "outline"}

Points = tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A shape and the plane it was drawn on; no plane where it lies on none."""

    id: str
    shape: str
    plane: str
    index: int
    volume: int
    points_lps: Points
    measurement: "Measurement"
    saved: bool = False

    @property
    def quantities(self) -> list[Quantity]:
        """Its numbers, the one it is named for first."""
        from researchpacs.viewer._kept import quantities_of

        return quantities_of(self.measurement)


class Marks:
    """The list of marks; safe to change from any thread.

    Parameters
    ----------
    scene
        What is measured.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._lock = threading.RLock()
        self._drawn: dict[str, Drawn] = {}
        self._past: list[dict[str, Drawn]] = []
        self._future: list[dict[str, Drawn]] = []

    def __iter__(self) -> Iterator[Drawn]:
        return iter(tuple(self._drawn.values()))

    def put(self, request: MarkRequest) -> Drawn:
        """Add a shape, or change the draft of the same id.

        Raises
        ------
        InvalidInputError
            For points that are not on the plane, a shape of nearly no size, one that is already saved.
        """
        points = self._points(request)
        with self._lock:
            before = self._drawn.get(request["id"])
            self._refuse_saved(before)
            label = before.measurement.label if before else self._next_label(request["shape"])
            made = self._measured(request, points, label)
            self._remember()
            self._drawn[request["id"]] = made
        return made

    def add(self, measurement: "Measurement", *, saved: bool = False) -> Drawn:
        """Show a measurement made elsewhere, on the plane it lies on if there is one.

        Raises
        ------
        InvalidInputError
            It was made in another Frame of Reference.
        """
        ours, its = self._scene.frame_of_reference_uid, measurement.frame_of_reference_uid
        if ours != its:
            raise InvalidInputError(f"the measurement is in Frame of Reference {its}, this viewer in {ours or 'none'}")
        shape, points = measurement.kind, measurement.points_lps
        plane, index = self._place(points)
        with self._lock:
            known = next((one for one in self if one.measurement == measurement), None)
            if known is not None:
                return known
            self._remember()
            made = Drawn(uuid4().hex, shape, plane, index, 0, points, measurement, saved)
            self._drawn[made.id] = made
        return made

    def replace_drafts(self, measurements: Sequence["Measurement"]) -> None:
        """Have just these beside those that are saved."""
        with self._lock:
            self._remember()
            wanted = list(measurements)
            for drawn in self:
                if not drawn.saved and drawn.measurement not in wanted:
                    del self._drawn[drawn.id]
            for one in wanted:
                self.add(one)

    def rename(self, mark_id: str, label: str) -> None:
        """Give a draft another label."""
        with self._lock:
            before = self._drawn.get(mark_id)
            if before is None:
                raise InvalidInputError("there is no such mark")
            self._refuse_saved(before)
            kept = label.strip() or before.measurement.label
            renamed = replace(before.measurement, label=kept, tracking_uid="")
            self._remember()
            self._drawn[mark_id] = replace(before, measurement=renamed)

    def remove(self, mark_id: str) -> None:
        """Forget a draft."""
        with self._lock:
            before = self._drawn.get(mark_id)
            self._refuse_saved(before)
            if before is not None:
                self._remember()
                del self._drawn[mark_id]

    def undo(self) -> None:
        """Take the last change back, if there is one since the last save."""
        with self._lock:
            if self._past:
                self._future.append(self._drawn)
                self._drawn = self._past.pop()

    def redo(self) -> None:
        """Make the change again that was taken back last."""
        with self._lock:
            if self._future:
                self._past.append(self._drawn)
                self._drawn = self._future.pop()

    def drafts(self) -> list[Drawn]:
        """What is not saved."""
        return [drawn for drawn in self if not drawn.saved]

    def mark_saved(self, drafts: Sequence[Drawn]) -> None:
        """Remember that these were saved; one that was changed meanwhile stays a draft."""
        with self._lock:
            for draft in drafts:
                if self._drawn.get(draft.id) is draft:
                    self._drawn[draft.id] = replace(draft, saved=True)
            # What is saved is not taken back.
            self._past.clear()
            self._future.clear()

    def as_state(self) -> list[Mark]:
        """The list as the browser draws it."""
        return [
            Mark(
                id=drawn.id,
                shape=drawn.shape,
                plane=drawn.plane,
                index=drawn.index,
                volume=drawn.volume,
                points_lps=[list(point) for point in drawn.points_lps],
                label=drawn.measurement.label,
                quantities=[QuantityState(name=q.name, value=q.value, unit=q.unit) for q in drawn.quantities],
                state="saved" if drawn.saved else "draft",
            )
            for drawn in self
        ]

    def _remember(self) -> None:
        self._past = [*self._past[-MOST_UNDONE + 1 :], dict(self._drawn)]
        self._future.clear()
        self._drawn = dict(self._drawn)

    def _measured(self, request: MarkRequest, points: Points, label: str) -> Drawn:
        from researchpacs.viewer._kept import measurement_of

        shape, plane, index, volume = request["shape"], request["plane"], request["index"], request["volume"]
        stack = self._scene.stacks[plane]
        flat = [on_plane(stack, index, point) for point in points]
        found = geometry_of(shape, flat)
        voxels = self._scene.voxels
        if (shape in AREAS or shape == "probe") and not voxels.is_colour:
            picture = voxels.values(stack, index, volume)
            padding = self._scene.padding
            found += values_of(shape, flat, picture, stack.spacing, unit=self._scene.units, padding=padding)
        if not found:
            raise InvalidInputError("there is no value beneath the probe")
        now = datetime.now(UTC)
        made = measurement_of(shape, points, found, label=label, scene=self._scene, stack=stack, created_at=now)
        return Drawn(request["id"], shape, plane, index, volume, points, made)

    def _points(self, request: MarkRequest) -> Points:
        stack, shape = self._scene.stacks.get(request["plane"]), request["shape"]
        if not self._scene.is_measurable:
            raise InvalidInputError("these frames are not calibrated: nothing can be measured on them")
        if shape not in POINTS:
            raise InvalidInputError(f"there is no mark of the kind {shape!r}")
        if stack is None or not 0 <= request["index"] < stack.shape[0]:
            raise InvalidInputError(f"the volume has no {request['plane']} plane {request['index']}")
        if not 0 <= request["volume"] < self._scene.voxels.count:
            raise InvalidInputError(f"there is no volume {request['volume']}")
        points = request["points_lps"]
        count = POINTS[shape]
        told = f"{count} points" if count else "at least three points"
        fits = len(points) == count if count else 3 <= len(points) <= MOST_POINTS
        if not fits or any(len(point) != 3 or not all(map(math.isfinite, point)) for point in points):
            raise InvalidInputError(f"a mark of the kind {shape} has {told} of three coordinates")
        if shape != "probe" and max(math.dist(points[0], point) for point in points) < SHORTEST_MM:
            raise InvalidInputError(f"a mark is at least {SHORTEST_MM} mm wide: press, drag and release")
        gap = max(abs(stack.to_pixel(point)[0] - request["index"]) * math.hypot(*stack.step) for point in points)
        if gap > ON_PLANE_MM:
            raise InvalidInputError(f"the points lie {gap:.2f} mm off the {stack.name} plane they were drawn on")
        return cast("Points", tuple(tuple(point) for point in points))

    def _place(self, points: Points) -> tuple[str, int]:
        """The plane that holds all points."""
        for name, stack in self._scene.stacks.items():
            indices = [stack.to_pixel(point)[0] for point in points]
            nearest = round(indices[0])
            gap = max(abs(index - nearest) for index in indices) * math.hypot(*stack.step)
            if gap <= ON_PLANE_MM and 0 <= nearest < stack.shape[0]:
                return name, nearest
        return "", 0

    def _next_label(self, shape: str) -> str:
        noun = NOUNS.get(shape, shape)
        taken = {drawn.measurement.label for drawn in self._drawn.values()}
        return next(f"{noun} {n}" for n in range(1, len(taken) + 2) if f"{noun} {n}" not in taken)

    def _refuse_saved(self, drawn: Drawn | None) -> None:
        if drawn is not None and drawn.saved:
            raise InvalidInputError("this mark is saved and stays as it is; draw another one")
