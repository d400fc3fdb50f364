"""What a server says of itself and its small tools, held against a real Orthanc."""

import gzip
import io
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from orthanc_api_client import OrthancApiClient
from orthanc_api_client.exceptions import Forbidden
from pydicom import dcmread

import researchpacs as rp
from researchpacs._pacs import Pacs
from researchpacs.model import Identity
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.testing import small_ct

from .conftest import RealOrthanc, Served, file_bytes, wait_until

pytestmark = pytest.mark.server

CT = small_ct(1)
STUDY = Identity("A", "", CT.StudyInstanceUID, "", "").orthanc_id("study")
SERIES = Identity("A", "", CT.StudyInstanceUID, CT.SeriesInstanceUID, "").orthanc_id("series")
PATIENT = Identity("A", "", "", "", "").orthanc_id("patient")
INSTANCE = Identity("A", "", CT.StudyInstanceUID, CT.SeriesInstanceUID, CT.SOPInstanceUID).orthanc_id("instance")


@pytest.fixture(scope="module")
def theirs(real_orthanc: RealOrthanc) -> Iterator[httpx.Client]:
    with real_orthanc(small_ct(1), small_ct(2)) as client:
        yield client


@pytest.fixture
def pacs(home: Path) -> Iterator[Pacs]:
    with rp.connect(home) as pacs:
        pacs.ingest([small_ct(1), small_ct(2)])
        yield pacs


@pytest.fixture
def ours(pacs: Pacs, served: Served) -> Iterator[httpx.Client]:
    with served(create_app(pacs, access=Access())) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def test_small_tools_answer_alike(theirs: httpx.Client, ours: httpx.Client) -> None:
    for method, path, body in (
        ("GET", "/tools/log-level", None),
        ("GET", "/tools/log-level-http", None),
        ("PUT", "/tools/log-level-jobs", "verbose"),
        ("GET", "/tools/log-level-jobs", None),
        ("PUT", "/tools/log-level-jobs", "default"),
        ("PUT", "/tools/log-level", "loud"),
        ("POST", "/tools/execute-script", "print(42)"),
        ("GET", "/tools/metrics", None),
        ("GET", "/tools/default-encoding", None),
        ("GET", "/plugins/none", None),
        ("GET", "/exports", None),
        ("DELETE", "/exports", None),
        ("POST", f"/studies/{STUDY}/reconstruct", ""),
        ("POST", f"/instances/{INSTANCE}/reconstruct", "{}"),
        ("POST", "/series/none/reconstruct", ""),
        ("POST", "/tools/reconstruct", ""),
        ("GET", f"/patients/{PATIENT}/protected", None),
        ("PUT", f"/patients/{PATIENT}/protected", "1"),
        ("GET", f"/patients/{PATIENT}/protected", None),
        ("PUT", f"/patients/{PATIENT}/protected", "x"),
        ("PUT", f"/patients/{PATIENT}/protected", "0"),
        ("GET", f"/patients/{PATIENT}/protected", None),
        ("DELETE", "/system", None),
        ("GET", "/nonsense", None),
    ):
        one, two = (client.request(method, path, content=body) for client in (theirs, ours))
        assert two.status_code == one.status_code, (method, path)
        if one.status_code == 200:
            same = two.json() == one.json() if "json" in one.headers["Content-Type"] else two.text == one.text
            assert same, (method, path, two.text)
        elif one.content:
            assert two.json()["OrthancStatus"] == one.json()["OrthancStatus"], (method, path)


def test_a_system_says_all_that_an_orthanc_says_and_its_own_name(theirs: httpx.Client, ours: httpx.Client) -> None:
    one, two = (client.get("/system").json() for client in (theirs, ours))
    assert one.keys() <= two.keys()
    assert two["Name"] == "researchpacs"
    assert two["Version"].startswith("1.12.")
    assert two["IsHttpServerSecure"] == one["IsHttpServerSecure"]
    assert (two["HasLabels"], two["PluginsEnabled"]) == (True, False)


def test_lua_is_off_as_an_unmodified_client_sees_it(ours: httpx.Client, request: pytest.FixtureRequest) -> None:
    client = OrthancApiClient(str(ours.base_url))
    request.addfinalizer(client.close)
    with pytest.raises(Forbidden):
        client.execute_lua_script(b"print(42)")


