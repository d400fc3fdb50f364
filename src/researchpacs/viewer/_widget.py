"""The viewer widget: small synced state, everything large over messages.

Traits that start with an underscore are shared with the browser (`ViewerState` in `extensions/protocol`). They hold the
geometry of the planes, the view and the lengths; never pixels, never the bundle, never a patient's name.
"""

import base64
import io
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets as t
import xarray as xr

from researchpacs.errors import InvalidInputError, ResearchPacsError, UnsupportedError
from researchpacs.viewer import _bundle
from researchpacs.viewer._marks import Marks
from researchpacs.viewer._messages import (
    BundleReply,
    ErrorReply,
    PlaneGeometry,
    Preset,
    Request,
    SaveReply,
    as_request,
)
from researchpacs.viewer._picture import Line, Panel, draw
from researchpacs.viewer._plane_server import PlaneServer
from researchpacs.viewer._planes import PlaneStack, letters, plane_stacks
from researchpacs.viewer._voxels import Voxels
from researchpacs.viewer._window import Window, as_window, presets
from researchpacs.volume import frame_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from researchpacs.annotation import Measurement
    from researchpacs.model import SeriesSource

__all__ = ["Viewer"]

SAVED_PICTURE_WAIT_S = 1.0
"""How long the display of a viewer waits for a lazy volume, to leave a whole picture in a saved notebook."""

_log = logging.getLogger(__name__)


