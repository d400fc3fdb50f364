"""Pictures of an instance's frames, and their numbers: ``preview``, ``rendered``, ``image-uint8``, ``raw``.

| route | values |
|---|---|
| preview | stored values stretched from the darkest to the brightest, 8 bits |
| rendered | as a person sees them: rescaled, windowed, in the size asked for, 8 bits |
| image-uint8, image-uint16, image-int16 | stored values, cut off at the type's range |
| raw, raw.gz | the bytes of the frame as they are written; in gzip |
"""

import gzip
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive import Stored
from researchpacs.server.budget import drawing_bytes, in_turn
from researchpacs.server.orthanc.answers import as_json
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.frames import Image
from researchpacs.server.rendering import VoiWindow, picture_of

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_PICTURES = ("image/png", "image/jpeg")
_Integers = type[np.uint8] | type[np.uint16] | type[np.int16]
_TYPES: Mapping[str, _Integers] = {"image-uint8": np.uint8, "image-uint16": np.uint16, "image-int16": np.int16}
_LARGEST = 8192
"""Pixels to a side that a picture is scaled to at most."""
_BLOCK = 1 << 18
"""Pixels that are stretched at once."""
_PARTS = ("image-int16", "image-uint16", "image-uint8", "numpy", "preview", "raw", "raw.gz", "rendered")

Answer = Callable[[Image, int, Request], Response]


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    answers: dict[str, Answer] = {
        "preview": _preview,
        "rendered": _rendered,
        **{name: _typed(dtype) for name, dtype in _TYPES.items()},
    }
    base, found = "/instances/{id}", list[Route]()
    for name, answer in answers.items():
        found.append(Route(f"{base}/{name}", _of_frame(pacs, answer), methods=["GET"]))
        found.append(Route(f"{base}/frames/{{frame}}/{name}", _of_frame(pacs, answer), methods=["GET"]))
    return [
        *found,
        Route(f"{base}/frames", _frames(pacs), methods=["GET"]),
        Route(f"{base}/frames/{{frame}}", _of_frame(pacs, _parts), methods=["GET"]),
        Route(f"{base}/frames/{{frame}}/raw", _of_frame(pacs, _raw), methods=["GET"]),
        Route(f"{base}/frames/{{frame}}/raw.gz", _of_frame(pacs, _raw_gz), methods=["GET"]),
    ]


def _of_frame(pacs: "Pacs", answer: Answer) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        text = request.path_params.get("frame", "0")
        with Image(_stored(pacs, request)) as image:
            if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) >= image.layout.number_of_frames:
                raise OrthancError(404)
            with in_turn(drawing_bytes(image.layout)):
                return answer(image, int(text), request)

    return endpoint


def _stored(pacs: "Pacs", request: Request) -> Stored:
    found = pacs.archive.resources.one("instance", request.path_params["id"])
    if found is None or found.stored is None:
        raise OrthancError(404)
    return found.stored


def _frames(pacs: "Pacs") -> Callable[[Request], Response]:
    def frames(request: Request) -> Response:
        with Image(_stored(pacs, request)) as image:
            return as_json(list(range(image.layout.number_of_frames)))

    return frames


def _parts(_: Image, __: int, ___: Request) -> Response:
    return as_json(list(_PARTS))


def _preview(image: Image, index: int, request: Request) -> Response:
    frame = image.decoded_frame(index)
    if frame.ndim == 3 or image.layout.photometric_interpretation == "PALETTE COLOR":
        return _picture(picture_of(frame, image.header, image.layout, index), request)
    return _picture(_stretched(frame, inverted=image.layout.photometric_interpretation == "MONOCHROME1"), request)


