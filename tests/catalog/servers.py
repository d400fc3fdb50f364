"""Debian's PostgreSQL and an S3-compatible store (moto in server mode), both on loopback, for the length of a block."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BUCKET = "research"
PASSWORD = "wild-roses-4711"
ACCESS_KEY, SECRET_KEY = "AKIAWILDROSES", "thorns-0815"
_STORE = """
import sys
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
_STARTS_S = 60


@dataclass(frozen=True)
class Servers:
    """A database and a store that are running."""

    port: int
    """Of PostgreSQL."""
    endpoint: str
    """Of the store."""

    def settings(self, **changes: str) -> str:
        """What HOME/researchpacs.toml says to have the catalog there."""
        told = {
            "metadata": f"postgresql://researchpacs:{PASSWORD}@127.0.0.1:{self.port}/postgres",
            "data": f"s3://{BUCKET}/catalogs",
            "endpoint": self.endpoint,
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
        } | changes
        lines = {name: f'{name} = "{value}"' for name, value in told.items() if value}
        catalog = [lines.pop(name) for name in ("metadata", "data")]
        return "\n".join(["[catalog]", *catalog, "[s3]", *lines.values(), ""])

    def psql(self, statement: str) -> str:
        """Ask the database with its own client."""
        done = subprocess.run(
            ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "researchpacs", "-Atc", statement, "postgres"],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    @property
    def s3(self) -> Any:
        """Amazon's own client of the store."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
        )

    def files(self, folder: str = "") -> list[str]:
        """Names of what is in the bucket below a folder."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=folder)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]


@contextmanager
def running() -> Iterator[Servers]:
    """Start both."""
    with _postgresql() as port, _store() as endpoint:
        servers = Servers(port, endpoint)
        servers.s3.create_bucket(Bucket=BUCKET)
        yield servers


@contextmanager
def _postgresql() -> Iterator[int]:
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("PostgreSQL is missing: apt-get install postgresql")
    # It refuses to run as root, whose temporary folders no other user can enter.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="researchpacs-"))
    folder.chmod(0o755)
    password = folder / "password"
    password.write_text(f"{PASSWORD}\n")
    if user:
        shutil.chown(folder, user)
        shutil.chown(password, user)
    try:
        subprocess.run(
            [
                *(programs[-1] / "initdb", "-D", folder / "data", "-U", "researchpacs", "--pwfile", password),
                *("--auth=scram-sha-256", "--no-sync", "--no-locale", "--encoding=UTF8"),
            ],
            user=user,
            cwd="/",
            check=True,
            stdout=subprocess.DEVNULL,
        )
        yield from _serving(programs[-1], folder, user)
    finally:
        shutil.rmtree(folder)


def _serving(programs: Path, folder: Path, user: str | None) -> Iterator[int]:
    for _ in range(5):  # until a free port is still free when the server takes it
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [
                    *(programs / "postgres", "-D", folder / "data", "-p", str(port), "-k", ""),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
                ],
                user=user,
                cwd="/",
                stdout=log,
                stderr=log,
            )
        try:
            if _answers(programs, server, port):
                yield port
                return
        finally:
            server.send_signal(signal.SIGINT)  # not waiting for clients
            server.wait(_STARTS_S)
    raise AssertionError((folder / "log").read_text())


def _answers(programs: Path, server: subprocess.Popen[bytes], port: int) -> bool:
    end = time.monotonic() + _STARTS_S
    while server.poll() is None and time.monotonic() < end:
        ready = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        if subprocess.run(ready, check=False).returncode == 0:
            return True
        time.sleep(0.05)
    return False


@contextmanager
def _store() -> Iterator[str]:
    server = subprocess.Popen(
        [sys.executable, "-c", _STORE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.stdin.close()
        server.stdout.close()
        server.wait(_STARTS_S)
