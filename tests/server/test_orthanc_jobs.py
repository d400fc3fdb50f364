"""What is done in jobs: modify, anonymize and zip archives, driven by an unmodified orthanc-api-client."""

import io
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest
from orthanc_api_client import OrthancApiClient
from orthanc_api_client.exceptions import HttpError
from pydicom import Dataset, dcmread
from pydicom.uid import JPEGLSLossless, RLELossless
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
OTHER = "1.2.3"
STUDY = Identity("A", "", CT.StudyInstanceUID, "", "").orthanc_id("study")
SERIES = Identity("A", "", CT.StudyInstanceUID, CT.SeriesInstanceUID, "").orthanc_id("series")
SECOND = Identity("A", "", CT.StudyInstanceUID, OTHER, "").orthanc_id("series")
INSTANCE = Identity("A", "", CT.StudyInstanceUID, CT.SeriesInstanceUID, CT.SOPInstanceUID).orthanc_id("instance")


@pytest.fixture
def pacs(home: Path) -> Iterator["rp._pacs.Pacs"]:
    with rp.connect(home) as pacs:
        second = small_ct(3, SeriesInstanceUID=OTHER, SeriesDescription="../../etc/pa\u00dfwd")
        source = Dataset()
        source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = CT.SOPClassUID, CT.SOPInstanceUID
        second.SourceImageSequence = [source]
        second.add_new(0x00091001, "LO", "private")
        pacs.ingest([small_ct(1), small_ct(2), second])
        yield pacs


@pytest.fixture
def url(pacs: "rp._pacs.Pacs", served: Served) -> Iterator[str]:
    with served(create_app(pacs, access=Access())) as url:
        yield url


# -- modify -----------------------------------------------------------------------------------------------------------


def test_a_modified_study_has_new_uids_and_references_that_fit(client: OrthancApiClient) -> None:
    made = client.studies.modify(
        STUDY, replace_tags={"StudyDescription": "new"}, remove_tags=["0009,1001"], delete_original=False
    )
    old, new = files_of(client, STUDY), files_of(client, made)
    assert len(old) == len(new) == 3
    assert {ds.StudyDescription for ds in new} == {"new"}
    assert {ds.PatientID for ds in new} == {"A"}
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        was, now = {ds[keyword].value for ds in old}, {ds[keyword].value for ds in new}
        assert len(was) == len(now)
        assert not was & now
    (second,) = (ds for ds in new if "SourceImageSequence" in ds)
    assert second.SourceImageSequence[0].ReferencedSOPInstanceUID in {ds.SOPInstanceUID for ds in new}
    assert 0x00091001 not in second
    assert {ds.FrameOfReferenceUID for ds in new} == {CT.FrameOfReferenceUID}
    assert sorted(ds.PixelData for ds in new) == sorted(ds.PixelData for ds in old)


def test_a_modified_series_stays_in_its_study_and_the_source_goes_when_told(client: OrthancApiClient) -> None:
    made = client.series.modify(SERIES, replace_tags={"SeriesDescription": "new"}, delete_original=True)
    assert client.series.get_parent_study_id(made) == STUDY
    assert not client.series.exists(SERIES)
    assert len(client.studies.get_instances_ids(STUDY)) == 3


def test_what_makes_the_identity_is_changed_by_force_only(http: httpx.Client) -> None:
    def modify(**options: object) -> httpx.Response:
        return http.post(f"/studies/{STUDY}/modify", json=options)

    assert modify(Replace={"PatientID": "B"}).status_code == 400
    assert modify(Replace={"NoSuchTag": "B"}).status_code == 400
    assert modify(Remove=["SOPInstanceUID"], Force=True).status_code == 400
    assert http.post("/studies/nope/modify", json={}).status_code == 404
    assert http.post(f"/studies/{STUDY}/modify", content=b"[").json()["OrthancStatus"] == 14
    made = modify(Replace={"PatientID": "B"}, Force=True).json()
    assert (made["Type"], made["IsAnonymization"], made["FailedInstancesCount"]) == ("Study", False, 0)
    assert http.get(made["Path"]).json()["PatientMainDicomTags"]["PatientID"] == "B"
    uids = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
    kept = modify(Keep=uids, Replace={"StudyDescription": "x"}, Force=True)
    assert (kept.status_code, "identity" in kept.json()["Details"]) == (400, True)


