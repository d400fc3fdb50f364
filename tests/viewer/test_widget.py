"""The Python half answers the browser, shows the state of the view and keeps the lengths."""

import gzip
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from researchpacs.errors import GeometryError, InvalidInputError, UnsupportedError
from researchpacs.viewer import Viewer, Window, view
from researchpacs.viewer import _bundle as bundle
from researchpacs.volume import as_volume


@dataclass
class Browser:
    """A scripted browser at the other end of the widget's comm."""

    viewer: Viewer
    heard: list[tuple[dict[str, Any], list[Any]]] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self.viewer.comm.publish_msg = self.hear

    def hear(self, msg_type: str, data: dict[str, Any], buffers: list[Any] | None = None, **_: Any) -> None:
        assert msg_type == "comm_msg"
        if data["method"] == "custom":
            with self.arrived:
                self.heard.append((json.loads(json.dumps(data["content"])), list(buffers or [])))
                self.arrived.notify_all()

    def say(self, **content: Any) -> None:
        if content["kind"] == "plane":
            content = {"volume": 0, **content}
        self.viewer._handle_custom_msg(content, [])

    def answer(self, request_id: str) -> tuple[dict[str, Any], list[Any]]:
        def found() -> Any:
            return next((heard for heard in self.heard if heard[0]["request"] == request_id), None)

        with self.arrived:
            assert self.arrived.wait_for(found, timeout=10), f"no answer to {request_id}"
            return found()

    def ask(self, **content: Any) -> tuple[dict[str, Any], list[Any]]:
        self.say(**content)
        return self.answer(content["id"])


def drawn(**changes: Any) -> dict[str, Any]:
    """Draw from voxel (2, 3, 1) to (2, 3, 8) of the numbered volume: 7 x 0.7 mm on axial plane 2."""
    y, z = -40 + 3 * 0.8, 100 + 2 * 2.5
    points = [[-30 + 0.7, y, z], [-30 + 8 * 0.7, y, z]]
    place = {"shape": "length", "plane": "axial", "index": 2, "volume": 0}
    return {"kind": "mark", "id": "a", **place, "points_lps": points, **changes}


def lazy(numbered: xr.DataArray, read: Callable[..., np.ndarray]) -> da.Array:
    """The same values, a frame a chunk, each read through a function."""
    frames = da.from_array(numbered.values, chunks=(1, 8, 10))
    return frames.map_blocks(read, dtype=np.int16, meta=np.empty((0, 0, 0), np.int16))


@pytest.mark.parametrize(("plane", "index"), [("axial", 0), ("axial", 5), ("coronal", 0), ("coronal", 7)])
def test_a_plane_comes_as_its_pixels(numbered, plane, index):
    reply, (buffer,) = Browser(view(numbered)).ask(kind="plane", id="p", plane=plane, index=index)
    assert reply == {"kind": "plane", "request": "p", "dtype": "int16", "exact": True}
    expected = numbered.values[index] if plane == "axial" else numbered.values[::-1, index]
    np.testing.assert_array_equal(np.frombuffer(buffer, "<i2").reshape(expected.shape), expected)


def test_float_planes_without_a_value_somewhere_come_as_finite_numbers(make_volume, numbered):
    values = numbered.values.astype(np.float64)
    values[2, 0, :3] = (np.nan, np.inf, -np.inf)
    browser = Browser(view(make_volume(values, numbered.dicom.affine_lps, "PT")))
    reply, (buffer,) = browser.ask(kind="plane", id="p", plane="axial", index=2)
    plane = np.frombuffer(buffer, "<f4").reshape(8, 10)
    assert reply["dtype"] == "float32"
    assert plane[0, :3].tolist() == [163, 239, 163]
    np.testing.assert_array_equal(plane[1:], values[2, 1:])


@pytest.mark.parametrize(("plane", "index"), [("axial", 6), ("axial", -1), ("oblique", 0)])
def test_a_plane_that_is_not_there_is_refused_in_one_sentence(numbered, plane, index):
    reply, _ = Browser(view(numbered)).ask(kind="plane", id="p", plane=plane, index=index)
    assert reply == {"kind": "error", "request": "p", "message": f"the volume has no {plane} plane {index}"}