def test_metrics_have_the_numbers_of_an_orthanc(theirs: httpx.Client, ours: httpx.Client) -> None:
    ours.post(f"/studies/{STUDY}/anonymize", json={}).raise_for_status()
    ours.post("/jobs/none/cancel")
    one, two = (_metrics(client) for client in (theirs, ours))
    timed = {name for name in one if name.endswith("_ms") or "_cache_" in name or "active_requests" in name}
    assert one.keys() - two.keys() <= timed
    assert two["orthanc_count_instances"] == 4
    assert (two["orthanc_jobs_success"], two["orthanc_jobs_failed"], two["orthanc_jobs_completed"]) == (1, 0, 1)


def test_forgotten_changes_are_gone_and_their_numbers_do_not_come_back(
    theirs: httpx.Client, ours: httpx.Client
) -> None:
    for client in (ours, theirs):
        last = client.get("/changes?last").json()["Last"]
        assert last > 0
        assert client.delete("/changes").status_code == 200
        for path in ("/changes", "/changes?last", "/changes?limit=2"):
            answer = client.get(path).json()
            assert (answer["Changes"], answer["Last"], answer["Done"]) == ([], last, True), path
        client.post("/instances", content=file_bytes(small_ct(7))).raise_for_status()
        assert client.get("/changes?last").json()["Last"] > last


def test_a_study_is_described_by_what_is_left_of_it(pacs: Pacs, ours: httpx.Client) -> None:
    study = "1.2.99"
    for number, text in ((1, "first"), (2, "second")):
        pacs.ingest(small_ct(number, StudyInstanceUID=study, SOPInstanceUID=f"1.2.99.{number}", StudyDescription=text))
    name = Identity("A", "", study, "", "").orthanc_id("study")
    pacs.archive.delete("instance", "1.2.99.1")
    assert ours.get(f"/studies/{name}").json()["MainDicomTags"]["StudyDescription"] == "first"
    ours.post(f"/studies/{name}/reconstruct").raise_for_status()
    shown = ours.get(f"/studies/{name}").json()
    assert shown["MainDicomTags"]["StudyDescription"] == "second"
    assert shown["MainDicomTags"]["StudyInstanceUID"] == study
    assert ours.get(f"/studies/{STUDY}").json()["MainDicomTags"]["StudyDescription"] == CT.StudyDescription


@pytest.mark.parametrize("how", ["get", "tool", "job"])
def test_an_extended_medium_describes_its_images(ours: httpx.Client, how: str) -> None:
    plain = _directory(ours.get(f"/studies/{STUDY}/media").content)
    if how == "get":
        content = ours.get(f"/studies/{STUDY}/media?extended").content
    elif how == "tool":
        content = ours.post("/tools/create-media-extended", json=[STUDY]).content
    else:
        options = {"Resources": [STUDY], "Asynchronous": True}
        path = ours.post("/tools/create-media-extended", json=options).json()["Path"]
        wait_until(lambda: ours.get(path).json()["State"] == "Success")
        content = ours.get(f"{path}/archive").content
    extended = _directory(content)
    records = [one for one in extended.DirectoryRecordSequence if one.DirectoryRecordType == "IMAGE"]
    assert [one.Rows for one in records] == [CT.Rows, CT.Rows]
    assert {tuple(one.ImagePositionPatient) for one in records} == {
        tuple(small_ct(number).ImagePositionPatient) for number in (1, 2)
    }
    assert not any("Rows" in one for one in plain.DirectoryRecordSequence)
    assert len(extended.DirectoryRecordSequence) == len(plain.DirectoryRecordSequence)


def test_a_frame_in_gzip_is_that_of_an_orthanc(theirs: httpx.Client, ours: httpx.Client) -> None:
    one, two = (client.get(f"/instances/{INSTANCE}/frames/0/raw.gz") for client in (theirs, ours))
    assert gzip.decompress(two.content) == gzip.decompress(one.content) == CT.PixelData
    assert two.headers["Content-Type"] == one.headers["Content-Type"]


def test_a_log_level_reaches_its_part_alone(ours: httpx.Client) -> None:
    log = logging.getLogger("researchpacs.server.jobs")
    try:
        ours.put("/tools/log-level-jobs", content="trace").raise_for_status()
        assert log.level == logging.DEBUG
        assert logging.getLogger("researchpacs").level != logging.DEBUG
    finally:
        log.setLevel(logging.NOTSET)


def _metrics(client: httpx.Client) -> dict[str, float]:
    lines = client.get("/tools/metrics-prometheus").text.splitlines()
    return {name: float(value) for name, value, _ in (line.split() for line in lines)}


def _directory(content: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return dcmread(io.BytesIO(archive.read("DICOMDIR")))
