"""What stands in the tables, compared with an independent loop over the files."""

import json
import os
import struct
from collections import defaultdict
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest

from researchpacs.dicom.keywords import is_keyword
from researchpacs.testing import small_ct

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def datasets(real):
    keys = [key for (key,) in real.catalog.sql("select instance_key from instances").fetchall()]
    return {key: pydicom.dcmread(BytesIO(real.archive.read(key)), force=True) for key in keys}


def test_every_instance_is_there_with_the_values_that_pydicom_reads(real):
    rows = real.catalog.sql(
        'select instance_key, SOPInstanceUID, SOPClassUID, InstanceNumber, "Rows", ImageType, ImagePositionPatient, '
        "RescaleSlope, ContentDate, size_bytes from instances"
    ).fetchall()
    found = datasets(real)
    assert len(rows) == len(found) > 90
    compared = 0
    for key, sop, sop_class, number, height, image_type, position, slope, content_date, size in rows:
        ds = found[key]
        assert (sop, sop_class) == (str(ds.SOPInstanceUID), str(ds.SOPClassUID))
        assert number == (ds.get("InstanceNumber") or None)
        assert height == ds.get("Rows")
        assert image_type == ([one.strip() or None for one in ds.ImageType] if ds.get("ImageType") else None)
        assert size == len(real.archive.read(key))
        if "SharedFunctionalGroupsSequence" not in ds:
            assert position == (ds.get("ImagePositionPatient") and [float(x) for x in ds.ImagePositionPatient])
            assert slope == (None if ds.get("RescaleSlope") is None else float(ds.RescaleSlope))
        if content_date is not None:
            assert content_date.strftime("%Y%m%d") == ds.ContentDate.replace(".", "")
            compared += 1
    assert compared > 10


def test_series_and_studies_count_what_is_below_them(real):
    series, studies = defaultdict(int), defaultdict(set)
    for ds in datasets(real).values():
        owner = (ds.get("PatientID") or "", ds.StudyInstanceUID)
        series[*owner, ds.SeriesInstanceUID] += 1
        studies[owner].add(ds.SeriesInstanceUID)

    counted = real.catalog.sql(
        "select coalesce(PatientID, ''), StudyInstanceUID, SeriesInstanceUID, instance_count from series"
    ).fetchall()
    assert {row[:3]: row[3] for row in counted} == dict(series)
    counted = real.catalog.sql("select coalesce(PatientID, ''), StudyInstanceUID, series_count from studies").fetchall()
    assert {row[:2]: row[2] for row in counted} == {owner: len(found) for owner, found in studies.items()}


def test_tags_hold_every_attribute(real):
    rows = dict(real.catalog.sql("select instance_key, tags from instances").fetchall())
    pixels = {0x7FE00008, 0x7FE00009, 0x7FE00010}
    for key, ds in datasets(real).items():
        expected = [tag for tag in list(ds.keys()) if tag not in pixels]
        assert len(json.loads(rows[key])) == len(expected), ds.SOPInstanceUID


def test_what_stands_after_the_pixels_is_in_tags_too(real, real_data):
    ds = pydicom.dcmread(real_data / "misc_pydicom" / "CT_small.dcm")
    length = len(ds.DataSetTrailingPadding)
    rows = real.catalog.sql(
        "select (tags->'DataSetTrailingPadding'->>'length')::integer from instances where SOPInstanceUID = $uid",
        uid=str(ds.SOPInstanceUID),
    ).fetchall()

    assert rows == [(length,)]


def test_tags_of_a_series_are_what_its_instances_have_in_common(real):
    series = real.catalog.sql("select SeriesInstanceUID, tags from series where instance_count > 1").fetchall()
    assert series
    for uid, tags in series:
        below = real.catalog.sql("select tags from instances where SeriesInstanceUID = $uid", uid=uid).fetchall()
        own = [json.loads(text) for (text,) in below]
        for keyword, value in json.loads(tags).items():
            if keyword.startswith(("Patient", "Study")):
                assert value in [one.get(keyword) for one in own]
            else:
                assert all(keyword in one and one[keyword] == value for one in own)


def test_macros_read_tags(real):
    kvp, text, several, private = real.catalog.sql(
        "select tag_num(tags, 'KVP'), tag(tags, 'Manufacturer'), tag_list(tags, 'ImageType'), tag(tags, '(0009,0010)') "
        "from instances where SOPInstanceUID = $uid",
        uid="1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322",
    ).fetchall()[0]

    assert (kvp, text, several) == (120.0, "GE MEDICAL SYSTEMS", ["ORIGINAL", "PRIMARY", "AXIAL"])
    assert private == "GEMS_IDEN_01"


