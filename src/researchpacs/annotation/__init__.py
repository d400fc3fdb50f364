"""Measurements, segmentations and contours, and the standard objects that keep them."""

from researchpacs.annotation._header import Source
from researchpacs.annotation.contour import Contour
from researchpacs.annotation.measurement import Kind, Measurement, Number, default_author
from researchpacs.annotation.objects import Annotation, annotation_datasets, annotations_of
from researchpacs.annotation.report import as_datasets, from_datasets, to_datasets
from researchpacs.annotation.segmentation import Segmentation

__all__ = [
    "Annotation",
    "Contour",
    "Kind",
    "Measurement",
    "Number",
    "Segmentation",
    "Source",
    "annotation_datasets",
    "annotations_of",
    "as_datasets",
    "default_author",
    "from_datasets",
    "to_datasets",
]
