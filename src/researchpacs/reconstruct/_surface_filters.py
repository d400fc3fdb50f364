"""What is done to a surface once it is found: its largest part, smoothing, fewer triangles."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["largest_part", "refined"]

PASS_BAND = 0.05
"""Of the windowed sinc filter: waves shorter than about 2 / 0.05 edges are taken off."""


def largest_part(
    points: NDArray[Any], faces: NDArray[Any], affine_lps: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Keep the connected part that has the largest area.

    Parameters
    ----------
    points, faces
        (n, 3) in index (x, y, z), (m, 3).
    affine_lps
        (4, 4) of index (z, y, x, 1): area is measured in mm².
    """
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkFiltersCore import vtkPolyDataConnectivityFilter

    if not len(faces):
        return points, faces
    parts = vtkPolyDataConnectivityFilter()
    parts.SetInputData(_as_vtk(points, faces))
    parts.SetExtractionModeToAllRegions()
    parts.ColorRegionsOn()
    parts.Update()
    found = parts.GetOutput()  # its points are in another order
    points = vtk_to_numpy(found.GetPoints().GetData())
    faces = vtk_to_numpy(found.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    of_point = vtk_to_numpy(found.GetPointData().GetArray("RegionId"))
    of_face = of_point[faces[:, 0]]
    a, b, c = (points[faces[:, k]].astype(np.float64) @ affine_lps[:3, [2, 1, 0]].T for k in range(3))
    areas = np.bincount(of_face, weights=np.linalg.norm(np.cross(b - a, c - a), axis=1))
    kept = faces[of_face == areas.argmax()]
    used, numbers = np.unique(kept, return_inverse=True)
    return points[used], numbers.reshape(-1, 3)


def refined(
    points: NDArray[np.float64], faces: NDArray[np.int64], *, smoothing: int, decimation: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Smooth a surface, then take triangles away; what was closed stays closed.

    Parameters
    ----------
    points, faces
        (n, 3) LPS mm, (m, 3).
    """
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkFiltersCore import vtkQuadricDecimation, vtkWindowedSincPolyDataFilter

    if not len(faces):
        return points, faces
    # In single precision around the middle, so that far from the origin no digits are lost.
    middle = points.mean(axis=0)
    mesh = _as_vtk(points - middle, faces)
    if smoothing:
        smooth = vtkWindowedSincPolyDataFilter()
        smooth.SetInputData(mesh)
        smooth.SetNumberOfIterations(smoothing)
        smooth.SetPassBand(PASS_BAND)
        smooth.NormalizeCoordinatesOn()
        smooth.BoundarySmoothingOff()
        smooth.FeatureEdgeSmoothingOff()
        smooth.NonManifoldSmoothingOn()
        smooth.Update()
        mesh = smooth.GetOutput()
    if decimation:
        fewer = vtkQuadricDecimation()
        fewer.SetInputData(mesh)
        fewer.SetTargetReduction(decimation)
        fewer.VolumePreservationOn()
        fewer.Update()
        mesh = fewer.GetOutput()
    found = vtk_to_numpy(mesh.GetPoints().GetData()).astype(np.float64) + middle
    corners = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)
    used, numbers = np.unique(corners, return_inverse=True)
    return found[used], numbers.reshape(-1, 3).astype(np.int64)


def _as_vtk(points: NDArray[Any], faces: NDArray[Any]) -> Any:
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    mesh = vtkPolyData()
    places = vtkPoints()
    places.SetData(numpy_to_vtk(np.ascontiguousarray(points, np.float32), deep=True))
    cells = vtkCellArray()
    cells.SetData(3, numpy_to_vtkIdTypeArray(np.ascontiguousarray(faces, np.int64).ravel(), deep=True))
    mesh.SetPoints(places)
    mesh.SetPolys(cells)
    return mesh
