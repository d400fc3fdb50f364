"""Nuclear Medicine and PET over time and heartbeats: told apart by vectors, times, triggers; placed by the header."""

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    generate_uid,
)

import researchpacs as rp
from researchpacs.dicom.frame_record import pack, unpack
from researchpacs.dicom.frames import frames_of
from researchpacs.dicom.nuclear import NUCLEAR
from researchpacs.dicom.pixels import PixelLayout
from researchpacs.dicom.stacks import split
from researchpacs.errors import GeometryError
from researchpacs.model import Frame

ROWS, COLUMNS = 6, 5
CORONAL = [1, 0, 0, 0, 0, -1]
OBLIQUE = [0.8, 0.6, 0, -0.36, 0.48, 0.8]


def nuclear(path, kind, vectors, **more):
    """One multi-frame image; each pixel tells its frame."""
    ds = image(NuclearMedicineImageStorage, "NM")
    count = len(next(iter(vectors.values())))
    ds.ImageType = ["ORIGINAL", "PRIMARY", kind, "EMISSION"]
    ds.NumberOfFrames = count
    ds.FrameIncrementPointer = [pydicom.datadict.tag_for_keyword(name) for name in vectors]
    for name, values in vectors.items():
        setattr(ds, name, values)
    pixels = np.arange(count)[:, None, None] * 100 + np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    ds.PixelData = pixels.astype("<u2").tobytes()
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    ds.save_as(path, enforce_file_format=True)
    return ds


