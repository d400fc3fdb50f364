"""The surface at one value of a volume, by vtk's flying edges."""

import math
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from researchpacs.errors import InvalidInputError, MissingExtraError
from researchpacs.reconstruct.mesh import Mesh
from researchpacs.volume import Dicom
from researchpacs.volume.arguments import as_number

__all__ = ["surface"]


def surface(vol: xr.DataArray, *, level: float) -> Mesh:
    """Wrap what is brighter than a value in triangles.

    Parameters
    ----------
    vol
        Dimensions z, y, x.
    level
        In the units of the values, such as 300 HU for bone. A voxel that has just this value counts as inside, NaN as
        outside.

    Returns
    -------
    mesh
        Closed, also where the object meets the border of the volume; normals point out of it, right-handed in LPS.

    Raises
    ------
    InvalidInputError
        No surface lies at this level: it is not a number, or beyond the values of the volume.
    MissingExtraError
        vtk is not installed.
    GeometryError
        The volume has no affine.
    """
    level = as_number(level, "level")
    affine = Dicom(vol).affine_lps
    uid = Dicom(vol).frame_of_reference_uid
    values = np.ascontiguousarray(vol.transpose("z", "y", "x").values)
    values = values.astype(_vtk_type(values.dtype), copy=False)
    low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
    if level > high or math.isnan(high):
        raise InvalidInputError(f"no surface at level {level}: the values are from {low:g} to {high:g}")
    darker = low if low < level else level - 1
    points_xyz, faces = _flying_edges(_bordered(values, darker), level)
    # The border moved every index by one; vtk counts x, y, z.
    points = (points_xyz[:, ::-1] - 1.0) @ affine[:3, :3].T + affine[:3, 3]
    # vtk orients faces for right-handed (x, y, z) axes; (z, y, x) order has the other sign.
    if np.linalg.det(affine[:3, :3]) > 0:
        faces = faces[:, ::-1]
    return Mesh(points, np.ascontiguousarray(faces), uid)


def _vtk_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type to hand to vtk, which reads bytes as native and subtracts unsigned integers without a sign."""
    if dtype == np.bool_:
        return np.dtype(np.uint8)
    return np.dtype(np.float64) if dtype in (np.uint32, np.uint64) else dtype.newbyteorder("=")


def _bordered(values: NDArray[Any], darker: float) -> NDArray[Any]:
    """Put one voxel of something darker around the volume and in place of NaN, so that every surface closes."""
    if values.dtype.kind in "iu" and darker < np.iinfo(values.dtype).min:
        values = values.astype(np.float32)
    bordered = np.full([n + 2 for n in values.shape], darker, values.dtype)
    np.copyto(bordered[1:-1, 1:-1, 1:-1], values, where=~np.isnan(values))
    return bordered


def _flying_edges(values: NDArray[Any], level: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
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
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    points = vtk_to_numpy(found.GetPoints().GetData()).astype(np.float64)
    faces = vtk_to_numpy(found.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    return points, faces
