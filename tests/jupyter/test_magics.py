"""The SQL cell, in an IPython of its own, and in a real kernel where it has to stop."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import start_new_kernel

import researchpacs as rp
from researchpacs.errors import InvalidInputError
from researchpacs.testing import small_ct

SERIES = (("CT", "1", "Adams^Ann"), ("CT", "2", "Bell^Bo"), ("MR", "3", "o'Brien^Cy"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("magics") / "home"
    with rp.connect(folder) as pacs:
        pacs.ingest([
            small_ct(1, Modality=modality, PatientID=number, PatientName=name, StudyInstanceUID=f"1.2.{number}",
                     SeriesInstanceUID=f"1.2.{number}.1", SOPInstanceUID=f"1.2.{number}.1.1", SeriesNumber=number)
            for modality, number, name in SERIES
        ])  # fmt: skip
    return folder


@pytest.fixture
def shell(home: Path) -> Iterator[InteractiveShell]:
    made = InteractiveShell()
    made.run_line_magic("load_ext", "researchpacs")
    with rp.connect(home) as pacs:
        made.user_ns["pacs"] = pacs
        yield made


@pytest.fixture
def ask(shell: InteractiveShell) -> Callable[..., Any]:
    def run(query: str, options: str = "") -> Any:
        return shell.run_cell_magic("pacs", options, query)

    return run


def test_a_cell_answers_as_the_archive_does(ask, shell):
    query = "select Modality, count(*) n from series group by all order by n desc"
    assert ask(query).fetchall() == shell.user_ns["pacs"].sql(query).fetchall() == [("CT", 2), ("MR", 1)]


def test_a_line_answers_too_and_may_hold_quotes(shell):
    query = "select Modality from series where Modality <> 'CT' and '--rows 3' <> \"Modality\""
    assert shell.run_line_magic("pacs", query).fetchall() == [("MR",)]
    assert "the first 1" in repr(shell.run_line_magic("pacs", "--rows 1 select Modality from series"))


@pytest.mark.parametrize("value", ["CT", "' or 1=1 --", "$$", "CT'; drop table series; --", "\N{PILE OF POO}"])
def test_a_variable_is_bound_as_a_value(ask, shell, value):
    shell.user_ns["wanted"] = value
    assert ask("select count(*) from series where Modality = $wanted").fetchall() == [(2 * (value == "CT"),)]


def test_a_handle_and_a_list_are_values(ask, shell):
    series = shell.user_ns["pacs"].search("series", Modality="MR").one()
    shell.user_ns.update(one=series, some=["CT", "MR"])
    assert ask("select SeriesNumber from series where SeriesInstanceUID = $one").fetchall() == [(3,)]
    assert ask("select count(*) from series where list_contains($some, Modality)").fetchall() == [(3,)]


def test_a_dollar_in_a_text_is_no_variable(ask):
    assert ask("select '$none', $$also $none$$ -- and $none").fetchall() == [("$none", "also $none")]


def test_a_name_that_no_variable_has_is_told(ask):
    with pytest.raises(InvalidInputError, match="no variable 'nothing'"):
        ask("select $nothing")


def test_data_frames_and_files_join(shell, tmp_path):
    shell.user_ns["grades"] = pd.DataFrame({"number": [1, 3], "grade": ["good", "poor"]})
    (tmp_path / "readers.csv").write_text("number,reader\n3,Kim\n")
    cell = shell.run_cell(
        f"""%%pacs
        select grade, reader from series join grades on number = SeriesNumber
        join '{tmp_path}/readers.csv' using (number)"""
    )
    assert cell.result.fetchall() == [("poor", "Kim")]


def test_a_saved_answer_is_a_variable_and_a_table_that_stays_as_it_was(ask, shell):
    shell.user_ns["wanted"] = "CT"
    ask("select SeriesNumber as number from series where Modality = $wanted;", "--save cts --rows 5")
    shell.user_ns["wanted"] = "MR"
    assert sorted(shell.user_ns["cts"].df()["number"]) == [1, 2]
    assert ask("select sum(number) from cts").fetchall() == [(3,)]
    ask("select 7 as number", "--save cts")
    assert ask("from cts").fetchall() == [(7,)]


@pytest.mark.parametrize(
    ("options", "query", "reason"),
    [
        ("--save 1x", "select 1", "--save 1x"),
        ("--save class", "select 1", "--save class"),
        ("--save x", "select 1; select 2", "one select"),
        ("--save x", "create temp table y as select 1", "one select"),
        ("--rows 0", "select 1", "--rows"),
        ("--on nobody", "select 1", "nobody"),
        ("", "  \n", "no query"),
        ("select 1", "select 2", "stands in the cell"),
        ("--frobnicate", "select 1", "frobnicate"),
    ],
)
def test_wrong_use_is_told(ask, options, query, reason):
    with pytest.raises(UsageError, match=reason):
        ask(query, options)


def test_what_the_archive_refuses_is_told_as_it_tells_it(ask):
    with pytest.raises(InvalidInputError, match="Modalty"):
        ask("select Modalty from series")
    with pytest.raises(InvalidInputError):
        ask("delete from series")


def test_rows_are_capped_where_they_are_shown_only(ask):
    answer = ask("select unnest(range(100)) i", "--rows 30")
    assert answer._repr_html_().count("<tr>") == 31
    assert "100 rows, the first 30" in answer._repr_html_()
    assert len(answer.df()) == 100


def test_no_one_is_named_in_what_a_notebook_keeps(ask):
    for query in ("from patients", "select PatientName as x, * from patients", "pivot patients on PatientID"):
        shown = ask(query)._repr_html_()
        assert not any(name in shown for _, _, name in SERIES), query


def test_another_archive_is_asked_by_name(ask, shell, tmp_path):
    with rp.connect(tmp_path / "other") as other:
        shell.user_ns["other"] = other
        assert ask("select count(*) from series", "--on other").fetchall() == [(0,)]
        del shell.user_ns["pacs"]
        with pytest.raises(UsageError, match="archives are open"):
            ask("select 1")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [("select Moda", "Modality"), ("select count(*) from stu", "studies"), ("select $wan", "$wanted")],
)
def test_tab_completes_tables_columns_and_variables(shell, line, wanted):
    shell.user_ns["wanted"] = 1
    text = f"%%pacs\n{line}"
    with provisionalcompleter():
        found = [one.text for one in shell.Completer.completions(text, len(text))]
    assert wanted in found
    assert all(name.lower().startswith(line.split()[-1].lower()) for name in found)


def test_loading_twice_completes_once(shell):
    shell.run_line_magic("reload_ext", "researchpacs")
    assert len([one for one in shell.Completer.custom_matchers if getattr(one, "completes_pacs", False)]) == 1


def test_a_long_query_shows_a_bar_and_stops_with_the_kernel_s_interrupt(home):
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        _run(client, f"%load_ext researchpacs\nimport researchpacs as rp\npacs = rp.connect({str(home)!r})")
        _run(client, "assert pacs.sql(\"select current_setting('enable_progress_bar')\").fetchall() == [(True,)]")
        endless = "select count(*) from range(1_000_000) a, range(1_000_000) b where a.range + b.range < 0"
        process = psutil.Process(manager.provisioner.process.pid)
        before = process.cpu_times().user
        client.execute(f"%%pacs\n{endless}", stop_on_error=False)
        give_up = time.monotonic() + 60
        while process.cpu_times().user < before + 1.5:  # the query is at work
            assert time.monotonic() < give_up
            time.sleep(0.05)
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=60)["content"]
        assert reply["status"] == "error"
        assert reply["ename"] == "KeyboardInterrupt"
        _run(client, "assert pacs.sql('select count(*) from series').fetchall() == [(3,)]")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _run(client: Any, code: str) -> None:
    reply = client.execute_interactive(code, timeout=60, output_hook=lambda _: None)
    assert reply["content"]["status"] == "ok", reply["content"]
