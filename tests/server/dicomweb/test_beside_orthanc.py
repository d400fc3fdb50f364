"""A real Orthanc with its DICOMweb plug-in is asked what we are asked, over the same files."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import researchpacs as rp

from .conftest import Served, serving

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
UIDS = {"/studies": "0020000D", "/series": "0020000E", "/instances": "00080018"}
DIFFER = {
    "00080005",  # ours is UTF-8, as PS3.18 F.2.1.2 has it; Orthanc names the character set of the file
    "00081190",  # another address
    "00100010",  # Orthanc 1.10 loses the ideographic and phonetic groups of these files
}


@pytest.fixture(scope="module")
def both(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Served]]:
    """Orthanc's DICOMweb and ours."""
    program = shutil.which("Orthanc")
    if program is None or not PLUGIN.exists():
        pytest.skip("Orthanc or its plug-in is missing: apt-get install orthanc orthanc-dicomweb")
    folder = tmp_path_factory.mktemp("beside")
    with rp.connect(folder / "home") as pacs:
        pacs.ingest([real_data / name for name in ("misc_pydicom", "mr_enhanced", "charset")], progress=False)
        process, url = started(program, folder / "orthanc")
        try:
            for path in sorted(pacs.archive.home.archive.rglob("*.dcm")):
                assert httpx.post(f"{url}/instances", content=path.read_bytes()).status_code == 200
            json_wanted = {"Accept": "application/dicom+json"}
            with serving(pacs) as ours, httpx.Client(base_url=f"{url}/dicom-web", headers=json_wanted) as theirs:
                yield theirs, ours
        finally:
            process.terminate()
            process.wait(20)


def started(program: str, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start an Orthanc of our own; whoever else listens somewhere is not asked."""
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "Name": folder.parent.name,
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    url, until = f"http://127.0.0.1:{port}", time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(f"{url}/system").json()["Name"] == settings["Name"]:
                return process, url
        except httpx.TransportError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError((folder / "log").read_text())


def by_uid(answer: Any, tag: str) -> dict[str, dict[str, Any]]:
    assert answer.status_code == 200
    return {one[tag]["Value"][0]: one for one in answer.json()}


@pytest.mark.parametrize("path", UIDS)
def test_results_have_what_orthancs_have(both: tuple[httpx.Client, Served], path: str) -> None:
    theirs, ours = both
    expected, found = by_uid(theirs.get(path), UIDS[path]), by_uid(ours.http.get(path), UIDS[path])
    assert set(found) == set(expected)
    for uid, one in expected.items():
        for tag, value in one.items():
            # Ours leaves out what is empty and not among the keys that every result has, and the time zone.
            if tag not in DIFFER and tag != "00080201" and value.get("Value"):
                assert found[uid][tag] == value, tag


@pytest.mark.parametrize(
    "query",
    ["/studies?PatientID=1*", "/studies?PatientName=comp*", "/studies?StudyDate=20000101-20051231",
     "/studies?ModalitiesInStudy=CT", "/studies?PatientID=nobody", "/studies?StudyTime=0700-0930",
     "/series?Modality=CT", "/series?SeriesNumber=1", "/studies?00100010=*",
     "/instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.2", "/studies?StudyDescription=*a*"],
)  # fmt: skip
def test_questions_have_orthancs_answers(both: tuple[httpx.Client, Served], query: str) -> None:
    theirs, ours = both
    tag = UIDS[query.partition("?")[0]]
    assert set(by_uid(ours.http.get(query), tag)) == set(by_uid(theirs.get(query), tag))


def test_a_wrong_upload_has_orthancs_status(both: tuple[httpx.Client, Served]) -> None:
    theirs, ours = both
    answers = [
        one.post("/studies", content=b"x", headers={"Content-Type": "text/plain"}) for one in (theirs, ours.http)
    ]
    assert [answer.status_code for answer in answers] == [415, 415]
