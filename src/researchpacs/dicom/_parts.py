"""The arithmetic behind `researchpacs.dicom.stacks`: frames as arrays, grouped, then ordered where they repeat."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.dicom import _stack
from researchpacs.dicom._repeats import Repeats, complete_stacks, resolve
from researchpacs.dicom.mosaics import tiles_of
from researchpacs.dicom.stacks import Dimension, Part, StackedFrame, rank_of

if TYPE_CHECKING:
    from researchpacs.dicom.geometry import FrameLike

__all__ = ["split"]

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_OF_ONE_STACK = frozenset({"gantry_tilt", "missing_slices", "nonuniform_spacing", "single_slice"})
_MOST_PLANES = 512
"""More are not compared with each other: that would take time by their square."""


@dataclass(slots=True)
class _Table:
    """All frames as arrays, (n, ...)."""

    frames: Sequence[StackedFrame]
    positions: Floats
    orientations: Floats
    pixel_spacings: Floats
    placed: NDArray[np.bool_]


def split(frames: Sequence[StackedFrame]) -> tuple[Part, ...]:
    """Do the work of `researchpacs.dicom.stacks.split`."""
    kinds = {(id(frame.traits), frame.layout.samples_per_pixel if frame.layout else 0) for frame in frames}
    if len(kinds) == 1 and not frames[0].traits.tiles:
        # Most series are one stack of one kind, which needs one look.
        stack = _stack.examine(frames)
        if not set(stack.reasons) - _OF_ONE_STACK:
            return (_part_of(stack, np.arange(len(frames))),)
    positions = _stack.rows_of([frame.position for frame in frames], 3)
    orientations = _stack.rows_of([frame.orientation for frame in frames], 6)
    pixel_spacings = _stack.rows_of([frame.pixel_spacing for frame in frames], 2)
    placed = _stack.are_placed(positions, orientations, pixel_spacings)
    table = _Table(frames, positions, orientations, pixel_spacings, placed)
    parts = [part for group in _grids(table) for part in _parts_of(table, group)]
    return tuple(sorted(parts, key=lambda part: min(rank_of(frames[k]) for k in part.order)))


def _grids(table: _Table) -> Iterator[Indices]:
    """Frames that may share a grid: what else they are keeps them apart only where that is needed."""
    plane = _planes(table)
    grids: dict[tuple[Any, ...], dict[tuple[str, str], list[int]]] = {}
    for k, frame in enumerate(table.frames):
        traits, layout = frame.traits, frame.layout
        size = (layout.rows, layout.columns, layout.samples_per_pixel) if layout else None
        grid = (plane[k], size, traits.frame_of_reference_uid, traits.component, traits.segment)
        kind = (traits.image_type, traits.stack_id)
        grids.setdefault((*grid, _tile_key(frame)), {}).setdefault(kind, []).append(k)
    for kinds in grids.values():
        yield from _kinds(table, [np.array(one) for one in kinds.values()])


def _tile_key(frame: StackedFrame) -> tuple[object, ...] | None:
    """Mosaics belong together where each of their slices does."""
    tiles, step = frame.traits.tiles, frame.traits.tile_step
    return None if tiles is None or step is None else (tiles, *np.round(step, 4), *np.round(frame.position or (), 3))


def _planes(table: _Table) -> list[int]:
    """Number frames, the same where planes are parallel and pixels as large, within the tolerances; -1 for no place."""
    found = np.full(len(table.frames), -1)
    at = np.flatnonzero(table.placed)
    if at.size:
        cosines, spacings = table.orientations[at], table.pixel_spacings[at]
        _, first, inverse = np.unique(
            np.column_stack([cosines.round(4), spacings.round(6)]), axis=0, return_index=True, return_inverse=True
        )
        same = np.arange(len(first))
        if len(first) <= _MOST_PLANES:
            cosines, spacings = cosines[first], spacings[first]
            for k in range(len(first)):
                if same[k] == k:
                    near = ~_stack.are_turned(cosines[k:]) & ~_stack.are_resized(spacings[k:])
                    same[k:][near & (same[k:] == np.arange(k, len(first)))] = k
        found[at] = same[inverse.ravel()]
    numbers: list[int] = found.tolist()
    return numbers


def _kinds(table: _Table, kinds: Sequence[Indices]) -> Iterator[Indices]:
    """Keep image types and stacks apart, unless they are one regular stack only together, or end to end."""
    union = np.concatenate(kinds)
    if len(kinds) == 1 or not table.placed[union].all() or not _is_regular(table, union):
        yield from kinds
    elif _overlap(table, kinds):
        yield from kinds if all(_is_regular(table, kind) for kind in kinds) else [union]
    else:
        # A picture computed from the slices may lie where the next slice would.
        origins = {_origin(table.frames[kind[0]]) for kind in kinds}
        yield from kinds if len(origins) > 1 else [union]


def _origin(frame: StackedFrame) -> tuple[str, ...]:
    """ORIGINAL or DERIVED, PRIMARY or SECONDARY (PS3.3 C.7.6.1.1.2)."""
    return tuple(frame.traits.image_type.split("\\")[:2])


def _is_regular(table: _Table, at: Indices) -> bool:
    found = _stack.examine([table.frames[k] for k in at])
    return len(at) > 1 and not set(found.reasons) - {"gantry_tilt"}


def _overlap(table: _Table, kinds: Sequence[Indices]) -> bool:
    normal = _stack.normals_of(table.orientations[kinds[0][:1]])[0]
    along = [table.positions[kind] @ normal for kind in kinds]
    ends = sorted((float(one.min()), float(one.max())) for one in along)
    return any(low < high for (_, high), (low, _) in pairwise(ends))


def _parts_of(table: _Table, at: Indices) -> Iterator[Part]:
    """Make the parts of frames that share a grid."""
    cells = _cells(table, at)
    if cells is None or cells.max() == len(at) - 1:
        yield _single(table, at)
        return
    repeats = Repeats.of([table.frames[k] for k in at], cells)
    for chosen in complete_stacks(repeats):
        resolved = resolve(repeats.take(chosen))
        if resolved is None:
            yield _single(table, at[chosen])
        else:
            dimensions, order = resolved
            yield _several(table, at[chosen][order], dimensions)


def _cells(table: _Table, at: Indices) -> Indices | None:
    """Number the positions along the normal, (n,); None for frames without a place or beside each other."""
    if not table.placed[at].all():
        return None
    normal = _stack.normals_of(table.orientations[at[:1]])[0]
    along = table.positions[at] @ normal
    order = np.argsort(along, kind="stable")
    starts = _stack.starts_of(along[order])
    cells = np.empty(len(at), np.intp)
    cells[order] = np.cumsum(starts) - 1
    first = np.empty(len(at), np.intp)
    first[order] = order[np.flatnonzero(starts)][cells[order]]
    beside = np.linalg.norm(table.positions[at] - table.positions[at[first]], axis=1)
    return cells if (beside <= _stack.same_mm(along[order])).all() else None


def _single(table: _Table, at: Indices) -> Part:
    if table.frames[at[0]].traits.tiles and len(at) == 1:
        return _several(table, at, ())
    return _part_of(_stack.examine([table.frames[k] for k in at]), at)


def _part_of(stack: _stack.Stack, at: Indices) -> Part:
    order = tuple(at[stack.order].tolist())
    return Part(_stack.geometry_of(stack), order, (), stack.reasons, _step(stack), _orientation(stack))


def _several(table: _Table, at: Indices, dimensions: tuple[Dimension, ...]) -> Part:
    """`at` has the stacks one after another, each along +normal; the first one stands for all."""
    slices = len(at)
    for dimension in dimensions:
        slices //= len(dimension.values)
    planes: Sequence[FrameLike] = [table.frames[k] for k in at[:slices]]
    is_mosaic = bool(slices == 1 and table.frames[at[0]].traits.tiles)
    if is_mosaic:
        planes = tiles_of(table.frames[at[0]])
    stack = _stack.examine(planes)
    tiles = tuple(stack.order.tolist()) if is_mosaic else None
    return Part(
        _stack.geometry_of(stack),
        tuple(at.tolist()),
        dimensions,
        stack.reasons,
        _step(stack),
        _orientation(stack),
        tiles,
    )


def _step(stack: _stack.Stack) -> tuple[float, float, float] | None:
    return None if stack.step is None else (float(stack.step[0]), float(stack.step[1]), float(stack.step[2]))


def _orientation(stack: _stack.Stack) -> tuple[float, ...] | None:
    placed = len(stack.orientations) > 0 and "no_position" not in stack.reasons
    return tuple(stack.orientations[0].tolist()) if placed else None
