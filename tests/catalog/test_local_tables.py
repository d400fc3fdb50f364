"""What a researcher has beside the archive joins with it in one query: files, and tables of the program itself."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from IPython.core.interactiveshell import InteractiveShell

import researchpacs as rp
from researchpacs.errors import InvalidInputError
from researchpacs.testing import small_ct

GRADES = {"number": [1, 3], "grade": ["good", "poor"]}
EXPECTED = [(1, "good"), (3, "poor")]
JOINED = "select SeriesNumber, grade from series join {} g on g.number = SeriesNumber order by all"


def _parquet(folder: Path) -> str:
    pq.write_table(pa.table(GRADES), folder / "grades.parquet")
    return f"'{folder}/grades.parquet'"


def _many_parquet(folder: Path) -> str:
    for at, name in enumerate("ab"):
        pq.write_table(
            pa.table({key: values[at : at + 1] for key, values in GRADES.items()}), folder / f"{name}.parquet"
        )
    return f"read_parquet('{folder}/*.parquet')"


def _csv(folder: Path) -> str:
    (folder / "grades.csv").write_text("number,grade\n1,good\n3,poor\n")
    return f"'{folder}/grades.csv'"


FILES = [_parquet, _many_parquet, _csv]
FRAMES = [pd.DataFrame, pl.DataFrame, pa.table]


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator["rp._pacs.Pacs"]:
    with rp.connect(tmp_path_factory.mktemp("local") / "home") as made:
        made.ingest([small_ct(1, SeriesInstanceUID=f"1.2.{one}", SOPInstanceUID=f"1.2.{one}.1", SeriesNumber=one)
                     for one in (1, 2, 3)])  # fmt: skip
        yield made


@pytest.fixture
def cell(pacs: "rp._pacs.Pacs") -> Callable[..., object]:
    """Run a query as a notebook's cell does, beside variables."""
    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "researchpacs")

    def run(query: str, **variables: object) -> object:
        shell.user_ns.update(variables, pacs=pacs)
        return shell.run_cell_magic("pacs", "", query).fetchall()

    return run


@pytest.mark.parametrize("write", FILES, ids=lambda write: write.__name__)
def test_files_join_by_their_names(pacs, cell, tmp_path, write):
    query = JOINED.format(write(tmp_path))

    assert pacs.sql(query).fetchall() == EXPECTED
    assert cell(query) == EXPECTED
    assert pacs.sql(query.replace("order by", "where grade = $one order by"), one="poor").fetchall() == EXPECTED[1:]


@pytest.mark.parametrize("kind", FRAMES, ids=["pandas", "polars", "arrow"])
def test_tables_of_the_program_join_by_the_names_of_their_variables(pacs, cell, kind):
    grades = kind(GRADES)

    assert pacs.sql(JOINED.format("grades")).fetchall() == EXPECTED
    assert cell(JOINED.format("grades"), grades=grades) == EXPECTED
    assert len(grades) == 2


def test_an_answer_is_a_table_of_the_next_question(pacs):
    answer = pacs.sql("select SeriesNumber as number, 'n' || SeriesNumber as grade from series").df()

    assert pacs.sql(JOINED.format("answer")).fetchall() == [(1, "n1"), (2, "n2"), (3, "n3")]
    assert len(answer) == 3


def test_answers_go_into_files_and_nothing_into_the_catalog(pacs, tmp_path):
    pacs.sql(f"copy (select SeriesNumber from series) to '{tmp_path}/mine.parquet'")

    assert pq.read_table(tmp_path / "mine.parquet")["SeriesNumber"].to_pylist() == [1, 2, 3]
    with pytest.raises(InvalidInputError, match="read-only"):
        pacs.sql(f"create table pacs.mine as from '{tmp_path}/mine.parquet'")


def test_a_file_that_is_not_there_is_told(pacs, tmp_path):
    with pytest.raises(InvalidInputError):
        pacs.sql(f"from '{tmp_path}/none.parquet'")
    assert pacs.sql("select count(*) from series").fetchall() == [(3,)]
    assert not pacs.catalog.mended
