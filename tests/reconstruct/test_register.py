"""A phantom that was moved comes back, and the registration is a DICOM object that says the same."""

import shutil
import subprocess
from copy import deepcopy

import dask.array as da
import numpy as np
import pytest
import SimpleITK
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, generate_uid
from scipy.spatial.transform import Rotation

from researchpacs.errors import GeometryError, InvalidInputError, UnsupportedError
from researchpacs.reconstruct import Registration, align_prior, register
from researchpacs.volume import as_volume

FIXED_UID, MOVING_UID = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"
SHAPE, SPACING = (40, 60, 60), (3.0, 2.0, 2.0)
BEADS = np.random.default_rng(4).uniform(-38, 38, (14, 3))
WEIGHTS = np.linspace(300, 900, 14)
TURN = Rotation.from_rotvec(np.deg2rad(7) * np.array([0.48, 0.6, 0.64])).as_matrix()
SHIFT = 12.0 * np.array([0.6, -0.64, 0.48])
"""Turned by 7 degrees around the middle and shifted by 12 mm: fixed to moving."""


def moved(points):
    return points @ TURN.T + SHIFT


def phantom(*, where=None, invert=False, uid=FIXED_UID, handed=1, attrs=None):
    """Beads in an ellipsoid; `where` says at which places of the phantom the patient's points are."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.0, 0, 1], [0, 1, 0], [handed, 0, 0]]) * SPACING
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    places = np.moveaxis(np.indices(SHAPE), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    at = places if where is None else where(places)
    values = 200 / (1 + np.exp(np.linalg.norm(at / (50.0, 44.0, 52.0), axis=-1) * 20 - 18))
    for bead, weight in zip(BEADS, WEIGHTS, strict=True):
        values = values + weight * np.exp(-((at - bead) ** 2).sum(axis=-1) / 2 / 5.0**2)
    values = 1500 - values if invert else values
    return as_volume(values.astype(np.float32), affine, uid, attrs=attrs or {"Modality": "MR"})


def unmoved(points):
    """Where of the phantom a point of the moving volume is."""
    return (points - SHIFT) @ TURN


@pytest.fixture(scope="module")
def pair():
    """Fixed, and the same phantom moved, of another modality, in another frame and left-handed."""
    return phantom(), phantom(where=unmoved, invert=True, uid=MOVING_UID, handed=-1)


@pytest.fixture(scope="module")
def rigid(pair):
    return register(pair[1], pair[0])


def test_12_mm_and_7_degrees_come_back_under_1_mm(rigid):
    assert rigid.kind == "rigid"
    errors = np.linalg.norm(rigid.to_moving(BEADS) - moved(BEADS), axis=1)
    assert errors.max() < 1.0
    np.testing.assert_allclose(rigid.to_fixed(rigid.to_moving(BEADS)), BEADS, atol=1e-6)
    turn = rigid.fixed_to_moving[:3, :3]
    np.testing.assert_allclose(turn.T @ turn, np.eye(3), atol=1e-6)
    assert rigid.similarity > 0


def test_what_is_applied_lies_where_the_fixed_volume_is_and_stays_lazy(pair, rigid):
    fixed, moving = pair
    lazy = moving.copy(data=da.from_array(moving.values, chunks=(1, 60, 60)))
    back = rigid.apply(lazy)
    assert isinstance(back.data, da.Array)
    assert back.coords.equals(fixed.coords)
    assert back.dicom.frame_of_reference_uid == FIXED_UID
    inner = (slice(10, -10), slice(15, -15), slice(15, -15))
    off = np.abs((1500 - back + -fixed).values[inner])
    assert off.mean() < 12, "of a phantom whose values go up to 1000"
    assert np.abs((1500 - moving).values - fixed.values)[inner].mean() > 60
    assert back.attrs["history"][-1] == "registered: rigid, linear"
    transform = SimpleITK.AffineTransform(3)
    transform.SetMatrix(rigid.fixed_to_moving[:3, :3].ravel().tolist())
    transform.SetTranslation(rigid.fixed_to_moving[:3, 3].tolist())
    image = SimpleITK.Resample(moving.dicom.to_sitk(), fixed.dicom.to_sitk(), transform, SimpleITK.sitkLinear, 0.0)
    np.testing.assert_allclose(back.values, SimpleITK.GetArrayFromImage(image), atol=0.1)


def test_affine_finds_a_growth():
    fixed, moving = phantom(), phantom(where=lambda p: unmoved(p) * (1.0, 1 / 1.06, 1 / 1.04))
    found = register(moving, fixed, "affine")
    errors = np.linalg.norm(found.to_moving(BEADS) - moved(BEADS * (1.0, 1.06, 1.04)), axis=1)
    assert errors.max() < 1.0
    assert np.linalg.det(found.fixed_to_moving[:3, :3]) == pytest.approx(1.06 * 1.04, rel=0.03)


def test_splines_bend():
    def bent(points):
        return points + 5 * np.sin(points[..., [1, 2, 0]] / 25)

    fixed, moving = phantom(where=bent), phantom()
    found = register(moving, fixed, "bspline")
    middle = BEADS[np.abs(BEADS).max(axis=1) < 34]
    before = np.linalg.norm(bent(middle) - middle, axis=1).mean()
    errors = np.linalg.norm(found.to_moving(middle) - bent(middle), axis=1)
    assert errors.mean() < before / 3
    np.testing.assert_allclose(found.to_fixed(found.to_moving(middle)), middle, atol=1e-3)
    lazy = moving.copy(data=da.from_array(moving.values, chunks=(4, 60, 60)))
    values = found.apply(lazy).values
    np.testing.assert_allclose(values, found.apply(moving).values, atol=1e-2)
    inner = (slice(8, -8), slice(12, -12), slice(12, -12))
    assert np.abs(values - fixed.values)[inner].mean() < np.abs(moving.values - fixed.values)[inner].mean() / 3
    with pytest.raises(UnsupportedError):
        _ = found.moving_to_fixed
    with pytest.raises(UnsupportedError, match="B-spline"):
        found.to_dicom([], [])


def headers(uid, count=3):
    series, study = generate_uid(), generate_uid()
    found = []
    for k in range(count):
        ds = Dataset()
        ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Moved^Phantom", "P1", "19600229", "O"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, series, generate_uid()
        ds.SOPClassUID, ds.FrameOfReferenceUID = CTImageStorage, uid
        ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20250612", "101500", "1", "2"
        ds.ReferringPhysicianName, ds.Modality, ds.InstanceNumber = "", "CT", k + 1
        found.append(ds)
    return found


@pytest.fixture(scope="module")
def written(rigid):
    sources = headers(MOVING_UID), headers(FIXED_UID)
    return rigid.to_dicom(*sources), sources


def test_it_goes_into_a_file_and_comes_back(pair, rigid, written, tmp_path):
    written[0].save_as(tmp_path / "reg.dcm", enforce_file_format=True)
    back = Registration.from_dicom(dcmread(tmp_path / "reg.dcm"), pair[0])
    assert back.kind == "rigid"
    np.testing.assert_allclose(back.to_moving(BEADS), rigid.to_moving(BEADS), atol=1e-6)
    np.testing.assert_allclose(back.apply(pair[1]).values, rigid.apply(pair[1]).values, atol=1e-2)


def test_its_matrix_takes_the_moving_frame_to_its_own(rigid, written):
    ds, (_moving, fixed) = written
    assert (ds.SOPClassUID, ds.Modality) == ("1.2.840.10008.5.1.4.1.1.66.1", "REG")
    assert (ds.FrameOfReferenceUID, ds.StudyInstanceUID) == (FIXED_UID, fixed[0].StudyInstanceUID)
    same, other = ds.RegistrationSequence
    assert [one.FrameOfReferenceUID for one in (same, other)] == [FIXED_UID, MOVING_UID]
    assert [len(one.ReferencedImageSequence) for one in (same, other)] == [3, 3]
    (one,) = other.MatrixRegistrationSequence[0].MatrixSequence
    assert one.FrameOfReferenceTransformationMatrixType == "RIGID"
    matrix = np.array(one.FrameOfReferenceTransformationMatrix, float).reshape(4, 4)
    points = rigid.to_moving(BEADS) @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(points, BEADS, atol=1e-5)
    assert np.linalg.norm(unmoved(moved(BEADS)) - BEADS, axis=1).max() < 1e-9
    assert np.linalg.norm(moved(BEADS) @ matrix[:3, :3].T + matrix[:3, 3] - BEADS, axis=1).max() < 1.0


def test_dciodvfy_finds_no_error(written, tmp_path):
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is missing: apt-get install dicom3tools")
    written[0].save_as(tmp_path / "reg.dcm", enforce_file_format=True)
    verdict = subprocess.run(["dciodvfy", "-new", tmp_path / "reg.dcm"], capture_output=True, text=True, check=False)
    assert "SpatialRegistration" in verdict.stderr
    assert [line for line in verdict.stderr.splitlines() if line.startswith("Error")] == []


def test_the_same_registration_is_the_same_object(rigid, written):
    again = rigid.to_dicom(*written[1])
    assert again == written[0]
    other = Registration("rigid", np.eye(4), None, MOVING_UID, rigid.fixed)
    assert other.to_dicom(*written[1]).SOPInstanceUID != again.SOPInstanceUID


def test_objects_about_something_else_are_refused(pair, written):
    ds = written[0]
    with pytest.raises(GeometryError, match="Frame of Reference"):
        Registration.from_dicom(ds, pair[1])
    with pytest.raises(InvalidInputError, match="no Spatial Registration"):
        Registration.from_dicom(headers(FIXED_UID)[0], pair[0])
    for value in ([1.0] * 16, [0.0] * 15 + [1.0], ["nan"] * 16):
        broken = deepcopy(ds)
        item = broken.RegistrationSequence[1]
        one, group = Dataset(), Dataset()
        one.FrameOfReferenceTransformationMatrix = [float(v) for v in value]
        group.MatrixSequence = [one]
        item.MatrixRegistrationSequence = [group]
        broken.RegistrationSequence = [item]
        with pytest.raises(InvalidInputError, match="matrix"):
            Registration.from_dicom(broken, pair[0])


def test_other_sources_are_refused(rigid):
    with pytest.raises(InvalidInputError, match="Frame of Reference"):
        rigid.to_dicom(headers(FIXED_UID), headers(FIXED_UID))
    with pytest.raises(InvalidInputError, match="at least one instance"):
        rigid.to_dicom([], headers(FIXED_UID))
    with pytest.raises(InvalidInputError, match="more than one series"):
        rigid.to_dicom(headers(MOVING_UID) + headers(MOVING_UID), headers(FIXED_UID))


def test_padding_does_not_pull():
    fixed, moving = phantom(), phantom(where=unmoved)
    padded = moving.where(abs(moving.x) < 45, -5000).assign_attrs(padding=(-5000.0, -5000.0))
    found = register(padded, fixed)
    assert np.linalg.norm(found.to_moving(BEADS) - moved(BEADS), axis=1).max() < 1.0


def test_align_prior_brings_it_onto_the_grid(pair, rigid):
    aligned = align_prior(pair[1], pair[0])
    assert aligned.coords.equals(pair[0].coords)
    np.testing.assert_allclose(aligned.values, rigid.apply(pair[1]).values, atol=30)


def test_volumes_of_other_frames_are_refused(pair, rigid):
    with pytest.raises(GeometryError, match="registered was"):
        rigid.apply(pair[0])
    with pytest.raises(GeometryError, match="registered was"):
        rigid.apply(pair[1], like=pair[1])


def test_what_cannot_be_registered_is_told(pair):
    fixed, moving = pair
    with pytest.raises(InvalidInputError, match="'rigid', 'affine'"):
        register(moving, fixed, "similarity")
    with pytest.raises(InvalidInputError, match="one value"):
        register(moving, fixed * 0)
    with pytest.raises(InvalidInputError, match="finite"):
        register(moving, fixed.where(fixed > 10))
    affine = np.diag([1.0, 1, 1, 1])
    affine[0, 1] = 0.3
    with pytest.raises(GeometryError, match="sheared"):
        register(moving, as_volume(np.random.default_rng(0).random((5, 5, 5)), affine, FIXED_UID))


def test_repr_is_short(rigid):
    assert repr(rigid).startswith("Registration(rigid, ")
    assert float(repr(rigid).split()[1]) == pytest.approx(12, abs=1)
