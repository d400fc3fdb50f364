"""Other formats become DICOM: volumes, pictures, documents, models and videos, without a guess about what they show."""

from researchpacs.convert._files import file_converter
from researchpacs.convert._to_dicom import to_dicom

__all__ = ["file_converter", "to_dicom"]
