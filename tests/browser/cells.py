"""What tests of viewers in cells share: showing one, pointing at its planes, looking at its pictures."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = [
    "MARK_TEXT",
    "drag",
    "keep",
    "middle",
    "picture",
    "plane",
    "show",
    "status",
    "until",
    "until_page",
    "until_seen",
    "until_still",
    "wait_for_pictures",
]

MARK_TEXT = """([plane, text]) =>
    document.querySelector(`[data-plane=${plane}] svg.svg-layer`)?.textContent.includes(text) ?? false"""
"""Whether words stand on a plane."""


def show(book, code, planes=3):
    """Run code that ends with a viewer, and wait for its pictures."""
    book.run_code(code)
    wait_for_pictures(book, planes=planes)


def wait_for_pictures(book, viewers=1, planes=3):
    book.page.wait_for_function(
        "(n) => document.querySelectorAll('[data-plane][data-shown]').length === n",
        arg=planes * viewers,
        timeout=60_000,
    )
    book.page.evaluate("document.querySelector('.rp-viewer').scrollIntoView()")
    book.page.wait_for_timeout(200)


def plane(book, name):
    return book.page.locator(f"[data-plane={name}]").first


def middle(locator):
    """Whole page coordinates: Chromium floors the others."""
    canvas = locator.locator(".rp-canvas")
    box = (canvas if canvas.count() else locator).bounding_box()
    return round(box["x"] + box["width"] / 2), round(box["y"] + box["height"] / 2)


def status(book, name):
    return plane(book, name).locator(".rp-status").text_content()


def drag(page, start, *places, button="left"):
    """Press at a place, move through others and let go at the last."""
    page.mouse.move(*start)
    page.mouse.down(button=button)
    for before, after in zip([start, *places], places, strict=False):
        page.mouse.move((before[0] + after[0]) // 2, (before[1] + after[1]) // 2)
        page.mouse.move(*after)
    page.mouse.up(button=button)


def until(book, expression, expected, *, timeout_s=60):
    """Wait until a Python expression in the kernel has a value."""
    for _ in range(timeout_s * 5):
        found = book.ask(expression)
        if found == expected:
            return
        book.page.wait_for_timeout(200)
    raise AssertionError(f"{expression} stayed {found}, expected {expected}")


def until_page(book, expression, argument=None):
    """Wait until a JavaScript function of the page, of an argument or none, gives what is true."""
    book.page.wait_for_function(expression, arg=argument, timeout=60_000)


def until_seen(book, locator, path, fits, *, timeout_s=60):
    """Wait until a picture fits: it is drawn some time after what it shows was chosen."""
    book.page.mouse.move(5, 5)
    for _ in range(timeout_s * 4):
        pixels = picture(locator, path)
        if fits(pixels):
            return
        book.page.wait_for_timeout(250)
    raise AssertionError(f"the picture does not fit; its mean is {pixels.mean(axis=(0, 1))}, see {path}")


def until_still(locator, *, timeout_s=60):
    """Wait until an element stays where it is."""
    box = locator.bounding_box()
    for _ in range(timeout_s * 5):
        locator.page.wait_for_timeout(200)
        before, box = box, locator.bounding_box()
        if box == before:
            return
    raise AssertionError("it does not come to rest")


def picture(locator, path):
    locator.screenshot(path=path)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def keep(page, tmp_path, name):
    """Leave a screenshot where a person can look at it: in $RESEARCHPACS_SCREENSHOTS if it is set."""
    folder = Path(os.environ.get("RESEARCHPACS_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")