def image(sop_class, modality):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = (generate_uid() for _ in range(3))
    ds.PatientID, ds.Modality, ds.InstanceNumber = "P", modality, 1
    ds.AcquisitionDate, ds.AcquisitionTime = "20240301", "120000"
    ds.Rows, ds.Columns, ds.PixelSpacing = ROWS, COLUMNS, [3.0, 2.0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    return ds


def detector(position=(-10, 20, 300), orientation=CORONAL):
    item = Dataset()
    item.ImagePositionPatient, item.ImageOrientationPatient = list(position), list(orientation)
    return [item]


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    with rp.connect(tmp_path_factory.mktemp("home")) as pacs:
        yield pacs


@pytest.fixture
def opened(pacs, tmp_path):
    """Ingest what was written to `tmp_path` and give its series."""

    def ingest():
        return pacs.ingest(tmp_path, progress=False).series[0]

    return ingest


@pytest.mark.parametrize("orientation", [CORONAL, OBLIQUE])
@pytest.mark.parametrize("spacing", [4.5, -4.5])
def test_reconstructed_slices_lie_along_the_normal_as_the_sign_of_their_spacing_says(
    opened, tmp_path, orientation, spacing
):
    path = tmp_path / "nm.dcm"
    nuclear(
        path, "RECON TOMO", {"SliceVector": [1, 2, 3, 4]}, SpacingBetweenSlices=spacing,
        DetectorInformationSequence=detector(orientation=orientation),
    )  # fmt: skip
    vol = rp.read_volume(opened())
    assert vol.dims == ("z", "y", "x")
    np.testing.assert_allclose(vol.dicom.spacing, (4.5, 3.0, 2.0))
    normal = np.cross(orientation[:3], orientation[3:])
    for k in range(4):
        place = vol.dicom.to_index(np.array([-10, 20, 300]) + k * spacing * normal)
        np.testing.assert_allclose(place[1:], 0, atol=1e-4)
        assert vol.values[round(float(place[0])), 0, 0] == 100 * k


def test_reconstructed_slices_are_where_simpleitk_has_them(opened, tmp_path):
    path = tmp_path / "nm.dcm"
    nuclear(
        path, "RECON TOMO", {"SliceVector": [1, 2, 3, 4]}, SpacingBetweenSlices=4.5,
        DetectorInformationSequence=detector(orientation=OBLIQUE),
    )  # fmt: skip
    vol, theirs = rp.read_volume(opened()), SimpleITK.ReadImage(str(path))
    np.testing.assert_array_equal(vol.values, SimpleITK.GetArrayFromImage(theirs))
    for index in ((0, 0, 0), (3, 5, 4)):
        point = theirs.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(vol.dicom.to_lps(index), point, atol=1e-3)


def test_a_gated_reconstruction_has_phases(opened, tmp_path):
    gate, data = Dataset(), Dataset()
    data.FrameTime = "50"
    gate.DataInformationSequence = [data]
    slots, slices = np.repeat([1, 2, 3], 4).tolist(), [1, 2, 3, 4] * 3
    nuclear(
        tmp_path / "nm.dcm", "RECON GATED TOMO", {"TimeSlotVector": slots, "SliceVector": slices},
        SpacingBetweenSlices=4.0, DetectorInformationSequence=detector(), GatedInformationSequence=[gate],
    )  # fmt: skip
    vol = rp.read_volume(opened())
    assert vol.dims == ("phase", "z", "y", "x")
    assert vol.phase.values.tolist() == [0, 50, 100]
    assert vol.phase.attrs["units"] == "ms"
    first = vol.values[:, :, 0, 0]
    assert sorted(first[0].tolist()) == [0, 100, 200, 300]
    np.testing.assert_array_equal(first[1:] - first[:-1], 400)


def test_energy_windows_are_volumes_of_their_own(opened, tmp_path):
    nuclear(
        tmp_path / "nm.dcm", "RECON TOMO", {"EnergyWindowVector": [1, 1, 2, 2], "SliceVector": [1, 2, 1, 2]},
        SpacingBetweenSlices=4.0, DetectorInformationSequence=detector(),
    )  # fmt: skip
    series = opened()
    with pytest.raises(GeometryError, match="stack"):
        rp.open_volume(series)
    vols = rp.open_volumes(series)
    assert [sorted(vol.values[:, 0, 0].tolist()) for vol in vols] == [[0, 100], [200, 300]]


@pytest.mark.parametrize("left_out", ["DetectorInformationSequence", "SpacingBetweenSlices"])
def test_without_a_place_there_are_frames_only(opened, tmp_path, left_out):
    told = {"SpacingBetweenSlices": 4.0, "DetectorInformationSequence": detector()}
    del told[left_out]
    nuclear(tmp_path / "nm.dcm", "RECON TOMO", {"SliceVector": [1, 2, 3]}, **told)
    series = opened()
    with pytest.raises(GeometryError) as caught:
        rp.open_volume(series)
    assert caught.value.reasons == ("no_position",)
    assert rp.open_frames(series).sizes["frame"] == 3


def test_planar_images_over_time_have_the_time_of_each_frame(opened, tmp_path):
    phases = []
    for delay, duration, pause, frames in ((0, 2000, 500, 3), (1000, 10_000, 0, 2)):
        phase = Dataset()
        phase.PhaseDelay, phase.ActualFrameDuration = delay, duration
        phase.PauseBetweenFrames, phase.NumberOfFramesInPhase = pause, frames
        phases.append(phase)
    nuclear(
        tmp_path / "nm.dcm", "DYNAMIC", {"PhaseVector": [1, 1, 1, 2, 2], "TimeSliceVector": [1, 2, 3, 1, 2]},
        PhaseInformationSequence=phases,
    )  # fmt: skip
    frames = rp.open_frames(opened())
    # Three frames of 2 s with pauses of 0.5 s end at 7 s; a second later come frames of 10 s.
    assert frames.time.values.tolist() == [0, 2.5, 5, 8, 18]
    assert frames.time.attrs["units"] == "s"


@pytest.mark.parametrize("vector", [[1, 2, 3, 0], [1, 2, 3], [1, 2, 3, 99], []])
def test_vectors_that_lie_make_no_volume(opened, tmp_path, vector):
    nuclear(
        tmp_path / "nm.dcm", "RECON TOMO", {"DetectorVector": [1] * 4, "SliceVector": vector},
        SpacingBetweenSlices=4.0, DetectorInformationSequence=detector(),
    )  # fmt: skip
    with pytest.raises(GeometryError):
        rp.open_volume(opened())


numbers = st.floats() | st.integers(-3, 9) | st.sampled_from([1e308, 1e-308]) | st.none()


@settings(max_examples=80)
@given(st.data())
def test_no_header_makes_it_fail(data):
    layout = PixelLayout("1.2.840.10008.1.2.1", ROWS, COLUMNS, 1, 16, 16, 0, "MONOCHROME2", 0, number_of_frames=4)
    vectors = sorted(name for name in NUCLEAR if name.endswith("Vector"))
    header = {
        name: data.draw(st.lists(st.integers(1, 3), min_size=4, max_size=4) | st.lists(numbers, max_size=5))
        for name in data.draw(st.sets(st.sampled_from(vectors)))
    }
    header |= {"SpacingBetweenSlices": data.draw(numbers), "ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO"]}
    place = st.tuples(*[numbers] * 3) | st.just((1.0, 2.0, 3.0))
    header["DetectorInformationSequence"] = [
        {
            "ImagePositionPatient": list(data.draw(place)),
            "ImageOrientationPatient": data.draw(st.just(CORONAL) | st.lists(numbers, max_size=7)),
        }
    ]
    phase = ("PhaseDelay", "ActualFrameDuration", "PauseBetweenFrames", "NumberOfFramesInPhase")
    header["PhaseInformationSequence"] = [{name: data.draw(numbers) for name in phase} for _ in range(3)]
    gate = {"DataInformationSequence": [{"FrameTime": data.draw(numbers)}]}
    header |= {"GatedInformationSequence": [gate], "AcquisitionDate": "20240301", "AcquisitionTime": "120000"}
    rows = frames_of(header, layout, None)
    assert len(rows) == 4
    number, back = unpack(pack(rows, 1))
    assert (number, back) == (1, rows)
    split([
        Frame(
            "1.2", row.index, 1, row.position, row.orientation, (3.0, 2.0), 1.0, 0.0, None, None, layout, row.traits,
            row.timing,
        )
        for row in rows
    ])  # fmt: skip


