"""Measurements, and the standard objects that keep them."""

from researchpacs.annotation.measurement import Kind, Measurement, Number, default_author
from researchpacs.annotation.report import as_datasets, from_datasets, to_datasets

__all__ = ["Kind", "Measurement", "Number", "as_datasets", "default_author", "from_datasets", "to_datasets"]
