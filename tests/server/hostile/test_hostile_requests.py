"""A thousand malformed requests over the described routes, and shapes that no client library would send."""

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

import researchpacs as rp
from researchpacs.server import openapi
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access

from .conftest import STOW, Victim, as_file

pytestmark = pytest.mark.server

COUNT = 1_000 if os.environ.get("RESEARCHPACS_SOAK") else 400

JUNK = [
    "", "*", "?", ".", "..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "\x00", "a\x00b", "%00",
    "'", "''", '"', "' or '1'='1", "'; drop table instances; --", "1) union select sql from sqlite_master --", "\\",
    "\\\\", "a\\b", "🩻" * 40, "\u202e", "é", "\ufffe", "0", "-1", "1e309", "nan", "9" * 400, "2147483648", "[", "[[",
    "{}", "(?P<x>", "a" * 5_000, "*a" * 300, "19000101-", "-", "20240101-20231231", "0010,0010", "00100010",
    "ffffffff", "<script>alert(1)</script>", "${7*7}", "%s%n", "\r\nX-Injected: yes", "true", "null", "PatientName",
    "1.2.840.10008.1.2.4.80",
]  # fmt: skip
KEYS = [
    "Level", "Query", "Resources", "Replace", "Remove", "Keep", "Force", "Tags", "Content", "Parent", "Labels",
    "Limit", "Since", "Expand", "OrderBy", "RequestedTags", "ResponseContent", "MetadataQuery", "LabelsConstraint",
    "Priority", "Asynchronous", "Synchronous", "Transcode", "Filename", "KeepSource", "PrivateCreator", "Url", "Host",
    "Port", "AET", "Uri", "Arguments", "HttpHeaders", "TargetAet", "Series", "Instances", "Metadata", "Short", "Full",
    "CaseSensitive",
]  # fmt: skip
LEVELS = ["Patient", "Study", "Series", "Instance"]


def words() -> st.SearchStrategy[str]:
    return st.one_of(st.sampled_from(JUNK), st.text(max_size=30))


