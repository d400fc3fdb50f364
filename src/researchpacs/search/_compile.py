"""Filters -> one SQL query with bound values.

A filter on the level itself is a condition on its row; filters on levels above hold for its parents; filters on levels
below hold together for one row there: a study matches when one of its series meets all filters on series.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

from researchpacs.catalog import LABEL_KEYS, column_types
from researchpacs.dicom import keywords
from researchpacs.errors import InvalidInputError
from researchpacs.search._values import Between, Equal, Like, Missing, Test, tests_of

__all__ = ["LEVELS", "Query", "compile_query", "expression_of"]

LEVELS: Mapping[str, str] = {"patient": "patients", "study": "studies", "series": "series", "instance": "instances"}
"""Table of each level, from the root down."""

_ORDER = tuple(LEVELS)
_PARENT_KEYS = {
    "patient": ("patient_key",),
    "study": ("patient_key", "StudyInstanceUID"),
    "series": ("patient_key", "StudyInstanceUID", "SeriesInstanceUID"),
}
_DEFAULT_ORDER = {
    "patient": ("PatientID", "patient_key"),
    "study": ("StudyDate", "StudyInstanceUID", "patient_key"),
    "series": ("StudyDate", "StudyInstanceUID", "SeriesNumber", "SeriesInstanceUID", "patient_key"),
    "instance": ("StudyInstanceUID", "SeriesInstanceUID", "InstanceNumber", "SOPInstanceUID", "instance_key"),
}
_IN_SMALL_LETTERS = {"PatientName": "patient_search_name"}
"""Columns that have a person's name in small letters, by the column that has it as it is."""
_PRIVATE = re.compile(r"\([0-9a-f]{4},[0-9a-f]{4}\)")
_INNER = re.compile(r"\bselect\b", re.IGNORECASE)
_LONGEST_PATTERN = 1_000
_LONGEST = 200
_VR_TYPES = {"DA": "DATE", "TM": "TIME"}
_NUMBER_VRS = frozenset({"DS", "IS", "FD", "FL", "SL", "SS", "US", "UL", "SV", "UV", "US or SS"})
_NO_FILTER_VRS = frozenset({"SQ", "OB", "OW", "OD", "OF", "OL", "OV", "UN", "OB or OW", "US or OW", "US or SS or OW"})
_CASTS = {
    "DOUBLE": "try_cast(x as double)",
    "DATE": "cast(try_strptime(x, '%Y%m%d') as date)",
    "TIME": "cast(try_strptime(rpad(split_part(x, '.', 1), 6, '0'), '%H%M%S') as time)",
}


@dataclass(slots=True)
class Query:
    """A query without what is selected: ``from`` on, and its bound values."""

    level: str
    body: str = ""
    order: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    personal: set[str] = field(default_factory=set)
    """Names of the parameters that may say who a patient is."""

    @property
    def looks_elsewhere(self) -> bool:
        """Whether rows of other tables decide, too."""
        return _INNER.search(self.body) is not None

    def bind(self, value: Any, keyword: str = "") -> str:
        """Bind a value and give the placeholder that stands for it."""
        from researchpacs.catalog import is_identifying

        name = f"rp_{len(self.params)}"
        self.params[name] = value
        if is_identifying(keyword):
            self.personal.add(name)
        return f"${name}"

    def literal_text(self, text: str, *, hide_persons: bool = False) -> str:
        """The text with its placeholders replaced by literals, to be run elsewhere or shown."""

        def literal(found: re.Match[str]) -> str:
            name = found.group(1)
            if name not in self.params:
                return found.group()
            return "'\u2022\u2022\u2022'" if hide_persons and name in self.personal else _literal(self.params[name])

        return re.sub(r"\$(rp_\d+)\b", literal, text)


