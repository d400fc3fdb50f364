"""HTTP: uploads against Debian's Orthanc, a study against a bare sendfile, and the start of the server.

Both servers sync before they answer, but not the same: Orthanc with SyncStorageArea waits for one fdatasync of the file
and leaves the name and its index to the system; ours waits for file, name and ledger, one after the other, and hashes
the file. A client sends the next file when the answer to the one before is here.
"""

import http.client
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from _measure import Clock, alternately
from _row import Row
from _servers import Running, orthanc, orthanc_version, ours, sendfile_server

FILES = int(os.environ.get("RESEARCHPACS_BENCH_FILES", "600"))
"""Uploaded in each round; the rate of 2,000 is the same."""
SLICES = 200
_BLOCK = 1 << 20
_VERSIONS = ("httptools", "researchpacs", "starlette", "uvicorn")


def rows() -> Iterable[Row]:
    # Here, because the measured processes load this file, and should load nothing else.
    from _series import ingested, write_ct

    versions = {name: version(name) for name in _VERSIONS}
    peer_name = f"Orthanc {orthanc_version()}, synced"
    with tempfile.TemporaryDirectory() as folder:
        write_ct(Path(folder) / "ct", slices=FILES, side=512)
        for connections, target in ((1, 2.0), (4, 1.3)):
            given = json.dumps({"files": folder + "/ct", "connections": connections})
            own, peer = alternately(post_to_ours, post_to_orthanc, given=given)
            yield Row(
                f"POST /instances, {FILES} files of 512x512, {connections} connection{'s' * (connections > 1)}",
                own.seconds, peer_name, peer.seconds, f"ratio >= {target:g}", peer.seconds / own.seconds >= target,
                None, own.rounds, versions, (own.slowest, peer.slowest),
            )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        write_ct(Path(folder) / "ct", slices=SLICES, side=512)
        ingested(Path(folder) / "ct", Path(folder) / "home")
        yield _start(folder, versions)
        with ours(Path(folder) / "home") as own_server, sendfile_server(Path(folder) / "ct") as bare:
            own, peer = alternately(wado, sendfile, given=json.dumps({"ours": own_server.port, "bare": bare.port}))
        yield Row(
            f"WADO-RS of a study, {SLICES} slices of 512x512 as stored", own.seconds, "sendfile of the same files",
            peer.seconds, "ratio >= 0.6", peer.seconds / own.seconds >= 0.6, None, own.rounds, versions,
            (own.slowest, peer.slowest),
        )  # fmt: skip


def _start(folder: str, versions: dict[str, str]) -> Row:
    own, peer = alternately(start_ours, start_orthanc, given=folder)
    return Row(
        "researchpacs serve, from the command to the first answer", own.seconds, f"Orthanc {orthanc_version()}",
        peer.seconds, "ours < 1.5 s", own.seconds < 1.5, None, own.rounds, versions, (own.slowest, peer.slowest),
    )  # fmt: skip


def post_to_ours(given: str) -> Clock:
    with tempfile.TemporaryDirectory() as folder, ours(Path(folder) / "home") as server:
        return _post(given, server)


def post_to_orthanc(given: str) -> Clock:
    with tempfile.TemporaryDirectory() as folder, orthanc(Path(folder)) as server:
        return _post(given, server)


def start_ours(folder: str) -> Clock:
    with ours(Path(folder) / "home") as server:
        return Clock(seconds=server.start_s)


def start_orthanc(_: str) -> Clock:
    with tempfile.TemporaryDirectory() as folder, orthanc(Path(folder)) as server:
        return Clock(seconds=server.start_s)


def wado(given: str) -> Clock:
    port = json.loads(given)["ours"]
    answer = _answer(port, "/dicom-web/studies", "application/dicom+json")
    study = json.loads(answer.read())[0]["0020000D"]["Value"][0]
    return _read(port, f"/dicom-web/studies/{study}")


def sendfile(given: str) -> Clock:
    return _read(json.loads(given)["bare"], "/")


def _post(given: str, server: Running) -> Clock:
    options = json.loads(given)
    bodies = [path.read_bytes() for path in sorted(Path(options["files"]).iterdir())]
    count, failed = options["connections"], list[str]()
    threads = [
        threading.Thread(target=_upload, args=(server.port, bodies[part::count], failed)) for part in range(count)
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    assert not failed, failed[0]
    return Clock(seconds=seconds)


def _upload(port: int, bodies: Sequence[bytes], failed: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for body in bodies:
        connection.request("POST", "/instances", body, {"Content-Type": "application/dicom"})
        answer = connection.getresponse()
        told = answer.read()
        if answer.status != 200 or json.loads(told)["Status"] != "Success":
            failed.append(f"{answer.status} {told[:200]!r}")
            return


def _read(port: int, path: str) -> Clock:
    """Read a whole answer, and drop it."""
    start = time.perf_counter()
    answer = _answer(port, path, 'multipart/related; type="application/dicom"; transfer-syntax=*')
    buffer, size = memoryview(bytearray(_BLOCK)), 0
    while taken := answer.readinto(buffer):
        size += taken
    seconds = time.perf_counter() - start
    assert size > SLICES * 512 * 512 * 2, "the study is not whole"
    return Clock(seconds=seconds)


def _answer(port: int, path: str, accept: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", path, headers={"Accept": accept})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    return answer
