"""Key object selections and presentation states as highdicom writes them, read back."""

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from researchpacs.dicom.key_objects import key_images

COMMON = {"series_instance_uid": "2.25.1", "series_number": 1, "sop_instance_uid": "2.25.2", "instance_number": 1}


@pytest.fixture
def images(real_data: Path) -> list[Dataset]:
    names = ("ct_image.dcm", "dx_image.dcm")
    return [pydicom.dcmread(real_data / "highdicom_seg_sr_sm_ann" / name) for name in names]


def selection(images: list[Dataset]) -> Dataset:
    person = highdicom.sr.PersonObserverIdentifyingAttributes(name="Doe^Jane")
    content = highdicom.ko.KeyObjectSelection(
        codes.DCM.ForTeaching,
        referenced_objects=images,
        observer_person_context=highdicom.sr.ObserverContext(codes.DCM.Person, person),
        description="typical",
    )
    return highdicom.ko.KeyObjectSelectionDocument(images, content, manufacturer="x", **COMMON)


def test_a_selection_names_each_image_with_its_series(images: list[Dataset]) -> None:
    for image in images[1:]:
        image.StudyInstanceUID = images[0].StudyInstanceUID
    ds = selection(images)
    found = key_images(ds)
    # highdicom's own way from an instance to its series.
    theirs = [ds.resolve_reference(str(image.SOPInstanceUID)) for image in images]
    assert [(one.study_uid, one.series_uid, one.sop_uid) for one in found] == theirs
    assert {(one.kind, str(one.title), one.text, one.author) for one in found} == {
        ("key_object", "DCM:113004", "typical", "Doe^Jane")
    }
    assert [one.sop_class_uid for one in found] == [str(image.SOPClassUID) for image in images]


def test_a_presentation_state_names_what_it_shows_and_counts_its_marks(images: list[Dataset]) -> None:
    image = images[0]
    mark = highdicom.pr.GraphicObject("POLYLINE", np.array([[1.0, 1.0], [5.0, 5.0]]), units="PIXEL")
    note = highdicom.pr.TextObject("here", anchor_point=(2.0, 2.0), units="PIXEL")
    layer = highdicom.pr.GraphicLayer("MARKS", order=1)
    drawn = highdicom.pr.GraphicAnnotation([image], layer, graphic_objects=[mark], text_objects=[note])
    ds = highdicom.pr.GrayscaleSoftcopyPresentationState(
        [image],
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
        content_label="MARKED",
        content_description="two marks",
        content_creator_name="Doe^Jane",
        graphic_layers=[layer],
        graphic_annotations=[drawn],
        **COMMON,
    )
    (one,) = key_images(ds)
    assert (one.kind, one.label, one.text, one.author) == ("presentation_state", "MARKED", "two marks", "Doe^Jane")
    assert (one.series_uid, one.sop_uid) == (str(image.SeriesInstanceUID), str(image.SOPInstanceUID))
    assert (one.annotation_count, one.frame_numbers) == (2, ())


def test_frames_are_told(images: list[Dataset]) -> None:
    ds = pydicom.Dataset(selection(images[:1]))
    (item,) = [item for item in ds.ContentSequence if "ReferencedSOPSequence" in item]
    item.ReferencedSOPSequence[0].ReferencedFrameNumber = [2, 5]
    assert key_images(ds)[0].frame_numbers == (2, 5)


def test_what_refers_to_nothing_is_left_out_and_other_objects_have_none(images: list[Dataset]) -> None:
    ds = pydicom.Dataset(selection(images[:1]))
    (item,) = [item for item in ds.ContentSequence if "ReferencedSOPSequence" in item]
    del item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert key_images(ds) == []
    assert key_images(images[0]) == []
