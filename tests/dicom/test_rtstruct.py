"""Regions of structure sets as a plain loop over pydicom's data sets finds them."""

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from researchpacs.dicom.rtstruct import regions

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

FOLDERS = ("misc_pydicom", "petct_mr_rtstruct_sts_002", "rtstruct_rt_utils", "rt_dicompyler")


def structure_sets(real_data: Path) -> list[Dataset]:
    found = []
    for path in sorted(path for folder in FOLDERS for path in (real_data / folder).rglob("*.dcm")):
        ds = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        if ds.get("Modality") == "RTSTRUCT":
            found.append(path)
    assert len(found) >= 7
    return [pydicom.dcmread(path, force=True) for path in found]


def test_regions_are_those_that_pydicom_reads(real_data: Path) -> None:
    count = points = 0
    for ds in structure_sets(real_data):
        drawn = {int(one.ReferencedROINumber): one.get("ContourSequence") or [] for one in ds.ROIContourSequence}
        types = {
            int(one.ReferencedROINumber): one.get("RTROIInterpretedType") or None
            for one in ds.get("RTROIObservationsSequence", ())
        }
        ours = {one.number: one for one in regions(ds)}
        assert list(ours) == [int(roi.ROINumber) for roi in ds.StructureSetROISequence]
        for roi in ds.StructureSetROISequence:
            one, contours = ours[int(roi.ROINumber)], drawn.get(int(roi.ROINumber), [])
            assert one.name == (str(roi.ROIName).strip() or None)
            assert one.interpreted_type == types.get(one.number)
            assert one.contour_count == len(contours)
            assert one.point_count == sum(len(contour.ContourData) // 3 for contour in contours)
            assert set(one.geometric_types) == {str(contour.ContourGeometricType) for contour in contours}
            count, points = count + 1, points + one.point_count
    assert count > 20
    assert points > 10_000


def test_points_are_counted_alike_before_and_after_pydicom_has_made_them_numbers(real_data: Path) -> None:
    for ds in structure_sets(real_data):
        before = [one.point_count for one in regions(ds)]
        for item in ds.ROIContourSequence:
            for contour in item.get("ContourSequence") or []:
                assert contour.ContourData is not None
        assert [one.point_count for one in regions(ds)] == before


def test_the_series_is_the_one_the_contours_were_drawn_on(real_data: Path) -> None:
    folder = real_data / "petct_mr_rtstruct_sts_002"
    for part in ("CT", "PET", "MR_T1"):
        ds = pydicom.dcmread(folder / part / "mask" / "RS.dcm")
        (study,) = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence
        (series,) = study.RTReferencedSeriesSequence
        assert {one.series_uid for one in regions(ds)} == {str(series.SeriesInstanceUID)}


def test_broken_elements_do_not_stop_it() -> None:
    ds, roi, drawn = Dataset(), Dataset(), Dataset()
    roi.ROINumber, roi.ROIName = "1", "x"
    drawn.ReferencedROINumber, drawn.ContourSequence = "1", [Dataset()]
    nameless = Dataset()
    ds.StructureSetROISequence, ds.ROIContourSequence = [roi, nameless], [drawn, Dataset()]
    (one,) = regions(ds)
    assert (one.name, one.contour_count, one.point_count, one.series_uid) == ("x", 1, 0, None)
