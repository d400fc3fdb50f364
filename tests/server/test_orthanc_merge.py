"""Merge, split, bulk operations and create-dicom, over HTTP and by an unmodified orthanc-api-client."""

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import httpx
import numpy as np
import pytest
from orthanc_api_client import OrthancApiClient
from PIL import Image
from pydicom import dcmread
from starlette.applications import Starlette

import researchpacs as rp
from researchpacs.model import Identity
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.testing import small_ct

from .conftest import files_of

pytestmark = pytest.mark.server

Served: TypeAlias = Callable[[Starlette], AbstractContextManager[str]]

CT = small_ct(1)
OTHER = small_ct(
    7, StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.1", SOPInstanceUID="1.2.9.1.1", PatientID="B",
    SpecificCharacterSet="ISO_IR 100", PatientName="M\u00fcller^Ada", StudyDescription="other",
)  # fmt: skip
STUDY = Identity("A", "", CT.StudyInstanceUID, "", "").orthanc_id("study")
SERIES = Identity("A", "", CT.StudyInstanceUID, CT.SeriesInstanceUID, "").orthanc_id("series")
SECOND = Identity("A", "", CT.StudyInstanceUID, "1.2.3", "").orthanc_id("series")
TARGET = Identity("B", "", "1.2.9", "", "").orthanc_id("study")


@pytest.fixture
def url(home: Path, served: Served) -> Iterator[str]:
    with rp.connect(home) as pacs:
        pacs.ingest([small_ct(1), small_ct(2), small_ct(3, SeriesInstanceUID="1.2.3"), OTHER])
        with served(create_app(pacs, access=Access())) as url:
            yield url


def test_merged_series_take_patient_and_study_of_the_target(http: httpx.Client, client: OrthancApiClient) -> None:
    before = files_of(client, STUDY)
    made = http.post(f"/studies/{TARGET}/merge", json={"Resources": [SERIES]}).json()
    assert (made["TargetStudy"], made["InstancesCount"], made["FailedInstancesCount"]) == (TARGET, 2, 0)
    files = files_of(client, TARGET)
    assert len(files) == 3
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDescription"):
        assert {str(ds[keyword].value) for ds in files} == {str(OTHER[keyword].value)}
    assert not {ds.SOPInstanceUID for ds in files} & {ds.SOPInstanceUID for ds in before}
    assert {ds.PixelData for ds in files} > {ds.PixelData for ds in before if ds.SeriesInstanceUID != "1.2.3"}
    assert not client.series.exists(SERIES), "merging moves"
    assert client.series.exists(SECOND)


def test_merging_into_itself_or_nothing_is_refused(http: httpx.Client) -> None:
    assert http.post(f"/studies/{STUDY}/merge", json={"Resources": [SERIES]}).status_code == 404
    assert http.post(f"/studies/{STUDY}/merge", json={"Resources": []}).status_code == 400
    assert http.post(f"/studies/{STUDY}/merge", json={"Resources": ["nope"]}).status_code == 404
    assert http.post("/studies/nope/merge", json={"Resources": [SERIES]}).status_code == 404


def test_split_series_are_a_study_of_their_own(http: httpx.Client, client: OrthancApiClient) -> None:
    options = {"Series": [SECOND], "Replace": {"StudyDescription": "split"}, "KeepSource": True}
    made = http.post(f"/studies/{STUDY}/split", json=options).json()
    (ds,) = files_of(client, made["TargetStudy"])
    assert (ds.StudyInstanceUID, ds.StudyDescription, ds.PatientID) == (made["TargetStudyUID"], "split", "A")
    assert ds.StudyInstanceUID != CT.StudyInstanceUID
    assert client.series.exists(SECOND)
    foreign = http.post(f"/studies/{TARGET}/split", json={"Series": [SERIES]})
    assert foreign.status_code == 404


def test_many_are_deleted_and_described_at_once(http: httpx.Client, client: OrthancApiClient) -> None:
    shown = http.post("/tools/bulk-content", json={"Resources": [SERIES, SECOND]}).json()
    assert [one["ID"] for one in shown] == [SERIES, SECOND]
    assert "LastUpdate" in shown[0]["Metadata"]
    parents = http.post("/tools/bulk-content", json={"Resources": [SERIES, SECOND], "Level": "Study"}).json()
    assert [one["ID"] for one in parents] == [STUDY]
    below = http.post("/tools/bulk-content", json={"Resources": [STUDY], "Level": "Instance"}).json()
    assert len(below) == 3
    assert http.post("/tools/bulk-delete", json={"Resources": [SERIES, TARGET]}).json() == {}
    assert client.get_statistics().instances_count == 1
    assert http.post("/tools/bulk-delete", json={"Resources": ["nope"]}).status_code == 404


@pytest.mark.parametrize("mode", ["L", "RGB", "I;16"])
def test_a_picture_becomes_an_instance_with_the_same_pixels(
    client: OrthancApiClient, tmp_path: Path, mode: str
) -> None:
    values = np.random.default_rng(1).integers(0, 255, (11, 7, 3) if mode == "RGB" else (11, 7))
    values = values.astype(np.uint16 if mode == "I;16" else np.uint8) * (200 if mode == "I;16" else 1)
    Image.fromarray(values).save(tmp_path / "a.png")
    tags = {"PatientID": "P", "PatientName": "\u5c71\u7530^\u592a\u90ce", "Modality": "OT"}
    name = client.create_instance_from_png(str(tmp_path / "a.png"), tags)
    ds = dcmread(io.BytesIO(client.instances.get_file(name)))
    assert np.array_equal(ds.pixel_array, values)
    assert (ds.PatientID, str(ds.PatientName)) == ("P", "\u5c71\u7530^\u592a\u90ce")


def test_a_document_joins_the_study_that_it_is_given(client: OrthancApiClient, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4\nodd")
    name = client.create_pdf(str(tmp_path / "a.pdf"), {"SeriesDescription": "letter"}, parent_id=TARGET)
    ds = dcmread(io.BytesIO(client.instances.get_file(name)))
    assert (ds.StudyInstanceUID, ds.PatientID, str(ds.PatientName)) == ("1.2.9", "B", "M\u00fcller^Ada")
    assert ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength] == b"%PDF-1.4\nodd"
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.104.1"


@pytest.mark.parametrize(
    "options",
    [
        {"Content": "data:image/png;base64,AAAA"},
        {"Content": "data:image/png;base64,%%%"},
        {"Content": "data:text/html;base64,AAAA"},
        {"Content": "data:application/pdf;base64,AAAA"},
        {"Tags": {"NoSuchTag": "x"}, "Content": "data:application/pdf;base64,JVBERi0="},
        {"Tags": {"PatientID": "x"}},
        {"Tags": {"PatientID": "Z"}, "Parent": STUDY, "Content": "data:application/pdf;base64,JVBERi0="},
    ],
)
def test_what_cannot_be_made_is_refused(http: httpx.Client, options: dict[str, object]) -> None:
    answer = http.post("/tools/create-dicom", json=options)
    assert answer.status_code == 400
    assert answer.json()["OrthancStatus"] in (8, 15)
