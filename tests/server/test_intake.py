"""What came in and could not be stored leaves nothing behind in the workspace, which lasts as long as a server runs."""

import errno
import sqlite3
import zipfile
from pathlib import Path

import pytest

import researchpacs as rp
from researchpacs.server.intake import store_files
from researchpacs.server.together import held_workspace, workspace
from researchpacs.testing import small_ct

from .conftest import file_bytes


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "upload.zip", "w") as archive:
        for number in range(1, 4):
            archive.writestr(f"{number}.dcm", file_bytes(small_ct(number)))
    return tmp_path / "upload.zip"


def test_where_the_ledger_fails_no_file_is_left(home: Path, upload: Path) -> None:
    with rp.connect(home) as pacs, held_workspace(pacs.archive), workspace(pacs.archive) as tmp:
        with pacs.archive.ledger.writing() as con:
            con.execute("create trigger broken before insert on instances begin select raise(abort, 'disk I/O'); end")
        with pytest.raises(sqlite3.IntegrityError):
            store_files(pacs, [upload])
        assert list(tmp.iterdir()) == []
        with pacs.archive.ledger.writing() as con:
            con.execute("drop trigger broken")
        assert [outcome.kind for outcome in store_files(pacs, [upload])] == ["stored"] * 3
        assert list(tmp.iterdir()) == []
        assert pacs.verify().ok


def test_where_there_is_no_room_for_folders_a_server_starts_and_reads(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rp.connect(home) as pacs:
        pacs.ingest(small_ct(1))
        there = sorted(pacs.archive.home.archive.iterdir())
        made = Path.mkdir

        def full(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
            if path.parent == pacs.archive.home.archive:
                raise OSError(errno.ENOSPC, "No space left on device")
            made(path, mode, parents, exist_ok)

        monkeypatch.setattr(Path, "mkdir", full)
        with held_workspace(pacs.archive):
            assert pacs.archive.read(small_ct(1).SOPInstanceUID)
        assert sorted(pacs.archive.home.archive.iterdir()) == there
        monkeypatch.undo()
        with held_workspace(pacs.archive):
            assert len(list(pacs.archive.home.archive.iterdir())) == 256
        assert pacs.verify().ok
