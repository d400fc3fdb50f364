"""``search_texts``: what can be found by words, each different text once; the rows of series name theirs by its key.

A text is a function of a series' descriptions, the codes in its instances and what its reports say. Thousands of series
share one, so that a search reads few texts and then compares numbers.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import duckdb

from researchpacs.catalog._alike import Alike
from researchpacs.catalog._objects import says_more
from researchpacs.catalog._rows import delete_rows, insert_rows, rows_where

__all__ = ["add_texts", "replace_texts", "text_key"]

Row = dict[str, Any]
Key = tuple[str, ...]

_SERIES = ("patient_key", "StudyInstanceUID", "SeriesInstanceUID")
_DESCRIPTIONS = (
    "StudyDescription", "SeriesDescription", "ProtocolName", "PerformedProcedureStepDescription", "BodyPartExamined",
    "ContrastBolusAgent",
)  # fmt: skip
_ANYWHERE = frozenset({
    "CodeMeaning", "CodeValue", "ContentDescription", "ContentLabel", "LongCodeValue", "ROIName", "ROIObservationLabel",
    "RequestedProcedureDescription", "SegmentDescription", "SegmentLabel", "StructureSetLabel", "URNCodeValue",
})  # fmt: skip
"""Codes, and names that people gave, on any level of an instance."""


def add_texts(con: duckdb.DuckDBPyConnection, series: Sequence[Row], below: Mapping[Key, Iterable[Row]]) -> list[str]:
    """Give rows of series their ``text_key``, from all their instances and the reports that are in the catalog.

    Returns
    -------
    texts
        Of these series, each once.
    """
    speaking = {key[-1] for key, rows in below.items() if any(says_more(row["SOPClassUID"] or "") for row in rows)}
    said: dict[Key, list[str]] = {}
    for row in rows_where(con, "reports", "SeriesInstanceUID", speaking, only=(*_SERIES, "title", "report_text")):
        said.setdefault(_key(row), []).extend(text for text in (row["title"], row["report_text"]) if text)
    texts: dict[str, None] = {}
    for row in series:
        text = _text(row, below[_key(row)], said.get(_key(row), ()))
        row["text_key"] = text_key(text) if text else None
        if text:
            texts[text] = None
    return list(texts)


def replace_texts(con: duckdb.DuckDBPyConnection, before: Collection[int], now: Iterable[str]) -> None:
    """Add the texts that are new and remove those that no series has any more.

    To be called when the rows of series are written, inside their transaction.

    Parameters
    ----------
    before
        The keys that the rows had which were replaced.
    now
        The texts of those that replaced them.
    """
    texts = {text_key(text): text for text in now}
    there = {row["text_key"] for row in rows_where(con, "search_texts", "text_key", texts.keys() - set(before))}
    new = sorted(texts.keys() - there - set(before))
    insert_rows(con, "search_texts", [{"text_key": key, "search_text": texts[key]} for key in new])
    if left := set(before) - texts.keys():
        used = {row["text_key"] for row in rows_where(con, "series", "text_key", left, only=("text_key",))}
        delete_rows(con, "search_texts", ("text_key",), {(key,) for key in left - used})


def _text(series: Row, instances: Iterable[Row], said: Iterable[str]) -> str:
    pieces = [str(series[name]) for name in _DESCRIPTIONS if series.get(name)]
    found = set(_said(instances))
    every = (piece.replace("\0", "").lower() for piece in [*pieces, *sorted(found), *sorted(said)])
    return "\n".join(dict.fromkeys(every))


def _said(instances: Iterable[Row]) -> Iterator[str]:
    """Texts anywhere in instances; what many have is gone through once."""
    seen: set[int] = set()
    of_base: dict[int, dict[str, list[str]]] = {}
    for row in instances:
        tags = row["tags"]
        if not isinstance(tags, Alike):
            yield from _found(tags, seen)
            continue
        known = of_base.get(id(tags.base))
        if known is None:
            texts = {keyword: list(_found({keyword: value}, set())) for keyword, value in tags.base.items()}
            known = of_base[id(tags.base)] = {keyword: some for keyword, some in texts.items() if some}
        for keyword in known.keys() - tags.own.keys():
            yield from known[keyword]
        yield from _found(tags.own, seen)


def _found(tags: Mapping[str, Any], seen: set[int]) -> Iterator[str]:
    """Texts anywhere in attributes; a sequence that was met before is left out."""
    for keyword, value in tags.items():
        if keyword in _ANYWHERE:
            yield from (str(one) for one in (value if isinstance(value, list) else [value]) if one)
        elif type(value) is list and value and type(value[0]) is dict and id(value) not in seen:
            seen.add(id(value))
            for item in value:
                yield from _found(item, seen)


def text_key(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "big", signed=True)


def _key(row: Row) -> Key:
    return tuple(row[name] for name in _SERIES)
