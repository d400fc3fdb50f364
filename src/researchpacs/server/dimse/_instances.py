"""From what a request names to the instances of the archive."""

from collections.abc import Mapping, Sequence

from researchpacs.archive import EmbeddedArchive, Stored
from researchpacs.model import Find, Identity, Row

__all__ = ["identity_of", "instances_of"]


def instances_of(archive: EmbeddedArchive, filters: Mapping[str, Sequence[str]]) -> list[Stored]:
    """The instances that have one of the values of every keyword, in the order of their UIDs."""
    keys = [identity_of(row).key for row in archive.find(Find("instance", filters))]
    known = archive.rows(keys)
    return [known[key] for key in keys if key in known]


def identity_of(row: Row) -> Identity:
    """Name the instance that a row is of."""
    return Identity(
        row.get("PatientID", ""),
        row.get("IssuerOfPatientID", ""),
        row["StudyInstanceUID"],
        row["SeriesInstanceUID"],
        row["SOPInstanceUID"],
    )