def test_a_lazy_volume_is_read_frame_by_frame_for_axial_planes_and_once_for_coronal_ones(make_volume, numbered):
    read: list[int] = []

    def frame(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        read.append(block_info[0]["chunk-location"][0])
        return block

    browser = Browser(view(make_volume(lazy(numbered, frame), numbered.dicom.affine_lps)))
    assert read == [3], "the window is chosen from the middle frame"
    browser.ask(kind="plane", id="1", plane="axial", index=5)
    assert read == [3, 5]
    for request_id in ("2", "3"):
        _, (buffer,) = browser.ask(kind="plane", id=request_id, plane="coronal", index=4)
        np.testing.assert_array_equal(np.frombuffer(buffer, "<i2").reshape(6, 10), numbered.values[::-1, 4])
    browser.ask(kind="plane", id="4", plane="axial", index=1)
    assert sorted(read[2:]) == [0, 1, 2, 3, 4, 5]


def test_an_axial_plane_does_not_wait_for_a_volume_that_is_being_read(make_volume, numbered):
    gate = threading.Event()

    def slowly(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        if block_info[0]["chunk-location"][0] == 0:
            gate.wait(10)
        return block

    browser = Browser(view(make_volume(lazy(numbered, slowly), numbered.dicom.affine_lps)))
    for n in range(4):
        browser.say(kind="plane", id=f"c{n}", plane="coronal", index=n)
    assert browser.ask(kind="plane", id="a", plane="axial", index=4)[0]["kind"] == "plane"
    assert [content["request"] for content, _ in browser.heard] == ["a"]
    gate.set()
    assert all(browser.answer(f"c{n}")[0]["kind"] == "plane" for n in range(4))


def test_a_frame_that_cannot_be_read_is_told_and_can_be_asked_for_again(make_volume, numbered):
    broken = [True]

    def failing(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        if broken[0] and block_info[0]["chunk-location"][0] == 1:
            raise OSError(5, "Input/output error", "/scans/DOE^JANE/1.dcm")
        return block

    browser = Browser(view(make_volume(lazy(numbered, failing), numbered.dicom.affine_lps)))
    for plane in ("axial", "coronal"):
        reply, _ = browser.ask(kind="plane", id=plane, plane=plane, index=1)
        assert reply == {"kind": "error", "request": plane, "message": "OSError: Input/output error"}
    broken[0] = False
    assert browser.ask(kind="plane", id="again", plane="coronal", index=1)[0]["kind"] == "plane"


def test_the_newest_request_is_served_first_and_a_cancelled_one_not_at_all(make_volume, numbered):
    """Two threads serve; while one is held, the other one shows the order."""
    gates = [threading.Event(), threading.Event()]
    begun = threading.Barrier(3)

    def held(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        frame = block_info[0]["chunk-location"][0]
        if frame < 2:
            begun.wait(10)
            gates[frame].wait(10)
        return block

    browser = Browser(view(make_volume(lazy(numbered, held), numbered.dicom.affine_lps)))
    for index in (0, 1):
        browser.say(kind="plane", id=f"{index}", plane="axial", index=index)
    begun.wait(10)
    for index in (2, 3, 4, 5):
        browser.say(kind="plane", id=f"{index}", plane="axial", index=index)
    browser.say(kind="cancel", id="4")
    gates[1].set()
    browser.answer("2")
    assert [content["request"] for content, _ in browser.heard] == ["1", "5", "3", "2"]
    gates[0].set()
    browser.answer("0")


def test_the_bundle_is_asked_for_and_never_travels_with_the_state(numbered, tmp_path, monkeypatch):
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "viewer.js").write_text("export default {};")
    monkeypatch.setattr(bundle, "files", lambda _: tmp_path)
    for remembered in (bundle.compressed, bundle.fingerprint):
        remembered.cache_clear()
    try:
        viewer = view(numbered)
        _, (buffer,) = Browser(viewer).ask(kind="bundle", id="b")
        assert gzip.decompress(buffer) == b"export default {};"
    finally:
        for remembered in (bundle.compressed, bundle.fingerprint):
            remembered.cache_clear()


def test_a_missing_build_is_told_in_the_cell(numbered, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "files", lambda _: tmp_path)
    bundle.compressed.cache_clear()
    reply, _ = Browser(view(numbered)).ask(kind="bundle", id="b")
    assert reply["kind"] == "error"
    assert "npm ci && npm run build" in reply["message"]


def test_the_synced_state_is_small_and_holds_no_pixel(make_volume, numbered):
    large = make_volume(np.zeros((300, 64, 64), np.int16), numbered.dicom.affine_lps)
    state = view(large).get_state()
    told = {name: value for name, value in state.items() if name not in ("layout", "_colormaps")}
    assert len(json.dumps(told, default=str)) < 8_000
    assert not any(isinstance(value, bytes | memoryview) for value in state.values())


def test_the_state_shows_nothing_that_could_name_a_person(make_volume, numbered):
    vol = make_volume(numbered.values, numbered.dicom.affine_lps).rename("DOE^JANE")
    vol.attrs.update(SeriesDescription="Jane Doe chest", PatientName="DOE^JANE")
    viewer = view(vol)
    shown = json.dumps(viewer.get_state(), default=str) + repr(viewer)
    assert "doe" not in shown.lower()


def test_windows_are_set_by_value_or_name(numbered):
    viewer = view(numbered, window="lung")
    assert viewer.window == Window(-600, 1500)
    viewer.window = "bone"
    assert viewer.get_state()["_window"] == [400, 1800]
    viewer.window = Window(10, 20)
    assert viewer.window == Window(10, 20)
    with pytest.raises(InvalidInputError, match="'soft tissue'"):
        viewer.window = "liver dome"


def test_position_follows_the_planes_and_moves_them(numbered):
    viewer = view(numbered)
    viewer.set_state({"_slices": {"axial": 1, "coronal": 6, "sagittal": 9}})
    expected = numbered.dicom.to_lps([1, 6, 9])
    assert viewer.position_lps == pytest.approx(expected)
    viewer.position_lps = numbered.dicom.to_lps([4.2, 1.9, 0])
    assert viewer.get_state()["_slices"] == {"axial": 4, "coronal": 2, "sagittal": 0}
    assert viewer.position_lps == pytest.approx(numbered.dicom.to_lps([4, 2, 0]))
    with pytest.raises(InvalidInputError, match="outside of the volume"):
        viewer.position_lps = (0, 0, 0)


def test_a_drawn_length_becomes_a_measurement_in_the_patient(numbered):
    browser = Browser(view(numbered))
    browser.say(**drawn())
    (length,) = browser.viewer.annotations
    assert length.value == pytest.approx(4.9, abs=1e-9)
    assert length.unit == "mm"
    np.testing.assert_allclose(length.points_lps, numbered.dicom.to_lps([[2, 3, 1], [2, 3, 8]]), atol=1e-6)
    (mark,) = browser.viewer.get_state()["_marks"]
    assert (mark["label"], mark["state"], mark["index"]) == ("length 1", "draft", 2)
    assert mark["quantities"] == [{"name": "length", "value": pytest.approx(4.9), "unit": "mm"}]


def test_a_draft_can_be_moved_named_and_removed(numbered):
    browser = Browser(view(numbered))
    browser.say(**drawn())
    browser.say(kind="label", id="a", label=" nodule ")
    moved = numbered.dicom.to_lps([[2, 3, 1], [2, 6, 1]]).tolist()
    browser.say(**drawn(points_lps=moved))
    (length,) = browser.viewer.annotations
    assert (length.label, length.value) == ("nodule", pytest.approx(2.4))
    browser.say(**drawn(id="b"))
    browser.say(kind="unmark", id="a")
    assert [mark["id"] for mark in browser.viewer.get_state()["_marks"]] == ["b"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"index": 3}, "2.50 mm off the axial plane"),
        ({"points_lps": [[0, 0, 0]]}, "has 2 points"),
        ({"points_lps": [[0, 0, 0], [0, 0, float("nan")]]}, "has 2 points"),
        ({"points_lps": [[-30, -40, 105], [-30, -40, 105.01]]}, "at least 0.1 mm"),
        ({"plane": "oblique"}, "no oblique plane"),
        ({"shape": "spline"}, "no mark of the kind"),
        ({"volume": 1}, "no volume 1"),
        ({"shape": "angle"}, "has 3 points"),
        ({"shape": "polygon"}, "at least three points"),
        ({"index": 99}, "no axial plane 99"),
    ],
)
def test_a_length_that_cannot_be_true_is_refused(numbered, changes, sentence):
    browser = Browser(view(numbered))
    reply, _ = browser.ask(**drawn(**changes))
    assert reply["kind"] == "error"
    assert sentence in reply["message"]
    assert browser.viewer.annotations == []


