"""Take files in: the header scan alone, an index in place with every attribute in SQL, durable copies.

The scan is timed by the processor's clock: it runs on one core, on files in the page cache.

RESEARCHPACS_BENCH_FILES and RESEARCHPACS_BENCH_COPIES set how many files there are.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from _measure import Clock, alternately, clock
from _row import Row

FILES = int(os.environ.get("RESEARCHPACS_BENCH_FILES", "20000"))
COPIES = int(os.environ.get("RESEARCHPACS_BENCH_COPIES", "2000"))
SCANNED = 4000
WORKERS = "2"
KEYWORDS = (  # noqa: SIM905 - a table of words reads better than quotes
    "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID PatientID PatientName "
    "PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber StudyDescription ReferringPhysicianName "
    "Modality SeriesNumber SeriesDescription BodyPartExamined ProtocolName Manufacturer ManufacturerModelName "
    "StationName InstitutionName InstanceNumber AcquisitionNumber AcquisitionDate AcquisitionTime ContentDate "
    "ContentTime ImageType ImagePositionPatient ImageOrientationPatient PixelSpacing SliceThickness SliceLocation "
    "RescaleSlope RescaleIntercept KVP ConvolutionKernel"
).split()


def rows() -> Iterable[Row]:
    # Here, because the measured processes load this file, and should load nothing else.
    from _headers import write_headers
    from _series import write_ct

    versions = {name: version(name) for name in ("researchpacs", "pydicom", "python-gdcm")}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_headers(root / "headers", count=FILES)
        yield from _scan_rows(root / "headers", versions)
        given = json.dumps({"files": str(root / "headers"), "home": str(root / "home")})
        ours, peer = alternately(ours_index, pydicom_loop, given=given)
        yield Row(
            f"ingest(copy=False) to a synced catalog with every attribute, {FILES} files of 112, 2 processes",
            ours.seconds, "pydicom: dcmread(stop_before_pixels=True), one process", peer.seconds, "ratio >= 12",
            peer.seconds / ours.seconds >= 12, None, ours.rounds, versions, (ours.slowest, peer.slowest),
        )  # fmt: skip
        shutil.rmtree(root / "headers")
        write_ct(root / "ct", slices=COPIES)
        given = json.dumps({"files": str(root / "ct"), "home": str(root / "home")})
        ours, peer = alternately(ours_copy, bare_copy, given=given)
        yield Row(
            f"ingest(copy=True), durable, {COPIES} files of 528 KB, 2 processes", ours.seconds,
            "copied and hashed by one loop, one sync at the end", peer.seconds, "ratio >= 0.4",
            peer.seconds / ours.seconds >= 0.4, None, ours.rounds, versions, (ours.slowest, peer.slowest),
        )  # fmt: skip


def _scan_rows(files: Path, versions: dict[str, str]) -> Iterable[Row]:
    count = min(SCANNED, FILES)
    given = json.dumps({"files": str(files), "count": count})
    ours, gdcm, pydicom = alternately(ours_scan, gdcm_scan, pydicom_scan, given=given)
    for peer, found, target in (("gdcm.Scanner", gdcm, 4), ("pydicom", pydicom, 25)):
        yield Row(
            f"header scan, {len(KEYWORDS)} values of {count} files, one core", ours.seconds, peer, found.seconds,
            f"ratio >= {target}", found.seconds / ours.seconds >= target, None, ours.rounds, versions,
            (ours.slowest, found.slowest),
        )  # fmt: skip


def ours_scan(given: str) -> Clock:
    from pydicom.datadict import tag_for_keyword

    from researchpacs.dicom.scan import scan

    names, tags = _names(given), {keyword: tag_for_keyword(keyword) for keyword in KEYWORDS}
    wanted = frozenset(tags.values())

    def read(name):
        with open(name, "rb", buffering=0) as file:
            return scan(file, wanted=wanted).texts(tags)

    return _timed(read, names)


def gdcm_scan(given: str) -> Clock:
    import gdcm
    from pydicom.datadict import tag_for_keyword

    names = gdcm.FilenamesType()
    for name in _names(given):
        names.append(name)
    scanner = gdcm.Scanner()
    for keyword in KEYWORDS:
        tag = tag_for_keyword(keyword)
        scanner.AddTag(gdcm.Tag(tag >> 16, tag & 0xFFFF))
    start = time.process_time()
    assert scanner.Scan(names)
    found = Clock(time.process_time() - start)
    assert all(scanner.GetValue(name, gdcm.Tag(0x0008, 0x0060)).strip() == "CT" for name in _names(given))
    return found


def pydicom_scan(given: str) -> Clock:
    from pydicom import dcmread

    def read(name):
        ds = dcmread(name, stop_before_pixels=True)
        return {keyword: ds.get(keyword) for keyword in KEYWORDS}

    return _timed(read, _names(given))


def _timed(read: Callable[[str], Mapping[str, object]], names: list[str]) -> Clock:
    read(names[0])
    start = time.process_time()
    values = [read(name) for name in names]
    found = Clock(time.process_time() - start)
    assert all(one["Modality"] == "CT" for one in values)
    return found


def ours_index(given: str) -> Clock:
    with _pacs(given) as pacs:
        with clock() as found:
            report = pacs.ingest(json.loads(given)["files"], copy=False, progress=False)
            pacs.sync()
        counted = pacs.sql("select count(*), count(tags), count(distinct SeriesInstanceUID) from instances").fetchall()
    assert report.stored == FILES
    assert counted == [(FILES, FILES, -(-FILES // 200))]
    return found


def pydicom_loop(given: str) -> Clock:
    from pydicom import dcmread

    names = _names(given)
    with clock() as found:
        for name in names:
            dcmread(name, stop_before_pixels=True)
    return found


def ours_copy(given: str) -> Clock:
    with _pacs(given) as pacs, clock() as found:
        report = pacs.ingest(json.loads(given)["files"], progress=False)
    assert report.stored == COPIES
    return found


def bare_copy(given: str) -> Clock:
    names = _names(given)
    with tempfile.TemporaryDirectory(dir=Path(json.loads(given)["home"]).parent) as folder, clock() as found:
        for number, name in enumerate(names):
            data = Path(name).read_bytes()
            hashlib.sha256(data).hexdigest()
            Path(folder, f"{number}.dcm").write_bytes(data)
        subprocess.run(["sync", "-f", folder], check=True)
    return found


def _pacs(given: str):
    """Open an empty archive, loaded and warm."""
    import pydicom.data

    import researchpacs as rp

    os.environ["RESEARCHPACS_WORKERS"] = WORKERS
    home = Path(json.loads(given)["home"])
    shutil.rmtree(home, ignore_errors=True)
    with rp.connect(home) as warm:
        warm.ingest(pydicom.data.get_testdata_file("CT_small.dcm"), progress=False)
        warm.sync()
    shutil.rmtree(home)
    return rp.connect(home)


def _names(given: str) -> list[str]:
    at = json.loads(given)
    return sorted(map(str, Path(at["files"]).rglob("*.dcm")))[: at.get("count")]
