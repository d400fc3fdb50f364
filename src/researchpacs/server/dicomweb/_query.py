"""The query parameters of a search: matching keys, fields to include, paging (PS3.18 8.3.4, 10.6.1.2)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import QueryParams

from researchpacs.archive.matching import is_indexed
from researchpacs.dicom.keywords import nearest
from researchpacs.model import Find, Level
from researchpacs.server.dicomweb._answers import RequestError

__all__ = ["LARGEST_PAGE", "Question", "parse_question"]

LARGEST_PAGE = 1_000
"""Results in one answer; the field Warning says where there are more (PS3.18 8.3.4.4)."""

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_NOT_KEYS = frozenset({"limit", "offset", "fuzzymatching", "includefield", "accept"})
_LISTS = frozenset({"UI", "CS"})
_RANGES = frozenset({"DA", "TM", "DT"})
_PARTS = {"DA": r"\d{4}(\d{2}(\d{2})?)?", "TM": r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", "DT": r"\d{4}[\d.+]*"}

Filter = str | Sequence[str] | tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Question:
    """What a search asks for."""

    find: Find
    """For the ledger."""
    others: Mapping[str, Filter]
    """Filters on attributes that only the catalog knows."""
    fuzzy: bool
    include: tuple[int, ...]
    """Tags of attributes wanted beside those that every result has."""
    everything: bool
    """All attributes of the level and of those above."""


def parse_question(level: Level, fixed: Mapping[str, str], params: QueryParams) -> Question:
    """Read a search.

    Parameters
    ----------
    level
        What is searched for.
    fixed
        UIDs that the path gives, by keyword.
    params
        The query.

    Raises
    ------
    RequestError
        400, with what is wrong.
    """
    filters: dict[str, Filter] = {}
    include: list[int] = []
    for name in dict.fromkeys(params.keys()):
        if name.lower() in _NOT_KEYS:
            continue
        values = params.getlist(name)
        tag, keyword = _attribute(name)
        if len(values) > 1 or keyword in filters:
            raise RequestError(
                400, f"{keyword} is given more than once; several values are one text, separated by commas"
            )
        include.append(tag)
        wanted = _filter(keyword, values[0])
        if wanted is not None:
            filters[keyword] = wanted
    for keyword, uid in fixed.items():
        if keyword in filters:
            raise RequestError(400, f"{keyword} stands in the path already")
        filters[keyword] = uid
    listed = [one.strip() for text in params.getlist("includefield") for one in text.split(",") if one.strip()]
    include += [_attribute(one)[0] for one in listed if one.lower() != "all"]
    limit = _count(params, "limit")
    return Question(
        find=Find(
            level,
            {keyword: wanted for keyword, wanted in filters.items() if is_indexed(keyword)},
            limit=min(LARGEST_PAGE if limit is None else limit, LARGEST_PAGE),
            offset=_count(params, "offset") or 0,
        ),
        others={keyword: wanted for keyword, wanted in filters.items() if not is_indexed(keyword)},
        fuzzy=_truth(params, "fuzzymatching"),
        include=tuple(include),
        everything=any(one.lower() == "all" for one in listed),
    )


def _attribute(name: str) -> tuple[int, str]:
    """Tag and keyword of an attribute, which is named by either."""
    from pydicom.datadict import keyword_for_tag, tag_for_keyword

    if _TAG.fullmatch(name):
        tag = int(name, 16)
        return tag, keyword_for_tag(tag) or f"({name[:4]},{name[4:]})".lower()
    found = tag_for_keyword(name)
    if found is None:
        if "." in name and all(_attribute(part) for part in name.split(".")):
            raise RequestError(400, "attributes inside sequences cannot be searched here")
        meant = nearest(name[:64])
        hint = f"; did you mean {meant}?" if meant else ""
        raise RequestError(400, f"an attribute is named by its keyword or as eight hexadecimal digits{hint}")
    return found, name


def _filter(keyword: str, text: str) -> Filter | None:
    """Read a value; None matches everything (universal matching)."""
    from pydicom.datadict import dictionary_VR

    if text in ("", "*"):
        return None
    if text == '""':
        return ""
    try:
        vr = dictionary_VR(keyword)
    except (KeyError, ValueError):
        raise RequestError(400, "private attributes cannot be searched; includefield brings them") from None
    if vr == "SQ":
        raise RequestError(400, f"{keyword} is a sequence, which cannot be searched here")
    if vr in _RANGES:
        return _range(keyword, vr, text)
    if "\\" in text:
        return text.split("\\")
    if vr in _LISTS and "," in text:
        return [one.strip() for one in text.split(",")]
    return text


def _range(keyword: str, vr: str, text: str) -> Filter:
    low, dash, high = text.partition("-")
    ends = (low.strip() or None, high.strip() or None) if dash else (text.strip(), text.strip())
    for end in ends:
        if end is not None and not re.fullmatch(_PARTS[vr], end):
            raise RequestError(400, f"{keyword} takes one value, or a range such as low-high, low- or -high")
    if ends == (None, None):
        raise RequestError(400, f"the range for {keyword} has neither end")
    return ends


def _count(params: QueryParams, name: str) -> int | None:
    text = params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise RequestError(400, f"{name} is a count, zero or more")
    return int(text)


def _truth(params: QueryParams, name: str) -> bool:
    text = params.get(name, "false").lower()
    if text not in ("true", "false"):
        raise RequestError(400, f"{name} is true or false")
    return text == "true"