def pet(folder, stacks, each):
    """A PET of three slices for each of some stacks."""
    made = image(PositronEmissionTomographyImageStorage, "PT")
    made.Units, made.ImageOrientationPatient = "BQML", [1, 0, 0, 0, 1, 0]
    number = 0
    for stack in range(stacks):
        for k in range(3):
            ds = pydicom.Dataset(made)
            ds.file_meta = FileMetaDataset(made.file_meta)
            number += 1
            ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            ds.InstanceNumber = ds.ImageIndex = number
            ds.ImagePositionPatient = [0, 0, 4 * k]
            ds.RescaleSlope, ds.RescaleIntercept = 0.5 + stack, 0
            ds.PixelData = np.full((ROWS, COLUMNS), 10 * stack + k, "<u2").tobytes()
            each(ds, stack)
            ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def test_dynamic_pet_has_times(opened, tmp_path):
    starts = [0, 5, 15, 75]

    def each(ds, stack):
        ds.SeriesType, ds.NumberOfTimeSlices = ["DYNAMIC", "IMAGE"], 4
        ds.AcquisitionTime = f"1200{starts[stack]:02}" if starts[stack] < 60 else "120115"
        ds.FrameReferenceTime = str(starts[stack] * 1000 + 500)

    pet(tmp_path, 4, each)
    vol = rp.read_volume(opened())
    assert vol.dims == ("time", "z", "y", "x")
    assert vol.time.values.tolist() == starts
    np.testing.assert_allclose(vol.values[:, 1, 0, 0], [(10 * t + 1) * (0.5 + t) for t in range(4)])


def test_gated_pet_has_phases(opened, tmp_path):
    def each(ds, stack):
        ds.SeriesType, ds.NumberOfTimeSlots = ["GATED", "IMAGE"], 3
        ds.TriggerTime, ds.FrameTime = str(250 * stack), "250"

    pet(tmp_path, 3, each)
    vol = rp.read_volume(opened())
    assert vol.dims == ("phase", "z", "y", "x")
    assert vol.phase.values.tolist() == [0, 250, 500]
    assert "trigger_time" not in vol.coords