def test_every_column_has_a_comment_and_every_attribute_its_own_spelling(real):
    columns = real.catalog.schema().df()

    assert set(columns["table"]) >= {
        "patients", "studies", "series", "instances", "frames", "geometry", "measurements", "measurements_history",
        "segments", "segments_history", "contours", "key_images", "reports", "doses", "object_references", "issues",
        "series_index",
    }  # fmt: skip
    assert columns["column"][columns["comment"] == ""].to_list() == []
    for column in columns["column"]:
        spelt = column.removesuffix("_parts")
        assert is_keyword(spelt) or spelt == spelt.lower()


def test_the_lake_has_the_comments_of_its_tables_too(real):
    without = real.catalog.sql(
        "select table_name, column_name from duckdb_columns() where database_name = 'pacs' and comment is null "
        "and table_name not in (select view_name from duckdb_views() where database_name = 'pacs')"
    ).fetchall()
    assert without == []


def test_the_page_of_the_tables_is_made_from_them(real):
    page = Path(__file__).parents[2] / "docs" / "catalog.md"
    written, mark, _ = page.read_text().partition("<!-- tables: made from pacs.schema() -->\n")
    expected = f"{written}{mark}\n{real.catalog.schema().as_markdown()}"
    if os.environ.get("RESEARCHPACS_WRITE_DOCS"):
        page.write_text(expected)
    assert mark
    assert page.read_text() == expected, "run this test with RESEARCHPACS_WRITE_DOCS=1 to write the page again"


def test_the_index_has_each_series_once_with_its_parents_and_no_name(real):
    rows = real.catalog.sql(
        "select SeriesInstanceUID, Modality, PatientSex, kind, instance_count from series_index order by all"
    ).fetchall()
    expected = real.catalog.sql(
        "select s.SeriesInstanceUID, s.Modality, p.PatientSex, "
        "case when exists (select 1 from geometry o where o.SeriesInstanceUID = s.SeriesInstanceUID and o.volume > 0) "
        "then 'multiple_stacks' else g.kind end, s.instance_count from series s "
        "join patients p using (patient_key) join geometry g using (patient_key, StudyInstanceUID, SeriesInstanceUID) "
        "where g.stack = 0 order by all"
    ).fetchall()
    assert rows == expected
    assert len(rows) == real.catalog.sql("select count(*) from series").fetchall()[0][0]
    assert not {"PatientName", "PatientBirthDate", "tags"} & set(real.catalog.sql("from series_index").columns)


def test_what_a_series_shares_is_kept_once(real):
    """Independently of how it is kept: the view gives back what each file holds, the tables hold it once."""
    shared = dict(real.catalog.sql("select SeriesInstanceUID, tags from series_common").fetchall())
    own = defaultdict(list)
    for uid, tags in real.catalog.sql("select SeriesInstanceUID, tags from instances_own").fetchall():
        own[uid].append(json.loads(tags))
    whole = defaultdict(list)
    for uid, tags in real.catalog.sql("select SeriesInstanceUID, tags from instances").fetchall():
        whole[uid].append(json.loads(tags))
    compared = 0
    for uid, instances in whole.items():
        common = json.loads(shared[uid])
        for one in own[uid]:
            assert not set(one) & set(common)
        expected = {
            keyword
            for keyword in instances[0]
            if all(one.get(keyword, ...) == instances[0][keyword] for one in instances)
        }
        assert set(common) == expected
        compared += len(instances) > 1
    assert compared > 3


def test_frames_carry_what_opens_them(real):
    uid = real.catalog.sql("select SeriesInstanceUID from series where Modality = 'CT' and frame_count > 1").fetchall()
    compared = 0
    for frame in [frame for (one,) in uid for frame in real.catalog.frames(one)]:
        ds = pydicom.dcmread(BytesIO(real.archive.read(frame.sop_uid)), force=True)
        if "ImagePositionPatient" in ds:
            assert frame.position == tuple(ds.ImagePositionPatient)
        assert (frame.layout.rows, frame.layout.columns) == (ds.Rows, ds.Columns)
        if frame.byte_offset is not None and not pydicom.uid.UID(frame.layout.transfer_syntax_uid).is_compressed:
            data = real.archive.read(frame.sop_uid, frame.byte_offset, frame.byte_length)
            size = ds.Rows * ds.Columns * ds.BitsAllocated // 8
            assert data == ds.PixelData[frame.index * size :][:size]
            compared += 1
    assert compared > 10


def test_geometry_of_a_regular_stack_is_uniform(filled):
    filled.take([small_ct(number) for number in (3, 1, 2, 4)])

    row = filled.catalog.sql(
        "select kind, is_volume, shape, spacing_z_mm, spacing_y_mm, affine_lps, reasons from geometry"
    ).fetchall()

    ((kind, is_volume, shape, spacing_z, spacing_y, affine, reasons),) = row
    assert (kind, is_volume, shape, spacing_z, spacing_y, reasons) == ("uniform", True, [4, 16, 16], 2.0, 0.5, [])
    np.testing.assert_allclose(np.reshape(affine, (4, 4)) @ [1, 2, 4, 1], [2.0, 1.0, 4.0, 1.0])