def documents(names: list[str]) -> st.SearchStrategy[Any]:
    """JSON that nearly is what a route wants, with its names, and a wrong thing somewhere."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), words(), st.sampled_from(names), st.sampled_from(LEVELS)
    )
    values = st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words(), inner, max_size=3), max_leaves=8
    )
    return st.one_of(
        st.dictionaries(st.sampled_from(KEYS), values, max_size=6),
        st.fixed_dictionaries(
            {"Level": st.sampled_from(LEVELS), "Query": st.dictionaries(words(), words(), max_size=3)}
        ),
        st.fixed_dictionaries({"Resources": st.lists(st.sampled_from(names) | words(), max_size=3), "Replace": values}),
        values,
    )


class Requests:
    """Draws requests over the description of a running server."""

    def __init__(self, victim: Victim) -> None:
        described = victim.http.get("/openapi.json").json()
        self.operations = [
            (method.upper(), path, operation)
            for path, operations in described["paths"].items()
            for method, operation in operations.items()
            # Whatever a stranger names as a peer must not be reached by a test.
            if not path.startswith(("/modalities", "/peers", "/dicom-web/servers", "/tools/dicom-echo", "/queries"))
            or method == "get"
        ]
        found = victim.http.post("/tools/find", json={"Level": "Instance", "Query": {}, "Expand": True}).json()[0]
        tags = victim.http.get(f"/instances/{found['ID']}/simplified-tags").json()
        self.known = {
            "study": tags["StudyInstanceUID"],
            "series": tags["SeriesInstanceUID"],
            "instance": tags["SOPInstanceUID"],
            "frames": "1",
            "frame": "0",
            "name": "1024",
            "label": "a",
        }
        self.ids = {
            level: victim.http.get(f"/{level}").json()[0] for level in ("patients", "studies", "series", "instances")
        }

    def path(self, draw: st.DrawFn, operation: dict[str, Any], path: str) -> str:
        for parameter in operation["parameters"]:
            if parameter["in"] != "path":
                continue
            name = parameter["name"]
            sound = self.ids.get(path.split("/")[1], "x") if name == "id" else self.known.get(name, "x")
            value = sound if draw(st.integers(0, 3)) else draw(words())
            path = path.replace(f"{{{name}}}", quote(value, safe="%/" if draw(st.booleans()) else ""))
        return path

    def request(self, draw: st.DrawFn) -> tuple[str, str, dict[str, Any]]:
        method, template, operation = draw(st.sampled_from(self.operations))
        path = self.path(draw, operation, template)
        names = [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "query"]
        keys = st.one_of(st.sampled_from(names), words()) if names else words()
        query = "&".join(
            f"{quote(key)}={quote(value)}" for key, value in draw(st.lists(st.tuples(keys, words()), max_size=3))
        )
        options: dict[str, Any] = {
            "headers": {"Accept": draw(st.sampled_from(["*/*", *JUNK])).encode("utf-8", "replace")}
        }
        options["headers"] = {
            key: value for key, value in options["headers"].items() if not set(value) & set(b"\r\n\0")
        }
        kinds = list(operation.get("requestBody", {}).get("content", {}))
        if kinds:
            kind = draw(st.sampled_from([*kinds, "text/html", "multipart/form-data; boundary=b", ""]))
            text = json.dumps(draw(documents([*self.ids.values()])))
            cut = draw(st.integers(0, len(text)))
            contents = [text.encode(), text[:cut].encode(), draw(st.binary(max_size=400)), as_file()[: 10 * cut]]
            options["content"] = draw(st.sampled_from(contents))
            options["headers"]["Content-Type"] = kind if kind != "multipart/related" else STOW["Content-Type"]
        # An own deletion would leave nothing to attack.
        method = (
            draw(st.sampled_from([method, method, method, "HEAD", "OPTIONS", "PATCH"])) if method != "DELETE" else "GET"
        )
        return method, f"{path}?{query}" if query else path, options


def test_no_malformed_request_gets_anything_but_an_answer_of_the_protocol(victim: Victim) -> None:
    drawn, seen = Requests(victim), dict[int, int]()

    @settings(
        max_examples=COUNT, deadline=None, phases=[Phase.generate, Phase.shrink], derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.composite(drawn.request)())
    def attack(request: tuple[str, str, dict[str, Any]]) -> None:
        method, path, options = request
        try:
            answer = victim.http.request(method, path, **options)
        except httpx.InvalidURL:
            return
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        assert answer.status_code < 500 or answer.status_code in (501, 507), answer.text
        assert "Traceback" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        if answer.status_code >= 400 and answer.content and method != "HEAD":
            told = answer.json()
            assert "HttpStatus" in told or "0008119A" in told or "00081198" in told

    attack()
    assert {200, 400, 404, 405} <= set(seen)
    victim.is_well()


POST = b"POST /instances HTTP/1.1\r\nHost: x\r\n"
RAW = [
    b"GET /system HTTP/1.1\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"\x00" * 100_000,
    b"\r\n" * 50_000,
    b"GET " + b"/" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /system\r\n\r\n",
    b"GET /system HTTP/1.1\r\n\r\n",
    b"GET /system HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /system HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET /system HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(20_000)) + b"\r\n",
    POST + b"Content-Length: -1\r\n\r\nx",
    POST + b"Content-Length: 1e3\r\n\r\nx",
    POST + b"Content-Length: " + b"9" * 6_000 + b"\r\n\r\nx",
    POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n",
    POST + b"Transfer-Encoding: chunked\r\n\r\n4;" + b"a" * 100_000 + b"\r\nabcd\r\n0\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("data", RAW, ids=lambda data: f"{len(data)}-{data[:60]!r}")
def test_what_is_no_request_is_refused_and_never_two_requests(victim: Victim, data: bytes) -> None:
    field = f"Authorization: {victim.authorization()}\r\n".encode()
    answer = victim.raw(data.replace(b"Host: x\r\n", b"Host: x\r\n" + field), patience_s=1.0)
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 401 ", b"HTTP/1.1 404 ", b"HTTP/1.1 413 "))
    victim.is_well()


def hostile_texts() -> Iterator[str]:
    yield from JUNK
    yield "*" + "a*" * 400 + "b"
    yield "a" * 1_000_000
    yield "\\".join(f"1.{number}*" for number in range(20_000))
    yield "\\".join(f"1.{number}" for number in range(100_000))


def test_hostile_keys_find_nothing_and_break_nothing(victim: Victim) -> None:
    studies = victim.http.get("/studies").json()
    for text in hostile_texts():
        for keyword in ("PatientID", "PatientName", "StudyDate", "Manufacturer", "ImageComments", "ModalitiesInStudy"):
            query = {"Level": "Study", "Query": {keyword: text}}
            answer = victim.http.post("/tools/find", json=query)
            assert answer.status_code in (200, 400), (keyword, text[:60], answer.text)
            if answer.status_code == 200 and set("'\"\0") & set(text):
                assert answer.json() == [], (keyword, text)
        for keyword in ("PatientID", "PatientName", "StudyDate", "Rows", "Manufacturer", "includefield", "limit"):
            if len(text) < 50_000:
                answer = victim.http.get("/dicom-web/studies", params={keyword: text})
                assert answer.status_code in (200, 400), (keyword, text[:60], answer.text)
    assert victim.http.get("/studies").json() == studies
    victim.is_well()


def test_a_pattern_cannot_keep_the_server_busy(victim: Victim) -> None:
    """Matching goes back for every star in a careless implementation; one long value is enough then."""
    long = as_file(
        900,
        PatientID="BOMB",
        ImageComments="a" * 10_000,
        SeriesDescription="a" * 10_000,
        DeviceSerialNumber="a" * 10_000,
    )
    assert victim.http.post("/instances", content=long).status_code == 200
    pattern = "*a" * 12 + "*b"
    for keyword in ("ImageComments", "SeriesDescription", "DeviceSerialNumber"):
        for level in ("Series", "Instance"):
            query = {"Level": level, "Query": {"PatientID": "BOMB", keyword: pattern}}
            assert victim.http.post("/tools/find", json=query, timeout=60).json() == []
        params = {"PatientID": "BOMB", keyword: pattern}
        assert victim.http.get("/dicom-web/instances", params=params, timeout=60).json() == []
        params[keyword] = "*a" * 12
        assert len(victim.http.get("/dicom-web/instances", params=params, timeout=60).json()) == 1
    victim.is_well()


def test_bodies_that_grow_in_memory_are_refused(victim: Victim) -> None:
    one = victim.http.get("/instances").json()[0]
    assert victim.http.put("/peers/nobody", json={"Url": "http://localhost:9/"}).status_code == 200
    before = victim.forget_peak()
    for body in (
        b"[" * 8_000_000,
        b'{"Resources": [' + b"[]," * 5_000_000 + b"[]]}",
        b'{"a":' * 2_000_000,
        b"[1" + b",1" * 7_000_000,
    ):
        for path in ("/tools/find", "/tools/bulk-delete", f"/instances/{one}/modify", "/peers/nobody/store"):
            assert victim.http.post(path, content=body).status_code in (400, 413)
    for path in ("/tools/find", f"/instances/{one}/modify", f"/instances/{one}/metadata/1024"):
        method = "PUT" if "metadata" in path else "POST"
        assert victim.http.request(method, path, content=(bytes(1 << 20) for _ in range(40))).status_code == 413
    assert victim.http.post("/peers/nobody/store", content=b'["\\ud800"]').status_code == 400
    assert victim.peak_mb - before < 200
    assert victim.http.delete("/peers/nobody").status_code == 200
    victim.is_well()


PATHS = [
    "/instances/../../etc/passwd", "/instances/%2e%2e/%2e%2e/etc/passwd",
    "/instances/..%2f..%2f..%2fetc%2fpasswd/file", "//etc/passwd", "/%2fetc%2fpasswd", "/instances/%00/file",
    "/instances/x%00.dcm/file", "/jobs/../../ledger.sqlite/archive", "/jobs/%2e%2e%2fledger.sqlite/archive",
    "/dicom-web/studies/..%2f..%2fledger.sqlite", "/instances/" + "a/" * 20_000, "/dicom-web/studies/" + "1" * 50_000,
    "/server.json", "/ledger.sqlite", "/format.json", "/%c0%ae%c0%ae/etc/passwd", "/instances\\..\\..\\ledger.sqlite",
    "/instances/;/file", "/dicom-web/studies/%252e%252e%252f/metadata",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:50])
def test_no_path_leads_to_a_file_of_the_server(victim: Victim, path: str) -> None:
    field = f"Authorization: {victim.authorization()}\r\n".encode()
    answer = victim.raw(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + field + b"\r\n")
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), answer[:200]
    assert b"root:" not in answer
    assert b"SQLite" not in answer


def test_the_description_is_of_every_route_and_nothing_else(home: Any) -> None:
    with rp.connect(home) as pacs:
        routes = [route for route in create_app(pacs, access=Access()).routes if isinstance(route, Route)]
    described = openapi.describe(routes)
    there = {(method, route.path.replace(":path}", "}")) for route in routes for method in route.methods - {"HEAD"}}
    told = {(method.upper(), path) for path, operations in described["paths"].items() for method in operations}
    assert told == there
    assert len({operation["operationId"] for one in described["paths"].values() for operation in one.values()}) == len(
        told
    )
    for pattern, _ in openapi.QUERIES:
        assert any(openapi.fits(pattern, path) for path in described["paths"]), f"no route has {pattern}"
    for _, pattern, _ in openapi.BODIES:
        assert any(openapi.fits(pattern, path) for path in described["paths"]), f"no route has {pattern}"
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["x-role"] in ("read", "write", "admin"), (method, path)
            assert [one["name"] for one in operation["parameters"] if one["in"] == "path"] == [
                part[1:-1] for part in path.split("/") if part.startswith("{")
            ]


def test_the_description_is_behind_the_same_door(victim: Victim) -> None:
    assert httpx.get(f"{victim.url}openapi.json").status_code == 401
    assert victim.http.get("/openapi.json").json()["openapi"] == "3.1.0"
