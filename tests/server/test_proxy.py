"""Below a path behind a proxy: Orthanc's clients and DICOMweb's work, and every URL leads back through the proxy."""

import contextlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pydicom
import pyorthanc
import pytest
import requests
from dicomweb_client import DICOMwebClient
from orthanc_api_client import OrthancApiClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import researchpacs as rp
from researchpacs.errors import InvalidInputError
from researchpacs.server.places import as_root_path
from researchpacs.testing import small_ct

from .conftest import Served, Started

pytestmark = pytest.mark.server

OF_ONE_HOP = ("connection", "content-encoding", "date", "keep-alive", "transfer-encoding")


def proxy(target: str, *, takes_path_off: bool, **more: str) -> Starlette:
    """A reverse proxy that shows a server at ``/pacs``, and nothing else."""

    async def passed_on(request: Request) -> Response:
        path = request.url.path.removeprefix("/pacs") if takes_path_off else request.url.path
        headers = {**{name: value for name, value in request.headers.items() if name not in OF_ONE_HOP}, **more}
        async with httpx.AsyncClient(base_url=target, timeout=30) as client:
            answer = await client.request(
                request.method,
                path or "/",
                params=request.url.query or None,
                content=await request.body(),
                headers=headers,
            )
        kept = {name: value for name, value in answer.headers.items() if name not in OF_ONE_HOP}
        return Response(answer.content, answer.status_code, kept)

    methods = ["GET", "POST", "PUT", "DELETE", "HEAD"]
    return Starlette(routes=[Route(path, passed_on, methods=methods) for path in ("/pacs", "/pacs/{rest:path}")])


@pytest.fixture(scope="module")
def server(started: Started, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the server itself is, with an instance in its archive."""
    home = tmp_path_factory.mktemp("proxy") / "home"
    with rp.connect(home) as pacs:
        pacs.ingest(small_ct())
    with started(home, "--no-auth", "--root-path", "/pacs/") as (first, login):
        assert login == "no log-in: everybody on this machine may do everything"
        url = first.split(" at ")[1]
        assert urlsplit(url).path == "/pacs/"
        yield url.removesuffix("/pacs/")


@pytest.fixture(scope="module", params=[True, False], ids=["path taken off", "path kept"])
def shown(request: pytest.FixtureRequest, server: str, served: Served) -> Iterator[str]:
    """The URL that people use."""
    with served(proxy(server, takes_path_off=request.param)) as url:
        yield f"{url}/pacs"


def test_orthancs_clients_work(shown: str) -> None:
    ds = small_ct(2)
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    api = OrthancApiClient(f"{shown}/")
    with contextlib.closing(api._http_session):
        (uid,) = api.upload(buffer.getvalue())
        assert api.instances.get_file(uid) == buffer.getvalue()
        assert api.studies.find(query={"StudyInstanceUID": str(ds.StudyInstanceUID)})
    with pyorthanc.Orthanc(shown) as client:
        (study,) = pyorthanc.find_studies(client, {"StudyInstanceUID": str(ds.StudyInstanceUID)})
        assert study.uid == ds.StudyInstanceUID


def test_dicomweb_clients_work_and_follow_what_they_are_told(shown: str) -> None:
    ds = small_ct(3)
    with requests.Session() as session, httpx.Client() as http:
        client = DICOMwebClient(f"{shown}/dicom-web", session=session)
        stored = client.store_instances([ds])
        assert urlsplit(str(stored.ReferencedSOPSequence[0].RetrieveURL)).path.startswith("/pacs/dicom-web/studies/")
        (study,) = client.search_for_studies()
        assert http.get(f"{study['00081190']['Value'][0]}/series").json()
        uids = ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID
        (frame,) = client.retrieve_instance_frames(*uids, frame_numbers=[1])
        metadata = client.retrieve_instance_metadata(*uids)
        bulk = http.get(metadata["7FE00010"]["BulkDataURI"], headers={"Accept": "application/octet-stream"})
    assert bulk.content == ds.PixelData == bytes(frame)


def test_our_own_clients_work(shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESEARCHPACS_HOME", str(tmp_path))
    for kind, address in (("orthanc", f"{shown}/"), ("dicomweb", f"{shown}/dicom-web")):
        with rp.connect(f"{kind}+{address}") as pacs:
            assert pacs.search("instance").first().header().Modality == "CT"


def test_urls_have_the_scheme_that_the_proxy_took(server: str, served: Served) -> None:
    with served(proxy(server, takes_path_off=True, **{"X-Forwarded-Proto": "https"})) as url:
        (study,) = httpx.get(f"{url}/pacs/dicom-web/studies").json()
    assert study["00081190"]["Value"][0].startswith(f"https{url.removeprefix('http')}/pacs/dicom-web/studies/")


def test_a_path_that_is_none_is_refused() -> None:
    assert [as_root_path(text) for text in ("", "/", "/pacs/", "/a/b-c")] == ["", "", "/pacs", "/a/b-c"]
    for text in ("pacs", "http://host/pacs", "/pacs//x", "/../x", "/a b", "/%2e", "/{x}"):
        with pytest.raises(InvalidInputError, match="is no path"):
            as_root_path(text)
    for text in ("/studies", "/dicom-web", "/dicom-web/studies"):
        with pytest.raises(InvalidInputError, match="of the server itself"):
            as_root_path(text, taken=["/studies/{id}", "/dicom-web/studies", "/system"])


def test_an_instance_is_read_as_it_was_through_the_proxy(shown: str) -> None:
    (instance,) = httpx.post(f"{shown}/tools/find", json={"Level": "Instance", "Query": {"InstanceNumber": "1"}}).json()
    ds = pydicom.dcmread(BytesIO(httpx.get(f"{shown}/instances/{instance}/file").content))
    assert ds.pixel_array.tobytes() == small_ct().PixelData
