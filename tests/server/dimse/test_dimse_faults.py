"""Broken, slow and hostile callers end their own association only; what was acknowledged survives a kill."""

import contextlib
import os
import random
import resource
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.server.conftest import wait_until
from tests.server.dimse.conftest import Tool, dataset_bytes, write

import researchpacs as rp
from researchpacs.archive._dimse._association import Association, Timeouts
from researchpacs.archive._dimse._command import C_STORE, encode_command
from researchpacs.archive._dimse._contexts import ECHO, EXPLICIT, Proposal
from researchpacs.archive._dimse._negotiation import Request, encode_request
from researchpacs.archive._peers import Peer
from researchpacs.server.dimse import Scp, ScpOptions, start_scp
from researchpacs.testing._instances import small_ct

pytestmark = pytest.mark.server

CT = small_ct().SOPClassUID
SEED = 7
MOST_MB = 200


def pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body


def data_pdu(context: int, control: int, data: bytes) -> bytes:
    return pdu(4, struct.pack(">IBB", len(data) + 2, context, control) + data)


def associate_rq(*sop_classes: str) -> bytes:
    proposals = [Proposal(2 * n + 1, uid, [EXPLICIT]) for n, uid in enumerate(sop_classes)]
    return pdu(1, encode_request(Request("HOSTILE", "RESEARCHPACS", proposals, 16_384)))


def conversation() -> list[bytes]:
    """A sound association that stores one instance, PDU by PDU."""
    buffer = BytesIO()
    small_ct(50).save_as(buffer, enforce_file_format=True)
    data = dataset_bytes(buffer.getvalue())
    command = {
        "CommandField": C_STORE,
        "MessageID": 1,
        "Priority": 0,
        "AffectedSOPClassUID": CT,
        "AffectedSOPInstanceUID": small_ct(50).SOPInstanceUID,
    }
    return [
        associate_rq(CT, ECHO),
        data_pdu(1, 3, encode_command(command, with_data_set=True)),
        data_pdu(1, 0, data[:400]),
        data_pdu(1, 2, data[400:]),
        pdu(5, bytes(4)),
    ]


def mutated(rng: random.Random, pdus: list[bytes]) -> bytes:
    """Change, cut, repeat, swap or lengthen; the first PDU often stays whole, so that the others are reached."""
    pdus = list(pdus)
    first = 0 if rng.random() < 0.4 else 1
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(first, len(pdus))
        one = bytearray(pdus[place])
        kind = rng.randrange(6)
        if kind == 0:
            for _ in range(rng.randint(1, 8)):
                one[rng.randrange(len(one))] = rng.randrange(256)
        elif kind == 1:
            del one[rng.randrange(len(one)) :]
        elif kind == 2:
            start = rng.randrange(len(one))
            one[start:start] = rng.randbytes(rng.randint(1, 64))
        elif kind == 3 and len(one) >= 10:
            at = rng.choice([2, 6])
            one[at : at + 4] = struct.pack(">I", rng.choice([0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 131_073, len(one)]))
        elif kind == 4:
            pdus.insert(place, bytes(one))
        else:
            other = rng.randrange(first, len(pdus))
            pdus[place], pdus[other] = pdus[other], pdus[place]
            continue
        pdus[place] = bytes(one)
    return b"".join(pdus)


