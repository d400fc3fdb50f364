"""``/tools/create-dicom``: series and models, held against a real Orthanc where that one knows them."""

import base64
import io
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from starlette.applications import Starlette

import researchpacs as rp
from researchpacs.server.app import create_app
from researchpacs.server.auth import Access
from researchpacs.testing import small_ct

pytestmark = pytest.mark.server

Served: TypeAlias = Callable[[Starlette], AbstractContextManager[str]]

PIXELS = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
PDF = b"%PDF-1.4\n%%EOF\n"
TIMES = ("Study", "Series", "Acquisition", "Content", "InstanceCreation")


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _picture(kind: str) -> str:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format=kind)
    return _uri(f"image/{kind.lower()}", buffer.getvalue())


def _stl() -> bytes:
    corners = np.array([[[0, 0, 0], [9, 0, 0], [0, 9, 0]]], "<f4")
    triangle = np.zeros(1, [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    triangle["corners"] = corners
    return b"made by a test".ljust(80) + (1).to_bytes(4, "little") + triangle.tobytes()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, served: Served) -> Iterator[httpx.Client]:
    with rp.connect(tmp_path_factory.mktemp("create") / "home") as pacs:
        pacs.ingest(small_ct(1))
        with served(create_app(pacs, access=Access())) as url, httpx.Client(base_url=url, timeout=30) as client:
            yield client


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A real Orthanc."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None:
        pytest.skip("Orthanc is missing: apt-get install orthanc")
    folder = tmp_path_factory.mktemp("orthanc")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": port, "Plugins": [],
        "DicomServerEnabled": False, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([program, str(folder / "orthanc.json")], **quiet)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            give_up = time.monotonic() + 20
            while True:
                try:
                    client.get("/system").raise_for_status()
                    break
                except httpx.HTTPError:
                    assert time.monotonic() < give_up, "Orthanc did not start"
                    time.sleep(0.05)
            client.post("/instances", content=_bytes(small_ct(1))).raise_for_status()
            yield client
    finally:
        process.terminate()
        process.wait(20)


def _bytes(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _create(client: httpx.Client, **options: Any) -> httpx.Response:
    return client.post("/tools/create-dicom", json={"Tags": {"PatientID": "P"}, **options})


def _made(client: httpx.Client, answer: dict[str, str]) -> list[Dataset]:
    """The instances of an answer, by InstanceNumber."""
    path = answer["Path"]
    names = [answer["ID"]] if path.startswith("/instances/") else client.get(path).json()["Instances"]
    made = [dcmread(io.BytesIO(client.get(f"/instances/{name}/file").content)) for name in names]
    return sorted(made, key=lambda ds: int(ds.get("InstanceNumber") or 0))


@pytest.mark.parametrize(
    "content",
    [
        _picture("PNG"),
        _picture("JPEG"),
        _uri("application/pdf", PDF),
        [_picture("PNG"), _picture("JPEG")],
        [{"Content": _picture("PNG"), "Tags": {"ImageComments": "one"}}, {"Content": _picture("PNG")}],
        [_uri("application/pdf", PDF), _picture("PNG")],
    ],
    ids=["png", "jpeg", "pdf", "series", "series with tags", "mixed series"],
)
def test_what_is_made_is_what_orthanc_makes(ours: httpx.Client, theirs: httpx.Client, content: Any) -> None:
    answers = [_create(client, Content=content).raise_for_status().json() for client in (ours, theirs)]
    assert list(answers[0]) == list(answers[1])
    assert answers[0]["Path"].split("/")[1] == answers[1]["Path"].split("/")[1]
    both = [_made(client, answer) for client, answer in zip((ours, theirs), answers, strict=True)]
    for mine, reference in zip(*both, strict=True):
        assert mine.file_meta.TransferSyntaxUID == reference.file_meta.TransferSyntaxUID
        told = [
            element for element in reference if element.keyword not in ("SpecificCharacterSet", "EncapsulatedDocument")
        ]
        assert told
        for element in told:
            new = (element.VR == "UI" and element.keyword != "SOPClassUID") or element.keyword[:-4] in TIMES
            if new:
                assert mine[element.tag].value
            else:
                assert mine[element.tag].value == element.value, element.keyword
    assert len({ds.SeriesInstanceUID for ds in both[0]}) == 1
    assert len({ds.StudyInstanceUID for ds in both[0]}) == 1


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"Content": [_picture("PNG"), "data:image/png;base64,AAAA"]}, 400),
        ({"Content": [_picture("PNG")], "Tags": {"SeriesInstanceUID": "1.2.3"}}, 400),
        ({"Content": [_picture("PNG"), 7]}, 400),
        ({"Content": 7}, 400),
    ],
)
def test_what_orthanc_refuses_is_refused_and_leaves_nothing(
    ours: httpx.Client, theirs: httpx.Client, options: dict[str, Any], status: int
) -> None:
    before = ours.get("/statistics").json()["CountInstances"]
    assert {_create(client, **options).status_code for client in (ours, theirs)} == {status}
    assert ours.get("/statistics").json()["CountInstances"] == before


def test_a_parent_gives_its_study_and_what_is_new_is_dated_now(ours: httpx.Client, theirs: httpx.Client) -> None:
    parents = {}
    for client in (ours, theirs):
        (study,) = client.get("/studies").json()[:1]
        parents[client] = study
    for client, parent in parents.items():
        answer = _create(client, Tags={}, Content=_picture("PNG"), Parent=parent).raise_for_status().json()
        (ds,) = _made(client, answer)
        of_parent = client.get(f"/studies/{parent}").json()["MainDicomTags"]
        assert ds.StudyInstanceUID == of_parent["StudyInstanceUID"]
        assert str(ds.get("StudyDate") or "") == of_parent.get("StudyDate", "")
        assert ds.SeriesDate == ds.ContentDate == time.strftime("%Y%m%d", time.gmtime())


def test_a_model_goes_in_and_out_byte_for_byte(ours: httpx.Client, tmp_path: Path) -> None:
    answer = _create(ours, Content=_uri("model/stl", _stl())).raise_for_status().json()
    (ds,) = _made(ours, answer)
    assert (ds.SOPClassUID, ds.Modality) == ("1.2.840.10008.5.1.4.1.1.104.3", "M3D")
    assert ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength] == _stl()
    assert ds.FrameOfReferenceUID
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is missing: apt-get install dicom3tools")
    ds.save_as(tmp_path / "model.dcm")
    verdict = subprocess.run(["dciodvfy", "-new", tmp_path / "model.dcm"], capture_output=True, text=True, check=False)
    assert "EncapsulatedSTL" in verdict.stdout + verdict.stderr
    assert "Error" not in verdict.stdout + verdict.stderr


def test_a_damaged_model_is_refused(ours: httpx.Client) -> None:
    assert _create(ours, Content=_uri("model/stl", _stl()[:-1])).status_code == 400
