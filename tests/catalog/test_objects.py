"""Tables of what objects say: filled when they are stored, emptied when they go, equal to those made anew."""

from io import BytesIO
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from researchpacs.catalog import _objects
from researchpacs.testing import small_ct

from .conftest import Filled, contents

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TABLES = ("measurements", "segments", "contours", "key_images", "reports", "doses", "object_references")
PLACES = {"series_instance_uid": "2.25.1", "series_number": 1, "instance_number": 1, "manufacturer": "x"}


def of_every_kind(real_data: Path) -> list[Path | Dataset]:
    """Real reports, segmentations and structure sets, and made objects of the kinds that there are no real ones of."""
    image = pydicom.dcmread(real_data / "highdicom_seg_sr_sm_ann" / "ct_image.dcm")
    return [
        real_data / "highdicom_seg_sr_sm_ann",
        real_data / "misc_pydicom" / "test-SR.dcm",
        real_data / "misc_pydicom" / "reportsi.dcm",
        *(real_data / "pet_seg_qin" / "SEG").rglob("*.dcm"),
        *(real_data / "petct_mr_rtstruct_sts_002").rglob("RS.dcm"),
        real_data / "rtstruct_rt_utils" / "mock_data" / "rt.dcm",
        key_object(image, "2.25.91"),
        presentation_state(image, "2.25.92"),
        dose_report(image, "2.25.93"),
        document(image, "2.25.94"),
    ]


def key_object(image: Dataset, uid: str) -> Dataset:
    content = highdicom.ko.KeyObjectSelection(codes.DCM.ForTeaching, [image], description="typical")
    return highdicom.ko.KeyObjectSelectionDocument([image], content, sop_instance_uid=uid, **PLACES)


def presentation_state(image: Dataset, uid: str) -> Dataset:
    return highdicom.pr.GrayscaleSoftcopyPresentationState(
        [image],
        sop_instance_uid=uid,
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        content_label="MARKED",
        **PLACES,
    )


def dose_report(image: Dataset, uid: str) -> Dataset:
    ds, number, measured = beside(image, uid, "1.2.840.10008.5.1.4.1.1.88.67"), Dataset(), Dataset()
    ds.Modality, ds.ValueType, ds.ConceptNameCodeSequence = "SR", "CONTAINER", [coded("113701", "DCM")]
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = "12.5", [coded("mGy.cm", "UCUM")]
    number.ValueType, number.RelationshipType = "NUM", "CONTAINS"
    number.ConceptNameCodeSequence, number.MeasuredValueSequence = [coded("113838", "DCM")], [measured]
    ds.ContentSequence = [number]
    return ds


def document(image: Dataset, uid: str) -> Dataset:
    ds = beside(image, uid, "1.2.840.10008.5.1.4.1.1.104.1")
    ds.Modality, ds.DocumentTitle, ds.MIMETypeOfEncapsulatedDocument = "DOC", "Letter", "application/pdf"
    ds.EncapsulatedDocument = b"%PDF-1.7\n"
    return ds


