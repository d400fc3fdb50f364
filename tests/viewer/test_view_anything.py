"""`rp.view` takes what people have: paths, series, studies, whatever the series is."""

import numpy as np
import pydicom
import pytest
import SimpleITK

import researchpacs as rp
from researchpacs.errors import InvalidInputError, NotFoundError


@pytest.fixture
def pacs(home):
    with rp.connect(home) as opened:
        yield opened


def planes_of(viewer):
    return {stack["name"]: (stack["count"], stack["rows"], stack["columns"]) for stack in viewer._stacks}


def first_picture(viewer, volume=0):
    stack = next(iter(viewer._planes.values()))
    return viewer._shown.voxels.pixels(stack, 0, volume)[0]


def test_a_path_of_one_image_is_one_slice_and_nothing_of_it_is_kept(real_data):
    path = real_data / "misc_pydicom" / "CT_small.dcm"
    before = path.stat()
    viewer = rp.view(path)
    ds = pydicom.dcmread(path)
    np.testing.assert_array_equal(first_picture(viewer), ds.pixel_array * ds.RescaleSlope + ds.RescaleIntercept)
    assert planes_of(viewer) == {"axial": (1, 128, 128)}
    assert not viewer._can_save, "what was saved would be gone with the process"
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("path", "planes", "is_colour"),
    [
        ("xa_wg04/JPLL/XA1_JPLL", {"frame": (1, 1024, 1024)}, False),
        ("us_nm_cine/NM-MONO2-16-13x-heart", {"frame": (13, 64, 64)}, False),
        ("misc_pydicom/SC_rgb_small_odd.dcm", {"frame": (1, 3, 3)}, True),
        ("misc_pydicom/examples_ybr_color.dcm", {"frame": (30, 240, 320)}, True),
    ],
)
def test_what_is_no_volume_is_shown_as_its_frames(real_data, path, planes, is_colour):
    viewer = rp.view(real_data / path)
    assert planes_of(viewer) == planes
    assert viewer._is_colour is is_colour
    assert not viewer._measures
    assert viewer._note.startswith("frames, no volume")
    picture = first_picture(viewer)
    assert picture.shape[:2] == next(iter(planes.values()))[1:]
    expected = pydicom.dcmread(real_data / path).pixel_array
    if not is_colour:
        np.testing.assert_array_equal(picture, expected.reshape(-1, *picture.shape)[0])


def test_an_image_with_a_place_is_shown_by_its_path(tmp_path):
    image = SimpleITK.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    SimpleITK.WriteImage(image, str(tmp_path / "image.nii.gz"))
    assert planes_of(rp.view(str(tmp_path / "image.nii.gz"))) == {
        "axial": (3, 4, 5),
        "coronal": (4, 3, 5),
        "sagittal": (5, 3, 4),
    }


def test_paths_that_hold_nothing_to_see_say_so_without_naming_themselves(tmp_path):
    with pytest.raises(NotFoundError) as missing:
        rp.view(tmp_path / "DOE^JANE.dcm")
    (tmp_path / "DOE^JANE.nii").write_bytes(b"no image")
    with pytest.raises(InvalidInputError, match="cannot read") as unreadable:
        rp.view(tmp_path / "DOE^JANE.nii")
    assert "JANE" not in f"{missing.value} {unreadable.value}"
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InvalidInputError, match="no DICOM objects"):
        rp.view(empty)


def test_a_study_has_a_menu_of_its_series_and_shows_the_one_that_is_chosen(pacs):
    pacs.ingest([rp.datasets.path("chest_ct"), rp.datasets.path("cine_mr")])
    by_modality = {study.series[0].Modality: study for study in pacs.search("study")}
    viewer = rp.view(by_modality["MR"])
    assert len(viewer._repeats) > 1
    assert viewer._choices == [] or len(viewer._choices) == len(by_modality["MR"].series)
    series = by_modality["CT"].series
    viewer = by_modality["CT"].view(window="lung")
    assert len(viewer._choices) == len(series)
    assert all(choice.startswith(one.Modality) for choice, one in zip(viewer._choices, series, strict=True))
    before = viewer._scene
    viewer._handle_custom_msg({"kind": "choose", "id": "c", "choice": 0}, [])
    assert viewer._scene != before


def test_series_that_are_no_uniform_stack_are_frames_and_say_why(pacs):
    pacs.ingest(rp.datasets.path("gapped_ct"))
    viewer = pacs.search("series").first().view()
    assert viewer._note == "frames, no volume: missing slices"
    assert list(planes_of(viewer)) == ["frame"]