class Viewer(anywidget.AnyWidget):
    """Axial and coronal planes of a volume, to look at and to measure; made by `researchpacs.view`."""

    _esm = Path(__file__).parent / "boot.js"

    _bundle = t.Unicode().tag(sync=True)
    _title = t.Unicode().tag(sync=True)
    _modality = t.Unicode().tag(sync=True)
    _stacks = t.List(t.Dict()).tag(sync=True)
    _presets = t.List(t.Dict()).tag(sync=True)
    _window = t.List(t.Float(), minlen=2, maxlen=2, default_value=[0.0, 1.0]).tag(sync=True)
    _inverted = t.Bool().tag(sync=True)
    _slices = t.Dict(value_trait=t.Int(), key_trait=t.Unicode()).tag(sync=True)
    _marks: t.List[Any] = t.List(t.Dict()).tag(sync=True)
    _can_save = t.Bool().tag(sync=True)

    def __init__(
        self,
        target: "xr.DataArray | SeriesSource",
        *,
        window: Window | str | None = None,
        save: "Callable[[Sequence[Measurement]], object] | None" = None,
    ) -> None:
        self._vol = _as_volume(target)
        self._affine = _affine_of(self._vol)
        z, y, x = self._vol.shape
        self._planes = {stack.name: stack for stack in plane_stacks(self._affine, (z, y, x))}
        self._voxels = Voxels(self._vol)
        self._lengths = Marks(self._vol, self._planes)
        self._save = save
        self._saving = threading.Lock()
        self._server = PlaneServer(self._voxels, self._planes, reply=self.send, fail=self._fail)
        modality = str(self._vol.attrs.get("Modality", ""))
        self._offered = presets(modality, self._middle())
        chosen = as_window(window if window is not None else next(iter(self._offered)), self._offered)
        super().__init__(
            _bundle=_bundle.fingerprint(),
            _title=_title(modality, self._vol.shape, self._affine),
            _modality=modality,
            _stacks=[_as_state(stack) for stack in self._planes.values()],
            _presets=[Preset(name=name, center=w.center, width=w.width) for name, w in self._offered.items()],
            _window=[chosen.center, chosen.width],
            # Of MONOCHROME1 the lowest value is white (PS3.3 C.7.6.3.1.2); PET is looked at dark on white.
            _inverted=modality == "PT" or self._vol.attrs.get("PhotometricInterpretation") == "MONOCHROME1",
            _slices={name: stack.shape[0] // 2 for name, stack in self._planes.items()},
            _marks=[],
            _can_save=save is not None,
        )
        _keep_to_subshell(self.comm)
        self.on_msg(lambda _, content, buffers: self._on_message(content))

    def __repr__(self) -> str:
        return f"<Viewer {self._title}, {len(self._marks)} lengths>"

    @property
    def annotations(self) -> "list[Measurement]":
        """The lengths drawn here, drafts and saved ones, in the order they were begun."""
        return [drawn.measurement for drawn in self._lengths]

    @property
    def window(self) -> Window:
        """The window of both planes; set it to a `Window` or to the name of a preset."""
        center, width = self._window
        return Window(center, width)

    @window.setter
    def window(self, value: Window | str) -> None:
        chosen = as_window(value, self._offered)
        self._window = [chosen.center, chosen.width]

    @property
    def position_lps(self) -> tuple[float, float, float]:
        """LPS mm where the planes shown meet, in the middle of the third direction; setting it moves the planes."""
        index = (np.asarray(self._vol.shape, dtype=float) - 1) / 2
        for name, stack in self._planes.items():
            index[stack.axes[0]] = self._slices[name]
        x, y, z = (float(value) for value in (self._affine @ [*index, 1.0])[:3])
        return x, y, z

    @position_lps.setter
    def position_lps(self, point: Sequence[float]) -> None:
        slices = {}
        for name, stack in self._planes.items():
            nearest = round(stack.to_pixel(point)[0])
            if not 0 <= nearest < stack.shape[0]:
                count = stack.shape[0]
                raise InvalidInputError(f"the point lies outside of the volume: {name} plane {nearest + 1} of {count}")
            slices[name] = nearest
        self._slices = slices

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
            self._marks = self._lengths.as_state()
        return report

    def screenshot(self, *, height: int = 512) -> "Image":
        """Draw both planes as they are shown now, in the kernel.

        Parameters
        ----------
        height
            Picture elements of the taller plane.

        Returns
        -------
        image
            RGB; planes to one scale in mm, with window, lengths, orientation letters and a scale bar. Zoom and pan of
            the cell are not applied.
        """
        return draw([self._panel(name) for name in self._planes], self.window, inverted=self._inverted, height=height)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The live widget, and for saved notebooks a picture; a plane that is still being read is left out of it."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        waiting = [pending for stack in self._planes.values() if (pending := self._voxels.ready(stack)) is not None]
        wait(waiting, timeout=SAVED_PICTURE_WAIT_S)
        panels = [self._panel(name, only_ready=True) for name in self._planes]
        png = io.BytesIO()
        draw(panels, self.window, inverted=self._inverted, height=400).save(png, "png")
        data, metadata = bundle
        return {**data, "image/png": base64.b64encode(png.getvalue()).decode()}, metadata

    def _panel(self, name: str, *, only_ready: bool = False) -> Panel:
        stack, index = self._planes[name], self._slices[name]
        skip = only_ready and self._voxels.ready(stack) is not None
        lines = [
            Line((points[0], points[1]), f"{drawn.measurement.label} {drawn.measurement.value:.1f} mm")
            for drawn in self._lengths
            if (drawn.plane, drawn.index) == (name, index) and (points := drawn.measurement.points_lps) is not None
        ]
        return Panel(stack, index, None if skip else self._voxels.values(stack, index), lines)

    def _middle(self) -> np.ndarray:
        """The middle plane along the first array axis: it can be read without the others."""
        return np.asarray(self._vol.data[self._vol.shape[0] // 2])

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
            case "save":
                count = len(self._lengths.drafts())
                self.save()
                self.send(SaveReply(kind="save", request=request["id"], saved=count))
            case _:
                self._change_marks(request)

    def _change_marks(self, request: Request) -> None:
        """Change a length; the list goes back also after a refusal, so that the browser draws what is true."""
        try:
            match request["kind"]:
                case "mark":
                    self._lengths.put(request)
                case "label":
                    self._lengths.rename(request["id"], request["label"])
                case "unmark":
                    self._lengths.remove(request["id"])
        finally:
            self._marks = self._lengths.as_state()
            self.send_state("_marks")

    def _fail(self, request_id: str, error: Exception) -> None:
        """Tell the reader in one sentence; other people's errors by their kind only, for they may name a path."""
        if isinstance(error, ResearchPacsError):
            message = str(error)
        else:
            _log.error("the viewer could not answer", exc_info=error)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "see the kernel's log"
            message = f"{type(error).__name__}: {reason}"
        self.send(ErrorReply(kind="error", request=request_id, message=message))


def _keep_to_subshell(comm: Any) -> None:
    """Have the browser's messages handled in the subshell it names, so that planes come while a cell runs.

    ipykernel 7.4 sends them to the thread from which the comm last spoke instead; that is the one the cell keeps busy.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, named: named


def _as_volume(target: "xr.DataArray | SeriesSource") -> xr.DataArray:
    if not isinstance(target, xr.DataArray):
        if not all(hasattr(target, name) for name in ("uid", "frames", "locate")):
            raise InvalidInputError(f"cannot view a {type(target).__name__}: pass a volume of open_volume, or a series")
        from researchpacs.volume import open_volume

        target = open_volume(target)
    if set(target.dims) != {"z", "y", "x"}:
        raise InvalidInputError(
            f"a view needs the dims z, y, x, not {', '.join(map(str, target.dims))}; choose one volume with .isel()"
        )
    return target.transpose("z", "y", "x")


def _affine_of(vol: xr.DataArray) -> np.ndarray:
    """(4, 4): voxel index to LPS mm; of one plane without a spacing the next one would be a millimetre away."""
    if vol.sizes["z"] == 1 and getattr(vol.xindexes.get("z"), "step", None) is None:
        along = [vol[axis].values for axis in ("z", "y", "x")]
        steps = [1.0, *(abs(mm[-1] - mm[0]) / max(len(mm) - 1, 1) for mm in along[1:])]
        affine = np.eye(4)
        affine[:3, :3] = vol.dicom.direction * steps
        affine[:3, 3] = frame_of(vol).matrix @ [mm[0] for mm in along]
        return affine
    return np.asarray(vol.dicom.affine_lps, dtype=float)


def _title(modality: str, shape: tuple[int, ...], affine: np.ndarray) -> str:
    """Describe the volume without a word from its free texts, which may name a person."""
    voxels = " x ".join(str(size) for size in reversed(shape))
    voxel = " x ".join(f"{size:.2f}" for size in reversed(np.linalg.norm(affine[:3, :3], axis=0)))
    return " · ".join(part for part in (modality, voxels, f"{voxel} mm") if part)


def _as_state(stack: PlaneStack) -> PlaneGeometry:
    right, bottom = np.asarray(stack.row_cosines), np.asarray(stack.column_cosines)
    return PlaneGeometry(
        name=stack.name,
        count=stack.shape[0],
        rows=stack.shape[1],
        columns=stack.shape[2],
        row_spacing=stack.spacing[0],
        column_spacing=stack.spacing[1],
        row_cosines=list(stack.row_cosines),
        column_cosines=list(stack.column_cosines),
        origin=list(stack.origin),
        step=list(stack.step),
        axis=stack.axis,
        location=stack.location(0),
        location_step=stack.location(1) - stack.location(0),
        letters=[letters(direction.tolist()) for direction in (-bottom, right, bottom, -right)],
    )
