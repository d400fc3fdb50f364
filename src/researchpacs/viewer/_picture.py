"""Draw a viewer's planes without a browser: numpy for the grey levels, Pillow for lines and letters.

All panels share one scale in mm per picture element, so lengths can be compared by eye.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from researchpacs.viewer._colours import coloured
from researchpacs.viewer._planes import PlaneStack, letters
from researchpacs.viewer._window import Window, displayed

__all__ = ["Outline", "Panel", "draw"]

MARGIN = 4
TEXT = (200, 200, 200)
LINE = (230, 159, 0)
"""Orange of the Okabe-Ito palette."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A mark on a plane: strokes through points, and words beside."""

    strokes: Sequence[Sequence[Sequence[float]]]
    """Points (x, y, z) LPS mm; of a stroke of one point the place."""
    text: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One plane to draw."""

    stack: PlaneStack
    index: int
    values: np.ndarray | None
    """Rescaled values ``(rows, columns)``, of colour bytes with three behind; None where they are not read."""
    outlines: Sequence[Outline] = ()
    excuse: str = "not read yet"
    """Why there are no values."""

    @property
    def size_mm(self) -> tuple[float, float]:
        """Height and width of the plane, whole picture elements included."""
        _, rows, columns = self.stack.shape
        return rows * self.stack.spacing[0], columns * self.stack.spacing[1]


def draw(
    panels: Sequence[Panel], window: Window, *, inverted: bool = False, colormap: str = "grey", height: int = 512
) -> Image.Image:
    """Draw panels side by side.

    Parameters
    ----------
    height
        Picture elements of the tallest panel.
    colormap
        Of grey levels.

    Returns
    -------
    image
        RGB.
    """
    mm_per_pixel = max(panel.size_mm[0] for panel in panels) / height
    drawn = [_panel(panel, _image(panel, window, inverted, colormap), window, mm_per_pixel, height) for panel in panels]
    image = Image.new("RGB", (sum(part.width for part in drawn) + MARGIN * (len(drawn) - 1), height), (40, 40, 40))
    left = 0
    for part in drawn:
        image.paste(part, (left, 0))
        left += part.width + MARGIN
    return image


def _image(panel: Panel, window: Window, inverted: bool, colormap: str) -> Image.Image | None:
    if panel.values is None:
        return None
    if panel.values.ndim == 3:
        return Image.fromarray(panel.values)
    grey = displayed(panel.values, window, inverted=inverted)
    return Image.fromarray(grey if colormap == "grey" else coloured(grey, colormap))


def _panel(panel: Panel, picture: Image.Image | None, window: Window, mm_per_pixel: float, height: int) -> Image.Image:
    tall, wide = (max(1, round(size / mm_per_pixel)) for size in panel.size_mm)
    image = Image.new("RGB", (max(wide, 160), height))
    corner = ((image.width - wide) // 2, (height - tall) // 2)
    pen = ImageDraw.Draw(image)
    if picture is None:
        pen.text((image.width / 2, height / 2), panel.excuse, font=_font(), fill=TEXT, anchor="mm")
    else:
        image.paste(picture.resize((wide, tall), Image.Resampling.BILINEAR), corner)
        for outline in panel.outlines:
            _outline(pen, panel, outline, corner, (tall, wide))
    if panel.stack.oriented:
        _letters(pen, panel.stack, image.size)
    _status(pen, panel, window, image.size)
    if panel.stack.calibrated:
        _scale_bar(pen, mm_per_pixel, image.size)
    return image


def _outline(
    pen: ImageDraw.ImageDraw, panel: Panel, outline: Outline, corner: tuple[int, int], size: tuple[int, int]
) -> None:
    """Draw a mark; pixel (0, 0)'s centre lies half a pixel inside the picture's corner."""
    _, rows, columns = panel.stack.shape
    places = []
    for stroke in outline.strokes:
        ends = []
        for point in stroke:
            _, row, column = panel.stack.to_pixel(point)
            ends.append((corner[0] + (column + 0.5) * size[1] / columns, corner[1] + (row + 0.5) * size[0] / rows))
        if len(ends) > 1:
            pen.line(ends, fill=LINE, width=2)
        for x, y in ends if len(ends) < 5 else ():
            pen.ellipse((x - 3, y - 3, x + 3, y + 3), outline=LINE, width=1)
        places += ends
    x, y = max(places)
    pen.text((x + 8, y), outline.text, font=_font(), fill=LINE, anchor="lm", stroke_width=2, stroke_fill=(0, 0, 0))


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
    words = [f"{stack.name} {panel.index + 1}/{stack.shape[0]}"]
    if stack.axis:
        words.append(f"{stack.axis} {stack.location(panel.index):.1f} mm")
    if not stack.calibrated:
        words.append("uncalibrated")
    if panel.values is None or panel.values.ndim == 2:
        words.append(f"C {window.center:g} W {window.width:g}")
    _text(pen, (6, size[1] - 6), "   ".join(words), "lb")


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
