"""WADO-RS gives back what was stored: bit for bit, as metadata, frame by frame."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import pixel_array
from pydicom.uid import MPEG4HP41, VideoEndoscopicImageStorage

import researchpacs as rp
from researchpacs.testing import small_ct

from .conftest import Served, path_of, serving

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
"""Real files break VRs, and pydicom says so when it reads them."""

Files = dict[str, tuple[bytes, pydicom.Dataset]]
NOT_PYDICOMS = ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55")
"""JPEG of twelve bits and progressive JPEG, which the oracle cannot decode."""
EXPLICIT = "1.2.840.10008.1.2.1"
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
OCTETS = 'multipart/related; type="application/octet-stream"'


def parts_of(answer: Any) -> list[tuple[dict[str, str], bytes]]:
    """Take an answer apart without our reader."""
    assert answer.status_code in (200, 206), answer.text
    content_type = answer.headers["content-type"]
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    pieces = answer.content.split(b"\r\n--" + boundary)
    assert pieces[-1].startswith(b"--")
    parts = []
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        fields = dict(line.decode().split(": ", 1) for line in head.strip().split(b"\r\n"))
        parts.append((fields, content))
    return parts


def test_every_study_comes_back_bit_for_bit(served: Served, files: Files) -> None:
    left = dict(files)
    for study in {str(ds.StudyInstanceUID) for _, ds in files.values()}:
        for fields, content in parts_of(served.http.get(f"/studies/{study}", headers={"Accept": AS_STORED})):
            uid = fields["Content-Location"].rpartition("/")[2]
            stored, _ = left.pop(uid)
            # What came without a preamble and File Meta Information gets them: application/dicom is a file.
            assert content == stored if stored[128:132] == b"DICM" else content.endswith(stored)
            meta = pydicom.dcmread(BytesIO(content), stop_before_pixels=True).file_meta
            assert f"transfer-syntax={meta.TransferSyntaxUID}" in fields["Content-Type"]
    assert not left


def test_without_a_word_everything_comes_as_explicit_little_endian(served: Served, files: Files) -> None:
    seen = set()
    for _, ds in files.values():
        kind = ds.file_meta.get("TransferSyntaxUID"), ds.get("PhotometricInterpretation")
        if "PixelData" not in ds or kind[0] in (None, *NOT_PYDICOMS) or kind in seen:
            continue
        seen.add(kind)
        ((fields, content),) = parts_of(served.http.get(path_of(ds)))
        made = pydicom.dcmread(BytesIO(content))
        assert made.file_meta.TransferSyntaxUID == EXPLICIT
        assert f"transfer-syntax={EXPLICIT}" in fields["Content-Type"]
        np.testing.assert_array_equal(pixel_array(made), pixel_array(ds), str(kind))
        assert elements(made) == elements(ds)
    assert len(seen) > 15


def elements(ds: pydicom.Dataset) -> dict[int, str]:
    return {int(tag): repr(ds[tag].value) for tag in list(ds.keys()) if kept(tag)}


def kept(tag: pydicom.tag.BaseTag) -> bool:
    """Whether transcoding leaves an element alone: not group lengths, pixels, their tables and colour model."""
    return tag.element != 0 and tag.group != 0x7FE0 and tag not in (0x00280004, 0x00280006, 0xFFFCFFFC)


def test_a_syntax_that_is_asked_for_and_not_to_be_had_is_406(served: Served, files: Files) -> None:
    _, ds = next(iter(files.values()))
    for accept in (
        'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.202',
        "text/html",
        "application/pdf",
    ):
        answer = served.http.get(path_of(ds), headers={"Accept": accept})
        assert answer.status_code == 406
        assert "application/dicom" in answer.json()["Message"]


def test_one_instance_comes_bare_when_asked(served: Served, files: Files) -> None:
    stored, ds = next(pair for pair in files.values() if pair[0][128:132] == b"DICM")
    answer = served.http.get(path_of(ds), headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert answer.content == stored
    assert answer.headers["content-type"] == "application/dicom"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_metadata_are_the_data_set_again(served: Served, files: Files) -> None:
    """pydicom makes the same elements of our JSON as of the file; large values are URLs that give the same bytes."""
    large = 0
    for _, ds in files.values():
        if ds.SOPInstanceUID == BROKEN:
            continue  # pydicom cannot read UIDs of this kind from JSON
        (found,) = served.http.get(f"{path_of(ds)}/metadata").json()
        assert set(found) == {f"{int(tag):08X}" for tag in list(ds.keys()) if tag.element and tag not in OFFSET_TABLES}
        for element in ds:
            told = found.get(f"{int(element.tag):08X}")
            if told is None or element.tag.group == 0x7FE0 or element.tag == 0x00080005:
                continue
            if "BulkDataURI" in told:
                large += 1
                ((_, content),) = parts_of(served.http.get(told["BulkDataURI"], headers={"Accept": OCTETS}))
                assert content == element.value
            elif told["vr"] == element.VR and element.VR not in ("SQ", "UN"):
                one = pydicom.Dataset.from_json({f"{int(element.tag):08X}": told})
                assert one[element.tag] == element, element.tag
    assert large > 10


OFFSET_TABLES = (0x7FE00001, 0x7FE00002)
BROKEN = "dccc9599087131742838cc1162a630fea87ba9bf61ac09bfda90d4adfa5ddaed"


def test_metadata_of_a_study_and_a_series_are_those_of_their_instances(served: Served, files: Files) -> None:
    for _, ds in list(files.values())[:8]:
        for path in (
            f"/studies/{ds.StudyInstanceUID}",
            f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}",
        ):
            found = served.http.get(f"{path}/metadata").json()
            listed = served.http.get(f"{path}/instances").json()
            assert {one["00080018"]["Value"][0] for one in found} == {one["00080018"]["Value"][0] for one in listed}


def test_frames_are_pydicoms_frames(served: Served, files: Files) -> None:
    """Decoded by default; as stored they are the fragments that pydicom takes out of the file."""
    checked = set()
    for _, ds in files.values():
        syntax = ds.file_meta.get("TransferSyntaxUID")
        if "PixelData" not in ds or syntax is None or ds.get("BitsAllocated") == 1 or "HighBit" not in ds:
            continue
        count = int(ds.get("NumberOfFrames") or 1)
        numbers = sorted({1, count, (count + 1) // 2}, reverse=True)
        path = f"{path_of(ds)}/frames/{','.join(map(str, numbers))}"
        parts = parts_of(served.http.get(path, headers={"Accept": OCTETS}))
        for number, (fields, content) in zip(numbers, parts, strict=True):
            assert fields["Content-Type"] == f"application/octet-stream; transfer-syntax={EXPLICIT}"
            if syntax in NOT_PYDICOMS:
                continue
            expected = pixel_array(ds, index=number - 1) if count > 1 else pixel_array(ds)
            if expected.tobytes() != content:
                assert ds.get("PlanarConfiguration") == 1 or str(ds.PhotometricInterpretation).startswith("YBR")
        if not is_native(ds):
            checked.add(str(syntax))
            as_stored = parts_of(served.http.get(path, headers={"Accept": OCTETS + "; transfer-syntax=*"}))
            frames = list(generate_frames(ds.PixelData, number_of_frames=count))
            assert [content for _, content in as_stored] == [frames[number - 1] for number in numbers]
            assert all(f"transfer-syntax={syntax}" in fields["Content-Type"] for fields, _ in as_stored)
    assert len(checked) >= 8


def is_native(ds: pydicom.Dataset) -> bool:
    return not ds.file_meta.TransferSyntaxUID.is_encapsulated


def test_a_single_frame_says_how_long_it_is(served: Served, files: Files) -> None:
    for _, ds in files.values():
        answer = served.http.get(f"{path_of(ds)}/frames/1", headers={"Accept": OCTETS})
        if answer.status_code == 200:
            assert int(answer.headers["content-length"]) == len(answer.content)
            assert len(parts_of(answer)) == 1
            return
    pytest.fail("no instance has a frame")


@pytest.mark.parametrize("fragments", [1, 3])
def test_a_video_comes_whole_as_bulk_data(home: Path, fragments: int) -> None:
    """Its frames are no parts of it that could be told apart."""
    video = bytes(range(256)) * 9_000
    ds = small_ct()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = VideoEndoscopicImageStorage
    ds.file_meta.TransferSyntaxUID = MPEG4HP41
    ds.NumberOfFrames, ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = (
        50,
        3,
        "YBR_PARTIAL_420",
        0,
    )
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelData = encapsulate([video], fragments_per_frame=fragments)
    ds["PixelData"].VR = "OB"
    with rp.connect(home) as pacs, serving(pacs) as running:
        pacs.ingest(ds)
        url = running.http.get(f"{path_of(ds)}/metadata").json()[0]["7FE00010"]["BulkDataURI"]
        for accept in ("*/*", 'multipart/related; type="video/mp4"'):
            ((fields, content),) = parts_of(running.http.get(url, headers={"Accept": accept}))
            assert content == video
            assert fields["Content-Type"] == f"video/mp4; transfer-syntax={MPEG4HP41}"
        alone = running.http.get(url, headers={"Accept": "video/mp4"})
        assert (alone.content, alone.headers["content-type"].partition(";")[0]) == (video, "video/mp4")
        assert running.http.get(url, headers={"Accept": "image/jpeg"}).status_code == 406
        shown = running.http.get(f"{path_of(ds)}/rendered")
        assert (shown.content, shown.headers["content-type"]) == (video, "video/mp4")
        assert running.http.get(f"{path_of(ds)}/rendered", headers={"Accept": "image/png"}).status_code == 406
        for place in (url, f"{path_of(ds)}/rendered"):
            check_ranges(running, place, video)


def check_ranges(running: Served, url: str, video: bytes) -> None:
    """A player asks for the part of a video that it jumps to."""
    size = len(video)
    cut = size // 3 + size % 3  # within, at and behind the ends of fragments
    for field, first, last in (
        ("bytes=0-", 0, size - 1), ("bytes=0-0", 0, 0), (f"bytes={cut - 5}-{cut + 5}", cut - 5, cut + 5),
        (f"bytes={2 * (size // 3)}-", 2 * (size // 3), size - 1), ("bytes=-7", size - 7, size - 1),
        (f"bytes={size - 3}-{size + 99}", size - 3, size - 1), (f"bytes=-{size + 9}", 0, size - 1),
    ):  # fmt: skip
        answer = running.http.get(url, headers={"Accept": "video/mp4", "Range": field})
        assert (answer.status_code, answer.headers["content-range"]) == (206, f"bytes {first}-{last}/{size}")
        assert answer.content == video[first : last + 1]
    for field in (f"bytes={size}-", "bytes=-0"):
        answer = running.http.get(url, headers={"Accept": "video/mp4", "Range": field})
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
    for field in ("bytes=5-3", "bytes=0-1,3-4", "lines=1-2", "bytes=-", "bytes=a-b"):
        answer = running.http.get(url, headers={"Accept": "video/mp4", "Range": field})
        assert (answer.status_code, answer.content) == (200, video)
        assert answer.headers["accept-ranges"] == "bytes"
        assert int(answer.headers["content-length"]) == size


@pytest.mark.parametrize(
    ("tail", "status"),
    [("frames/0", 404), ("frames/2", 404), ("frames/one", 400), ("frames/1,,1", 400), ("frames/-1", 400),
     ("frames/1/2", 404), ("bulkdata/00081140", 404), ("bulkdata/../../x", 404), ("bulkdata/7FE00010x", 404)],
)  # fmt: skip
def test_what_is_not_there_is_404_and_what_is_nonsense_400(
    served: Served, files: Files, tail: str, status: int
) -> None:
    ct = next(ds for _, ds in files.values() if ds.get("PatientName") == "CompressedSamples^CT1" and "PixelData" in ds)
    assert served.http.get(f"{path_of(ct)}/{tail}").status_code == status
    assert served.http.get("/studies/1.2.3").status_code == 404
    assert served.http.get("/studies/1.2.3/series/4/instances/5/metadata").status_code == 404


def test_pixel_data_as_bulk_data_are_all_frames(served: Served, files: Files) -> None:
    for _, ds in files.values():
        if "PixelData" not in ds or not is_explicit(ds) or int(ds.get("NumberOfFrames") or 1) < 2:
            continue
        (found,) = served.http.get(f"{path_of(ds)}/metadata").json()
        uri = found["7FE00010"]["BulkDataURI"]
        ((_, content),) = parts_of(served.http.get(uri, headers={"Accept": OCTETS}))
        assert content == ds.PixelData[: len(content)]
        assert len(ds.PixelData) - len(content) in (0, 1)
        assert served.client.retrieve_bulkdata(uri) == [content]
        return
    pytest.fail("the real data have none")


def is_explicit(ds: pydicom.Dataset) -> bool:
    return ds.file_meta.get("TransferSyntaxUID") == EXPLICIT


def test_dicomweb_client_reads_all_that_it_can_ask_for(served: Served, files: Files) -> None:
    ct = next(ds for _, ds in files.values() if ds.get("PatientName") == "CompressedSamples^CT1" and "PixelData" in ds)
    study, series, sop = (str(ct[name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"))
    client = served.client
    assert sop in {ds.SOPInstanceUID for ds in client.retrieve_study(study)}
    assert sop in {ds.SOPInstanceUID for ds in client.retrieve_series(study, series)}
    assert client.retrieve_instance(study, series, sop) == ct
    assert client.retrieve_instance_metadata(study, series, sop)["00080018"]["Value"] == [sop]
    assert client.retrieve_instance_frames(study, series, sop, [1]) == [ct.PixelData]
    assert len(client.retrieve_study_metadata(study)) == len(client.search_for_instances(study))
    assert list(client.iter_series(study, series)) != []
