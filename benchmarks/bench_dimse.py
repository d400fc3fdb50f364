"""C-STORE of 512x512 slices by dcmtk's storescu, one association and four, into our SCP and into Debian's Orthanc.

Both store on the same disk and sync before they answer (Orthanc with SyncStorageArea). All sides have TCP_NODELAY,
which dcmtk, and so Orthanc, takes from the environment. The servers start before the clock does.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from _measure import Clock, alternately
from _row import Row

SLICES = 300
ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
SERVER = """
import sys
import researchpacs as rp
from researchpacs.server.dimse import ScpOptions, start_scp
scp = start_scp(rp.connect(sys.argv[1]), ScpOptions(port=int(sys.argv[2])))
sys.stdin.read()
"""


def rows() -> Iterable[Row]:
    # Here, because the measured processes load this file, and should load nothing else.
    from _series import write_ct

    with tempfile.TemporaryDirectory() as folder:
        write_ct(Path(folder) / "ct", slices=SLICES, side=512)
        for associations, target in ((1, 0.5), (4, 0.8)):
            given = json.dumps({"files": folder + "/ct", "associations": associations})
            ours, peer = alternately(store_to_ours, store_to_orthanc, given=given)
            yield Row(
                f"C-STORE of {SLICES} files of 512x512, {associations} association{'s' * (associations > 1)}",
                ours.seconds, f"Orthanc {_orthanc_version()}, synced", peer.seconds, f"ratio >= {target}",
                peer.seconds / ours.seconds >= target, None, ours.rounds,
                {name: version(name) for name in ("researchpacs", "pynetdicom")}, (ours.slowest, peer.slowest),
            )  # fmt: skip


def store_to_ours(given: str) -> Clock:
    port = _free_port()
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-c", SERVER, home + "/home", str(port)]
        with _running(command, port, "RESEARCHPACS", stdin=subprocess.PIPE):
            return _send(given, port, "RESEARCHPACS")


def store_to_orthanc(given: str) -> Clock:
    dicom, http = _free_port(), _free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "orthanc.json"
        settings = {
            "StorageDirectory": folder, "IndexDirectory": folder, "HttpPort": http, "DicomPort": dicom,
            "DicomAet": "ORTHANC", "DicomAlwaysAllowStore": True, "SyncStorageArea": True, "Plugins": [],
        }  # fmt: skip
        config.write_text(json.dumps(settings))
        with _running([_orthanc(), str(config)], dicom, "ORTHANC", stderr=subprocess.DEVNULL):
            return _send(given, dicom, "ORTHANC")


def _send(given: str, port: int, aet: str) -> Clock:
    options = json.loads(given)
    files, count = sorted(map(str, Path(options["files"]).iterdir())), options["associations"]
    start = time.perf_counter()
    command = ["storescu", "-aec", aet, "127.0.0.1", str(port)]
    running = [subprocess.Popen([*command, *files[part::count]], env=ENVIRONMENT) for part in range(count)]
    assert [process.wait() for process in running] == [0] * count
    return Clock(seconds=time.perf_counter() - start)


@contextmanager
def _running(command: list[str], port: int, aet: str, **options: int) -> Iterator[None]:
    process = subprocess.Popen(command, env=ENVIRONMENT, **options)
    try:
        for _ in range(600):
            echo = ["echoscu", "-q", "-aec", aet, "127.0.0.1", str(port)]
            if subprocess.run(echo, check=False, capture_output=True).returncode == 0:
                break
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.communicate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _orthanc() -> str:
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None:
        raise FileNotFoundError("Orthanc is missing: apt-get install orthanc")
    return program


def _orthanc_version() -> str:
    found = subprocess.run([_orthanc(), "--version"], capture_output=True, text=True, check=True)
    return found.stdout.split("\n")[0].split()[-1]
