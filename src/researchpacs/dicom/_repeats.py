"""Frames that repeat at the same positions: by what they differ, and in which order they stand.

Only what a header says orders them: a frame that was lost never moves the others to another time.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from researchpacs.dicom.stacks import Dimension, StackedFrame

__all__ = ["Repeats", "complete_stacks", "resolve"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_DIGITS = 3
"""Of milliseconds and s/mm2: what is closer is the same echo or b-value."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """Frames of one grid as arrays, (n,); NaN where a value is not known."""

    cell: Indices
    """Which position along the normal it has, from 0."""
    echo: Floats
    b_value: Floats
    gradient: Floats
    """(n, 3)"""
    temporal_position: Floats
    acquisition: Floats
    acquired_s: Floats
    """Since the first of them."""
    trigger: Floats
    number: Floats
    """Instance Number."""
    index: Floats
    """In the instance."""

    @classmethod
    def of(cls, frames: Sequence[StackedFrame], cell: Indices) -> "Repeats":
        """Take what tells frames apart."""

        def read(get: Callable[[StackedFrame], float | None]) -> Floats:
            return np.array([np.nan if (value := get(frame)) is None else value for frame in frames], np.float64)

        nothing = (np.nan,) * 3
        acquired = read(lambda frame: frame.timing.acquired_us)
        known = acquired[~np.isnan(acquired)]
        b_value = read(lambda frame: frame.traits.b_value)
        if not np.isnan(b_value).all():
            b_value = np.where(np.isnan(b_value), 0, b_value)  # among diffusion-weighted images the one without
        return cls(
            cell=cell,
            echo=read(lambda frame: frame.traits.echo_time_ms).round(_DIGITS),
            b_value=b_value.round(_DIGITS),
            gradient=np.array([frame.traits.gradient or nothing for frame in frames], np.float64).reshape(-1, 3),
            temporal_position=read(lambda frame: frame.timing.temporal_position),
            acquisition=read(lambda frame: frame.timing.acquisition_number),
            acquired_s=(acquired - (known.min() if known.size else 0)) / 1e6,
            trigger=read(lambda frame: frame.timing.trigger_ms),
            number=read(lambda frame: frame.instance_number),
            index=read(lambda frame: frame.index),
        )

    def take(self, at: Indices) -> "Repeats":
        """Some of the frames, positions numbered anew."""
        columns = {name: getattr(self, name)[at] for name in self.__slots__}
        columns["cell"] = np.unique(columns["cell"], return_inverse=True)[1].ravel()
        return Repeats(**columns)

    @property
    def positions(self) -> int:
        """How many positions there are."""
        return int(self.cell.max()) + 1

    def in_time(self) -> list[Floats]:
        """What orders frames in time, the strongest first; what some lack orders none."""
        keys = [self.temporal_position, self.acquisition, self.acquired_s, self.trigger, self.number]
        return [*(key for key in keys if not np.isnan(key).any()), self.index]


def complete_stacks(repeats: Repeats) -> Iterator[Indices]:
    """Give all frames where each position has as many; else the complete repetitions, then each incomplete one.

    Where nothing says which repetition a frame belongs to, all come together.
    """
    counts = np.bincount(repeats.cell)
    everything = np.arange(len(repeats.cell))
    if (counts == counts[0]).all():
        yield everything
        return
    label = _repetition(repeats)
    if label is None:
        yield everything
        return
    names, inverse, sizes = np.unique(label, return_inverse=True, return_counts=True)
    complete = sizes == repeats.positions
    if complete.any():
        yield everything[complete[inverse]]
    for k in np.flatnonzero(~complete) if complete.any() else range(len(names)):
        yield everything[inverse == k]


def _repetition(repeats: Repeats) -> Floats | None:
    """Which repetition each frame is of, as its header says; None where that is not told for all, or not once each."""
    for label in (repeats.temporal_position, repeats.acquisition, *_by_number(repeats)):
        if np.isnan(label).any() or len(np.unique(label)) < 2:
            continue
        pairs = np.unique(np.column_stack([label, repeats.cell]), axis=0)
        if len(pairs) == len(repeats.cell):
            return label
    return None


def _by_number(repeats: Repeats) -> Iterator[Floats]:
    """Which repetition each frame is of where Instance Numbers run along the positions, up or down.

    Taking the position off a number leaves where its repetition begins, whatever was lost before it; where numbers run
    otherwise, as in interleaved acquisitions, nothing is told.
    """
    slices, stacks = repeats.positions, int(np.bincount(repeats.cell).max())
    for direction in (1, -1):
        begins = repeats.number - direction * repeats.cell  # one repetition after the other
        if len(np.unique(begins % slices)) == 1:
            yield begins
        begins = repeats.number - direction * repeats.cell * stacks  # one position after the other
        if np.ptp(begins) < stacks:
            yield begins


def resolve(repeats: Repeats) -> tuple[tuple[Dimension, ...], Indices] | None:
    """Find the dimensions along which frames repeat, and the order (dimensions..., slices); None where there are none.

    Every position must have as many frames.
    """
    counts = np.bincount(repeats.cell)
    if counts[0] == 1 or (counts != counts[0]).any():
        return None
    dimensions: list[Dimension] = []
    ranks: list[Indices] = []
    left = int(counts[0])
    for name, values, units in (("echo", repeats.echo, "ms"), ("b_value", repeats.b_value, "s/mm2")):
        found, rank = _levels(values)
        if len(found) > 1 and _each_equally_often(rank, repeats, len(found)):
            dimensions.append(Dimension(name, tuple(found.tolist()), units))
            ranks.append(rank)
            left //= len(found)
    if left > 1:
        ordered = _in_turn(repeats, ranks, left)
        if ordered is None:
            return None
        dimension, rank = ordered
        dimensions.insert(0, dimension)
        ranks.insert(0, rank)
    order = np.lexsort((repeats.cell, *ranks[::-1]))
    return tuple(dimensions), order


def _levels(values: Floats) -> tuple[Floats, Indices]:
    if np.isnan(values).any():
        return np.zeros(1), np.zeros(len(values), np.intp)
    found, rank = np.unique(values, return_inverse=True)
    return found, rank.ravel()


def _each_equally_often(rank: Indices, repeats: Repeats, count: int) -> bool:
    table = np.bincount(repeats.cell * count + rank, minlength=repeats.positions * count)
    return bool((table == table[0]).all() and table[0])


def _in_turn(repeats: Repeats, ranks: Sequence[Indices], left: int) -> tuple[Dimension, Indices] | None:
    """Number the frames that are still at the same place one after the other, and say by what they differ."""
    place = np.lexsort((repeats.cell, *ranks))
    groups = np.column_stack([repeats.cell, *ranks])[place]
    if (np.unique(groups, axis=0, return_counts=True)[1] != left).any():
        return None
    diffusion = [repeats.b_value, *repeats.gradient.T]
    diffusion = [np.where(np.isnan(key), 0, key) for key in diffusion]
    for keys in (repeats.in_time(), [*diffusion, *repeats.in_time()]):
        order = np.lexsort((*keys[::-1], repeats.cell, *ranks))
        told = np.column_stack([*keys, repeats.cell, *ranks])[order]
        if (told[1:] == told[:-1]).all(axis=1).any():
            return None  # nothing says which is first
        rank = np.empty(len(order), np.intp)
        rank[order] = np.tile(np.arange(left), len(order) // left)
        if _is_shared(repeats.temporal_position, rank) and all(_is_shared(key, rank) for key in diffusion):
            return _dimension(repeats, rank, left), rank
    return None


def _is_shared(values: Floats, rank: Indices) -> bool:
    """Whether all frames of one rank agree in a value, to 1e-3; unknown values agree."""
    if np.isnan(values).any():
        return True
    low, high = _extremes(values, rank)
    return bool((high - low <= 10.0**-_DIGITS).all())


def _extremes(values: Floats, rank: Indices) -> tuple[Floats, Floats]:
    count = int(rank.max()) + 1
    if np.isnan(values).any():
        return np.full(count, np.nan), np.full(count, np.nan)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, rank, values)
    np.maximum.at(high, rank, values)
    return low, high


def _dimension(repeats: Repeats, rank: Indices, left: int) -> Dimension:
    """Name what is left to tell frames apart, by what differs."""
    by_b_value = _extremes(repeats.b_value, rank)[0]
    gradient = np.where(np.isnan(repeats.gradient), 0, repeats.gradient)
    if not np.isnan(by_b_value).any() and (np.ptp(by_b_value) or np.ptp(gradient, axis=0).any()):
        return Dimension("b_value", tuple(by_b_value.tolist()), "s/mm2")
    started, _ = _extremes(repeats.acquired_s, rank)
    if not np.isnan(started).any() and (np.diff(started) > 0).all():
        return Dimension("time", tuple((started - started[0]).round(6).tolist()), "s")
    low, high = _extremes(repeats.trigger, rank)
    if not np.isnan(low).any() and (np.diff((low + high) / 2) > 0).all():
        return Dimension("phase", tuple(((low + high) / 2).tolist()), "ms")
    return Dimension("dynamic", tuple(float(k) for k in range(left)), "")
