"""Measurements, and the standard objects that keep them."""

from researchpacs.annotation.measurement import Measurement
from researchpacs.annotation.report import as_datasets, from_datasets, to_datasets

__all__ = ["Measurement", "as_datasets", "from_datasets", "to_datasets"]
