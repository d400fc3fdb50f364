"""Enhanced multi-frame images of every kind: stacks, times, phases, directions and quantities from their groups."""

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    BreastTomosynthesisImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

import researchpacs as rp

ROWS, COLUMNS = 4, 5
AXIAL = [1, 0, 0, 0, 1, 0]
OBLIQUE = [0.8, 0.6, 0, -0.36, 0.48, 0.8]


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    with rp.connect(tmp_path_factory.mktemp("home")) as pacs:
        yield pacs


@pytest.fixture
def opened(pacs, tmp_path):
    """Write an image, ingest it, give its series."""

    def ingest(ds):
        ds.save_as(tmp_path / "image.dcm", enforce_file_format=True)
        return pacs.ingest(tmp_path / "image.dcm", progress=False).series[0]

    return ingest


def group(**macros):
    made = Dataset()
    for keyword, values in macros.items():
        item = Dataset()
        for name, value in values.items():
            setattr(item, name, value)
        setattr(made, keyword, [item])
    return made


def enhanced(sop_class, modality, frames, **shared):
    """A multi-frame image; pixels tell the frame."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = (generate_uid() for _ in range(3))
    ds.PatientID, ds.Modality, ds.InstanceNumber = "P", modality, 1
    ds.Rows, ds.Columns, ds.NumberOfFrames = ROWS, COLUMNS, len(frames)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    everywhere = {"PixelMeasuresSequence": {"PixelSpacing": [0.9, 0.8]}, **shared}
    ds.SharedFunctionalGroupsSequence = [group(**everywhere)]
    ds.PerFrameFunctionalGroupsSequence = [group(**frame) for frame in frames]
    ds.PixelData = np.repeat(np.arange(len(frames), dtype="<u2"), ROWS * COLUMNS).tobytes()
    return ds


def at(z, orientation=AXIAL, **macros):
    normal = np.cross(orientation[:3], orientation[3:])
    return {
        "PlanePositionSequence": {"ImagePositionPatient": (z * normal).round(6).tolist()},
        "PlaneOrientationSequence": {"ImageOrientationPatient": orientation},
        **macros,
    }


def test_breast_tomosynthesis_is_a_volume_of_its_planes(opened):
    frames = [at(z, OBLIQUE) for z in (3.0, 1.0, 2.0, 4.0)]
    kind = {"XRay3DFrameTypeSequence": {"FrameType": ["DERIVED", "PRIMARY", "TOMOSYNTHESIS", "NONE"]}}
    vol = rp.read_volume(opened(enhanced(BreastTomosynthesisImageStorage, "MG", frames, **kind)))
    assert vol.values[:, 0, 0].tolist() == [1, 2, 0, 3]
    np.testing.assert_allclose(vol.dicom.spacing, (1.0, 0.9, 0.8), rtol=1e-5)
    np.testing.assert_allclose(vol.dicom.to_lps((0, 0, 0)), np.cross(OBLIQUE[:3], OBLIQUE[3:]), atol=1e-4)


def test_heartbeats_have_the_delays_that_frames_tell(opened):
    frames = [
        at(z, CardiacSynchronizationSequence={"NominalCardiacTriggerDelayTime": 40.0 * phase})
        for z in (0.0, 2.0, 4.0)
        for phase in range(3)
    ]
    vol = rp.read_volume(opened(enhanced(EnhancedMRImageStorage, "MR", frames)))
    assert vol.dims == ("phase", "z", "y", "x")
    assert vol.phase.values.tolist() == [0, 40, 80]
    assert vol.values[..., 0, 0].tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_diffusion_has_the_directions_that_frames_tell(opened):
    directions = [None, (1.0, 0.0, 0.0), (0.0, 0.6, 0.8)]

    def diffusion(direction):
        told = {"DiffusionBValue": 800.0 if direction else 0.0}
        told["DiffusionDirectionality"] = "DIRECTIONAL" if direction else "NONE"
        if direction:
            item = Dataset()
            item.DiffusionGradientOrientation = list(direction)
            told["DiffusionGradientDirectionSequence"] = [item]
        return told

    frames = [at(z, MRDiffusionSequence=diffusion(one)) for one in directions for z in (0.0, 2.0)]
    vol = rp.read_volume(opened(enhanced(EnhancedMRImageStorage, "MR", frames)))
    assert vol.dims[0] == "b_value"
    found = {int(vol.values[k, 0, 0, 0]): k for k in range(3)}
    np.testing.assert_allclose(vol.b_value.values[[found[0], found[2], found[4]]], [0, 800, 800])
    gradients = np.stack([vol[f"gradient_{axis}"].values for axis in "xyz"], axis=1)
    np.testing.assert_allclose(gradients[found[2]], directions[1])
    np.testing.assert_allclose(gradients[found[4]], directions[2])
    assert np.isnan(gradients[found[0]]).all()


def test_dynamic_pet_has_the_times_of_its_frames(opened):
    frames = [
        at(z, FrameContentSequence={"FrameAcquisitionDateTime": f"202403011200{time:02}.5", "TemporalPositionIndex": k})
        for k, time in enumerate((0, 10, 40), 1)
        for z in (0.0, 3.0)
    ]
    vol = rp.open_volume(opened(enhanced(EnhancedPETImageStorage, "PT", frames)))
    assert vol.dims == ("time", "z", "y", "x")
    assert vol.time.values.tolist() == [0, 10, 40]


def test_stacks_of_one_image_are_volumes_of_their_own(opened):
    frames = [
        at(z, orientation, FrameContentSequence={"StackID": name, "InStackPositionNumber": k})
        for name, orientation in (("1", AXIAL), ("2", OBLIQUE))
        for k, z in enumerate((0.0, 2.0, 4.0), 1)
    ]
    series = opened(enhanced(EnhancedMRImageStorage, "MR", frames))
    vols = rp.open_volumes(series)
    assert [vol.values[:, 0, 0].tolist() for vol in vols] == [[0, 1, 2], [3, 4, 5]]
    assert set(series.geometry.reasons) == {"multiple_stacks", "mixed_orientation"}


def test_quantities_of_a_parametric_map_by_highdicom_are_volumes_of_their_own(make_series, opened):
    source = make_series([(0, 0, 2.0 * k) for k in range(3)], each=patient)
    values = np.random.default_rng(1).normal(size=(3, 5, 6, 2)).astype(np.float32)
    mappings = [
        [highdicom.pm.RealWorldValueMapping(
            lut_label=name, lut_explanation=name, unit=CodedConcept("1", "UCUM", "no units"),
            value_range=(-10.0, 10.0), slope=1, intercept=0,
        )]
        for name in ("FRACTION", "KTRANS")
    ]  # fmt: skip
    made = highdicom.pm.ParametricMap(
        [pydicom.dcmread(path) for path in source.paths], values, generate_uid(), 9, generate_uid(), 1,
        "maker", "model", "1", "1", contains_recognizable_visual_features=False, real_world_value_mappings=mappings,
        voi_lut_transformations=[highdicom.VOILUTTransformation(window_center=0, window_width=2)], content_label="MAP",
    )  # fmt: skip
    vols = rp.open_volumes(opened(made))
    assert len(vols) == 2
    for k, vol in enumerate(vols):
        assert vol.dtype == np.float32
        np.testing.assert_array_equal(vol.values, values[..., k])


def patient(_, ds):
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = "P", "P^Q", "", ""
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.StudyID = ds.ReferringPhysicianName = ""
    ds.PositionReferenceIndicator = ""
    ds.SliceThickness = 2
