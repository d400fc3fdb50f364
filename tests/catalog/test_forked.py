"""A process that was forked from one with the archive open is told so, and waits for no thread that it has not."""

import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import os, sys
import researchpacs as rp
from researchpacs.errors import UnsupportedError
from researchpacs.testing import small_ct

pacs = rp.connect(sys.argv[1])
pacs.ingest([small_ct(number, GeneratorPower="7") for number in (1, 2, 3)], progress=False)
(series,) = pacs.search("series")
assert pacs.sql("select count(*) from instances").fetchall() == [(3,)]

def child():
    asked = [
        lambda: pacs.sql("select 1"), lambda: len(pacs.search("study")), pacs.schema, pacs.sync, pacs.attach_sql,
        lambda: pacs.cohorts() or pacs.freeze([series], name="x"),
    ]
    for ask in asked:
        try:
            ask()
        except UnsupportedError as error:
            assert "connect()" in str(error) and "spawn" in str(error)
        else:
            raise AssertionError("a forked process got an answer")
    assert rp.read_volume(series).shape == (3, 16, 16)
    assert series.GeneratorPower == 7
    pacs.close()
    with rp.connect(sys.argv[1]) as own:
        assert own.sql("select count(*) from instances").fetchall() == [(3,)]

forked = os.fork()
if forked == 0:
    try:
        child()
    except BaseException:
        import traceback
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
assert pacs.sql("select count(*) from instances").fetchall() == [(3,)]
pacs.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not fork")
def test_a_forked_process_is_told_what_to_do_and_its_parent_goes_on(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(home)], capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
