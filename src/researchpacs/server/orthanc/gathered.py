"""What several instances say together: ``shared-tags``, ``instances-tags``, ``module``, ``ordered-slices``."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from researchpacs.archive import Stored
from researchpacs.archive.resources import Resource
from researchpacs.model import Level
from researchpacs.server.orthanc.answers import as_json
from researchpacs.server.orthanc.dataset import form_of_tags, shown_tags
from researchpacs.server.orthanc.errors import OrthancError
from researchpacs.server.orthanc.names import LEVELS, PLURAL, numbered
from researchpacs.server.orthanc.objects import index_in_series

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["routes"]

# PS3.3 C.7.1.1 Patient, C.7.2.1 General Study, C.7.3.1 General Series, C.12.1 SOP Common
_PATIENT = """
    PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex ReferencedPatientSequence PatientBirthTime
    OtherPatientIDs OtherPatientIDsSequence OtherPatientNames EthnicGroup PatientComments PatientSpeciesDescription
    PatientSpeciesCodeSequence PatientBreedDescription PatientBreedCodeSequence BreedRegistrationSequence
    ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization PatientIdentityRemoved DeidentificationMethod
    DeidentificationMethodCodeSequence ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName
    ClinicalTrialSiteID ClinicalTrialSiteName ClinicalTrialSubjectID ClinicalTrialSubjectReadingID
"""
_STUDY = """
    StudyInstanceUID StudyDate StudyTime ReferringPhysicianName ReferringPhysicianIdentificationSequence StudyID
    AccessionNumber IssuerOfAccessionNumberSequence StudyDescription PhysiciansOfRecord
    PhysiciansOfRecordIdentificationSequence NameOfPhysiciansReadingStudy
    PhysiciansReadingStudyIdentificationSequence ReferencedStudySequence ProcedureCodeSequence
"""
_SERIES = """
    Modality SeriesInstanceUID SeriesNumber Laterality SeriesDate SeriesTime PerformingPhysicianName
    PerformingPhysicianIdentificationSequence ProtocolName SeriesDescription SeriesDescriptionCodeSequence
    OperatorsName OperatorIdentificationSequence ReferencedPerformedProcedureStepSequence RelatedSeriesSequence
    BodyPartExamined PatientPosition SmallestPixelValueInSeries LargestPixelValueInSeries RequestAttributesSequence
    PerformedProcedureStepID PerformedProcedureStepStartDate PerformedProcedureStepStartTime
    PerformedProcedureStepDescription PerformedProtocolCodeSequence CommentsOnThePerformedProcedureStep
"""
_INSTANCE = """
    SOPClassUID SOPInstanceUID SpecificCharacterSet InstanceCreationDate InstanceCreationTime InstanceCreatorUID
    RelatedGeneralSOPClassUID OriginalSpecializedSOPClassUID CodingSchemeIdentificationSequence
    TimezoneOffsetFromUTC ContributingEquipmentSequence InstanceNumber SOPInstanceStatus SOPAuthorizationDateTime
    SOPAuthorizationComment AuthorizationEquipmentCertificationNumber EncryptedAttributesSequence
    DigitalSignaturesSequence
