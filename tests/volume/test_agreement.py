"""Every series of the real data opens where and as dcm2niix, SimpleITK or pydicom have it; the page lists the verdicts.

The table of docs/geometry.md is made here: RESEARCHPACS_WRITE_DOCS=1 writes it again.
"""

import hashlib
import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

import researchpacs as rp
from researchpacs.errors import GeometryError, InvalidInputError, PixelDataError, UnsupportedError

pytestmark = pytest.mark.data

MARK = "<!-- agreement: made by tests/volume/test_agreement.py -->\n"
FOLDERS = (
    "ct_head_phantom",
    "digital_phantom_orientation",
    "mr_enhanced",
    "mr_fmri_4d",
    "mr_ge_t1_dwi",
    "pet_seg_qin",
    "petct_mr_rtstruct_sts_002",
    "rtstruct_rt_utils",
    "rt_dicompyler",
    "us_nm_cine",
    "xa_wg04",
    "sm_wsi",
    "misc_pydicom",
    "highdicom_seg_sr_sm_ann",
    "dicomdir",
)
ALONE = ("transfer_syntaxes_ct", "charset", "broken_pydicom")
"""Folders that share series with others, or hold files that are refused."""
REFERENCES = {
    ("ct_head_phantom", "100"): ("100_.nii",),
    ("ct_head_phantom", "202"): ("202_STD_BRAIN_1MM,_iDose.nii",),
    ("ct_head_phantom", "401"): ("401_Exam_Summary.nii",),
    ("digital_phantom_orientation", "1"): ("1_orientation.nii",),
    ("mr_enhanced", "6"): ("6_REST1_w_SMS_PF7-8.nii",),
    ("mr_enhanced", "801"): ("801_B0_NS_e1.nii", "801_B0_NS_e2_fieldmaphz.nii"),
    ("mr_fmri_4d", "3"): ("3_EPI_PE=AP.nii",),
    ("mr_fmri_4d", "4"): ("4_Axial_EPI-FMRI_(Interleaved_I_to_S).nii",),
    ("mr_ge_t1_dwi", "1"): ("1_Ax_DWI_TENSOR_R2.nii",),
    ("mr_ge_t1_dwi", "5"): ("5_3D_Ax_T1_MP-RAGE_R22.nii",),
    ("pet_seg_qin", "None"): ("3471270653_PET_WB_0.nii",),
    ("petct_mr_rtstruct_sts_002", "3"): ("3_IBSI_1_STS_002_CT_image.nii",),
    ("petct_mr_rtstruct_sts_002", "4"): ("4_IBSI_1_STS_002_PET_image.nii",),
    ("petct_mr_rtstruct_sts_002", "6564013"): ("6564013_IBSI_1_STS_002_MR_T1_image.nii",),
}
"""Folder and SeriesNumber to what dcm2niix made of it. Its file of the segmentation mixes two segments."""
CORNERS_MM = 2e-3
FLOAT32_MM = 6e-3
"""dcm2niix keeps positions in float32, 4.5e-3 mm off the header for a PET 1.2 m long."""


@dataclass(frozen=True)
class Verdict:
    """What became of one series, or of one volume of it."""

    folder: str
    series: str
    opens: str
    against: str
    says: str
    agrees: bool

    @property
    def line(self) -> str:
        return f"| {self.folder} | {self.series} | {self.opens} | {self.against} | {self.says} |"


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory, real_data):
    found = []
    for folders in (FOLDERS, *((folder,) for folder in ALONE)):
        with rp.connect(tmp_path_factory.mktemp("agreement")) as pacs:
            pacs.ingest([real_data / folder for folder in folders], copy=False, progress=False)
            for series in pacs.search("series", frame_count=(1, None)):
                found += judge(real_data, series)
    return sorted(found, key=lambda one: (one.folder, one.series))


