"""Every route asks who comes, holds to its role and sends its answer with the headers that keep a browser from harm."""

import base64
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from researchpacs.server.auth import User, hash_password, read_users, write_user

from .conftest import PASSWORD, Victim, as_file, serving

pytestmark = pytest.mark.server

ROLES = ("read", "write", "admin")
ODD_METHODS = ("HEAD", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "get", "gEt", "POST ", "DELETE")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """A server with users, over one instance."""
    folder = tmp_path_factory.mktemp("guarded")
    for role in ROLES:
        write_user(folder / "users.json", User(role, role, hash_password(PASSWORD)))  # type: ignore[arg-type]
    with serving(folder / "home", folder / "stderr", arguments=("--users", str(folder / "users.json"))) as running:
        assert running.http.post("/instances", content=as_file()).status_code == 200
        yield running
        running.is_well()


def operations(victim: Victim) -> list[tuple[str, str, str]]:
    """Method, path and least role of everything that is described."""
    described = victim.http.get("/openapi.json").json()
    return [
        (method.upper(), re.sub(r"{\w+}", "x", path), operation["x-role"])
        for path, found in described["paths"].items()
        for method, operation in found.items()
    ]


def test_no_route_answers_a_stranger(guarded: Victim) -> None:
    with httpx.Client(base_url=guarded.url) as stranger:
        for method, path, _ in operations(guarded):
            for auth in (None, ("admin", "wrong")) if path == "/system" else (None,):
                answer = stranger.request(method, path, auth=auth)
                assert (answer.status_code, answer.content) == (401, b""), (method, path)
                assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_route_does_for_a_role_what_another_is_for(guarded: Victim) -> None:
    paths = operations(guarded)
    assert {role for *_, role in paths} == set(ROLES)
    with httpx.Client(base_url=guarded.url) as http:
        for method, path, least in paths:
            for role in ROLES[: ROLES.index(least)]:
                answer = http.request(method, path, auth=(role, PASSWORD), content=b"{}")
                assert answer.status_code == 403, (role, method, path)
        # What looks like a question in one way and like a change in another.
        for method, path in (
            ("POST", "//instances"), ("POST", "/instances/"), ("POST", "/./instances"), ("POST", "/TOOLS/bulk-delete"),
            ("POST", "/tools/find/../bulk-delete"), ("POST", "/tools/find/%2e%2e/bulk-delete"),
            ("POST", "/tools/find;/tools/bulk-delete"),
            ("PATCH", "/instances"), ("DELETE", "/tools/find"), ("PUT", "/tools/find"), ("POST", "/tools//bulk-delete"),
            ("POST", "/dicom-web//studies"), ("post", "/instances"), ("DELETE", "//studies/x"),
            ("PROPFIND", "/instances"),
        ):  # fmt: skip
            answer = http.request(method, path, auth=("read", PASSWORD), content=as_file(99))
            assert answer.status_code in (403, 404, 405), (method, path, answer.status_code)
        for header in (
            {"X-HTTP-Method-Override": "DELETE"},
            {"X-Original-URL": "/tools/log-level"},
            {"X-Rewrite-URL": "/x"},
        ):
            answer = http.get("/system", auth=("read", PASSWORD), headers=header)
            assert answer.json()["Name"] == "researchpacs"
    assert guarded.http.get("/statistics").json()["CountInstances"] == 1


def test_no_field_of_authorization_is_a_way_round(guarded: Victim) -> None:
    right = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    fields = ["", "Basic", f"Basic {right}x", f"Basic {right[:-4]}", f"Digest {right}", "Bearer", "Bearer None",
              "Bearer null", "Basic Og==", "Basic YWRtaW4=", "Basic YWRtaW46", f"basic\t{right}",
              f"Basic {right} {right}",
              "Basic " + base64.b64encode(b"admin\0:" + PASSWORD.encode()).decode(),
              "Basic " + base64.b64encode(b"\xff\xfe:" + PASSWORD.encode()).decode(),
              "Basic " + base64.b64encode(b"ADMIN:" + PASSWORD.encode()).decode(), "Basic " + "A" * 20_000]  # fmt: skip
    with httpx.Client(base_url=guarded.url) as http:
        for field in fields:
            assert http.get("/system", headers={"Authorization": field}).status_code == 401, field[:40]
        twice = [("Authorization", f"Basic {right}"), ("Authorization", "Basic AAAA")]
        assert http.get("/system", headers=twice).status_code == 401
        assert http.get("/system", headers={"Authorization": f"bAsIc {right}"}).status_code == 200
        for name in ROLES:
            assert http.get("/system", params={"token": PASSWORD, "user": name}).status_code == 401
        with httpx.Client(base_url=guarded.url, cookies={"token": PASSWORD}) as other:
            assert other.get("/system").status_code == 401


