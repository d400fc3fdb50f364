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
    f.SOPInstanceUID, f.frame_index, i.InstanceNumber, f.position, f.orientation, f.pixel_spacing,
    f.rescale_slope, f.rescale_intercept, f.byte_offset, f.byte_length, i.pixel_layout::varchar,
    f.patient_key, f.StudyInstanceUID
from {NAME}.main.frames f
join {NAME}.main.instances i using (patient_key, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID)
where f.SeriesInstanceUID = $uid and i.SeriesInstanceUID = $uid
order by i.InstanceNumber, f.SOPInstanceUID, f.frame_index
"""  # noqa: S608


def frames_of_series(con: duckdb.DuckDBPyConnection, series_uid: str) -> list[Frame]:
    """Read all frames of a series; empty for one that is no image."""
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