def test_an_instance_is_modified_on_its_way_out(client: OrthancApiClient) -> None:
    content = client.instances.modify(INSTANCE, replace_tags={"PatientName": "New^Name"})
    ds = dcmread(io.BytesIO(content))
    assert (ds.PatientName, ds.PatientID, ds.SeriesInstanceUID) == ("New^Name", "A", CT.SeriesInstanceUID)
    assert ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID != CT.SOPInstanceUID
    assert client.get_statistics().instances_count == 3


def test_many_resources_are_modified_in_one_job(client: OrthancApiClient) -> None:
    instances, series, studies, patients = client.series.modify_bulk(
        [SERIES, SECOND], replace_tags={"SeriesDescription": "bulk"}, delete_original=True
    )
    assert (len(instances), len(series), studies, len(patients)) == (3, 2, [STUDY], 1)
    assert {client.series.get(name).main_dicom_tags.get("SeriesDescription") for name in series} == {"bulk"}
    assert not client.series.exists(SERIES)


# -- anonymize --------------------------------------------------------------------------------------------------------


def test_an_anonymized_study_says_nothing_of_who_it_is(client: OrthancApiClient) -> None:
    made = client.studies.anonymize(STUDY, delete_original=False)
    files = files_of(client, made)
    assert len(files) == 3
    assert len({ds.PatientID for ds in files}) == 1
    for ds in files:
        text = str(ds).replace(ds.DeidentificationMethod, "")
        for told in ("Test", "Phantom", "19700101", "20240229", "private", CT.StudyInstanceUID, CT.FrameOfReferenceUID):
            assert told not in text
        assert ds.PatientID != "A"
        assert ds.PatientIdentityRemoved == "YES"
        assert ds.StudyDate == ds.PatientBirthDate == ""
    (second,) = (ds for ds in files if "SourceImageSequence" in ds)
    assert second.SourceImageSequence[0].ReferencedSOPInstanceUID in {ds.SOPInstanceUID for ds in files}
    again = client.studies.anonymize(STUDY, delete_original=False)
    assert {ds.PatientID for ds in files_of(client, again)} != {files[0].PatientID}, "another job, another secret"


def test_anonymizing_replaces_and_keeps_as_told(client: OrthancApiClient) -> None:
    made = client.studies.anonymize(
        STUDY,
        replace_tags={"PatientID": "P1", "PatientName": "P^1"},
        keep_tags=["StudyDescription"],
        force=True,
        delete_original=False,
    )
    assert {(ds.PatientID, str(ds.PatientName), ds.StudyDescription) for ds in files_of(client, made)} == {
        ("P1", "P^1", "test")
    }


def test_a_job_shows_no_patient(http: httpx.Client) -> None:
    options = {"Replace": {"PatientID": "Secret7", "PatientName": "Secret^Name"}, "Force": True, "Asynchronous": True}
    job = http.post(f"/studies/{STUDY}/anonymize", json=options).json()
    done = _done(http, job["ID"])
    assert (done["State"], done["Progress"], done["Type"]) == ("Success", 100, "ResourceModification")
    assert "Secret" not in http.get("/jobs", params={"expand": ""}).text
    assert done["Content"]["InstancesCount"] == 3


# -- jobs -------------------------------------------------------------------------------------------------------------


def test_jobs_are_steered_as_orthanc_api_client_does(client: OrthancApiClient, pacs: "rp._pacs.Pacs") -> None:
    job = pacs.archive.jobs.submit("NobodyDoesThis", {})
    assert job.id in client.jobs.get_all_ids()
    client.jobs.pause(job.id)
    assert client.jobs.get(job.id).info.status == "Paused"
    client.jobs.resume(job.id)
    assert client.jobs.get(job.id).info.status == "Pending"
    client.jobs.cancel(job.id)
    found = client.jobs.get_json(job.id)
    assert (found["State"], found["ErrorCode"]) == ("Failure", 37)
    client.jobs.resubmit(job.id)
    assert client.jobs.get(job.id).info.status == "Pending"
    with pytest.raises(HttpError):
        client.jobs.resume(job.id)


def test_a_failed_job_says_why_without_a_value(http: httpx.Client) -> None:
    options = {"Replace": {"Rows": "not a number"}, "Asynchronous": True}
    done = _done(http, http.post(f"/studies/{STUDY}/modify", json=options).json()["ID"])
    assert (done["State"], done["ErrorCode"]) == ("Failure", 8)
    assert "not a number" not in str(done)


