"""The viewer widget: small synced state, everything large over messages.

The synced traits are `ViewerState` in `extensions/protocol`. They hold the geometry of the planes, the view and the
marks; never pixels, never the bundle, never a patient's name.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import anywidget
import numpy as np
import traitlets as t

from researchpacs.errors import InvalidInputError, ResearchPacsError, UnsupportedError
from researchpacs.viewer import _bundle, _colours
from researchpacs.viewer._marks import Drawn, Marks
from researchpacs.viewer._messages import BundleReply, ColourMap, ErrorReply, Preset, Request, SaveReply, as_request
from researchpacs.viewer._panels import panel_of
from researchpacs.viewer._picture import Panel, draw
from researchpacs.viewer._plane_server import PlaneServer
from researchpacs.viewer._position import as_state, meeting_point, slices_at
from researchpacs.viewer._saved import saved_as
from researchpacs.viewer._scene import Choice, Scene, choices_of
from researchpacs.viewer._window import Window, as_window, presets

if TYPE_CHECKING:
    from PIL.Image import Image

    from researchpacs.annotation import Measurement

__all__ = ["TOOLS", "Viewer"]

SAVED_PICTURE_WAIT_S = 1.0
"""How long the display of a viewer waits for a lazy volume, to leave a whole picture in a saved notebook."""
TOOLS = (
    *("window", "zoom", "pan", "crosshair"),
    *("length", "angle", "cobb", "bidirectional", "ellipse", "circle", "rectangle", "polygon", "probe"),
)
"""What the left button can do."""
LAYOUTS = ("stack", "mpr")
LARGEST_ZOOM = 40.0

_log = logging.getLogger(__name__)


class Viewer(anywidget.AnyWidget):
    """Pictures in a cell, to look at and to measure; made by `researchpacs.view`.

    The public traits are read, set and observed (``viewer.observe(f, "window")``) like any other; the browser follows
    what Python sets, and Python what a person does.
    """

    _esm = Path(__file__).parent / "boot.js"

    window = t.Any(help="`Window` of all planes; set it to one, or to the name of a preset.")
    position_lps = t.Any(help="LPS mm where the planes meet; setting it moves them.")
    annotations: Any = t.List(help="Measurements, drafts and saved ones; setting it replaces the drafts.")
    plane = t.Unicode("", help="Name of the plane that keys act on, and that the layout 'stack' shows.").tag(sync=True)
    zoom = t.Float(1.0, help="1 shows a whole plane; set for all planes, told of the one that keys act on.").tag(
        sync=True
    )
    tool = t.Unicode("window", help="What the left button does; one of `TOOLS`.").tag(sync=True)
    colormap = t.Unicode("grey", help="Name of the colour map of what has one value a pixel.").tag(sync=True)
    volume = t.Int(0, help="Which of repeated volumes is shown.").tag(sync=True)

    _bundle = t.Unicode().tag(sync=True)
    _scene = t.Unicode().tag(sync=True)
    _title = t.Unicode().tag(sync=True)
    _note = t.Unicode().tag(sync=True)
    _layout = t.Unicode("mpr").tag(sync=True)
    _choices: Any = t.List(t.Unicode()).tag(sync=True)
    _choice = t.Int(0).tag(sync=True)
    _modality = t.Unicode().tag(sync=True)
    _units = t.Unicode().tag(sync=True)
    _is_colour = t.Bool().tag(sync=True)
    _measures = t.Bool().tag(sync=True)
    _stacks: Any = t.List(t.Dict()).tag(sync=True)
    _repeats: Any = t.List(t.Unicode()).tag(sync=True)
    _presets: Any = t.List(t.Dict()).tag(sync=True)
    _colormaps: Any = t.List(t.Dict()).tag(sync=True)
    _rate = t.Float(10.0).tag(sync=True)
    _window = t.List(t.Float(), minlen=2, maxlen=2, default_value=[0.0, 1.0]).tag(sync=True)
    _inverted = t.Bool().tag(sync=True)
    _starts_inverted = t.Bool().tag(sync=True)
    _slices = t.Dict(value_trait=t.Int(), key_trait=t.Unicode()).tag(sync=True)
    _marks: t.List[Any] = t.List(t.Dict()).tag(sync=True)
    _can_save = t.Bool().tag(sync=True)

    def __init__(
        self,
        target: Any,
        *,
        window: Window | str | None = None,
        layout: str | None = None,
        spacing: tuple[float, float, float] | None = None,
        save: "Callable[[Sequence[Measurement]], object] | None" = None,
        known: "Callable[[str], Sequence[Measurement]] | None" = None,
    ) -> None:
        self._offers = choices_of(target, spacing=spacing)
        at, self._shown = _first_that_opens(self._offers)
        self._lengths = Marks(self._shown)
        self._save, self._known = save, known
        self._saving = threading.Lock()
        self._listeners: list[Callable[[Measurement], object]] = []
        if layout is not None and layout not in LAYOUTS:
            raise InvalidInputError(f"no layout {layout!r}: pass one of {', '.join(LAYOUTS)}")
        # Before the comm is opened, for it may refuse.
        self._offered = self._windows(self._shown)
        chosen = as_window(window if window is not None else next(iter(self._offered)), self._offered)
        super().__init__(_bundle=_bundle.fingerprint(), _can_save=save is not None)
        _keep_to_subshell(self.comm)
        self._choices = [offer.label for offer in self._offers if offer.label]
        self._present(at, self._shown, chosen)
        self._layout = layout or ("mpr" if len(self._shown.stacks) > 1 else "stack")
        self.on_msg(lambda _, content, buffers: self._on_message(content))

    def __repr__(self) -> str:
        count = len(self._marks)
        return f"<Viewer {self._title}, {count} {'mark' if count == 1 else 'marks'}>"

    def on_measure(self, function: "Callable[[Measurement], object]") -> None:
        """Call a function with each measurement that a person draws or changes here."""
        self._listeners.append(function)

    def add(self, measurement: "Measurement") -> None:
        """Show a measurement made elsewhere, as a draft.

        Raises
        ------
        InvalidInputError
            It was made in another Frame of Reference.
        """
        self._lengths.add(measurement)
        self._tell_marks()

    def save(self) -> object:
        """Save the drafts; returns what the archive says about them, None where there was none.

        Raises
        ------
        UnsupportedError
            Where the viewer was opened without an archive.
        """
        if self._save is None:
            raise UnsupportedError(
                "this viewer was opened without an archive; use pacs.ingest(viewer.annotations), or series.view()"
            )
        with self._saving:
            drafts = self._lengths.drafts()
            if not drafts:
                return None
            report = self._save([draft.measurement for draft in drafts])
            self._lengths.mark_saved(drafts)
            self._tell_marks()
        return report

    def screenshot(self, *, height: int = 512) -> "Image":
        """Draw the planes as they are shown now, in the kernel.

        Parameters
        ----------
        height
            Picture elements of the tallest plane.

        Returns
        -------
        image
            RGB; planes to one scale in mm, with window, marks, orientation letters and a scale bar. Zoom, pan, turns
            and flips of the cell are not applied.
        """
        return self._draw([self._panel(name) for name in self._visible()], height)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The live widget, and what a saved notebook keeps; a plane that is still being read is left out of it."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        voxels, names = self._shown.voxels, self._visible()
        waits = [voxels.ready(self._planes[name], self.volume) for name in names]
        wait([pending for pending in waits if pending is not None], timeout=SAVED_PICTURE_WAIT_S)
        panels = [self._panel(name, only_ready=True) for name in names]
        data, metadata = bundle
        kept = saved_as(partial(self._draw, panels), self._describe(panels), list(self._lengths))
        return {**data, **kept}, metadata

    # -- what is shown -------------------------------------------------------------------------------------------------

    @property
    def _planes(self) -> dict[str, Any]:
        return self._shown.stacks

    def _present(self, choice: int, scene: Scene, window: Window) -> None:
        """Show a scene, from its middle, by one of the windows that are offered."""
        self._shown, self._lengths = scene, Marks(scene)
        self._server = PlaneServer(scene.voxels, scene.stacks, reply=self.send, fail=self._fail)
        for one in self._saved_before():
            self._lengths.add(one, saved=True)
        with self.hold_sync():
            self._title, self._note, self._modality = _title(scene), scene.note, scene.modality
            self._units, self._is_colour, self._measures = scene.units, scene.voxels.is_colour, scene.is_measurable
            self._stacks = [as_state(stack) for stack in scene.stacks.values()]
            self._repeats, self._rate = list(scene.repeats), scene.rate
            self._presets = [Preset(name=name, center=w.center, width=w.width) for name, w in self._offered.items()]
            self._colormaps = [ColourMap(name=n, colours=_colours.steps(n).ravel().tolist()) for n in _colours.NAMES]
            self._inverted = self._starts_inverted = scene.is_inverted
            self.plane = next(iter(scene.stacks))
            self.volume, self.zoom = 0, 1.0
            self._slices = {name: stack.shape[0] // 2 for name, stack in scene.stacks.items()}
            self._window = [window.center, window.width]
            self._tell_marks()
            self._choice, self._scene = choice, uuid4().hex

    def _saved_before(self) -> "list[Measurement]":
        uid = self._shown.attrs.get("SeriesInstanceUID")
        if self._known is None or not uid:
            return []
        ours = self._shown.frame_of_reference_uid
        return [one for one in self._known(str(uid)) if one.frame_of_reference_uid == ours]

    def _windows(self, scene: Scene) -> dict[str, Window]:
        return {"auto": Window(127.5, 255)} if scene.voxels.is_colour else presets(scene.modality, scene.sample())

    def _visible(self) -> list[str]:
        return list(self._planes) if self._layout == "mpr" else [self.plane]

    def _panel(self, name: str, *, only_ready: bool = False) -> Panel:
        index, volume = self._slices[name], self.volume
        here = [d for d in self._lengths if (d.plane, d.index, d.volume) == (name, index, volume)]
        return panel_of(self._shown.voxels, self._planes[name], index, volume, here, only_ready=only_ready)

    def _describe(self, panels: Sequence[Panel]) -> str:
        """Tell in words what a picture shows."""
        told = [f"{panel.stack.name} plane {panel.index + 1} of {panel.stack.shape[0]}" for panel in panels]
        return f"{self._title}: {', '.join(told)}; window center {self.window.center:g}, width {self.window.width:g}"

    def _draw(self, panels: list[Panel], height: int) -> "Image":
        return draw(panels, self.window, inverted=self._inverted, colormap=self.colormap, height=height)

    # -- the twin in Python --------------------------------------------------------------------------------------------

    @t.validate("window")
    def _as_window(self, proposal: Any) -> Window:
        return as_window(proposal["value"], self._offered)

    @t.observe("window")
    def _send_window(self, change: Any) -> None:
        self._window = [change["new"].center, change["new"].width]

    @t.observe("_window")
    def _read_window(self, change: Any) -> None:
        self.window = Window(*change["new"])

    @t.validate("position_lps")
    def _as_position(self, proposal: Any) -> tuple[float, float, float]:
        slices = slices_at(self._shown, proposal["value"])
        return meeting_point(self._shown, slices)

    @t.observe("position_lps")
    def _send_position(self, change: Any) -> None:
        self._slices = slices_at(self._shown, change["new"])

    @t.observe("_slices")
    def _read_position(self, change: Any) -> None:
        self.position_lps = meeting_point(self._shown, change["new"])

    @t.validate("annotations")
    def _as_annotations(self, proposal: Any) -> "list[Measurement]":
        if list(proposal["value"]) != self._measured():
            self._lengths.replace_drafts(proposal["value"])
            self._marks = self._lengths.as_state()
        return self._measured()

    @t.validate("plane", "tool", "_layout", "colormap", "zoom", "volume")
    def _one_of_these(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "colormap":
            return _colours.as_colormap(value)
        if name == "zoom":
            return min(max(value, 0.1), LARGEST_ZOOM)
        count = max(len(self._shown.repeats), 1)
        offered = {"plane": tuple(self._planes), "tool": TOOLS, "_layout": LAYOUTS, "volume": range(count)}[name]
        if value not in offered:
            told = f"0 to {count - 1}" if name == "volume" else ", ".join(map(str, offered))
            raise InvalidInputError(f"no {name} {value!r}: set one of {told}")
        return value

    def _measured(self) -> "list[Measurement]":
        return [drawn.measurement for drawn in self._lengths]

    def _tell_marks(self) -> None:
        self.annotations = self._measured()
        self._marks = self._lengths.as_state()

    # -- what the browser says -----------------------------------------------------------------------------------------

    def _on_message(self, content: object) -> None:
        request_id = content.get("id") if isinstance(content, dict) else None
        try:
            self._answer(as_request(content))
        except Exception as error:  # told in the cell, whatever it is
            self._fail(request_id if isinstance(request_id, str) else "", error)

    def _answer(self, request: Request) -> None:
        match request["kind"]:
            case "bundle":
                script = memoryview(_bundle.compressed())
                self.send(BundleReply(kind="bundle", request=request["id"]), [script])
            case "plane":
                self._server.ask(request)
            case "cancel":
                self._server.cancel(request["id"])
            case "choose":
                self._choose(request["choice"])
            case "save":
                count = len(self._lengths.drafts())
                self.save()
                self.send(SaveReply(kind="save", request=request["id"], saved=count))
            case _:
                self._change_marks(request)

    def _choose(self, choice: int) -> None:
        if not 0 <= choice < len(self._offers):
            raise InvalidInputError(f"there is no choice {choice}")
        if self._lengths.drafts():
            raise InvalidInputError("there are unsaved marks here: save or remove them before another series is shown")
        scene = self._offers[choice].open()
        self._offered = self._windows(scene)
        self._present(choice, scene, next(iter(self._offered.values())))

    def _change_marks(self, request: Request) -> None:
        """Change a mark; the list goes back also after a refusal, so that the browser draws what is true."""
        made: Drawn | None = None
        try:
            match request["kind"]:
                case "mark":
                    made = self._lengths.put(request)
                case "label":
                    self._lengths.rename(request["id"], request["label"])
                case "unmark":
                    self._lengths.remove(request["id"])
                case "undo":
                    self._lengths.undo()
                case "redo":
                    self._lengths.redo()
        finally:
            self._tell_marks()
            self.send_state("_marks")
        if made is not None:
            for listener in self._listeners:
                listener(made.measurement)

    def _fail(self, request_id: str, error: Exception) -> None:
        """Tell the reader in one sentence; other people's errors by their kind only, for they may name a path."""
        if isinstance(error, ResearchPacsError):
            message = str(error)
        else:
            _log.error("the viewer could not answer", exc_info=error)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "see the kernel's log"
            message = f"{type(error).__name__}: {reason}"
        self.send(ErrorReply(kind="error", request=request_id, message=message))


def _first_that_opens(offers: Sequence[Choice]) -> tuple[int, Scene]:
    for at, offer in enumerate(offers):
        try:
            return at, offer.open()
        except ResearchPacsError:
            if at == len(offers) - 1:
                raise
    raise InvalidInputError("there is nothing to view")


def _keep_to_subshell(comm: Any) -> None:
    """Have the browser's messages handled in the subshell it names, so that planes come while a cell runs.

    ipykernel 7.4 sends them to the thread from which the comm last spoke instead; that is the one the cell keeps busy.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, named: named


def _title(scene: Scene) -> str:
    """Describe the volume without a word from its free texts, which may name a person."""
    z, y, x = scene.shape
    if not scene.is_measurable:
        size = f"{x} x {y}" + (f", {z} frames" if z > 1 else "")
        return " · ".join(part for part in (scene.modality, size) if part)
    voxel = " x ".join(f"{size:.2f}" for size in reversed(np.linalg.norm(scene.affine[:3, :3], axis=0)))
    times = f"{len(scene.repeats)} x " if scene.repeats else ""
    return " · ".join(part for part in (scene.modality, f"{times}{x} x {y} x {z}", f"{voxel} mm") if part)
