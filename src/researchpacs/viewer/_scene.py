"""What a viewer can show, whatever it is given: an array of values and the planes that are pictures of it."""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from researchpacs.errors import GeometryError, InvalidInputError, NotFoundError, ResearchPacsError
from researchpacs.viewer._planes import PlaneStack, array_stacks, plane_stacks
from researchpacs.viewer._voxels import Voxels
from researchpacs.volume import frame_of

if TYPE_CHECKING:
    from researchpacs.model import SeriesSource

__all__ = ["Choice", "Scene", "as_spacing", "choices_of", "scene_of"]

_log = logging.getLogger(__name__)

AXES = ("z", "y", "x")
FRAMES = ("frame", "row", "column")
WITHOUT_IMAGES = (
    "SR",
    "KO",
    "PR",
    "SEG",
    "RTSTRUCT",
    "RTPLAN",
    "RTRECORD",
    "REG",
    "FID",
    "RWV",
    "DOC",
    "PLAN",
    "AU",
    "ECG",
)
"""Modalities of series whose objects are looked at on others' images, or are none."""


@dataclass(frozen=True)
class Scene:
    """Values and their planes."""

    voxels: Voxels
    stacks: dict[str, PlaneStack]
    """By name; the first is the one that is read frame by frame."""
    affine: np.ndarray
    """(4, 4): voxel index (z, y, x, 1) to mm; LPS where the planes are oriented."""
    shape: tuple[int, int, int]
    attrs: dict[Hashable, Any] = field(default_factory=dict)
    frame_of_reference_uid: str = ""
    repeats: tuple[str, ...] = ()
    """What tells the volumes apart, in words: as many as there are; empty where there is one."""
    note: str = ""
    """What a reader has to know of the geometry."""
    rate: float = 10.0
    """Frames a second that are played."""

    @property
    def modality(self) -> str:
        """Modality (0008,0060), or nothing."""
        return str(self.attrs.get("Modality", ""))

    @property
    def units(self) -> str:
        """Unit of the values, or nothing."""
        return str(self.attrs.get("units", ""))

    @property
    def is_inverted(self) -> bool:
        """Whether the lowest value is white: of MONOCHROME1 (PS3.3 C.7.6.3.1.2), and of PET as it is looked at."""
        inverted = self.modality == "PT" or self.attrs.get("PhotometricInterpretation") == "MONOCHROME1"
        return inverted and not self.voxels.is_colour

    def sample(self) -> np.ndarray:
        """Values that stand for all: a middle plane that can be read without the others; none if none can be read."""
        stack = min(self.stacks.values(), key=lambda one: one.axes[0])
        for index in dict.fromkeys((stack.shape[0] // 2, 0, stack.shape[0] - 1)):
            try:
                return self.voxels.values(stack, index)
            except (ResearchPacsError, OSError) as error:
                _log.warning("plane %d tells no window: %s", index, type(error).__name__)
        return np.zeros(0)

    @property
    def padding(self) -> tuple[float, float] | None:
        """Lowest and highest of the values that are none."""
        told = self.attrs.get("padding")
        return (float(told[0]), float(told[1])) if isinstance(told, tuple | list) and len(told) == 2 else None

    @property
    def is_measurable(self) -> bool:
        """Whether a distance on its planes is one in mm."""
        return all(stack.calibrated for stack in self.stacks.values())


@dataclass(frozen=True)
class Choice:
    """One of several things that a viewer can show, opened when it is chosen."""

    label: str
    """Without a word of free text, which may name a person."""
    open: Callable[[], Scene]


def choices_of(target: Any, *, spacing: tuple[float, float, float] | None = None) -> list[Choice]:
    """Tell what can be shown of a target: of a study its series of images, of a series its volumes, else the one thing.

    Raises
    ------
    NotFoundError
        A study without series of images.
    GeometryError, InvalidInputError
        As `scene_of`.
    """
    if _is_series(target):
        return _of_series(target)
    if isinstance(getattr(target, "series", None), list):
        shown = [one for one in target.series if one.Modality not in WITHOUT_IMAGES]
        if not shown:
            raise NotFoundError("the study has no series of images; search for another")
        return [Choice(_label(one), partial(_first_of_series, one)) for one in shown]
    scene = scene_of(target, spacing=spacing)
    return [Choice("", lambda: scene)]


def scene_of(target: Any, *, spacing: tuple[float, float, float] | None = None) -> Scene:
    """Make a scene of an array, an image or a series.

    Parameters
    ----------
    target
        A DataArray with dims (z, y, x) and a geometry, or (frame, row, column); either may have ``rgb`` behind, and the
        first other dims before. A NumPy array of two or three dims, of bytes also with one more of length 3 for colour.
        A SimpleITK image.
    spacing
        Of a NumPy array: mm along (z, y, x).

    Raises
    ------
    GeometryError
        A DataArray that has lost its geometry.
    InvalidInputError
        Anything else.
    """
    if spacing is not None and not isinstance(target, np.ndarray):
        raise InvalidInputError(f"a {type(target).__name__} has its own spacing; spacing= is for NumPy arrays")
    if isinstance(target, xr.DataArray):
        return _of_frames(target) if set(FRAMES) <= set(target.dims) else _of_volume(target)
    if isinstance(target, np.ndarray):
        return _of_array(target, spacing)
    if type(target).__module__.partition(".")[0] == "SimpleITK":
        return _of_image(target)
    raise InvalidInputError(
        f"cannot view a {type(target).__name__}: pass a series, a study, a volume of open_volume, frames of "
        "open_frames, a NumPy array, a SimpleITK image or a path"
    )


def as_spacing(spacing: object) -> tuple[float, float, float] | None:
    """Parse mm along (z, y, x); one number is that of all three.

    Raises
    ------
    InvalidInputError
        It is none.
    """
    if spacing is None:
        return None
    try:
        numbers = [float(value) for value in np.broadcast_to(np.asarray(spacing, dtype=float), (3,))]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != 3 or not all(np.isfinite(value) and value > 0 for value in numbers):
        raise InvalidInputError(f"spacing={spacing!r}: expected mm along (z, y, x), all above zero")
    return numbers[0], numbers[1], numbers[2]


def _of_volume(vol: xr.DataArray) -> Scene:
    is_colour = "rgb" in vol.dims
    leading = [name for name in vol.dims if name not in (*AXES, "rgb")]
    if not set(AXES) <= set(vol.dims):
        raise InvalidInputError(
            f"a view needs the dims z, y, x or frame, row, column, not {', '.join(map(str, vol.dims))}; keep a plane's "
            "axis by selecting it as a list, such as vol.isel(z=[5])"
        )
    vol = vol.transpose(*leading, *AXES, *(["rgb"] if is_colour else []))
    affine = _affine_of(vol)
    shape = (vol.sizes["z"], vol.sizes["y"], vol.sizes["x"])
    stacks = plane_stacks(affine, shape)
    missing = {"axial", "coronal", "sagittal"} - {stack.name for stack in stacks} if min(shape) > 1 else set()
    note = f"slices lean: no {' and '.join(sorted(missing))} planes" if missing else ""
    return Scene(
        voxels=Voxels(vol.data, is_colour=is_colour),
        stacks={stack.name: stack for stack in stacks},
        affine=affine,
        shape=shape,
        attrs=dict(vol.attrs),
        frame_of_reference_uid=frame_of(vol).uid,
        repeats=_repeats(vol, leading),
        note=note,
    )


def _of_frames(frames: xr.DataArray, note: str = "") -> Scene:
    is_colour = "rgb" in frames.dims
    others = [str(name) for name in frames.dims if name not in (*FRAMES, "rgb")]
    if others:
        raise InvalidInputError(f"frames have the dims frame, row, column[, rgb]; choose one of {', '.join(others)}")
    frames = frames.transpose(*FRAMES, *(["rgb"] if is_colour else []))
    return _placeless(frames.data, is_colour, None, dict(frames.attrs), note)


def _of_array(values: np.ndarray, spacing: tuple[float, float, float] | None) -> Scene:
    if values.dtype.kind not in "biuf":
        raise InvalidInputError(f"cannot view an array of {values.dtype}; expected real numbers")
    is_colour = values.ndim in (3, 4) and values.shape[-1] == 3 and values.dtype == np.uint8
    planes = values.ndim - is_colour
    if planes not in (2, 3) or not values.size:
        raise InvalidInputError(f"cannot view an array of shape {values.shape}; expected (z, y, x) or (row, column)")
    return _placeless(values[np.newaxis] if planes == 2 else values, is_colour, spacing, {}, "")


def _of_image(image: Any) -> Scene:
    """Of a SimpleITK image, whose points are LPS mm as ours are."""
    import SimpleITK

    values = SimpleITK.GetArrayViewFromImage(image)
    if image.GetDimension() not in (2, 3) or image.GetNumberOfComponentsPerPixel() not in (1, 3):
        raise InvalidInputError(
            f"cannot view an image of {image.GetDimension()} dimensions and {image.GetNumberOfComponentsPerPixel()} "
            "values per pixel; expected two or three dimensions, one value or three"
        )
    is_colour = image.GetNumberOfComponentsPerPixel() == 3
    if image.GetDimension() == 2:
        column, row = image.GetSpacing()
        return _placeless(values[np.newaxis], is_colour, (1.0, row, column), {}, "")
    shape = (values.shape[0], values.shape[1], values.shape[2])
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3))[:, ::-1] * image.GetSpacing()[::-1]
    affine[:3, 3] = image.GetOrigin()
    stacks = plane_stacks(affine, shape)
    # A copy: the view does not keep the image alive.
    return Scene(Voxels(np.array(values), is_colour=is_colour), {one.name: one for one in stacks}, affine, shape)


