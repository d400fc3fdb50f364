"""Five hundred hostile values, as attributes of many VRs and as filters: stored and found literally.

What no JSON text and no column of SQLite holds is written as documented: NUL and blanks at the end of a text are
padding, half of a surrogate pair becomes a question mark, and a column ends no text at NUL but leaves it out.
"""

import json
import random
import re
import string
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset

import researchpacs as rp
from researchpacs.errors import InvalidInputError
from researchpacs.model import Find
from researchpacs.testing import small_ct

_SQL = (
    "'; drop table series; --", "' or '1'='1", "') or 1=1 --", '" or ""="', "$1", "$pid", "?", ":name", "%s", "{0}",
    "/* */", "-- comment", "; select 1", "$$x$$", "E'\\x27'", "\\'", "union select * from patients", "NULL", "null",
    "true", "0", "-0", "1e999", "NaN", "inf", "0x10", "1;2", "select pg_sleep(9)", "read_csv('/etc/passwd')",
    "attach 'x'", "copy (select 1) to '/tmp/x'", "tag(tags, 'PatientID')", "pacs.main.series", "%", "_", "%%", "\\%",
)  # fmt: skip
_SCRIPTS = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "javascript:alert(1)", "]]>", "<!--", "&amp;",
    "&#x27;", "${jndi:ldap://x/y}", "{{7*7}}", "`id`", "$(id)", "| cat /etc/passwd", "../../etc/passwd", "..\\..\\x",
    "file:///etc", "<svg/onload=x>",
)  # fmt: skip
_UNICODE = (
    "\N{PILE OF POO}", "\N{FAMILY}\N{ZERO WIDTH JOINER}\N{GIRL}", "\N{RIGHT-TO-LEFT OVERRIDE}cte", "שלום", "مرحبا",
    "日本語", "한국어", "e\N{COMBINING ACUTE ACCENT}", "é", "\N{ZERO WIDTH SPACE}", "a\N{NO-BREAK SPACE}b", "ß",
    "\N{BYTE ORDER MARK}x", "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "\N{LATIN SMALL LETTER LONG S}",
    "\N{LATIN SMALL LIGATURE FI}", "\U0010fffd", "\N{COMBINING ENCLOSING KEYCAP}", "\x85x", "\x7f",
)  # fmt: skip
_LONG = ("x" * 1_000_000, "'" * 100_000, "\N{PILE OF POO}" * 100_000, "%" * 65_536, '"' * 65_535, "<b>" * 300_000)
_CONTROL = ("a\tb", "a\nb", "a\r\nb", "a\fb", "a\x1bb")
_COUNT = 500
_TEXTS = ("UT", "LT", "ST")
_WORDS = ("LO", "SH", "UC")
_MOST_BYTES = 65_534
"""Of a value whose length is written in two bytes (PS3.5 7.1.2)."""
_KEYWORDS = {
    "UT": "TextValue", "LT": "AdditionalPatientHistory", "ST": "InstitutionAddress",
    "LO": "SeriesDescription", "SH": "StationName", "UC": "LongCodeValue", "PN": "OperatorsName",
}  # fmt: skip


def values() -> list[str]:
    """The listed ones and, up to `_COUNT`, their mixtures; the same ones every time."""
    chance = random.Random(4)
    listed = [*_SQL, *_SCRIPTS, *_UNICODE, *_CONTROL, *_LONG]
    short = [*_SQL, *_SCRIPTS, *_UNICODE]
    made = set(listed)
    while len(made) < _COUNT:
        noise = "".join(chance.choice(string.punctuation + "é中 \N{PILE OF POO}") for _ in range(chance.randint(1, 9)))
        made.add((chance.choice(short) + noise + chance.choice(short)).strip())
    return listed + sorted(made - set(listed))


VALUES = values()

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of what is longer than its VR allows


def _fits(value: str, vr: str) -> bool:
    """Whether a value can be written as one of this VR."""
    if vr in _TEXTS:
        return vr == "UT" or len(value.encode()) <= _MOST_BYTES
    return not re.search(r"[\\\x00-\x1f]", value) and (vr == "UC" or len(value.encode()) <= _MOST_BYTES)


