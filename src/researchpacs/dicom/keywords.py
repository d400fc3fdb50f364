"""Attributes by keyword: the level of the patient hierarchy each belongs to, and those that an archive indexes.

The four levels are those of the Query/Retrieve Information Model (PS3.4 C.6). An attribute belongs to the highest level
whose modules hold it (PS3.3 A.1.2): the Patient modules, the Study modules, and for everything else the series.
"""

import difflib
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Literal

__all__ = ["INDEXED", "LEVELS", "MAIN", "is_keyword", "level_of", "nearest", "vr_of"]

LEVELS = ("patient", "study", "series", "instance")
"""From the root down."""

MAIN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "patient": (
            "PatientID",
            "IssuerOfPatientID",
            "PatientName",
            "PatientBirthDate",
            "PatientSex",
        ),
        "study": (
            "StudyInstanceUID",
            "StudyDate",
            "StudyTime",
            "StudyID",
            "AccessionNumber",
            "StudyDescription",
            "ReferringPhysicianName",
            "InstitutionName",
        ),
        "series": (
            "SeriesInstanceUID",
            "Modality",
            "SeriesNumber",
            "SeriesDate",
            "SeriesTime",
            "SeriesDescription",
            "BodyPartExamined",
            "Laterality",
            "ProtocolName",
            "Manufacturer",
            "ManufacturerModelName",
            "StationName",
            "FrameOfReferenceUID",
            "PerformedProcedureStepStartDate",
            "PerformedProcedureStepStartTime",
        ),
        "instance": (
            "SOPInstanceUID",
            "SOPClassUID",
            "InstanceNumber",
            "AcquisitionNumber",
            "ContentDate",
            "ContentTime",
            "ImageType",
            "NumberOfFrames",
            "Rows",
            "Columns",
            "BitsAllocated",
        ),
    }
)
"""Main attributes by level: the columns that matter at it."""

_ALSO_INDEXED: Mapping[str, tuple[str, ...]] = {
    "patient": ("OtherPatientIDs",),
    "study": ("RequestedProcedureDescription", "RequestingPhysician"),
    "series": (
        "SequenceName",
        "CardiacNumberOfImages",
        "ImagesInAcquisition",
        "NumberOfTemporalPositions",
        "NumberOfSlices",
        "NumberOfTimeSlices",
        "ImageOrientationPatient",
        "SeriesType",
        "OperatorsName",
        "PerformedProcedureStepDescription",
        "AcquisitionDeviceProcessingDescription",
        "ContrastBolusAgent",
    ),
    "instance": (
        "InstanceCreationDate",
        "InstanceCreationTime",
        "ImageIndex",
        "TemporalPositionIdentifier",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "ImageComments",
    ),
}
INDEXED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {level: (*keywords, *_ALSO_INDEXED[level]) for level, keywords in MAIN.items()}
)
"""By level, what an archive keeps beside each object and answers questions from: the main attributes, and those that
clients of other archives expect with an object. A level has those of the first instance that came."""