"""
_MODULES: Mapping[Level, frozenset[str]] = {
    "patient": frozenset(_PATIENT.split()),
    "study": frozenset(_STUDY.split()),
    "series": frozenset(_SERIES.split()),
    "instance": frozenset(_INSTANCE.split()),
}
_PARALLEL = 1e-3
"""mm between slices below which their positions are the same."""


def routes(pacs: "Pacs") -> list[Route]:
    """The routes of this module."""
    found: list[Route] = [Route("/series/{id}/ordered-slices", _ordered_slices(pacs), methods=["GET"])]
    for level in LEVELS:
        path = f"/{PLURAL[level]}/{{id}}"
        found.append(Route(f"{path}/module", _module(pacs, level, level), methods=["GET"]))
        if level != "instance":
            found += [
                Route(f"{path}/shared-tags", _of_instances(pacs, level, _shared), methods=["GET"]),
                Route(f"{path}/instances-tags", _of_instances(pacs, level, _each), methods=["GET"]),
            ]
    found.append(Route("/studies/{id}/module-patient", _module(pacs, "study", "patient"), methods=["GET"]))
    return found


def _of_instances(
    pacs: "Pacs", level: Level, answer: "Callable[[Pacs, list[Stored], Request], Any]"
) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        instances = pacs.archive.resources.instances(level, request.path_params["id"])
        if not instances:
            raise OrthancError(404)
        return as_json(answer(pacs, instances, request))

    return endpoint


def _shared(pacs: "Pacs", instances: list[Stored], request: Request) -> dict[str, Any]:
    """The tags that all instances have with the same text; sequences and binary values are left out."""
    first, *others = instances
    shared = {key: value for key, value in shown_tags(pacs, first, form_of_tags(request)).items() if _is_text(value)}
    for stored in others:
        tags = shown_tags(pacs, stored, form_of_tags(request))
        shared = {key: value for key, value in shared.items() if key in tags and tags[key] == value}
    return shared


def _is_text(value: Any) -> bool:
    return isinstance(value["Value"] if isinstance(value, dict) else value, str)


def _each(pacs: "Pacs", instances: list[Stored], request: Request) -> dict[str, Any]:
    form = form_of_tags(request)
    return {stored.identity.orthanc_id("instance"): shown_tags(pacs, stored, form) for stored in instances}


def _module(pacs: "Pacs", level: Level, of: Level) -> Callable[[Request], Response]:
    numbers = {numbered(keyword): keyword for keyword in _MODULES[of]}

    def module(request: Request) -> Response:
        instances = pacs.archive.resources.instances(level, request.path_params["id"], limit=1)
        if not instances:
            raise OrthancError(404)
        form = form_of_tags(request)
        wanted = _MODULES[of] if form == "simple" else numbers
        tags = shown_tags(pacs, instances[0], form)
        return as_json({key: value for key, value in tags.items() if key in wanted})

    return module


def _ordered_slices(pacs: "Pacs") -> Callable[[Request], Response]:
    def ordered_slices(request: Request) -> Response:
        series = pacs.archive.resources.one("series", request.path_params["id"])
        if series is None:
            raise OrthancError(404)
        instances = pacs.archive.resources.get("instance", series.children)
        kind, ordered = "Volume", _by_position(instances)
        if ordered is None:
            kind, ordered = "Sequence", sorted(instances, key=lambda one: (index_in_series(one) or 0, one.orthanc_id))
        short = [(one.orthanc_id, 0, _frame_count(one)) for one in ordered]
        return as_json(
            {
                "Dicom": [f"/instances/{one.orthanc_id}/file" for one in ordered],
                "Slices": [f"/instances/{name}/frames/{frame}" for name, _, count in short for frame in range(count)],
                "SlicesShort": short,
                "Type": kind,
            }
        )

    return ordered_slices


def _by_position(instances: list[Resource]) -> list[Resource] | None:
    """Along the normal of the first slice; None where the slices are not parallel, placed and apart."""
    if len(instances) < 2 or any(_frame_count(one) > 1 for one in instances):
        return None
    orientations = [_vector(one, "ImageOrientationPatient", 6) for one in instances]
    positions = [_vector(one, "ImagePositionPatient", 3) for one in instances]
    if any(one is None for one in (*orientations, *positions)):
        return None
    planes = np.asarray(orientations, dtype=float)
    if np.abs(planes - planes[0]).max() > _PARALLEL:
        return None
    normal = np.cross(planes[0, :3], planes[0, 3:])
    places = np.asarray(positions, dtype=float) @ normal
    order = np.argsort(places, kind="stable")
    if np.diff(places[order]).min() < _PARALLEL:
        return None
    return [instances[index] for index in order]


def _vector(one: Resource, keyword: str, count: int) -> list[float] | None:
    parts = one.attributes["instance"].get(keyword, "").split("\\")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def _frame_count(one: Resource) -> int:
    text = one.attributes["instance"].get("NumberOfFrames", "").strip()
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 8 else 1