def test_names_have_their_parts(real):
    parts = real.catalog.sql(
        "select PatientName_parts from patients where PatientName like 'Yamada%' and PatientName like '%=%'"
    ).fetchall()[0][0]

    assert (parts["family"], parts["given"]) == ("Yamada", "Tarou")
    assert parts["ideographic"] == "山田 太郎"
    assert parts["phonetic"] == "やまだ たろう"


def test_a_value_that_does_not_fit_is_null_and_told(filled):
    ds = small_ct(1)
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    broken = buffer.getvalue().replace(b"DA\x08\x0020240229", b"DA\x08\x0020241399")
    assert broken != buffer.getvalue()
    filled.take(BytesIO(broken))

    assert filled.catalog.sql("select StudyDate, tag(tags, 'StudyDate') from studies").fetchall() == [
        (None, "20241399")
    ]
    issues = filled.catalog.sql("select keyword, problem from issues").fetchall()
    assert "StudyDate" in {keyword for keyword, _ in issues}
    assert not any("20241399" in problem for _, problem in issues)


def test_a_report_gives_its_measurements(real):
    rows = real.catalog.sql(
        "select object_sop_instance_uid, quantity, value, unit from measurements order by all"
    ).fetchall()
    reports = {
        uid
        for (uid,) in real.catalog.sql(
            "select SOPInstanceUID from instances where SOPClassUID like '%.88.%'"
        ).fetchall()
    }

    assert rows
    assert {row[0] for row in rows} <= reports
    assert all(isinstance(value, float) for _, _, value, _ in rows)


BROKEN = {
    "DateOfSecondaryCapture": ("DA", b"20241399"),
    "TimeOfSecondaryCapture": ("TM", b"996199"),
    "FrameReferenceDateTime": ("DT", b"not a date"),
    "IrradiationEventUID": ("UI", b"1.2..x "),
    "AcquisitionType": ("CS", b"lower case"),
    "PatientAge": ("AS", b"old "),
    "DataCollectionDiameter": ("DS", b"wide"),
    "TableSpeed": ("FD", bytes(6)),
    "RetrieveAETitle": ("AE", b"A" * 20),
    "ExposureInuAs": ("IS", b"1.5 "),
}


def explicit(keyword: str, vr: str, value: bytes) -> bytes:
    """An element as Explicit VR Little Endian has it (PS3.5 7.1.2), whatever the value."""
    tag = pydicom.datadict.tag_for_keyword(keyword)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def test_a_value_that_breaks_its_vr_is_kept_and_told_wherever_it_stands(filled):
    ds = small_ct(1)
    del ds.PixelData
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    whole = buffer.getvalue()
    body = {}
    for element in ds:
        one, written = pydicom.Dataset(), BytesIO()
        one.add(element)
        pydicom.dcmwrite(written, one, implicit_vr=False, little_endian=True)
        body[int(element.tag)] = written.getvalue()
    start = whole.index(body[min(body)])
    for keyword, (vr, value) in BROKEN.items():
        body[pydicom.datadict.tag_for_keyword(keyword)] = explicit(keyword, vr, value)
    nested = explicit("ScheduledProcedureStepStartDate", "DA", b"99999999")
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(nested)) + nested
    body[0x00400275] = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, len(item)) + item
    filled.take(BytesIO(whole[:start] + b"".join(body[tag] for tag in sorted(body))))

    told = dict(filled.catalog.sql("select keyword, problem from issues where problem like 'has %'").fetchall())
    assert set(told) == {*BROKEN, "ScheduledProcedureStepStartDate"}
    kept = json.loads(filled.catalog.sql("select tags from instances").fetchall()[0][0])
    for keyword, (vr, value) in BROKEN.items():
        text = value.decode().strip()
        assert kept[keyword] == {"FD": {"length": 6, "hex": "00" * 6}, "IS": 1.5}.get(vr, text)
        assert text not in told[keyword] or vr == "FD"
    assert kept["RequestAttributesSequence"][0]["ScheduledProcedureStepStartDate"] == "99999999"


def test_every_character_set_reads_as_pydicom_reads_it(real, real_data):
    compared = 0
    for path in sorted((real_data / "charset").glob("*.dcm")):
        ds = pydicom.dcmread(path)
        ((name, tags),) = real.catalog.sql(
            "select PatientName, i.tags from instances i join patients using (patient_key) where SOPInstanceUID = $uid",
            uid=str(ds.SOPInstanceUID),
        ).fetchall()
        tags = json.loads(tags)
        for element in ds:
            if element.VR in {"PN", "LO", "SH", "LT", "ST", "UT"} and element.VM == 1 and element.value:
                assert tags[element.keyword] == str(element.value).rstrip(), (path.name, element.keyword)
        assert name == tags["PatientName"]
        compared += 1
    assert compared == 5
