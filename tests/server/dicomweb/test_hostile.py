"""Whatever is asked, the answer is one of the protocol's own, and the server goes on."""

import random

import pytest

from .conftest import Served

JUNK = ("", "*", "..", "%2e%2e%2f", "'", '"', "1" * 400, "-1", "0", "1,2", "1e9", "nan", "\u00e9", "[", "\\",
        "7FE00010", "00400275/0/00081155", "99999999999999999999", "1-", "-", "all", "true")  # fmt: skip
KEYS = ("PatientID", "PatientName", "StudyDate", "StudyTime", "limit", "offset", "fuzzymatching", "includefield",
        "SeriesNumber", "KVP", "PixelData", "ImageType", "Rows", "window", "viewport", "quality", "AcquisitionDateTime",
        "ModalitiesInStudy", "NumberOfStudyRelatedInstances", "accept", "FrameIncrementPointer")  # fmt: skip
TAKEN = ("*/*", "image/png", "image/*", "application/dicom+json", "application/octet-stream", "", "x",
         'multipart/related; type="application/octet-stream"; transfer-syntax=*',
         "multipart/related; type=image/jls; transfer-syntax=1.2.840.10008.1.2.4.80")  # fmt: skip
TAILS = ("", "/metadata", "/frames/1", "/frames/{}", "/rendered", "/frames/1/rendered", "/thumbnail", "/bulkdata/{}")
BODIES = (b"", b"--b", b"--b--", b"\r\n" * 1000, b"--b\r\n\r\n" * 2000 + b"--b--", b"--b\r\n" + b"a: b\r\n" * 5000,
          b"\xff" * 200_000, b"--b\r\nContent-Length: 99\r\n\r\nx\r\n--b--")  # fmt: skip


def test_no_request_breaks_the_server(served: Served) -> None:
    chance = random.Random(7)
    instances = served.http.get("/instances").json()
    seen = set()
    for _ in range(300):
        found = chance.choice(instances)
        uids = [found[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")]
        uids = [chance.choice(JUNK) if chance.random() < 0.05 else uid for uid in uids]
        instance = "/studies/{}/series/{}/instances/{}".format(*uids)
        tail = chance.choice(TAILS).format(chance.choice(JUNK))
        path = chance.choice([instance + tail, instance + tail, "/studies", "/series", f"/studies/{uids[0]}/instances"])
        query = {chance.choice(KEYS): chance.choice(JUNK) for _ in range(chance.randint(0, 2))}
        answer = served.http.get(path, params=query, headers={"Accept": chance.choice(TAKEN)})
        assert answer.status_code < 500, (path, query, answer.text)
        seen.add(answer.status_code)
    assert {200, 400, 404, 406} <= seen


@pytest.mark.parametrize("body", BODIES, ids=lambda body: f"{len(body)}-{body[:12]!r}")
def test_no_body_breaks_the_server(empty: Served, body: bytes) -> None:
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}
    answer = empty.http.post("/studies", content=body, headers=headers)
    assert answer.status_code in (400, 409)
    assert answer.json()
    assert empty.http.get("/studies").json() == []
