"""Reconstruct from a CT of 512 x 512 x 400 in memory: resample, project, surface."""

import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from _measure import Clock, alternately, clock
from _row import Row

SHAPE, SPACING = (400, 512, 512), (0.7, 0.6, 0.6)
BONE_HU = 300


def rows() -> Iterable[Row]:
    names = ("researchpacs", "SimpleITK", "numpy", "vtk", "scikit-image")
    versions = {name: version(name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        given = str(Path(folder) / "ct.npy")
        _write(given)
        for name, ours, peer_name, peer, least in (
            ("resample, linear, to 1 mm isotropic", ours_resample, "SimpleITK Resample", sitk_resample, 3),
            ("z-MIP", ours_mip, "numpy max", numpy_mip, 1),
            ("surface at 300 HU, closed, in LPS mm", ours_surface, "scikit-image marching_cubes", skimage_surface, 5),
            ("surface, the same", ours_surface, "vtkFlyingEdges3D, open, in indices, no normals", vtk_surface, 0.91),
        ):
            mine, other = alternately(ours, peer, given=given)
            ratio = other.seconds / mine.seconds
            yield Row(
                f"{name}, CT 512x512x400 in memory", mine.seconds, peer_name, other.seconds, f"ratio >= {least:g}",
                ratio >= least, None if mine.peak_bytes is None else mine.peak_bytes / 1e6, mine.rounds, versions,
                (mine.slowest, other.slowest),
            )  # fmt: skip


def ours_resample(given: str) -> Clock:
    import researchpacs as rp

    vol = _volume(given)
    rp.reconstruct.resample(vol.isel(z=slice(0, 4)), spacing=1.0)
    with clock() as found:
        iso = rp.reconstruct.resample(vol, spacing=1.0)
    assert iso.shape == (280, 307, 307)
    return found


def sitk_resample(given: str) -> Clock:
    import SimpleITK

    image = _volume(given).dicom.to_sitk()
    resampler = SimpleITK.ResampleImageFilter()
    resampler.SetInterpolator(SimpleITK.sitkLinear)
    resampler.SetSize([307, 307, 280])
    resampler.SetOutputSpacing([1.0] * 3)
    resampler.SetOutputOrigin([value + 0.2 for value in image.GetOrigin()])
    with clock() as found:
        made = resampler.Execute(image)
    assert made.GetSize() == (307, 307, 280)
    return found


def ours_mip(given: str) -> Clock:
    import researchpacs as rp

    vol = _volume(given)
    rp.reconstruct.project(vol.isel(z=slice(0, 4)), along="z")
    with clock() as found:
        mip = rp.reconstruct.project(vol, along="z")
    assert mip.shape == SHAPE[1:]
    return found


def numpy_mip(given: str) -> Clock:
    data = _volume(given).values
    data[:4].max(axis=0)
    with clock() as found:
        mip = data.max(axis=0)
    assert mip.shape == SHAPE[1:]
    return found


def ours_surface(given: str) -> Clock:
    import researchpacs as rp

    vol = _volume(given)
    rp.reconstruct.surface(vol.isel(z=slice(0, 8)), level=BONE_HU)
    with clock() as found:
        mesh = rp.reconstruct.surface(vol, level=BONE_HU)
    assert len(mesh.faces) > 500_000
    return found


def skimage_surface(given: str) -> Clock:
    from skimage.measure import marching_cubes

    data = _volume(given).values
    marching_cubes(data[:8], BONE_HU)
    with clock() as found:
        _, faces, _, _ = marching_cubes(data, BONE_HU, spacing=SPACING)
    assert len(faces) > 500_000
    return found


def vtk_surface(given: str) -> Clock:
    data = _volume(given).values
    _flying_edges(data[:8])
    with clock() as found:
        faces = _flying_edges(data)
    assert len(faces) > 500_000
    return found


def _flying_edges(data):
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D

    image = vtkImageData()
    image.SetDimensions(*data.shape[::-1])
    image.SetSpacing(*SPACING[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(data.ravel()))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, BONE_HU)
    edges.ComputeNormalsOff()
    edges.ComputeGradientsOff()
    edges.ComputeScalarsOff()
    edges.Update()
    vtk_to_numpy(edges.GetOutput().GetPoints().GetData())
    return vtk_to_numpy(edges.GetOutput().GetPolys().GetConnectivityArray()).reshape(-1, 3)


def _volume(given: str):
    import numpy as np

    from researchpacs.volume import as_volume

    affine = np.array([[0, 0, SPACING[2], -150], [0, SPACING[1], 0, -150], [SPACING[0], 0, 0, 0], [0, 0, 0, 1.0]])
    return as_volume(np.load(given), affine, "1.2.3", attrs={"Modality": "CT", "units": "HU"})


def _write(path: str) -> None:
    """A body with a spine and twelve pairs of ribs, of a density between theirs and air's, and noise."""
    import numpy as np

    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]] - 255.5
    body = np.where((x / 230) ** 2 + (y / 160) ** 2 < 1, 40, -1000).astype(np.int16)
    wall = np.abs(np.hypot(x / 205, y / 135) - 1)
    around = np.arctan2(x, y + 1e-9)
    spine = 900 - 12 * np.hypot(x, y - 110)
    noise = np.random.default_rng(0).normal(0, 12, SHAPE[1:]).astype(np.int16)
    volume = np.empty(SHAPE, np.int16)
    for k, plane in enumerate(volume):
        rib = np.abs((k + 60 * np.abs(around)) % 34 - 17)
        bone = np.maximum(spine, 1000 - 5000 * wall - 70 * rib)
        np.maximum(body, bone.clip(-1000, 1200).astype(np.int16), out=plane)
        np.add(plane, np.roll(noise, 7 * k), out=plane)
    np.save(path, volume)