def _uid(number: int) -> str:
    return f"1.2.826.0.1.3680043.8.498.99.{number}"


def _holding(number: int, value: str) -> Dataset:
    """An instance whose texts of every VR are the value, by itself, in a sequence and in a private element."""
    ds = small_ct(1, size=2, SOPInstanceUID=_uid(number), SeriesInstanceUID=f"{_uid(number)}.1")
    ds.SpecificCharacterSet = "ISO_IR 192"
    item = Dataset()
    for vr in (*_TEXTS, *_WORDS):
        if _fits(value, vr):
            setattr(ds, _KEYWORDS[vr], value)
    item.TextValue = value
    ds.ContentSequence = [item]
    block = ds.private_block(0x0011, "RESEARCHPACS TEST", create=True)
    block.add_new(0x01, "UT", value)
    return ds


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rp.Pacs]:
    with rp.connect(tmp_path_factory.mktemp("hostile") / "home") as made:
        report = made.ingest([_holding(number, value) for number, value in enumerate(VALUES)], progress=False)
        assert report.stored == len(VALUES) == _COUNT
        yield made


@pytest.fixture(scope="module")
def kept(pacs: rp.Pacs) -> dict[int, dict[str, object]]:
    rows = pacs.sql("select SOPInstanceUID, tags from instances").fetchall()
    return {int(uid.rpartition(".")[2]): json.loads(tags) for uid, tags in rows}


def _stored(value: str) -> str | None:
    return value.rstrip(" \0") or None


def test_every_value_is_in_tags_of_every_vr_as_it_is(kept: dict[int, dict[str, object]]) -> None:
    compared = 0
    for number, value in enumerate(VALUES):
        tags, expected = kept[number], _stored(value)
        for vr in (*_TEXTS, *_WORDS):
            if _fits(value, vr):
                found = tags[_KEYWORDS[vr]]
                assert found == (expected if vr in _TEXTS else value.strip(" ") or None), (vr, value[:80])
                compared += 1
        assert tags["ContentSequence"] == [{"TextValue": expected}]
        assert tags["(0011,1001)"] == {"creator": "RESEARCHPACS TEST", "value": expected}
    assert compared > 5 * _COUNT


def test_every_value_stands_in_a_typed_column(pacs: rp.Pacs) -> None:
    rows = pacs.sql("select SeriesInstanceUID, SeriesDescription from series").fetchall()
    assert len(rows) == _COUNT
    for uid, found in rows:
        value = VALUES[int(uid.split(".")[-2])]
        expected = (value.strip(" ") or None) if _fits(value, "LO") else "small"
        assert found == expected, value[:80]


def _alike(value: str) -> set[str]:
    """Series whose description is the value."""
    return {
        f"{_uid(number)}.1"
        for number, other in enumerate(VALUES)
        if _fits(other, "LO") and other.strip(" ") == value.strip(" ") and other.strip(" ")
    }


def _every(step: int) -> list[str]:
    """Values that can be asked for by words of search."""
    return [one for one in VALUES if _fits(one, "LO") and not re.search("[*?]", one) and one.strip(" ")][::step]


@pytest.mark.parametrize("step", [15, pytest.param(1, marks=pytest.mark.soak)])
def test_search_sql_and_find_find_each_value_literally(pacs: rp.Pacs, step: int) -> None:
    for value in _every(step):
        expected = _alike(value)
        assert {hit.uid for hit in pacs.search("series", SeriesDescription=value)} == expected, value[:80]
        bound = pacs.sql("select SeriesInstanceUID from series where SeriesDescription = $one", one=value.strip(" "))
        assert {uid for (uid,) in bound.fetchall()} == expected, value[:80]
        found = pacs.archive.find(Find("series", {"SeriesDescription": value}))
        assert {row["SeriesInstanceUID"] for row in found} == expected, value[:80]


@pytest.mark.parametrize("step", [40, pytest.param(1, marks=pytest.mark.soak)])
def test_a_query_written_out_finds_the_same(pacs: rp.Pacs, step: int) -> None:
    for value in _every(step):
        hits = pacs.search("series", SeriesDescription=value)
        assert {row[0] for row in pacs.sql(f"select SeriesInstanceUID from ({hits.sql})").fetchall()} == _alike(value)