def judge(root: Path, series) -> list[Verdict]:
    """Compare a series with all that is known of it."""
    name = f"{series.Modality} ...{series.uid[-8:]}"
    try:
        first = min(frame.sop_uid for frame in series.frames())
    except InvalidInputError:
        return []  # of several studies
    folder = Path(series.locate([first])[0].path).relative_to(root).parts[0]
    try:
        vols = [vol.load() for vol in rp.open_volumes(series)]
    except GeometryError as error:
        return [Verdict(folder, name, *as_frames(series, " ".join(error.reasons)))]
    except (UnsupportedError, PixelDataError) as error:
        why = "palette" if "palette" in str(error) else type(error).__name__
        return [Verdict(folder, name, "refused", "-", why, why == "palette")]
    stored = [vol.load() for vol in rp.open_volumes(series, rescale=False)]
    files = REFERENCES.get((folder, str(series.SeriesNumber)), ())
    if files and series.Modality != "SEG":
        known = json.loads((root / folder / "reference" / "dcm2niix_reference.json").read_text())["volumes"]
        theirs = [next(one for one in known if one["file"] == file) for file in files]
        judged = [with_dcm2niix(*three) for three in zip(vols, stored, theirs, strict=True)]
        return [Verdict(folder, name, shown(vol), *one) for vol, one in zip(vols, judged, strict=True)]
    return [
        Verdict(folder, name, shown(vol), *with_the_rest(series, *both))
        for vol, *both in zip(vols, vols, stored, strict=True)
    ]


def shown(vol) -> str:
    return ", ".join(f"{axis} {size}" for axis, size in vol.sizes.items())


def with_dcm2niix(vol, stored, reference) -> tuple[str, str, bool]:
    affine = np.array(reference["affine"])
    axes = (affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))[:, ::-1]
    lone = reference["shape"][2] == 1
    mine = corners(vol, lone)
    theirs = np.array(list(itertools.product(*[(0, n - 1) for n in reference["shape"][:3]]))) @ affine[:3, :3].T
    theirs += affine[:3, 3]
    apart = max(np.linalg.norm(theirs - point, axis=1).min() for point in mine)
    same_shape = list(vol.values.T.shape) == reference["shape"]
    flips = np.sign(np.einsum("ij,ij->j", np.diag([-1, -1, 1]) @ vol.dicom.direction, axes))
    flips[0] = 1 if lone else flips[0]
    turned = tuple(slice(None, None, int(flip)) for flip in flips)
    values = np.ascontiguousarray(stored.values[(..., *turned)].T)
    close = np.allclose(
        [vol.values.min(), vol.values.max()], [reference["min"], reference["max"]], rtol=1e-5, atol=1e-5
    )
    if reference["dtype"] == "float32":  # slopes differ from slice to slice, so it stores rescaled values
        exact, what = close, "rescaled range equal"
    else:
        exact, what = hashlib.sha256(values.tobytes()).hexdigest() == reference["sha256"], "stored voxels equal"
        what += "" if close else ", other scale"
    limit = FLOAT32_MM if vol.sizes["z"] > 200 else CORNERS_MM
    return "dcm2niix", f"corners within {limit:g} mm, {what}", bool(apart < limit and same_shape and exact)


def corners(vol, lone: bool) -> np.ndarray:
    """The centres of the corner voxels, RAS; of one slice without what its thickness would add."""
    if not lone:
        index = np.array(list(itertools.product(*[(0, n - 1) for n in vol.shape[-3:]])))
        return vol.dicom.to_lps(index) * [-1, -1, 1]
    c = [vol[axis].values[[0, -1]] for axis in "zyx"]
    points = np.array(list(itertools.product(*c))) @ rp.volume.frame_of(vol).matrix.T
    return points * [-1, -1, 1]


def with_the_rest(series, vol, stored) -> tuple[str, str, bool]:
    """By headers and pydicom; where it reads them, by SimpleITK too."""
    against, says, agrees = with_pydicom(series, stored)
    theirs = with_simpleitk(series, vol)
    if theirs is None:
        return against, says, agrees
    return (
        f"{against.replace(' and', ',')} and SimpleITK",
        f"{says}; SimpleITK's corners and values equal",
        agrees and theirs,
    )


def with_simpleitk(series, vol) -> bool | None:
    """Corners and rescaled values of grey volumes whose slices are files of their own; None for all others."""
    if series.Modality == "SEG":
        return None  # it does not read functional groups of single frames
    frames = by_place(series)
    directions = rp.volume.frame_of(vol).matrix
    uids = []
    for z in vol.z.values:
        point = directions @ [z, vol.y.values[0], vol.x.values[0]]
        near = min(frames, key=lambda one: np.linalg.norm(np.array(one) - point))
        uids += [frame.sop_uid for frame in frames[near]]
    alone = all(frame.layout.number_of_frames == 1 for several in frames.values() for frame in several)
    if vol.ndim != 3 or not alone or len(set(uids)) != vol.sizes["z"]:
        return None
    names = [place.path for place in series.locate(uids)]
    try:
        image = SimpleITK.ReadImage(names)
    except RuntimeError:
        return None  # a syntax that it does not decode, or a header that it does not believe
    size = image.GetSize()
    ok = np.allclose(SimpleITK.GetArrayFromImage(image), vol.values, rtol=1e-6, atol=1e-6)
    for index in itertools.product(*[(0, n - 1) for n in size]):
        point = directions @ [vol[axis].values[index[k]] for axis, k in zip("zyx", (2, 1, 0), strict=True)]
        ok &= np.linalg.norm(np.array(image.TransformIndexToPhysicalPoint(index)) - point) < CORNERS_MM
    return bool(ok)