def compile_query(
    level: str,
    filters: Mapping[str, Any],
    *,
    text: str | None = None,
    labels: str | Sequence[str] | None = None,
    where: str | None = None,
    order: str | Sequence[str] | None = None,
) -> Query:
    """Write the query of a search.

    Raises
    ------
    InvalidInputError
        An unknown level, keyword or column, or a value that does not fit its attribute.
    """
    if not isinstance(level, str) or level not in LEVELS:
        raise InvalidInputError(f"a level is one of {', '.join(LEVELS)}; found {level!r}")
    for name, words in (("text", text), ("where", where)):
        if words is not None and not isinstance(words, str):
            raise InvalidInputError(f"{name}= is one text, found a {type(words).__name__}")
    query = Query(level)
    conditions: dict[str, list[str]] = {name: [] for name in _ORDER}
    for keyword, value in filters.items():
        where_it_is, condition = _condition(query, keyword, value)
        conditions[where_it_is].append(condition)
    if sought := (text or "").split():
        conditions["series"].append(_has_words(query, sought))
    if labels is not None:
        conditions[level].append(_labelled(query, labels))
    own = [*conditions[level], *_above(level, conditions), *_below(level, conditions)]
    if where is not None and where.strip():
        own.append(f"(\n{where}\n)")
    table = LEVELS[level]
    query.body = f"from {table}" + ("".join(f"\n{'and' if at else 'where'} {one}" for at, one in enumerate(own)))
    query.order = _order(level, order)
    return query


def expression_of(level: str, name: str) -> str:
    """A column, a parent's column or any other attribute, as an expression over the level's table."""
    table = LEVELS[level]
    if name in column_types(table):
        return f'{table}."{name}"'
    for above in reversed(_ORDER[: _ORDER.index(level)]):
        if name in column_types(LEVELS[above]):
            parent = LEVELS[above]
            return f'(select {parent}."{name}" from {parent} where {_joined(parent, table, above)})'  # noqa: S608
    _check_keyword(name)
    return f"tag({table}.tags, {_literal(name)})"


# -- levels ------------------------------------------------------------------------------------------------------------


def _above(level: str, conditions: Mapping[str, Sequence[str]]) -> list[str]:
    table = LEVELS[level]
    return [
        _exists(LEVELS[above], _joined(LEVELS[above], table, above), conditions[above])
        for above in _ORDER[: _ORDER.index(level)]
        if conditions[above]
    ]


def _below(level: str, conditions: Mapping[str, Sequence[str]]) -> list[str]:
    """One condition: a row of the next level that has conditions, which in its turn has rows below that meet theirs."""
    for below in _ORDER[_ORDER.index(level) + 1 :]:
        if conditions[below]:
            inner = [*conditions[below], *_below(below, conditions)]
            return [_exists(LEVELS[below], _joined(LEVELS[below], LEVELS[level], level), inner)]
    return []


def _exists(table: str, joined: str, conditions: Sequence[str]) -> str:
    return f"exists (select 1 from {table} where {joined}{''.join(f' and {one}' for one in conditions)})"  # noqa: S608


def _joined(table: str, other: str, level: str) -> str:
    return " and ".join(f'{table}."{name}" = {other}."{name}"' for name in _PARENT_KEYS[level])


# -- one filter --------------------------------------------------------------------------------------------------------


def _condition(query: Query, keyword: str, value: Any) -> tuple[str, str]:
    """The level that a filter speaks of, and the condition on its table."""
    for level in _nearest_first(query.level):
        kind = column_types(LEVELS[level]).get(keyword)
        if kind is not None and keyword != "tags" and not kind.startswith("STRUCT"):
            return level, _on_column(query, level, keyword, kind, value)
    _check_keyword(keyword)
    return _on_tags(query, keyword, value)


def _nearest_first(level: str) -> list[str]:
    at = _ORDER.index(level)
    return [level, *reversed(_ORDER[:at]), *_ORDER[at + 1 :]]


def _on_column(query: Query, level: str, keyword: str, kind: str, value: Any) -> str:
    table = LEVELS[level]
    column = f'{table}."{keyword}"'
    one = kind.removesuffix("[]")
    tests = tests_of(keyword, value, one)
    lowered = f"lower({column})" if f"{keyword}_parts" in column_types(table) else ""
    if keyword in _IN_SMALL_LETTERS and level == "patient":
        lowered = f"{table}.{_IN_SMALL_LETTERS[keyword]}"
    if kind.endswith("[]"):
        return _any_of(
            f"{column} is null",
            tests,
            lambda part: _in_list(column, _any_test(query, "x", keyword, part)),
        )
    return _any_of(f"{column} is null", tests, lambda part: _any_test(query, column, keyword, part, lowered=lowered))


