"""Ribs: a band around the lungs' contour that sinks towards the front."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from researchpacs.datasets._shapes import EDGE_MM, Grid, Plane, Stack

__all__ = ["paint_ribs"]


def paint_ribs(image: Plane, grid: Grid, z: float, lungs: Stack, ribs: Mapping[str, Any]) -> None:
    """Paint all ribs that the plane at height `z` cuts into `image`, ``(rows, columns)`` of HU.

    Ribs stand at equal heights above one another, so a pixel's height above the nearest rib is a remainder.
    """
    off = lungs.distance(grid, z)
    if off is None:
        return
    reach = ribs["half_width_mm"] + ribs["rind_mm"] + EDGE_MM
    off -= np.float32(ribs["outset_mm"])
    rows, columns = np.nonzero((np.abs(off) < reach) & (np.abs(grid.x) > ribs["gap_mm"])[None, :])
    y = grid.y[rows]
    t = np.clip((ribs["back"] - y) / (ribs["back"] - ribs["front"]), np.float32(0), np.float32(1))
    straight, bent = ribs["drop_mm"]
    number = (ribs["first_mm"] - t * (np.float32(straight) + t * np.float32(bent)) - z) / np.float32(ribs["pitch_mm"])
    nearest = np.clip(np.rint(number), 0, ribs["count"] - 1)
    above = (number - nearest) * np.float32(ribs["pitch_mm"])
    out = off[rows, columns]
    values = image[rows, columns]
    bone = np.where(y < ribs["cartilage_front_of"], ribs["cartilage_hu"], ribs["hu"]).astype(np.float32)
    rind = np.where(y < ribs["cartilage_front_of"], ribs["cartilage_hu"], ribs["rind_hu"]).astype(np.float32)
    for grow, hu in ((ribs["rind_mm"], rind), (0.0, bone)):
        share = _section(out, above, ribs["half_width_mm"] + grow, ribs["half_height_mm"] + grow)
        values += share * (hu - values)
    image[rows, columns] = values


def _section(out: Plane, above: Plane, half_width: float, half_height: float) -> Plane:
    """How much of a pixel lies in an elliptic section, by first-order distance."""
    u, v = out / np.float32(half_width), above / np.float32(half_height)
    slope = np.sqrt(u * u / np.float32(half_width**2) + v * v / np.float32(half_height**2) + np.float32(1e-6))
    distance = (u * u + v * v - 1) / (2 * slope)
    share: Plane = np.clip(np.float32(0.5) - distance / np.float32(EDGE_MM), np.float32(0), np.float32(1))
    return share
