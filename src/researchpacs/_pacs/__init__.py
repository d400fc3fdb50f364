"""The facade and the handles: the only room that sees all others."""

from researchpacs._pacs._connect import connect, opened, view
from researchpacs._pacs._datasets import series_dataset, study_datasets
from researchpacs._pacs._facade import Pacs
from researchpacs._pacs._handles import Handle, Instance, Patient, Series, Study
from researchpacs._pacs._versions import show_versions

__all__ = [
    "Handle",
    "Instance",
    "Pacs",
    "Patient",
    "Series",
    "Study",
    "connect",
    "opened",
    "series_dataset",
    "show_versions",
    "study_datasets",
    "view",
]