def talk(port: int, data: bytes, *, patience_s: float = 0.05) -> bytes:
    """Send bytes, close our half, and read what comes until the other side closes or says nothing for a while."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(patience_s)
            while got := sock.recv(65_536):
                answer += got
        except OSError:
            return answer
    return answer


def echo(scp: Scp) -> float:
    return Peer("self", scp.aet, "127.0.0.1", scp.port).echo()


@contextmanager
def bounded_memory() -> Iterator[None]:
    process = psutil.Process()
    before = process.memory_info().rss
    yield
    assert process.memory_info().rss - before < MOST_MB << 20


@pytest.fixture
def impatient(pacs: rp.Pacs) -> Iterator[Scp]:
    timeouts = Timeouts(negotiate=1.0, idle=1.0, patience=1.0)
    with start_scp(pacs, ScpOptions(port=0, timeouts=timeouts, most_associations=4)) as scp:
        yield scp


def test_five_hundred_mutated_conversations_stop_nothing(scp: Scp, pacs: rp.Pacs) -> None:
    rng, pdus = random.Random(SEED), conversation()
    assert talk(scp.port, b"".join(pdus), patience_s=5.0)[0:1] == b"\2", "the sound conversation is accepted"
    with bounded_memory():
        for number in range(500):
            talk(scp.port, mutated(rng, pdus), patience_s=0.02)
            if number % 25 == 0:
                assert echo(scp) < 5
    assert echo(scp) < 5
    assert not list(pacs.archive.home.tmp.rglob("*.part"))
    assert pacs.verify().ok


@pytest.mark.parametrize("kind", range(9))
def test_a_length_of_four_gigabytes_is_refused_before_it_is_read(impatient: Scp, kind: int) -> None:
    with bounded_memory():
        opening = b"" if kind == 1 else associate_rq(CT)
        answer = talk(impatient.port, opening + struct.pack(">BxI", kind, 0xFFFFFFFF) + bytes(64), patience_s=3.0)
    assert answer[-10:] == bytes([7, 0, 0, 0, 0, 4, 0, 0, 2, 2]), "an A-ABORT from the service provider"
    echo(impatient)


def test_a_value_longer_than_its_pdu_is_refused(impatient: Scp) -> None:
    value = struct.pack(">IBB", 0xFFFFFFF0, 1, 3) + bytes(20)
    answer = talk(impatient.port, associate_rq(CT) + pdu(4, value), patience_s=3.0)
    assert answer[-10:-4] == bytes([7, 0, 0, 0, 0, 4])
    echo(impatient)


def test_connections_that_say_nothing_keep_nobody_out(impatient: Scp) -> None:
    with bounded_memory():
        half_open = [socket.create_connection(("127.0.0.1", impatient.port)) for _ in range(160)]
        try:
            for sock in half_open[::2]:
                sock.sendall(associate_rq(CT)[:7])
            assert echo(impatient) < 5
        finally:
            for sock in half_open:
                sock.close()
    assert echo(impatient) < 5


def test_whoever_stops_in_the_middle_of_a_pdu_is_cut_off(impatient: Scp) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=10) as sock:
        sock.sendall(associate_rq(CT)[:-5])
        start = time.monotonic()
        assert sock.recv(64)[:1] in (b"\7", b"")
        assert time.monotonic() - start < 5


def test_more_associations_than_allowed_are_told_so(impatient: Scp) -> None:
    from researchpacs.archive._dimse._request import associated

    peer = Peer("self", impatient.aet, "127.0.0.1", impatient.port)
    held = []
    try:
        for _ in range(4):
            one = associated(peer, [Proposal(1, ECHO, [EXPLICIT])])
            one.__enter__()
            held.append(one)
        with pytest.raises(rp.errors.RemoteError, match="as many associations as it allows"):
            peer.echo()
    finally:
        for one in held:
            one.__exit__(None, None, None)
    time.sleep(0.2)
    assert peer.echo() < 5


def test_associations_that_nobody_uses_give_way(pacs: rp.Pacs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that rest longest first; one that asks keeps its place."""
    from researchpacs.archive._dimse._request import associated
    from researchpacs.archive._dimse._sending import proposals_for, send_instance
    from researchpacs.server.dimse import _rests

    pacs.ingest(small_ct(1))
    (stored,) = pacs.archive.rows([str(pacs.search("instance").first().attributes()["instance_key"])]).values()
    with start_scp(pacs, ScpOptions(port=0, most_associations=4)) as scp, contextlib.ExitStack() as held:
        peer = Peer("self", scp.aet, "127.0.0.1", scp.port)
        silent = [held.enter_context(associated(peer, [Proposal(1, ECHO, [EXPLICIT])])) for _ in range(3)]
        busy = held.enter_context(associated(peer, next(proposals_for([stored]))))
        assert send_instance(busy, stored) == 0
        wait_until(lambda: len(scp._rests._wires) == 4)
        with pytest.raises(rp.errors.RemoteError, match="as many associations as it allows"):
            peer.echo()
        monkeypatch.setattr(_rests, "GIVES_WAY_S", 0.0)
        for number in range(3):
            held.enter_context(associated(peer, [Proposal(1, ECHO, [EXPLICIT])]))
            wait_until(lambda: len(scp._rests._wires) == 4)
            assert [_is_gone(one) for one in silent] == [at <= number for at in range(3)]
        assert send_instance(busy, stored) == 0, "who asked last keeps its place"


