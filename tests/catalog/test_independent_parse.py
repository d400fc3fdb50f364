"""Every row that a report, a segmentation or a structure set of the real data fills, against highdicom and pydicom.

Nothing of ours reads the objects here: pydicom walks their trees, highdicom their measurement groups and segments.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from .conftest import Filled

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:(pydicom|highdicom)")

HD = "highdicom_seg_sr_sm_ann"
REPORTS = (
    "broken_pydicom/reportsi_with_empty_number_tags.dcm",
    "misc_pydicom/reportsi.dcm",
    "misc_pydicom/test-SR.dcm",
    f"{HD}/sr_document.dcm",
    f"{HD}/sr_document_with_multiple_groups.dcm",
)
SEGMENTATIONS = (
    *(f"{HD}/seg_image_ct_{name}.dcm" for name in (
        "binary", "binary_fractional", "binary_overlap", "binary_single_frame", "true_fractional")),
    f"{HD}/seg_image_cr_binary.dcm",
    *(f"{HD}/seg_image_sm_{name}.dcm" for name in (
        "control", "control_labelmap", "control_labelmap_palette_color", "dots", "dots_tiled_full", "numbers")),
    "pet_seg_qin/SEG/3DSlicer/tumor_User1_Manual_Trial1.dcm",
)  # fmt: skip
STRUCTURE_SETS = (
    *(f"petct_mr_rtstruct_sts_002/{name}/mask/RS.dcm" for name in ("CT", "MR_T1", "PET")),
    "misc_pydicom/rtstruct.dcm",
    "rt_dicompyler/rtss.dcm",
    *(f"rtstruct_rt_utils/mock_data/{name}.dcm" for name in (
        "invalid_reference_rt", "non_existent_reference_rt", "rt")),
)  # fmt: skip
CLASSES = ("1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.66.", "1.2.840.10008.5.1.4.1.1.481.3",
           "1.2.840.10008.5.1.4.1.1.104.", "1.2.840.10008.5.1.4.1.1.11.")  # fmt: skip
TABLES = ("measurements", "segments", "contours", "key_images", "reports", "doses", "object_references")


Archives = dict[str, Filled]
"""By object, the archive that has it."""


@pytest.fixture(scope="module")
def objects(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archives]:
    """Archives of all of them, some of which share UIDs; tests only read them."""
    found: Archives = {}
    left = {name: str(read(real_data, name).SOPInstanceUID) for name in (*REPORTS, *SEGMENTATIONS, *STRUCTURE_SETS)}
    opened = []
    while left:
        once = {uid: name for name, uid in reversed(left.items())}
        opened.append(Filled(tmp_path_factory.mktemp("objects") / "home"))
        opened[-1].take([real_data / name for name in once.values()])
        found |= dict.fromkeys(once.values(), opened[-1])
        left = {name: uid for name, uid in left.items() if name not in found}
    yield found
    for one in opened:
        one.close()


@cache
def read(real_data: Path, name: str) -> Dataset:
    return pydicom.dcmread(real_data / name, force=True)


def rows_of(
    objects: Archives, name: str, table: str, ds: Dataset, *columns: str, order: str = "all"
) -> list[tuple[Any, ...]]:
    query = f"select {', '.join(columns)} from {table} where object_sop_instance_uid = $uid order by {order}"
    return objects[name].catalog.sql(query, uid=str(ds.SOPInstanceUID)).fetchall()


def test_no_object_of_the_real_data_is_left_out(objects: Archives, real_data: Path) -> None:
    there = set()
    for path in real_data.rglob("*"):
        # Most files are images: those that name none of the classes need no parser.
        data = path.read_bytes() if path.is_file() else b""
        if any(one.encode() in data for one in CLASSES):
            try:
                ds = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            except Exception:
                continue
            if str(ds.get("SOPClassUID", "")).startswith(CLASSES):
                there.add(str(path.relative_to(real_data)))
    assert there == {*REPORTS, *SEGMENTATIONS, *STRUCTURE_SETS}
    for archive in set(objects.values()):
        uids = sorted(str(read(real_data, name).SOPInstanceUID) for name, one in objects.items() if one is archive)
        taken = archive.catalog.sql("select SOPInstanceUID from instances order by 1").fetchall()
        assert [uid for (uid,) in taken] == uids


@pytest.mark.parametrize("name", [*REPORTS, *SEGMENTATIONS, *STRUCTURE_SETS])
def test_each_object_fills_its_own_tables_only(objects: Archives, real_data: Path, name: str) -> None:
    ds = read(real_data, name)
    filled = {table for table in TABLES if rows_of(objects, name, table, ds, "count(*)")[0][0]}
    if name in SEGMENTATIONS:
        assert filled == {"segments", "object_references"}
    elif name in STRUCTURE_SETS:
        assert filled - {"object_references"} == {"contours"}
    else:
        assert filled - {"object_references", "measurements"} == {"reports"}
    parents = {(str(ds.PatientID) or None, str(ds.SOPInstanceUID))}
    for table in filled:
        assert set(rows_of(objects, name, table, ds, "PatientID", "object_sop_instance_uid")) == parents


# -- references --------------------------------------------------------------------------------------------------------


def referenced(ds: Dataset) -> set[tuple[str | None, ...]]:
    """Every item that names an object, with the sequences above it; and series that are named as a whole."""
    found: set[tuple[str | None, ...]] = set()

    def walk(item: Dataset, path: tuple[str, ...], study: str | None, series: str | None) -> None:
        if path:
            study = str(item.get("StudyInstanceUID") or "") or study
            series = str(item.get("SeriesInstanceUID") or "") or series
        uid = str(item.get("ReferencedSOPInstanceUID") or "")
        if uid:
            found.add((".".join(path), str(item.get("ReferencedSOPClassUID") or "") or None, uid, series, study))
        inner = [element for element in item if element.VR == "SQ"]
        if path and path[-1] in ("ReferencedSeriesSequence", "RTReferencedSeriesSequence") and series and not uid:
            names = any("ReferencedSOPInstanceUID" in one for element in inner for one in element.value)
            if not names:
                found.add((".".join(path), None, None, series, study))
        for element in inner:
            keyword = element.keyword or f"({element.tag.group:04x},{element.tag.element:04x})"
            for one in element.value:
                walk(one, path if path and path[-1] == keyword else (*path, keyword), study, series)

    walk(ds, (), None, None)
    return found


@pytest.mark.parametrize("name", [*REPORTS, *SEGMENTATIONS, *STRUCTURE_SETS])
def test_references_are_all_that_pydicom_finds(objects: Archives, real_data: Path, name: str) -> None:
    ds = read(real_data, name)
    rows = rows_of(
        objects, name, "object_references", ds, "path", "referenced_sop_class_uid", "referenced_sop_instance_uid",
        "referenced_series_uid", "referenced_study_uid",
    )  # fmt: skip
    assert len(rows) == len(set(rows))
    assert set(rows) == referenced(ds)


# -- reports -----------------------------------------------------------------------------------------------------------


def code(sequence: Sequence | None) -> tuple[str, str] | tuple[None, None]:
    """SCHEME:CODE and meaning."""
    if not sequence:
        return None, None
    item = sequence[0]
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue")
    return f"{item.get('CodingSchemeDesignator') or ''}:{value}", str(item.get("CodeMeaning") or value)


def named(items: list[Dataset], *values: str) -> Dataset | None:
    return next((one for one in items if (code(one.get("ConceptNameCodeSequence"))[0] or "") in values), None)


def numbers(ds: Dataset) -> Iterator[tuple[Dataset, list[Dataset]]]:
    """NUM items directly in containers, with these, innermost last; depth first."""

    def walk(item: Dataset, above: list[Dataset]) -> Iterator[tuple[Dataset, list[Dataset]]]:
        for child in item.get("ContentSequence") or ():
            if child.get("ValueType") == "NUM" and child.get("MeasuredValueSequence"):
                yield child, above
            elif child.get("ValueType") == "CONTAINER":
                yield from walk(child, [*above, child])

    yield from walk(ds, [ds])


def below(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence") or ():
        yield child
        yield from below(child)


@pytest.mark.parametrize("name", REPORTS)
def test_measurements_are_those_that_pydicom_finds(objects: Archives, real_data: Path, name: str) -> None:
    ds = read(real_data, name)
    series = {
        str(instance.ReferencedSOPInstanceUID): (str(one.SeriesInstanceUID), str(study.StudyInstanceUID))
        for kind in ("CurrentRequestedProcedure", "PertinentOther")
        for study in ds.get(f"{kind}EvidenceSequence") or ()
        for one in study.ReferencedSeriesSequence
        for instance in one.ReferencedSOPSequence
    }
    expected = []
    for number, above in numbers(ds):
        group = above[-1]
        measured = number.MeasuredValueSequence[0]
        if measured.get("NumericValue") is None:
            continue
        near = [*(number.get("ContentSequence") or ()), *(group.get("ContentSequence") or ())]
        tracked = named(near, "DCM:112039")
        uid = named(list(group.ContentSequence), "DCM:112040")
        finding = code((named(near, "DCM:121071") or Dataset()).get("ConceptCodeSequence"))
        site = code((named(near, "SCT:363698007", "SRT:G-C0E3") or Dataset()).get("ConceptCodeSequence"))
        method = code((named(near, "SCT:370129005", "SRT:G-C036") or Dataset()).get("ConceptCodeSequence"))
        about = [*below(number), *(one for item in group.ContentSequence if item.ValueType != "NUM"
                                   for one in (item, *below(item)))]  # fmt: skip
        images = [str(one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for one in about
                  if one.get("ReferencedSOPSequence")]  # fmt: skip
        origins = {series[image] for image in images if image in series} or set(series.values())
        observers = [
            one for level in reversed(above) if (one := named(level.ContentSequence, "DCM:121008")) is not None
        ]
        author = str(observers[0].get("PersonName", observers[0].get("TextValue"))).rstrip("^") if observers else None
        expected.append(
            (
                *(origins.pop() if len(origins) == 1 else (None, str(ds.StudyInstanceUID))),
                str(uid.UID) if uid is not None else None,
                str(tracked.TextValue) if tracked is not None else None,
                (str(tracked.TextValue) if tracked is not None else None) or finding[1],
                code(group.get("ConceptNameCodeSequence"))[0],
                *finding,
                *site,
                *code(number.ConceptNameCodeSequence),
                float(measured.get("FloatingPointValue", measured.NumericValue)),
                str(measured.MeasurementUnitsCodeSequence[0].CodeValue),
                method[1],
                author,
            )
        )
    rows = rows_of(
        objects, name, "measurements", ds, "SeriesInstanceUID", "StudyInstanceUID", "tracking_uid", "tracking_id",
        "label", "group_code", "finding_code", "finding", "site_code", "site", "quantity_code", "quantity",
        "value", "unit", "method", "author",
    )  # fmt: skip
    assert sorted(rows, key=repr) == sorted(expected, key=repr)
    assert bool(rows) == (name.startswith(HD) or "test-SR" in name)


@pytest.mark.parametrize("name", [name for name in REPORTS if name.startswith(HD)])
def test_measurement_groups_are_those_of_highdicom(objects: Archives, real_data: Path, name: str) -> None:
    content = highdicom.sr.srread(real_data / name).content
    groups = [
        *content.get_planar_roi_measurement_groups(),
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]
    expected = [
        (str(group.tracking_uid), group.tracking_identifier, group.finding_type.meaning if group.finding_type else None,
         one.name.meaning, float(one.value), one.unit.value)
        for group in groups
        for one in group.get_measurements()
    ]  # fmt: skip
    rows = rows_of(objects, name, "measurements", read(real_data, name), "tracking_uid", "tracking_id", "finding",
                   "quantity", "value", "unit")  # fmt: skip
    assert expected
    assert sorted(rows, key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize("name", REPORTS)
def test_reports_are_told_in_the_words_that_pydicom_finds(objects: Archives, real_data: Path, name: str) -> None:
    ds = read(real_data, name)
    ((kind, title_code, title, text, completion, verification, author, series, study),) = rows_of(
        objects, name, "reports", ds, "kind", "title_code", "title", "report_text", "completion", "verification",
        "author", "SeriesInstanceUID", "StudyInstanceUID",
    )  # fmt: skip
    people = [str(one.get("PersonName", one.get("TextValue"))) for one in below(ds)
              if code(one.get("ConceptNameCodeSequence"))[0] == "DCM:121008"]  # fmt: skip
    assert (kind, title_code, title) == ("structured", *code(ds.get("ConceptNameCodeSequence")))
    assert completion == (ds.get("CompletionFlag") or None)
    assert verification == (ds.get("VerificationFlag") or None)
    assert author == (people[0] if people else None)
    assert (series, study) == (str(ds.SeriesInstanceUID), str(ds.StudyInstanceUID))
    assert (text or "").splitlines() == "\n".join(words(ds, 0)).splitlines()


def words(item: Dataset, depth: int) -> Iterator[str]:
    """The content tree as an outline."""
    for child in item.get("ContentSequence") or ():
        kind, name = child.get("ValueType"), code(child.get("ConceptNameCodeSequence"))[1]
        if kind == "CONTAINER":
            value = None
        elif kind == "CODE":
            value = code(child.get("ConceptCodeSequence"))[1]
        elif kind == "NUM":
            measured = child.get("MeasuredValueSequence") or [Dataset()]
            unit = code(measured[0].get("MeasurementUnitsCodeSequence"))[0]
            shown = measured[0].get("NumericValue")
            symbol = unit.partition(":")[2] if unit else ""
            value = None if shown is None else f"{shown} {symbol}" if symbol not in ("", "1") else str(shown)
        else:
            keyword = {"TEXT": "TextValue", "UIDREF": "UID", "DATE": "Date", "TIME": "Time", "DATETIME": "DateTime",
                       "PNAME": "PersonName"}.get(kind, "")  # fmt: skip
            value = str(child.get(keyword) or "").strip() or None
        if (kind == "CONTAINER" and name) or value is not None:
            yield "  " * depth + ": ".join(part for part in (name, value) if part)
        yield from words(child, depth + 1)


# -- segmentations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_segments_are_those_of_highdicom(objects: Archives, real_data: Path, name: str) -> None:
    ds = read(real_data, name)
    seg = highdicom.seg.segread(real_data / name)
    frames = np.asarray(ds.pixel_array).reshape(-1, ds.Rows, ds.Columns)
    numbers = [int(one.SegmentNumber) for one in ds.SegmentSequence]
    each = frames_by_segment(ds, frames, numbers)
    full = float(ds.get("MaximumFractionalValue") or 1)
    voxel = voxel_mm3(seg, ds)
    (source,) = ds.ReferencedSeriesSequence
    expected = []
    for number in numbers:
        told = next(one for one in ds.SegmentSequence if one.SegmentNumber == number)
        own, pixels = each[number]
        if number:
            assert seg.get_segment_description(number).segment_label == told.SegmentLabel
        identification = (told.get("SegmentationAlgorithmIdentificationSequence") or [None])[0]
        algorithm = (
            f"{identification.AlgorithmName} {identification.AlgorithmVersion}"
            if identification is not None
            else told.get("SegmentAlgorithmName")
        )
        expected.append(
            (
                str(source.SeriesInstanceUID),
                str(ds.StudyInstanceUID),
                number,
                told.SegmentLabel,
                told.get("SegmentDescription") or None,
                ds.SegmentationType,
                told.SegmentAlgorithmType,
                algorithm,
                *code(told.SegmentedPropertyCategoryCodeSequence),
                *code(told.SegmentedPropertyTypeCodeSequence),
                *code(told.get("AnatomicRegionSequence")),
                told.get("TrackingUID"),
                told.get("TrackingID"),
                own,
                np.count_nonzero(pixels),
                None if voxel is None else pytest.approx(float(pixels.sum()) / full * voxel, rel=1e-6),
                str(ds.get("ContentCreatorName") or "") or None,
            )
        )
    rows = rows_of(
        objects, name, "segments", ds, "SeriesInstanceUID", "StudyInstanceUID", "segment_number", "label",
        "description", "segmentation_type", "algorithm_type", "algorithm", "category_code", "category", "type_code",
        "type", "site_code", "site", "tracking_uid", "tracking_id", "frame_count", "voxel_count", "volume_mm3",
        "author", order="segment_number",
    )  # fmt: skip
    assert rows == expected


def frames_by_segment(ds: Dataset, frames: np.ndarray, numbers: list[int]) -> dict[int, tuple[int | None, np.ndarray]]:
    """Count of a segment's frames, and their values; of a labelmap ones where its number is."""
    if ds.SegmentationType == "LABELMAP":
        return {number: (None, (frames == number).astype(int)) for number in numbers}
    if "PerFrameFunctionalGroupsSequence" not in ds:  # tiles segment after segment
        size = len(frames) // len(numbers)
        return {one: (size, frames[at * size : (at + 1) * size]) for at, one in enumerate(numbers)}
    owners = []
    for frame in ds.PerFrameFunctionalGroupsSequence:
        group = frame if "SegmentIdentificationSequence" in frame else ds.SharedFunctionalGroupsSequence[0]
        owners.append(int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber))
    return {one: (owners.count(one), frames[np.asarray(owners) == one]) for one in numbers}


