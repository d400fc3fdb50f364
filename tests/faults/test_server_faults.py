"""A server that is killed, has no more room, or meets another on its archive keeps what it acknowledged and answers."""

import random
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import pydicom
import pytest
from pynetdicom import AE
from tests.server.dimse.conftest import dataset_bytes
from tests.server.hostile.conftest import AET, PROGRAM, STOW, Victim, as_file, serving, stow_body

import researchpacs as rp

pytestmark = pytest.mark.server

SEED = 20240229
CT = "1.2.840.10008.5.1.4.1.1.2"
FULL = 0xA700


def uid_of(content: bytes) -> str:
    return str(pydicom.dcmread(BytesIO(content), stop_before_pixels=True).SOPInstanceUID)


class Sender:
    """Sends instances one after the other by one protocol, and notes what was acknowledged."""

    def __init__(self, victim: Victim, contents: list[bytes], protocol: str) -> None:
        self.acknowledged: set[str] = set()
        self._victim = victim
        self._contents = contents
        self._send = {"POST": self._post, "STOW": self._stow, "C-STORE": self._c_store}[protocol]
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            with httpx.Client(base_url=self._victim.url, headers=dict(self._victim.http.headers), timeout=60) as http:
                self._send(http)
        except httpx.HTTPError:
            pass  # the server was killed, which is the point

    def _post(self, http: httpx.Client) -> None:
        for content in self._contents:
            if http.post("/instances", content=content).status_code == 200:
                self.acknowledged.add(uid_of(content))

    def _stow(self, http: httpx.Client) -> None:
        for start in range(0, len(self._contents), 3):
            batch = self._contents[start : start + 3]
            if http.post("/dicom-web/studies", content=stow_body(*batch), headers=STOW).status_code == 200:
                self.acknowledged |= set(map(uid_of, batch))

    def _c_store(self, _: httpx.Client) -> None:
        with associated(self._victim) as association:
            for content in self._contents:
                if not association.is_established:
                    return
                ds = pydicom.dcmread(BytesIO(content))
                if association.send_c_store(ds).get("Status") == 0x0000:
                    self.acknowledged.add(str(ds.SOPInstanceUID))


@contextmanager
def associated(victim: Victim) -> Iterator["object"]:
    """pynetdicom's association for CT images and queries."""
    node = AE()
    node.add_requested_context(CT)
    node.add_requested_context("1.2.840.10008.5.1.4.1.2.2.1")
    association = node.associate("127.0.0.1", victim.dimse_port, ae_title=AET)
    assert association.is_established
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        association.join(10)
        # pynetdicom leaves the socket open where the other side was killed.
        held = association.dul.socket
        if held is not None and held.socket is not None:
            held.socket.close()


@pytest.mark.parametrize("rounds", [5, pytest.param(30, marks=pytest.mark.soak)])
def test_killed_while_receiving_nothing_acknowledged_is_lost(home: Path, tmp_path: Path, rounds: int) -> None:
    chance = random.Random(SEED)
    contents = [as_file(number, size=64) for number in range(1, 601)]
    wanted = {uid_of(content): dataset_bytes(content) for content in contents}
    acknowledged, killed = set[str](), 0
    for number in range(rounds + 1):
        with serving(home, tmp_path / "stderr") as victim:
            # What the one before acknowledged is served by the next.
            served = {ds["00080018"]["Value"][0] for ds in pages(victim)}
            assert acknowledged <= served
            if number == rounds:
                check_contents(victim, acknowledged, wanted)
                break
            chance.shuffle(contents)
            protocol = ("POST", "STOW", "C-STORE")[number % 3]
            sender = Sender(victim, contents, protocol)
            sender.thread.start()
            until = time.monotonic() + 20
            while not sender.acknowledged and time.monotonic() < until:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.4))
            victim.process.kill()
            sender.thread.join()
            killed += victim.process.wait() == -signal.SIGKILL
            assert sender.acknowledged, protocol
            acknowledged |= sender.acknowledged
    assert killed == rounds
    with rp.connect(home) as pacs:
        # A file that nobody was told of may have got its name already; it is taken up when it comes again.
        assert pacs.verify().problems == ()
        with pacs.archive.home.workspace():
            pass  # whoever comes next sweeps up
        assert [path.name for path in pacs.archive.home.tmp.iterdir()] == ["sweep.lock"]


def pages(victim: Victim) -> Iterator[dict[str, dict[str, list[str]]]]:
    """Every instance, by QIDO."""
    for start in range(0, 1_000, 500):
        yield from victim.http.get("/dicom-web/instances", params={"limit": 500, "offset": start}).json()