def test_a_value_with_wildcards_finds_itself(pacs: rp.Pacs) -> None:
    for number, value in enumerate(VALUES):
        if re.search("[*?]", value) and _fits(value, "LO"):
            found = {hit.uid for hit in pacs.search("series", SeriesDescription=value, StationName=value[:1] + "*")}
            assert f"{_uid(number)}.1" in found, value[:80]


@pytest.mark.parametrize("value", ["\ud800", "a\udfffb"])
def test_half_of_a_surrogate_pair_is_stored_as_a_question_mark_and_refused_as_a_filter(
    tmp_path: Path, value: str
) -> None:
    ds = small_ct(1)
    ds.SpecificCharacterSet = "ISO_IR 192"
    data = BytesIO()
    ds.SeriesDescription = "MARK"
    ds.save_as(data, enforce_file_format=True)
    broken = data.getvalue().replace(b"MARK", b"a\xed\xa0\x80")
    with rp.connect(tmp_path / "home") as pacs:
        pacs.ingest(BytesIO(broken), progress=False)
        ((found, tags),) = pacs.sql("select SeriesDescription, tag(tags, 'SeriesDescription') from series").fetchall()
        assert found == tags == "a\ufffd\ufffd\ufffd"
        assert ("SeriesDescription",) in pacs.sql("select keyword from issues").fetchall()
        with pytest.raises(InvalidInputError, match="Unicode"):
            pacs.sql("select $value", value=value).fetchall()
        with pytest.raises(InvalidInputError):
            len(pacs.search("series", SeriesDescription=value))


def test_text_stays_whole_around_a_nul(tmp_path: Path) -> None:
    """A lake keeps its smallest inserts in SQLite, which ends text at NUL; columns leave it out, tags keep it."""
    made = []
    for number in range(3):
        ds = small_ct(number, SeriesInstanceUID=f"1.2.{number}")
        ds.SeriesDescription, ds.StudyDescription = "before\0after\0", "\0"
        item = Dataset()
        item.TextValue = "nested\0text"
        ds.ContentSequence = [item]
        made.append(ds)
    with rp.connect(tmp_path / "home") as pacs:
        pacs.ingest(made, progress=False)
        for _ in range(2):
            rows = pacs.sql("select SeriesDescription, tags from series").fetchall()
            assert [row[0] for row in rows] == ["beforeafter"] * 3
            for _, tags in rows:
                assert json.loads(tags)["SeriesDescription"] == "before\0after"
                assert json.loads(tags)["ContentSequence"] == [{"TextValue": "nested\0text"}]
            assert pacs.sql("select StudyDescription from studies").fetchall() == [(None,)]
            pacs.catalog.sync(rebuild=True)


def test_names_of_patients_are_values_too(tmp_path: Path) -> None:
    names = [
        value for value in VALUES if len(value) < 60 and not re.search(r"[\\^=*?\x00-\x1f]", value) and value.strip()
    ]
    made = [
        small_ct(1, size=2, SOPInstanceUID=_uid(number), StudyInstanceUID=f"{_uid(number)}.2",
                 SeriesInstanceUID=f"{_uid(number)}.1", PatientID=name, PatientName=f"{name}^x",
                 SpecificCharacterSet="ISO_IR 192")
        for number, name in enumerate(names[::4])
    ]  # fmt: skip
    with rp.connect(tmp_path / "home") as pacs:
        pacs.ingest(made, progress=False)
        found = pacs.sql("select PatientID, PatientName, PatientName_parts.family from patients").fetchall()
        assert {row[0] for row in found} == {name.strip(" ") for name in names[::4]}
        assert all((name, family) == (f"{key}^x", key) or key != key.strip() for key, name, family in found)
        for name in names[::40]:
            hits = pacs.search("patient", PatientID=name)
            assert [hit.PatientID for hit in hits] == [name.strip(" ")]
            assert name not in repr(hits) + hits._repr_html_() or len(name) < 6
