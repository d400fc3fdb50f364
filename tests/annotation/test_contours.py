"""Contours: to the publisher's masks voxel for voxel, from masks and back, into the archive as structure sets."""

import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import xarray as xr
from pydicom.dataset import Dataset
from tests.annotation.conftest import volume_like

import researchpacs as rp
from researchpacs.annotation import Contour, Source, annotation_datasets, annotations_of
from researchpacs.dicom import codes
from researchpacs.errors import GeometryError, InvalidInputError, ResearchPacsError, UnsupportedError
from researchpacs.volume import as_volume

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:pydicom")

MODALITIES = ("CT", "MR_T1", "PET")
STS = "petct_mr_rtstruct_sts_002"


@pytest.fixture(scope="module")
def sarcoma(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[rp.Pacs]:
    """CT, MR and PET of a tumour with a structure set each; tests put more in and take nothing out."""
    with rp.connect(tmp_path_factory.mktemp("sarcoma") / "home") as pacs:
        pacs.ingest(real_data / STS, progress=False)
        yield pacs


@cache
def drawn(pacs: rp.Pacs, name: str) -> tuple[xr.DataArray, Contour]:
    modality = {"CT": "CT", "MR_T1": "MR", "PET": "PT"}[name]
    series = pacs.search("series", Modality=modality).one()
    (contour,) = [one for one in pacs.annotations(series) if one.label == f"GTV_Mass_{name}"]
    return rp.read_volume(series), contour


def published(real_data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The mask that the publisher made, as (z, y, x), and its affine in LPS for these."""
    image = nibabel.load(real_data / STS / "reference" / f"{name}_mask.nii.gz")
    return np.asarray(image.dataobj).T > 0, (np.diag([-1, -1, 1, 1]) @ image.affine)[:, [2, 1, 0, 3]]


@pytest.mark.parametrize("name", MODALITIES)
def test_masks_are_the_publishers_voxel_for_voxel(sarcoma, real_data, name: str) -> None:
    vol, contour = drawn(sarcoma, name)
    expected, affine = published(real_data, name)
    mask = contour.mask(like=vol)
    np.testing.assert_allclose(mask.dicom.affine_lps, affine, atol=2e-3)
    np.testing.assert_array_equal(mask.values, expected)
    assert (mask.dtype, mask.name, mask.dicom.series) == (bool, contour.label, vol.dicom.series)
    assert (contour.colour, len(contour.points_lps)) == ((255, 0, 0), 16)


def test_a_mask_follows_a_volume_that_was_flipped_cropped_or_turned(sarcoma) -> None:
    vol, contour = drawn(sarcoma, "CT")
    whole = contour.mask(like=vol)
    z, y, x = (slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(whole.values))
    for other in (vol[::-1], vol[:, ::-1, ::-1], vol.expand_dims(time=2)):
        mask = contour.mask(like=other)
        np.testing.assert_array_equal(mask.sortby(["z", "y", "x"]).values, whole.values)
    np.testing.assert_array_equal(contour.mask(like=vol[z, y, x], clip=True).values, whole[z, y, x].values)
    turned = rp.reconstruct.reorient(vol, "RAS")
    assert contour.mask(like=turned).sum() == whole.sum()
    np.testing.assert_array_equal(
        rp.reconstruct.reorient(contour.mask(like=turned), vol.dicom.orientation[::-1]).values, whole.values
    )


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"z": slice(None, 20)}, "beyond the volume"),
        ({"x": slice(None, 40)}, "out of the volume"),
        ({"z": slice(None, None, 2)}, "between slices"),
    ],
)
def test_what_has_no_place_is_refused_and_cut_off_on_request(sarcoma, part, reason: str) -> None:
    vol, contour = drawn(sarcoma, "CT")
    with pytest.raises(GeometryError, match=reason):
        contour.mask(like=vol.isel(part))
    if reason == "between slices":
        with pytest.raises(GeometryError, match=reason):
            contour.mask(like=vol.isel(part), clip=True)
    else:
        np.testing.assert_array_equal(
            contour.mask(like=vol.isel(part), clip=True).values, contour.mask(like=vol).isel(part).values
        )


def test_a_volume_of_another_place_is_refused(sarcoma) -> None:
    vol, contour = drawn(sarcoma, "CT")
    elsewhere = as_volume(vol.values, vol.dicom.affine_lps, "1.2.3")
    with pytest.raises(GeometryError, match="another Frame of Reference"):
        contour.mask(like=elsewhere)


@pytest.mark.parametrize("name", ["CT", "PET"])
def test_a_mask_goes_into_the_archive_and_comes_back(sarcoma, real_data, tmp_path, name: str) -> None:
    vol, contour = drawn(sarcoma, name)
    mask = contour.mask(like=vol)
    mask[3, 5:20, 5:20] = True  # with a hole in which there is something
    mask[3, 8:16, 8:16] = False
    mask[3, 10:13, 10:13] = True
    made = Contour.from_mask(mask, label=codes.NEOPLASM, roi_type="gtv", colour=(0, 128, 255), author="Curie^Marie")
    assert len([one for one in made.points_lps if np.allclose(one[:, 2].mean(), vol.z[3])]) >= 2
    first, again = sarcoma.ingest(made, progress=False), sarcoma.ingest(made, progress=False)
    assert (first.stored, again.stored, again.duplicates) == (1, 0, 1)
    series = sarcoma.series(vol.dicom.series)
    (back,) = [one for one in sarcoma.annotations(series) if one.label == "Neoplasm"]
    np.testing.assert_array_equal(back.mask(like=vol).values, mask.values)
    assert (back.roi_type, back.type, back.colour, back.author) == ("GTV", codes.NEOPLASM, (0, 128, 255), "Curie^Marie")
    assert back.history == made.history
    (row,) = sarcoma.sql(
        "select contour_count, point_count, volume_mm3, image_count, type_code from contours "
        "where object_sop_instance_uid = $uid",
        uid=back.sop_instance_uid,
    ).fetchall()
    voxels = int(mask.sum()) * float(np.prod(vol.dicom.spacing))
    assert row[0] == len(made.points_lps)
    assert row[2] == pytest.approx(voxels, rel=1e-4)
    assert row[3:] == (int(mask.any(["y", "x"]).sum()), "SCT:108369006")


def structure_set(contours: list[Contour], header: Dataset, frames=None) -> Dataset:
    (ds,) = annotation_datasets(contours, evidence=lambda _: [header], sources=lambda _: Source(header, frames or [1]))
    return ds


def test_the_structure_set_is_valid_new_and_refers_to_the_images(sarcoma, tmp_path) -> None:
    vol, contour = drawn(sarcoma, "CT")
    series = sarcoma.series(vol.dicom.series)
    contours = [
        Contour.from_mask(contour.mask(like=vol), label="tumour"),
        Contour.from_mask(vol > -300, label="body", roi_type="EXTERNAL", algorithm="threshold 1.0"),
    ]
    (ds,) = annotation_datasets(
        contours, evidence=lambda _: [series.header()], sources=lambda _: Source(series.header(), series.frames())
    )
    ds.save_as(tmp_path / "rs.dcm")
    images = {one.SOPInstanceUID: one for one in series.instances}
    source = series.header()
    assert ds.StudyInstanceUID == source.StudyInstanceUID
    assert ds.PatientID == source.PatientID
    assert ds.SeriesInstanceUID not in (source.SeriesInstanceUID, contour.sop_instance_uid)
    assert ds.SOPInstanceUID not in {contour.sop_instance_uid, *images}
    assert [roi.ROIName for roi in ds.StructureSetROISequence] == ["tumour", "body"]
    named = ds.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert {one.ReferencedSOPInstanceUID for one in named.ContourImageSequence} == set(images)
    for roi in ds.ROIContourSequence:
        for drawing in roi.ContourSequence:
            (image,) = drawing.ContourImageSequence
            header = images[image.ReferencedSOPInstanceUID].header()
            assert float(header.ImagePositionPatient[2]) == pytest.approx(float(drawing.ContourData[2]), abs=1e-3)
            assert len(drawing.ContourData) == 3 * drawing.NumberOfContourPoints
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is missing: apt-get install dicom3tools")
    verdict = subprocess.run(["dciodvfy", tmp_path / "rs.dcm"], capture_output=True, text=True, check=False)
    assert "RTStructureSet" in verdict.stdout + verdict.stderr
    errors = [line for line in (verdict.stdout + verdict.stderr).splitlines() if line.startswith("Error")]
    # The Study ID of these images is longer than the Standard allows, and the object stands beside them.
    assert [line for line in errors if "Study ID" not in line and "contains invalid data values" not in line] == []


def test_what_was_done_to_a_mask_stands_in_the_header(sarcoma) -> None:
    vol, contour = drawn(sarcoma, "CT")
    coarse = rp.reconstruct.resample(contour.mask(like=vol), spacing=vol.dicom.spacing[0], interpolation="nearest")
    made = Contour.from_mask(coarse, label="coarse")
    series = sarcoma.series(vol.dicom.series)
    (ds,) = annotation_datasets(
        made, evidence=lambda _: [series.header()], sources=lambda _: Source(series.header(), series.frames())
    )
    assert "filled from contours" in ds.StructureSetDescription
    assert "resample" in ds.StructureSetDescription
    (back,) = annotations_of(_bytes(ds))
    assert back.history == made.history


def _bytes(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mask", "more", "error", "reason"),
    [
        (np.zeros((4, 5, 6), bool), {}, InvalidInputError, "nothing to trace"),
        (np.full((4, 5, 6), 3), {}, InvalidInputError, "beside 0 and 1"),
        (np.ones((4, 5, 7), bool), {}, GeometryError, "shape"),
        (np.ones((4, 5, 6), bool), {"label": " "}, InvalidInputError, "one line"),
        (np.ones((4, 5, 6), bool), {"label": "x" * 65}, InvalidInputError, "64"),
        (np.ones((4, 5, 6), bool), {"colour": (1, 2, 300)}, InvalidInputError, "colour"),
        (np.ones((4, 5, 6), bool), {"colour": "red"}, InvalidInputError, "colour"),
        (np.ones((4, 5, 6), bool), {"roi_type": "a\\b"}, InvalidInputError, "roi_type"),
        (np.ones((4, 5, 6), bool), {"algorithm": "nameless"}, InvalidInputError, "version"),
    ],
)
def test_what_is_no_mask_is_refused(vol, mask, more, error, reason: str) -> None:
    with pytest.raises(error, match=reason):
        Contour.from_mask(mask, like=vol, **{"label": "x", **more})


def test_a_series_without_frame_of_reference_takes_no_contours(headers) -> None:
    header = Dataset()
    header.update(headers[0])
    contour = Contour.from_mask(np.ones((4, 5, 6), bool), like=volume_like(header), label="x")
    del header.FrameOfReferenceUID
    with pytest.raises(UnsupportedError, match="Frame of Reference"):
        structure_set([contour], header)


# -- hostile structure sets --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tumour(real_data: Path) -> Dataset:
    return pydicom.dcmread(real_data / STS / "CT" / "mask" / "RS.dcm")


def with_data(tumour: Dataset, data: list[float] | str, kind: str = "CLOSED_PLANAR") -> bytes:
    """The structure set with other points in its first contour."""
    ds = pydicom.dcmread(tumour.filename)
    contour = ds.ROIContourSequence[0].ContourSequence[0]
    contour.ContourGeometricType = kind
    text = data if isinstance(data, str) else "\\".join(f"{value:g}" for value in data)
    encoded = text.encode() + b" " * (len(text) % 2)
    tag = pydicom.tag.Tag("ContourData")
    contour[tag] = pydicom.dataelem.RawDataElement(tag, "DS", len(encoded), encoded, 0, True, True)
    return _bytes(ds)


FIRST = -527.67


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("nan\\0\\0\\1\\1\\0\\1\\0\\0", "CLOSED_PLANAR"),
        ("inf\\0\\0\\1\\1\\0\\1\\0\\0", "CLOSED_PLANAR"),
        ("text\\0\\0\\1\\1\\0\\1\\0\\0", "CLOSED_PLANAR"),
        ("1\\2", "CLOSED_PLANAR"),
        ([80, 120, FIRST], "CLOSED_PLANAR"),
        ([80, 120, FIRST, 81, 120, FIRST], "CLOSED_PLANAR"),
        ([80, 120, FIRST, 81, 120, FIRST, 81, 121, FIRST + 1], "CLOSED_PLANAR"),
        ([80, 120, FIRST, 81, 120, FIRST, 81, 1e30, FIRST], "CLOSED_PLANAR"),
        ([80, 120, FIRST, 81, 120, FIRST, 81, 121, FIRST], "OPEN_PLANAR"),
        ([80, 120, FIRST], "POINT"),
    ],
)
def test_contours_that_enclose_nothing_are_one_error(sarcoma, tumour, data, kind: str) -> None:
    vol, _ = drawn(sarcoma, "CT")
    with pytest.raises(GeometryError):
        annotations_of(with_data(tumour, data, kind))[0].mask(like=vol)


def test_a_contour_that_crosses_itself_is_filled_even_odd(sarcoma, tumour) -> None:
    vol, contour = drawn(sarcoma, "CT")
    bow = [78, 120, FIRST, 98, 140, FIRST, 98, 120, FIRST, 78, 140, FIRST]
    (crossed,) = annotations_of(with_data(tumour, bow))
    added = crossed.mask(like=vol).sel(z=FIRST, method="nearest")
    assert 150 < added.sum() < 250
    np.testing.assert_array_equal(crossed.mask(like=vol)[:10], contour.mask(like=vol)[:10])


def test_a_contour_told_twice_counts_once_and_is_told(sarcoma, tumour) -> None:
    vol, contour = drawn(sarcoma, "CT")
    ds = pydicom.dcmread(tumour.filename)
    contours = ds.ROIContourSequence[0].ContourSequence
    contours.append(contours[0])
    (twice,) = annotations_of(_bytes(ds))
    with pytest.warns(UserWarning, match="counts once"):
        mask = twice.mask(like=vol)
    np.testing.assert_array_equal(mask.values, contour.mask(like=vol).values)


def test_contours_on_every_other_slice_are_told(sarcoma) -> None:
    vol, contour = drawn(sarcoma, "CT")
    sparse = Contour.from_mask(contour.mask(like=vol)[::2], label="sparse")
    with pytest.warns(UserWarning, match=r"every 2\. slice"):
        sparse.mask(like=vol)


def test_a_region_without_contours_and_one_of_points_say_so(real_data) -> None:
    (points,) = [
        one for one in annotations_of((real_data / "misc_pydicom" / "rtstruct.dcm").read_bytes()) if one.number == 2
    ]
    assert points.points_lps[0].tolist() == [[0, 0, 0]]
    regions = annotations_of((real_data / "rt_dicompyler" / "rtss.dcm").read_bytes())
    (named,) = [one for one in regions if not one.points_lps]
    like = as_volume(np.zeros((2, 3, 4)), np.eye(4), named.frame_of_reference_uid)
    with pytest.raises(GeometryError, match="no contours"):
        named.mask(like=like)
    like = as_volume(np.zeros((2, 3, 4)), np.eye(4), points.frame_of_reference_uid)
    with pytest.raises(GeometryError, match="POINT"):
        points.mask(like=like)


def test_an_object_that_cannot_be_read_is_told_and_hides_no_other(sarcoma, tumour) -> None:
    vol, contour = drawn(sarcoma, "CT")
    ds = pydicom.dcmread(BytesIO(with_data(tumour, "nan\\0\\0\\1\\1\\0\\1\\0\\0")))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "2.25.4711"
    sarcoma.ingest(BytesIO(_bytes(ds)), progress=False)
    with pytest.warns(UserWarning, match="left out"):
        found = sarcoma.annotations(vol.dicom.series)
    assert contour.sop_instance_uid in {getattr(one, "sop_instance_uid", None) for one in found}
    ((problem,),) = sarcoma.sql("select problem from issues where keyword = 'ROIContourSequence'").fetchall()
    assert "three finite" in problem
    assert sarcoma.sql("select volume_mm3 from contours where object_sop_instance_uid = '2.25.4711'").fetchall() == [
        (None,)
    ]
    sarcoma.delete(sarcoma.search("instance", SOPInstanceUID="2.25.4711"))


def test_a_structure_set_of_thousands_of_points_comes_back(real_data) -> None:
    ds = pydicom.dcmread(real_data / "rt_dicompyler" / "rtss.dcm")
    for region in annotations_of((real_data / "rt_dicompyler" / "rtss.dcm").read_bytes()):
        (drawing,) = [one for one in ds.ROIContourSequence if one.ReferencedROINumber == region.number]
        expected = [np.reshape(np.array(one.ContourData, float), (-1, 3)) for one in drawing.get("ContourSequence", ())]
        assert len(region.points_lps) == len(expected)
        for ours, theirs in zip(region.points_lps, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert region.colour == tuple(drawing.ROIDisplayColor)


def test_an_error_is_one_of_ours_whatever_the_bytes(tumour) -> None:
    data = _bytes(tumour)
    rng = np.random.default_rng(3)
    outcomes = []
    for _ in range(20):
        broken = bytearray(data)
        for at in rng.integers(1000, len(data), 40):
            broken[at] = rng.integers(256)
        try:
            outcomes.append(len(annotations_of(bytes(broken))))
        except ResearchPacsError:
            outcomes.append(-1)
    assert len(outcomes) == 20
