"""Small files that declare many pixels, and many clients that want pictures at one time, take bounded memory."""

import io
import threading
from collections.abc import Iterator

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from .conftest import Victim, as_file

pytestmark = pytest.mark.server

MB = 1 << 20


@pytest.fixture(autouse=True)
def tidy(victim: Victim) -> Iterator[None]:
    """Leave nothing large to the attacks that follow."""
    before = set(victim.http.get("/instances").json())
    yield
    made = sorted(set(victim.http.get("/instances").json()) - before)
    assert victim.http.post("/tools/bulk-delete", json={"Resources": made}).status_code == 200


def compressed(number: int, frames: list[bytes], syntax: str, rows: int, columns: int) -> bytes:
    ds = pydicom.dcmread(io.BytesIO(as_file(number)))
    ds.Rows, ds.Columns, ds.NumberOfFrames = rows, columns, len(frames)
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_a_small_frame_of_very_many_pixels_is_not_decoded(victim: Victim) -> None:
    """Its own header agrees with the instance's, so only its size gives it away."""
    frame = bytearray(imagecodecs.jpegls_encode(np.zeros((256, 256), np.uint8)))
    place = frame.index(b"\xff\xf7")
    frame[place + 5 : place + 9] = (60_000).to_bytes(2, "big") * 2
    body = compressed(6_001, [bytes(frame)], JPEGLSLossless, 60_000, 60_000)
    assert len(body) < MB
    answer = victim.http.post("/instances", content=body)
    if answer.status_code == 400:
        return  # the door has found out already
    name = answer.json()["ID"]
    before = victim.forget_peak()
    wants = ("preview", "rendered", "image-uint8", "frames/0/numpy", "numpy", "file?transcode=1.2.840.10008.1.2.1")
    for path in wants:
        assert victim.http.get(f"/instances/{name}/{path}").status_code in (400, 406, 413, 415), path
    web = web_path(victim, name)
    for path in ("/rendered", "/thumbnail", "/frames/1"):
        assert victim.http.get(web + path).status_code == 406, path
    assert victim.http.get(web, headers={"Accept": "application/dicom"}).status_code == 200, "as it is stored"
    assert victim.peak_mb - before < 60
    victim.is_well()


def test_a_small_file_of_very_many_frames_is_not_decoded_at_once(victim: Victim) -> None:
    frame = imagecodecs.jpeg2k_encode(np.zeros((2_048, 2_048), np.uint8), level=0, reversible=True)
    body = compressed(6_002, [frame] * 400, JPEG2000Lossless, 2_048, 2_048)
    assert len(body) < 4 * MB
    name = victim.http.post("/instances", content=body).json()["ID"]
    before = victim.forget_peak()
    assert victim.http.get(f"/instances/{name}/preview").status_code == 200
    assert victim.http.get(f"/instances/{name}/file?transcode=1.2.840.10008.1.2.1").status_code == 415
    answer = victim.http.get(web_path(victim, name), headers={"Accept": 'multipart/related; type="application/dicom"'})
    assert answer.status_code == 200
    assert len(answer.content) < 2 * len(body), "what is too much to be decoded comes as it is stored"
    assert victim.peak_mb - before < 300
    victim.is_well()


def test_an_array_far_larger_than_its_frames_goes_out_frame_by_frame(victim: Victim) -> None:
    frame = imagecodecs.jpeg2k_encode(np.full((1_024, 1_024), 7, np.uint8), level=0, reversible=True)
    name = victim.http.post(
        "/instances", content=compressed(6_004, [frame] * 60, JPEG2000Lossless, 1_024, 1_024)
    ).json()["ID"]
    whole = 60 * 1_024 * 1_024 * 4
    before = victim.forget_peak()
    for path in (f"/instances/{name}/numpy", f"/instances/{name}/numpy?compress=1"):
        size = 0
        with victim.http.stream("GET", path) as answer:
            for chunk in answer.iter_raw():
                size += len(chunk)
        assert (size > whole) == ("compress" not in path)
    assert victim.peak_mb - before < 80
    one = np.load(io.BytesIO(victim.http.get(f"/instances/{name}/frames/59/numpy").content))
    assert (one.shape, one.dtype, one.min(), one.max()) == ((1_024, 1_024, 1), np.float32, -1_017.0, -1_017.0)
    packed = np.load(io.BytesIO(victim.http.get(f"/instances/{name}/frames/3/numpy?compress=1&rescale=0").content))
    assert (packed["arr_0"] == 7).all()
    assert packed["arr_0"].dtype == np.uint8
    victim.is_well()


def test_pictures_for_everybody_at_once_take_turns(victim: Victim) -> None:
    name = victim.http.post("/instances", content=as_file(6_003, size=2_048)).json()["ID"]
    before, statuses = victim.forget_peak(), list[int]()

    def look() -> None:
        statuses.append(victim.http.get(f"/instances/{name}/rendered").status_code)

    threads = [threading.Thread(target=look) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    assert victim.peak_mb - before < 300
    victim.is_well()


def web_path(victim: Victim, name: str) -> str:
    tags = victim.http.get(f"/instances/{name}/simplified-tags").json()
    uids = [tags[keyword] for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    return "/dicom-web/studies/{}/series/{}/instances/{}".format(*uids)