def _is_series(target: Any) -> bool:
    return not isinstance(target, xr.DataArray) and all(hasattr(target, name) for name in ("uid", "frames", "locate"))


def _of_series(series: "SeriesSource") -> list[Choice]:
    from researchpacs.volume import open_frames, open_volume, open_volumes

    try:
        scene = _of_volume(open_volume(series))
    except GeometryError as refused:
        if "multiple_stacks" in refused.reasons and (parts := _volumes(open_volumes, series)):
            return [
                Choice(f"part {n + 1} of {len(parts)} · {part.sizes['z']} slices", partial(_of_volume, part))
                for n, part in enumerate(parts)
            ]
        reasons = ", ".join(refused.reasons).replace("_", " ")
        note = f"frames, no volume: {reasons}" if reasons else "frames, no volume"
        scene = _of_frames(open_frames(series), note=note)
    played = replace(scene, rate=_rate(series))
    return [Choice("", lambda: played)]


def _rate(series: Any) -> float:
    """Frames a second as the images recommend (PS3.3 C.7.6.5), else ten."""
    times = [("RecommendedDisplayFrameRate", 1.0), ("CineRate", 1.0), ("FrameTime", None)]
    for keyword, factor in times:
        value = getattr(series, keyword, None)
        if isinstance(value, int | float) and value > 0:
            return float(min(value * factor if factor else 1000 / value, 60.0))
    return 10.0