def _on_tags(query: Query, keyword: str, value: Any) -> tuple[str, str]:
    """A filter on an attribute that is no column."""
    vr = "UN" if keyword.startswith("(") else keywords.vr_of(keyword)
    if vr in _NO_FILTER_VRS and not keyword.startswith("(") and not isinstance(value, Missing):
        raise InvalidInputError(
            f"{keyword} is a sequence or bytes (VR {vr}); filter it with where=, for example "
            f"where=\"tags->'{keyword}' is not null\""
        )
    kind = "DOUBLE" if vr in _NUMBER_VRS else _VR_TYPES.get(vr, "VARCHAR")
    tests = tests_of(keyword, value, kind)
    level = keywords.level_of(keyword)
    if level in {"patient", "study"}:
        return level, _tests_on_tags(query, LEVELS[level], keyword, kind, tests, any_case=vr == "PN")
    if query.level == "instance":
        return "instance", _tests_on_tags(query, "instances", keyword, kind, tests, any_case=vr == "PN")
    return "series", _in_one_instance(query, keyword, kind, tests, any_case=vr == "PN")


def _in_one_instance(query: Query, keyword: str, kind: str, tests: Sequence[Test], *, any_case: bool) -> str:
    """What the instances have in common is the series'; what they differ in has to be looked up in them."""
    own = "instances_own"
    joined = _joined(own, "series", "series")
    present = [test for test in tests if not isinstance(test, Missing)]
    found = []
    if present:
        common = _tests_on_tags(query, "series", keyword, kind, present, any_case=any_case)
        single = _tests_on_tags(query, own, keyword, kind, present, any_case=any_case)
        found += [common, _exists(own, joined, [single])]
    if len(present) < len(tests):
        name = _literal(keyword)
        has = f"tag({own}.tags, {name}) is not null"
        found.append(f"(tag(series.tags, {name}) is null and not {_exists(own, joined, [has])})")
    return f"({' or '.join(found)})"


def _tests_on_tags(query: Query, table: str, keyword: str, kind: str, tests: Sequence[Test], *, any_case: bool) -> str:
    values = f"tag_list({table}.tags, {_literal(keyword)})"
    cast = _CASTS.get(kind, "x")
    absent = f"tag({table}.tags, {_literal(keyword)}) is null"
    return _any_of(
        absent,
        tests,
        lambda part: _in_list(values, _any_test(query, cast, keyword, part, lowered="lower(x)" if any_case else "")),
    )


def _any_of(absent: str, tests: Sequence[Test], present: Callable[[Sequence[Test]], str]) -> str:
    """One condition out of several tests; `absent` where one of them is MISSING."""
    there = [test for test in tests if not isinstance(test, Missing)]
    found = [present(there)] if there else []
    if len(there) < len(tests):
        found.append(absent)
    return f"({' or '.join(found)})" if found else "false"


def _in_list(values: str, condition: str) -> str:
    return f"coalesce(len(list_filter({values}, lambda x: {condition})), 0) > 0"


def _any_test(query: Query, value: str, keyword: str, tests: Sequence[Test], *, lowered: str = "") -> str:
    """Person names may match in any case (PS3.4 C.2.2.2.1): `lowered` is such a value; all else as it is written."""
    equal = [test.value for test in tests if isinstance(test, Equal)]
    found = [_equal(query, value, keyword, equal, lowered=lowered)] if equal else []
    for test in tests:
        if isinstance(test, Like):
            found.append(_like(query, lowered or value, keyword, test.pattern.lower() if lowered else test.pattern))
        elif isinstance(test, Between):
            ends = [f"{value} >= {query.bind(test.low, keyword)}"] if test.low is not None else []
            ends += [f"{value} <= {query.bind(test.high, keyword)}"] if test.high is not None else []
            found.append(f"({' and '.join(ends)})" if ends else f"{value} is not null")
    return f"({' or '.join(found)})" if len(found) > 1 else found[0]


