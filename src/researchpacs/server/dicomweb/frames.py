"""WADO-RS: frames and bulk data, each part in the form it is stored in or decoded (PS3.18 10.4.1.1.4, 10.4.1.1.5)."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from researchpacs.archive import Stored
from researchpacs.dicom.native import native_bytes
from researchpacs.errors import NotFoundError
from researchpacs.server.budget import frame_bytes, in_turn
from researchpacs.server.dicomweb._answers import RequestError
from researchpacs.server.dicomweb._instance import OpenInstance
from researchpacs.server.dicomweb._json import bulk_value
from researchpacs.server.dicomweb._media import Wanted, wanted_by
from researchpacs.server.dicomweb._resources import instance_url, named_instance, root_url
from researchpacs.server.dicomweb._syntaxes import BARE, EXPLICIT, can_become, frame_media_type, is_native
from researchpacs.server.dicomweb.retrieve import multipart_answer
from researchpacs.server.dicomweb.video import video_answer, video_stream
from researchpacs.server.multipart import Part, written_size

__all__ = ["bulk_data", "frame_numbers", "frames"]

_NUMBERS = re.compile(r"[0-9]{1,9}(,[0-9]{1,9})*")
_MOST_FRAMES = 100_000
_PIXELS = frozenset({"7FE00008", "7FE00009", "7FE00010"})


@dataclass(frozen=True, slots=True)
class _Form:
    """How frames go out."""

    media_type: str
    transfer_syntax_uid: str
    decoded: bool

    @property
    def content_type(self) -> str:
        return f"{self.media_type}; transfer-syntax={self.transfer_syntax_uid}"


def frames(request: Request) -> Response:
    """``.../frames/{frames}``: the frames of the list, one part each, in its order."""
    stored = named_instance(request)
    numbers = frame_numbers(request.path_params["frames"])
    with OpenInstance(stored) as instance:
        count = instance.layout.number_of_frames
    if wrong := [number for number in numbers if not 1 <= number <= count]:
        raise NotFoundError(f"the instance has frames 1 to {count}; {wrong[0]} is none of them")
    for one in wanted_by(request):
        form = _form(stored, one)
        if form is None or (one.multipart is False and len(numbers) > 1):
            continue
        url = instance_url(root_url(request), stored)
        parts = _parts(stored, [number - 1 for number in numbers], form, url)
        if one.multipart is False:
            (part,) = parts
            return Response(b"".join(part.content), headers={"Content-Type": form.content_type})
        if len(numbers) == 1:
            # Viewers ask for one after the other; with a length, they know when it is whole.
            made = list(parts)
            return multipart_answer(made, form.media_type, size=written_size(made))
        return multipart_answer(_begun(parts), form.media_type)
    raise _not_acceptable(stored)


def bulk_data(request: Request) -> Response:
    """``.../bulkdata/{path}``: a large value that the metadata gave a URL for."""
    stored, path = named_instance(request), request.path_params["path"]
    wanted = wanted_by(request)
    if path.upper() in _PIXELS:
        return _pixel_data(request, stored, wanted)
    with OpenInstance(stored) as instance:
        value = bulk_value(instance.header, path)
    if value is None:
        raise NotFoundError("the instance has no bulk data under this path")
    for one in wanted:
        if one.takes(BARE) and one.multipart is False:
            return Response(value, media_type=BARE)
        if one.takes(BARE):
            url = f"{instance_url(root_url(request), stored)}/bulkdata/{path}"
            return multipart_answer([Part(BARE, [value], len(value), url)], BARE)
    raise RequestError(406, f'bulk data come as {BARE}, alone or as multipart/related; type="{BARE}"')


def frame_numbers(text: str) -> list[int]:
    """Read a list of frames, counted from 1.

    Raises
    ------
    RequestError
        400: it is none.
    """
    if not _NUMBERS.fullmatch(text) or text.count(",") >= _MOST_FRAMES:
        raise RequestError(400, "frames are a list of numbers from 1, separated by commas")
    return [int(number) for number in text.split(",")]


def _form(stored: Stored, wanted: Wanted) -> _Form | None:
    """The form of frames that answers one wish; None where there is none.

    An asterisk means as stored; where nothing is said about transfer syntaxes, bare bytes are decoded ones.
    """
    syntax, stored_type = wanted.transfer_syntax, frame_media_type(stored.transfer_syntax_uid)
    if is_native(stored):
        fits = syntax in (None, "*", EXPLICIT, stored.transfer_syntax_uid)
        return _Form(BARE, EXPLICIT, decoded=False) if fits and wanted.takes(BARE) else None
    as_stored = _Form(stored_type, stored.transfer_syntax_uid, decoded=False)
    decoded = _Form(BARE, EXPLICIT, decoded=True)
    if syntax in ("*", stored.transfer_syntax_uid):
        return as_stored if _takes(wanted, stored_type) or wanted.takes(BARE) else None
    if syntax in (None, EXPLICIT) and wanted.takes(BARE) and can_become(stored, EXPLICIT):
        return decoded
    return as_stored if syntax is None and _takes(wanted, stored_type) else None


def _takes(wanted: Wanted, media_type: str) -> bool:
    # image/x-jls and image/x-dicom-rle are names of old.
    return wanted.takes(media_type) or wanted.takes(media_type.replace("/", "/x-", 1))


def _parts(stored: Stored, indices: Iterable[int], form: _Form, url: str) -> Iterator[Part]:
    with OpenInstance(stored) as instance:
        for index in indices:
            content = _frame(instance, index, form)
            yield Part(form.content_type, [content], len(content), f"{url}/frames/{index + 1}")


def _frame(instance: OpenInstance, index: int, form: _Form) -> bytes:
    big_endian = instance.stored.transfer_syntax_uid == "1.2.840.10008.1.2.2"
    if not form.decoded and not big_endian:
        data = instance.stored_frame(index)
        if data is not None:
            return data
    with in_turn(2 * frame_bytes(instance.layout)):
        return native_bytes(instance.decoded_frame(index), instance.layout)


def _begun(parts: Iterator[Part]) -> Iterator[Part]:
    """Make the first part now: what is wrong with it is still an answer then."""
    return itertools.chain([next(parts)], parts)


def _pixel_data(request: Request, stored: Stored, wanted: Sequence[Wanted]) -> Response:
    with OpenInstance(stored) as instance:
        count = instance.layout.number_of_frames
    url = f"{instance_url(root_url(request), stored)}/bulkdata/{request.path_params['path']}"
    for one in wanted:
        form = _form(stored, one)
        whole = form is not None and form.media_type.startswith(("video/", BARE))
        if form is None or (one.multipart is False and not whole and count > 1):
            continue
        if form.media_type.startswith("video/"):
            parts = iter([Part(form.content_type, video_stream(stored), location=url)])
        elif form.media_type == BARE:
            parts = iter([Part(form.content_type, _value(stored, form), location=url)])
        else:
            parts = _parts(stored, range(count), form, instance_url(root_url(request), stored))
        if one.multipart is False:
            if form.media_type.startswith("video/"):
                return video_answer(request, stored, form.content_type)
            return StreamingResponse(iter(next(parts).content), headers={"Content-Type": form.content_type})
        return multipart_answer(_begun(parts), form.media_type)
    raise _not_acceptable(stored)


def _value(stored: Stored, form: _Form) -> Iterator[bytes]:
    """The frames one after the other, as the value of native pixel data has them."""
    with OpenInstance(stored) as instance:
        count = instance.layout.number_of_frames
        if instance.layout.bits_allocated == 1 and instance.frame_ranges is None:
            # Frames of single bits follow each other without regard to bytes.
            bits = [instance.decoded_frame(index).reshape(-1) for index in range(count)]
            yield np.packbits(np.concatenate(bits), bitorder="little").tobytes()
            return
        for index in range(count):
            yield _frame(instance, index, form)


def _not_acceptable(stored: Stored) -> RequestError:
    stored_type = frame_media_type(stored.transfer_syntax_uid)
    also = "" if is_native(stored) else f", or as stored, {stored_type}; transfer-syntax={stored.transfer_syntax_uid}"
    return RequestError(406, f"frames come as {BARE}{also}; several as multipart/related of these")
