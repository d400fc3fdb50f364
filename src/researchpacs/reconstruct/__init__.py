"""Volume in, volume or mesh out: every result carries its own place in the patient."""

from researchpacs.reconstruct.mesh import Mesh
from researchpacs.reconstruct.project import project
from researchpacs.reconstruct.resample import reformat, resample
from researchpacs.reconstruct.surface import surface

__all__ = ["Mesh", "project", "reformat", "resample", "surface"]
