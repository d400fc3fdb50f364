"""WADO-RS: rendered frames and thumbnails (PS3.18 10.4.1.1.3, 8.3.5)."""

import math
from typing import get_args

import numpy as np
from PIL import Image
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from researchpacs.archive import Stored
from researchpacs.errors import NotFoundError
from researchpacs.server.budget import drawing_bytes, in_turn
from researchpacs.server.dicomweb._answers import RequestError
from researchpacs.server.dicomweb._instance import OpenInstance
from researchpacs.server.dicomweb._media import first_taken, wanted_by
from researchpacs.server.dicomweb._resources import named_instance, named_instances
from researchpacs.server.dicomweb._syntaxes import frame_media_type
from researchpacs.server.dicomweb.frames import frame_numbers
from researchpacs.server.dicomweb.video import video_answer
from researchpacs.server.rendering import Function, VoiWindow, encode_picture, picture_of

__all__ = ["draw", "encoded_picture", "read_quality", "read_viewport", "read_window", "rendered", "thumbnail"]

MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif")
THUMBNAIL = 128
"""Pixels of a thumbnail's longer side, where the client gives no viewport."""
_LARGEST_SIDE = 8_192

Viewport = tuple[int, int, tuple[float, ...] | None]


def rendered(request: Request) -> Response:
    """``.../rendered`` of a study, series, instance or frame: one picture, or the video that an instance is.

    An instance of several frames is shown by its first, a series or study by the instance in its middle.
    """
    if "instance" in request.path_params and "frames" not in request.path_params:
        stored = named_instance(request)
        kind = frame_media_type(stored.transfer_syntax_uid)
        if kind.startswith("video/"):
            first_taken(wanted_by(request), (kind,))
            return video_answer(request, stored, kind)
    media_type = first_taken(wanted_by(request), MEDIA_TYPES)
    params = request.query_params
    window, quality, viewport = read_window(params), read_quality(params), read_viewport(params)
    stored, index = _chosen(request)
    return encoded_picture(draw(stored, index, window=window, viewport=viewport), media_type, quality)


def thumbnail(request: Request) -> Response:
    """``.../thumbnail`` of a study, series, instance or frame: a small picture."""
    media_type = first_taken(wanted_by(request), MEDIA_TYPES)
    viewport = read_viewport(request.query_params) or (THUMBNAIL, THUMBNAIL, None)
    stored, index = _chosen(request)
    return encoded_picture(draw(stored, index, window=None, viewport=viewport), media_type, 80)


def draw(stored: Stored, index: int, *, window: VoiWindow | None, viewport: Viewport | None) -> np.ndarray:
    """Render a frame and fit it into a viewport."""
    with OpenInstance(stored) as instance:
        layout = instance.layout
        with in_turn(drawing_bytes(layout, viewport)):
            picture = picture_of(instance.decoded_frame(index), instance.header, layout, index, window=window)
            return picture if viewport is None else _fitted(picture, viewport)


def encoded_picture(picture: np.ndarray, media_type: str, quality: int) -> Response:
    """Answer with a picture."""
    return Response(encode_picture(picture, media_type, quality=quality), media_type=media_type)


def read_window(params: QueryParams) -> VoiWindow | None:
    """``window=center,width,function`` (PS3.18 8.3.5.1.4)."""
    text = params.get("window")
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 3):
        raise RequestError(400, "window is center,width,function, such as 40,400,linear")
    function = (parts[2] if len(parts) == 3 else "linear").upper().replace("-", "_")
    if function not in get_args(Function):
        raise RequestError(400, "a window's function is linear, linear-exact or sigmoid")
    return VoiWindow(_number(parts[0], "window"), _number(parts[1], "window"), function)  # type: ignore[arg-type]


def read_quality(params: QueryParams) -> int:
    """``quality`` (PS3.18 8.3.5.1.2), from 1 to 100."""
    text = params.get("quality", "90")
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= 100):
        raise RequestError(400, "quality is a number from 1 to 100")
    return int(text)


def read_viewport(params: QueryParams) -> Viewport | None:
    """``viewport=width,height,x,y,width,height`` (PS3.18 8.3.5.1.3), the last four of the source."""
    text = params.get("viewport")
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 6):
        raise RequestError(400, "viewport is width,height, or these with x,y,width,height of the part to show")
    width, height = (_number(part, "viewport") for part in parts[:2])
    if not all(1 <= side <= _LARGEST_SIDE for side in (width, height)):
        raise RequestError(400, f"a viewport is 1 to {_LARGEST_SIDE} pixels wide and high")
    region = None
    if len(parts) == 6:
        region = tuple(_number(part, "viewport") if part else math.nan for part in parts[2:])
    return int(width), int(height), region


def _number(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RequestError(400, f"{name} is made of numbers")
    return number


def _chosen(request: Request) -> tuple[Stored, int]:
    if "frames" in request.path_params:
        numbers = frame_numbers(request.path_params["frames"])
        if len(numbers) > 1:
            raise RequestError(406, "one frame at a time is rendered")
        return named_instance(request), numbers[0] - 1
    if "instance" in request.path_params:
        return named_instance(request), 0
    instances = named_instances(request)
    middle = len(instances) // 2
    for stored in (*instances[middle:], *reversed(instances[:middle])):
        if stored.header_length < stored.size:
            return stored, 0
    raise NotFoundError("nothing here has pixels")


def _fitted(picture: np.ndarray, viewport: Viewport) -> np.ndarray:
    """Cut out a region and scale it into the viewport, its proportions kept."""
    width, height, region = viewport
    image = Image.fromarray(picture)
    if region is not None:
        image = _cut(image, region)
    scale = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BILINEAR
    return np.asarray(image.resize(size, resample))


def _cut(image: Image.Image, region: tuple[float, ...]) -> Image.Image:
    """A region ``x, y, width, height``; a negative size flips, what is left out is the whole side."""
    x, y, wide, tall = region
    x, y = (0.0 if math.isnan(value) else value for value in (x, y))
    wide = image.width - x if math.isnan(wide) else wide
    tall = image.height - y if math.isnan(tall) else tall
    box = (int(x), int(y), int(x + abs(wide)), int(y + abs(tall)))
    if box[0] < 0 or box[1] < 0 or box[2] > image.width or box[3] > image.height or not (wide and tall):
        raise RequestError(400, f"the part to show lies outside of the picture, {image.width} by {image.height} pixels")
    cut = image.crop(box)
    if cut.width == 0 or cut.height == 0:
        raise RequestError(400, "the part to show is empty")
    if wide < 0:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return cut.transpose(Image.Transpose.FLIP_TOP_BOTTOM) if tall < 0 else cut
