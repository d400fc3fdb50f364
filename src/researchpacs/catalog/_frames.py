"""Frames of a series from the catalog."""

import json
from functools import lru_cache
from typing import Any

import duckdb

from researchpacs.catalog._lake import NAME
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.model import Frame

__all__ = ["frames_of_series"]

_EXISTS = f"select 1 from {NAME}.main.series where SeriesInstanceUID = $uid limit 1"  # noqa: S608
_FRAMES = f"""
select
    SOPInstanceUID, frame_index, InstanceNumber, position, orientation, pixel_spacing, rescale_slope, rescale_intercept,
    byte_offset, byte_length, pixel_layout::varchar, patient_key, StudyInstanceUID
from {NAME}.main.frames
where SeriesInstanceUID = $uid
"""  # noqa: S608


def frames_of_series(con: duckdb.DuckDBPyConnection, series_uid: str) -> list[Frame]:
    """Read all frames of a series, in no order; empty for one that is no image."""
    found = con.execute(_FRAMES, {"uid": series_uid}).fetchall()
    if not found and not con.execute(_EXISTS, {"uid": series_uid}).fetchone():
        raise NotFoundError(f"no series {series_uid} is in the catalog")
    owners = {row[-2:] for row in found}
    if len(owners) > 1:
        raise InvalidInputError(
            f"{len(owners)} series of other patients or studies share the SeriesInstanceUID {series_uid}; "
            "pacs.sql() tells them apart by patient_key and StudyInstanceUID"
        )
    return [_frame(row) for row in found]


def _frame(row: tuple[Any, ...]) -> Frame:
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
        layout=_layout(row[10]),
    )


@lru_cache(maxsize=64)
def _layout(text: str) -> PixelLayout:
    return PixelLayout(**json.loads(text))
