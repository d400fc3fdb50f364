"""What is exported: the members with what is known of them, and names that no value of a DICOM file is part of."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from researchpacs.catalog import is_identifying
from researchpacs.cohort._members import Member, contents_of, refusal_of
from researchpacs.errors import ResearchPacsError

if TYPE_CHECKING:
    from researchpacs.cohort.part import Part

__all__ = ["Item", "items_of"]

_KNOWN = """
select
    s.patient_key, s.StudyInstanceUID, s.SeriesInstanceUID, s.Modality, s.SeriesDescription, s.ProtocolName, s.EchoTime,
    s.ContrastBolusAgent, tag_list(s.tags, 'ImageType') as ImageType, p.PatientSex, t.PatientAge
from series s
join studies t using (patient_key, StudyInstanceUID)
join patients p using (patient_key)
where s.SeriesInstanceUID in (select unnest($uids))
"""
_WIDTH = 3


@dataclass(frozen=True, slots=True)
class Item:
    """A member to be exported."""

    member: Member
    patient: str
    """Number of the patient in the export, from 001 on, by the order of the members."""
    study: str
    """Number of the study of the patient."""
    series: str
    """Number of the series of the study."""
    known: Mapping[str, Any] = field(default_factory=dict)
    """Of the catalog what formats ask for, by keyword."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """What is known of where it was published and under which licence."""
    refusal: ResearchPacsError | None = None
    """Why it cannot be exported as it was frozen."""

    @property
    def columns(self) -> dict[str, Any]:
        """The cohort's own columns, without those that by their name may say who a patient is."""
        return {name: value for name, value in self.member.columns.items() if not is_identifying(name)}


def items_of(part: "Part") -> list[Item]:
    """The members of a cohort or a part of one, in their order."""
    catalog, archive = part.source.catalog, part.source.archive
    uids = [one.series_uid for one in part.members]
    known = _by_identity(catalog.sql(_KNOWN, uids=uids))
    origins = part.source.origins(part.members)
    held = {one.identity: one for one in contents_of(part.members, catalog, archive)}
    patients: dict[Any, str] = {}
    studies: dict[Any, dict[Any, str]] = defaultdict(dict)
    counts: dict[Any, int] = defaultdict(int)
    items = []
    for member in part.members:
        patient = patients.setdefault(member.patient_key, _number(len(patients) + 1))
        of_patient = studies[member.patient_key]
        study = of_patient.setdefault(member.study_uid, _number(len(of_patient) + 1))
        counts[patient, study] += 1
        items.append(
            Item(
                member,
                patient,
                study,
                _number(counts[patient, study]),
                known.get(member.identity, {}),
                origins.get(member.identity, {}),
                refusal_of(member, held.get(member.identity)),
            )
        )
    return items


def _number(at: int) -> str:
    return str(at).zfill(_WIDTH)


def _by_identity(result: Any) -> dict[tuple[str, str, str], dict[str, Any]]:
    names = result.columns[3:]
    return {(row[0], row[1], row[2]): dict(zip(names, row[3:], strict=True)) for row in result.fetchall()}
