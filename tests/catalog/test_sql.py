"""SQL for people: their frames, their temporary tables, errors that help, and nobody's name on the screen."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from researchpacs.errors import InvalidInputError, NotFoundError
from researchpacs.testing import small_ct

from .conftest import Filled

HOSTILE = "<img src=x onerror=alert(1)>'; drop table series; --"


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """Three slices of a patient whose name no repr may show; nothing here can change them."""
    made = Filled(tmp_path_factory.mktemp("sql") / "home")
    made.take([small_ct(number, PatientName="Doe^Jane", PatientID="MRN-4711") for number in (1, 2, 3)])
    yield made.catalog
    made.close()


def test_answers_come_in_the_forms_people_know(asked):
    result = asked.sql("select InstanceNumber from instances order by 1")

    assert result.columns == ["InstanceNumber"]
    assert result.fetchall() == [(1,), (2,), (3,)]
    assert isinstance(result.df(), pd.DataFrame)
    assert isinstance(result.arrow(), pa.Table)
    assert result.pl()["InstanceNumber"].to_list() == [1, 2, 3]
    assert result.arrow().num_rows == len(result.df()) == 3


def test_values_are_bound(asked):
    found = asked.sql("select count(*) from series where SeriesDescription = $text", text=HOSTILE)

    assert found.fetchall() == [(0,)]


def test_the_callers_frames_are_tables(asked):
    wanted = pd.DataFrame({"InstanceNumber": [1, 3], "group": ["a", "b"]})

    rows = asked.sql('select "group" from instances join wanted using (InstanceNumber) order by 1').fetchall()

    assert rows == [("a",), ("b",)]
    assert len(wanted) == 2


def test_temporary_tables_last(asked):
    assert asked.sql("create temp table mine as select * from instances limit 2").fetchall() == []

    assert asked.sql("select count(*) from mine").fetchall() == [(2,)]


@pytest.mark.parametrize(
    "query",
    [
        "delete from instances",
        "insert into sync_state values (1, 'x', 2)",
        "update series set Modality = 'MR'",
        "drop table series",
        "create table mine as select 1 as x",
    ],
)
def test_the_catalog_cannot_be_written(asked, query):
    with pytest.raises(InvalidInputError, match="read-only"):
        asked.sql(query)
    assert asked.sql("select Modality from series").fetchall() == [("CT",)]


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("select Modalit from series", "Modality"),
        ("select * from serieses", "schema"),
        ("selec 1", "syntax"),
        ("select $uid", r"uid=|argument"),
    ],
)
def test_bad_sql_says_what_to_do(asked, query, hint):
    with pytest.raises(InvalidInputError, match=hint):
        asked.sql(query)


def test_an_error_never_quotes_the_data(asked):
    with pytest.raises(InvalidInputError) as caught:
        asked.sql("select PatientName::integer from patients").df()

    assert "Doe" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "query",
    [
        "select * from patients",
        "select PatientName as n, PatientID as i, PatientBirthDate as b from patients",
        "select tag(tags, 'PatientName') as x from patients",
        "select tags::varchar as x from instances",
        "from patients select columns('Patient(Name|ID)')",
        "with p as (select PatientName_parts.family as f from patients) select f from p",
        "select PatientName || '' from patients",
        'select PatientName as "label" from patients',
        "select p.PatientName Modality from patients p",
        "with p(Modality) as (select PatientName from patients) select Modality from p",
        "select * rename (PatientName as Modality) from patients",
        "select unnest({'Modality': PatientName}) from patients",
        "create or replace temp table own as select PatientName as Modality from patients; select Modality from own",
    ],
)
def test_no_repr_says_who_the_patient_is(asked, query):
    result = asked.sql(query)

    for shown in (repr(result), result._repr_html_()):
        assert not any(secret in shown for secret in ("Doe", "Jane", "MRN-4711", "1970"))
    assert "Doe" in str(result.df().to_dict()) or "PatientName" not in query


def test_columns_of_the_catalog_show_beside_those_that_are_hidden(asked):
    shown = repr(asked.sql("select s.Modality, p.PatientName from series s join patients p using (patient_key)"))

    assert "CT" in shown
    assert "Doe" not in shown


def test_a_repr_shows_ten_rows_and_how_many_there_are(asked):
    result = asked.sql("select range as n from range(500)")

    assert "500 rows" in repr(result)
    assert repr(result).count("\n") == 11
    assert result._repr_html_().count("<tr>") == 11


def test_a_repr_escapes_what_comes_from_files(filled):
    filled.take(small_ct(1, SeriesDescription=HOSTILE[:60]))
    result = filled.catalog.sql("select SeriesDescription from series")

    assert result.fetchall() == [(HOSTILE[:60],)]
    assert "<img" not in result._repr_html_()


def test_the_schema_shows_tables_and_comments(asked):
    schema = asked.schema()

    assert {"patients", "studies", "series", "instances", "frames", "geometry"} <= set(schema.tables)
    assert "SeriesInstanceUID" in repr(schema)
    assert "<details>" in schema._repr_html_()
    assert set(schema.df().columns) == {"table", "column", "type", "comment"}


def test_what_does_not_fit_in_memory_goes_to_the_archive_s_folder(filled):
    ((folder,),) = filled.catalog.sql("select current_setting('temp_directory')").fetchall()
    assert Path(folder).parent.parent == filled.home.tmp
    assert Path(folder).parent.is_dir()
    with filled.catalog.connect() as other:
        assert other.execute("select current_setting('temp_directory')").fetchall() != [(folder,)]
    filled.close()
    assert not Path(folder).parent.exists()


def test_another_duckdb_can_attach(asked, tmp_path):
    import duckdb

    from researchpacs.catalog._lake import engine

    con = engine(tmp_path / "spill", asked._lake)
    con.execute(asked.attach_sql().split("\n", 1)[1])
    assert con.execute("select Modality from series").fetchall() == [("CT",)]
    with pytest.raises(duckdb.Error, match="read-only"):
        con.execute("delete from series")
    con.close()


def test_frames_of_an_unknown_series_are_not_found(asked):
    with pytest.raises(NotFoundError, match=r"1\.2\.3"):
        asked.frames("1.2.3")


def test_frames_of_a_shared_uid_are_refused(filled):
    filled.take([small_ct(1), small_ct(2, PatientID="B", StudyInstanceUID="1.2.77")])

    with pytest.raises(InvalidInputError, match="share"):
        filled.catalog.frames(small_ct().SeriesInstanceUID)


def test_a_first_answer_loads_no_more_than_it_needs(asked):
    code = (
        "import sys; from researchpacs.archive import EmbeddedArchive; from researchpacs.catalog import Catalog; "
        "from researchpacs.storage.home import Home; home = Home.open(sys.argv[1]); "
        "catalog = Catalog(home, EmbeddedArchive(home)); "
        "print(catalog.sql('select count(*) from instances').fetchall()[0][0]); "
        "print([name for name in ('pandas', 'pyarrow', 'highdicom', 'dask', 'xarray') if name in sys.modules])"
    )
    source = str(Path(__file__).parents[2] / "src")
    asked.sync()
    home = asked._home.path
    done = subprocess.run(
        [sys.executable, "-c", code, str(home)], env={"PYTHONPATH": source}, capture_output=True, text=True, check=True
    )

    assert done.stdout.split("\n")[:2] == ["3", "[]"]


@pytest.mark.parametrize("query", [None, 1, b"select 1"])
def test_a_query_is_a_text(asked, query):
    with pytest.raises(InvalidInputError, match="text"):
        asked.sql(query)


@pytest.mark.parametrize("query", ["begin", "START TRANSACTION", "select 1; begin transaction; select 2"])
def test_no_transaction_holds_a_reader_back(filled: Filled, query: str):
    filled.take(small_ct(1))
    with pytest.raises(InvalidInputError, match="transaction"):
        filled.catalog.sql(query)
    filled.take(small_ct(2))
    assert filled.catalog.sql("select count(*) from instances").fetchall() == [(2,)]


def test_words_of_transactions_are_words_elsewhere(asked):
    assert asked.sql("select case when true then 'begin' end").fetchall() == [("begin",)]


@pytest.mark.parametrize("astray", ["use memory", "use memory; detach pacs", "set search_path = 'memory'"])
def test_a_query_that_turns_away_from_the_catalog_turns_no_other_away(filled: Filled, astray: str):
    filled.take(small_ct(1))
    filled.catalog.sql(astray)
    assert filled.catalog.sql("select count(*) from instances").fetchall() == [(1,)]


def test_values_of_numpy_and_pandas_are_bound(asked):
    values = {"n": np.int64(1), "day": np.datetime64("2021-01-01"), "some": np.array([1, 2]), "names": pd.Series(["a"])}
    ((n, day, some, names),) = asked.sql("select $n, $day::date, $some, $names", **values).fetchall()
    assert (n, day.isoformat(), some, names) == (1, "2021-01-01", [1, 2], ["a"])


@pytest.mark.parametrize(
    "query",
    ["select error(PatientName) from patients", "select regexp_matches('a', PatientName || '(') from patients"],
)
def test_functions_that_quote_values_do_not_quote_persons(asked, query):
    with pytest.raises(InvalidInputError) as caught:
        asked.sql(query).fetchall()
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize(
    "query",
    ["summarize patients", "select * from patients as t(a, b, c, d, e, f, g, h, i, j, k)", "select * from renamed"],
)
def test_persons_are_not_shown_by_another_way(asked, query):
    asked.sql("create or replace temp table renamed as select PatientName as x, PatientBirthDate as y from patients")
    result = asked.sql(query)
    assert "Doe" not in repr(result)
    assert "Doe" not in result._repr_html_()


def test_a_closed_catalog_stays_closed(filled: Filled):
    filled.take(small_ct(1))
    filled.catalog.close()
    for ask in (lambda: filled.catalog.sql("select 1"), filled.catalog.sync, filled.catalog.schema):
        with pytest.raises(InvalidInputError, match="closed"):
            ask()
