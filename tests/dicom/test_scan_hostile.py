"""Files made to hurt a parser: refused, or harmless and kept with its oddities, in little time and memory."""

import io
import json
import struct
import subprocess
import sys
import zlib

import pytest

from researchpacs.dicom.scan import MediaDirectoryError, scan
from researchpacs.errors import InvalidInputError

IMPLICIT, EXPLICIT, DEFLATED, BIG_ENDIAN = (f"1.2.840.10008.1.2{tail}" for tail in ("", ".1", ".1.99", ".2"))
RLE, JPEG, JPEG_2000 = (f"1.2.840.10008.1.2.{tail}" for tail in ("5", "4.50", "4.90"))
LONG = {"OB", "OW", "SQ", "UN", "UT", "UC", "OV"}
UNDEFINED = 0xFFFFFFFF
SECONDS, MEGABYTES = 2.0, 512


def element(tag, vr, value=b"", *, length=None):
    """An explicit little endian element, with another length than its own if asked for."""
    value = value.encode() if isinstance(value, str) else value
    value += b"\0" * (len(value) % 2)
    length = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    return head + (struct.pack("<HI", 0, length) if vr in LONG else struct.pack("<H", length)) + value


def bare(tag, value=b"", *, length=None):
    """An implicit little endian element, item or delimiter."""
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(value=b"", *, length=None):
    return bare(0xFFFEE000, value, length=length)


