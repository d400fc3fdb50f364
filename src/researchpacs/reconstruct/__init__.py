"""Volume in, volume or mesh out: every result carries its own place in the patient."""

from researchpacs.reconstruct import masks
from researchpacs.reconstruct.curved import curved
from researchpacs.reconstruct.fusion import align_prior, fuse, subtract
from researchpacs.reconstruct.mesh import Mesh
from researchpacs.reconstruct.movie import rotate, save_movie
from researchpacs.reconstruct.project import project
from researchpacs.reconstruct.reformat import reformat
from researchpacs.reconstruct.registration import Registration, register
from researchpacs.reconstruct.rendering import render
from researchpacs.reconstruct.reorient import reorient
from researchpacs.reconstruct.resample import resample
from researchpacs.reconstruct.surface import surface

__all__ = [
    "Mesh",
    "Registration",
    "align_prior",
    "curved",
    "fuse",
    "masks",
    "project",
    "reformat",
    "register",
    "render",
    "reorient",
    "resample",
    "rotate",
    "save_movie",
    "subtract",
    "surface",
]
