"""Frames as NumPy arrays, written as they are decoded: ``numpy`` of a frame, an instance and a series.

Their axes are ``(frame, row, column, sample)``; values are rescaled to float32 unless asked otherwise.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from researchpacs.archive import Stored
from researchpacs.dicom.pixels import stored_dtype
from researchpacs.server.budget import check_frame, frame_bytes, in_turn
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.frames import Image
from researchpacs.server.zips import Member, stream_zip

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

_BINARY = "application/octet-stream"
_MEMBER = "arr_0.npy"
"""As `numpy.savez` names the only array."""


@dataclass(frozen=True, slots=True)
class _Planned:
    """What an array will be."""

    instances: Sequence[Stored]
    frame: int | None
    """The only one that is wanted; None for all."""
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    rescaled: bool


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""

    def frame(request: Request) -> Response:
        text = request.path_params["frame"]
        if not (text.isascii() and text.isdigit()) or len(text) > 9:
            raise OrthancError(404)
        return _answer(request, [_instance(pacs, request)], frame=int(text))

    def instance(request: Request) -> Response:
        return _answer(request, [_instance(pacs, request)])

    def series(request: Request) -> Response:
        instances = pacs.archive.resources.instances("series", request.path_params["id"])
        if not instances:
            raise OrthancError(404)
        return _answer(request, instances)

    return [
        Route("/instances/{id}/frames/{frame}/numpy", frame, methods=["GET"]),
        Route("/instances/{id}/numpy", instance, methods=["GET"]),
        Route("/series/{id}/numpy", series, methods=["GET"]),
    ]


def _instance(pacs: "Pacs", request: Request) -> Stored:
    found = pacs.archive.resources.one("instance", request.path_params["id"])
    if found is None or found.stored is None:
        raise OrthancError(404)
    return found.stored


def _answer(request: Request, instances: Sequence[Stored], *, frame: int | None = None) -> Response:
    rescaled = request.query_params.get("rescale", "1") not in ("0", "false")
    planned = _plan(instances, frame, rescaled=rescaled)
    frames = _frames(planned)
    # The first one is made now: what is wrong with it is still an answer then.
    frames = itertools.chain([next(frames)], frames)
    head = _head(planned)
    if request.query_params.get("compress", "0") in ("0", "false"):
        size = len(head) + int(np.prod(planned.shape)) * planned.dtype.itemsize
        headers = {"Content-Length": str(size)}
        return StreamingResponse(itertools.chain([head], frames), media_type=_BINARY, headers=headers)
    member = Member(_MEMBER, lambda: itertools.chain([head], frames), (1980, 1, 1, 0, 0, 0), deflate=True)
    return StreamingResponse(stream_zip([member]), media_type=_BINARY)


def _plan(instances: Sequence[Stored], frame: int | None, *, rescaled: bool) -> _Planned:
    shapes, dtypes, count = set[tuple[int, ...]](), list[np.dtype[np.generic]](), 0
    for stored in instances:
        with Image(stored) as image:
            layout = image.layout
        check_frame(layout)
        if frame is not None and frame >= layout.number_of_frames:
            raise OrthancError(404)
        count += layout.number_of_frames
        shapes.add((layout.rows, layout.columns, layout.samples_per_pixel))
        is_rescaled = rescaled and layout.samples_per_pixel == 1
        dtypes.append(np.dtype(np.float32) if is_rescaled else stored_dtype(layout))
    if len(shapes) > 1:
        raise OrthancError(400, "the instances of the series differ in Rows, Columns or samples")
    (shape,) = shapes
    dtype = np.result_type(*dtypes)
    return _Planned(instances, frame, shape if frame is not None else (count, *shape), dtype, rescaled)


def _head(planned: _Planned) -> bytes:
    """What stands before the values in a ``.npy`` file."""
    buffer = BytesIO()
    told = {
        "descr": np.lib.format.dtype_to_descr(planned.dtype),
        "fortran_order": False,
        "shape": planned.shape,
    }
    np.lib.format.write_array_header_1_0(buffer, told)
    return buffer.getvalue()


def _frames(planned: _Planned) -> Iterator[bytes]:
    """The values, a frame at a time: row by row, samples last."""
    for stored in planned.instances:
        with Image(stored) as image:
            wanted = range(image.layout.number_of_frames) if planned.frame is None else [planned.frame]
            rows = image.rows if planned.rescaled and image.layout.samples_per_pixel == 1 else None
            for index in wanted:
                with in_turn(4 * frame_bytes(image.layout)):
                    values = image.decoded_frame(index)
                    if rows is not None:
                        values = values * rows[index].rescale_slope + rows[index].rescale_intercept
                    data = values.astype(planned.dtype).tobytes()
                yield data
