"""Frozen lists of series: with the question that found them, what changed since, and splits without leakage."""

from researchpacs.cohort.cohort import Cohort
from researchpacs.cohort.cohorts import Cohorts
from researchpacs.cohort.part import Part, Source
from researchpacs.cohort.split import Splits

__all__ = ["Cohort", "Cohorts", "Part", "Source", "Splits"]
