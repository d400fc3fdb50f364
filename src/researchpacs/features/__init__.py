"""First-order and shape features of a region, by the definitions of the image biomarker standardisation initiative."""

from researchpacs.features._intensity import first_order
from researchpacs.features._shape import shape

__all__ = ["first_order", "shape"]
