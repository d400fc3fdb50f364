"""What is measured is true, and both halves of the viewer measure the same."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from skimage.draw import polygon2mask

from researchpacs.viewer._measures import AREAS, POINTS, Quantity, geometry_of, inside, on_plane, values_of
from researchpacs.viewer._planes import plane_stacks

EXTENSIONS = Path(__file__).parents[2] / "extensions"
PROGRAM = """
import { readFileSync } from "node:fs";
const { forEachInside, geometryOf, onPlane, valuesOf } = await import(process.argv[2]);
const answers = JSON.parse(readFileSync(process.argv[3], "utf8")).map(({ shape, points, picture, stack, index }) => {
  const flat = points.map((point) => onPlane(stack, index, point));
  const pixels = [];
  if (["ellipse", "circle", "rectangle", "polygon"].includes(shape))
    forEachInside(shape, flat, picture, (at) => pixels.push(at));
  return { flat, pixels, quantities: [...geometryOf(shape, flat), ...valuesOf(shape, flat, picture)] };
});
console.log(JSON.stringify(answers));
"""
AFFINE = np.eye(4)
AFFINE[:3, :3] = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0] * (2.5, 0.8, 0.7)
AFFINE[:3, 3] = (-40, 12, 300)
SHAPE = (30, 60, 50)
HU = {"unit": "HU"}


def numbers(quantities: list[Quantity]) -> dict[str, float]:
    return {one.name: one.value for one in quantities}


def random_shapes(count: int) -> list[dict[str, Any]]:
    """Shapes on planes of an oblique volume, some beyond its edges, some through pixel centres."""
    random = np.random.default_rng(2026)
    stacks = plane_stacks(AFFINE, SHAPE)
    shapes = []
    for n in range(count):
        shape, stack = list(POINTS)[n % len(POINTS)], stacks[n % len(stacks)]
        index = int(random.integers(stack.shape[0]))
        _, rows, columns = stack.shape
        size = POINTS[shape] or int(random.integers(3, 40))
        pixels = random.uniform(-3, (rows + 3, columns + 3), (size, 2))
        if n % 4 == 0:
            pixels = np.rint(pixels)
        if shape == "rectangle":
            (top, left), (bottom, right) = pixels[:2]
            pixels = np.array([(top, left), (top, right), (bottom, left), (bottom, right)])
        if shape == "ellipse":
            centre, half = pixels[0], np.abs(pixels[1] - pixels[0]) + 1
            pixels = np.array([centre + sign * half * axis for axis in ((1, 0), (0, 1)) for sign in (-1, 1)])
        points = [stack.to_lps(index, row, column).tolist() for row, column in pixels]
        values = random.normal(0, 500, (rows, columns)).round(2)
        shapes.append({"shape": shape, "points": points, "values": values, "stack": stack, "index": index})
    return shapes


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Measure shapes with the viewer's TypeScript, run by Node."""
    sys.path.insert(0, str(EXTENSIONS))
    try:
        from build_hook import npm_command
    finally:
        sys.path.remove(str(EXTENSIONS))
    _, environment = npm_command()
    folder = tmp_path_factory.mktemp("measure")
    module, script = folder / "measure.mjs", folder / "script.mjs"
    command = [EXTENSIONS / "node_modules/.bin/esbuild", EXTENSIONS / "viewer/src/measure.ts", f"--outfile={module}"]
    built = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert built.returncode == 0, built.stderr
    script.write_text(PROGRAM)

    def measure(shapes: list[dict[str, Any]]) -> list[dict[str, Any]]:
        (folder / "shapes.json").write_text(json.dumps(shapes))
        done = subprocess.run(
            ["node", script, module, folder / "shapes.json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return measure


def as_told(one: dict[str, Any]) -> dict[str, Any]:
    """Tell Node of a shape as the browser has it."""
    stack, values = one["stack"], one["values"]
    names = ("origin", "step", "row_cosines", "column_cosines")
    picture = {"values": values.ravel().tolist(), "spacing": stack.spacing, "unit": "HU"}
    picture |= {"rows": values.shape[0], "columns": values.shape[1]}
    geometry = {name: getattr(stack, name) for name in names}
    return {**{k: one[k] for k in ("shape", "points", "index")}, "picture": picture, "stack": geometry}


def test_browser_and_kernel_measure_the_same_on_200_random_shapes(browser):
    shapes = random_shapes(200)
    with_pixels = 0
    for one, theirs in zip(shapes, browser([as_told(one) for one in shapes]), strict=True):
        shape, stack, values = one["shape"], one["stack"], one["values"]
        flat = [on_plane(stack, one["index"], point) for point in one["points"]]
        assert [list(point) for point in flat] == theirs["flat"]
        if shape in AREAS:
            top, left, mask = inside(shape, flat, values.shape, stack.spacing)
            rows, columns = np.nonzero(mask)
            assert ((rows + top) * values.shape[1] + columns + left).tolist() == theirs["pixels"], (
                "the very same pixels"
            )
            with_pixels += bool(theirs["pixels"])
        ours = geometry_of(shape, flat) + values_of(shape, flat, values, stack.spacing, **HU)
        assert [(q.name, q.unit) for q in ours] == [(q["name"], q["unit"]) for q in theirs["quantities"]]
        np.testing.assert_allclose([q.value for q in ours], [q["value"] for q in theirs["quantities"]], rtol=1e-11)
    assert with_pixels > 60


def test_a_length_is_the_distance_in_space():
    for one in random_shapes(45):
        if one["shape"] != "length":
            continue
        flat = [on_plane(one["stack"], one["index"], point) for point in one["points"]]
        assert numbers(geometry_of("length", flat))["length"] == pytest.approx(math.dist(*one["points"]), abs=1e-9)


@pytest.mark.parametrize("degrees", [0.0, 1.0, 37.0, 90.0, 150.0, 180.0])
def test_angles_are_those_between_the_lines(degrees):
    turn = math.radians(degrees)
    vertex, end = (10.0, 20.0), (10 + 5 * math.cos(0.3), 20 + 5 * math.sin(0.3))
    other = (10 + 8 * math.cos(0.3 + turn), 20 + 8 * math.sin(0.3 + turn))
    assert numbers(geometry_of("angle", [end, vertex, other]))["angle"] == pytest.approx(degrees, abs=1e-9)
    moved = [(u + 40, v - 7) for u, v in (vertex, other)]
    expected = min(degrees, 180 - degrees)
    assert numbers(geometry_of("cobb", [vertex, end, *moved]))["angle"] == pytest.approx(expected, abs=1e-9)
    assert numbers(geometry_of("cobb", [end, vertex, *moved]))["angle"] == pytest.approx(expected, abs=1e-9)


def test_two_axes_are_told_longest_first():
    found = geometry_of("bidirectional", [(0, 0), (3, 4), (0, 0), (12, 5)])
    assert numbers(found) == {"long axis": 13.0, "short axis": 5.0}


@pytest.mark.parametrize(
    ("shape", "points", "area"),
    [
        ("circle", [(10, 10), (13, 14)], math.pi * 25),
        ("ellipse", [(10, 4), (10, 16), (2, 10), (18, 10)], math.pi * 6 * 8),
        ("rectangle", [(1, 1), (1, 5), (9, 1), (9, 5)], 32),
        ("rectangle", [(1, 1), (9, 1), (9, 5), (1, 5)], 32),
        ("polygon", [(0, 0), (10, 0), (10, 10), (5, 5), (0, 10)], 75),
    ],
)
def test_areas_are_those_of_geometry_and_of_the_pixels(shape, points, area):
    (found,) = geometry_of(shape, points)
    assert (found.name, found.unit) == ("area", "mm2")
    assert found.value == pytest.approx(area)
    _, _, mask = inside(shape, points, (2000, 2000), (0.01, 0.01))
    assert mask.sum() * 0.01**2 == pytest.approx(area, rel=0.002)


def test_an_outline_holds_the_pixels_that_scikit_image_says():
    random = np.random.default_rng(5)
    for _ in range(20):
        corners = random.uniform(0, 40, (9, 2))
        top, left, mask = inside("polygon", [(column, row) for row, column in corners], (40, 40), (1.0, 1.0))
        whole = np.zeros((40, 40), bool)
        whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
        np.testing.assert_array_equal(whole, polygon2mask((40, 40), corners))


def test_statistics_are_those_of_numpy_and_leave_out_what_is_no_value():
    values = np.random.default_rng(6).normal(40, 12, (50, 60))
    values[20, 20] = np.nan
    values[21, 21] = -2000
    circle = [(20.0, 20.0), (28.0, 20.0)]
    rows, columns = np.ogrid[:50, :60]
    under = (rows - 20) ** 2 + (columns - 20) ** 2 <= 64
    under[20, 20] = under[21, 21] = False
    found = numbers(values_of("circle", circle, values, (1.0, 1.0), padding=(-2000, -2000), **HU))
    known = values[under]
    expected = {"mean": known.mean(), "sd": known.std(), "min": known.min(), "max": known.max()}
    assert found == pytest.approx(expected)


def test_a_probe_reads_the_pixel_beneath_it_and_nothing_outside():
    values = np.arange(48.0).reshape(6, 8)
    for row, column in ((0, 0), (5.4, 7.4), (2.6, 3.1), (3.49, 0.51)):
        (found,) = values_of("probe", [(column * 0.7, row * 2.5)], values, (2.5, 0.7), **HU)
        assert found.value == map_coordinates(values, [[row], [column]], order=0, mode="nearest")[0]
    assert values_of("probe", [(8 * 0.7, 0)], values, (2.5, 0.7), **HU) == []


def test_a_shape_beside_the_picture_has_no_values():
    assert values_of("circle", [(-50, -50), (-45, -50)], np.zeros((9, 9)), (1.0, 1.0), **HU) == []
