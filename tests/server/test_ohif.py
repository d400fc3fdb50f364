"""OHIF at a port of its own: which build is taken, how its files are served, and who gets them."""

import base64
import gzip
import hashlib
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from researchpacs.errors import InvalidInputError
from researchpacs.server.auth import User, hash_password, write_user
from researchpacs.server.ohif import find_build
from researchpacs.testing import small_ct

from .conftest import Started

pytestmark = pytest.mark.server

PAGE = (
    '<!doctype html><html><head><script>window.PUBLIC_URL="/"</script><script src="/app-config.js"></script>'
    '<script defer src="/app.bundle.0123456789abcdef.js"></script></head><body></body></html>'
)
BUNDLE = "console.log('a viewer');\n" * 4000
SECRET = "what stands beside the build"
PASSWORD = "correct horse"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


class Running(NamedTuple):
    """A started server."""

    archive: httpx.Client
    ohif: httpx.Client
    build: Path


def write_build(folder: Path) -> Path:
    """A page, a configuration and files of each kind, as a build of OHIF has them."""
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "app-config.js").write_text("window.config = { dataSources: ['https://elsewhere.example.org'] };")
    (folder / "app.bundle.0123456789abcdef.js").write_text(BUNDLE)
    (folder / "fedcba9876543210.wasm").write_bytes(b"\0asm" + bytes(range(256)) * 64)
    (folder / "app.bundle.css").write_text("body { color: white }")
    (folder / "assets" / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder.parent / "secret.txt").write_text(SECRET)
    (folder / "assets" / "out.txt").symlink_to(folder.parent / "secret.txt")
    return folder


