"""Labels, metadata and attachments over HTTP, as orthanc-api-client and a browser's headers drive them."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest
from orthanc_api_client import OrthancApiClient
from orthanc_api_client.exceptions import HttpError
from starlette.applications import Starlette

import researchpacs as rp
from researchpacs.model import Identity
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.testing import small_ct

pytestmark = pytest.mark.server

Served: TypeAlias = Callable[[Starlette], AbstractContextManager[str]]

CT = small_ct(1)
IDENTITY = Identity("A", "", CT.StudyInstanceUID, CT.SeriesInstanceUID, CT.SOPInstanceUID)
LEVELS = {"patients": "patient", "studies": "study", "series": "series", "instances": "instance"}


@pytest.fixture
def url(home: Path, served: Served) -> Iterator[str]:
    with rp.connect(home) as pacs:
        pacs.ingest([small_ct(1), small_ct(2)])
        with served(create_app(pacs, access=Access())) as url:
            yield url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as client:
        yield client


def _path(plural: str) -> str:
    return f"/{plural}/{IDENTITY.orthanc_id(LEVELS[plural])}"  # type: ignore[arg-type]


@pytest.mark.parametrize("plural", LEVELS)
def test_labels_as_orthanc_api_client_uses_them(url: str, plural: str) -> None:
    client = OrthancApiClient(url)
    resources = getattr(client, plural)
    name = IDENTITY.orthanc_id(LEVELS[plural])  # type: ignore[arg-type]
    assert resources.get_labels(name) == []
    resources.add_labels(name, ["b", "a"])
    assert resources.get_labels(name) == ["a", "b"]
    assert client.get_all_labels() == ["a", "b"]
    assert resources.get_json(name)["Labels"] == ["a", "b"]
    resources.delete_label(name, "a")
    assert resources.get_labels(name) == ["b"]


def test_labels_answer_what_is_not_there_and_what_is_no_label(http: httpx.Client) -> None:
    http.put(f"{_path('studies')}/labels/a").raise_for_status()
    assert http.get(f"{_path('studies')}/labels/a").status_code == 200
    for path in (f"{_path('studies')}/labels/b", f"{_path('series')}/labels/a", "/studies/nope/labels"):
        answer = http.get(path)
        assert (answer.status_code, answer.content) == (404, b"")
    assert http.put("/studies/nope/labels/a").status_code == 404
    assert http.put(f"{_path('studies')}/labels/a%20b").status_code == 400


@pytest.mark.parametrize("plural", LEVELS)
def test_metadata_as_orthanc_api_client_uses_them(url: str, plural: str) -> None:
    resources = getattr(OrthancApiClient(url), plural)
    name = IDENTITY.orthanc_id(LEVELS[plural])  # type: ignore[arg-type]
    assert resources.get_string_metadata(name, "1024", default_value="none") == "none"
    resources.set_string_metadata(name, "1024", content="first")
    value, revision = resources.get_string_metadata_with_revision(name, "1024")
    assert (value, revision) == ("first", f'"0-{hashlib.md5(b"first").hexdigest()}"')
    resources.set_string_metadata(name, "1024", content="second", match_revision=revision)
    assert resources.has_metadata(name, "1024")
    with pytest.raises(HttpError) as error:
        resources.set_string_metadata(name, "1024", content="third", match_revision=revision)
    assert error.value.http_status_code == 409
    assert resources.get_string_metadata(name, "1024") == "second"


def test_what_the_server_keeps_itself_is_read_only_metadata(http: httpx.Client) -> None:
    known = http.get(f"{_path('instances')}/metadata", params={"expand": ""}).json()
    assert known["TransferSyntax"] == "1.2.840.10008.1.2.1"
    assert known["SopClassUid"] == CT.SOPClassUID
    assert known["IndexInSeries"] == "1"
    assert http.get(f"{_path('studies')}/metadata").json() == ["LastUpdate"]
    assert http.put(f"{_path('studies')}/metadata/LastUpdate", content=b"x").status_code == 403
    assert http.put(f"{_path('studies')}/metadata/1023", content=b"x").status_code == 403
    assert http.put(f"{_path('studies')}/metadata/mine", content=b"x").status_code == 404
    assert http.delete(f"{_path('studies')}/metadata/1024").status_code == 404


def test_a_revision_is_checked_both_ways(http: httpx.Client) -> None:
    path = f"{_path('studies')}/metadata/1024"
    first = http.put(path, content=b"one").headers["ETag"]
    assert http.get(path, headers={"If-None-Match": first}).status_code == 304
    assert http.put(path, content=b"two", headers={"If-Match": "5"}).json()["OrthancStatus"] == 3
    late = http.put(path, content=b"two", headers={"If-Match": first.replace("0-", "1-")})
    assert (late.status_code, late.json()["OrthancStatus"]) == (409, 43)
    assert http.delete(path, headers={"If-Match": first}).status_code == 200
    assert http.get(path).status_code == 404


@pytest.mark.parametrize("plural", LEVELS)
def test_attachments_as_orthanc_api_client_uses_them(url: str, plural: str, tmp_path: Path) -> None:
    resources = getattr(OrthancApiClient(url), plural)
    name = IDENTITY.orthanc_id(LEVELS[plural])  # type: ignore[arg-type]
    content = bytes(range(256)) * 8192
    resources.set_attachment(name, "1024", content=content)
    found, revision = resources.get_attachment_with_revision(name, "1024")
    assert found == content
    resources.set_attachment(name, "1024", content="new", match_revision=revision)
    resources.download_attachment(name, "1024", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == b"new"
    with pytest.raises(HttpError) as error:
        resources.set_attachment(name, "1024", content="late", match_revision=revision)
    assert error.value.http_status_code == 409


def test_an_attachment_is_described_and_goes(http: httpx.Client) -> None:
    path = f"{_path('series')}/attachments"
    etag = http.put(f"{path}/1030", content=b"body").headers["ETag"]
    md5 = hashlib.md5(b"body").hexdigest()
    assert etag == f'"0-{md5}"'
    assert http.get(path).json() == ["1030"]
    assert http.get(path, params={"full": ""}).json() == {"1030": 1030}
    assert {key: http.get(f"{path}/1030/{key}").text for key in ("size", "md5", "is-compressed")} == {
        "size": "4",
        "md5": md5,
        "is-compressed": "0",
    }
    info = http.get(f"{path}/1030/info").json()
    assert (info["ContentType"], info["UncompressedSize"], info["UncompressedMD5"]) == (1030, 4, md5)
    assert http.post(f"{path}/1030/verify-md5").json() == {}
    assert http.get(f"{path}/1030/nonsense").status_code == 404
    assert http.delete(f"{path}/1030", headers={"If-Match": etag}).status_code == 200
    assert http.get(path).json() == []


def test_the_file_of_an_instance_is_an_attachment_nobody_can_write(http: httpx.Client, home: Path) -> None:
    path = f"{_path('instances')}/attachments"
    assert http.get(path).json() == ["dicom"]
    content = http.get(f"{path}/dicom/data").content
    assert content[128:132] == b"DICM"
    assert http.get(f"{path}/dicom/md5").text == hashlib.md5(content).hexdigest()
    assert int(http.get(f"{path}/dicom/size").text) == len(content)
    assert http.post(f"{path}/dicom/verify-md5").status_code == 200
    assert http.put(f"{path}/dicom", content=b"x").status_code == 403
    assert http.delete(f"{path}/dicom").status_code == 403
    digest = hashlib.sha256(content).hexdigest()
    stored = home / "archive" / digest[:2] / f"{digest}.dcm"
    stored.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert http.post(f"{path}/dicom/verify-md5").status_code == 500