def _stretched(frame: np.ndarray, *, inverted: bool) -> np.ndarray:
    """Darkest to black and brightest to white; in blocks of rows, because a slide's frame may be large."""
    low, high = float(np.nanmin(frame)), float(np.nanmax(frame))
    scale = 255 / (high - low) if high > low else 0.0
    shown = np.empty(frame.shape, np.uint8)
    step = max(1, _BLOCK // frame.shape[1])
    for row in range(0, len(frame), step):
        block = np.rint((frame[row : row + step].astype(np.float64) - low) * scale)
        shown[row : row + step] = np.nan_to_num(255 - block if inverted else block)
    return shown


def _rendered(image: Image, index: int, request: Request) -> Response:
    window = None
    center, width = (_real(request, name) for name in ("window-center", "window-width"))
    if center is not None and width is not None:
        window = VoiWindow(center, width)
    picture = picture_of(image.decoded_frame(index), image.header, image.layout, index, window=window)
    return _picture(_scaled(picture, request), request)


def _scaled(picture: np.ndarray, request: Request) -> np.ndarray:
    """Fit a picture into the width and height asked for, keeping its proportions."""
    wide, tall = (int(_real(request, name) or 0) for name in ("width", "height"))
    if wide <= 0 and tall <= 0:
        return picture
    rows, columns = picture.shape[:2]
    factor = min(wide / columns if wide > 0 else np.inf, tall / rows if tall > 0 else np.inf)
    size = (max(1, round(columns * factor)), max(1, round(rows * factor)))
    if max(size) > _LARGEST:
        raise OrthancError(400, f"pictures have at most {_LARGEST} pixels to a side", orthanc=(3, "Out of range"))
    smooth = request.query_params.get("smooth", "1") not in ("0", "false")
    how = PIL.Image.Resampling.BILINEAR if smooth else PIL.Image.Resampling.NEAREST
    return np.asarray(PIL.Image.fromarray(picture).resize(size, how))


def _typed(dtype: _Integers) -> Answer:
    def typed(image: Image, index: int, request: Request) -> Response:
        frame = image.decoded_frame(index)
        if frame.ndim == 3:
            if frame.dtype != np.uint8 or dtype is not np.uint8:
                raise OrthancError(400, "a colour image has 8 bits a sample; ask for image-uint8 or rendered")
            return _picture(frame, request)
        info = np.iinfo(dtype)
        # PNG knows unsigned values only: negative ones are written as their two's complement.
        values = np.clip(np.rint(frame), info.min, info.max).astype(dtype)
        return _picture(values.view(np.uint16) if values.dtype == np.int16 else values, request)

    return typed


def _raw(image: Image, index: int, _: Request) -> Response:
    return Response(image.stored_frame(index), media_type="application/octet-stream")


def _raw_gz(image: Image, index: int, _: Request) -> Response:
    return Response(gzip.compress(image.stored_frame(index), compresslevel=1, mtime=0), media_type="application/gzip")


def _picture(values: np.ndarray, request: Request) -> Response:
    media_type = _accepted(request)
    picture = PIL.Image.fromarray(np.ascontiguousarray(values))
    options = {}
    if media_type == "image/jpeg":
        if values.dtype != np.uint8:
            raise OrthancError(406, "JPEG has 8 bits a sample; ask for image/png")
        options["quality"] = int(min(100, max(1, _real(request, "quality") or 90)))
    buffer = BytesIO()
    picture.save(buffer, "JPEG" if media_type == "image/jpeg" else "PNG", **options)
    return Response(buffer.getvalue(), media_type=media_type)


def _accepted(request: Request) -> str:
    """The first kind of picture that the client takes."""
    accept = request.headers.get("accept", "*/*")
    ranges = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    for wanted in ranges:
        if wanted in ("*/*", "image/*", ""):
            return _PICTURES[0]
        if wanted in _PICTURES:
            return wanted
    raise OrthancError(406, f"pictures are given as {' or '.join(_PICTURES)}")


def _real(request: Request, name: str) -> float | None:
    text = request.query_params.get(name)
    if text is None or text == "":
        return None
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not abs(value) < 1e12:
        raise OrthancError(400, f"{name} has to be a number", orthanc=(3, "Parameter out of range"))
    return value