def _volumes(open_volumes: Callable[[Any], list[xr.DataArray]], series: "SeriesSource") -> list[xr.DataArray]:
    try:
        return open_volumes(series)
    except GeometryError:
        return []


def _first_of_series(series: Any) -> Scene:
    return _of_series(series)[0].open()


def _label(series: Any) -> str:
    number = series.SeriesNumber
    return " ".join(
        part
        for part in (str(series.Modality or ""), f"{number}" if number is not None else "", "·", _count(series))
        if part
    )


def _count(series: Any) -> str:
    count = series.instance_count
    return f"{count} {'image' if count == 1 else 'images'}"


def _placeless(
    data: Any, is_colour: bool, spacing: tuple[float, float, float] | None, attrs: dict[Hashable, Any], note: str
) -> Scene:
    shape = (int(data.shape[0]), int(data.shape[1]), int(data.shape[2]))
    stacks = array_stacks(shape, spacing)
    z, y, x = spacing or (1.0, 1.0, 1.0)
    affine = np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1.0]])
    return Scene(
        Voxels(data, is_colour=is_colour), {stack.name: stack for stack in stacks}, affine, shape, attrs, note=note
    )


def _affine_of(vol: xr.DataArray) -> np.ndarray:
    """(4, 4): voxel index to LPS mm; of one plane without a spacing the next one would be a millimetre away."""
    if vol.sizes["z"] == 1 and getattr(vol.xindexes.get("z"), "step", None) is None:
        along = [vol[axis].values for axis in AXES]
        steps = [1.0, *(abs(mm[-1] - mm[0]) / max(len(mm) - 1, 1) for mm in along[1:])]
        affine = np.eye(4)
        affine[:3, :3] = vol.dicom.direction * steps
        affine[:3, 3] = frame_of(vol).matrix @ [mm[0] for mm in along]
        return affine
    return np.asarray(vol.dicom.affine_lps, dtype=float)


def _repeats(vol: xr.DataArray, leading: Sequence[Hashable]) -> tuple[str, ...]:
    """Each combination of the leading dims in words, such as ``"time 2.5 s"``."""
    return tuple(", ".join(words) for words in product(*(_words(vol, name) for name in leading))) if leading else ()


def _words(vol: xr.DataArray, name: Hashable) -> list[str]:
    label = str(name).replace("_", " ")
    if name not in vol.coords:
        return [f"{label} {n + 1}" for n in range(vol.sizes[name])]
    unit = str(vol[name].attrs.get("units", ""))
    # Only numbers are told: a text may hold anything.
    numbers = vol[name].values if vol[name].dtype.kind in "iuf" else range(1, vol.sizes[name] + 1)
    return [f"{label} {value:g} {unit}".strip() for value in numbers]
