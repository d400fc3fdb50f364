"""Bodies that break off, lie about themselves or grow: refused in the protocol's own form, in bounded memory."""

import base64
import gzip
import io
import os
import random
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian

from .conftest import BOUNDARY, MOST_MB, STOW, Victim, as_file, stow_body

pytestmark = pytest.mark.server

MB = 1 << 20
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
PREAMBLES = {
    b"MZ": bytes(128),
    b"\x7fELF": bytes(128),
    b"#!/bin/sh\n": bytes(128),
    b"<html><script>": bytes(128),
}


def deflated(inflated_bytes: int) -> bytes:
    """A sound deflated instance that is nearly all zeros."""
    ds = dcmread(io.BytesIO(as_file(700, SOPInstanceUID="1.2.700")))
    side = int((inflated_bytes // 2) ** 0.5)
    ds.Rows = ds.Columns = side
    ds.PixelData = bytes(side * side * 2)
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def zip_of(members: Iterator[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def with_overlapping_entries(count: int) -> bytes:
    """One member of a megabyte of zeros, which the directory lists again and again (a "better zip bomb")."""
    content = zlib.compress(bytes(MB), 9)[2:-4]
    crc = zlib.crc32(bytes(MB))
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, crc, len(content), MB, 1, 0) + b"a" + content
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, crc, len(content), MB, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, count * len(entry), len(local), 0)
    return local + entry * count + end


def with_lying_size(declared: int) -> bytes:
    """A member that says it is small, or large, and is a megabyte."""
    data = bytearray(zip_of(iter([("a.dcm", bytes(MB))])))
    place = data.rindex(b"PK\1\2")
    data[place + 24 : place + 28] = struct.pack("<I", declared)
    return bytes(data)


ZIPS = {
    "nested": lambda: zip_of(iter([("in.zip", zip_of(iter([("b.zip", zip_of(iter([("c", bytes(64 * MB))])))])))])),
    "large": lambda: zip_of((f"{n}.dcm", bytes(128 * MB)) for n in range(2)),
    "many": lambda: zip_of((f"{n}.dcm", b"") for n in range(2_000)),
    "overlapping": lambda: with_overlapping_entries(60_000),
    "says small": lambda: with_lying_size(10),
    "says large": lambda: with_lying_size(0xFFFF_FFF0),
    "cut": lambda: zip_of(iter([("a.dcm", as_file(1))]))[:-30],
    "paths": lambda: zip_of(iter([("../../../x.dcm", as_file(801)), ("/etc/x.dcm", b"x"), ("C:\\x", b"x")])),
    "directory without members": lambda: b"PK\3\4" + bytes(200) + b"PK\5\6" + b"\xff" * 18,
}


@pytest.mark.parametrize("name", ZIPS)
def test_a_zip_bomb_does_not_go_off(victim: Victim, name: str) -> None:
    before, begun = victim.forget_peak(), time.monotonic()
    answer = victim.http.post("/instances", content=ZIPS[name]())
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert len(answer.json()) <= 1
    assert victim.peak_mb - before < 150
    assert time.monotonic() - begun < 60
    assert not list(Path("/etc").glob("x.dcm"))
    victim.is_well()


GZIPS = {
    "ratio": lambda: gzip.compress(gzip.compress(bytes(512 * MB), 1), 1),
    "many members": lambda: gzip.compress(b"", 1) * 200_000,
    "large": lambda: gzip.compress(bytes(256 * MB), 1),
    "thrice": lambda: gzip.compress(gzip.compress(gzip.compress(as_file()))),
    "cut": lambda: gzip.compress(as_file())[:-9],
}


@pytest.mark.parametrize("name", GZIPS)
def test_a_gzip_bomb_does_not_go_off(victim: Victim, name: str) -> None:
    body = GZIPS[name]()
    before, begun = victim.forget_peak(), time.monotonic()
    answer = victim.http.post("/instances", content=body)
    assert answer.status_code == 400
    assert answer.json()["OrthancStatus"] == 15
    assert victim.peak_mb - before < 150
    assert time.monotonic() - begun < 60
    victim.is_well()


def test_a_deflated_bomb_is_refused_by_every_door(victim: Victim) -> None:
    bomb = deflated(300 * MB)
    assert len(bomb) < MB
    before = victim.forget_peak()
    assert victim.http.post("/instances", content=bomb).status_code == 400
    assert victim.http.post("/instances", content=gzip.compress(bomb)).status_code == 400
    assert victim.http.post("/instances", content=zip_of(iter([("a", bomb)]))).json() == []
    answer = victim.http.post("/dicom-web/studies", content=stow_body(bomb), headers=STOW)
    assert answer.status_code == 409
    assert "inflates" in str(answer.json()["0008119A"])
    assert victim.peak_mb - before < 150
    victim.is_well()


FORMS = {
    "no boundary": ({"Content-Type": "multipart/form-data"}, b"x"),
    "empty boundary": ({"Content-Type": 'multipart/form-data; boundary=""'}, b"x"),
    "long boundary": ({"Content-Type": "multipart/form-data; boundary=" + "b" * 400}, b"x"),
    "nothing": (FORM, b""),
    "no part": (FORM, b"--b--\r\n"),
    "cut in a part": (FORM, b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + as_file()[:900]),
    "cut in a header": (FORM, b"--b\r\nContent-Dispo"),
    "no disposition": (FORM, b"--b\r\n\r\nx\r\n--b--\r\n"),
    "only fields": (FORM, b'--b\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n--b--\r\n'),
    "endless header": (FORM, b"--b\r\n" + b"X: " + b"a" * (4 * MB)),
    "endless preamble": (FORM, b"a" * (4 * MB)),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_broken_form_is_400(victim: Victim, name: str) -> None:
    headers, body = FORMS[name]
    answer = victim.http.post("/instances", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["HttpStatus"] == 400
    victim.is_well()


def test_a_form_is_stored_file_by_file_and_not_kept_in_memory(victim: Victim) -> None:
    """Two hundred files of just under a megabyte, whose parts were all in memory once."""
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'

    def body() -> Iterator[bytes]:
        for number in range(200):
            yield part + (as_file(2_000) if number == 7 else bytes(MB - 1_000)) + b"\r\n"
        yield b"--b--\r\n"

    before = victim.forget_peak()
    answer = victim.http.post("/instances", content=body(), headers=FORM)
    assert answer.status_code == 200
    assert [one["Status"] for one in answer.json()] == ["Success"]
    assert "199 of 200 files of an upload are left out: " in victim.log.read_text()
    assert victim.peak_mb - before < 60
    victim.is_well()


STOWS = {
    "no type": ({"Content-Type": ""}, b"x", 415),
    "no boundary": ({"Content-Type": 'multipart/related; type="application/dicom"'}, b"x", 400),
    "nothing": (STOW, b"", 400),
    "no part": (STOW, f"--{BOUNDARY}--".encode(), 400),
    "cut": (STOW, stow_body(as_file(3_000))[:-40], 400),
    "cut in a header": (STOW, f"--{BOUNDARY}\r\nContent-".encode(), 400),
    "no header": (STOW, f"--{BOUNDARY}\r\n\r\nx\r\n--{BOUNDARY}--".encode(), 409),
    "lying length": (STOW, f"--{BOUNDARY}\r\nContent-Length: 99\r\n\r\nx\r\n--{BOUNDARY}--".encode(), 400),
    "endless header": (STOW, f"--{BOUNDARY}\r\nX: ".encode() + b"a" * (4 * MB), 400),
    "endless preamble": (STOW, b"a" * (4 * MB), 400),
    "other boundary": ({"Content-Type": STOW["Content-Type"].replace(BOUNDARY, "other")}, stow_body(as_file()), 400),
}


@pytest.mark.parametrize("name", STOWS)
def test_a_broken_stow_is_told_so(victim: Victim, name: str) -> None:
    headers, body, status = STOWS[name]
    answer = victim.http.post("/dicom-web/studies", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()
    victim.is_well()


def test_tiny_parts_by_the_thousand_are_each_told_of(victim: Victim) -> None:
    count = 100_000 if os.environ.get("RESEARCHPACS_SOAK") else 20_000
    part = f"--{BOUNDARY}\r\n\r\nx\r\n".encode()
    before = victim.forget_peak()
    body = part * count + f"--{BOUNDARY}--".encode()
    answer = victim.http.post("/dicom-web/studies", content=body, headers=STOW, timeout=120)
    assert answer.status_code == 409
    assert len(answer.json()["0008119A"]["Value"]) == count
    assert victim.peak_mb - before < 150
    victim.is_well()


def test_an_upload_longer_than_its_cap_is_refused_before_it_is_read(victim: Victim) -> None:
    field = f"Authorization: {victim.authorization()}\r\n".encode()
    for path in (b"/instances", b"/dicom-web/studies", b"/tools/find", b"/tools/create-dicom"):
        head = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\n" + field + b"Content-Length: 99999999999\r\n\r\n"
        assert victim.raw(head).startswith(b"HTTP/1.1 413 ")
    victim.is_well()


def test_a_large_document_becomes_an_instance_in_bounded_memory(victim: Victim) -> None:
    document = b"%PDF-1.4\n" + random.Random(1).randbytes(46 * MB) + b"\n%%EOF\n"
    content = "data:application/pdf;base64," + base64.b64encode(document).decode()
    tags = {"PatientID": "LARGE", "DocumentTitle": "atlas"}
    victim.forget_peak()
    answer = victim.http.post("/tools/create-dicom", json={"Tags": tags, "Content": content})
    assert answer.status_code == 200, answer.text
    assert victim.peak_mb < MOST_MB
    made = dcmread(io.BytesIO(victim.http.get(f"/instances/{answer.json()['ID']}/file").content))
    assert made.EncapsulatedDocument[: made.EncapsulatedDocumentLength] == document
    over = victim.http.post("/tools/create-dicom", json={"Tags": tags, "Content": content + "A" * (4 * MB)})
    assert over.status_code == 413
    assert victim.http.post("/tools/find", content=b" " * (17 * MB)).status_code == 413
    assert victim.http.delete(f"/instances/{answer.json()['ID']}").status_code == 200
    victim.is_well()


@pytest.mark.parametrize("preamble", PREAMBLES, ids=repr)
def test_an_executable_preamble_goes_out_blank_by_every_way(victim: Victim, preamble: bytes) -> None:
    file = bytearray(as_file(5_000 + len(preamble)))
    file[: len(preamble)] = preamble
    name = victim.http.post("/instances", content=bytes(file)).json()["ID"]
    tags = victim.http.get(f"/instances/{name}/simplified-tags").json()
    uids = [tags[keyword] for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    path = "/dicom-web/studies/{}/series/{}/instances/{}".format(*uids)
    wado = "/wado?requestType=WADO&studyUID={}&seriesUID={}&objectUID={}&contentType=application/dicom".format(*uids)
    for answer in (
        victim.http.get(f"/instances/{name}/file"),
        victim.http.get(f"/instances/{name}/attachments/dicom/data"),
        victim.http.get(path, headers={"Accept": "application/dicom; transfer-syntax=*"}),
        victim.http.get(wado),
    ):
        assert answer.status_code == 200
        assert answer.content[:132] == bytes(128) + b"DICM"
        assert answer.headers["content-disposition"].startswith("attachment")
    for kind in ("archive", "media"):
        parent = victim.http.get(f"/instances/{name}/series").json()["ID"]
        answer = victim.http.get(f"/series/{parent}/{kind}")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            contents = [archive.read(member) for member in archive.namelist()]
        assert all(content[:128] == bytes(128) for content in contents)
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    several = victim.http.get(f"/dicom-web/studies/{uids[0]}", headers={"Accept": accept})
    assert preamble + bytes(64) not in several.content


def test_an_instance_without_sop_class_in_its_data_set_is_told_of_or_made_whole(victim: Victim) -> None:
    """It stands in the File Meta Information alone, as a flipped bit in a C-STORE may leave it."""
    ds = dcmread(io.BytesIO(as_file(8_000, PatientID="LACKS")))
    del ds.SOPClassUID
    buffer = io.BytesIO()
    ds.save_as(buffer)
    answer = victim.http.post("/instances", content=buffer.getvalue())
    assert answer.status_code == 200
    patient, name = answer.json()["ParentPatient"], answer.json()["ID"]
    assert victim.http.post(f"/patients/{patient}/anonymize", json={}).status_code == 200
    assert victim.http.post(f"/instances/{name}/modify", json={"Remove": ["PatientName"]}).status_code == 200
    assert victim.http.get(f"/patients/{patient}/media").status_code in (200, 400)
    assert victim.http.get(f"/patients/{patient}/archive").status_code == 200
    victim.is_well()
