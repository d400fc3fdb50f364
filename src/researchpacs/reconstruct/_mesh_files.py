"""A mesh as bytes of STL, PLY, OBJ and GLB, all but OBJ binary; points are LPS mm in each of them.

glTF counts in metres with y up: there a node carries the matrix that takes LPS mm to that, and the points stay as they
are.
"""

import json
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["WRITERS", "as_stl"]

Points = NDArray[np.float64]
Faces = NDArray[np.int64]

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])

_LPS_TO_GLTF = (0.001, 0, 0, 0, 0, 0, -0.001, 0, 0, 0.001, 0, 0, 0, 0, 0, 1)
"""Column by column: x stays, up is head, towards the onlooker is the front of the patient; metres."""
_FLOAT, _UNSIGNED_INT, _POINTS, _ELEMENTS = 5126, 5125, 34962, 34963
"""Numbers of glTF 2.0, 3.6.2 and 5.11."""


def as_stl(points: Points, faces: Faces, normals: Points) -> bytes:
    """Binary STL.

    Parameters
    ----------
    normals
        (m, 3) of faces, of any length.
    """
    triangles: NDArray[Any] = np.zeros(len(faces), _TRIANGLE)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles["normal"] = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > 0)
    triangles["corners"] = points[faces]
    # The header must not begin with "solid": readers take such files for text.
    header = b"binary STL, LPS mm".ljust(80)
    return header + len(faces).to_bytes(4, "little") + bytes(triangles.tobytes())


def _as_ply(points: Points, faces: Faces, normals: Points) -> bytes:
    header = (
        f"ply\nformat binary_little_endian 1.0\ncomment LPS mm\nelement vertex {len(points)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    triangles: NDArray[Any] = np.empty(len(faces), _FACE)
    triangles["count"], triangles["corners"] = 3, faces
    return header.encode() + points.astype("<f4").tobytes() + triangles.tobytes()


def _as_obj(points: Points, faces: Faces, normals: Points) -> bytes:
    text = StringIO()
    text.write("# LPS mm\n")
    np.savetxt(text, points, "v %.5f %.5f %.5f")
    np.savetxt(text, faces + 1, "f %d %d %d")
    return text.getvalue().encode()


def _as_glb(points: Points, faces: Faces, normals: Points) -> bytes:
    vertices, indices = points.astype("<f4"), faces.astype("<u4")
    bounds = (vertices.min(axis=0), vertices.max(axis=0)) if len(vertices) else (np.zeros(3), np.zeros(3))
    views = [
        {"buffer": 0, "byteOffset": 0, "byteLength": vertices.nbytes, "target": _POINTS},
        {"buffer": 0, "byteOffset": vertices.nbytes, "byteLength": indices.nbytes, "target": _ELEMENTS},
    ]
    accessors = [
        {
            "bufferView": 0, "componentType": _FLOAT, "count": len(vertices), "type": "VEC3",
            "min": bounds[0].tolist(), "max": bounds[1].tolist(),
        },
        {"bufferView": 1, "componentType": _UNSIGNED_INT, "count": indices.size, "type": "SCALAR"},
    ]  # fmt: skip
    described = {
        "asset": {"version": "2.0", "generator": "researchpacs"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "LPS mm", "mesh": 0, "matrix": _LPS_TO_GLTF}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "mode": 4}]}],
        "buffers": [{"byteLength": vertices.nbytes + indices.nbytes}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(described).encode()
    chunks = _chunk(b"JSON", text + b" " * (-len(text) % 4)) + _chunk(b"BIN\0", vertices.tobytes() + indices.tobytes())
    return b"glTF" + (2).to_bytes(4, "little") + (12 + len(chunks)).to_bytes(4, "little") + chunks


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "little") + kind + content


WRITERS = {".stl": as_stl, ".ply": _as_ply, ".obj": _as_obj, ".glb": _as_glb}
