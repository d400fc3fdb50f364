"""The surface at one value of a volume, by vtk's flying edges."""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import xarray as xr
from dask.system import CPU_COUNT
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError, MissingExtraError
from researchpacs.reconstruct._surface_filters import largest_part, refined
from researchpacs.reconstruct.mesh import Mesh
from researchpacs.volume import Dicom
from researchpacs.volume.arguments import as_number
from researchpacs.volume.frame import AXES

__all__ = ["surface"]


def surface(
    vol: xr.DataArray, *, level: float, smoothing: int = 0, decimation: float = 0.0, largest: bool = False
) -> Mesh:
    """Wrap what is brighter than a value in triangles.

    Parameters
    ----------
    vol
        Dimensions z, y, x.
    level
        In the units of the values, such as 300 HU for bone; 0.5 for a mask. A voxel that has just this value counts as
        inside, NaN as outside.
    smoothing
        Passes of a windowed sinc filter, which takes off steps and keeps the volume; 20 suit a mask.
    decimation
        Share of the triangles to do without, from 0 to below 1, those first that matter least to the shape.
    largest
        Keep the part of the largest area only, without what floats around it or is enclosed in it.

    Returns
    -------
    mesh
        Closed, also where the object meets the border of the volume; normals point out of it, right-handed in LPS.

    Raises
    ------
    InvalidInputError
        No surface lies at this level: it is not a number, or beyond the values of the volume. Smoothing or decimation
        out of their range.
    MissingExtraError
        vtk is not installed.
    GeometryError
        The volume has no affine.
    """
    level = as_number(level, "level")
    if not 0 <= as_number(decimation, "decimation") < 1:
        raise InvalidInputError(f"decimation={decimation!r}: expected the share to do without, from 0 to below 1")
    if isinstance(smoothing, bool) or not isinstance(smoothing, int) or smoothing < 0:
        raise InvalidInputError(f"smoothing={smoothing!r}: expected a number of passes, 0 or more")
    affine = Dicom(vol).affine_lps
    uid = Dicom(vol).frame_of_reference_uid
    values = np.ascontiguousarray(vol.transpose(*AXES).values)
    values = values.astype(_vtk_type(values.dtype), copy=False)
    box, low, high = _extent(values, level)
    if level > high or math.isnan(high):
        raise InvalidInputError(f"no surface at level {level}: the values are from {low:g} to {high:g}")
    points, faces = _flying_edges(_bordered(values[box], low if low < level else level - 1), level)
    if largest:
        points, faces = largest_part(points, faces, affine)
    # The border moved every index by one; vtk counts x, y, z.
    origin = affine[:3, 3] + affine[:3, :3] @ np.array([one.start - 1.0 for one in box])
    placed = _placed(points, affine[:3, [2, 1, 0]], origin)
    # vtk orients faces for right-handed (x, y, z) axes; (z, y, x) order has the other sign.
    if np.linalg.det(affine[:3, :3]) > 0:
        faces = _turned(faces)
    if smoothing or decimation:
        placed, faces = refined(placed, faces, smoothing=smoothing, decimation=float(decimation))
    return Mesh(placed, faces.astype(np.int64, copy=False), uid)


def _vtk_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type to hand to vtk, which reads bytes as native and subtracts unsigned integers without a sign."""
    if dtype == np.bool_:
        return np.dtype(np.uint8)
    return np.dtype(np.float64) if dtype in (np.uint32, np.uint64) else dtype.newbyteorder("=")


def _extent(values: NDArray[Any], level: float) -> tuple[tuple[slice, slice, slice], float, float]:
    """The box of what is not below the level, and the lowest and highest value; one plane at a time, on all threads."""
    is_real = values.dtype.kind == "f"
    most, least = (np.fmax, np.fmin) if is_real else (np.maximum, np.minimum)

    def look(plane: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], Any]:
        rows, columns = most.reduce(plane, axis=1), most.reduce(plane, axis=0)
        return rows, columns, least.reduce(plane, axis=None)

    with ThreadPoolExecutor(CPU_COUNT) as pool:
        found = list(pool.map(look, values))
    rows, columns = np.array([one[0] for one in found]), np.array([one[1] for one in found])
    low = float(least.reduce(np.array([one[2] for one in found])))
    marks = (most.reduce(rows, axis=1), most.reduce(rows, axis=0), most.reduce(columns, axis=0))
    box = []
    for mark in marks:
        inside = np.flatnonzero(mark >= level)
        # One voxel more on each side is where the surface runs; what lies beyond is all below the level.
        first, last = (max(0, inside[0] - 1), inside[-1] + 2) if len(inside) else (0, len(mark))
        box.append(slice(int(first), int(min(last, len(mark)))))
    return (box[0], box[1], box[2]), low, float(most.reduce(marks[0]))


def _bordered(values: NDArray[Any], darker: float) -> NDArray[Any]:
    """Put one voxel of something darker around the volume and in place of NaN, so that every surface closes."""
    if values.dtype.kind in "iu" and darker < np.iinfo(values.dtype).min:
        values = values.astype(np.float32)
    bordered = np.empty([n + 2 for n in values.shape], values.dtype)
    for axis in range(3):
        ends: tuple[Any, ...] = (slice(None),) * axis
        bordered[(*ends, 0)] = bordered[(*ends, -1)] = darker
    inner = bordered[1:-1, 1:-1, 1:-1]

    def copy(k: int) -> None:
        inner[k] = values[k]
        if values.dtype.kind == "f":
            np.copyto(inner[k], darker, where=np.isnan(values[k]))

    with ThreadPoolExecutor(CPU_COUNT) as pool:
        list(pool.map(copy, range(len(values))))
    return bordered


def _flying_edges(values: NDArray[Any], level: float) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Give points (n, 3) in (x, y, z) index and faces (m, 3)."""
    try:
        from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
        from vtkmodules.vtkCommonDataModel import vtkImageData
        from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D
    except ImportError as error:
        raise MissingExtraError("a surface", "mesh") from error
    image = vtkImageData()
    image.SetDimensions(*values.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel()))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, level)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.ComputeScalarsOff()
    edges.Update()
    found = edges.GetOutput()
    if not found.GetNumberOfPolys():
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)
    points = vtk_to_numpy(found.GetPoints().GetData())
    faces = vtk_to_numpy(found.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return points, faces


def _placed(points: NDArray[Any], axes: NDArray[np.float64], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Indices (x, y, z) to LPS mm, in double precision and in pieces that stay in the processor's cache."""
    placed = np.empty(points.shape, np.float64)
    for start in range(0, len(points), 1 << 15):
        part = slice(start, start + (1 << 15))
        np.matmul(points[part].astype(np.float64), axes.T, out=placed[part])
        placed[part] += origin
    return placed


def _turned(faces: NDArray[Any]) -> NDArray[Any]:
    """Turn faces around where they are: they may take more memory than all else."""
    for start in range(0, len(faces), 1 << 16):
        part = faces[start : start + (1 << 16)]
        part[:, [0, 2]] = part[:, [2, 0]]
    return faces
