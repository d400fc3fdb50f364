"""What a saved notebook keeps of a viewer: a picture, its description in words, and the table of marks."""

import base64
import html
import io
from collections.abc import Callable, Sequence

from PIL.Image import Image

from researchpacs.viewer._marks import Drawn

__all__ = ["saved_as"]

HEIGHTS = (320, 240, 180, 120)
"""Of the picture: the tallest that is small enough."""
LARGEST = 260_000
"""Characters of picture and page together."""
STEPS = 0xF8
"""32 levels a colour: what lies close together looks the same, and small bright things stay."""
QUALITY = 80


def saved_as(draw: Callable[[int], Image], description: str, marks: Sequence[Drawn]) -> dict[str, str]:
    """Make the picture by itself, and a page of picture and table for what shows HTML.

    Parameters
    ----------
    draw
        Draws the picture so many picture elements tall, RGB.
    description
        What it shows, for who cannot see it.
    marks
        Of all planes.

    Returns
    -------
    bundle
        By MIME type; all text in it is escaped.
    """
    alt, bundle = html.escape(description, quote=True), {}
    for height in HEIGHTS:
        image = draw(height)
        picture = f'<img alt="{alt}" src="data:image/jpeg;base64,{_encoded(image, "jpeg", quality=QUALITY)}">'
        png = _encoded(image.point(lambda level: level & STEPS), "png", optimize=True)
        bundle = {"image/png": png, "text/html": f"<div>{picture}{_table(marks)}</div>"}
        if sum(map(len, bundle.values())) <= LARGEST:
            break
    return bundle


def _table(marks: Sequence[Drawn]) -> str:
    if not marks:
        return ""
    rows = [(m.measurement.label, _numbers(m), m.plane or "off the planes", _state(m)) for m in marks]
    head = "".join(f"<th>{name}</th>" for name in ("label", "value", "where", "state"))
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>Measurements</caption><tr>{head}</tr>{body}</table>"


def _numbers(mark: Drawn) -> str:
    return ", ".join(f"{one.name} {one.value:.1f} {one.unit}" for one in mark.quantities)


def _state(mark: Drawn) -> str:
    return "saved" if mark.saved else "draft"


def _encoded(image: Image, kind: str, **options: bool | int) -> str:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()
