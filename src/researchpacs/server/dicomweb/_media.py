"""What a client takes: Accept fields and their DICOM parameters (PS3.18 8.7, RFC 9110 12.5.1)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from researchpacs.server.dicomweb._answers import RequestError

__all__ = ["Wanted", "first_taken", "parse_media_type", "quoted", "wanted_by"]

_PARAMETER = re.compile(r';\s*([A-Za-z0-9_.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]+))\s*')
_TYPE = re.compile(r"\s*([A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-]+)\s*")
_MULTIPART = "multipart/related"
_LONGEST = 8192


@dataclass(frozen=True, slots=True)
class Wanted:
    """One form in which a client takes an answer."""

    type: str
    """Media type of the answer or, for a multipart one, of its parts; may be ``*/*`` or end with ``/*``."""
    multipart: bool | None
    """Whether the answer is multipart/related; None where the client takes both."""
    transfer_syntax: str | None
    """A UID, ``*`` for as stored, None where nothing is said."""
    quality: float

    def takes(self, media_type: str) -> bool:
        """Whether an answer, or part, of this media type is taken."""
        return self.type in ("*/*", media_type) or (
            self.type.endswith("/*") and media_type.startswith(self.type.removesuffix("*"))
        )


def wanted_by(request: Request) -> list[Wanted]:
    """What the client takes, dearest first; anything where it says nothing.

    The query parameter ``accept`` goes before the field (PS3.18 8.3.3.1).

    Raises
    ------
    RequestError
        400: what it says is no media range.
    """
    said = request.query_params.getlist("accept") or request.headers.getlist("accept")
    text = ", ".join(said)
    if not text.strip():
        return [Wanted("*/*", None, None, 1.0)]
    if len(text) > _LONGEST:
        raise RequestError(400, f"Accept has {len(text)} characters where {_LONGEST} are read")
    ranges = [_as_wanted(*found) for found in _media_ranges(text)]
    return sorted((one for one in ranges if one.quality > 0), key=lambda one: -one.quality)


def parse_media_type(text: str) -> tuple[str, Mapping[str, str]]:
    """Read a Content-Type field: its media type in lower case, and its parameters.

    Raises
    ------
    RequestError
        400: it is none.
    """
    found = list(_media_ranges(text[:_LONGEST]))
    if len(found) != 1:
        raise RequestError(400, "Content-Type is not a media type")
    return found[0]


def quoted(value: str) -> str:
    """A parameter's value as a quoted string (RFC 9110 5.6.4)."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _media_ranges(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    position = 0
    while position < len(text):
        found = _TYPE.match(text, position)
        if found is None:
            raise RequestError(400, 'a media type is expected as in: multipart/related; type="application/dicom"')
        parameters, position = dict[str, str](), found.end()
        while parameter := _PARAMETER.match(text, position):
            name, in_quotes, bare = parameter.groups()
            parameters[name.lower()] = bare if in_quotes is None else re.sub(r"\\(.)", r"\1", in_quotes)
            position = parameter.end()
        yield found.group(1).lower(), parameters
        rest = text[position:].lstrip(" \t;")
        if rest and not rest.startswith(","):
            raise RequestError(400, "media types are separated by commas, their parameters by semicolons")
        position = len(text) - len(rest) + 1


def _as_wanted(media_type: str, parameters: Mapping[str, str]) -> Wanted:
    syntax = parameters.get("transfer-syntax")
    try:
        quality = float(parameters.get("q", "1"))
    except ValueError:
        raise RequestError(400, "a quality (q) in Accept is a number from 0 to 1") from None
    if media_type == _MULTIPART:
        return Wanted(parameters.get("type", "*/*").lower(), True, syntax, quality)
    if media_type in ("*/*", "multipart/*"):
        return Wanted("*/*", None if media_type == "*/*" else True, syntax, quality)
    return Wanted(media_type, False, syntax, quality)


def first_taken(wanted: Sequence[Wanted], media_types: Sequence[str], *, multipart: bool = False) -> str:
    """The first of our media types that the client takes, by its own preference.

    Raises
    ------
    RequestError
        406: it takes none of them.
    """
    for one in wanted:
        if one.multipart is not (not multipart):
            for media_type in media_types:
                if one.takes(media_type):
                    return media_type
    raise RequestError(406, f"this resource comes as {', '.join(media_types)}")
