"""DICOM nodes over Orthanc's REST: to ask, fetch and send, beside a real Orthanc that does the same."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from orthanc_api_client import OrthancApiClient
from pyorthanc import Modality, Orthanc

import researchpacs as rp
from researchpacs.model import Identity
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.server.dimse import Scp, ScpOptions, start_scp
from researchpacs.testing import small_ct

from .conftest import RealOrthanc, Served, free_port, wait_until

pytestmark = pytest.mark.server

CT = small_ct(1)
OTHER = small_ct(3, StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.4", StudyDescription="far")
STUDY = Identity("A", "", CT.StudyInstanceUID, "", "").orthanc_id("study")
FAR = Identity("A", "", OTHER.StudyInstanceUID, "", "").orthanc_id("study")
NAMED = {"StudyInstanceUID": CT.StudyInstanceUID}
UNKNOWN = "00000000-00000000-00000000-00000000-00000000"


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scp]:
    """The node that all ask: an archive with two studies, one of which the asking ones have too."""
    with rp.connect(tmp_path_factory.mktemp("far") / "home") as pacs:
        pacs.ingest([small_ct(1), small_ct(2), OTHER])
        with start_scp(pacs, ScpOptions(port=0, aet="FAR")) as scp:
            scp.peers, scp.pacs = pacs.peers, pacs  # type: ignore[attr-defined]
            pacs.peers.add("gone", aet="GONE", host="127.0.0.1", port=1)
            yield scp


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, served: Served, far: Scp) -> Iterator[httpx.Client]:
    with rp.connect(tmp_path_factory.mktemp("ours") / "home") as pacs:
        pacs.ingest([small_ct(1), small_ct(2)])
        with (
            start_scp(pacs, ScpOptions(port=0, aet="OURS")) as scp,
            served(create_app(pacs, access=Access())) as url,
            httpx.Client(base_url=url, timeout=30) as client,
        ):
            far.peers.add("ours", aet="OURS", host="127.0.0.1", port=scp.port)  # type: ignore[attr-defined]
            node = {"AET": "FAR", "Host": "127.0.0.1", "Port": far.port, "LocalAet": "OURS"}
            client.put("/modalities/far", json=node).raise_for_status()
            client.put("/modalities/nobody", json=["NOBODY", "127.0.0.1", 1]).raise_for_status()
            yield client


@pytest.fixture(scope="module")
def theirs(real_orthanc: RealOrthanc, far: Scp) -> Iterator[httpx.Client]:
    port = free_port()
    nodes = {"far": ["FAR", "127.0.0.1", far.port], "nobody": ["NOBODY", "127.0.0.1", 1]}
    settings = {"DicomServerEnabled": True, "DicomPort": port, "DicomAet": "THEIRS", "DicomModalities": nodes}
    with real_orthanc(small_ct(1), small_ct(2), **settings) as client:
        far.peers.add("theirs", aet="THEIRS", host="127.0.0.1", port=port)  # type: ignore[attr-defined]
        yield client


def test_a_move_of_which_a_part_fails_is_no_success(theirs: httpx.Client, ours: httpx.Client, far: Scp) -> None:
    pacs: rp.Pacs = far.pacs  # type: ignore[attr-defined]
    pair = [small_ct(number, StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.4.1") for number in (5, 6)]
    pacs.ingest(pair)
    try:
        (lost,) = pacs.archive.locate([pair[1].SOPInstanceUID])
        Path(lost.path).unlink()
        asked = {"Level": "Study", "Resources": [{"StudyInstanceUID": "1.2.4"}]}
        answers = [one.post("/modalities/far/move", json=asked) for one in (theirs, ours)]
        found = {"Level": "Instance", "Query": {"StudyInstanceUID": "1.2.4"}}
        assert [len(one.post("/tools/find", json=found).json()) for one in (theirs, ours)] == [1, 1]
        assert [one.status_code for one in answers] == [500, 500]
        assert "could not send 1 " in answers[1].json()["Details"]
    finally:
        pacs.archive.delete("study", "1.2.4")


# -- as a real Orthanc ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/modalities", None),
        ("GET", "/modalities/far", None),
        ("GET", "/modalities/none", None),
        ("PUT", "/modalities/broken", {"AET": "X"}),
        ("PUT", "/modalities/broken", ["X"]),
        ("DELETE", "/modalities/none", None),
        ("POST", "/modalities/far/echo", {}),
        ("POST", "/modalities/none/echo", {}),
        ("POST", "/modalities/nobody/echo", {}),
        ("POST", "/modalities/none/query", {"Level": "Study", "Query": {}}),
        ("POST", "/modalities/nobody/query", {"Level": "Study", "Query": {}}),
        ("POST", "/modalities/far/query", {}),
        ("POST", "/modalities/far/query", {"Level": "Anything"}),
        ("POST", "/modalities/far/store", [STUDY]),
        ("POST", "/modalities/far/store", {"Resources": [STUDY], "Synchronous": True}),
        ("POST", "/modalities/far/store", []),
        ("POST", "/modalities/far/store", [UNKNOWN]),
        ("POST", "/modalities/nobody/store", [STUDY]),
        ("POST", "/modalities/far/move", {"Level": "Study", "Resources": [NAMED], "TargetAet": "GONE"}),
        ("POST", "/modalities/far/find-worklist", {}),
        ("GET", "/queries/none", None),
        ("DELETE", "/queries/none", None),
        ("GET", "/exports", None),
        ("GET", "/exports?last", None),
    ],
)
def test_nodes_answer_alike(
    theirs: httpx.Client, ours: httpx.Client, method: str, path: str, body: dict[str, Any] | None
) -> None:
    one, two = (client.request(method, path, json=body) for client in (theirs, ours))
    assert two.status_code == one.status_code, two.text
    if one.content and one.status_code < 400:
        assert _shape(two.json()) <= _shape(one.json()) | {"get", "ParentResources"}
    if one.content and one.status_code == 404:
        assert {k: two.json()[k] for k in ("OrthancStatus", "Message")} == {
            k: one.json()[k] for k in ("OrthancStatus", "Message")
        }


def test_a_node_shows_the_same_members_and_whether_we_ask_it_by_c_get(theirs: httpx.Client, ours: httpx.Client) -> None:
    one, two = (client.get("/modalities/far/configuration").json() for client in (theirs, ours))
    assert {name: type(value) for name, value in two.items()} == {
        **{name: type(value) for name, value in one.items()},
        "RetrieveMethod": str,  # since 1.12.6
    }
    assert all(two[name] == one[name] for name in one if name != "LocalAet")


def test_a_query_and_its_answers_look_alike(theirs: httpx.Client, ours: httpx.Client) -> None:
    wanted = {"Level": "Study", "Query": {"PatientID": "A", "StudyDescription": "f*", "StudyDate": "19900101-"}}
    paths = [client.post("/modalities/far/query", json=wanted).json()["Path"] for client in (theirs, ours)]
    for tail in (
        "", "/level", "/modality", "/query", "/query?simplify", "/query?short", "/answers", "/answers/0",
        "/answers?expand", "/answers?expand&simplify", "/answers/0/content?short", "/answers/9/content",
    ):  # fmt: skip
        one, two = (client.get(path + tail) for client, path in zip((theirs, ours), paths, strict=True))
        assert (two.status_code, two.headers["Content-Type"].partition(";")[0] if two.status_code == 200 else "") == (
            one.status_code,
            one.headers["Content-Type"].partition(";")[0] if one.status_code == 200 else "",
        ), tail
        if one.status_code == 200 and one.headers["Content-Type"].startswith("application/json"):
            assert _known(two.json()) == _known(one.json()), tail
        elif one.status_code == 200:
            assert two.text == one.text
    below = [
        client.post(path + "/answers/0/query-series", json={"Query": {"Modality": "CT"}}).json()["Path"]
        for client, path in zip((theirs, ours), paths, strict=True)
    ]
    one, two = (
        client.get(path + "/answers?expand&simplify").json() for client, path in zip((theirs, ours), below, strict=True)
    )
    assert _known(one) == _known(two)
    assert two[0]["SeriesInstanceUID"] == "1.2.3.4"
    assert [client.delete(path).status_code for client, path in zip((theirs, ours), paths, strict=True)] == [200, 200]
    assert ours.get(paths[1]).status_code == 404


@pytest.mark.parametrize("body", [{}, {"StudyDescription": "f*", "Modality": "CT"}, {"PatientID": "none"}])
def test_a_node_is_shown_as_the_same_tree(theirs: httpx.Client, ours: httpx.Client, body: dict[str, str]) -> None:
    one, two = (client.post("/modalities/far/find", json=body).json() for client in (theirs, ours))
    assert _known(two) == _known(one)
    assert [[study["StudyInstanceUID"] for study in patient["Studies"]] for patient in two] == (
        [] if body.get("PatientID") else [["1.2.3"]] if body else [["1.2.3", CT.StudyInstanceUID]]
    )
    assert ours.post("/modalities/far/find", json={"Rows": "1"}).status_code == 400


@pytest.mark.parametrize("body", [lambda own: own, lambda own: json.dumps({"TargetAet": own})])
def test_what_a_query_found_is_fetched(theirs: httpx.Client, ours: httpx.Client, body: Callable[[str], str]) -> None:
    shown = []
    for client, own in ((theirs, "THEIRS"), (ours, "OURS")):
        client.delete(f"/studies/{FAR}")
        wanted = {"Level": "Study", "Query": {"StudyInstanceUID": "1.2.3"}}
        path = client.post("/modalities/far/query", json=wanted).json()["Path"]
        answer = client.post(path + "/retrieve", content=body(own))
        assert answer.status_code == 200, answer.text
        shown.append(answer.json())
        assert client.get(f"/studies/{FAR}").status_code == 200
    assert set(shown[1]) == set(shown[0])
    assert shown[1]["Query"] == [{"0008,0052": "STUDY", "0020,000d": "1.2.3"}]


def test_a_stored_study_shows_as_the_same_job(theirs: httpx.Client, ours: httpx.Client) -> None:
    jobs = []
    for client in (theirs, ours):
        options = {"Resources": [STUDY], "Asynchronous": True}
        path = client.post("/modalities/far/store", json=options).json()["Path"]
        wait_until(lambda client=client, path=path: client.get(path).json()["State"] == "Success")  # type: ignore[misc]
        jobs.append(client.get(path).json())
    assert jobs[1]["Type"] == jobs[0]["Type"] == "DicomModalityStore"
    assert set(jobs[1]) == set(jobs[0])
    same = {"Description", "FailedInstancesCount", "InstancesCount", "ParentResources", "RemoteAet"}
    assert {k: jobs[1]["Content"][k] for k in same} == {k: jobs[0]["Content"][k] for k in same}


# -- unmodified clients -----------------------------------------------------------------------------------------------


def test_orthanc_api_client_asks_moves_gets_and_sends(ours: httpx.Client, request: pytest.FixtureRequest) -> None:
    client = OrthancApiClient(str(ours.base_url))
    request.addfinalizer(client.close)
    assert "far" in client.modalities.get_all_ids()
    assert client.modalities.get_id_from_aet("FAR") == "far"
    (study,) = client.modalities.query_studies("far", {"StudyDescription": "far"})
    for fetch in (client.modalities.get_study, client.modalities.move_study):
        ours.delete(f"/studies/{FAR}")
        if fetch == client.modalities.move_study:
            fetch("far", study.dicom_id, to_modality_aet="OURS")
        else:
            fetch("far", study.dicom_id)
        assert client.studies.exists(FAR)
    client.modalities.send("far", [STUDY])
    job = client.modalities.send_async("far", [STUDY])
    job.wait_completed(timeout=20)
    assert job.info.content["InstancesCount"] == 2
    client.modalities.configure("new", {"AET": "NEW", "Host": "127.0.0.1", "Port": 104, "AllowStore": False})
    found = client.modalities.get_configuration("new")
    assert (found["AllowStore"], found["AllowFind"]) == (False, True)
    client.modalities.delete("new")
    assert "new" not in client.modalities.get_all_ids()


def test_pyorthanc_asks_fetches_and_sends(ours: httpx.Client) -> None:
    with Orthanc(str(ours.base_url)) as client:
        node = Modality(client, "far")
        assert node.echo()
        found = node.find({"Level": "Study", "Query": {"StudyDescription": "far"}})
        assert [one["StudyInstanceUID"] for one in found["answers"]] == ["1.2.3"]
        ours.delete(f"/studies/{FAR}")
        node.move(found["ID"], {"TargetAet": "OURS"})
        assert ours.get(f"/studies/{FAR}").status_code == 200
        assert node.store(STUDY)["InstancesCount"] == 2


# -- ours -------------------------------------------------------------------------------------------------------------


def test_a_node_that_is_away_fails_at_once_who_waits_and_is_tried_again_for_who_does_not(ours: httpx.Client) -> None:
    started = time.monotonic()
    answer = ours.post("/modalities/nobody/store", json={"Resources": [STUDY], "Synchronous": True})
    assert answer.status_code == 500
    assert time.monotonic() - started < 5
    path = ours.post("/modalities/nobody/store", json={"Resources": [STUDY], "Asynchronous": True}).json()["Path"]
    wait_until(lambda: ours.get(path).json()["State"] == "Retry")
    assert "cannot be reached" in ours.get(path).json()["ErrorDetails"]
    ours.post(path + "/cancel").raise_for_status()


def test_a_node_put_over_http_is_a_peer_in_notebooks(home: Path, served: Served) -> None:
    with rp.connect(home) as pacs, served(create_app(pacs, access=Access())) as url:
        httpx.put(f"{url}/modalities/x", json={"AET": "X", "Host": "h", "Port": "11112", "AllowMove": False})
        assert pacs.peers["x"].port == 11112
        assert "move" not in pacs.peers["x"].allow
        assert pacs.peers.get("y") is None
        assert "store" in pacs.peers["x"].allow


def test_the_answers_of_old_queries_make_room_for_new_ones(ours: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from researchpacs.server.orthanc import queries

    monkeypatch.setattr(queries, "_MOST_ANSWERS", 3)
    wanted = {"Level": "Study", "Query": {}}
    paths = [ours.post("/modalities/far/query", json=wanted).json()["Path"] for _ in range(2)]
    assert [ours.get(path).status_code for path in paths] == [404, 200]
    monkeypatch.setattr(queries, "_MOST_ANSWERS", 1)
    assert ours.post("/modalities/far/query", json=wanted).status_code == 400


def test_a_job_shows_no_patient(ours: httpx.Client) -> None:
    wanted = {"Level": "Patient", "Query": {"PatientID": "A"}}
    path = ours.post("/modalities/far/query", json=wanted).json()["Path"]
    shown = ours.post(path + "/retrieve", json={"TargetAet": "OURS", "Simplify": True}).json()
    assert shown["Query"] == [{"QueryRetrieveLevel": "PATIENT"}]


def _known(answer: Any) -> Any:
    """An answer without the character set: Orthanc asks for one, and stands by it."""
    if isinstance(answer, list):
        return sorted((_known(one) for one in answer), key=str)
    if isinstance(answer, dict):
        return {name: _known(one) for name, one in answer.items() if name not in ("SpecificCharacterSet", "0008,0005")}
    return answer


def _shape(value: Any) -> set[str]:
    return set(value) if isinstance(value, dict) else {one for one in value if isinstance(one, str)}
