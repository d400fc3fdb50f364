"""Rows of ``geometry`` from the rows of ``frames``: what each stack of a series physically is."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import duckdb
import pyarrow as pa

from researchpacs.catalog._frames import as_frame
from researchpacs.catalog._lake import NAME
from researchpacs.dicom.stacks import Part, split

__all__ = ["geometry_rows", "move_frames", "settle_frames"]

Row = dict[str, Any]

_SERIES = ("patient_key", "StudyInstanceUID", "SeriesInstanceUID")


def geometry_rows(series: Row, frames: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Say what the frames of a series physically are.

    Parameters
    ----------
    series
        Its row of ``series``.
    frames
        Its rows of ``frames``, with the columns `researchpacs.catalog._frames.FRAME_COLUMNS`.

    Returns
    -------
    geometry
        One row per stack; one for a series without frames.
    moved
        Rows of ``frames`` whose stack is another than they say, with what it is.
    """
    rows = sorted(frames, key=lambda row: (row["SOPInstanceUID"], row["frame_index"]))
    given = [as_frame(row) for row in rows]
    parents = {name: series[name] for name in _SERIES}
    if not given:
        return [{**parents, **_nothing()}], []
    made: list[Row] = []
    stacks = [0] * len(rows)
    for volume, part in enumerate(split(given)):
        slices = part.geometry.shape[0]
        for k, values in enumerate(product(*(dimension.values for dimension in part.dimensions))):
            names = (dimension.name for dimension in part.dimensions)
            for at in part.order[k * slices : (k + 1) * slices]:
                stacks[at] = len(made)
            told = dict(zip(names, values, strict=True))
            made.append({**parents, "stack": len(made), "volume": volume, "dimensions": told, **_measured(part)})
    moved = [{**row, "stack": stack} for row, stack in zip(rows, stacks, strict=True) if row["stack"] != stack]
    return made, moved


def move_frames(con: duckdb.DuckDBPyConnection, moved: Sequence[Row]) -> None:
    """Write the stacks that `geometry_rows` found into ``frames``."""
    if not moved:
        return
    names = (*_SERIES, "SOPInstanceUID", "frame_index")
    columns = {name: pa.array([row[name] for row in moved]) for name in (*names, "stack")}
    con.register("moved_frames", pa.table(columns))
    same = " and ".join(f"f.{name} = m.{name}" for name in names)
    try:
        con.execute(f"update {NAME}.main.frames f set stack = m.stack from moved_frames m where {same}")  # noqa: S608
    finally:
        con.unregister("moved_frames")


def settle_frames(frames: Iterable[Row], moved: Iterable[Row]) -> None:
    """Note the stacks that `geometry_rows` found in rows that are still to be written."""
    stacks = {(row["SOPInstanceUID"], row["frame_index"]): row["stack"] for row in moved}
    for row in frames if stacks else ():
        row["stack"] = stacks.get((row["SOPInstanceUID"], row["frame_index"]), row["stack"])


def _measured(part: Part) -> Row:
    found = part.geometry
    affine = found.affine_lps
    return {
        "kind": found.kind,
        "reasons": list(found.reasons),
        "is_volume": found.is_volume,
        "shape": list(found.shape),
        "orientation": None if part.orientation is None else list(part.orientation),
        "spacing_z_mm": found.spacing[0],
        "spacing_y_mm": found.spacing[1],
        "spacing_x_mm": found.spacing[2],
        "spacing_error_mm": found.spacing_error_mm,
        "affine_lps": None if affine is None else [value + 0.0 for line in affine for value in line],
    }


def _nothing() -> Row:
    """What is said of a series without images."""
    return {
        "stack": 0,
        "volume": 0,
        "dimensions": {},
        "kind": "not_an_image",
        "reasons": ["not_an_image"],
        "is_volume": False,
        "shape": [0, 0, 0],
    }