# -- zip archives -----------------------------------------------------------------------------------------------------


def test_an_archive_holds_every_file_bit_for_bit_under_harmless_names(client: OrthancApiClient, tmp_path: Path) -> None:
    client.studies.download_archive(STUDY, str(tmp_path / "a.zip"))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert sorted(archive.namelist()) == [
            "A TestPhantom/7 test/CT .. .. etc pawd/CT000000.dcm".replace("TestPhantom", "Test Phantom"),
            "A Test Phantom/7 test/CT small/CT000000.dcm",
            "A Test Phantom/7 test/CT small/CT000001.dcm",
        ]
        found = sorted(archive.read(name) for name in archive.namelist())
    assert found == sorted(client.instances.get_file(name) for name in client.studies.get_instances_ids(STUDY))


def test_a_medium_has_a_directory_that_dcmtk_reads(client: OrthancApiClient, tmp_path: Path) -> None:
    client.studies.download_media(STUDY, str(tmp_path / "m.zip"))
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        archive.extractall(tmp_path / "m")
    dump = subprocess.run(["dcmdump", tmp_path / "m" / "DICOMDIR"], capture_output=True, text=True, check=True).stdout
    files = [line.split("refFileID=")[1].strip().strip('"') for line in dump.splitlines() if "refFileID" in line]
    assert len(files) == 3
    for name in files:
        path = tmp_path.joinpath("m", *name.split("\\"))
        subprocess.run(["dcmftest", path], check=True, stdout=subprocess.DEVNULL)
        assert all(part.isalnum() and len(part) <= 8 for part in name.split("\\"))
    assert dump.count('"Directory Record" SERIES') == 2


def test_an_archive_is_made_in_a_job_and_fetched_later(http: httpx.Client) -> None:
    options = {"Resources": [SERIES, SECOND], "Asynchronous": True, "Filename": "mine.zip"}
    job = http.post("/tools/create-archive", json=options).json()
    done = _done(http, job["ID"])
    assert (done["State"], done["Type"], done["Content"]["InstancesCount"]) == ("Success", "Archive", 3)
    fetched = http.get(f"/jobs/{job['ID']}/archive").content
    assert len(fetched) == int(done["Content"]["ArchiveSize"])
    assert len(zipfile.ZipFile(io.BytesIO(fetched)).namelist()) == 3
    assert http.post("/tools/create-archive", json={"Resources": ["nope"]}).status_code == 404
    assert http.get("/studies/nope/archive").status_code == 404


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_an_archive_is_transcoded_without_losing_a_bit(http: httpx.Client, syntax: str) -> None:
    content = http.get(f"/series/{SERIES}/archive", params={"transcode": syntax}).content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = [dcmread(io.BytesIO(archive.read(name))) for name in archive.namelist()]
    assert {ds.file_meta.TransferSyntaxUID for ds in files} == {syntax}
    for ds in files:
        assert (ds.pixel_array == small_ct(int(ds.InstanceNumber)).pixel_array).all()
    lossy = http.get(f"/series/{SERIES}/archive", params={"transcode": "1.2.840.10008.1.2.4.50"})
    assert lossy.status_code == 400


def _done(http: httpx.Client, job_id: str) -> dict[str, object]:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        job: dict[str, object] = http.get(f"/jobs/{job_id}").json()
        if job["State"] in ("Success", "Failure"):
            return job
        time.sleep(0.02)
    raise AssertionError("the job did not end")


@pytest.mark.parametrize("kind", ["archive", "media"])
def test_what_a_page_can_have_a_browser_get_begins_no_job(http: httpx.Client, pacs: "rp._pacs.Pacs", kind: str) -> None:
    """An image tag needs no permission of this server, so GET gives the archive and leaves nothing behind."""
    paths = [f"/studies/{STUDY}/{kind}", f"/tools/create-{kind}?resources={STUDY}"]
    for path in paths:
        for option in (
            "Asynchronous=1",
            "asynchronous=1",
            "Synchronous=",
            "Priority=9",
            "Synchronous=0&Asynchronous=true",
        ):
            answer = http.get(f"{path}{'&' if '?' in path else '?'}{option}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
            assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None
    assert pacs.archive.jobs.all() == []
    assert http.post(f"/studies/{STUDY}/{kind}", json={"Asynchronous": True}).json()["Path"].startswith("/jobs/")
