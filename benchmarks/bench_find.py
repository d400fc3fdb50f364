"""`/tools/find` and QIDO-RS over 20,000 instances, against Debian's Orthanc with its DICOMweb plugin.

A study is a patient of its own with two series of five tiny images. Both answer the same questions, one after the
other, and have to give as many answers; a round's time is the median of its questions. Orthanc runs without its syncs,
which only setting up would feel. RESEARCHPACS_BENCH_INSTANCES makes it shorter.
"""

import http.client
import json
import os
import random
import statistics
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

from _measure import Clock, alternately
from _row import Row
from _servers import orthanc, orthanc_version, ours

INSTANCES = int(os.environ.get("RESEARCHPACS_BENCH_INSTANCES", "20000"))
PER_STUDY = 10
_QUESTIONS = 25
_ROOT = "1.2.826.0.1.3680043.8.498.7"
_NAMES = ("Meier", "Smith", "Lopez", "Tanak", "Rossi", "Novak", "Silva", "Weber", "Jones", "Klein")
"""Of one length, as are all values that differ."""
_MODALITIES = ("CT", "MR", "PT", "CR", "US")


def rows() -> Iterable[Row]:
    versions = {name: version(name) for name in ("researchpacs", "starlette")}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_studies(place / "studies.zip")
        ingest(place / "studies.zip", place / "home")
        with ours(place / "home") as own_server, orthanc(place / "orthanc", SyncStorageArea=False) as peer_server:
            upload(peer_server.port, place / "studies.zip")
            for door, question in _asked():
                given = json.dumps({"ours": own_server.port, "peer": peer_server.port, "of": [door, question]})
                own, peer = alternately(ask_ours, ask_orthanc, given=given)
                yield Row(
                    f"{door} over {INSTANCES:,} instances: {question}", own.seconds, f"Orthanc {orthanc_version()}",
                    peer.seconds, "ratio >= 2", peer.seconds / own.seconds >= 2, None, own.rounds, versions,
                    (own.slowest, peer.slowest),
                )  # fmt: skip


def ask_ours(given: str) -> Clock:
    return _ask(given, "ours")


def ask_orthanc(given: str) -> Clock:
    return _ask(given, "peer")


def _asked() -> Iterator[tuple[str, str]]:
    for door in ("/tools/find", "QIDO-RS"):
        for question in ("UID", "modality and dates", "name with *"):
            yield door, question


def _ask(given: str, side: str) -> Clock:
    options = json.loads(given)
    door, question = options["of"]
    connection = http.client.HTTPConnection("127.0.0.1", options[side])
    draw, took = random.Random(question), list[float]()
    for number in range(_QUESTIONS):
        keys, expected = _question(question, draw)
        start = time.perf_counter()
        if door == "QIDO-RS":
            connection.request(
                "GET", f"/dicom-web/studies?{urlencode(keys, safe='*')}", headers={"Accept": "application/json"}
            )
        else:
            connection.request("POST", "/tools/find", json.dumps({"Level": "Study", "Query": keys}))
        answer = connection.getresponse()
        content = answer.read()
        took.append(time.perf_counter() - start)
        found = len(json.loads(content)) if content else 0
        assert found == expected, f"{door} {question} {number}: {found} found, {expected} are there"
    return Clock(seconds=statistics.median(took))


def _question(question: str, draw: random.Random) -> tuple[dict[str, str], int]:
    """Keys, and how many studies they match."""
    studies = range(INSTANCES // PER_STUDY)
    if question == "UID":
        return {"StudyInstanceUID": _uid(1, draw.choice(studies))}, 1
    if question == "name with *":
        name = f"{draw.choice(_NAMES)}{draw.randrange(100):02d}"
        return {"PatientName": f"{name}*"}, sum(_name(study).startswith(name) for study in studies)
    modality, month = draw.choice(_MODALITIES), draw.randrange(1, 13)
    first, last = f"2020{month:02d}01", f"2020{month:02d}28"
    keys = {"ModalitiesInStudy": modality, "StudyDate": f"{first}-{last}"}
    return keys, sum(_modality(study) == modality and first <= _date(study) <= last for study in studies)


def _uid(kind: int, number: int) -> str:
    return f"{_ROOT}.{kind}.{1_000_000 + number}"


def _patient(study: int) -> str:
    return f"P{study:07d}"


def _name(study: int) -> str:
    return f"{_NAMES[study % 10]}{study // 10 % 100:02d}^Patient{study:07d}"


def _modality(study: int) -> str:
    return _MODALITIES[study % len(_MODALITIES)]


def _date(study: int) -> str:
    return f"2020{study // 7 % 12 + 1:02d}{study % 28 + 1:02d}"


def write_studies(path: Path) -> None:
    """Write all instances into one zip archive: pydicom makes one, the others have values of the same length."""
    template = _template()
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(INSTANCES):
            study, place = divmod(number, PER_STUDY)
            content = template
            for old, new in (
                (_uid(1, 0), _uid(1, study)), (_uid(2, 0), _uid(2, 2 * study + place % 2)),
                (_uid(3, 0), _uid(3, number)),
                (_name(0), _name(study)), (_patient(0), _patient(study)), ("ZZ", _modality(study)),
                ("19700102", _date(study)),
            ):  # fmt: skip
                content = content.replace(old.encode(), new.encode())
            archive.writestr(f"{number:06d}.dcm", content)


def _template() -> bytes:
    from researchpacs.testing import small_ct

    ds = small_ct(
        size=2, StudyInstanceUID=_uid(1, 0), SeriesInstanceUID=_uid(2, 0), SOPInstanceUID=_uid(3, 0),
        PatientName=_name(0), PatientID=_patient(0), Modality="ZZ", StudyDate="19700102",
    )  # fmt: skip
    content = BytesIO()
    ds.save_as(content, enforce_file_format=True)
    return content.getvalue()


def ingest(archive: Path, home: Path) -> None:
    """Take all instances into an archive of ours."""
    import researchpacs as rp

    with rp.connect(home) as pacs:
        report = pacs.ingest(archive, progress=False)
        assert report.stored == INSTANCES, report


def upload(port: int, archive: Path) -> None:
    """Give all instances to Orthanc, in one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1800)
    connection.request("POST", "/instances", archive.read_bytes())
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status == 200, content[:200]
    assert len(json.loads(content)) == INSTANCES, len(json.loads(content))
