"""STOW-RS keeps what it is sent, tells about every part, and lets nothing else in."""

import sqlite3
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from .conftest import Served, path_of

BOUNDARY = "a-boundary"
DICOM = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
AS_STORED = {"Accept": "application/dicom; transfer-syntax=*"}


def ct() -> pydicom.Dataset:
    return pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))


def bytes_of(ds: pydicom.Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def body(*contents: bytes, media_type: str = "application/dicom") -> bytes:
    opening = f"--{BOUNDARY}\r\nContent-Type: {media_type}\r\n\r\n".encode()
    return b"".join(opening + content + b"\r\n" for content in contents) + f"--{BOUNDARY}--".encode()


def post(served: Served, content: Any, path: str = "/studies", media_type: str = DICOM) -> Any:
    return served.http.post(path, content=content, headers={"Content-Type": media_type})


def sequence(answer: Any, tag: str) -> list[dict[str, Any]]:
    return [
        {name: (one.get("Value") or [None])[0] for name, one in item.items()}
        for item in answer.json().get(tag, {}).get("Value", [])
    ]


def test_what_dicomweb_client_stores_comes_back_bit_for_bit(empty: Served) -> None:
    ds = ct()
    answer = empty.client.store_instances([ds])
    (stored,) = answer.ReferencedSOPSequence
    assert (stored.ReferencedSOPInstanceUID, stored.ReferencedSOPClassUID) == (ds.SOPInstanceUID, ds.SOPClassUID)
    assert empty.http.get(stored.RetrieveURL, headers=AS_STORED).content == bytes_of(ds)
    assert len(empty.pacs.search("instance")) == 1


def test_sent_twice_is_stored_once_and_success(empty: Served) -> None:
    content = bytes_of(ct())
    assert [post(empty, body(content)).status_code for _ in range(2)] == [200, 200]
    assert post(empty, body(content, content)).status_code == 200
    assert len(empty.http.get("/instances").json()) == 1


def test_another_content_under_a_uid_is_kept_aside_with_a_warning(empty: Served) -> None:
    first, second = ct(), ct()
    second.PatientComments = "changed"
    post(empty, body(bytes_of(first)))
    answer = post(empty, body(bytes_of(second)))
    assert answer.status_code == 202
    (warned,) = sequence(answer, "00081199")
    assert warned["00081196"] == 0x0111
    assert empty.http.get(path_of(first), headers=AS_STORED).content == bytes_of(first)


def test_what_could_not_be_stored_leaves_no_file_behind(empty: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as fault:
        fault.setattr(empty.pacs.archive.ledger, "writing", broken)
        assert post(empty, body(bytes_of(ct()))).status_code == 503
    assert not list(empty.pacs.archive.home.tmp.rglob("*.part"))
    assert post(empty, body(bytes_of(ct()))).status_code == 200


def test_each_part_has_its_own_result(empty: Served) -> None:
    other = ct()
    other.StudyInstanceUID = generate_uid()
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    answer = post(empty, body(bytes_of(ct()), b"no DICOM", bytes_of(other)), f"/studies/{ct().StudyInstanceUID}")
    assert answer.status_code == 202
    assert [one["00081155"] for one in sequence(answer, "00081199")] == [ct().SOPInstanceUID]
    assert [(one["00081155"], one["00081197"]) for one in sequence(answer, "00081198")] == [
        (other.SOPInstanceUID, 0xA900)
    ]
    assert [one["00081197"] for one in sequence(answer, "0008119A")] == [0xC000]
    assert len(empty.http.get("/instances").json()) == 1


def test_nothing_stored_is_409(empty: Served) -> None:
    answer = post(empty, body(b"no DICOM", b""))
    assert answer.status_code == 409
    assert len(sequence(answer, "0008119A")) == 2


@pytest.mark.parametrize(
    ("media_type", "status"),
    [("application/dicom", 415), ("text/plain", 415), ("", 415), ("nonsense", 400),
     ('multipart/related; type="application/dicom+json"; boundary=x', 415),
     ('multipart/related; type="application/dicom"', 400),
     (f'multipart/related; type="application/dicom"; boundary={"b" * 71}', 400)],
)  # fmt: skip
def test_a_wrong_type_is_415(empty: Served, media_type: str, status: int) -> None:
    assert post(empty, body(b"x"), media_type=media_type).status_code == status


def test_a_part_of_another_type_is_415(empty: Served) -> None:
    assert post(empty, body(b"{}", media_type="application/dicom+json")).status_code == 415


@pytest.mark.parametrize("cut", [1, 10, 400])
def test_a_body_cut_off_is_400_and_what_was_whole_stays(empty: Served, cut: int) -> None:
    second = ct()
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    answer = post(empty, body(bytes_of(ct()), bytes_of(second))[:-cut])
    assert answer.status_code == 400
    assert "cut off" in answer.json()["Message"]
    found = [one["00080018"]["Value"][0] for one in empty.http.get("/instances").json()]
    assert set(found) <= {ct().SOPInstanceUID, second.SOPInstanceUID}
    assert list(empty.pacs.archive.home.tmp.glob("*/*.part")) == []
    assert post(empty, body(bytes_of(ct()), bytes_of(second))).status_code == 200


def test_a_deleted_object_is_gone_at_every_level(empty: Served, real_data: Path) -> None:
    empty.pacs.ingest(real_data / "dicomdir", progress=False)
    ds = pydicom.Dataset.from_json(empty.http.get("/instances").json()[0])
    study, series, sop = str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID)
    count = len(empty.http.get("/instances").json())
    empty.client.delete_instance(study, series, sop)
    assert len(empty.http.get("/instances").json()) == count - 1
    empty.client.delete_series(study, series)
    assert series not in {one["0020000E"]["Value"][0] for one in empty.http.get("/series").json()}
    empty.client.delete_study(study)
    assert empty.http.get(f"/studies/{study}").status_code == 404
    assert empty.http.delete(f"/studies/{study}").status_code == 404
    assert len(empty.pacs.search("study", StudyInstanceUID=study)) == 0
    assert not empty.pacs.verify().problems


def test_memory_stays_flat_while_much_goes_in_and_out(empty: Served) -> None:
    """A quarter of a gigabyte in one body, in one process with the test."""
    ds = ct()
    ds.Rows = ds.Columns = 4096
    ds.PixelData = bytes(4096 * 4096 * 2)
    study = ds.StudyInstanceUID
    process = psutil.Process()

    def many(count: int) -> Iterator[bytes]:
        for _ in range(count):
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            yield f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + bytes_of(ds) + b"\r\n"
        yield f"--{BOUNDARY}--".encode()

    assert post(empty, many(1)).status_code == 200
    before = process.memory_info().rss
    assert post(empty, many(7)).status_code == 200
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    received = 0
    with empty.http.stream("GET", f"/studies/{study}", headers={"Accept": accept}) as answer:
        for chunk in answer.iter_raw():
            received += len(chunk)
    assert received > 8 * 4096 * 4096 * 2
    assert process.memory_info().rss - before < 150 << 20