def voxel_mm3(seg: highdicom.seg.Segmentation, ds: Dataset) -> float | None:
    """From the geometry as highdicom finds it; None where there is no volume."""
    if "FrameOfReferenceUID" not in ds or "ImageOrientationSlide" in ds:
        return None
    geometry = seg.get_volume_geometry(allow_missing_positions=True)
    return None if geometry is None else float(np.prod(geometry.spacing))


# -- structure sets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STRUCTURE_SETS)
def test_contours_are_those_that_pydicom_finds(objects: Archives, real_data: Path, name: str) -> None:
    ds = read(real_data, name)
    expected = []
    for roi in ds.StructureSetROISequence:
        number = roi.ROINumber
        drawn = [one for item in ds.ROIContourSequence if item.ReferencedROINumber == number
                 for one in item.get("ContourSequence") or ()]  # fmt: skip
        observed = next((one for one in ds.get("RTROIObservationsSequence") or ()
                         if one.ReferencedROINumber == number), Dataset())  # fmt: skip
        images = {
            str(image.ReferencedSOPInstanceUID) for one in drawn for image in one.get("ContourImageSequence") or ()
        }
        expected.append(
            (
                *drawn_on(ds, images),
                int(number),
                roi.ROIName,
                roi.get("ROIDescription") or None,
                observed.get("RTROIInterpretedType") or None,
                *code(observed.get("RTROIIdentificationCodeSequence")),
                roi.get("ROIGenerationAlgorithm") or None,
                sorted({one.ContourGeometricType for one in drawn}) or None,
                len(drawn),
                sum(int(one.NumberOfContourPoints) for one in drawn),
                len(images),
                volume_mm3(drawn),
                str(roi.ReferencedFrameOfReferenceUID),
                ds.StructureSetLabel,
            )
        )
    rows = rows_of(
        objects, name, "contours", ds, "SeriesInstanceUID", "StudyInstanceUID", "roi_number", "roi_name", "description",
        "roi_type", "type_code", "type", "generation", "geometric_types", "contour_count", "point_count", "image_count",
        "volume_mm3", "frame_of_reference_uid", "structure_set_label", order="roi_number",
    )  # fmt: skip
    assert rows == expected


