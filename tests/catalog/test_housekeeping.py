"""Housekeeping goes on beside the work, in a thread that whoever closes the archive waits for."""

import threading

import pytest

from researchpacs.catalog import _committer, _housekeeping
from researchpacs.testing import small_ct

from .conftest import Filled

COMMITS = 4
_FILES = "select file_count from ducklake_table_info('pacs') where table_name = 'instances_own'"


def test_small_files_are_put_together_beside_the_work(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_committer, "TIDY_COMMITS", 2)
    for name in ("QUIET_S", "LATEST_S", "PATIENCE_S"):  # it begins when the archive is closed, and is waited for
        monkeypatch.setattr(_housekeeping, name, 3600)
    for series in range(COMMITS):
        uid = f"1.2.3.{series}"
        filled.take([
            small_ct(at, SeriesInstanceUID=uid, SOPInstanceUID=f"{uid}.{at}", StudyInstanceUID=f"1.2.{series}")
            for at in range(12)
        ])  # fmt: skip
        filled.catalog.sync()
    assert filled.catalog.sql(_FILES).fetchall() == [(COMMITS,)]
    assert [one.name for one in threading.enumerate()].count("researchpacs-housekeeping") == 1

    filled.reopen()

    assert filled.catalog.sql(_FILES).fetchall() == [(1,)]
    assert filled.catalog.sql("select count(*), count(tags) from instances").fetchall() == [
        (12 * COMMITS, 12 * COMMITS)
    ]
    assert "researchpacs-housekeeping" not in [one.name for one in threading.enumerate()]