def _is_gone(association: Association) -> bool:
    """Whether the other side has closed; nothing else may have come."""
    return association.wire.is_readable()


def test_a_full_disk_is_told_and_reading_goes_on(scp: Scp, pacs: rp.Pacs, dcmtk: Tool, tmp_path: Path) -> None:
    small = write(small_ct(1), tmp_path / "small.dcm")
    large = write(small_ct(2, size=512), tmp_path / "large.dcm")
    dcmtk("storescu", "-aec", scp.aet, "127.0.0.1", scp.port, small)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        done = dcmtk("storescu", "-v", "-aec", scp.aet, "127.0.0.1", scp.port, large, check=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "outofresources" in (done.stdout + done.stderr).lower()
    found = dcmtk("findscu", "-S", "-aec", scp.aet, "-k", "QueryRetrieveLevel=IMAGE", "-k", "SOPInstanceUID",
                  "127.0.0.1", scp.port)  # fmt: skip
    assert (found.stdout + found.stderr).count("Find Response:") == 1
    dcmtk("storescu", "-aec", scp.aet, "127.0.0.1", scp.port, large)
    assert len(pacs.search("instance")) == 2


SERVER = """
import sys
import researchpacs as rp
from researchpacs.server.dimse import ScpOptions, start_scp
scp = start_scp(rp.connect(sys.argv[1]), ScpOptions(port=0))
print(scp.port, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("rounds", [3, pytest.param(30, marks=pytest.mark.soak)])
def test_killed_while_receiving_nothing_acknowledged_is_lost(home: Path, tmp_path: Path, rounds: int) -> None:
    from researchpacs.archive._dimse._request import associated
    from researchpacs.archive._dimse._sending import proposals_for, send_instance

    rng = np.random.default_rng(SEED)
    with rp.connect(tmp_path / "source") as source:
        source.ingest([small_ct(number, size=32) for number in range(1, 41)])
        instances = [source.archive.rows([str(one.attributes()["instance_key"])]) for one in source.search("instance")]
        stored = [one for rows in instances for one in rows.values()]
        acknowledged: set[str] = set()
        for _ in range(rounds):
            process = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            peer = Peer("victim", "RESEARCHPACS", "127.0.0.1", int(process.stdout.readline()))
            deadline = time.monotonic() + float(rng.uniform(0.05, 0.6))
            try:
                with associated(peer, next(proposals_for(stored))) as association:
                    for one in rng.permutation(len(stored)):
                        if time.monotonic() > deadline:
                            os.kill(process.pid, 9)
                        if send_instance(association, stored[one]) == 0:
                            acknowledged.add(stored[one].identity.sop_uid)
            except rp.errors.RemoteError:
                pass  # killed in the middle
            process.kill()
            process.communicate()
    assert acknowledged
    with rp.connect(home) as pacs:
        kept = {str(one.uid) for one in pacs.search("instance")}
        assert acknowledged <= kept
        assert pacs.verify().ok
