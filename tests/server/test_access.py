"""Who comes in, to what, and where a server refuses to start."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

import researchpacs as rp
from researchpacs.errors import AccessError, ConflictError, InvalidInputError
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access, User, hash_password, read_users, write_user
from researchpacs.server.lock import serving
from researchpacs.server.serve import Address, access_for, check_address
from researchpacs.testing import small_ct

PASSWORD = "correct horse"
ROLES = ("read", "write", "admin")


@pytest.fixture(scope="module")
def users() -> dict[str, User]:
    return {role: User(role, role, hash_password(PASSWORD)) for role in ROLES}


@pytest.fixture
def client(served, home: Path, users: dict[str, User]) -> Iterator[httpx.Client]:
    with (
        rp.connect(home) as pacs,
        served(create_app(pacs, access=Access(users=users))) as url,
        httpx.Client(base_url=url) as opened,
    ):
        yield opened


def test_nobody_comes_in_without_a_right_password(client):
    for auth in (None, ("read", "wrong"), ("nobody", PASSWORD), ("read", "")):
        answer = client.get("/system", auth=auth)
        assert (answer.status_code, answer.content) == (401, b"")
        assert answer.headers["www-authenticate"].startswith("Basic")
    for header in ("Basic", "Basic %%%", "Bearer", "Bearer x", "Digest x", "Basic " + "QQ=="):
        assert client.get("/system", headers={"Authorization": header}).status_code == 401
    for path in ("/", "/nothing", "/dicom-web/studies", "/instances/x/file"):
        assert client.get(path).status_code == 401


def test_a_role_may_do_what_it_says_and_no_more(client):
    for method, path, least in (
        ("GET", "/studies", "read"),
        ("POST", "/tools/find", "read"),
        ("POST", "/instances", "write"),
        ("DELETE", "/studies/x", "write"),
        ("POST", "/dicom-web/studies", "write"),
        ("PUT", "/studies/x/labels/a", "write"),
        ("PUT", "/modalities/x", "admin"),
        ("DELETE", "/peers/x", "admin"),
        ("PUT", "/tools/log-level", "admin"),
    ):
        for role in ROLES:
            answer = client.request(method, path, auth=(role, PASSWORD), content=b"{}")
            assert (answer.status_code == 403) == (ROLES.index(role) < ROLES.index(least)), (role, method, path)
            assert answer.status_code != 401


def test_a_role_holds_below_a_path_and_with_doubled_slashes(client):
    for path in ("//instances", "/instances/", "/tools/../instances"):
        assert client.post(path, auth=("read", PASSWORD), content=b"x").status_code in (403, 404)


def test_a_token_is_a_bearer_or_a_password(served, home):
    access = Access.with_new_token()
    assert access.token
    assert access.token not in repr(access)
    with rp.connect(home) as pacs, served(create_app(pacs, access=access)) as url:
        assert httpx.get(f"{url}/system").status_code == 401
        assert httpx.get(f"{url}/system", headers={"Authorization": f"Bearer {access.token}"}).status_code == 200
        assert httpx.get(f"{url}/system", auth=("anybody", access.token)).status_code == 200


def test_a_users_file_holds_no_password_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "users.json"
    for name, role in (("ada", "read"), ("bob", "admin"), ("ada", "write")):
        write_user(path, User(name, role, hash_password(PASSWORD)))
    assert PASSWORD not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert {name: user.role for name, user in read_users(path).items()} == {"ada": "write", "bob": "admin"}
    with pytest.raises(InvalidInputError, match="8 characters"):
        hash_password("short")
    path.write_text('{"users": [{"name": "x"}]}')
    with pytest.raises(InvalidInputError, match="cannot be read as a users file"):
        read_users(path)


def test_other_machines_need_users_and_tls(users, tmp_path):
    everywhere, named = Address("0.0.0.0"), Access(users=users)
    for access in (Access(), Access.with_new_token()):
        with pytest.raises(AccessError, match="users are needed"):
            check_address(everywhere, access, insecure=True)
    with pytest.raises(AccessError, match="without TLS"):
        check_address(everywhere, named, insecure=False)
    check_address(everywhere, named, insecure=True)
    check_address(Address("0.0.0.0", certificate=tmp_path / "chain.pem"), named, insecure=False)
    for host in ("127.0.0.1", "localhost", "::1"):
        check_address(Address(host), Access(), insecure=False)
    with pytest.raises(AccessError):
        check_address(Address("::"), Access(), insecure=False)
    with pytest.raises(InvalidInputError, match="contradict"):
        access_for(users=tmp_path, no_auth=True)


def test_a_second_server_on_a_home_is_told_who_holds_it(tmp_path):
    with serving(tmp_path, "http://127.0.0.1:1/"):
        seconds = []
        for _ in range(5):  # it waits for nothing; what else the machine does is not always there
            begun = time.monotonic()
            with (
                pytest.raises(ConflictError, match=rf"by process {os.getpid()} at http://127.0.0.1:1/ since"),
                serving(tmp_path, "http://127.0.0.1:2/"),
            ):
                pass
            seconds.append(time.monotonic() - begun)
        assert min(seconds) < 1.0
    with serving(tmp_path, "http://127.0.0.1:2/"):
        pass


@pytest.mark.server
def test_serve_prints_a_token_that_opens_it_and_ends_when_told(home):
    with _serve(home) as (process, url, token):
        assert httpx.get(f"{url}system").status_code == 401
        http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"})
        with http:
            buffer = BytesIO()
            small_ct().save_as(buffer, enforce_file_format=True)
            assert http.post("/instances", content=buffer.getvalue()).json()["Status"] == "Success"
            second = subprocess.run(_command(home), capture_output=True, text=True, timeout=30, check=False)
            assert second.returncode == 1
            assert f"by process {process.pid}" in second.stderr
            same_port = [*_command(home), "--port", str(httpx.URL(url).port)]
            third = subprocess.run(same_port, capture_output=True, text=True, timeout=30, check=False)
            assert f"by process {process.pid}" in third.stderr
            assert http.get("/statistics").json()["CountInstances"] == 1
            node = AE()
            node.add_requested_context(Verification)
            association = node.associate("127.0.0.1", http.get("/system").json()["DicomPort"], ae_title="TRIAL")
            assert association.send_c_echo().Status == 0x0000
            association.release()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) in (0, -signal.SIGTERM)
    with rp.connect(home) as pacs:
        assert len(pacs.search("instance")) == 1


@pytest.mark.server
def test_ctrl_c_ends_it_in_order_and_without_a_word(home):
    with subprocess.Popen(_command(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=15)
    assert (process.returncode, complaints) == (0, "")


@pytest.mark.server
def test_a_half_sent_request_holds_up_nobody(home):
    with _serve(home) as (_, url, token):
        port = int(re.search(r":(\d+)/", url).group(1))
        stuck = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
        try:
            for connection in stuck:
                connection.sendall(b"POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: 4294967295\r\n\r\nDICM")
            assert httpx.get(f"{url}system", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        finally:
            for connection in stuck:
                connection.close()


def _command(home: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "researchpacs",
        "--home",
        str(home),
        "serve",
        "--port",
        "0",
        "--dimse-port",
        "0",
        "--aet",
        "TRIAL",
    ]


@contextmanager
def _serve(home: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    with subprocess.Popen(_command(home), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split(" at ")[1].strip()
            token = re.search(r"token: (\S+)", process.stdout.readline()).group(1)
            yield process, url, token
        finally:
            process.kill()


def test_an_unreadable_note_of_the_holder_changes_nothing(tmp_path):
    with serving(tmp_path, "http://127.0.0.1:1/"):
        (tmp_path / "server.json").write_text(json.dumps(["?"]))
        with pytest.raises(ConflictError, match="is served already;"), serving(tmp_path, "x"):
            pass
