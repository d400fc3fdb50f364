"""Frames of a series from the catalog, for an archive that does not know them itself yet."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import groupby
from typing import Any

import duckdb

from researchpacs.catalog._lake import NAME
from researchpacs.dicom.frame_record import Record, pack
from researchpacs.dicom.frame_traits import Timing, Traits
from researchpacs.dicom.frames import FrameRow
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.model import Frame

__all__ = ["FRAME_COLUMNS", "Placed", "as_frame", "frames_of_series", "records_of"]

Dimensions = tuple[int, ...] | None

_LAYOUT = 10
_TEXTS = ("frame_of_reference_uid", "image_type", "component", "stack_id")
"""Fields of `Traits` that are empty where the catalog has NULL."""
_VALUES = ("echo_time_ms", "b_value", "gradient", "segment", "tiles", "tile_step")
_TIMING = _LAYOUT + 1 + len(_TEXTS) + len(_VALUES)
FRAME_COLUMNS = (
    "SOPInstanceUID",
    "frame_index",
    "InstanceNumber",
    "position",
    "orientation",
    "pixel_spacing",
    "rescale_slope",
    "rescale_intercept",
    "byte_offset",
    "byte_length",
    "pixel_layout",
    *_TEXTS,
    *_VALUES,
    "temporal_position",
    "acquisition_number",
    "acquired_at",
    "trigger_ms",
)
"""What a `Frame` is made of."""
_EXISTS = f"select 1 from {NAME}.main.series where SeriesInstanceUID = $uid limit 1"  # noqa: S608
_FRAMES = f"""
select {", ".join(FRAME_COLUMNS)}, dimension_indices, patient_key, StudyInstanceUID
from {NAME}.main.frames
where SeriesInstanceUID = $uid
order by SOPInstanceUID, frame_index
"""  # noqa: S608
_EPOCH = datetime(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


class Placed(dict[str, Any]):
    """A row of ``frames`` that was made of a frame, which it has still."""

    __slots__ = ("frame",)

    frame: FrameRow


def frames_of_series(con: duckdb.DuckDBPyConnection, series_uid: str) -> list[tuple[Frame, Dimensions]]:
    """Read all frames of a series with their dimension indices, instance by instance; none for one that is no image."""
    found = con.execute(_FRAMES, {"uid": series_uid}).fetchall()
    if not found and not con.execute(_EXISTS, {"uid": series_uid}).fetchone():
        raise NotFoundError(f"no series {series_uid} is in the catalog")
    owners = {row[-2:] for row in found}
    if len(owners) > 1:
        raise InvalidInputError(
            f"{len(owners)} series of other patients or studies share the SeriesInstanceUID {series_uid}; "
            "pacs.sql() tells them apart by patient_key and StudyInstanceUID"
        )
    return [(_frame(row), None if row[-3] is None else tuple(row[-3])) for row in found]


def as_frame(row: Mapping[str, Any]) -> Frame:
    """Make the frame of a row by its names; what is left out of it is not known."""
    if not isinstance(row, Placed):
        return _frame([row.get(name) for name in FRAME_COLUMNS])
    known: Any = row.frame
    return Frame(
        row["SOPInstanceUID"],
        known.index,
        row["InstanceNumber"],
        known.position,
        known.orientation,
        known.pixel_spacing,
        known.rescale_slope,
        known.rescale_intercept,
        known.byte_offset,
        known.byte_length,
        known.layout,
        known.traits,
        known.timing,
    )


def records_of(found: Iterable[tuple[Frame, Dimensions]]) -> dict[str, Record]:
    """Make the record of each instance by SOPInstanceUID, from its frames in their order."""
    records = {}
    for sop_uid, group in groupby(found, key=lambda pair: pair[0].sop_uid):
        pairs = list(group)
        rows = [_row(frame, dimensions) for frame, dimensions in pairs]
        records[sop_uid] = pack(rows, pairs[0][0].instance_number)
    return records


def _row(frame: Frame, dimensions: Dimensions) -> FrameRow:
    return FrameRow(
        index=frame.index,
        position=frame.position,
        orientation=frame.orientation,
        pixel_spacing=frame.pixel_spacing,
        rescale_slope=frame.rescale_slope,
        rescale_intercept=frame.rescale_intercept,
        dimension_indices=dimensions,
        byte_offset=frame.byte_offset,
        byte_length=frame.byte_length,
        layout=frame.layout,
        traits=frame.traits,
        timing=frame.timing,
    )


def _frame(row: Sequence[Any]) -> Frame:
    acquired = row[_TIMING + 2]
    return Frame(
        sop_uid=row[0],
        index=row[1],
        instance_number=row[2],
        position=None if row[3] is None else tuple(row[3]),
        orientation=None if row[4] is None else tuple(row[4]),
        pixel_spacing=None if row[5] is None else tuple(row[5]),
        rescale_slope=row[6],
        rescale_intercept=row[7],
        byte_offset=row[8],
        byte_length=row[9],
        layout=_layout(row[_LAYOUT]) if isinstance(row[_LAYOUT], str) else _layout_of(tuple(row[_LAYOUT].items())),
        traits=_traits(*(tuple(one) if isinstance(one, list) else one for one in row[_LAYOUT + 1 : _TIMING])),
        timing=Timing(
            temporal_position=row[_TIMING],
            acquisition_number=row[_TIMING + 1],
            acquired_us=(acquired - _EPOCH) // _MICROSECOND if isinstance(acquired, datetime) else acquired,
            trigger_ms=row[_TIMING + 3],
        ),
    )


@lru_cache(maxsize=1024)
def _traits(*values: Any) -> Traits:
    told: dict[str, Any] = dict(zip((*_TEXTS, *_VALUES), values, strict=True))
    return Traits(**told | {name: told[name] or "" for name in _TEXTS})


@lru_cache(maxsize=64)
def _layout(text: str) -> PixelLayout:
    return PixelLayout(**json.loads(text))


@lru_cache(maxsize=64)
def _layout_of(values: tuple[tuple[str, Any], ...]) -> PixelLayout:
    return PixelLayout(**dict(values))