def test_a_page_of_another_origin_changes_nothing(guarded: Victim) -> None:
    """A browser adds the password that it knows for whichever page asks."""
    for headers in (
        {"Origin": "https://evil.example.org"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": guarded.url.replace("127.0.0.1", "localhost").rstrip("/")},
        {"Origin": "https://evil.example.org", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        for method, path in (
            ("POST", "/instances"),
            ("DELETE", "/studies/x"),
            ("POST", "/tools/bulk-delete"),
            ("PUT", "/peers/x"),
        ):
            assert guarded.http.request(method, path, headers=headers, content=b"{}").status_code == 403, headers
        answer = guarded.http.get("/system", headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    for headers in (
        {"Origin": guarded.url.rstrip("/")},
        {"Origin": "https://proxy.example.org", "Sec-Fetch-Site": "same-origin"},
    ):
        assert guarded.http.post("/tools/bulk-delete", headers=headers, json={"Resources": []}).status_code == 200


def test_a_name_that_points_here_opens_nothing_without_a_password(tmp_path: Path) -> None:
    """DNS rebinding: a page's own name is made to point to this machine, where nobody is asked for a password."""
    with serving(tmp_path / "home", tmp_path / "stderr", arguments=("--no-auth",)) as running:
        for host in (
            "evil.example.org",
            "evil.example.org:8042",
            "127.0.0.1.evil.example.org",
            "localhost.evil.org",
            "[",
            "10.0.0.1",
        ):
            assert running.http.get("/system", headers={"Host": host}).status_code == 403, host
        for host in ("localhost", "localhost:8042", "127.0.0.1:1", "[::1]:8042", "app.localhost"):
            assert running.http.get("/system", headers={"Host": host}).status_code == 200, host
        foreign = {"Origin": "https://evil.example.org"}
        assert running.http.post("/tools/bulk-delete", json={"Resources": []}, headers=foreign).status_code == 403


def test_every_answer_carries_what_keeps_a_browser_from_harm(guarded: Victim) -> None:
    ids = {level: guarded.http.get(f"/{level}").json()[0] for level in ("patients", "studies", "series", "instances")}
    tags = guarded.http.get(f"/instances/{ids['instances']}/simplified-tags").json()
    known = {"study": tags["StudyInstanceUID"], "series": tags["SeriesInstanceUID"], "instance": tags["SOPInstanceUID"],
             "frames": "1", "frame": "0", "path": "0010-0010", "operation": "data", "name": "dicom"}  # fmt: skip
    seen: dict[str, set[str]] = {}
    for path, found in guarded.http.get("/openapi.json").json()["paths"].items():
        level = path.split("/")[1]
        sound = re.sub(
            r"{(\w+)}",
            lambda name, level=level: ids.get(level, "x") if name[1] == "id" else known.get(name[1], "x"),
            path,
        )
        for method in found:
            for url in (sound, re.sub(r"{\w+}", "x", path)) if method == "get" else (re.sub(r"{\w+}", "x", path),):
                answer = guarded.http.request(method, url, params=WADO(tags) if url == "/wado" else None)
                seen.setdefault(path, set()).add(str(answer.status_code))
                headers = answer.headers
                assert headers["x-content-type-options"] == "nosniff", url
                assert "default-src 'none'" in headers["content-security-policy"], url
                assert headers["cache-control"] == "no-store", url
                assert headers["referrer-policy"] == "no-referrer", url
                assert "server" not in headers
                kind = headers.get("content-type", "text/plain").partition(";")[0]
                shown = kind in (
                    "application/json",
                    "application/dicom+json",
                    "text/plain",
                    "image/png",
                    "image/jpeg",
                    "image/gif",
                )
                assert shown or headers["content-disposition"].startswith("attachment"), (url, kind)
    assert sum("200" in statuses for statuses in seen.values()) > len(seen) // 2


def WADO(tags: dict[str, Any]) -> dict[str, str]:
    uids = {"studyUID": "StudyInstanceUID", "seriesUID": "SeriesInstanceUID", "objectUID": "SOPInstanceUID"}
    return {"requestType": "WADO", **{name: tags[keyword] for name, keyword in uids.items()}}


def test_no_value_of_a_request_comes_back_as_a_header_or_a_page(guarded: Victim) -> None:
    script = "<script>alert(1)</script>"
    one = guarded.http.get("/studies").json()[0]
    answer = guarded.http.get(
        f"/studies/{one}/archive", params={"filename": f'x"; evil="{script}\r\nX-Evil: yes\r\n\r\n'}
    )
    assert "x-evil" not in answer.headers
    assert "<" not in answer.headers["content-disposition"].replace(script, "") or script not in answer.text
    for path in (
        f"/{script}",
        f"/studies/{script}",
        f"/tools/generate-uid?level={script}",
        f"/dicom-web/studies?{script}=1",
    ):
        answer = guarded.http.get(path)
        assert answer.headers.get("content-type", "application/json").startswith("application/json")


def test_a_role_cannot_make_the_server_call_where_it_likes(guarded: Victim) -> None:
    inner = {"Host": "127.0.0.1", "Port": guarded.port, "AET": "X"}
    with httpx.Client(base_url=guarded.url, auth=("write", PASSWORD)) as writer:
        assert writer.post("/tools/dicom-echo", json=inner).status_code == 403
        assert writer.put("/modalities/x", json=["X", "127.0.0.1", guarded.port]).status_code == 403
        assert writer.put("/peers/x", json=[guarded.url]).status_code == 403
        assert writer.put("/dicom-web/servers/x", json={"Url": guarded.url}).status_code == 403
        for path in (
            "/peers/http%3A%2F%2F127.0.0.1/store",
            "/modalities/127.0.0.1/echo",
            "/dicom-web/servers/127.0.0.1/get",
        ):
            assert writer.post(path, json={}).status_code == 404
        # Below the address of a server that an administrator named, and nowhere else.
        assert guarded.http.put("/dicom-web/servers/own", json={"Url": f"{guarded.url}dicom-web"}).status_code == 200
        for uri in (
            "http://127.0.0.1/",
            "//127.0.0.1/x",
            "/../system",
            "studies/../../system",
            "%2e%2e/system",
            "studies?x#y",
        ):
            answer = writer.post("/dicom-web/servers/own/get", json={"Uri": uri})
            assert answer.status_code in (400, 403, 404, 500, 502), (uri, answer.status_code)
            assert b"researchpacs" not in answer.content.replace(b"researchpacs/", b"")
    guarded.is_well()


def test_a_server_that_is_asked_cannot_redirect_elsewhere(guarded: Victim) -> None:
    asked: list[str] = []

    class Inner(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    class Evil(Inner):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{inner.server_port}/latest/meta-data")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Inner) as inner, ThreadingHTTPServer(("127.0.0.1", 0), Evil) as evil:
        for server in (inner, evil):
            threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{evil.server_port}/"
        for path, body in (("/dicom-web/servers/evil", {"Url": url}), ("/peers/evil", [url])):
            assert guarded.http.put(path, json=body).status_code == 200
        answers = [
            guarded.http.post("/dicom-web/servers/evil/get", json={"Uri": "studies"}),
            guarded.http.post("/dicom-web/servers/evil/qido", json={"Uri": "studies"}),
            guarded.http.get("/peers/evil/system"),
        ]
        for server in (inner, evil):
            server.shutdown()
    assert all(answer.status_code >= 400 for answer in answers)
    assert asked == []
    guarded.is_well()


def test_a_broken_users_file_lets_nobody_in(tmp_path: Path) -> None:
    from researchpacs.errors import InvalidInputError

    path = tmp_path / "users.json"
    for text in ("", "[]", "{}", '{"users": []}', '{"users": {"a": 1}}',
                 '{"users": [{"name": "a", "role": "root", "scrypt": "x$y"}]}',
                 '{"users": [{"name": "", "role": "read", "scrypt": "eA==$eA=="}]}', "[" * 100_000, "\xff",
                 '{"users": [{"name": 5, "role": "read", "scrypt": "eA==$eA=="}]}',
                 '{"users": [{"name": "a", "role": "read", "scrypt": "eA=="}]}',
                 '{"users": [{"name": "a", "role": "read", "scrypt": "eA==$"}]}'):  # fmt: skip
        path.write_text(text, "latin-1")
        with pytest.raises(InvalidInputError):
            read_users(path)
    path.unlink()
    write_user(path, User("a", "read", hash_password(PASSWORD)))
    assert path.stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in path.read_text()