# PS3.3 C.7.1 Patient and Clinical Trial Subject; C.7.2 General, Patient and Clinical Trial Study; C.4.13 Visit
_PATIENT_MODULES = """
    PatientID IssuerOfPatientID IssuerOfPatientIDQualifiersSequence TypeOfPatientID PatientName PatientBirthDate
    PatientBirthTime PatientBirthDateInAlternativeCalendar PatientDeathDateInAlternativeCalendar
    PatientAlternativeCalendar PatientSex OtherPatientIDs OtherPatientIDsSequence OtherPatientNames PatientBirthName
    PatientMotherBirthName PatientAddress PatientTelephoneNumbers PatientReligiousPreference EthnicGroup
    EthnicGroupCodeSequence PatientComments QualityControlSubject ReferencedPatientSequence
    ReferencedPatientPhotoSequence PatientSpeciesDescription PatientSpeciesCodeSequence PatientBreedDescription
    PatientBreedCodeSequence BreedRegistrationSequence StrainDescription StrainNomenclature StrainCodeSequence
    ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization PatientIdentityRemoved DeidentificationMethod
    DeidentificationMethodCodeSequence SourcePatientGroupIdentificationSequence
    GroupOfPatientsIdentificationSequence MilitaryRank BranchOfService CountryOfResidence RegionOfResidence
    PatientPrimaryLanguageCodeSequence ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName
    ClinicalTrialSiteID ClinicalTrialSiteName ClinicalTrialSubjectID ClinicalTrialSubjectReadingID
    IssuerOfClinicalTrialProtocolID
"""
_STUDY_MODULES = """
    StudyInstanceUID StudyDate StudyTime StudyID StudyIDIssuer AccessionNumber IssuerOfAccessionNumberSequence
    StudyDescription ReferringPhysicianName ReferringPhysicianIdentificationSequence ReferringPhysicianAddress
    ReferringPhysicianTelephoneNumbers ConsultingPhysicianName ConsultingPhysicianIdentificationSequence
    PhysiciansOfRecord PhysiciansOfRecordIdentificationSequence NameOfPhysiciansReadingStudy
    PhysiciansReadingStudyIdentificationSequence RequestingService RequestingServiceCodeSequence RequestingPhysician
    ReferencedStudySequence ProcedureCodeSequence ReasonForPerformedProcedureCodeSequence
    AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence PatientAge PatientSize PatientWeight
    PatientBodyMassIndex MeasuredAPDimension MeasuredLateralDimension PatientSizeCodeSequence MedicalAlerts
    Allergies SmokingStatus PregnancyStatus LastMenstrualDate PatientState PatientSexNeutered Occupation
    AdditionalPatientHistory AdmissionID IssuerOfAdmissionIDSequence ServiceEpisodeID ServiceEpisodeDescription
    IssuerOfServiceEpisodeIDSequence ReasonForVisit ReasonForVisitCodeSequence StudyComments StudyStatusID
    StudyPriorityID ClinicalTrialTimePointID ClinicalTrialTimePointDescription
    ClinicalTrialTimePointTypeCodeSequence LongitudinalTemporalOffsetFromEvent LongitudinalTemporalEventType
    ConsentForClinicalTrialUseSequence
"""
_PATIENT = frozenset(_PATIENT_MODULES.split()) | set(MAIN["patient"])
_STUDY = frozenset(_STUDY_MODULES.split()) | set(MAIN["study"])
_INSTANCE = frozenset(MAIN["instance"])


def level_of(keyword: str) -> Literal["patient", "study", "series", "instance"]:
    """Say which level of the hierarchy an attribute describes.

    Main attributes of an instance are of the instance; every other attribute that is neither the patient's nor the
    study's is the series', although its instances may differ in it.
    """
    if keyword in _PATIENT:
        return "patient"
    if keyword in _STUDY:
        return "study"
    return "instance" if keyword in _INSTANCE else "series"


def is_keyword(keyword: str) -> bool:
    """Whether the data dictionary (PS3.6) knows the keyword."""
    from pydicom.datadict import tag_for_keyword

    # Some retired elements have no keyword: the empty one names none of them.
    return bool(keyword) and tag_for_keyword(keyword) is not None


def vr_of(keyword: str) -> str:
    """Value representation of a keyword as the data dictionary has it, such as ``"DS"`` or ``"US or SS"``.

    Raises
    ------
    KeyError
        The dictionary does not know the keyword.
    """
    from pydicom.datadict import dictionary_VR

    return dictionary_VR(keyword)


def nearest(keyword: str) -> str | None:
    """Find the keyword of the data dictionary spelt most like this one; None where nothing is near."""
    lowered = keyword.replace("_", "").lower()
    by_lower = _dictionary_by_lower_case()
    if lowered in by_lower:
        return by_lower[lowered]
    found = difflib.get_close_matches(lowered, by_lower, n=1, cutoff=0.7)
    return by_lower[found[0]] if found else None


@cache
def _dictionary_by_lower_case() -> dict[str, str]:
    from pydicom.datadict import keyword_dict

    return {keyword.lower(): keyword for keyword in keyword_dict if keyword}