def with_pydicom(series, stored) -> tuple[str, str, bool]:
    """Every voxel is where the header of its frame says, with the value that pydicom decodes."""
    frames = by_place(series)
    headers = {}
    directions = rp.volume.frame_of(stored).matrix
    ok, seen, unread = True, 0, 0
    for k in range(stored.sizes["z"]):
        point = directions @ [stored.z.values[k], stored.y.values[0], stored.x.values[0]]
        near = min(frames, key=lambda one: np.linalg.norm(np.array(one) - point))
        ok &= bool(np.linalg.norm(np.array(near) - point) < 2e-3)
        pictures = [decoded(series, frame, headers) for frame in frames[near]]
        seen += len(pictures)
        unread += sum(one is None for one in pictures)
        planes = stored.values[..., k, :, :].reshape(-1, *stored.shape[-2:])
        known = [one for one in pictures if one is not None]
        ok &= all(any(np.array_equal(plane, one) for one in known) for plane in planes) or not known
    equal = f"stored voxels equal{but(unread)}" if unread < seen else "pydicom cannot decode it"
    return "headers and pydicom", f"first pixels within 0.002 mm, {equal}", ok


def as_frames(series, reasons: str) -> tuple[str, str, str, bool]:
    try:
        frames = rp.open_frames(series, rescale=False).load()
    except GeometryError:
        return "frames of several sizes", "-", f"no volume: {reasons}", True
    headers, ok, unread = {}, True, 0
    ordered = sorted(series.frames(), key=lambda frame: (frame.instance_number or 0, frame.sop_uid, frame.index))
    for frame, plane in list(zip(ordered, frames.values, strict=True))[:: max(1, len(ordered) // 7)]:
        expected = decoded(series, frame, headers)
        unread += expected is None
        ok &= expected is None or bool(np.array_equal(plane, expected))
    return shown(frames), "pydicom", f"no volume: {reasons}; frames equal{but(unread)}", ok


def by_place(series):
    """Frames of a series by where they are."""
    found = {}
    for frame in series.frames():
        found.setdefault(tuple(np.round(frame.position, 3)), []).append(frame)
    return found


def decoded(series, frame, headers) -> np.ndarray | None:
    """What pydicom makes of a frame; None where none of its plugins decodes it."""
    if frame.sop_uid not in headers:
        ds = headers[frame.sop_uid] = pydicom.dcmread(series.locate([frame.sop_uid])[0].path, force=True)
        if not hasattr(ds.file_meta, "TransferSyntaxUID"):
            ds.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    ds = headers[frame.sop_uid]
    try:
        pixels = ds.pixel_array  # decoded once for all frames
    except (RuntimeError, NotImplementedError):
        return None
    return pixels[frame.index] if frame.layout.number_of_frames > 1 else pixels


def but(unread: int) -> str:
    return f", but for {unread} that pydicom cannot decode" if unread else ""


def test_every_series_agrees(verdicts):
    assert len(verdicts) > 70
    assert [verdict.line for verdict in verdicts if not verdict.agrees] == []


def test_all_that_dcm2niix_converted_was_compared(verdicts):
    compared = [verdict for verdict in verdicts if verdict.against == "dcm2niix"]
    assert len(compared) == sum(len(files) for files in REFERENCES.values())


def test_the_page_lists_the_verdicts(verdicts):
    page = Path(__file__).parents[2] / "docs" / "geometry.md"
    written, mark, _ = page.read_text().partition(MARK)
    head = "| folder | series | opens as | compared with | verdict |\n|---|---|---|---|---|\n"
    expected = f"{written}{mark}\n{head}" + "".join(f"{verdict.line}\n" for verdict in verdicts)
    if os.environ.get("RESEARCHPACS_WRITE_DOCS"):
        page.write_text(expected)
    assert mark
    assert page.read_text() == expected, "run this test with RESEARCHPACS_WRITE_DOCS=1 to write the page again"
