"""Take out of a data set what says who a patient is: the Basic Application Level Confidentiality Profile (PS3.15 E.2).

Table E.1-1 lists attributes one by one. Here most of them follow from what they are: persons, dates, times, ages, free
text and application entities go whatever they are called, UIDs are replaced unless the Standard registered them, and
private and unknown attributes go. So an attribute that is newer than the table, or hidden in a sequence, is met too.
What is left are names, numbers and codes, which `_REMOVED` lists.

Pixels are not looked at: text burned into them stays, as the profile has it without its Clean Pixel Data Option.
"""

from collections.abc import Callable, Collection

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_has_tag, keyword_for_tag
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from researchpacs.errors import UnsupportedError

__all__ = ["deidentify", "map_uids"]

_EMPTIED_TEXT = """
    AccessionNumber ConsultingPhysicianName ContentCreatorName ContentDate ContentDescription ContentTime
    ContrastBolusAgent PatientBirthDate PatientSex ReferringPhysicianName ROIInterpreter ROIName StructureSetDate
    StructureSetTime StudyDate StudyID StudyTime TreatmentMachineName
"""
_REMOVED_TEXT = """
    InstitutionName InstitutionCodeSequence InstitutionalDepartmentName InstitutionalDepartmentTypeCodeSequence
    StationName AdmittingDiagnosesCodeSequence OperatorIdentificationSequence PerformingPhysicianIdentificationSequence
    PhysiciansOfRecordIdentificationSequence PhysiciansReadingStudyIdentificationSequence
    ReferringPhysicianIdentificationSequence ConsultingPhysicianIdentificationSequence NetworkID
    ReferencedPatientSequence ReferencedStudySequence ReferencedPerformedProcedureStepSequence TimezoneOffsetFromUTC
    DeviceSerialNumber PlateID CassetteID GantryID GeneratorID UDISequence UniqueDeviceIdentifier ProtocolName
    DetectorID XRaySourceID XRayDetectorID TransducerIdentificationSequence FunctionalSyncPulse ModifyingDeviceID
    AcquisitionContextSequence ActualHumanPerformersSequence AuthorObserverSequence CurrentObserverTrial
    CustodialOrganizationSequence FillerOrderNumberImagingServiceRequest PlacerOrderNumberImagingServiceRequest
    HumanPerformerOrganization IntendedRecipientsOfResultsIdentificationSequence
    IssuerOfTheContainerIdentifierSequence IssuerOfTheSpecimenIdentifierSequence OrderCallbackPhoneNumber
    OrderCallbackTelecomInformation OrderEntererLocation ParticipantSequence PatientTransportArrangements
    PerformedLocation PerformedProcedureStepID PerformedStationName PerformedStationNameCodeSequence
    PerformedStationGeographicLocationCodeSequence PersonIdentificationCodeSequence PersonTelecomInformation
    PreMedication ReasonForRequestedProcedureCodeSequence ReasonForTheImagingServiceRequest
    ReasonForTheRequestedProcedure RequestAttributesSequence RequestedProcedureID RequestedProcedureLocation
    ScheduledHumanPerformersSequence ScheduledPerformingPhysicianIdentificationSequence ScheduledProcedureStepID
    ScheduledProcedureStepLocation ScheduledStationName ScheduledStationNameCodeSequence
    ScheduledStationGeographicLocationCodeSequence SlideIdentifier SpecimenAccessionNumber SpecimenIdentifier
    SpecimenPreparationSequence ContainerIdentifier ContainerComponentID VerifyingObserverSequence
    VerifyingObserverIdentificationCodeSequence VerifyingOrganization TelephoneNumberTrial VerbalSourceTrial
    VerbalSourceIdentifierCodeSequenceTrial ContentCreatorIdentificationCodeSequence TopicTitle TopicSubject
    TopicAuthor TopicKeywords IconImageSequence TextString StructureSetName ROICreatorSequence ROIInterpreterSequence
    RTPlanName TreatmentSite TreatmentSites SourceManufacturer SourceSerialNumber DeviceAlternateIdentifier
    ManufacturerDeviceIdentifier EntityName RTAccessoryDeviceSlotID RTAccessoryHolderSlotID ReasonForSuperseding
    PositionAcquisitionTemplateName SourceIdentifier FlowIdentifier FlowIdentifierSequence
    PrescriptionNotesSequence SelectorLOValue SelectorSHValue SelectorOBValue LabelText BarcodeValue
"""
_STANDARD_ROOT = "1.2.840.10008."
_GONE_VRS = frozenset({"AE", "AS", "DA", "DT", "LT", "PN", "ST", "TM", "UC", "UN", "UR", "UT"})
_GONE_GROUPS = frozenset(
    {0x0012, 0x0016, 0x0032, 0x0034, 0x0038, 0x0400, 0x2100, 0x2200, 0x4000, 0x4008, 0xFFFA, 0xFFFC}
)
"""Clinical trials, cameras and their places, visits, orders, signatures, prints, labels, results, padding."""
_GONE_ENDINGS = ("Address", "Comment", "Comments", "Description", "Label", "Narrative", "Notes", "TelephoneNumbers")
_KEPT_IN_PATIENT = frozenset({"PatientSpeciesDescription", "PatientSpeciesCodeSequence"})
_KEPT = frozenset({"ContentLabel", "LongCodeValue", "SegmentLabel", "URNCodeValue"})
# Of type 2 in the modules that have them (PS3.5 7.4.3), so they stay without a value.
_EMPTIED = frozenset(_EMPTIED_TEXT.split())
# Of type 1, so they get a value that says nothing.
_DUMMIES = dict.fromkeys(("RTPlanLabel", "StructureSetLabel", "TrackingID"), "ANONYMIZED")
_REMOVED = frozenset(_REMOVED_TEXT.split())
# What cannot be cleaned by attribute, because it is itself a document.
_DOCUMENTS = {
    "ContentSequence": "a structured report",
    "EncapsulatedDocument": "an encapsulated document",
    "GraphicAnnotationSequence": "annotations drawn on images",
}