def test_save_hands_over_what_is_not_saved_and_remembers_it(numbered):
    saved: list[Any] = []
    browser = Browser(view(numbered, save=lambda lengths: saved.append(list(lengths)) or "report"))
    browser.say(**drawn())
    assert browser.viewer.save() == "report"
    browser.say(**drawn(id="b"))
    assert browser.ask(kind="save", id="s")[0] == {"kind": "save", "request": "s", "saved": 1}
    assert browser.viewer.save() is None
    first, second = browser.viewer.annotations
    assert saved == [[first], [second]]
    assert [mark["state"] for mark in browser.viewer.get_state()["_marks"]] == ["saved", "saved"]


@pytest.mark.parametrize("change", [drawn(), {"kind": "label", "id": "a", "label": "x"}, {"kind": "unmark", "id": "a"}])
def test_what_is_saved_stays_as_it_is(numbered, change):
    browser = Browser(view(numbered, save=lambda lengths: None))
    browser.say(**drawn())
    browser.viewer.save()
    before = browser.viewer.annotations
    assert "is saved" in browser.ask(**change)[0]["message"]
    assert browser.viewer.annotations == before


def test_a_failed_save_leaves_drafts_and_says_why(numbered):
    def refuse(lengths: object) -> None:
        raise UnsupportedError("the archive is read-only")

    browser = Browser(view(numbered, save=refuse))
    browser.say(**drawn())
    assert browser.ask(kind="save", id="s")[0]["message"] == "the archive is read-only"
    assert [mark["state"] for mark in browser.viewer.get_state()["_marks"]] == ["draft"]


