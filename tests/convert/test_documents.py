"""PDF and STL go in byte for byte, and come out again through other tools."""

import hashlib
import subprocess

import numpy as np
import pytest
import SimpleITK  # noqa: F401 - so that images of all libraries are told apart from a Mesh
from pydicom import dcmread

import researchpacs as rp
from researchpacs.errors import GeometryError, InvalidInputError

A17 = {"PatientID": "A17"}
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def stl(corners: np.ndarray, header: bytes = b"made by a test") -> bytes:
    triangles = np.zeros(len(corners), TRIANGLE)
    triangles["corners"] = corners
    return header.ljust(80) + len(corners).to_bytes(4, "little") + triangles.tobytes()


def tetrahedron(at=(0.0, 0.0, 0.0)) -> np.ndarray:
    points = np.array([[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]], float) + at
    return points[[[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]]


def as_text(corners: np.ndarray) -> bytes:
    facets = "".join(
        "facet normal 0 0 0\n outer loop\n"
        + "".join(f"  vertex {x:e} {y:e} {z:e}\n" for x, y, z in facet)
        + " endloop\nendfacet\n"
        for facet in corners
    )
    return f"solid SECRET name\n{facets}endsolid SECRET name\n".encode()


@pytest.mark.parametrize("content", [PDF, PDF + b"\n"], ids=["odd", "even"])
def test_dcm2pdf_gives_the_same_bytes(tmp_path, written, errors_of, content):
    (tmp_path / "letter").write_bytes(content)
    made = rp.to_dicom(tmp_path / "letter", description="Brief", attributes=A17)
    assert (made[0].DocumentTitle, made[0].Modality) == ("Brief", "DOC")
    (file,) = written(made).iterdir()
    subprocess.run(["dcm2pdf", file, tmp_path / "back.pdf"], check=True, capture_output=True)
    assert (tmp_path / "back.pdf").read_bytes()[: len(content)] == content
    assert made[0].EncapsulatedDocumentLength == len(content)
    assert errors_of(made) == []


def test_a_binary_stl_stays_byte_for_byte(tmp_path, written, errors_of):
    content = stl(tetrahedron())
    (tmp_path / "model").write_bytes(content)
    made = rp.to_dicom(tmp_path / "model", attributes=A17)
    (file,) = written(made).iterdir()
    ds = dcmread(file)
    kept = ds.EncapsulatedDocument[: ds.EncapsulatedDocumentLength]
    assert hashlib.md5(kept).digest() == hashlib.md5(content).digest()
    assert ds.MeasurementUnitsCodeSequence[0].CodeValue == "mm"
    assert errors_of(made) == []


def test_an_ascii_stl_becomes_binary_with_the_same_triangles(tmp_path, errors_of):
    (tmp_path / "model").write_bytes(as_text(tetrahedron()))
    made = rp.to_dicom(tmp_path / "model", attributes=A17)
    content = made[0].EncapsulatedDocument[: made[0].EncapsulatedDocumentLength]
    triangles = np.frombuffer(content, TRIANGLE, offset=84)
    np.testing.assert_array_equal(triangles["corners"], tetrahedron().astype(np.float32))
    assert not content.lower().startswith(b"solid")
    assert b"SECRET" not in content
    assert errors_of(made) == []


def test_a_model_stands_in_the_frame_of_the_series_it_was_made_from(pacs, series, tmp_path):
    vol = rp.read_volume(series)
    mesh = rp.reconstruct.surface(vol, level=300)
    (made,) = rp.to_dicom(mesh, like=series, description="bone")
    assert made.FrameOfReferenceUID == series.header().FrameOfReferenceUID
    mesh.save(tmp_path / "bone.stl")
    assert made.EncapsulatedDocument[: made.EncapsulatedDocumentLength] == (tmp_path / "bone.stl").read_bytes()
    report = pacs.ingest(made)
    assert report.series[0].study.uid == series.study.uid


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (stl(tetrahedron(at=(9000.0, 0, 0))), "mm away"),
        (stl(tetrahedron(), b"3D Slicer output. SPACE=RAS"), "RAS"),
    ],
)
def test_a_model_that_is_elsewhere_does_not_claim_the_frame(series, tmp_path, content, words):
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(GeometryError, match=words):
        rp.to_dicom(tmp_path / "model", like=series)
    (alone,) = rp.to_dicom(tmp_path / "model", like=series.study)
    assert alone.FrameOfReferenceUID != series.header().FrameOfReferenceUID


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (PDF[:-8], "truncated"),
        (as_text(tetrahedron())[:-200], "truncated"),
        (as_text(tetrahedron()).replace(b"vertex", b"vortex", 1), "three corners"),
        (as_text(tetrahedron()).replace(b"endloop", b"", 1), "damaged|three corners"),
        (stl(np.full((1, 3, 3), np.nan)), "finite"),
        (b"solid \nfacet", "truncated"),
        (b"nothing that anybody knows", "unknown kind"),
        (stl(tetrahedron())[:-1], "unknown kind"),
        (b"", "unknown kind"),
    ],
)
def test_damaged_documents_are_refused(tmp_path, content, words):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InvalidInputError, match=words):
        rp.to_dicom(tmp_path / "file", attributes=A17)


@pytest.mark.parametrize(("content", "modality"), [(stl(tetrahedron()), "M3D"), (PDF, "DOC")])
def test_the_modality_of_a_document_is_its_own(tmp_path, content, modality):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InvalidInputError, match=modality):
        rp.to_dicom(tmp_path / "file", modality="CT", attributes=A17)
    assert rp.to_dicom(tmp_path / "file", modality=modality, attributes=A17)[0].Modality == modality
