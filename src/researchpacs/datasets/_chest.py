"""The chest phantom: HU of its slices, painted part by part from a definition."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from researchpacs.datasets._ribs import paint_ribs
from researchpacs.datasets._shapes import Curve, Grid, Plane, Shape, Stack, Tube, as_shapes, point
from researchpacs.datasets._vessels import grow_vessels

__all__ = ["Chest"]

AIR_HU = -1000.0
FISSURE_HU = 170.0
"""How much denser than lung a fissure looks."""
FINE_MM = 1.25
"""A thicker slice is the mean of planes this far apart..."""
MOST_PLANES = 16
"""...or of this many, so that a few very thick slices are made as quickly."""
NODULE_SAMPLES = 8
"""Samples in a voxel along x and along y."""
NODULE_STEP_MM = 0.04
"""At most this far apart are samples along z: a voxel there is longer."""


class Chest:
    """A patient's chest as one definition describes it.

    Parameters
    ----------
    definition
        A table as `datasets/chest_ct.toml` holds it.
    """

    def __init__(self, definition: Mapping[str, Any]) -> None:
        self._definition = definition
        grid = definition["grid"]
        self.grid = Grid(_centres(grid["columns"], grid["pixel_mm"]), _centres(grid["rows"], grid["pixel_mm"]))
        curves = {name: Curve(knots) for name, knots in definition["curves"].items()}
        self._parts = [(part, as_shapes(part, curves)) for part in definition["part"]]
        self._shapes = {part["name"]: shapes for part, shapes in self._parts}
        self._vessels = self._grow()

    def slice_hu(self, z: float, thickness: float) -> Plane:
        """One slice without noise.

        Parameters
        ----------
        z
            Height of its centre, LPS mm.
        thickness
            mm.

        Returns
        -------
        hu
            ``(rows, columns)``.
        """
        count = min(MOST_PLANES, max(1, round(thickness / FINE_MM)))
        total = self._plane(z - thickness / 2 + thickness / (2 * count))
        for k in range(1, count):
            total += self._plane(z - thickness / 2 + thickness * (2 * k + 1) / (2 * count))
        total /= np.float32(count)
        self._paint_nodule(total, z, thickness)
        return total

    def noise_hu(self, index: int) -> Plane:
        """Noise of the slice with this index, ``(rows, columns)``, smoothed over 3x3 pixels as by a soft kernel."""
        rows, columns = len(self.grid.y) + 2, len(self.grid.x) + 2
        noise = self._definition["noise"]
        bits = np.random.PCG64([noise["seed"], index])
        raw = np.asarray(bits.random_raw(-(-rows * columns // 8)), dtype="<u8")
        grains = raw.view(np.uint8)[: rows * columns].reshape(rows, columns).astype(np.int16)
        across = grains[:, :-2] + 2 * grains[:, 1:-1] + grains[:, 2:]
        sums = across[:-2] + 2 * across[1:-1] + across[2:]
        mean, deviation = 16 * 127.5, 443.405  # of such a sum: sqrt(36 * (256 ** 2 - 1) / 12)
        hu: Plane = (sums - np.float32(mean)) * np.float32(noise["hu"] / deviation)
        return hu

    def _plane(self, z: float) -> Plane:
        image = np.full((len(self.grid.y), len(self.grid.x)), np.float32(AIR_HU))
        for part, shapes in self._parts:
            name = part["name"]
            if name == "sternum":
                paint_ribs(image, self.grid, z, self._stack(self._definition["ribs"]["part"]), self._definition["ribs"])
            if name == "lungs":
                self._paint_lungs(image, z)
                continue
            if "rind_mm" in part:
                _paint(image, self.grid, z, shapes, part["rind_hu"], grow=part["rind_mm"])
            _paint(image, self.grid, z, shapes, part["hu"])
        return image

    def _stack(self, name: str) -> Stack:
        (stack,) = self._shapes[name]
        assert isinstance(stack, Stack)
        return stack

    def _paint_lungs(self, image: Plane, z: float) -> None:
        for patch in self._stack("lungs").patches(self.grid, z):
            rows, columns = patch.window
            texture = np.empty_like(patch.share)
            texture[:] = self._tissue(z, rows)[:, None]
            self._add_fissures(texture, z, rows, columns)
            whole = np.full(image.shape, np.float32(AIR_HU))
            whole[patch.window] = texture
            _paint(whole, self.grid, z, (self._vessels,), self._definition["vessels"]["hu"])
            target = image[patch.window]
            target += patch.share * (whole[patch.window] - target)

    def _tissue(self, z: float, rows: slice) -> Plane:
        lung = self._definition["lung"]
        y: Plane = self.grid.y[rows] * np.float32(lung["hu_per_mm"]) + np.float32(lung["hu"])
        return y

    def _add_fissures(self, texture: Plane, z: float, rows: slice, columns: slice) -> None:
        x, y = self.grid.x[columns], self.grid.y[rows]
        fissures = self._definition["lung"]["fissures"]
        for fissure in fissures:
            line = np.clip(1 - np.abs(_above(fissure, y, z)) / np.float32(1.1), np.float32(0), np.float32(1))
            if "front_of" in fissure:
                line *= _above(fissures[fissure["front_of"]], y, z) < 0
            side = x < 0 if fissure["side"] == "right" else x > 0
            texture += (line * np.float32(FISSURE_HU))[:, None] * side[None, :]

    def _paint_nodule(self, image: Plane, z: float, thickness: float) -> None:
        """Blend the nodule by the share of each voxel it fills, counted over samples in the voxel."""
        nodule = self._definition["nodule"]
        x, y, height = point(nodule["center_lps"])
        radius = nodule["diameter_mm"] / 2
        window = self.grid.window(x, y, radius + 1, radius + 1)
        if window is None or abs(z - height) > radius + thickness / 2:
            return
        step, fine = float(self.grid.x[1] - self.grid.x[0]), NODULE_SAMPLES
        deep = round(thickness / NODULE_STEP_MM) + 1
        squared_x = _samples(self.grid.x[window[1]] - x, step, fine)
        squared_y = _samples(self.grid.y[window[0]] - y, step, fine)
        squared_z = _samples(np.array([z - height]), thickness, deep)
        in_plane = squared_y[:, None] + squared_x[None, :]
        hits = np.zeros(in_plane.shape, dtype=np.int64)
        for depth in squared_z.tolist():
            hits += in_plane + depth < radius * radius
        counts = hits.reshape(-1, fine, len(squared_x) // fine, fine).sum(axis=(1, 3))
        share = counts.astype(np.float32) / np.float32(fine * fine * deep)
        target = image[window]
        target += share * (np.float32(nodule["hu"]) - target)

    def _grow(self) -> Tube:
        vessels, nodule = self._definition["vessels"], self._definition["nodule"]
        clear = nodule["clear_mm"]
        bounds = [shape for name in vessels["outside"] for shape in self._shapes[name]]
        center = point(nodule["center_lps"])

        def free(at: tuple[float, float, float]) -> bool:
            squared = sum((p - q) * (p - q) for p, q in zip(at, center, strict=True))
            return (
                squared > clear * clear
                and self._stack("lungs").contains(at, margin=-3.5)
                and not any(shape.contains(at, margin=2.0) for shape in bounds)
            )

        paths = []
        for number, root in enumerate(vessels["roots"]):
            low, high = (-130.0, 0.0) if root[0] < 0 else (0.0, 130.0)
            paths += grow_vessels(
                point(root),
                free,
                ((low, -90.0, -130.0), (high, 95.0, 128.0)),
                twigs=vessels["twigs"],
                twig_radius=vessels["twig_radius_mm"],
                seed=vessels["seed"] + number,
            )
        return Tube(paths)


def _paint(image: Plane, grid: Grid, z: float, shapes: tuple[Shape, ...], hu: float, *, grow: float = 0.0) -> None:
    for shape in shapes:
        for patch in shape.patches(grid, z, grow=grow):
            target = image[patch.window]
            target += patch.share * (np.float32(hu) - target)


def _above(fissure: Mapping[str, Any], y: Plane, z: float) -> Plane:
    across, up = fissure["normal_yz"]
    distance: Plane = y * np.float32(across) + np.float32(up * z - fissure["at"])
    return distance


def _centres(count: int, spacing: float) -> Plane:
    return ((np.arange(count) - (count - 1) / 2) * spacing).astype(np.float32)


def _samples(offsets: NDArray[Any], step: float, count: int) -> NDArray[np.float64]:
    """Squared offsets of `count` samples in each pixel along one axis."""
    within = ((np.arange(count) + 0.5) / count - 0.5) * step
    spread = (offsets.astype(np.float64)[:, None] + within[None, :]).ravel()
    return spread * spread