def drawn_on(ds: Dataset, images: set[str]) -> tuple[str | None, str]:
    """Series and study of the images that contours name, else of all that the structure set rests on."""
    known = {
        str(image.ReferencedSOPInstanceUID): (str(series.SeriesInstanceUID), str(study.ReferencedSOPInstanceUID))
        for frame in ds.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for series in study.RTReferencedSeriesSequence
        for image in series.get("ContourImageSequence") or ()
    }
    found = {known[uid] for uid in images if uid in known} or set(known.values())
    return next(iter(found)) if len(found) == 1 else (None, str(ds.StudyInstanceUID))


def volume_mm3(drawn: list[Dataset]) -> Any:
    """Shoelace areas on axial planes, holes taken off, times the distance between neighbouring planes."""
    planes: dict[float, list[np.ndarray]] = {}
    for one in drawn:
        points = np.reshape(np.array(one.ContourData, float), (-1, 3))
        planes.setdefault(float(points[0, 2]), []).append(points[:, :2])
    if len(planes) < 2 or {one.ContourGeometricType for one in drawn} != {"CLOSED_PLANAR"}:
        return None
    step = float(np.diff(sorted(planes)).min())
    total = sum(
        area(one) * (-1) ** sum(is_within(one[0], other) for other in found if other is not one)
        for found in planes.values()
        for one in found
    )
    return pytest.approx(total * step, rel=5e-3)


def area(points: np.ndarray) -> float:
    x, y = points.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def is_within(point: np.ndarray, polygon: np.ndarray) -> bool:
    from matplotlib.path import Path as Outline

    return bool(Outline(polygon).contains_point(point))
