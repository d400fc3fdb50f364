"""Orthanc's REST over our archive, held against a real Orthanc that was fed the same instances, and its clients."""

import gzip
import io
import json
import shutil
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import httpx
import numpy as np
import PIL.Image
import pydicom.data
import pyorthanc
import pytest
from orthanc_api_client import OrthancApiClient
from orthanc_api_client import exceptions as api_exceptions
from pydicom.uid import UID
from starlette.applications import Starlette
from starlette.routing import Mount

import researchpacs as rp
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.testing import small_ct

pytestmark = pytest.mark.server

FILES = ("CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "JPEG2000.dcm", "test-SR.dcm", "liver_1frame.dcm")
PATIENT_OF_CT_SMALL = "fa558bce-587a86d3-ad0da9b3-9d043d9d-4f5c5718"
PARENTS = {"patients": "ParentPatient", "studies": "ParentStudy", "series": "ParentSeries", "instances": "ID"}
OURS_OR_LATER = {"LastUpdate", "FileUuid", "IsStable", "Labels", "IsProtected", "0028,0009"}
"""Members that differ by nature, or that Orthanc 1.10 does not have yet; it gives one of several attribute tags."""


Both: TypeAlias = tuple[httpx.Client, httpx.Client, list[dict[str, str]]]


@pytest.fixture
def pacs(home: Path) -> Iterator[rp.Pacs]:
    with rp.connect(home) as opened:
        yield opened


@pytest.fixture
def http(served, pacs: rp.Pacs) -> Iterator[httpx.Client]:
    with served(create_app(pacs, access=Access())) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture(scope="module")
def both(
    served, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[httpx.Client, httpx.Client, list[dict[str, str]]]]:
    """A real Orthanc and ours with the same instances, and what ours answered to each POST."""
    folder = tmp_path_factory.mktemp("orthanc")
    with (
        _real_orthanc(folder) as theirs_url,
        rp.connect(folder / "home") as opened,
        served(create_app(opened, access=Access())) as ours_url,
        httpx.Client(base_url=theirs_url) as theirs,
        httpx.Client(base_url=ours_url) as ours,
    ):
        answers = []
        for name in FILES:
            content = Path(_sample(name)).read_bytes()
            expected, found = theirs.post("/instances", content=content), ours.post("/instances", content=content)
            assert found.json() == expected.json()
            answers.append(found.json())
        yield theirs, ours, answers


@contextmanager
def _real_orthanc(folder: Path) -> Iterator[str]:
    program = shutil.which("Orthanc")
    if program is None:
        pytest.skip("Orthanc is missing: apt-get install orthanc")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "StorageDirectory": str(folder / "db"),
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    process = subprocess.Popen(
        [program, str(folder / "orthanc.json")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                httpx.get(f"{url}/system")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)


def _sample(name: str) -> str:
    path = pydicom.data.get_testdata_file(name)
    assert isinstance(path, str)
    return path


def _plain(value: object) -> object:
    """Without what differs by nature; lists of names have no order, and values no padding."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if key not in OURS_OR_LATER}
    if isinstance(value, list):
        return sorted((_plain(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True))
    return value.strip() if isinstance(value, str) else value


# -- held against Orthanc ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", PARENTS)
def test_objects_lists_parents_and_statistics_are_orthancs(both, level):
    theirs, ours, answers = both
    paths = [f"/{level}", f"/{level}?expand", f"/{level}/"]
    below = list(PARENTS)[list(PARENTS).index(level) + 1 :]
    above = ("patient", "study", "series")[: list(PARENTS).index(level)]
    for name in {answer[PARENTS[level]] for answer in answers}:
        paths += [f"/{level}/{name}", f"/{level}/{name}/statistics", f"/{level}/{name}/module?simplify"]
        paths += [f"/{level}/{name}/{other}" for other in (*below, *above)]
        if level != "instances":
            paths += [f"/{level}/{name}/shared-tags?short"]
    for path in paths:
        expected, found = theirs.get(path), ours.get(path)
        assert (path, found.status_code, _plain(found.json())) == (path, 200, _plain(expected.json()))


def test_tags_are_orthancs(both):
    theirs, ours, answers = both
    for answer in answers:
        for path in ("tags?short", "header?short", "content/0010-0010", "content/PatientID"):
            expected, found = (client.get(f"/instances/{answer['ID']}/{path}") for client in (theirs, ours))
            if path.startswith("content"):
                assert found.content == expected.content
            else:
                # Orthanc leaves out binary values of the File Meta Information.
                left_out = {key for key, value in found.json().items() if path.startswith("header") and value is None}
                shown = {key: value for key, value in found.json().items() if key not in left_out}
                assert _plain(shown) == _plain(expected.json())


QUESTIONS = [
    {"Level": "Study", "Query": {"PatientName": "compressed*"}},
    {"Level": "Study", "Query": {"PatientName": "compressed*"}, "CaseSensitive": True},
    {"Level": "Study", "Query": {"PatientName": "Compressed*"}, "CaseSensitive": True},
    {"Level": "Study", "Query": {"StudyDate": "20040101-20041231", "PatientID": "1CT1\\4MR1"}},
    {"Level": "Study", "Query": {"StudyDate": "20050101-"}},
    {"Level": "Study", "Query": {"0010,0020": "1CT1"}, "Expand": True},
    {"Level": "Study", "Query": {"ModalitiesInStudy": "CT\\MR"}},
    {"Level": "Study", "Query": {"KVP": "120"}},
    {"Level": "Study", "Query": {"PatientName": ""}},
    {"Level": "Series", "Query": {"StudyDescription": "e+1", "Modality": "ct"}},
    {"Level": "Series", "Query": {"SeriesDescription": "*"}},
    {"Level": "Instance", "Query": {"PatientID": "?CT1"}},
    {"Level": "Patient", "Query": {"PatientSex": "O"}, "Limit": 0},
    {"Level": "Study", "Query": {"PatientName": "[C*"}},
]


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_find_gives_what_orthanc_finds(both, question):
    theirs, ours, _ = both
    expected, found = theirs.post("/tools/find", json=question), ours.post("/tools/find", json=question)
    assert _plain(found.json()) == _plain(expected.json())


def test_find_orders_pages_and_gives_what_is_asked_for(both):
    _, ours, answers = both
    question = {
        "Level": "Study",
        "Query": {},
        "OrderBy": [{"Type": "DicomTag", "Key": "StudyDate", "Direction": "DESC"}],
    }
    everything = ours.post("/tools/find", json=question | {"Expand": True}).json()
    dates = [study["MainDicomTags"].get("StudyDate", "") for study in everything]
    assert dates == sorted(dates, reverse=True)
    pages = [ours.post("/tools/find", json=question | {"Since": since, "Limit": 2}).json() for since in range(0, 8, 2)]
    assert [name for page in pages for name in page] == [study["ID"] for study in everything]
    only = {"ResponseContent": ["MainDicomTags", "Labels"], "RequestedTags": ["NumberOfStudyRelatedInstances"]}
    for study in ours.post("/tools/find", json=question | only).json():
        assert {"MainDicomTags", "PatientMainDicomTags", "Labels", "RequestedTags"} <= set(study)
        assert not {"Series", "ParentPatient", "IsStable"} & set(study)
        assert study["RequestedTags"] == {"NumberOfStudyRelatedInstances": "1"}
    parent = {"Level": "Instance", "Query": {}, "ParentStudy": answers[0]["ParentStudy"]}
    assert ours.post("/tools/find", json=parent).json() == [answers[0]["ID"]]
    assert ours.post("/tools/count-resources", json=question | {"Limit": 1}).json() == {"Count": len(everything)}


@pytest.mark.parametrize("uid", ["1CT1", "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322", "nothing"])
def test_lookup_gives_what_orthanc_finds(both, uid):
    theirs, ours, _ = both
    assert _plain(ours.post("/tools/lookup", content=uid).json()) == _plain(
        theirs.post("/tools/lookup", content=uid).json()
    )


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/nothing", None),
        ("GET", "/patients/nothing", None),
        ("DELETE", "/studies/nothing", None),
        ("GET", "/instances/nothing/tags", None),
        ("GET", "/studies?limit=1", None),
        ("PUT", "/instances", "{}"),
        ("POST", "/instances", "no DICOM at all"),
        ("POST", "/tools/find", '{"Level": "Foo", "Query": {}}'),
        ("POST", "/tools/find", '{"Query": {}}'),
        ("POST", "/tools/find", '{"Level": "Study", "Query": {"PatientID": 5}}'),
        ("POST", "/tools/find", '{"Level": "Study", "Query": {}, "Limit": -1}'),
    ],
)
def test_errors_have_orthancs_form(both, method, path, body):
    theirs, ours, _ = both
    expected, found = (client.request(method, path, content=body) for client in (theirs, ours))
    assert found.status_code == expected.status_code
    assert ("allow" in found.headers) == ("allow" in expected.headers)
    if not expected.content:
        assert not found.content
        return
    told, ours_told = expected.json(), found.json()
    same = ("HttpStatus", "HttpError", "OrthancStatus", "OrthancError", "Message", "Method", "Uri")
    assert {name: ours_told[name] for name in same} == {name: told[name] for name in same}


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"Level": "Study", "Query": {"PatientName": "\\ud800"}}',
        b'{"Level": "Patient", "Query": {}, "ParentStudy": "x"}',
        b'{"Level": "Study", "Query": {"PixelData": "x", "OtherPatientIDsSequence": "y"}}',
        b'{"Level": "Study", "Query": {"PatientName\\u0000": "x"}}',
        b'{"Level": "Study", "Query": {}, "OrderBy": [{"Type": "DicomTag", "Key": "PatientName; drop table series"}]}',
        b'{"Level": "Study", "Query": {}, "Limit": 1e400}',
        b'{"Level": "Study", "Query": {}, "Labels": [{}]}',
    ],
)
def test_hostile_questions_are_errors_of_orthancs_form(both, body):
    _, ours, answers = both
    answer = ours.post("/tools/find", content=body)
    assert (answer.status_code, answer.json()["HttpStatus"]) == (400, 400)
    for text in ("'; drop table series; --", "[a-z]*", "a" * 10_000, "\u0000", "\u00b2"):
        assert ours.post("/tools/find", json={"Level": "Series", "Query": {"PatientName": text}}).json() == []
    assert len(ours.get("/instances").json()) == len(answers)


def test_small_tools_answer_as_orthanc(both):
    theirs, ours, _ = both
    for path in ("/tools/default-encoding", "/exports", "/tools/log-level"):
        expected, found = theirs.get(path).text, ours.get(path).text
        assert found == expected or json.loads(found) == json.loads(expected)
    syntaxes = [set(client.get("/tools/accepted-transfer-syntaxes").json()) for client in (theirs, ours)]
    assert {UID(uid) for uid in syntaxes[0] if UID(uid).is_transfer_syntax} <= syntaxes[1]
    for path in ("/tools/now", "/tools/now-local"):
        assert datetime.strptime(ours.get(path).text, "%Y%m%dT%H%M%S")
    for level in ("study", "series", "instance"):
        assert UID(ours.get("/tools/generate-uid", params={"level": level}).text).is_valid
    assert ours.put("/tools/log-level", content="verbose").status_code == 200
    assert ours.get("/tools/log-level").text == "verbose"
    assert ours.put("/tools/log-level", content="shout").status_code == 400
    assert ours.put("/tools/log-level", content="default").status_code == 200
    system, reference = ours.get("/system").json(), theirs.get("/system").json()
    assert {key: type(value) for key, value in reference.items() if key in system and value is not None}.items() <= {
        key: type(value) for key, value in system.items()
    }.items()
    assert set(reference) <= set(system)
    metrics = dict(line.split()[:2] for line in ours.get("/tools/metrics-prometheus").text.splitlines())
    assert int(metrics["orthanc_count_instances"]) == len(FILES)


# -- unmodified clients -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/imaging/orthanc"])
def test_orthanc_api_client_works_also_below_a_path(served, pacs, prefix):
    app = create_app(pacs, access=Access())
    outer = (
        Starlette(routes=[Mount(prefix, app)], lifespan=lambda _: app.router.lifespan_context(app)) if prefix else app
    )
    with served(outer) as url:
        client = OrthancApiClient(f"{url}{prefix}/")
        (name,) = client.upload_file(_sample("CT_small.dcm"))
        client.upload_file(_sample("MR_small.dcm"))
        assert client.is_alive()
        assert len(client.studies.get_all_ids()) == 2
        assert client.patients.lookup("1CT1") == PATIENT_OF_CT_SMALL
        assert client.instances.get(name).tags["PatientID"] == "1CT1"
        assert client.instances.get_file(name) == Path(_sample("CT_small.dcm")).read_bytes()
        (study,) = client.studies.find(query={"PatientName": "Compressed*", "ModalitiesInStudy": "CT"})
        assert study.main_dicom_tags.get("StudyDate") == "20040119"
        changes, last, done = client.get_changes()
        assert [change.change_type for change in changes[:4]] == ["NewInstance", "NewSeries", "NewStudy", "NewPatient"]
        assert (last, done) == (8, True)
        with pytest.raises(api_exceptions.ResourceNotFound):
            client.instances.get_file("nothing")
        with pytest.raises(api_exceptions.BadFileFormat):
            client.upload(b"no DICOM at all")
        client.studies.delete(study.orthanc_id)
        assert not client.studies.exists(study.orthanc_id)


def test_pyorthanc_works(served, pacs):
    with served(create_app(pacs, access=Access())) as url, pyorthanc.Orthanc(url) as client:
        pyorthanc.upload(client, _sample("CT_small.dcm"))
        (study,) = pyorthanc.find_studies(client, {"PatientID": "1CT1"})
        (instance,) = study.series[0].instances
        assert study.parent_patient.id_ == PATIENT_OF_CT_SMALL
        assert (study.series[0].modality, study.is_stable, study.labels) == ("CT", False, [])
        assert instance.get_pydicom().PatientID == "1CT1"
        assert instance.tags["0010,0020"] == {"Name": "PatientID", "Type": "String", "Value": "1CT1"}


# -- taking in and giving back ----------------------------------------------------------------------------------------


def test_the_same_instance_again_and_another_content_are_told_as_stored_already(http, pacs):
    first, again, other = (http.post("/instances", content=_bytes(seed=seed)).json() for seed in (0, 0, 1))
    assert (first["Status"], again["Status"], other["Status"]) == ("Success", "AlreadyStored", "AlreadyStored")
    assert first["ID"] == again["ID"] == other["ID"]
    assert http.get(first["Path"] + "/file").content == _bytes(seed=0)
    assert len(list(pacs.archive.home.conflicts.iterdir())) == 1


def test_archives_forms_and_gzip_are_unpacked(http):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in (1, 2):
            archive.writestr(f"{number}.dcm", _bytes(number))
        archive.writestr("notes.txt", "not DICOM")
    assert [one["Status"] for one in http.post("/instances", content=packed.getvalue()).json()] == ["Success"] * 2
    assert http.post("/instances", content=gzip.compress(_bytes(3))).json()["Status"] == "Success"
    form = [("files", ("a.dcm", _bytes(4))), ("files", ("b.dcm", _bytes(5)))]
    assert len(http.post("/instances", files=form).json()) == 2
    assert http.get("/statistics").json()["CountInstances"] == 5


def test_many_clients_at_once_get_each_their_own_answer(http, pacs):
    def send(number: int) -> tuple[int, str, str]:
        answer = http.post("/instances", content=_bytes(number % 20)).json()
        return number % 20, answer["ID"], answer["Status"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(60)))
    assert sorted(status for _, _, status in answers) == ["AlreadyStored"] * 40 + ["Success"] * 20
    for number, name, _ in answers:
        assert http.get(f"/instances/{name}/content/InstanceNumber").text.strip() == str(number)
    assert pacs.verify().ok


def test_a_gzip_bomb_is_refused(http, pacs):
    bomb = gzip.compress(bytes(100 << 20))
    answer = http.post("/instances", content=bomb)
    assert (answer.status_code, answer.json()["OrthancStatus"]) == (400, 15)
    assert list(pacs.archive.home.tmp.glob("*.part")) == []


def test_a_body_longer_than_allowed_is_cut_off(http):
    assert http.post("/tools/find", content=b" " * (17 << 20)).status_code == 413


def test_deleting_names_the_nearest_ancestor_that_is_left(http, pacs):
    first, second = (http.post("/instances", content=_bytes(number)).json() for number in (1, 2))
    left = http.delete(first["Path"]).json()["RemainingAncestor"]
    assert left == {"ID": first["ParentSeries"], "Path": f"/series/{first['ParentSeries']}", "Type": "Series"}
    assert http.delete(f"/studies/{second['ParentStudy']}").json() == {"RemainingAncestor": None}
    assert http.get("/patients").json() == []
    assert http.get("/changes").json()["Changes"] == []
    assert pacs.verify().ok


def test_objects_are_announced_as_stable_and_lists_page(served, pacs):
    with served(create_app(pacs, access=Access(), stable_age_s=0.2)) as url, httpx.Client(base_url=url) as http:
        for number in (1, 2, 3):
            http.post("/instances", content=_bytes(number))
        for _ in range(100):
            changes = http.get("/changes", params={"type": "StableStudy"}).json()["Changes"]
            if changes:
                break
            time.sleep(0.05)
        assert [change["ResourceType"] for change in changes] == ["Study"]
        assert http.get(changes[0]["Path"]).json()["IsStable"] is True
        page = http.get("/changes", params={"since": 2, "limit": 2}).json()
        assert [change["Seq"] for change in page["Changes"]] == [3, 4]
        assert (page["Done"], page["Last"]) == (False, 4)
        pages = [http.get("/instances", params={"since": since, "limit": 2}).json() for since in (0, 2)]
        assert sorted(pages[0] + pages[1]) == sorted(http.get("/instances").json())


# -- files and pictures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm"])
@pytest.mark.parametrize("kind", ["preview", "image-uint8", "image-uint16", "image-int16"])
def test_pictures_are_orthancs(both, name, kind):
    theirs, ours, answers = both
    path = f"/instances/{answers[FILES.index(name)]['ID']}/{kind}"
    expected, found = (np.asarray(PIL.Image.open(io.BytesIO(one.get(path).content))) for one in (theirs, ours))
    assert found.dtype == expected.dtype
    # A preview is stretched to 8 bits, which Orthanc does in single precision.
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1 if kind == "preview" else 0)


@pytest.mark.parametrize("path", ["numpy", "numpy?rescale=0", "frames/0/numpy", "numpy?compress=1"])
def test_arrays_are_orthancs(both, path):
    theirs, ours, answers = both
    expected, found = (
        np.load(io.BytesIO(one.get(f"/instances/{answers[0]['ID']}/{path}").content)) for one in (theirs, ours)
    )
    if path.endswith("compress=1"):
        expected, found = expected["arr_0"], found["arr_0"]
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_windowed_pictures_are_orthancs_within_rounding(both):
    theirs, ours, answers = both
    path = f"/instances/{answers[0]['ID']}/rendered?window-center=40&window-width=400"
    expected, found = (np.asarray(PIL.Image.open(io.BytesIO(one.get(path).content))) for one in (theirs, ours))
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=2)
    small = PIL.Image.open(io.BytesIO(ours.get(path + "&width=64").content))
    assert small.size == (64, 64)
    jpeg = ours.get(path, headers={"Accept": "image/jpeg"})
    assert (jpeg.headers["content-type"], jpeg.content[:2]) == ("image/jpeg", b"\xff\xd8")


def test_a_series_as_an_array_is_in_the_order_of_its_instances(http):
    for number in (3, 1, 2):
        series = http.post("/instances", content=_bytes(number)).json()["ParentSeries"]
    found = np.load(io.BytesIO(http.get(f"/series/{series}/numpy", params={"rescale": "0"}).content))
    expected = np.stack([small_ct(number).pixel_array for number in (1, 2, 3)])[..., np.newaxis]
    np.testing.assert_array_equal(found, expected)
    slices = http.get(f"/series/{series}/ordered-slices").json()
    assert slices["Type"] == "Volume"
    numbers = [http.get(path.replace("/file", "/content/InstanceNumber")).text.strip() for path in slices["Dicom"]]
    assert numbers == ["1", "2", "3"]


def test_files_go_out_as_attachments_that_nothing_runs(http):
    hostile = b"MZ" + b"\x90" * 126 + _bytes()[128:]
    path = http.post("/instances", content=hostile).json()["Path"]
    answer = http.get(path + "/file")
    assert answer.content == bytes(128) + hostile[128:]
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-length"] == str(len(hostile))


def test_what_is_not_there_is_an_error_of_orthancs_form(http):
    image = http.post("/instances", content=_bytes()).json()["Path"]
    text = http.post("/instances", content=_bytes(2, PixelData=None)).json()["Path"]
    for path, status in (
        (f"{text}/preview", 415),
        (f"{text}/numpy", 415),
        (f"{image}/frames/7/raw", 404),
        (f"{image}/frames/x/preview", 404),
        (f"{image}/frames/\u00b2/preview", 404),
        (f"{image}/frames/-1/preview", 404),
        (f"{image}/nothing", 404),
        (f"{image}/rendered?width=1e9", 400),
        (f"{image}/rendered?window-center=nan&window-width=1", 400),
        ("/changes?since=x", 400),
    ):
        answer = http.get(path)
        assert (path, answer.status_code, answer.json()["HttpStatus"]) == (path, status, status)
    assert http.get(f"{image}/content/0008-1140/0").status_code == 404


def _bytes(number: int = 1, **attributes: object) -> bytes:
    buffer = io.BytesIO()
    small_ct(number, **attributes).save_as(buffer, enforce_file_format=True)  # type: ignore[arg-type]
    return buffer.getvalue()
