"""Cohorts as folders of files: DICOM, NIfTI, Zarr or BIDS, with a manifest and a description (RO-Crate)."""

from researchpacs.cohort.export._report import ExportReport
from researchpacs.cohort.export._run import exported

__all__ = ["ExportReport", "exported"]