ITEM_END, SEQUENCE_END = bare(0xFFFEE00D), bare(0xFFFEE0DD)
IDENTITY = b"".join(
    (
        element(0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.2"),
        element(0x00080018, "UI", "1.2.3.4"),
        element(0x00100010, "PN", "Doe^Jane"),
        element(0x0020000D, "UI", "1.2.3"),
        element(0x0020000E, "UI", "1.2.3.5"),
    )
)


def part10(dataset, transfer_syntax=EXPLICIT, *, preamble=b"", sop_class="1.2.840.10008.5.1.4.1.1.2"):
    meta = element(0x00020002, "UI", sop_class) + element(0x00020003, "UI", "1.2.3.4")
    meta += element(0x00020010, "UI", transfer_syntax)
    group_length = element(0x00020000, "UL", struct.pack("<I", len(meta)))
    return preamble.ljust(128, b"\0") + b"DICM" + group_length + meta + dataset


def image(rows, columns, *, frames=1, bits=16):
    return b"".join(
        (
            element(0x00280002, "US", struct.pack("<H", 1)),
            element(0x00280004, "CS", "MONOCHROME2"),
            element(0x00280008, "IS", str(frames)),
            element(0x00280010, "US", struct.pack("<H", rows)),
            element(0x00280011, "US", struct.pack("<H", columns)),
            element(0x00280100, "US", struct.pack("<H", bits)),
        )
    )


def encapsulated(*fragments, end=SEQUENCE_END):
    return element(0x7FE00010, "OB", length=UNDEFINED) + item() + b"".join(map(item, fragments)) + end


def deflated(dataset):
    stream = zlib.compressobj(1, zlib.DEFLATED, -15)
    return part10(stream.compress(dataset) + stream.flush(), DEFLATED)


def nested(depth, wrap):
    value = b""
    for _ in range(depth):
        value = wrap(value)
    return value


def nested_undefined(depth, vr="SQ"):
    opening = element(0x00081140, vr, length=UNDEFINED) + item(length=UNDEFINED)
    return opening * depth + (ITEM_END + SEQUENCE_END) * depth


def private_elements(count, value=b""):
    return b"".join(
        struct.pack("<HH2sH", 0x2001 + 2 * (index >> 12), 0x1000 + (index & 0xFFF), b"SH", len(value)) + value
        for index in range(count)
    )


RLE_FRAME = struct.pack("<16I", 1, 64, *([0] * 14)) + b"\x81\x00" * 100
PRIVATE_CREATOR = element(0x00210010, "LO", "SIEMENS MR FMRI")

REFUSED = {
    "empty": (b"", "not DICOM"),
    "text": (b"Patient: Jane Doe\n" * 100, "not DICOM"),
    "jpeg": (b"\xff\xd8\xff\xe0" + b"\0" * 500, "not DICOM"),
    "only a preamble": (bytes(128), "not DICOM"),
    "only a prefix": (bytes(128) + b"DICM", "StudyInstanceUID is missing"),
    "media directory": (part10(b"", sop_class="1.2.840.10008.1.3.10"), "DICOMDIR"),
    "no identity": (part10(element(0x00100010, "PN", "Doe^Jane")), "StudyInstanceUID is missing"),
    "empty uid": (part10(IDENTITY + element(0x0020000E, "UI")), "SeriesInstanceUID is missing"),
    "uid of 70 characters": (part10(IDENTITY + element(0x00080018, "UI", "1." * 35)), "SOPInstanceUID has 70"),
    "value longer than the file": (part10(IDENTITY + element(0x00204000, "LT", b"x", length=60000)), "declares 60000"),
    "4 GB value": (part10(IDENTITY + element(0x7FE00010, "OW", b"xx", length=0xFFFFFFFE)), "declares 4294967294"),
    "meta longer than the file": (bytes(128) + b"DICM" + element(0x00020001, "OB", b"xx", length=1 << 30), "declares"),
    "meta of undefined length": (
        bytes(128) + b"DICM" + element(0x00020001, "OB", b"xx", length=UNDEFINED),
        "declares 4294967295",
    ),
    "meta without end": (bytes(128) + b"DICM" + element(0x00020016, "AE", "A") * 5000, "group 0002"),
    "truncated header": (part10(IDENTITY)[:-9] + b"\x20", "declares"),
    "truncated long header": (part10(IDENTITY + element(0x00420011, "OB", b"pdf"))[:-6], "is cut off"),
    "item beyond its sequence": (
        part10(IDENTITY + element(0x00081140, "SQ", item(b"\0" * 8, length=500))),
        "declares 500 bytes where 8 are left",
    ),
    "element beyond its item": (
        part10(IDENTITY + element(0x00081140, "SQ", item(element(0x00081150, "UI", b"1.2", length=600)))),
        "declares 600",
    ),
    "sequence beyond its item": (
        part10(IDENTITY + element(0x00081140, "SQ", item(element(0x00081199, "SQ", item(), length=100)))),
        "declares 100 bytes where 8",
    ),
    "header cut off by its item": (
        part10(IDENTITY + element(0x00081140, "SQ", item(b"\x08\0\x50\x11", length=4))),
        "an item ends at byte",
    ),
    "sequence without items": (part10(IDENTITY + element(0x00081140, "SQ", b"no items")), "where an item was expected"),
    "unterminated sequence": (
        part10(IDENTITY + element(0x00081140, "SQ", length=UNDEFINED) + item(b"")),
        "a sequence is not terminated",
    ),
    "unterminated item": (
        part10(IDENTITY + element(0x00081140, "SQ", length=UNDEFINED) + item(length=UNDEFINED)),
        "is not terminated",
    ),
    "item delimiter at the top": (part10(IDENTITY + ITEM_END + b"hidden"), "where an element was expected"),
    "sequence delimiter at the top": (part10(IDENTITY + SEQUENCE_END + b"hidden"), "where an element was expected"),
    "sequence ends too early": (
        part10(IDENTITY + element(0x00081140, "SQ", SEQUENCE_END + item())),
        "before its declared length",
    ),
    "nesting 65 deep, undefined": (part10(IDENTITY + nested_undefined(65)), "nested deeper than 64"),
    "nesting 3,000 deep, defined": (
        part10(IDENTITY + nested(3000, lambda value: element(0x00081140, "SQ", item(value)))),
        "nested deeper than 64",
    ),
    "nesting 20,000 deep, undefined": (part10(IDENTITY + nested_undefined(20_000)), "nested deeper than 64"),
    "nesting 3,000 deep in unknown VR": (
        part10(IDENTITY + nested_undefined(3000, "UN")),
        "nested deeper than 64",
    ),
    "nesting 2,000 deep, implicit": (
        part10(bare(0x00080018, b"1.2 ") + nested(2000, lambda value: bare(0x00081140, item(value))), IMPLICIT),
        "nested deeper than 64",
    ),
    "nesting in a private sequence that only its creator tells": (
        part10(
            IDENTITY
            + PRIVATE_CREATOR
            + element(0x00211010, "UN", nested(3000, lambda value: item(element(0x00081140, "SQ", value))))
        ),
        "nested deeper than 64",
    ),
    "8 MB of empty items": (part10(IDENTITY + element(0x00081140, "SQ", item() * (1 << 20))), "elements and items"),
    "8 MB of empty items, undefined": (
        part10(IDENTITY + element(0x00081140, "SQ", length=UNDEFINED) + item() * (1 << 20) + SEQUENCE_END),
        "elements and items",
    ),
    "8 MB of items with an empty element": (
        part10(IDENTITY + element(0x00081140, "SQ", item(element(0x00081150, "UI")) * (1 << 19))),
        "elements and items",
    ),
    "450,000 elements": (part10(IDENTITY + private_elements(450_000, b"AB")), "in one data set"),
    "450,000 elements in one item": (
        part10(IDENTITY + element(0x00081140, "SQ", item(private_elements(450_000, b"AB")))),
        "in one data set",
    ),
    "8 MB of empty fragments": (
        part10(IDENTITY + image(8, 8) + element(0x7FE00010, "OB", length=UNDEFINED) + item() * (1 << 20), JPEG),
        "elements and items",
    ),
    "unterminated fragments": (
        part10(IDENTITY + image(8, 8) + encapsulated(bytes(64), end=b""), RLE),
        "not terminated",
    ),
    "fragment beyond the file": (
        part10(IDENTITY + image(8, 8) + encapsulated(end=item(bytes(8), length=1 << 30)), RLE),
        "declares a fragment of 1073741824 bytes",
    ),
    "no fragments": (
        part10(IDENTITY + image(8, 8) + element(0x7FE00010, "OB", bytes(64), length=UNDEFINED), RLE),
        "has no fragment",
    ),
    "fewer fragments than frames": (
        part10(IDENTITY + image(8, 8, frames=3) + encapsulated(RLE_FRAME, RLE_FRAME), RLE),
        "2 fragments for 3 frames",
    ),
    "RLE of 65,535 x 65,535": (part10(IDENTITY + image(65535, 65535) + encapsulated(RLE_FRAME), RLE), "too few for 1"),
    "JPEG 2000 of 65,535 x 65,535": (
        part10(IDENTITY + image(65535, 65535) + encapsulated(b"\xff\x4f\xff\x51" + bytes(60)), JPEG_2000),
        "too few for 1",
    ),
    "two billion frames": (
        part10(IDENTITY + image(512, 512, frames=2_147_483_647) + encapsulated(RLE_FRAME), RLE),
        "fragments for 2147483647 frames",
    ),
    "native of 65,535 x 65,535 x 10 million": (
        part10(IDENTITY + image(65535, 65535, frames=10_000_000, bits=32) + element(0x7FE00010, "OW", bytes(64))),
        "where 17179344900000",
    ),
    "native one byte short": (
        part10(IDENTITY + image(8, 8) + element(0x7FE00010, "OW", bytes(126))),
        "has 126 bytes where 128 are declared",
    ),
    "deflate bomb of 100 MB": (deflated(IDENTITY + bytes(100 << 20)), "inflates to more than"),
    "deflated empty items": (
        deflated(IDENTITY + element(0x00081140, "SQ", item() * (1 << 20))),
        "elements and items",
    ),
    "deflated, cut off": (deflated(IDENTITY + bytes(range(256)) * 400)[:-200], "does not end by"),
    "deflated, not deflated": (part10(b"\xff" * 500, DEFLATED), "is not a deflate stream"),
}

KEPT = {
    "plain": (part10(IDENTITY), set()),
    "Windows program": (part10(IDENTITY, preamble=b"MZ\x90\0"), {("", "begins like a Windows program")}),
    "Linux program": (part10(IDENTITY, preamble=b"\x7fELF\2"), {("", "begins like a Linux program")}),
    "script": (part10(IDENTITY, preamble=b"#!/bin/sh\n"), {("", "begins like a script")}),
    "web page": (part10(IDENTITY, preamble=b"<html>"), {("", "begins like a web page")}),
    "TIFF preamble": (part10(IDENTITY, preamble=b"II*\0"), set()),
    "markup in a name": (part10(IDENTITY + element(0x00204000, "LT", "<img src=x onerror=alert(1)>")), set()),
    "path in a uid": (
        part10(IDENTITY + element(0x0020000E, "UI", "../../../etc/passwd")),
        {("SeriesInstanceUID", "is no UI"), ("SeriesInstanceUID", "more than once")},
    ),
    "duplicates": (
        part10(IDENTITY + element(0x0020000E, "UI", "1.2.3.6")),
        {("SeriesInstanceUID", "appears more than once")},
    ),
    "tags out of order": (
        part10(IDENTITY + element(0x00080060, "CS", "CT")),
        {("", "not in the order of their tags")},
    ),
    "zero bytes at the end": (part10(IDENTITY) + bytes(3000), {("", "3000 zero bytes after")}),
    "five bytes at the end": (part10(IDENTITY) + b"hello", {("", "5 bytes after the data set")}),
    "unknown VR": (part10(IDENTITY + element(0x00200020, "ZZ", "xx")), {("PatientOrientation", "unknown VR")}),
    "no VR in one element": (
        part10(IDENTITY + bare(0x00200020, b"L\\R ")),
        {("PatientOrientation", "has no VR")},
    ),
    "broken date": (
        part10(IDENTITY + element(0x00080020, "DA", "yesterday")),
        {("StudyDate", "is no DA"), ("", "not in the order of their tags")},
    ),
    "1 MB description": (
        part10(IDENTITY + element(0x0008103E, "UN", b"x" * (1 << 20))),
        {("SeriesDescription", "too long to be indexed"), ("", "not in the order of their tags")},
    ),
    "declared explicit, is implicit": (
        part10(
            b"".join(
                bare(t, v)
                for t, v in (
                    (0x00080016, b"1.2.840.10008.5.1.4.1.1.2\0"),
                    (0x00080018, b"1.2.3.4\0"),
                    (0x0020000D, b"1.2\0"),
                    (0x0020000E, b"1.3\0"),
                )
            )
        ),
        {("TransferSyntaxUID", "declares explicit VR")},
    ),
    "sequence with a needless delimiter": (
        part10(IDENTITY + element(0x00400275, "SQ", item() + SEQUENCE_END)),
        {("", "a sequence of defined length has a delimiter")},
    ),
    "64 sequences deep": (part10(IDENTITY + nested_undefined(64)), {("", "not in the order of their tags")}),
    "too many pixels": (
        part10(IDENTITY + image(8, 8) + element(0x7FE00010, "OW", bytes(200))),
        {("PixelData", "has 72 bytes more than its frames")},
    ),
    "pixels without rows": (
        part10(IDENTITY + element(0x7FE00010, "OW", bytes(200))),
        {("Rows", "is missing")},
    ),
    "private value that looks like items": (
        part10(IDENTITY + element(0x00291090, "UN", item(length=5000) + b"xx")),
        set(),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsafe_structure_is_refused_with_its_reason(name):
    data, reason = REFUSED[name]
    with pytest.raises(InvalidInputError) as caught:
        scan(io.BytesIO(data))
    message = str(caught.value)
    assert reason in message
    assert "\n" not in message
    assert "Jane" not in message


@pytest.mark.parametrize("name", KEPT)
def test_what_is_odd_but_safe_is_kept_with_its_oddities(name):
    data, expected = KEPT[name]
    found = scan(io.BytesIO(data))
    missed = [
        (keyword, problem)
        for keyword, problem in expected
        if not any(keyword == odd.keyword and problem in odd.problem for odd in found.issues)
    ]
    assert not missed, found.issues
    assert len(found.issues) == len(expected), found.issues


def test_media_directory_has_an_error_of_its_own():
    with pytest.raises(MediaDirectoryError):
        scan(io.BytesIO(REFUSED["media directory"][0]))


def test_last_of_duplicates_counts_as_in_pydicom():
    assert scan(io.BytesIO(KEPT["duplicates"][0])).text("SeriesInstanceUID") == "1.2.3.6"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/self/status is missing: only Linux has it")
def test_every_hostile_file_takes_less_than_two_seconds_and_512_megabytes(tmp_path):
    for number, (data, _) in enumerate([*REFUSED.values(), *KEPT.values()]):
        (tmp_path / f"{number:03d}").write_bytes(data)
    report = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], check=True, capture_output=True, text=True, timeout=300
    )
    seconds, peak_mb = json.loads(report.stdout)
    assert len(seconds) == len(REFUSED) + len(KEPT)
    assert max(seconds.values()) < SECONDS
    assert peak_mb < MEGABYTES


MEASURE = """
import json, pathlib, re, sys, time
from researchpacs.dicom.scan import scan
from researchpacs.errors import InvalidInputError
seconds = {}
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    with path.open("rb") as file:
        try:
            scan(file)
        except InvalidInputError:
            pass
    seconds[path.name] = time.process_time() - start
# Not getrusage: it counts what the parent had in memory before this program began.
peak_kib = int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
print(json.dumps([seconds, peak_kib / 1024]))
"""