def check_contents(victim: Victim, acknowledged: set[str], wanted: dict[str, bytes]) -> None:
    for uid in sorted(acknowledged)[:: max(1, len(acknowledged) // 50)]:
        (found,) = victim.http.post("/tools/lookup", content=uid).json()
        assert dataset_bytes(victim.http.get(f"{found['Path']}/file").content) == wanted[uid]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, which is small."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk is missing: run as root, so that a tmpfs can be mounted")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_is_told_by_every_protocol_and_reading_goes_on(disk: Path, tmp_path: Path) -> None:
    kept = as_file(1)
    with serving(disk / "home", tmp_path / "stderr") as victim:
        name = victim.http.post("/instances", content=kept).json()["ID"]
        assert victim.http.get("/dicom-web/studies", params={"Manufacturer": "*"}).status_code == 200
        number, status = 1, 200
        while status == 200:
            number += 1
            status = victim.http.post("/instances", content=as_file(number, size=512)).status_code
        assert number > 3
        fill(disk)
        refuses_everything(victim)
        reads_on(victim, name, kept)
        stored = victim.http.get("/statistics").json()["CountInstances"]
        assert stored == number - 1
        assert victim.process.poll() is None
        assert "Traceback" not in victim.log.read_text()
    # It also starts where there is no room.
    with serving(disk / "home", tmp_path / "stderr") as victim:
        reads_on(victim, name, kept)
        refuses_everything(victim)
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        assert victim.http.post("/instances", content=as_file(3_001, size=512)).status_code == 200
        assert (
            victim.http.post("/dicom-web/studies", content=stow_body(as_file(3_002)), headers=STOW).status_code == 200
        )
        with associated(victim) as association:
            assert store(association, as_file(3_003)) == 0x0000
        assert victim.http.get("/statistics").json()["CountInstances"] == stored + 3
    with rp.connect(disk / "home") as pacs:
        assert pacs.verify().ok


def fill(disk: Path) -> None:
    """Take what is left, to the last block."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def store(association: "object", content: bytes) -> int:
    return int(association.send_c_store(pydicom.dcmread(BytesIO(content))).Status)  # type: ignore[attr-defined]


def refuses_everything(victim: Victim) -> None:
    for size in (64, 512, 2_048):
        content = as_file(4_000 + size, size=size)
        answer = victim.http.post("/instances", content=content)
        assert (answer.status_code, answer.json()["HttpStatus"]) == (507, 507), answer.text
        form = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + content + b"\r\n--b--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        assert victim.http.post("/instances", content=form, headers=headers).status_code == 507
        assert victim.http.post("/dicom-web/studies", content=stow_body(content), headers=STOW).status_code == 507
        with associated(victim) as association:
            assert store(association, content) == FULL


def reads_on(victim: Victim, name: str, kept: bytes) -> None:
    assert victim.http.get(f"/instances/{name}/file").content == kept
    assert victim.http.get(f"/instances/{name}/preview").status_code == 200
    assert victim.http.get("/studies?expand").status_code == 200
    assert victim.http.post("/tools/find", json={"Level": "Instance", "Query": {}, "Limit": 1}).json()
    (study,) = victim.http.get("/dicom-web/studies").json()
    uid = study["0020000D"]["Value"][0]
    assert len(victim.http.get(f"/dicom-web/studies/{uid}").content) > len(kept)
    assert victim.http.get(f"/dicom-web/studies/{uid}/metadata").json()
    assert len(victim.http.get(f"/studies/{victim.http.get('/studies').json()[0]}/archive").content) > 500
    assert victim.echo() < 5
    with associated(victim) as association:
        query = pydicom.Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", ""
        statuses = [int(status.Status) for status, _ in association.send_c_find(query, "1.2.840.10008.5.1.4.1.2.2.1")]  # type: ignore[attr-defined]
        assert statuses == [0xFF00, 0x0000]


def test_a_second_server_is_refused_at_once_and_a_killed_one_leaves_no_lock(home: Path, tmp_path: Path) -> None:
    command = [*PROGRAM, "--home", str(home), "serve", "--port", "0"]
    with ExitStack() as held:
        first = held.enter_context(serving(home, tmp_path / "first"))
        # Its own time, to which others on the machine add nothing.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
        assert second.returncode == 1
        assert f"by process {first.process.pid} at {first.url}" in second.stderr
        assert "Traceback" not in second.stderr
        assert first.http.get("/system").status_code == 200
        first.process.kill()
        first.process.wait()
    assert (home / "server.json").exists(), "the note of the killed one is still there"
    with serving(home, tmp_path / "third") as third:
        assert third.http.get("/system").status_code == 200
        again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert f"by process {third.process.pid} " in again.stderr