def deidentify(
    ds: Dataset, *, new_uid: Callable[[str], str], keep: Collection[int] = (), keep_private: bool = False
) -> None:
    """Clean a data set in place; PatientName and PatientID are gone, and for the caller to set.

    Parameters
    ----------
    ds
        Any composite object.
    new_uid
        Gives the UID that replaces one: the same for the same.
    keep
        Tags that stay as they are, at the top and in sequences.
    keep_private
        Leave private attributes in.

    Raises
    ------
    UnsupportedError
        It is a document, whose text nobody can vouch for. With the document's tag in `keep` it passes, as it is.
    """
    for keyword, what in _DOCUMENTS.items():
        if keyword in ds and int(ds[keyword].tag) not in keep:
            raise UnsupportedError(f"{what} may say in its text who the patient is; keep {keyword} to pass it as it is")
    _clean(ds, frozenset(keep), keep_private)
    map_uids(ds, lambda uid: uid if uid.startswith(_STANDARD_ROOT) else new_uid(uid), keep=keep)
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "PS3.15 E.2 Basic Application Level Confidentiality Profile"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "113100", "DCM"
    code.CodeMeaning = "Basic Application Confidentiality Profile"
    ds.DeidentificationMethodCodeSequence = [code]
    ds.LongitudinalTemporalInformationModified = "REMOVED"


def map_uids(ds: Dataset, new_uid: Callable[[str], str], *, keep: Collection[int] = ()) -> None:
    """Replace UIDs in place, in sequences too; those of the Standard never are for `deidentify`."""
    for element in ds:
        if int(element.tag) in keep:
            continue
        if element.VR == "SQ":
            for item in element.value:
                map_uids(item, new_uid, keep=keep)
        elif element.VR == "UI" and element.value:
            many = isinstance(element.value, MultiValue | list)
            element.value = [new_uid(str(one)) for one in element.value] if many else new_uid(str(element.value))


def _clean(ds: Dataset, keep: frozenset[int], keep_private: bool) -> None:
    for tag in list(ds.keys()):
        if int(tag) in keep:
            continue
        if tag.is_private:
            if not keep_private:
                del ds[tag]
            continue
        _clean_element(ds, tag, keep, keep_private)


def _clean_element(ds: Dataset, tag: BaseTag, keep: frozenset[int], keep_private: bool) -> None:
    keyword = keyword_for_tag(tag)
    if keyword in _DUMMIES:
        ds[tag].value = _DUMMIES[keyword]
    elif keyword in _EMPTIED:
        _empty(ds, tag)
    elif _is_removed(tag, keyword) or (ds[tag].VR in _GONE_VRS and keyword not in _KEPT):
        del ds[tag]
    elif ds[tag].VR == "SQ":
        for item in ds[tag].value:
            _clean(item, keep, keep_private)


def _empty(ds: Dataset, tag: BaseTag) -> None:
    """Leave an attribute without a value; where only a value would be valid, with one that says nothing."""
    keyword = keyword_for_tag(tag)
    needs_value = keyword in ("ContentDate", "ContentTime") and "SharedFunctionalGroupsSequence" in ds
    if needs_value:
        ds[tag].value = "19000101" if keyword == "ContentDate" else "000000"
    else:
        ds[tag] = DataElement(tag, ds[tag].VR, None)


def _is_removed(tag: BaseTag, keyword: str) -> bool:
    if tag.group in _GONE_GROUPS or 0x5000 <= tag.group <= 0x50FF or 0x6000 <= tag.group <= 0x60FF:
        return True
    if not dictionary_has_tag(tag):
        return True
    if tag.group == 0x0010:
        return keyword not in _KEPT_IN_PATIENT
    return keyword in _REMOVED or (keyword.endswith(_GONE_ENDINGS) and keyword not in _KEPT)
