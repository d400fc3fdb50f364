"""Names in the ledger match as the rules say, whether SQLite compares them by itself or Python does."""

import itertools
import sqlite3
from collections.abc import Iterator

import pytest

from researchpacs.archive._names import name_matches
from researchpacs.archive.matching import _matches_name  # the seam between the two
from researchpacs.archive.question import Question, names_of

NAMES = (
    None, "", "MEIER^ANNA", "Meier^Anna^^^", "meier", "MEIERHOFER^EVA", "O'Neil^Pat", "a[b]c^d", "A*B", "A?B",
    "STRASSE^K", "STRAßE^K", "Müller^Jürgen", "MULLER^JURGEN", "\u017fmith", "Smith^Jo", "\u212aelvin",
    "Kelvin", "Yamada^Tarou=山田^太郎=やまだ^たろう", "=山田^太郎", "Hong^Gildong==", "tab\there", "two words ^x  ",
    "^", "=", "^^=  ", "x" * 200,
)  # fmt: skip
PATTERNS = (
    "meier*", "MEIER^ANNA", "Meier^Anna^", "*anna*", "?eier*", "*", "m*r*", "a[b]c*", "A*B", "A\\*B",
    "strasse*", "straße*", "müller*", "MÜLLER^JÜRGEN", "smith*", "kelvin", "\u212aelvin", "山田*", "*=*",
    "yamada^tarou", "hong^gildong", "tab*", "two words", "two words ^x", "^", "=", "x*x*x*x*x*y", "*x*x*",
    "o'neil*", "' or 1=1 --", "[m]eier*", "[^m]*", "]", "[", "\0", "a\0*",
)  # fmt: skip


@pytest.fixture
def con() -> Iterator[sqlite3.Connection]:
    con = sqlite3.connect(":memory:")
    con.create_function("name_matches", 2, name_matches, deterministic=True)
    con.execute("create table people (name text)")
    con.executemany("insert into people values (?)", [(name,) for name in NAMES])
    yield con
    con.close()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_query_finds_the_names_that_the_rule_takes(con: sqlite3.Connection, pattern: str) -> None:
    condition, bound = _matches_name("name", pattern)
    found = [row for (row,) in con.execute(f"select name from people where {condition}", bound)]
    assert found == [name for name in NAMES if name_matches(name, pattern)]


def test_a_pattern_of_many_stars_takes_no_longer_than_others(con: sqlite3.Connection) -> None:
    con.executemany("insert into people values (?)", [("a" * 5_000,)] * 5)
    condition, bound = _matches_name("name", "*a" * 12 + "*b")
    steps = itertools.count()
    con.set_progress_handler(lambda: next(steps) > 1_000, 1_000)
    assert con.execute(f"select count(*) from people where {condition}", bound).fetchone() == (0,)


def test_find_folds_what_is_not_ascii_as_what_is() -> None:
    con = sqlite3.connect(":memory:")
    con.row_factory = sqlite3.Row
    con.execute("create table patients (patient_key text, attributes text, orthanc_id text)")
    names = ("MÜLLER", "müller", "Muller", "MULLER", "Ἀθηνᾶ", "ἈΘΗΝᾶ")
    con.executemany(
        "insert into patients values (?, json_object('PatientName', ?), ?)",
        [(str(n), name, name) for n, name in enumerate(names)],
    )
    for wanted in ("müller", "MULLER", "mu*", "Ἀθηνᾶ"):
        expected = {name for name in names if name.casefold().startswith(wanted.casefold().rstrip("*"))}
        expected &= set(names) if wanted.endswith("*") else {n for n in names if n.casefold() == wanted.casefold()}
        assert set(names_of(con, Question("patient", {"PatientName": wanted}))) == expected
    con.close()