def beside(image: Dataset, uid: str, sop_class: str) -> Dataset:
    """An object of the same study in a series of its own."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.PatientID, ds.PatientName, ds.StudyInstanceUID = image.PatientID, image.PatientName, image.StudyInstanceUID
    ds.SeriesInstanceUID = uid + ".1"
    return ds


def coded(value: str, scheme: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, value
    return ds


@pytest.fixture(scope="module")
def objects(real_data: Path, tmp_path_factory: pytest.TempPathFactory):
    """An archive of objects of every kind; tests only read it."""
    made = Filled(tmp_path_factory.mktemp("objects") / "home")
    made.take(of_every_kind(real_data))
    yield made
    made.close()


def test_objects_of_every_kind_fill_their_tables(objects: Filled) -> None:
    counts = {name: objects.catalog.sql(f"select count(*) from {name}").fetchall()[0][0] for name in TABLES}
    assert all(counts.values()), counts
    assert counts["key_images"] == 2
    assert counts["doses"] == 1


def test_segments_are_counted_as_pydicom_decodes_them(objects: Filled) -> None:
    rows = objects.catalog.sql(
        "select object_key, segment_number, voxel_count, segmentation_type from segments order by all"
    ).fetchall()
    pixels = {}
    for key, number, count, kind in rows:
        if key not in pixels:
            ds = pydicom.dcmread(BytesIO(objects.archive.read(key)))
            pixels[key] = ds, np.atleast_3d(ds.pixel_array).reshape(-1, ds.Rows, ds.Columns)
        ds, frames = pixels[key]
        if kind == "LABELMAP":
            expected = np.count_nonzero(frames == number)
        elif "PerFrameFunctionalGroupsSequence" in ds:
            owners = [
                one.SegmentIdentificationSequence[0].ReferencedSegmentNumber
                for one in ds.PerFrameFunctionalGroupsSequence
            ]
            expected = np.count_nonzero(frames[np.asarray(owners) == number])
        else:
            each = len(frames) // len(ds.SegmentSequence)
            expected = np.count_nonzero(frames[(number - 1) * each : number * each])
        assert count == expected, (ds.SOPInstanceUID, number)
    assert len(pixels) == 13
    assert len(rows) > 150


def test_every_row_names_an_object_that_is_there(objects: Filled) -> None:
    for name in TABLES:
        astray = f"""
            select count(*) from {name} t
            where not exists (
                select 1 from instances i
                where i.instance_key = t.object_key
                and i.SOPInstanceUID = t.object_sop_instance_uid
                and i.patient_key = t.patient_key
            )
        """
        assert objects.catalog.sql(astray).fetchall() == [(0,)], name


def test_a_length_in_cm_compares_with_one_in_mm(objects: Filled) -> None:
    rows = objects.catalog.sql(
        "select unit, value, ucum_value, ucum_unit from measurements where unit = 'mm' and ucum_unit is not null"
    ).fetchall()
    assert rows
    assert all((base, evaluated) == ("m", pytest.approx(value / 1000)) for _, value, evaluated, base in rows)


def test_following_step_by_step_with_deletions_equals_made_anew(filled: Filled, real_data: Path) -> None:
    for source in of_every_kind(real_data):
        filled.take(source)
        filled.catalog.sync()
    assert all(contents(filled.catalog)[name] for name in TABLES)
    keys = filled.catalog.sql("select instance_key from instances order by 1").fetchall()
    for (key,) in keys[::4]:
        filled.archive.delete("instance", key)
    filled.catalog.sync()
    stepwise = contents(filled.catalog)

    filled.catalog.sync(rebuild=True)

    assert contents(filled.catalog) == stepwise


def test_an_object_that_goes_takes_its_rows_with_it_in_one_commit(filled: Filled, real_data: Path) -> None:
    image = pydicom.dcmread(real_data / "highdicom_seg_sr_sm_ann" / "ct_image.dcm")
    for number, make in enumerate((key_object, presentation_state, dose_report, document)):
        filled.take(make(image, f"2.25.{number + 91}"))
    before = contents(filled.catalog)
    assert {name for name in TABLES if before[name]} == {"key_images", "doses", "reports", "object_references"}
    for series in ("2.25.1", "2.25.93.1", "2.25.94.1"):
        filled.archive.delete("series", series)
    left = contents(filled.catalog, without=["sync_state"])
    assert {name: rows for name, rows in left.items() if rows} == {}


def test_a_replaced_object_changes_its_rows(filled: Filled, real_data: Path) -> None:
    path = real_data / "highdicom_seg_sr_sm_ann" / "seg_image_ct_binary.dcm"
    filled.take(path)
    first = filled.catalog.sql("select label, voxel_count from segments").fetchall()
    ds = pydicom.dcmread(path)
    ds.SegmentSequence[0].SegmentLabel = "other"
    ds.PixelData = bytes(len(ds.PixelData) - 1) + b"\1"
    filled.archive.delete("instance", ds.SOPInstanceUID)
    filled.take(ds)
    assert first == [("first segment", 638)]
    assert filled.catalog.sql("select label, voxel_count from segments").fetchall() == [("other", 1)]


def test_a_segmentation_of_too_many_voxels_is_kept_and_told(filled: Filled, real_data: Path, monkeypatch) -> None:
    monkeypatch.setattr(_objects, "MOST_VOXELS", 700)
    filled.take(real_data / "highdicom_seg_sr_sm_ann" / "seg_image_ct_binary.dcm")
    assert filled.catalog.sql("select label, voxel_count, volume_mm3 from segments").fetchall() == [
        ("first segment", None, None)
    ]
    ((problem,),) = filled.catalog.sql("select problem from issues where keyword = 'PixelData'").fetchall()
    assert "700" in problem


def test_voxels_are_counted_in_every_way_of_writing_them(filled: Filled, real_data: Path) -> None:
    folder = real_data / "highdicom_seg_sr_sm_ann"
    run_length = pydicom.dcmread(folder / "seg_image_sm_control_labelmap.dcm")
    run_length.compress(RLELossless, generate_instance_uid=False)
    deflated = pydicom.dcmread(folder / "seg_image_sm_control.dcm")
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    frames = {"LABELMAP": run_length.pixel_array, "BINARY": deflated.pixel_array}
    filled.take([BytesIO(written(run_length)), BytesIO(written(deflated))])
    query = "select segmentation_type, count(*), sum(voxel_count) from segments group by 1 order by 1"
    assert filled.catalog.sql("select distinct TransferSyntaxUID from instances order by 1").fetchall() == [
        (DeflatedExplicitVRLittleEndian,),
        (RLELossless,),
    ]
    assert filled.catalog.sql(query).fetchall() == [
        ("BINARY", 20, np.count_nonzero(frames["BINARY"])),
        ("LABELMAP", 21, frames["LABELMAP"].size),
    ]
    assert filled.catalog.sql("from issues where keyword = 'PixelData'").fetchall() == []


def hostile(real_data: Path, damage: str) -> Dataset:
    ds = pydicom.dcmread(real_data / "highdicom_seg_sr_sm_ann" / "seg_image_ct_binary_overlap.dcm")
    if damage == "frames without segments":
        for frame in ds.PerFrameFunctionalGroupsSequence:
            del frame.SegmentIdentificationSequence
    elif damage == "no segments":
        ds.SegmentSequence = []
    elif damage == "labelmap in name only":
        ds.SegmentationType = "LABELMAP"
    elif damage == "segment that is not described":
        ds.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 60000
    elif damage == "spacing without end":
        shared = ds.SharedFunctionalGroupsSequence[0]
        shared.PixelMeasuresSequence[0].PixelSpacing = [1e300, 1e300]
    elif damage == "frames of 64 bits":
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelData = 64, 64, 63, bytes(8 * 16 * 16 * 8)
    elif damage == "fewer frames than pixels":
        ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:1]
    return ds


@pytest.mark.parametrize(
    ("damage", "rows"),
    [
        ("frames without segments", 2),
        ("no segments", 0),
        ("labelmap in name only", 2),
        ("segment that is not described", 2),
        ("spacing without end", 2),
        ("frames of 64 bits", 2),
        ("fewer frames than pixels", 2),
    ],
)
def test_a_hostile_segmentation_stops_nothing(filled: Filled, real_data: Path, damage: str, rows: int) -> None:
    filled.take([hostile(real_data, damage), small_ct(1)])
    assert filled.catalog.sql("select count(*) from instances").fetchall() == [(2,)]
    assert filled.catalog.sql("select count(*) from segments").fetchall() == [(rows,)]
    assert filled.catalog.sql("select count(*) from segments where not isfinite(volume_mm3)").fetchall() == [(0,)]


def replacing(ds: Dataset, uid: str) -> Dataset:
    """A later version of a report (PS3.3 C.17.2, Predecessor Documents Sequence)."""
    later, series, instance = pydicom.dcmread(BytesIO(written(ds))), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedSOPSequence = ds.SeriesInstanceUID, [instance]
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = ds.StudyInstanceUID, [series]
    later.PredecessorDocumentsSequence = [study]
    later.SOPInstanceUID = later.file_meta.MediaStorageSOPInstanceUID = uid
    return later


def written(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_a_replaced_report_is_history(filled: Filled, real_data: Path) -> None:
    first = pydicom.dcmread(real_data / "highdicom_seg_sr_sm_ann" / "sr_document.dcm")
    query = "select distinct object_sop_instance_uid from {} order by all"
    filled.take([first, replacing(first, "2.25.77")])
    both = sorted([(str(first.SOPInstanceUID),), ("2.25.77",)])
    assert filled.catalog.sql(query.format("measurements")).fetchall() == [("2.25.77",)]
    assert filled.catalog.sql(query.format("measurements_history")).fetchall() == both
    filled.archive.delete("instance", "2.25.77")
    assert filled.catalog.sql(query.format("measurements")).fetchall() == [(str(first.SOPInstanceUID),)]


def test_a_replaced_segmentation_is_history(filled: Filled, real_data: Path) -> None:
    first = pydicom.dcmread(real_data / "highdicom_seg_sr_sm_ann" / "seg_image_ct_binary.dcm")
    query = "select distinct object_sop_instance_uid from {} order by all"
    filled.take([first, replacing(first, "2.25.77")])
    both = sorted([(str(first.SOPInstanceUID),), ("2.25.77",)])
    assert filled.catalog.sql(query.format("segments")).fetchall() == [("2.25.77",)]
    assert filled.catalog.sql(query.format("segments_history")).fetchall() == both
    filled.archive.delete("instance", "2.25.77")
    assert filled.catalog.sql(query.format("segments")).fetchall() == [(str(first.SOPInstanceUID),)]


def test_another_patients_report_replaces_nothing(filled: Filled, real_data: Path) -> None:
    first = pydicom.dcmread(real_data / "highdicom_seg_sr_sm_ann" / "sr_document.dcm")
    later = replacing(first, "2.25.77")
    later.PatientID = "somebody else"
    filled.take([first, later])
    rows = filled.catalog.sql("select distinct object_sop_instance_uid from measurements").fetchall()
    assert (str(first.SOPInstanceUID),) in rows


@pytest.mark.parametrize(
    "query",
    [
        "from reports",
        "select report_text as x, author as y from reports",
        "select * from reports as t(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)",
        "from key_images",
        "select author from measurements",
    ],
)
def test_no_repr_shows_what_somebody_wrote_or_who(objects: Filled, query: str) -> None:
    result = objects.catalog.sql(query)
    assert result.fetchall()
    for shown in (repr(result), result._repr_html_()):
        assert not any(secret in shown for secret in ("Doe", "John", "Enter text", "typical", "A mass of"))
