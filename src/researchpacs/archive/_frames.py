"""Frames of a series from the ledger, so that a volume is planned without a question to the catalog."""

import sqlite3
from collections.abc import Mapping
from typing import cast

from researchpacs.archive._series import only_owner, series_query
from researchpacs.dicom.frame_record import Record, pack, unpack
from researchpacs.model import Frame

__all__ = ["frames_of_series", "remember"]

_FRAMES = series_query(
    "i.sop_uid", "f.form", "i.frame_places", extra="left join frame_forms f on f.number = i.frame_form"
)
_KEYS = series_query("i.key", "i.sop_uid")
_FORM = "insert or ignore into frame_forms (form) values (?)"
_PLACES = """
update instances
set frame_form = (select number from frame_forms where form = :form), frame_places = :places
where key = :key and seq <= :seq
"""
_NONE = pack([], None)


def frames_of_series(con: sqlite3.Connection, series_uid: str) -> list[Frame] | None:
    """Read all frames of a series, in no order; None where those of an instance are not known yet.

    Raises
    ------
    NotFoundError
        No such series.
    InvalidInputError
        Series of several patients or studies share the UID.
    """
    rows = only_owner(con.execute(_FRAMES, {"uid": series_uid}).fetchall(), series_uid)
    if any(row["form"] is None for row in rows):
        return None
    records = [(row["sop_uid"], Record(row["form"], row["frame_places"])) for row in rows]
    if not all(record.is_complete for _, record in records):
        return None
    return [frame for sop_uid, record in records for frame in _frames(sop_uid, record)]


def remember(con: sqlite3.Connection, series_uid: str, records: Mapping[str, Record], seq: int) -> None:
    """Keep what the instances of a series hold, by SOPInstanceUID; nothing for one that changed after change `seq`.

    An instance without a record is one without frames.
    """
    rows = con.execute(_KEYS, {"uid": series_uid}).fetchall()
    kept = {row["key"]: records.get(row["sop_uid"], _NONE) for row in rows}
    con.executemany(_FORM, {(record.form,) for record in kept.values()})
    con.executemany(
        _PLACES,
        [{"key": key, "seq": seq, "form": record.form, "places": record.places} for key, record in kept.items()],
    )


def _frames(sop_uid: str, record: Record) -> list[Frame]:
    number, rows = unpack(record)
    return [
        Frame(
            sop_uid,
            row.index,
            number,
            cast("tuple[float, float, float] | None", row.position),
            cast("tuple[float, float, float, float, float, float] | None", row.orientation),
            cast("tuple[float, float] | None", row.pixel_spacing),
            row.rescale_slope,
            row.rescale_intercept,
            row.byte_offset,
            row.byte_length,
            row.layout,
            row.traits,
            row.timing,
        )
        for row in rows
    ]
