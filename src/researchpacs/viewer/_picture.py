"""Draw a viewer's planes without a browser: numpy for the grey levels, Pillow for lines and letters.

All panels share one scale in mm per picture element, so lengths can be compared by eye.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from researchpacs.viewer._planes import PlaneStack, letters
from researchpacs.viewer._window import Window, displayed

__all__ = ["Line", "Panel", "draw"]

MARGIN = 4
TEXT = (200, 200, 200)
LINE = (230, 159, 0)
"""Orange of the Okabe-Ito palette."""


@dataclass(frozen=True, slots=True)
class Line:
    """A length on a plane."""

    points_lps: tuple[Sequence[float], Sequence[float]]
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One plane to draw."""

    stack: PlaneStack
    index: int
    values: np.ndarray | None
    """Rescaled values ``(rows, columns)``; None where they are not read yet."""
    lines: Sequence[Line] = ()

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width of the plane, whole picture elements included."""
        _, rows, columns = self.stack.shape
        return rows * self.stack.spacing[0], columns * self.stack.spacing[1]


def draw(panels: Sequence[Panel], window: Window, *, inverted: bool = False, height: int = 512) -> Image.Image:
    """Draw panels side by side.

    Parameters
    ----------
    height
        Picture elements of the tallest panel.

    Returns
    -------
    image
        RGB.
    """
    mm_per_pixel = max(panel.size_mm[0] for panel in panels) / height
    drawn = [_panel(panel, window, inverted, mm_per_pixel, height) for panel in panels]
    image = Image.new("RGB", (sum(part.width for part in drawn) + MARGIN * (len(drawn) - 1), height), (40, 40, 40))
    left = 0
    for part in drawn:
        image.paste(part, (left, 0))
        left += part.width + MARGIN
    return image


def _panel(panel: Panel, window: Window, inverted: bool, mm_per_pixel: float, height: int) -> Image.Image:
    tall, wide = (max(1, round(size / mm_per_pixel)) for size in panel.size_mm)
    image = Image.new("RGB", (max(wide, 160), height))
    corner = ((image.width - wide) // 2, (height - tall) // 2)
    pen = ImageDraw.Draw(image)
    if panel.values is None:
        pen.text((image.width / 2, height / 2), "not read yet", font=_font(), fill=TEXT, anchor="mm")
    else:
        grey = Image.fromarray(displayed(panel.values, window, inverted=inverted))
        image.paste(grey.resize((wide, tall), Image.Resampling.BILINEAR), corner)
        for line in panel.lines:
            _length(pen, panel, line, corner, (tall, wide))
    _letters(pen, panel.stack, image.size)
    _status(pen, panel, window, image.size)
    _scale_bar(pen, mm_per_pixel, image.size)
    return image


def _length(pen: ImageDraw.ImageDraw, panel: Panel, line: Line, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """Draw a length; pixel (0, 0)'s centre lies half a pixel inside the picture's corner."""
    _, rows, columns = panel.stack.shape
    ends = []
    for point in line.points_lps:
        _, row, column = panel.stack.to_pixel(point)
        ends.append((corner[0] + (column + 0.5) * size[1] / columns, corner[1] + (row + 0.5) * size[0] / rows))
    pen.line(ends, fill=LINE, width=2)
    for x, y in ends:
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), outline=LINE, width=1)
    x, y = max(ends)
    pen.text((x + 8, y), line.text, font=_font(), fill=LINE, anchor="lm", stroke_width=2, stroke_fill=(0, 0, 0))


def _letters(pen: ImageDraw.ImageDraw, stack: PlaneStack, size: tuple[int, int]) -> None:
    right, bottom = np.asarray(stack.row_cosines), np.asarray(stack.column_cosines)
    width, height = size
    for direction, place, anchor in (
        (-bottom, (width / 2, 6), "mt"),
        (right, (width - 6, height / 2), "rm"),
        (bottom, (width / 2, height - 22), "mb"),
        (-right, (6, height / 2), "lm"),
    ):
        _text(pen, place, letters(direction.tolist()), anchor)


def _status(pen: ImageDraw.ImageDraw, panel: Panel, window: Window, size: tuple[int, int]) -> None:
    stack = panel.stack
    words = f"{stack.name} {panel.index + 1}/{stack.shape[0]}   {stack.axis} {stack.location(panel.index):.1f} mm"
    _text(pen, (6, size[1] - 6), f"{words}   C {window.center:g} W {window.width:g}", "lb")


def _scale_bar(pen: ImageDraw.ImageDraw, mm_per_pixel: float, size: tuple[int, int]) -> None:
    """A bar of a round length, at most a quarter of the panel."""
    longest = size[0] / 4 * mm_per_pixel
    length_mm = max(step for step in (1, 2, 5, 10, 20, 50, 100, 200) if step <= max(longest, 1))
    right, y = size[0] - 8, size[1] - 10
    left = right - length_mm / mm_per_pixel
    pen.line([(left, y - 4), (left, y), (right, y), (right, y - 4)], fill=TEXT, width=1)
    _text(pen, (right, y - 6), f"{length_mm} mm", "rb")


def _text(pen: ImageDraw.ImageDraw, place: tuple[float, float], words: str, anchor: str) -> None:
    pen.text(place, words, font=_font(), fill=TEXT, anchor=anchor, stroke_width=1, stroke_fill=(0, 0, 0))


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=12)
