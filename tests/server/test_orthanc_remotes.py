"""Other servers by Orthanc's REST, ``/peers`` and ``/dicom-web/servers``, beside a real Orthanc that does the same."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from orthanc_api_client import OrthancApiClient

import researchpacs as rp
from researchpacs._pacs import Pacs
from researchpacs.model import Identity
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.testing import small_ct

from .conftest import RealOrthanc, Served

pytestmark = pytest.mark.server

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
CT = small_ct(1)
OTHER = small_ct(3, StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4", StudyDescription="far")
STUDY = Identity("A", "", CT.StudyInstanceUID, "", "").orthanc_id("study")
FAR = Identity("A", "", OTHER.StudyInstanceUID, "", "").orthanc_id("study")
UNKNOWN = "00000000-00000000-00000000-00000000-00000000"


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory, served: Served) -> Iterator[tuple[str, str, Pacs]]:
    """The server that all send to and fetch from; it asks for a password."""
    access = Access.with_new_token()
    with rp.connect(tmp_path_factory.mktemp("far") / "home") as pacs:
        pacs.ingest([OTHER])
        with served(create_app(pacs, access=access)) as url:
            yield url, str(access.token), pacs


@pytest.fixture(scope="module")
def ours(
    tmp_path_factory: pytest.TempPathFactory, served: Served, far: tuple[str, str, Pacs]
) -> Iterator[httpx.Client]:
    with rp.connect(tmp_path_factory.mktemp("ours") / "home") as pacs:
        pacs.ingest([small_ct(1), small_ct(2)])
        with (
            served(create_app(pacs, access=Access())) as url,
            httpx.Client(base_url=url, timeout=30) as client,
        ):
            _introduce(client, far)
            yield client


@pytest.fixture(scope="module")
def theirs(real_orthanc: RealOrthanc, far: tuple[str, str, Pacs]) -> Iterator[httpx.Client]:
    with real_orthanc(small_ct(1), small_ct(2), plugin=True) as client:
        _introduce(client, far)
        yield client


def _introduce(client: httpx.Client, far: tuple[str, str, Pacs]) -> None:
    url, token, _ = far
    client.put("/peers/far", json=[f"{url}/", "any", token]).raise_for_status()
    client.put("/peers/nobody", json={"Url": "http://127.0.0.1:1/"}).raise_for_status()
    said = {"Url": f"{url}/dicom-web", "Username": "any", "Password": token}
    client.put("/dicom-web/servers/far", json=said).raise_for_status()
    client.put("/dicom-web/servers/nobody", json={"Url": "http://127.0.0.1:1/"}).raise_for_status()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/peers", None),
        ("GET", "/peers?expand", None),
        ("GET", "/peers/far/configuration", None),
        ("GET", "/peers/none/configuration", None),
        ("GET", "/peers/far/system", None),
        ("GET", "/peers/nobody/system", None),
        ("PUT", "/peers/new", {}),
        ("DELETE", "/peers/none", None),
        ("POST", "/peers/far/store", [STUDY]),
        ("POST", "/peers/far/store", {"Resources": [STUDY], "Synchronous": True}),
        ("POST", "/peers/far/store", [UNKNOWN]),
        ("POST", "/peers/nobody/store", [STUDY]),
        ("GET", "/dicom-web/servers", None),
        ("GET", "/dicom-web/servers?expand", None),
        ("GET", "/dicom-web/servers/none", None),
        ("POST", "/dicom-web/servers/far/stow", {"Resources": [STUDY]}),
        ("POST", "/dicom-web/servers/far/stow", {"Resources": [UNKNOWN]}),
        ("POST", "/dicom-web/servers/far/retrieve", {"Resources": [{"Study": "1.2.3"}]}),
        ("POST", "/dicom-web/servers/far/get", {"Uri": "/studies", "Arguments": {"StudyInstanceUID": "1.2.3"}}),
    ],
)
def test_other_servers_answer_alike(
    theirs: httpx.Client, ours: httpx.Client, method: str, path: str, body: dict[str, Any] | None
) -> None:
    one, two = (client.request(method, path, json=body) for client in (theirs, ours))
    assert two.status_code == one.status_code, two.text
    if one.status_code == 200:
        assert _known(two.json()) == _known(one.json())


def test_what_a_search_finds_is_shown_alike_and_numbers_too(theirs: httpx.Client, ours: httpx.Client) -> None:
    body = {"Uri": "/studies", "Arguments": {"StudyInstanceUID": "1.2.3"}}
    one, two = (client.post("/dicom-web/servers/far/qido", json=body).json() for client in (theirs, ours))
    numbers = {tag for tag, element in one[0].items() if element["vr"] == "IS"}  # its plugin drops their values
    assert numbers == {"00201206", "00201208"}
    assert all(two[0][tag]["Value"] == "1" for tag in numbers)
    for found in (one, two):
        for tag in numbers:
            found[0][tag].pop("Value", None)
    assert _known(two) == _known(one)


def test_a_stored_study_is_there(ours: httpx.Client, far: tuple[str, str, Pacs]) -> None:
    client = OrthancApiClient(str(ours.base_url))
    pacs = far[2]
    for send, send_async in (
        (client.peers.send, client.peers.send_async),
        (client.dicomweb_servers.send, client.dicomweb_servers.send_async),
    ):
        pacs.delete(pacs.search("study", StudyInstanceUID=CT.StudyInstanceUID))
        send("far", STUDY)
        (study,) = pacs.search("study", StudyInstanceUID=CT.StudyInstanceUID)
        pacs.delete(study)
        job = send_async("far", [STUDY])
        job.wait_completed(timeout=20)
        assert len(pacs.search("instance", StudyInstanceUID=CT.StudyInstanceUID)) == 2
        name = client.instances.lookup(CT.SOPInstanceUID)
        assert pacs.archive.read(CT.SOPInstanceUID) == client.instances.get_file(name)
    client.close()


def test_a_study_of_a_dicomweb_server_is_fetched_whole_or_in_part(ours: httpx.Client) -> None:
    client = OrthancApiClient(str(ours.base_url))
    ours.delete(f"/studies/{FAR}")
    assert client.dicomweb_servers.retrieve_study("far", "1.2.3") == 1
    assert client.studies.exists(FAR)
    assert client.dicomweb_servers.retrieve_instance("far", "1.2.3", "1.2.3.4", OTHER.SOPInstanceUID)
    client.close()
    missing = {"Resources": [{"Study": "1.2.3", "Series": "1"}]}
    assert ours.post("/dicom-web/servers/far/retrieve", json=missing).status_code == 404


def test_a_password_is_in_no_answer_and_no_file(
    ours: httpx.Client, far: tuple[str, str, Pacs], tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, token, _ = far
    ours.post("/peers/far/store", json=[STUDY]).raise_for_status()
    for path in ("/peers?expand", "/peers/far/configuration", "/dicom-web/servers?expand", "/jobs?expand"):
        assert token not in ours.get(path).text
    home = next(one for one in tmp_path_factory.getbasetemp().glob("ours*/home"))
    assert [path for path in home.rglob("*") if path.is_file() and token.encode() in path.read_bytes()] == []


def test_a_server_that_was_removed_is_not_known_by_its_password(ours: httpx.Client, far: Any) -> None:
    url, token, _ = far
    ours.put("/peers/other", json=[f"{url}/x/", "any", token]).raise_for_status()
    ours.delete("/peers/other").raise_for_status()
    ours.put("/peers/other", json=[f"{url}/x/"]).raise_for_status()
    assert "Username" not in ours.get("/peers/other/configuration").json()


@pytest.mark.parametrize(
    ("kind", "path", "method", "body"),
    [
        ("peers", "store", "POST", [STUDY]),
        ("dicom-web/servers", "stow", "POST", {"Resources": [STUDY]}),
        ("dicom-web/servers", "qido", "POST", {"Uri": "/studies"}),
    ],
)
def test_a_silent_server_is_given_up_when_its_timeout_says(
    ours: httpx.Client, kind: str, path: str, method: str, body: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        ours.put(f"/{kind}/silent", json={"Url": url, "Timeout": 1}).raise_for_status()
        assert ours.get(f"/{kind}?expand").json()["silent"]["Timeout"] == 1
        # Without it this takes a minute, which is more than the test's client waits.
        answer = ours.request(method, f"/{kind}/silent/{path}", json=body)
        assert answer.status_code >= 400
        ours.delete(f"/{kind}/silent").raise_for_status()


@pytest.mark.parametrize("timeout", [-1, "soon", True, 1e9, 100_000])
def test_a_timeout_that_is_none_is_refused(ours: httpx.Client, timeout: object) -> None:
    answer = ours.put("/peers/late", json={"Url": "http://127.0.0.1:1/", "Timeout": timeout})
    assert answer.status_code == 400


@pytest.mark.parametrize("uri", ["../system", "a/../../system", "http://127.0.0.1:1/", "%2e%2e/system", "x?y", 5])
def test_nothing_beside_a_server_is_asked(ours: httpx.Client, uri: object) -> None:
    assert ours.post("/dicom-web/servers/far/get", json={"Uri": uri}).status_code == 400


def _known(answer: Any) -> Any:
    """What does not depend on the server that answers."""
    if isinstance(answer, list):
        return [_known(one) for one in answer]
    if isinstance(answer, dict):
        # Orthanc's plugin shows Description nowhere; a character set is the answering server's own.
        own = ("Description", "HttpPort", "00080005")
        return {name: _known(one) for name, one in answer.items() if name not in own}
    return answer