def test_without_an_archive_save_says_what_to_do(numbered):
    viewer = view(numbered)
    assert viewer.get_state()["_can_save"] is False
    with pytest.raises(UnsupportedError, match=r"pacs\.ingest\(viewer\.annotations\)"):
        viewer.save()


def test_what_cannot_be_shown_is_refused_with_what_can(numbered):
    with pytest.raises(InvalidInputError, match=r"vol\.isel\(z=\[5\]\)"):
        view(numbered.isel(z=0))
    with pytest.raises(InvalidInputError, match="a series, a study, a volume"):
        view("chest.dcm")
    with pytest.raises(InvalidInputError, match="no layout 'grid'"):
        view(numbered, layout="grid")
    with pytest.raises(GeometryError):
        view(numbered.drop_vars("frame"))


def test_a_transposed_volume_is_shown_the_same(numbered):
    _, (expected,) = Browser(view(numbered)).ask(kind="plane", id="p", plane="coronal", index=2)
    _, (buffer,) = Browser(view(numbered.transpose("x", "z", "y"))).ask(kind="plane", id="p", plane="coronal", index=2)
    assert bytes(buffer) == bytes(expected)


def test_a_flipped_volume_is_shown_the_same(numbered):
    """A picture shows the patient, not the array."""
    _, (expected,) = Browser(view(numbered)).ask(kind="plane", id="p", plane="axial", index=0)
    turned = numbered.isel(z=slice(None, None, -1), y=slice(None, None, -1), x=slice(None, None, -1))
    _, (buffer,) = Browser(view(turned)).ask(kind="plane", id="p", plane="axial", index=5)
    assert bytes(buffer) == bytes(expected)


def single_slice(plane: str = "coronal", **attrs: Any) -> xr.DataArray:
    """Six rows of eight, rows going down, the first pixel at (10, 20, 30) LPS mm."""
    axes = {
        "axial": [(0, 0, 1), (0, 0.5, 0), (0.5, 0, 0)],
        "coronal": [(0, 1, 0), (0, 0, -0.5), (0.5, 0, 0)],
        "sagittal": [(-1, 0, 0), (0, 0, -0.5), (0, 0.5, 0)],
    }
    affine = np.eye(4)
    affine[:3] = np.column_stack([*axes[plane], (10, 20, 30)])
    data = np.arange(48, dtype=np.int16).reshape(1, 6, 8)
    return as_volume(data, affine, "1.2.3", attrs=attrs, spacing_z_known=False)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_single_slice_is_seen_as_it_is_where_it_is(plane: str) -> None:
    viewer = Viewer(single_slice(plane))
    stack = viewer._planes[plane]
    assert (stack.shape, stack.spacing) == ((1, 6, 8), (0.5, 0.5))
    np.testing.assert_allclose(stack.to_lps(0, 0, 0), (10, 20, 30), atol=1e-4)
    np.testing.assert_array_equal(viewer._panel(plane).values, np.arange(48).reshape(6, 8))


def test_the_lowest_value_of_monochrome1_is_white() -> None:
    assert Viewer(single_slice(PhotometricInterpretation="MONOCHROME1"))._inverted
    assert not Viewer(single_slice())._inverted
