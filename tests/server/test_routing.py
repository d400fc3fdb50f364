"""Rules are applied to each stable series, whatever breaks in between; peers are dcmtk, Orthanc and our own server."""

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from click.testing import CliRunner
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import researchpacs as rp
from researchpacs.archive import Job
from researchpacs.archive._remote_http import is_refusal
from researchpacs.cli import main
from researchpacs.errors import RemoteError
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.server.routing import apply_now, routing
from researchpacs.server.stable import StableWatch
from researchpacs.testing import small_ct

Served: TypeAlias = Callable[[Starlette], AbstractContextManager[str]]

COUNT = 120
SERIES = small_ct().SeriesInstanceUID


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("researchpacs.server.routing._router._POLL_S", 0.1)
    monkeypatch.setattr("researchpacs.server.jobs._IDLE_S", 0.1)


@pytest.fixture
def pacs(home: Path) -> Iterator[rp.Pacs]:
    with rp.connect(home) as pacs:
        yield pacs


@pytest.fixture
def run(pacs: rp.Pacs) -> Callable[[Path], AbstractContextManager[object]]:
    """Route by a file of rules while a block lasts."""

    class Running(ExitStack):
        def __init__(self, path: Path) -> None:
            super().__init__()
            self.enter_context(routing(pacs, path))
            self.enter_context(StableWatch(pacs, age_s=0.1))

    return Running


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


# -- what a rule does -------------------------------------------------------------------------------------------------


