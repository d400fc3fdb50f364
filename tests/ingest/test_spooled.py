"""What a server receives: in memory or on disk it comes to the same, and nothing is left of what is refused."""

import errno
import hashlib
import os
from io import BytesIO
from pathlib import Path

import pytest

from researchpacs.ingest import Spool, check_spool
from researchpacs.ingest import spooled as module
from researchpacs.model import Incoming, Refusal
from researchpacs.storage import durable
from researchpacs.testing import small_ct


def as_file(size: int = 16) -> bytes:
    content = BytesIO()
    small_ct(1, size=size).save_as(content, enforce_file_format=True)
    return content.getvalue()


def received(tmp: Path, content: bytes, *, block: int = 60_000) -> Spool:
    spool = Spool(tmp)
    for start in range(0, len(content), block):
        spool.write(content[start : start + block])
    return spool


@pytest.mark.parametrize("size", [16, 1200], ids=["in memory", "on disk"])
def test_an_instance_is_hashed_and_its_file_is_written_before_it_is_given_on(tmp_path: Path, size: int) -> None:
    content = as_file(size)

    spool = received(tmp_path, content)
    assert spool.waits_for_disk(1) == (len(content) > module.IN_MEMORY)
    checked = check_spool(spool, "a peer")

    assert isinstance(checked, Incoming)
    assert checked.blob is not None
    assert checked.blob.read_bytes() == content
    assert checked.sha256 == hashlib.sha256(content).hexdigest()
    assert checked.size == len(content)


@pytest.mark.parametrize("block", [1, 7_000, 300_000, 10**9])
def test_a_body_of_known_size_fills_one_block_of_memory(tmp_path: Path, block: int) -> None:
    content = as_file(16 if block == 1 else 512)
    spool = Spool(tmp_path)
    room = spool.room(len(content))
    assert room is not None
    for start in range(0, len(content), block):
        part = content[start : start + block]
        room[start : start + len(part)] = part
        spool.took(len(part))
    with spool.reading() as file:
        assert file.read() == content
    checked = check_spool(spool, "a peer")
    assert isinstance(checked, Incoming)
    assert checked.sha256 == hashlib.sha256(content).hexdigest()
    assert checked.blob is not None
    assert checked.blob.read_bytes() == content


def test_there_is_room_only_for_what_may_be_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_memory", module._Memory(3 << 20))
    assert Spool(tmp_path).room(module.IN_MEMORY + 1) is None
    one, two = Spool(tmp_path), Spool(tmp_path)
    assert one.room(module.IN_MEMORY) is not None
    assert two.room(module.IN_MEMORY) is None
    one.discard()
    assert two.room(module.IN_MEMORY) is not None
    two.discard()
    assert module._memory.has(3 << 20)


@pytest.mark.parametrize(
    "content", [b"", b"junk", as_file()[:-10], bytes(3 << 20)], ids=["empty", "junk", "cut", "long"]
)
def test_nothing_is_left_of_what_is_refused(tmp_path: Path, content: bytes) -> None:
    assert isinstance(check_spool(received(tmp_path, content), "a peer"), Refusal)
    assert list(tmp_path.iterdir()) == []


def test_what_was_handed_over_is_not_removed_and_what_was_not_is(tmp_path: Path) -> None:
    one, two = received(tmp_path, as_file()), received(tmp_path, as_file())
    kept, dropped = check_spool(one, "one"), check_spool(two, "two")
    assert isinstance(kept, Incoming)
    assert isinstance(dropped, Incoming)
    one.hand_over()
    one.discard()
    two.discard()
    assert list(tmp_path.iterdir()) == [kept.blob]


def test_a_full_disk_is_a_refusal_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "_write", full)
    checked = check_spool(received(tmp_path, as_file()), "a peer")
    assert isinstance(checked, Refusal)
    assert checked.reason.startswith("no space left")
    assert list(tmp_path.iterdir()) == []


def test_all_bodies_together_keep_no_more_in_memory_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_memory", module._Memory(1_000_000))
    content = as_file(512)
    one, two = received(tmp_path, content), received(tmp_path, content)
    assert one.content == content
    assert two.content is None
    assert two.path.read_bytes() == content
    one.discard()
    two.discard()
    again = received(tmp_path, content)
    assert again.content == content, "what was forgotten counts no more"
    again.hand_over()
    again.discard()
    assert module._memory.has(1_000_000)


def test_reading_does_not_disturb_what_still_comes(tmp_path: Path) -> None:
    content = as_file(1200)
    spool = Spool(tmp_path)
    for start in range(0, len(content), 500_000):
        spool.write(content[start : start + 500_000])
        with spool.reading() as file:
            assert file.read() == content[: start + 500_000]
    assert spool.in_file().read_bytes() == content
    spool.discard()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork; run it on Linux or macOS")
def test_a_forked_child_can_sync_though_it_inherits_no_threads(tmp_path: Path) -> None:
    assert durable.in_background(len, "ab").result() == 2
    child = os.fork()
    if child == 0:
        os._exit(0 if durable.in_background(len, "abc").result(timeout=20) == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
