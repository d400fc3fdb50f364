"""Jobs, modification, anonymization, metadata and attachments, held against a real Orthanc that has the same."""

import io
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.datadict import DicomDictionary

import researchpacs as rp
from researchpacs.model import Identity
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.testing import small_ct

from .conftest import RealOrthanc, Served, file_bytes, wait_until

pytestmark = pytest.mark.server

CT = small_ct(1)
STUDY = Identity("A", "", CT.StudyInstanceUID, "", "").orthanc_id("study")
SERIES = Identity("A", "", CT.StudyInstanceUID, CT.SeriesInstanceUID, "").orthanc_id("series")
INSTANCE = Identity("A", "", CT.StudyInstanceUID, CT.SeriesInstanceUID, CT.SOPInstanceUID).orthanc_id("instance")
VALUES = {
    "AE": "TOLD", "AS": "030Y", "CS": "TOLD", "DA": "20200101", "DS": "1.5", "DT": "20200101101010", "IS": "3",
    "LO": "told", "LT": "told", "PN": "Told^Told", "SH": "told", "ST": "told", "TM": "101010", "UC": "told",
    "UI": "1.2.3.4.5", "UR": "http://told", "UT": "told", "OB": b"told", "OW": b"told", "UN": b"told",
}  # fmt: skip
DOCUMENTS = ("ContentSequence", "EncapsulatedDocument", "GraphicAnnotationSequence")
STRUCTURE = ("SpecificCharacterSet", "LengthToEnd", "NumberOfFrames")


@pytest.fixture(scope="module")
def theirs(real_orthanc: RealOrthanc) -> Iterator[httpx.Client]:
    """A real Orthanc with two instances of one series."""
    with real_orthanc(small_ct(1), small_ct(2)) as client:
        yield client


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, served: Served) -> Iterator[httpx.Client]:
    """Ours with the same."""
    with rp.connect(tmp_path_factory.mktemp("ours") / "home") as pacs:
        pacs.ingest([small_ct(1), small_ct(2)])
        with (
            served(create_app(pacs, access=Access())) as url,
            httpx.Client(base_url=url, timeout=30) as client,
        ):
            yield client


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (f"/studies/{STUDY}/modify", {"Replace": {"StudyDescription": "x"}}),
        (f"/series/{SERIES}/modify", {"Replace": {"SeriesDescription": "x"}}),
        (f"/studies/{STUDY}/anonymize", {}),
        (f"/studies/{STUDY}/split", {"Series": [SERIES], "KeepSource": True}),
        (f"/studies/{STUDY}/archive", {"Asynchronous": True}),
        (f"/studies/{STUDY}/media", {"Asynchronous": True}),
    ],
)
def test_a_job_shows_the_same_members_of_the_same_types(
    theirs: httpx.Client, ours: httpx.Client, path: str, options: dict[str, Any]
) -> None:
    shown = [_job(client, path, options) for client in (theirs, ours)]
    assert _shape(shown[1]) == _shape(shown[0])
    for member in ("Type", "State", "Progress", "ErrorCode", "ErrorDescription", "Priority"):
        assert shown[1][member] == shown[0][member]


def test_modified_objects_are_named_alike(theirs: httpx.Client, ours: httpx.Client) -> None:
    options = {"Replace": {"PatientID": "Z", "StudyInstanceUID": "1.2.77"}, "Force": True}
    answers = [client.post(f"/instances/{INSTANCE}/modify", json=options) for client in (theirs, ours)]
    files = [dcmread(io.BytesIO(answer.content)) for answer in answers]
    assert [answer.headers["Content-Type"] for answer in answers] == ["application/dicom"] * 2
    for ds in files:
        # PatientID moves it to another patient: everything below has new UIDs but what is replaced.
        assert {CT.SeriesInstanceUID, CT.SOPInstanceUID}.isdisjoint({ds.SeriesInstanceUID, ds.SOPInstanceUID})
        ds.SeriesInstanceUID = ds.SOPInstanceUID = ""
    assert {element.tag: element for element in files[1]} == {element.tag: element for element in files[0]}


@pytest.mark.parametrize("kind", ["metadata", "attachments"])
def test_what_is_kept_beside_answers_alike(theirs: httpx.Client, ours: httpx.Client, kind: str) -> None:
    path = f"/studies/{STUDY}/{kind}"
    data = "/data" if kind == "attachments" else ""
    for client in (theirs, ours):
        client.put(f"{path}/1024", content=b"body").raise_for_status()
    for method, tail in (("GET", f"/1024{data}"), ("GET", "/1030"), ("PUT", "/LastUpdate"), ("PUT", "/dicom")):
        if (tail == "/LastUpdate") == (kind == "attachments") and tail not in ("/1030", f"/1024{data}"):
            continue
        one, two = (
            client.request(method, path + tail, content=b"x" if method == "PUT" else None) for client in (theirs, ours)
        )
        assert (one.status_code, one.headers.get("ETag")) == (two.status_code, two.headers.get("ETag")), tail
        if one.status_code == 200:
            assert one.content == two.content
    for client in (theirs, ours):
        etag = client.get(f"{path}/1024{data}").headers["ETag"]
        assert client.delete(f"{path}/1024", headers={"If-Match": etag}).status_code == 200
        assert client.get(f"{path}/1024{data}").status_code == 404


def test_whatever_orthanc_takes_out_is_taken_out_here(theirs: httpx.Client, ours: httpx.Client) -> None:
    file = file_bytes(_everything())
    was = dcmread(io.BytesIO(file))
    cleaned = []
    for client in (theirs, ours):
        name = client.post("/instances", content=file).raise_for_status().json()["ID"]
        answer = client.post(f"/instances/{name}/anonymize", json={}).raise_for_status()
        cleaned.append(dcmread(io.BytesIO(answer.content), force=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        taken = {tag for tag in was.keys() if not _stayed(cleaned[0], was, tag)}  # noqa: SIM118
        left = {was[tag].keyword for tag in taken if _stayed(cleaned[1], was, tag)}
    assert len(taken) > 350
    assert left == set()


def _everything() -> Dataset:
    """A CT image with every attribute that a text, a code or bytes can be in."""
    ds = small_ct(9)
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        known = tag in ds or tag >> 16 in (0, 2, 4, 0x28, 0x7FE0) or keyword in (*DOCUMENTS, *STRUCTURE, "")
        if known or tag & 0xFFFF == 0:
            continue
        if vr == "SQ":
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99X", "told"
            ds[tag] = DataElement(tag, "SQ", [item])
        elif vr in VALUES:
            ds[tag] = DataElement(tag, vr, VALUES[vr])
    return ds


def _stayed(ds: Dataset, was: Dataset, tag: Any) -> bool:
    if tag not in ds:
        return False
    return len(ds[tag].value) > 0 if ds[tag].VR == "SQ" else bool(ds[tag].value == was[tag].value)


def _job(client: httpx.Client, path: str, options: dict[str, Any]) -> dict[str, Any]:
    made = client.post(path, json={**options, "Asynchronous": True}).raise_for_status().json()
    assert set(made) == {"ID", "Path"}
    wait_until(lambda: client.get(made["Path"]).json()["State"] not in ("Pending", "Running"))
    job: dict[str, Any] = client.get(made["Path"]).json()
    return job


def _shape(value: Any) -> Any:
    """Members and types, numbers being one type in JSON."""
    if isinstance(value, dict):
        return {name: _shape(one) for name, one in value.items()}
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__