def _equal(query: Query, value: str, keyword: str, wanted: list[Any], *, lowered: str) -> str:
    if lowered:
        value, wanted = lowered, [one.lower() for one in wanted]
    if len(wanted) == 1:
        return f"{value} = {query.bind(wanted[0], keyword)}"
    return f"list_contains({query.bind(wanted, keyword)}, {value})"


def _has_words(query: Query, words: Iterable[str]) -> str:
    """Few texts are read, each once; thousands of series may share one."""
    all_of = " and ".join(f"contains(search_text, {query.bind(word)})" for word in dict.fromkeys(map(str.lower, words)))
    return f"series.text_key in (select text_key from search_texts where {all_of})"  # noqa: S608 - words are bound


def _labelled(query: Query, labels: str | Sequence[str]) -> str:
    wanted = [labels] if isinstance(labels, str) else list(labels)
    if not all(isinstance(label, str) for label in wanted):
        raise InvalidInputError("labels= is a label or a list of labels")
    table = LEVELS[query.level]
    joined = " and ".join(f'labels."{name}" = {table}."{name}"' for name in LABEL_KEYS[query.level])
    chosen = f"labels.level = '{query.level}' and list_contains({query.bind(wanted)}, labels.label)"
    return f"exists (select 1 from labels where {joined} and {chosen})"  # noqa: S608 - our names; labels are bound


def _like(query: Query, value: str, keyword: str, pattern: str) -> str:
    if "*" not in pattern.strip("*"):
        return f"{value} like {query.bind(_as_like(pattern), keyword)} escape '!'"
    # DuckDB tries every place for every star of LIKE: minutes for one long text. Its regular expressions never go back.
    if len(pattern) > _LONGEST_PATTERN:
        raise InvalidInputError(f"a pattern with several stars has at most {_LONGEST_PATTERN} characters")
    return f"regexp_full_match({value}, {query.bind(_as_expression(pattern), keyword)}, 's')"


def _as_expression(pattern: str) -> str:
    parts = {"*": ".*", "?": "."}
    return "".join(parts.get(one) or re.escape(one) for one in re.sub(r"\*+", "*", pattern))


def _as_like(pattern: str) -> str:
    escaped = re.sub(r"([!%_])", r"!\1", pattern)
    return escaped.replace("*", "%").replace("?", "_")


def _check_keyword(keyword: str) -> None:
    if not isinstance(keyword, str) or len(keyword) > _LONGEST:
        raise InvalidInputError(
            "a column is named by a DICOM keyword such as 'Modality', or by a column of the catalog"
        )
    if _PRIVATE.fullmatch(keyword) or keywords.is_keyword(keyword):
        return
    near = keywords.nearest(keyword)
    hint = f"did you mean {near}?" if near else "keywords are spelt as in the DICOM data dictionary (PS3.6)"
    raise InvalidInputError(f"{keyword!r} is no DICOM keyword; {hint}")


def _order(level: str, order: str | Sequence[str] | None) -> str:
    names = [order] if isinstance(order, str) or not isinstance(order, Iterable) else list(order)
    names = [] if order is None else names
    known = column_types(LEVELS[level])
    found = []
    for name in names:
        if not isinstance(name, str):
            raise InvalidInputError("order= is the name of a column or a list of names, '-' in front sorts down")
        column, down = (name[1:], True) if name.startswith("-") else (name, False)
        if column not in known:
            raise InvalidInputError(f"order={name!r} is no column of {LEVELS[level]}; catalog.schema() lists them")
        found.append(f'"{column}" {"desc" if down else "asc"} nulls last')
    # What is unique comes last, so that the order is the same each time.
    found += [f'"{name}" asc nulls last' for name in _DEFAULT_ORDER[level] if f'"{name}"' not in "".join(found)]
    return f"order by {', '.join(found)}"


def _literal(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_literal(one) for one in value)}]"
    if isinstance(value, datetime):
        return f"timestamp '{value.isoformat(sep=' ')}'"
    if isinstance(value, date):
        return f"date '{value.isoformat()}'"
    if isinstance(value, time):
        return f"time '{value.isoformat()}'"
    if isinstance(value, (int, float)):
        return repr(value)
    return "'" + str(value).replace("'", "''") + "'"
