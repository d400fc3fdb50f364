"""Pictures that move: projections around the patient, and their file."""

import os
import shutil
import subprocess
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from researchpacs.errors import InvalidInputError, UnsupportedError
from researchpacs.reconstruct._reduce import How, as_how, reduced
from researchpacs.reconstruct._sampling import sampled, unseen_of
from researchpacs.reconstruct.grid import Grid, grid_of, require_plain
from researchpacs.reconstruct.reformat import directions_of
from researchpacs.volume import Dicom
from researchpacs.volume.arguments import as_number, as_target

__all__ = ["rotate", "save_movie"]

MOST_FRAMES = 3600


def rotate(
    vol: xr.DataArray,
    *,
    how: How = "max",
    count: int = 36,
    axis: ArrayLike = (0.0, 0.0, 1.0),
    spacing: float | None = None,
    fill: float | None = None,
) -> xr.DataArray:
    """Project a volume from all around, as the frames of a movie.

    Parameters
    ----------
    vol
        Dimensions z, y, x. Padding, and what lies outside, are left out.
    how
        ``"max"`` (MIP), ``"min"`` or ``"mean"``.
    count
        Frames of a whole turn. The first looks from the front (with the default axis), the next ones from ever further
        to the patient's left.
    axis
        (3,) LPS direction that the patient turns around and that is up in the picture, by default to the head.
    spacing
        mm between pixels, and between samples along a ray; by default the middle one of the spacings of `vol`.
    fill
        The value of a pixel where nothing was seen, by default air, -1000, for CT in HU, else 0.

    Returns
    -------
    frames
        Dimensions (angle, row, column): degrees, and mm from the middle; type as `vol`, means float32. Lazy if `vol`
        is. Each is seen from another side, so frames have no affine.

    Raises
    ------
    InvalidInputError
        A number of frames that cannot be, or no direction.
    GeometryError
        The volume has no affine, or other dimensions.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_FRAMES:
        raise InvalidInputError(f"count={count!r}: expected a number of frames from 1 to {MOST_FRAMES}")
    how, outside = as_how(how), unseen_of(vol, fill)
    require_plain(vol)
    step = sorted(Dicom(vol).spacing)[1] if spacing is None else as_number(spacing, "spacing")
    if step <= 0:
        raise InvalidInputError(f"spacing={spacing!r}: expected mm as a positive number")
    front = directions_of(None, _look_of(axis), axis)
    grid = _drum(vol, -front[:, 1], step)
    angles = np.arange(count) * 360.0 / count
    frames = [_frame(vol, grid, front @ _turn(angle), how) for angle in angles.tolist()]
    xp: Any = da if isinstance(frames[0], da.Array) else np
    data = xp.stack(frames)
    data = xp.where(xp.isnan(data), outside, data)
    if how != "mean":
        data = (data.round() if vol.dtype.kind in "biu" else data).astype(vol.dtype)
    rows, columns = (step * (np.arange(n) - (n - 1) / 2) for n in grid.shape[1:])
    attrs = dict(vol.attrs)
    attrs["history"] = (*vol.attrs.get("history", ()), f"projected: {how}, from {count} sides")
    coords = {
        "angle": ("angle", angles, {"units": "degrees"}),
        "row": ("row", rows, {"units": "mm"}),
        "column": ("column", columns, {"units": "mm"}),
    }
    return xr.DataArray(data, dims=("angle", "row", "column"), coords=coords, attrs=attrs, name=vol.name)


def save_movie(
    frames: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    limits: tuple[float, float] | None = None,
    frames_per_second: float = 12.0,
) -> None:
    """Write frames as a movie; one is in memory at a time.

    Parameters
    ----------
    frames
        Three dimensions, the first of which is time, such as `rotate` gives; or uint8 with ``rgb`` behind.
    path
        Ends in ``.gif``, or in ``.mp4`` (H.264), for which the program ffmpeg has to be installed.
    limits
        (low, high): the values shown black and white, by default the smallest and largest.

    Raises
    ------
    InvalidInputError
        No frames, limits that are none, another suffix.
    NotFoundError
        The folder to write into does not exist.
    UnsupportedError
        An MP4 without ffmpeg.
    """
    target = as_target(path)
    suffix = target.suffix.lower()
    if suffix not in (".gif", ".mp4"):
        raise InvalidInputError(f"{suffix or 'no suffix'}: expected a name that ends in .gif or .mp4")
    if as_number(frames_per_second, "frames_per_second") <= 0:
        raise InvalidInputError(f"frames_per_second={frames_per_second!r}: expected a positive number")
    is_colour = frames.dims[-1:] == ("rgb",)
    if frames.ndim != 3 + is_colour or 0 in frames.shape or (is_colour and frames.dtype != np.uint8):
        raise InvalidInputError(f"expected frames (time, row, column), or uint8 with rgb; found {dict(frames.sizes)}")
    low, high = (0.0, 255.0) if is_colour else _limits(frames, limits)
    write = _write_gif if suffix == ".gif" else _write_mp4
    write([_Picture(frames, k, low, high) for k in range(len(frames))], target, float(frames_per_second))


class _Picture:
    """One frame as 8 bits, made when it is asked for."""

    def __init__(self, frames: xr.DataArray, k: int, low: float, high: float) -> None:
        self._frames, self._k, self._limits = frames, k, (low, high)

    def pixels(self) -> NDArray[np.uint8]:
        values = np.asarray(self._frames[self._k].values)
        if values.ndim == 3:
            return values
        low, high = self._limits
        share = np.clip((np.nan_to_num(values.astype(np.float64), nan=low) - low) / (high - low), 0, 1)
        return np.asarray(np.rint(share * 255), np.uint8)


def _write_gif(pictures: list[_Picture], target: Any, rate: float) -> None:
    from PIL import Image

    first, *others = (Image.fromarray(one.pixels()) for one in pictures)
    # GIF counts in hundredths of a second.
    duration = max(20, round(100 / rate) * 10)
    first.save(target, save_all=True, append_images=others, duration=duration, loop=0)


def _write_mp4(pictures: list[_Picture], target: Any, rate: float) -> None:
    program = shutil.which("ffmpeg")
    if program is None:
        raise UnsupportedError("an MP4 needs the program ffmpeg, which is not installed; a name in .gif needs nothing")
    rows, columns, *colours = pictures[0].pixels().shape
    command = [
        program, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24" if colours else "gray",
        "-s", f"{columns}x{rows}", "-r", f"{rate:g}", "-i", "-",
        # Pairs of pixels share colours, so both sides have to be even.
        "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-profile:v", "high", "-pix_fmt", "yuv420p",
        "-movflags", "+faststart", "-f", "mp4", str(target),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:  # noqa: S603
        assert running.stdin is not None
        try:
            for one in pictures:
                running.stdin.write(one.pixels().tobytes())
        except BrokenPipeError:
            pass  # it ended early, and says why
        _, said = running.communicate()
    if running.returncode:
        target.unlink(missing_ok=True)
        raise UnsupportedError(f"ffmpeg could not write the movie: {said.decode(errors='replace').strip()[-200:]}")


def _limits(frames: xr.DataArray, limits: tuple[float, float] | None) -> tuple[float, float]:
    if limits is None:
        low, high = float(frames.min()), float(frames.max())
        return (low, high) if low < high else (low, low + 1)
    try:
        low, high = (as_number(one, "limits") for one in limits)
    except (TypeError, ValueError):
        raise InvalidInputError(f"limits={limits!r}: expected (low, high)") from None
    if low >= high:
        raise InvalidInputError(f"limits={limits!r}: expected (low, high), low below high")
    return low, high


def _look_of(axis: ArrayLike) -> NDArray[np.float64]:
    """Where the first frame looks: to the back, or what of it is perpendicular to the axis."""
    up = np.asarray(axis, np.float64)
    if up.shape != (3,) or not np.isfinite(up).all() or not up.any():
        raise InvalidInputError(f"axis={axis!r}: expected three finite numbers that are not all zero")
    up = up / np.linalg.norm(up)
    back = np.array([0.0, 1.0, 0.0]) if abs(up[1]) < 0.95 else np.array([0.0, 0.0, 1.0])
    return back - (back @ up) * up


def _drum(vol: xr.DataArray, up: NDArray[np.floating[Any]], step: float) -> Grid:
    """Cubes of voxels around the middle that hold the volume however it is turned around an axis.

    Parameters
    ----------
    up
        (3,) the axis, of length one.
    """
    shape = np.array(grid_of(vol).shape)
    middle = Dicom(vol).to_lps((shape - 1) / 2)
    corners = Dicom(vol).to_lps(
        np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in shape], indexing="ij")).reshape(3, -1).T
    )
    along = (corners - middle) @ up
    radius = float(np.linalg.norm(corners - middle - along[:, None] * up, axis=1).max())
    around, high = (max(1, int(np.ceil(2 * mm / step - 1e-6))) for mm in (radius, float(along.max())))
    affine = np.eye(4)
    affine[:3, 3] = middle
    affine[:3, :3] *= step
    return Grid((around, high, around), affine)


def _turn(angle_deg: float) -> NDArray[np.float64]:
    """Of directions (z, y, x) around y, the rows: the onlooker goes to the right of the picture, the patient's left."""
    cosine, sine = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


def _frame(vol: xr.DataArray, drum: Grid, directions: NDArray[np.float64], how: How) -> Any:
    affine = drum.affine_lps.copy()
    step = affine[0, 0]
    affine[:3, :3] = directions * step
    affine[:3, 3] -= affine[:3, :3] @ ((np.array(drum.shape) - 1) / 2)
    return reduced(sampled(vol, Grid(drum.shape, affine), unseen_as_nan=True), -3, how)
