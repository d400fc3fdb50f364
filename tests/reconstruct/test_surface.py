"""Surfaces lie in the patient, close, point outward, and measure what the object measures."""

import json
import struct
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from skimage import measure
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkPolyData
from vtkmodules.vtkIOGeometry import vtkGLTFReader, vtkOBJReader, vtkSTLReader
from vtkmodules.vtkIOPLY import vtkPLYReader

from researchpacs.errors import GeometryError, InvalidInputError, MissingExtraError, UnsupportedError
from researchpacs.reconstruct import Mesh, surface
from researchpacs.volume import as_volume

RADIUS = 20.0
CENTRE_LPS = np.array([12.0, -30.0, 510.0])


def sphere(handed=1, dtype=np.float32, spacing=(1.5, 0.9, 0.8), shape=(36, 60, 68)):
    """Distance to the surface of a sphere, positive inside, on an oblique grid."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec([0.4, 0.8, -0.3]).as_matrix() * [spacing[0] * handed, spacing[1], spacing[2]]
    affine[:3, 3] = CENTRE_LPS - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    places = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    depth = RADIUS - np.linalg.norm(places - CENTRE_LPS, axis=-1)
    return as_volume((depth * (1 if dtype == np.float32 else 50)).astype(dtype), affine, "1.2.3")


def edges_of(mesh):
    return np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])


def is_closed(mesh):
    """Every directed edge has its opposite, once."""
    directed = {tuple(e) for e in edges_of(mesh).tolist()}
    return len(directed) == 3 * len(mesh.faces) and all((b, a) in directed for a, b in directed)


@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_a_sphere_has_its_area_volume_and_place(handed, dtype):
    mesh = surface(sphere(handed, dtype), level=0)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)
    assert mesh.area == pytest.approx(4 * np.pi * RADIUS**2, rel=0.01)
    distances = np.linalg.norm(mesh.points_lps - CENTRE_LPS, axis=1)
    np.testing.assert_allclose(distances, RADIUS, atol=0.05)
    assert is_closed(mesh)
    assert mesh.frame_of_reference_uid == "1.2.3"


@pytest.mark.parametrize("handed", [1, -1])
def test_normals_point_outward(handed):
    mesh = surface(sphere(handed), level=0)
    a, b, c = (mesh.points_lps[mesh.faces[:, k]] for k in range(3))
    outward = np.einsum("ij,ij->i", np.cross(b - a, c - a), (a + b + c) / 3 - CENTRE_LPS)
    assert (outward > 0).all()


def test_scikit_image_finds_the_same_surface():
    vol = sphere()
    mesh = surface(vol, level=3.0)
    points, faces, _, _ = measure.marching_cubes(vol.values, 3.0, spacing=vol.dicom.spacing)
    assert mesh.area == pytest.approx(measure.mesh_surface_area(points, faces), rel=0.005)


def test_an_object_cut_by_the_border_is_closed_there():
    vol = sphere().isel(z=slice(18, None))
    mesh = surface(vol, level=0)
    assert is_closed(mesh)
    assert mesh.volume == pytest.approx(2 / 3 * np.pi * RADIUS**3, rel=0.05)
    full = as_volume(np.full((4, 5, 6), 9, np.uint8), np.diag([1.0, 1, 1, 1]), "1.2.3")
    assert is_closed(surface(full, level=3))


def test_masks_have_surfaces_too():
    mesh = surface(sphere() > 0, level=0.5)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.03)


def test_stl_is_read_back_by_vtk(tmp_path):
    mesh = surface(sphere(), level=0)
    path = tmp_path / "bone.stl"
    mesh.save(path)
    assert path.stat().st_size == 84 + 50 * len(mesh.faces)
    reader = vtkSTLReader()
    reader.SetFileName(str(path))
    reader.Update()
    found = reader.GetOutput()
    points = vtk_to_numpy(found.GetPoints().GetData()).astype(float)
    faces = vtk_to_numpy(found.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    back = Mesh(points, faces.astype(np.int64), "1.2.3")
    assert back.volume == pytest.approx(mesh.volume, rel=1e-4)
    np.testing.assert_allclose(points.mean(axis=0), mesh.points_lps.mean(axis=0), atol=0.05)


def read_back(path):
    """Points and faces, as vtk reads them."""
    if path.suffix == ".glb":
        reader = vtkGLTFReader()
        reader.SetFileName(str(path))
        reader.ApplyDeformationsToGeometryOn()
        reader.Update()
        blocks = reader.GetOutput().NewIterator()
        found = vtkPolyData.SafeDownCast(blocks.GetCurrentDataObject())
    else:
        reader = {".ply": vtkPLYReader, ".obj": vtkOBJReader}[path.suffix]()
        reader.SetFileName(str(path))
        reader.Update()
        found = reader.GetOutput()
    points = vtk_to_numpy(found.GetPoints().GetData()).astype(float)
    return points, vtk_to_numpy(found.GetPolys().GetConnectivityArray()).reshape(-1, 3).astype(np.int64)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb"])
def test_vtk_reads_the_same_mesh_back(tmp_path, suffix):
    mesh = surface(sphere(), level=0)
    path = tmp_path / f"bone{suffix}"
    mesh.save(path)
    points, faces = read_back(path)
    np.testing.assert_array_equal(faces, mesh.faces)
    if suffix == ".glb":  # metres; the head is up, the front of the patient looks at the onlooker
        points = points[:, [0, 2, 1]] * (1000, -1000, 1000)
    np.testing.assert_allclose(points, mesh.points_lps, atol=1e-3)
    assert Mesh(points, faces, "1.2.3").volume == pytest.approx(mesh.volume, rel=1e-4)


def test_a_glb_is_what_the_specification_says(tmp_path):
    mesh = surface(sphere(), level=0)
    mesh.save(tmp_path / "a.glb")
    data = (tmp_path / "a.glb").read_bytes()
    magic, version, length, json_length, kind = struct.unpack("<4sII I4s", data[:20])
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
    told = json.loads(data[20 : 20 + json_length])
    assert json_length % 4 == 0
    binary_length, kind = struct.unpack("<I4s", data[20 + json_length : 28 + json_length])
    assert (binary_length, kind) == (told["buffers"][0]["byteLength"], b"BIN\0")
    np.testing.assert_allclose(told["accessors"][0]["min"], mesh.points_lps.min(axis=0), atol=1e-3)
    assert told["accessors"][1]["count"] == 3 * len(mesh.faces)


def test_another_format_is_refused(tmp_path):
    with pytest.raises(UnsupportedError, match=r"\.stl"):
        surface(sphere(), level=0).save(tmp_path / "bone.step")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("handed", [1, -1])
def test_smoothing_takes_off_steps_and_keeps_the_volume(handed):
    mask = sphere(handed) > 0
    rough, smooth = surface(mask, level=0.5), surface(mask, level=0.5, smoothing=20)
    spread = [np.linalg.norm(one.points_lps - CENTRE_LPS, axis=1).std() for one in (rough, smooth)]
    assert spread[1] < 0.6 * spread[0]
    assert is_closed(smooth)
    assert smooth.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)
    assert smooth.area == pytest.approx(4 * np.pi * RADIUS**2, rel=0.02)
    assert rough.area > 1.04 * 4 * np.pi * RADIUS**2
    assert np.linalg.norm(smooth.points_lps.mean(axis=0) - CENTRE_LPS) < 0.1


@pytest.mark.parametrize("handed", [1, -1])
def test_a_tenth_of_the_triangles_still_make_the_sphere(handed):
    full, fewer = surface(sphere(handed), level=0), surface(sphere(handed), level=0, decimation=0.9)
    assert len(fewer.faces) <= 0.11 * len(full.faces)
    assert len(fewer.points_lps) < 0.2 * len(full.points_lps)
    assert is_closed(fewer)
    assert fewer.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)
    assert fewer.area == pytest.approx(4 * np.pi * RADIUS**2, rel=0.01)


def test_the_largest_part_stays_alone():
    vol = sphere()
    vol[0:3, 0:3, 0:3] = 5.0
    hollow = vol.where(vol < 12.0, -1.0)
    both, one = surface(hollow, level=0), surface(hollow, level=0, largest=True)
    assert one.volume == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.01)
    assert both.area > 1.1 * one.area
    assert is_closed(one)
    assert len(np.unique(one.faces)) == len(one.points_lps)


@pytest.mark.parametrize("wrong", [
    {"smoothing": -1}, {"smoothing": 1.5}, {"smoothing": True}, {"decimation": 1.0}, {"decimation": -0.1},
    {"decimation": "x"},
])  # fmt: skip
def test_wrong_calls_say_what_was_expected(wrong):
    with pytest.raises(InvalidInputError, match="expected"):
        surface(sphere(), level=0, **wrong)


@settings(max_examples=30)
@given(st.tuples(*[st.integers(0, 9)] * 3), st.tuples(*[st.integers(1, 4)] * 3))
def test_wherever_a_thing_lies_its_surface_is_around_it(corner, size):
    data = np.zeros((10, 10, 10), np.int16)
    box = tuple(slice(a, a + n) for a, n in zip(corner, size, strict=True))
    data[box] = 100
    extent = np.array(data[box].shape)
    mesh = surface(as_volume(data, np.diag([2.0, 3.0, 4.0, 1.0]), "1.2.3"), level=50)
    assert is_closed(mesh)
    low, high = (np.array(corner) - 0.5) * (2, 3, 4), (np.array(corner) + extent - 0.5) * (2, 3, 4)
    np.testing.assert_allclose(mesh.points_lps.min(axis=0), low, atol=1e-4)
    np.testing.assert_allclose(mesh.points_lps.max(axis=0), high, atol=1e-4)
    assert mesh.volume > 0


@pytest.mark.parametrize("level", [1e6, float("nan"), float("inf")])
def test_a_level_beyond_the_values_is_refused(level):
    with pytest.raises(InvalidInputError, match=r"the values are from|finite number"):
        surface(sphere(), level=level)


def test_without_vtk_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "vtkmodules.vtkFiltersCore", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'researchpacs\[mesh\]'"):
        surface(sphere(), level=0)


def test_what_has_no_affine_has_no_surface():
    with pytest.raises(GeometryError):
        surface(sphere().isel(z=3), level=0)


def test_repr_is_short():
    assert repr(surface(sphere(), level=0)).startswith("Mesh(")
    assert len(repr(surface(sphere(), level=0))) < 60


@pytest.mark.parametrize("dtype", [">i2", ">f4", np.uint32, np.uint64, np.int64, np.float64])
def test_the_type_of_the_values_does_not_move_the_surface(dtype):
    vol = sphere(dtype=np.int16) + 3000
    expected = surface(vol, level=3000)
    found = surface(vol.astype(dtype), level=3000)
    np.testing.assert_allclose(found.points_lps, expected.points_lps, atol=1e-4)
    np.testing.assert_array_equal(found.faces, expected.faces)


def test_what_is_not_a_number_is_outside():
    vol = sphere()
    cut = vol.where(vol > -4.0)
    mesh = surface(cut, level=0)
    assert is_closed(mesh)
    assert mesh.volume == pytest.approx(surface(vol, level=0).volume, rel=1e-6)
