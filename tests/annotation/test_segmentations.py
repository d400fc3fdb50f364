"""Segmentations: made of masks and labels, stored as SEG, read back voxel for voxel, and as highdicom reads them."""

import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
import xarray as xr
from pydicom.dataset import Dataset

import researchpacs as rp
from researchpacs.annotation import Segmentation, Source, annotation_datasets, annotations_of
from researchpacs.dicom import codes
from researchpacs.errors import GeometryError, InvalidInputError, ResearchPacsError, UnsupportedError
from researchpacs.volume import as_volume

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning:(pydicom|highdicom)")

HIGHDICOM = "highdicom_seg_sr_sm_ann"


SHAPE = (14, 20, 16)
AFFINE = np.array([[0.6, -0.3, 1.2, -40], [0.5, 1.7, 0.2, 30], [2.8, -0.4, -0.4, -90], [0, 0, 0, 1.0]])


def oblique_affine() -> np.ndarray:
    """Slices, rows and columns that run along no axis of the patient, at right angles."""
    axes, _ = np.linalg.qr(AFFINE[:3, :3])
    affine = AFFINE.copy()
    affine[:3, :3] = axes * [3.0, 1.5, 1.25]
    return affine


@pytest.fixture(scope="module")
def oblique(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[rp.Pacs]:
    """Oblique images, and real enhanced ones; tests put segmentations in and take nothing out."""
    values = np.random.default_rng(1).normal(0, 100, SHAPE).astype(np.int16)
    images = rp.to_dicom(
        values, affine_lps=oblique_affine(), modality="MR", attributes={"PatientID": "A1", "SeriesDescription": "made"}
    )
    with rp.connect(tmp_path_factory.mktemp("oblique") / "home") as pacs:
        pacs.ingest(images, progress=False)
        pacs.ingest(real_data / "mr_enhanced", progress=False)
        yield pacs


@pytest.fixture(scope="module")
def phantom(oblique: rp.Pacs) -> xr.DataArray:
    return rp.read_volume(oblique.search("series", SeriesDescription="made").one())


def stored(pacs: rp.Pacs, made: Segmentation) -> tuple[Segmentation, Dataset]:
    """Put it into the archive twice, which stores it once, and read it back."""
    first, again = pacs.ingest(made, progress=False), pacs.ingest(made, progress=False)
    assert (first.stored, again.stored, again.duplicates) == (1, 0, 1)
    (uid,) = first.df()["SOPInstanceUID"]
    (back,) = [one for one in pacs.annotations(made.series_uid) if getattr(one, "sop_instance_uid", None) == uid]
    return back, pydicom.dcmread(BytesIO(pacs.archive.read(uid)))


def of_highdicom(ds: Dataset, number: int, vol: xr.DataArray) -> np.ndarray:
    """The segment's stored values as highdicom places them, on the grid of a volume."""
    seg = highdicom.seg.Segmentation.from_dataset(ds)
    volume = seg.get_volume(
        segment_numbers=[number], combine_segments=False, rescale_fractional=False, allow_missing_positions=True
    )
    index = np.argwhere(volume.array[..., 0] > 0)
    points = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    at = vol.dicom.to_index(points)
    assert np.abs(at - np.rint(at)).max() < 0.01
    found = np.zeros(vol.shape, int)
    found[tuple(np.rint(at).astype(int).T)] = volume.array[..., 0][tuple(index.T)]
    return found


def blobs(vol: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Two masks that overlap and leave out slices, within the volume."""
    z, y, x = (np.arange(size) / size for size in vol.shape)
    one = (z[:, None, None] - 0.4) ** 2 + (y[:, None] - 0.4) ** 2 + (x - 0.5) ** 2 < 0.05
    other = (z[:, None, None] - 0.5) ** 2 + (y[:, None] - 0.6) ** 2 + (x - 0.4) ** 2 < 0.04
    one[vol.shape[0] // 2] = False
    return vol.copy(data=one), vol.copy(data=other)


def test_masks_that_overlap_come_back_and_are_read_alike_by_highdicom(oblique, phantom) -> None:
    vol = phantom
    one, other = blobs(vol)
    made = Segmentation.from_masks(
        {codes.LIVER: one, "tumour": other},
        algorithm="nnU-Net 2.5",
        author="Curie^Marie",
        sites={"tumour": codes.LIVER},
    )
    back, ds = stored(oblique, made)
    assert back.labels == ("Liver", "tumour")
    assert (back.kind, back.author) == ("BINARY", "Curie^Marie")
    assert [one.algorithm for one in back.segments] == ["nnU-Net 2.5"] * 2
    assert (back.segments[0].type, back.segments[1].site) == (codes.LIVER, codes.LIVER)
    assert ds.SegmentsOverlap == "YES"
    for number, (label, mask) in enumerate({"Liver": one, "tumour": other}.items(), start=1):
        np.testing.assert_array_equal(made.mask(label).values, mask.values)
        np.testing.assert_array_equal(back.mask(label, like=vol).values, mask.values)
        np.testing.assert_array_equal(back.mask(number, like=vol).values, mask.values)
        np.testing.assert_array_equal(of_highdicom(ds, number, vol), mask.values)
    np.testing.assert_array_equal(back.mask(codes.LIVER, like=vol).values, one.values)
    rows = oblique.sql(
        "select label, voxel_count, volume_mm3 from segments where object_sop_instance_uid = $uid order by label",
        uid=back.sop_instance_uid,
    ).fetchall()
    voxel = float(np.prod(vol.dicom.spacing))
    assert [row[:2] for row in rows] == [("Liver", int(one.sum())), ("tumour", int(other.sum()))]
    assert [row[2] for row in rows] == pytest.approx([int(one.sum()) * voxel, int(other.sum()) * voxel], rel=1e-4)


@pytest.mark.parametrize("rle", [False, True])
def test_a_labelmap_comes_back_with_its_numbers(oblique, phantom, rle: bool) -> None:
    one, other = blobs(phantom)
    labels = one.astype(np.int64) * 300
    labels = labels.where(~other, 7)
    made = Segmentation.from_labels(labels, {7: "spot", 300: codes.LIVER}, kind="LABELMAP", rle=rle, author="a")
    back, ds = stored(oblique, made)
    assert ds.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    assert ds.file_meta.TransferSyntaxUID.is_compressed is rle
    assert [one.number for one in back.segments] == [7, 300]
    np.testing.assert_array_equal(back.mask("spot", like=phantom).values, labels.values == 7)
    np.testing.assert_array_equal(back.mask(300, like=phantom).values, labels.values == 300)
    np.testing.assert_array_equal(of_highdicom(ds, 7, phantom) > 0, labels.values == 7)
    counts = oblique.sql(
        "select segment_number, voxel_count from segments where object_sop_instance_uid = $uid and segment_number > 0 "
        "order by all",
        uid=back.sop_instance_uid,
    ).fetchall()
    assert counts == [(number, int((labels == number).sum())) for number in (7, 300)]


@pytest.mark.parametrize("rle", [False, True])
def test_fractions_come_back_in_255_steps_and_say_so(oblique, phantom, rle: bool) -> None:
    chances = np.clip(np.indices(phantom.shape).sum(axis=0) / 100, 0, 1).astype(np.float32)
    made = Segmentation.from_mask(chances, label="chance", like=phantom, kind="FRACTIONAL", rle=rle, author="b")
    back, ds = stored(oblique, made)
    found = back.fractions("chance", like=phantom)
    assert np.abs(found.values - chances).max() <= 0.5 / 255 + 1e-6
    np.testing.assert_array_equal(np.rint(found.values * 255), of_highdicom(ds, 1, phantom))
    np.testing.assert_array_equal(back.mask("chance", like=phantom).values, found.values >= 0.5)
    assert "rounded to 1/255" in ds.DerivationDescription
    exact = Segmentation.from_mask(
        np.rint(chances * 255) / 255, label="chance", like=phantom, kind="FRACTIONAL", author="c", rle=rle
    )
    (other,) = datasets(oblique, exact)
    (again,) = annotations_of(written(other))
    assert "DerivationDescription" not in other
    assert other.SOPInstanceUID != ds.SOPInstanceUID
    np.testing.assert_array_equal(again.fractions("chance", like=phantom).values, found.values)


def test_labels_without_overlap_make_a_binary_segmentation(oblique, phantom) -> None:
    labels = np.zeros(phantom.shape, np.int64)
    labels[3:9, 5:18, 5:9], labels[6:12, 5:18, 10:12] = 4, 2
    made = Segmentation.from_labels(labels, {2: "two", 4: "four", 9: "absent"}, like=phantom)
    (ds,) = datasets(oblique, made)
    (back,) = annotations_of(written(ds))
    assert ds.SegmentsOverlap == "NO"
    assert back.labels == ("two", "four", "absent")
    for number, label in ((2, "two"), (4, "four"), (9, "absent")):
        np.testing.assert_array_equal(back.mask(label, like=phantom).values, labels == number)


def test_frames_refer_to_the_images_they_were_drawn_on(oblique, phantom) -> None:
    mask = np.zeros(phantom.shape, bool)
    mask[[3, 4, 9]] = True
    series = oblique.series(phantom.dicom.series)
    (ds,) = datasets(oblique, Segmentation.from_mask(mask, label="x", like=phantom))
    positions = {one.SOPInstanceUID: one.header().ImagePositionPatient for one in series.instances}
    assert ds.NumberOfFrames == 3
    for frame in ds.PerFrameFunctionalGroupsSequence:
        (image,) = frame.DerivationImageSequence[0].SourceImageSequence
        np.testing.assert_allclose(
            np.array(positions[image.ReferencedSOPInstanceUID], float),
            np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float),
            atol=1e-6,
        )
    named = {one.ReferencedSOPInstanceUID for one in ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert {one.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            for one in ds.PerFrameFunctionalGroupsSequence} <= named <= set(positions)  # fmt: skip
    assert (ds.Rows, ds.Columns) == phantom.shape[1:]


def datasets(pacs: rp.Pacs, made: Segmentation) -> list[Dataset]:
    series = pacs.series(made.series_uid)
    found = annotation_datasets(
        made, evidence=lambda _: [series.header()], sources=lambda _: Source(series.header(), series.frames())
    )
    assert found is not None
    return found


def test_frames_of_an_enhanced_image_are_named_by_number(oblique) -> None:
    series = next(one for one in oblique.search("series", Modality="MR", order="SeriesInstanceUID")
                  if one.instances[0].NumberOfFrames not in (None, 1))  # fmt: skip
    vol = rp.open_volumes(series)[0].compute()
    mask = vol.isel({name: 0 for name in vol.dims if name not in "zyx"}, drop=True) > 0
    (ds,) = datasets(oblique, Segmentation.from_mask(mask, label="bright", like=vol))
    headers = {one.SOPInstanceUID: one.header() for one in series.instances}
    met = 0
    for frame in ds.PerFrameFunctionalGroupsSequence:
        for image in frame.DerivationImageSequence[0].SourceImageSequence:
            header = headers[image.ReferencedSOPInstanceUID]
            source = header.PerFrameFunctionalGroupsSequence[image.ReferencedFrameNumber - 1]
            np.testing.assert_allclose(
                np.array(source.PlanePositionSequence[0].ImagePositionPatient, float),
                np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float),
                atol=1e-6,
            )
            met += 1
    assert met >= ds.NumberOfFrames
    (back,) = annotations_of(written(ds))
    np.testing.assert_array_equal(back.mask("bright", like=vol).values, mask.values)


def written(ds: Dataset) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda vol: vol[::-1],
        lambda vol: vol[:, ::-1, ::-1],
        lambda vol: vol.transpose("x", "y", "z"),
        lambda vol: vol[2:11, 3:17, 4:15],
        lambda vol: rp.reconstruct.reorient(vol, "RAS"),
        lambda vol: rp.reconstruct.reorient(vol, "PSL"),
    ],
)
def test_a_mask_of_a_volume_in_any_order_means_the_same_voxels(oblique, phantom, change) -> None:
    like = change(phantom)
    mask = like > float(like.mean())
    made = Segmentation.from_mask(mask, label="bright", like=like)
    (ds,) = datasets(oblique, made)
    (back,) = annotations_of(written(ds))
    np.testing.assert_array_equal(back.mask("bright", like=like).values, mask.transpose("z", "y", "x").values)
    np.testing.assert_array_equal(made.mask("bright", like=like).values, mask.transpose("z", "y", "x").values)
    assert back.mask("bright", like=phantom).sum() == mask.sum() == back.mask("bright").sum()
    if set(like.shape) == set(phantom.shape):
        np.testing.assert_array_equal(back.mask("bright", like=phantom).values, phantom.values > float(phantom.mean()))


def test_an_array_without_coordinates_has_the_order_of_its_volume(oblique, phantom) -> None:
    like = phantom[::-1, :, ::-1]
    values = np.asarray(like.values > float(like.mean()))
    made = Segmentation.from_mask(values, label="bright", like=like)
    np.testing.assert_array_equal(made.mask("bright", like=like).values, values)
    np.testing.assert_array_equal(made.mask("bright", like=phantom).values, values[::-1, :, ::-1])


def test_a_finer_grid_of_its_own_is_kept_and_compared_with_highdicom(oblique, phantom) -> None:
    fine = rp.reconstruct.resample(phantom, spacing=tuple(s / 2 for s in phantom.dicom.spacing))
    mask = fine > float(fine.mean())
    (ds,) = datasets(oblique, Segmentation.from_mask(mask, label="fine"))
    (back,) = annotations_of(written(ds))
    np.testing.assert_array_equal(back.mask("fine", like=fine).values, mask.values)
    np.testing.assert_array_equal(of_highdicom(ds, 1, fine), mask.values)
    assert "resample" in ds.DerivationDescription
    assert all("DerivationImageSequence" not in frame for frame in ds.PerFrameFunctionalGroupsSequence)
    with pytest.raises(GeometryError, match="another grid"):
        back.mask("fine", like=phantom)


@pytest.mark.parametrize(
    ("kind", "values"),
    [("BINARY", "bool"), ("FRACTIONAL", "float"), ("LABELMAP", "int")],
)
def test_dciodvfy_finds_no_error(oblique, phantom, tmp_path, kind: str, values: str) -> None:
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is missing: apt-get install dicom3tools")
    one, _ = blobs(phantom)
    made = (
        Segmentation.from_labels(one.astype(int), {1: codes.LIVER}, kind="LABELMAP", algorithm="a 1")
        if kind == "LABELMAP"
        else Segmentation.from_mask(one, label=codes.LIVER, kind=kind, algorithm="a 1")  # type: ignore[arg-type]
    )
    (ds,) = datasets(oblique, made)
    ds.save_as(tmp_path / "seg.dcm")
    verdict = subprocess.run(["dciodvfy", tmp_path / "seg.dcm"], capture_output=True, text=True, check=False)
    errors = [line for line in (verdict.stdout + verdict.stderr).splitlines() if line.startswith("Error")]
    if kind == "LABELMAP":  # which this dciodvfy does not know yet: its background is segment 0
        errors = [line for line in errors if "SegmentNumber of 0" not in line and "Object Not found" not in line]
    assert errors == []


def test_a_segmentation_of_lossy_images_says_so(oblique, phantom) -> None:
    series = oblique.series(phantom.dicom.series)
    header = series.header()
    header.LossyImageCompression, header.LossyImageCompressionRatio = "01", "12.5"
    header.LossyImageCompressionMethod = "ISO_10918_1"
    made = Segmentation.from_mask(blobs(phantom)[0], label="x")
    (ds,) = annotation_datasets(made, evidence=lambda _: [header], sources=lambda _: Source(header, series.frames()))
    assert (ds.LossyImageCompression, ds.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert float(ds.LossyImageCompressionRatio) == 12.5
    (plain,) = datasets(oblique, made)
    assert plain.LossyImageCompression == "00"
    assert plain.SOPInstanceUID != ds.SOPInstanceUID


# -- others' segmentations ---------------------------------------------------------------------------------------------

OF_OTHERS = [
    f"{HIGHDICOM}/seg_image_ct_{name}.dcm"
    for name in ("binary", "binary_fractional", "binary_overlap", "true_fractional", "binary_single_frame")
]


@pytest.mark.parametrize("name", OF_OTHERS)
def test_others_are_read_as_highdicom_reads_them(real_data, name: str) -> None:
    ds = pydicom.dcmread(real_data / name)
    (found,) = annotations_of((real_data / name).read_bytes())
    seg = highdicom.seg.Segmentation.from_dataset(ds)
    for one in found.segments:
        volume = seg.get_volume(segment_numbers=[one.number], combine_segments=False, rescale_fractional=True)
        like = as_volume(np.zeros(volume.spatial_shape), volume.affine, ds.FrameOfReferenceUID)
        expected = volume.array[..., 0]
        np.testing.assert_array_equal(found.mask(one.number, like=like).values, expected >= 0.5)
        np.testing.assert_allclose(found.fractions(one.number, like=like).values, expected, atol=1e-6)
        own = found.mask(one.number)
        assert own.sum() == (expected >= 0.5).sum()
        if len(own) > 1:
            np.testing.assert_allclose(
                np.sort(own.dicom.to_lps(np.argwhere(own.values)), axis=0),
                np.sort(like.dicom.to_lps(np.argwhere(expected >= 0.5)), axis=0),
                atol=1e-3,
            )


def test_a_real_segmentation_has_a_grid_of_its_own(real_data) -> None:
    (path,) = (real_data / "pet_seg_qin" / "SEG").rglob("*.dcm")
    (found,) = annotations_of(path.read_bytes())
    ds = pydicom.dcmread(path)
    masks = [found.mask(one.number) for one in found.segments]
    for one, mask in zip(found.segments, masks, strict=True):
        np.testing.assert_array_equal(mask.values, of_highdicom(ds, one.number, mask) > 0)
    assert sum(int(mask.sum()) for mask in masks) == np.count_nonzero(ds.pixel_array)


# -- NIfTI -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SPL", "ALI", "IRP"])
def test_labels_of_a_nifti_file_are_put_right(phantom, tmp_path, axes: str) -> None:
    labels = np.zeros(phantom.shape, np.uint8)
    labels[5:9, 10:20, 3:8], labels[2:12, 4:6, 10:15] = 1, 5
    affine = (np.diag([-1.0, -1, 1, 1]) @ phantom.dicom.affine_lps)[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(labels.T, affine)
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(axes))
    nibabel.save(image.as_reoriented(turn), tmp_path / "labels.nii.gz")
    made = Segmentation.from_nifti(tmp_path / "labels.nii.gz", {1: "a", 5: codes.LIVER}, like=phantom[::-1])
    np.testing.assert_array_equal(made.mask("a", like=phantom).values, labels == 1)
    np.testing.assert_array_equal(made.mask("Liver", like=phantom).values, labels == 5)


def test_a_nifti_file_of_our_own_volume_fits(phantom, tmp_path) -> None:
    mask = phantom > float(phantom.mean())
    mask.dicom.to_nifti(tmp_path / "mask.nii")
    made = Segmentation.from_nifti(tmp_path / "mask.nii", {1: "bright"}, like=phantom)
    np.testing.assert_array_equal(made.mask("bright").values, mask.values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda affine: affine + np.eye(4, k=3) * 0.5, "off"),
        (lambda affine: affine @ np.diag([1.1, 1, 1, 1]), "off"),
        (lambda affine: affine @ np.diag([-1, 1, 1, 1]), "off"),
        (lambda affine: affine + np.outer([1, 0, 0, 0], [0, 0, 0, 400]), "off"),
    ],
)
def test_a_nifti_file_of_another_grid_is_refused(phantom, tmp_path, change, reason: str) -> None:
    affine = (np.diag([-1.0, -1, 1, 1]) @ phantom.dicom.affine_lps)[:, [2, 1, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(np.ones(phantom.shape, np.uint8).T, change(affine)), tmp_path / "x.nii")
    with pytest.raises(GeometryError, match=reason):
        Segmentation.from_nifti(tmp_path / "x.nii", {1: "a"}, like=phantom)


def test_a_nifti_file_that_is_none_or_of_another_size_is_refused(phantom, tmp_path) -> None:
    affine = (np.diag([-1.0, -1, 1, 1]) @ phantom.dicom.affine_lps)[:, [2, 1, 0, 3]]
    nibabel.save(nibabel.Nifti1Image(np.ones((5, 6, 7), np.uint8), affine), tmp_path / "size.nii")
    with pytest.raises(GeometryError, match="another grid"):
        Segmentation.from_nifti(tmp_path / "size.nii", {1: "a"}, like=phantom)
    (tmp_path / "no.nii").write_bytes(b"no" * 500)
    with pytest.raises(InvalidInputError, match="damaged"):
        Segmentation.from_nifti(tmp_path / "no.nii", {1: "a"}, like=phantom)
    whole = nibabel.Nifti1Image(np.ones(phantom.shape, np.uint8).T, affine).to_bytes()
    (tmp_path / "short.nii").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInputError, match="damaged"):
        Segmentation.from_nifti(tmp_path / "short.nii", {1: "a"}, like=phantom)
    lost = nibabel.Nifti1Image(np.ones(phantom.shape, np.uint8).T, None)
    nibabel.save(lost, tmp_path / "lost.nii")
    with pytest.raises(GeometryError, match="no affine"):
        Segmentation.from_nifti(tmp_path / "lost.nii", {1: "a"}, like=phantom)
    with pytest.raises(ResearchPacsError):
        Segmentation.from_nifti(tmp_path / "absent.nii", {1: "a"}, like=phantom)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "more", "error", "reason"),
    [
        (np.zeros(SHAPE, bool), {}, InvalidInputError, "nothing to segment"),
        (np.full(SHAPE, 2), {}, InvalidInputError, "beside 0 and 1"),
        (np.full(SHAPE, 0.5), {}, InvalidInputError, "beside 0 and 1"),
        (np.full(SHAPE, np.nan), {}, InvalidInputError, "not finite"),
        (np.full(SHAPE, 1.5), {"kind": "FRACTIONAL"}, InvalidInputError, "beyond 0 to 1"),
        (np.ones((3, 3, 3), bool), {}, GeometryError, "shape"),
        (np.ones(SHAPE, bool), {"kind": "LABELMAP"}, InvalidInputError, "from_labels"),
        (np.ones(SHAPE, bool), {"rle": True}, InvalidInputError, "RLE"),
        (np.ones(SHAPE, bool), {"label": ""}, InvalidInputError, "one line"),
        (np.ones(SHAPE, bool), {"label": "x" * 65}, InvalidInputError, "64"),
        (np.ones(SHAPE, bool), {"algorithm": "nameless"}, InvalidInputError, "version"),
        (np.ones(SHAPE, bool), {"author": "a\\b"}, InvalidInputError, "author"),
        (np.full(SHAPE, "x"), {}, InvalidInputError, "expected booleans"),
    ],
)
def test_what_is_no_mask_is_refused(phantom, values, more, error, reason: str) -> None:
    with pytest.raises(error, match=reason):
        Segmentation.from_mask(values, **{"label": "x", "like": phantom, **more})


@pytest.mark.parametrize(
    ("values", "names", "reason"),
    [
        (np.full(SHAPE, 3), {1: "a"}, "without a name: 3"),
        (np.full(SHAPE, -1), {1: "a"}, "0 to 65535"),
        (np.full(SHAPE, 1.5), {1: "a"}, "whole numbers"),
        (np.ones(SHAPE, int), {0: "a"}, "from 1"),
        (np.ones(SHAPE, int), {}, "dict"),
        (np.ones(SHAPE, int), {1: "a", 2: "a"}, "same label"),
    ],
)
def test_what_are_no_labels_is_refused(phantom, values, names, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=reason):
        Segmentation.from_labels(values, names, like=phantom)


def test_a_mask_of_another_place_is_refused(phantom) -> None:
    mask = phantom > 0
    elsewhere = as_volume(np.ones(SHAPE, bool), phantom.dicom.affine_lps, "1.2.3")
    moved = mask.assign_coords(z=mask.z + 0.5)
    for other in (elsewhere, rp.restore(moved), mask[::2]):
        with pytest.raises(GeometryError):
            Segmentation.from_mask(other, label="x", like=phantom)
    with pytest.raises(GeometryError, match="series"):
        Segmentation.from_mask(elsewhere, label="x")
    with pytest.raises(InvalidInputError, match="no segment"):
        Segmentation.from_mask(mask | True, label="x", like=phantom).mask("y")


def test_a_series_without_frame_of_reference_takes_none(oblique, phantom) -> None:
    series = oblique.series(phantom.dicom.series)
    header = series.header()
    del header.FrameOfReferenceUID
    with pytest.raises(UnsupportedError, match="Frame of Reference"):
        annotation_datasets(
            Segmentation.from_mask(phantom.copy(data=np.ones(SHAPE, bool)), label="x"),
            evidence=lambda _: [header],
            sources=lambda _: Source(header, series.frames()),
        )


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("frames", GeometryError),
        ("many frames", InvalidInputError),
        ("pixels", InvalidInputError),
        ("places", GeometryError),
        ("spread", GeometryError),
        ("type", InvalidInputError),
        ("rows", ResearchPacsError),
    ],
)
def test_a_lying_segmentation_is_one_error(real_data, damage: str, error) -> None:
    ds = pydicom.dcmread(real_data / OF_OTHERS[0])
    if damage in ("frames", "many frames"):
        ds.NumberOfFrames = 2 if damage == "frames" else 10**9
    elif damage == "pixels":
        ds.PixelData = ds.PixelData[: len(ds.PixelData) // 2]
    elif damage == "places":
        del ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    elif damage == "spread":
        ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[2] = 1e12
    elif damage == "type":
        ds.SegmentationType = "OTHER"
    else:
        ds.Rows = 60000
    with pytest.raises(error):
        annotations_of(written(ds))[0].mask("first segment")


def test_no_repr_names_a_person(phantom) -> None:
    made = Segmentation.from_mask(phantom.copy(data=np.ones(SHAPE, bool)), label="<b>x</b>", author="Curie^Marie")
    assert "Curie" not in repr(made) + made._repr_html_()
    assert "<b>" not in made._repr_html_()