def test_a_stable_series_is_labelled_and_sent_to_a_server(
    pacs: rp.Pacs, write_rule: Any, run: Any, served: Served, tmp_path: Path
) -> None:
    with rp.connect(tmp_path / "peer") as peer, served(create_app(peer, access=Access(token="s3cret"))) as url:
        address = url.replace("http://", "orthanc+http://x:s3cret@")
        web = url.replace("http://", "dicomweb+http://x:s3cret@") + "/dicom-web"
        with run(write_rule(f'{{ label = ["qc", "ct"], send = ["{address}", "{web}"] }}')):
            pacs.ingest([small_ct(number) for number in range(5)])
            pacs.ingest(small_ct(9, StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3", Modality="MR"))
            jobs = _done(pacs, 4)
        assert [(job.state, job.error_details) for job in jobs] == [("success", "")] * 4
        assert "s3cret" not in json.dumps([[job.request, job.content] for job in jobs])
        assert {one.uid for one in pacs.search("series", labels="qc")} == {SERIES}
        assert [(one.uid, one.instance_count) for one in peer.search("series")] == [(SERIES, 5)]
        assert peer.archive.read(small_ct(3).SOPInstanceUID) == pacs.archive.read(small_ct(3).SOPInstanceUID)


def test_a_function_of_another_package_is_run_with_the_series(
    pacs: rp.Pacs, write_rule: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, "def count(pacs, series):\n    pacs.label(series, f'has-{series.instance_count}')\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with run(write_rule('{ run = "count" }')):
        pacs.ingest([small_ct(number) for number in range(3)])
        _done(pacs, 1)
    assert [one.uid for one in pacs.search("series", labels="has-3")] == [SERIES]


def test_a_bug_in_a_function_fails_its_job_and_quotes_nothing(
    pacs: rp.Pacs, write_rule: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, "def count(pacs, series):\n    raise KeyError('Secret^Name')\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with run(write_rule('{ run = "count" }')):
        pacs.ingest(small_ct())
        (job,) = _done(pacs, 1)
    assert (job.state, job.error) == ("failure", "KeyError")
    assert "Secret" not in job.error_details


def test_what_cannot_be_decided_is_a_job_that_says_so(pacs: rp.Pacs, write_rule: Any, run: Any) -> None:
    with run(write_rule('{ label = "x" }', when="cast(SeriesDescription as integer) > 1")):
        pacs.ingest(small_ct())
        (job,) = _done(pacs, 1)
    assert (job.state, job.error) == ("failure", "InvalidInputError")
    assert "try_cast" in job.error_details
    with run(write_rule('{ label = "x" }', when="try_cast(SeriesDescription as integer) is null")):
        pacs.archive.jobs.resubmit(job.id)
        assert pacs.archive.jobs.wait(job.id, timeout_s=30).state == "success"
    assert len(pacs.search("series", labels="x")) == 1


# -- when it does so --------------------------------------------------------------------------------------------------


def test_a_new_rule_begins_with_what_becomes_stable_from_then_on(pacs: rp.Pacs, write_rule: Any, run: Any) -> None:
    pacs.ingest(small_ct())
    pacs.archive.resources.settle(0)
    path = write_rule('{ label = "x" }')
    with run(path):
        time.sleep(0.5)
        assert pacs.archive.jobs.all() == []
        pacs.ingest(small_ct(2, StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3"))
        _done(pacs, 1)
        assert [one.uid for one in pacs.search("series", labels="x")] == ["1.2.3"]
        assert apply_now(pacs, path, "one", dry_run=True) == 2
        assert apply_now(pacs, path, "one") == 2
        _done(pacs, 3)
        assert len(pacs.search("series", labels="x")) == 2


def test_the_command_says_how_many_series_a_rule_chooses(pacs: rp.Pacs, write_rule: Any) -> None:
    pacs.ingest(small_ct())
    path = str(write_rule('{ label = "x" }'))
    told = CliRunner().invoke(main, ["--home", str(pacs.home), "route", "one", "--rules", path, "--dry-run"])
    assert (told.exit_code, told.output) == (0, "one chooses 1 series\n")
    assert pacs.archive.jobs.all() == []
    told = CliRunner().invoke(main, ["--home", str(pacs.home), "route", "one", "--rules", path, "--json"])
    assert json.loads(told.output) == {"rule": "one", "series": 1, "queued": True}
    (job,) = pacs.archive.jobs.all()
    assert (job.kind, job.state) == ("Route", "pending")
    told = CliRunner().invoke(main, ["--home", str(pacs.home), "route", "two", "--rules", path])
    assert (told.exit_code, "is called 'two'; there are: one" in told.output) == (1, True)


def test_what_became_stable_while_nobody_routed_is_routed_later(
    pacs: rp.Pacs, write_rule: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("researchpacs.server.routing._router._PAGE", 7)
    path = write_rule('{ label = "x" }')
    with routing(pacs, path):
        pass
    pacs.ingest([small_ct(1, StudyInstanceUID="1.2", SeriesInstanceUID=f"1.2.{number}") for number in range(30)])
    pacs.archive.resources.settle(0)
    pacs.archive.resources.forget_journal()  # as DELETE /changes does
    with run(path):
        assert {job.state for job in _done(pacs, 30)} == {"success"}
    assert len(pacs.search("series", labels="x")) == 30
    with pacs.archive.ledger.reading() as con:
        assert con.execute("select count(*) from stable_series").fetchone()[0] == 0


def test_a_series_that_grows_is_routed_again(pacs: rp.Pacs, write_rule: Any, run: Any) -> None:
    with run(write_rule('{ label = "x" }')):
        pacs.ingest(small_ct(1))
        _done(pacs, 1)
        pacs.ingest(small_ct(2))
        _done(pacs, 2)


def test_a_job_does_only_what_the_rules_still_say(pacs: rp.Pacs, write_rule: Any, run: Any) -> None:
    with routing(pacs, write_rule('{ label = "x" }')):
        pass
    pacs.ingest(small_ct())
    pacs.archive.resources.settle(0)
    request = {"Rule": "one", "Action": "label", "Target": "x", "Series": "p/1.2/1.2.3", "Undecided": False}
    other = {**request, "Action": "send", "Target": "orthanc+http://127.0.0.1:1/"}
    gone = pacs.archive.jobs.submit("Route", request)
    foreign = pacs.archive.jobs.submit("Route", other)
    with run(write_rule('{ label = "x" }')):
        assert pacs.archive.jobs.wait(gone.id, timeout_s=30).content["Gone"] is True
        failed = pacs.archive.jobs.wait(foreign.id, timeout_s=30)
    assert (failed.state, failed.error) == ("failure", "NotFoundError")


# -- what breaks ------------------------------------------------------------------------------------------------------


def test_a_peer_killed_in_mid_transfer_gets_the_rest_when_it_is_back(
    pacs: rp.Pacs, write_rule: Any, run: Any, tmp_path: Path, free_port: int
) -> None:
    pacs.peers.add("clinic", aet="CLINIC", host="127.0.0.1", port=free_port)
    pacs.ingest([small_ct(number, size=256) for number in range(COUNT)])
    first, second = tmp_path / "first", tmp_path / "second"
    receiver = _storescp(free_port, first)
    with run(write_rule('{ send = "clinic" }')):
        try:
            _wait(lambda: len(list(first.iterdir())) > 10, every_s=0.001)
        finally:
            receiver.kill()
            receiver.wait()
        (job,) = pacs.archive.jobs.all()
        assert not job.done, "the transfer ended before the peer was killed"
        _wait(lambda: pacs.archive.jobs.get(job.id).state == "retry")
        assert pacs.archive.jobs.get(job.id).error == "RemoteError"
        receiver = _storescp(free_port, second)
        try:
            done = pacs.archive.jobs.wait(job.id, timeout_s=60)
        finally:
            receiver.kill()
            receiver.wait()
    assert (done.state, done.content["SentCount"], done.put_off > 0) == ("success", COUNT, True)
    assert "Reached" not in done.content
    got = {path.name.split(".", 1)[1] for folder in (first, second) for path in folder.iterdir()}
    assert got == {small_ct(number).SOPInstanceUID for number in range(COUNT)}
    assert len(list(second.iterdir())) < COUNT


def test_a_peer_that_stays_away_fails_the_job_and_a_person_sends_it_again(
    pacs: rp.Pacs, write_rule: Any, run: Any, served: Served, tmp_path: Path, free_port: int
) -> None:
    pacs.peers.add("clinic", aet="CLINIC", host="127.0.0.1", port=free_port)
    path = write_rule('{ send = "clinic" }', retry="attempts = 3\nfirst_s = 0.05\nlongest_s = 0.1")
    with run(path), served(create_app(pacs, access=Access(), stable_age_s=3600)) as url:
        pacs.ingest(small_ct())
        (job,) = _done(pacs, 1)
        assert (job.state, job.attempts) == ("failure", 3)
        shown = httpx.get(f"{url}/jobs/{job.id}").json()
        assert (shown["State"], shown["Type"], shown["Content"]["Rule"]) == ("Failure", "Route", "one")
        assert "clinic cannot be reached" in shown["ErrorDetails"]
        receiver = _storescp(free_port, tmp_path / "got")
        try:
            assert httpx.post(f"{url}/jobs/{job.id}/resubmit").status_code == 200
            assert pacs.archive.jobs.wait(job.id, timeout_s=30).state == "success"
        finally:
            receiver.kill()
            receiver.wait()
    assert len(list((tmp_path / "got").iterdir())) == 1


def test_an_orthanc_killed_in_mid_transfer_has_every_instance_in_the_end(
    pacs: rp.Pacs, write_rule: Any, run: Any, tmp_path: Path, free_port: int
) -> None:
    folder, url = tmp_path / "orthanc", f"http://127.0.0.1:{free_port}"
    orthanc = _orthanc(folder, free_port)
    try:
        pacs.ingest([small_ct(number, size=256) for number in range(COUNT)])
        with run(write_rule(f'{{ send = "orthanc+{url}/" }}')):
            _wait(lambda: httpx.get(f"{url}/statistics").json()["CountInstances"] > 10, every_s=0.001)
            orthanc.kill()
            orthanc.wait()
            (job,) = pacs.archive.jobs.all()
            assert not job.done, "the transfer ended before the peer was killed"
            _wait(lambda: pacs.archive.jobs.get(job.id).state == "retry")
            orthanc = _orthanc(folder, free_port)
            done = pacs.archive.jobs.wait(job.id, timeout_s=60)
        assert (done.state, done.put_off > 0) == ("success", True)
        found = httpx.get(f"{url}/instances?expand").json()
        uids = {one["MainDicomTags"]["SOPInstanceUID"] for one in found}
        assert uids == {small_ct(number).SOPInstanceUID for number in range(COUNT)}
    finally:
        orthanc.kill()
        orthanc.wait()


def test_jobs_for_a_peer_that_is_away_do_not_wait_for_it_one_after_the_other(
    pacs: rp.Pacs, write_rule: Any, run: Any
) -> None:
    asked = []

    def hang_up() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            asked.append(time.monotonic())
            time.sleep(0.3)
            peer.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        pacs.peers.add("clinic", aet="CLINIC", host="127.0.0.1", port=listener.getsockname()[1])
        thread = threading.Thread(target=hang_up)
        thread.start()
        pacs.ingest([small_ct(1, StudyInstanceUID="1.2", SeriesInstanceUID=f"1.2.{number}") for number in range(20)])
        with run(write_rule('{ send = "clinic", label = "x" }', retry="first_s = 20\nlongest_s = 20")):
            _wait(lambda: sum(job.put_off for job in pacs.archive.jobs.all()) == 20)
            _wait(lambda: len(pacs.search("series", labels="x")) == 20)
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert len(asked) <= 2  # one a worker
    waiting = [job for job in pacs.archive.jobs.all() if job.state == "retry"]
    assert {job.error for job in waiting} == {"RemoteError"}


@pytest.mark.parametrize(
    ("kind", "status", "attempts"), [("orthanc", 429, 2), ("dicomweb", 408, 2), ("dicomweb", 400, 1)]
)
def test_a_server_that_is_only_busy_is_asked_again(
    pacs: rp.Pacs, write_rule: Any, run: Any, served: Served, kind: str, status: int, attempts: int
) -> None:
    """It refuses once, and takes what comes then."""
    asked = []

    async def take(request: Request) -> Response:
        content = b"".join([chunk async for chunk in request.stream()])
        assert len(content) > 1_000
        asked.append(request.url.path)
        if len(asked) == 1:
            return Response(status_code=status)
        return JSONResponse({"Status": "Success", "ID": "x"} if kind == "orthanc" else {})

    app = Starlette(routes=[Route("/{path:path}", take, methods=["POST"])])
    with served(app) as url:
        pacs.ingest(small_ct(1))
        with run(write_rule(f'{{ send = "{kind}+{url}/" }}')):
            (job,) = _done(pacs, 1)
    assert (job.state, len(asked)) == ("success" if attempts == 2 else "failure", attempts)
    if attempts == 1:
        assert str(status) in job.error_details


def test_only_what_will_never_be_taken_is_a_refusal() -> None:
    refusals = [status for status in range(400, 600) if is_refusal(RemoteError("", status=status))]
    assert not {408, 423, 425, 429, *range(500, 600)} & set(refusals)
    assert {400, 401, 403, 404, 409, 413, 415, 422} <= set(refusals)
    assert not is_refusal(RemoteError("cannot be reached"))


def test_what_becomes_stable_is_noted_once_a_series_and_only_for_rules(
    pacs: rp.Pacs, write_rule: Any, run: Any
) -> None:
    def noted() -> int:
        with pacs.archive.ledger.reading() as con:
            return int(con.execute("select count(*) from stable_series").fetchone()[0])

    with run(write_rule('{ label = "x" }')):
        pacs.ingest(small_ct(1))
        _done(pacs, 1)
    assert noted() == 0
    # No server, or one without --rules: the next one with them finds the series, once.
    for number in range(2, 6):
        pacs.ingest(small_ct(number))
        pacs.archive.resources.settle(0)
        assert noted() == 1
    with run(write_rule('{ label = "x" }')):
        _done(pacs, 2)
    with pacs.archive.ledger.writing() as con:
        con.execute("delete from routes")
    pacs.ingest(small_ct(7))
    pacs.archive.resources.settle(0)
    assert noted() == 0


# -- helpers ----------------------------------------------------------------------------------------------------------


def _done(pacs: rp.Pacs, count: int) -> list[Job]:
    """All jobs, when there are so many and none has work left."""

    def are_done() -> bool:
        jobs = pacs.archive.jobs.all()
        return len(jobs) >= count and all(job.done for job in jobs)

    _wait(are_done)
    jobs = pacs.archive.jobs.all()
    assert len(jobs) == count
    return jobs


def _wait(until: Callable[[], object], *, timeout_s: float = 30, every_s: float = 0.02) -> None:
    give_up = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < give_up
        time.sleep(every_s)


def _install(folder: Path, code: str) -> None:
    """A package with an entry point, as pip leaves it."""
    site = folder / "site"
    (site / "demo_routes-1.0.dist-info").mkdir(parents=True)
    (site / "demo_routes-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: demo-routes\nVersion: 1\n"
    )
    points = f"[researchpacs.routes]\ncount = demo_routes_{folder.name}:count\n"
    (site / "demo_routes-1.0.dist-info" / "entry_points.txt").write_text(points)
    (site / f"demo_routes_{folder.name}.py").write_text(code)


def _storescp(port: int, folder: Path) -> subprocess.Popen[bytes]:
    program = shutil.which("storescp", path="/usr/bin:/usr/local/bin") or shutil.which("storescp")
    if program is None:
        pytest.skip("dcmtk's storescp is missing: apt-get install dcmtk")
    folder.mkdir()
    process = subprocess.Popen([program, "-aet", "CLINIC", "-od", str(folder), str(port)])
    echo = shutil.which("echoscu", path="/usr/bin:/usr/local/bin") or "echoscu"
    _wait(lambda: subprocess.run([echo, "127.0.0.1", str(port)], capture_output=True, check=False).returncode == 0)
    return process


def _orthanc(folder: Path, port: int) -> subprocess.Popen[bytes]:
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None:
        pytest.skip("Orthanc is missing: apt-get install orthanc")
    folder.mkdir(exist_ok=True)
    settings = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": port, "Plugins": [],
        "DicomServerEnabled": False, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "SyncStorageArea": True,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [program, str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/system").status_code == 200
        except httpx.TransportError:
            return False

    _wait(answers)
    return process