@pytest.fixture(scope="module")
def running(started: Started, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`researchpacs serve --ohif` with two users, as a person starts it."""
    place = tmp_path_factory.mktemp("ohif")
    build, users = write_build(place / "package" / "dist"), place / "users.json"
    for role in ("read", "write"):
        write_user(users, User(role, role, hash_password(PASSWORD)))
    options = ("--users", users, "--ohif", place / "package", "--ohif-port", "0")
    with started(place / "home", *options) as (archive, login, ohif):
        assert login == "log in as one of the users"
        urls = archive.split(" at ")[1], ohif.removeprefix("OHIF: ")
        with httpx.Client(base_url=urls[0]) as one, httpx.Client(base_url=urls[1]) as other:
            one.auth = other.auth = ("read", PASSWORD)
            yield Running(one, other, build)


@pytest.mark.parametrize("place", ["", "dist", "package/dist", "node_modules/@ohif/app/dist"])
def test_a_build_is_found_where_npm_puts_it(tmp_path: Path, place: str) -> None:
    build = write_build(tmp_path / "here" / place)
    assert find_build(tmp_path / "here").samefile(build)


def test_a_folder_without_a_build_is_refused_with_what_to_do(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere", Path(__file__)):
        with pytest.raises(InvalidInputError, match="npm pack @ohif/app"):
            find_build(folder)
    build = write_build(tmp_path / "dist")
    (build / "index.html").write_text(PAGE.replace('src="/app', 'src="/viewer/app'))
    with pytest.raises(InvalidInputError, match="made for a path below"):
        find_build(tmp_path)


def test_the_viewer_is_for_those_the_archive_knows(running: Running) -> None:
    for path in ("/", "/app-config.js", "/app.bundle.css", "/viewer", "/nothing", "/dicom-web/studies"):
        answer = httpx.get(running.ohif.base_url.join(path), headers=BROWSER)
        assert (answer.status_code, answer.content) == (401, b"")
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert running.ohif.get(path, headers=BROWSER, auth=("read", "wrong")).status_code == 401


def test_one_certificate_is_for_both_addresses(started: Started, tmp_path: Path) -> None:
    build = write_build(tmp_path / "dist")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "chain.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    options = ("--tls-cert", tmp_path / "chain.pem", "--tls-key", tmp_path / "key.pem", "--ohif", build)
    trusting = ssl.create_default_context(cafile=tmp_path / "chain.pem")
    with started(tmp_path / "home", *options, "--ohif-port", "0") as (archive, token, ohif):
        auth = ("any", token.split()[1])
        for url, path in ((archive.split(" at ")[1], "system"), (ohif.split()[1], "dicom-web/studies")):
            assert url.startswith("https://")
            assert httpx.get(url + path, verify=trusting, auth=auth).status_code == 200
            with pytest.raises(httpx.TransportError):
                httpx.get(url.replace("https", "http") + path)
        assert httpx.get(ohif.split()[1], verify=trusting, auth=auth, headers=BROWSER).text == PAGE


def test_our_configuration_stands_in_place_of_the_builds(running: Running) -> None:
    answer = running.ohif.get("/app-config.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "${window.location.origin}/dicom-web" in answer.text
    assert "elsewhere.example.org" not in answer.text
    assert "elsewhere.example.org" in (running.build / "app-config.js").read_text()


def test_the_viewer_and_dicomweb_are_one_origin_and_nothing_else_is_there(running: Running) -> None:
    with BytesIO() as buffer:
        small_ct().save_as(buffer, enforce_file_format=True)
        stored = running.archive.post("/instances", content=buffer.getvalue(), auth=("write", PASSWORD))
    assert stored.json()["Status"] == "Success"
    (study,) = running.ohif.get("/dicom-web/studies").json()
    assert study["00081190"]["Value"][0].startswith(f"{running.ohif.base_url}dicom-web/studies/")
    assert running.archive.get("/system").status_code == 200
    for path in ("/system", "/studies", "/instances", "/wado", "/dicom-webs"):
        assert running.ohif.get(path).status_code == 404
    assert running.ohif.post("/instances", content=b"x", auth=("write", PASSWORD)).status_code in (404, 405)


def test_roles_hold_and_pages_of_other_origins_change_nothing(running: Running) -> None:
    form = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    foreign = {**form, "Origin": "https://elsewhere.example.org", "Sec-Fetch-Site": "cross-site"}
    asked = [
        running.ohif.post("/dicom-web/studies", content=b"--b--", headers=form),
        running.ohif.post("/dicom-web/studies", content=b"--b--", headers=foreign, auth=("write", PASSWORD)),
        running.ohif.post("/dicom-web/studies", content=b"--b--", headers=form, auth=("write", PASSWORD)),
    ]
    assert [answer.status_code for answer in asked[:2]] == [403, 403]
    assert asked[2].status_code not in (401, 403)


def test_files_go_out_under_their_types_and_say_how_long_they_hold(running: Running) -> None:
    for path, media_type, kept in (
        ("/app.bundle.0123456789abcdef.js", "text/javascript", "immutable"),
        ("/fedcba9876543210.wasm", "application/wasm", "immutable"),
        ("/app.bundle.css", "text/css", "no-cache"),
        ("/assets/logo.svg", "image/svg+xml", "no-cache"),
        ("/index.html", "text/html", "no-cache"),
    ):
        answer = running.ohif.get(path)
        assert answer.headers["content-type"].partition(";")[0] == media_type
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert kept in answer.headers["cache-control"]
        assert "private" in answer.headers["cache-control"]
        again = running.ohif.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_a_new_page_of_the_same_size_and_date_is_not_taken_for_the_old_one(running: Running) -> None:
    page = running.build / "index.html"
    before = running.ohif.get("/index.html")
    held = page.stat()
    page.unlink()
    page.write_text(PAGE.replace("0123456789abcdef", "0123456789abcdee"))
    os.utime(page, ns=(held.st_atime_ns, held.st_mtime_ns))
    try:
        after = running.ohif.get("/index.html", headers={"If-None-Match": before.headers["etag"]})
        assert after.status_code == 200
        assert after.text != before.text
    finally:
        page.write_text(PAGE)


def test_large_files_are_compressed_for_those_who_take_it(running: Running) -> None:
    path = "/app.bundle.0123456789abcdef.js"
    for coding, compressed in (("gzip, br", True), ("identity", False), ("gzip;q=0", False)):
        with running.ohif.stream("GET", path, headers={"Accept-Encoding": coding}) as answer:
            raw = b"".join(answer.iter_raw())
        assert (answer.headers.get("content-encoding") == "gzip") == compressed
        assert "accept-encoding" in answer.headers["vary"].lower()
        assert int(answer.headers["content-length"]) == len(raw)
        assert (gzip.decompress(raw) if compressed else raw).decode() == BUNDLE
        assert not compressed or len(raw) < len(BUNDLE) / 4
    part = running.ohif.get(path, headers={"Range": "bytes=8-11"})
    assert (part.status_code, part.text) == (206, BUNDLE[8:12])


def test_the_page_comes_for_the_viewers_own_addresses_and_for_nothing_else(running: Running) -> None:
    for path in ("/", "/viewer?StudyInstanceUIDs=1.2", "/segmentation", "/viewer/dicomweb"):
        assert running.ohif.get(path, headers=BROWSER).text == PAGE
    for path in ("/viewer.js", "/assets/nothing.png", "/0123.wasm"):
        assert running.ohif.get(path, headers=BROWSER).status_code == 404
    # A script that asks for data gets no page for an answer.
    assert running.ohif.get("/viewer", headers={"Accept": "application/dicom+json"}).status_code == 404
    assert running.ohif.post("/viewer", auth=("write", PASSWORD)).status_code == 405


def test_only_the_builds_own_scripts_run(running: Running) -> None:
    answer = running.ohif.get("/viewer", headers=BROWSER)
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    inline = base64.b64encode(hashlib.sha256(b'window.PUBLIC_URL="/"').digest()).decode()
    assert re.findall(r"'sha256-([^']+)'", policy["script-src"]) == [inline]
    assert "unsafe-inline" not in policy["script-src"]
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"\*|https?:", answer.headers["content-security-policy"])


def test_no_path_leads_out_of_the_build(running: Running) -> None:
    for path in (
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..%5csecret.txt",
        "/assets/../../secret.txt",
        "/assets/out.txt",
        "//secret.txt",
        f"/{running.build.parent}/secret.txt",
        "/secret.txt%00.js",
        "/dicom-web/../secret.txt",
        "/%ff%fe",
        "/" + "a" * 5000,
    ):
        answer = raw_get(running.ohif, path)
        assert re.match(r"HTTP/1.1 (200|400|404|405|414) ", answer), (path, answer[:40])
        assert SECRET not in answer
        assert not answer.startswith("HTTP/1.1 200") or PAGE in answer


def raw_get(client: httpx.Client, path: str) -> str:
    """Ask for a path as it stands; HTTP libraries make a decent one of it."""
    login = base64.b64encode(f"read:{PASSWORD}".encode()).decode()
    fields = f"Host: x\r\nAuthorization: Basic {login}\r\nAccept: text/html\r\nConnection: close\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode("utf-8", "replace")
