"""Make new instances of stored ones: with other attributes, without the patient's, in another study.

Every new UID derives from the old one and the secret of its job, so references between the instances of a job stay, a
job that begins anew makes the same instances again, and nobody without the secret finds the way back.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID

from researchpacs.archive import Stored
from researchpacs.dicom.deidentify import deidentify, map_uids
from researchpacs.dicom.keywords import level_of
from researchpacs.dicom.modify import Rules, apply_rules, as_tag, use_unicode
from researchpacs.dicom.scan import scan
from researchpacs.dicom.transcode import transcode
from researchpacs.dicom.uids import IMPLEMENTATION_CLASS_UID, derived_uid
from researchpacs.dicom.values import reading_quietly
from researchpacs.errors import InvalidInputError, PixelDataError
from researchpacs.model import Level
from researchpacs.server.pixels_apart import pixels_of, read_apart

if TYPE_CHECKING:
    from researchpacs._pacs import Pacs

__all__ = ["Modification", "make_instance", "move_instance", "new_uids"]

Operation: TypeAlias = Literal["modify", "anonymize"]

_UIDS: Mapping[str, str] = {
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "sop_uid": "SOPInstanceUID",
}
# What gets new UIDs when an object of a level is modified: itself and all below.
_RENEWED: Mapping[Level, tuple[str, ...]] = {
    "patient": ("study_uid", "series_uid", "sop_uid"),
    "study": ("study_uid", "series_uid", "sop_uid"),
    "series": ("series_uid", "sop_uid"),
    "instance": ("sop_uid",),
}
_PIXEL_DATA = 0x7FE00010
_ABOVE_SERIES = frozenset({"patient", "study"})
_IDENTIFYING = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True)
class Modification:
    """What a job makes of instances."""

    operation: Operation
    level: Level
    secret: str = field(repr=False)
    rules: Rules = field(default_factory=Rules, repr=False)
    keep_private: bool = False
    transcode_to: str | None = None

    @classmethod
    def parse(cls, operation: Operation, level: Level, secret: str, options: Mapping[str, Any]) -> "Modification":
        """Read a request's ``Replace``, ``Remove``, ``Keep``, ``Force``, ``RemovePrivateTags``, ``KeepPrivateTags``.

        Raises
        ------
        InvalidInputError
            An unknown attribute, or one that makes the identity and is not forced.
        """
        replace = options.get("Replace") or {}
        remove, keep = options.get("Remove") or [], options.get("Keep") or []
        if not isinstance(replace, Mapping) or not all(isinstance(one, list) for one in (remove, keep)):
            raise InvalidInputError("Replace has to be an object, Remove and Keep have to be lists of tags")
        rules = Rules(
            replace={int(as_tag(name)): value for name, value in replace.items()},
            remove=frozenset(int(as_tag(name)) for name in remove),
            keep=frozenset(int(as_tag(name)) for name in keep),
            remove_private=bool(options.get("RemovePrivateTags")),
        )
        _check_identity(operation, level, rules, forced=bool(options.get("Force")))
        return cls(operation, level, secret, rules, bool(options.get("KeepPrivateTags")), options.get("Transcode"))


def new_uids(modification: Modification, instances: Sequence[Stored]) -> Callable[[str], str]:
    """The UIDs that become new ones: of the instances and their parents up to the level; all others stay."""
    renewed = {getattr(stored.identity, name) for name in _RENEWED[modification.level] for stored in instances}

    def new_uid(uid: str) -> str:
        return derived_uid("modified", modification.secret, uid) if uid in renewed else uid

    return new_uid


def make_instance(
    pacs: "Pacs", stored: Stored, modification: Modification, new_uid: Callable[[str], str]
) -> Iterator[bytes]:
    """Make the new file of one instance, in pieces: the pixels of a large one are not read before their turn comes.

    Parameters
    ----------
    new_uid
        From `new_uids`.

    Raises
    ------
    InvalidInputError
        It would have the identity of the stored one.
    UnsupportedError
        It is a document that cannot be anonymized.
    PixelDataError
        A value cannot be read or written.
    """
    rules, to = modification.rules, modification.transcode_to
    with reading_quietly():
        # To transcode, all is needed.
        touched = {_PIXEL_DATA} if to else {*rules.replace, *rules.remove, *rules.keep}
        ds, apart = read_apart(pacs, stored, touched)
        if modification.operation == "anonymize":
            _anonymize(ds, stored, modification)
        else:
            apply_rules(ds, rules, new_uid=new_uid)
        made = _written(ds, stored)
    # Real files lack any of them.
    names = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    identity = tuple(str(ds.get(name) or "") for name in names)
    old = stored.identity
    if identity == (old.patient_id, old.study_uid, old.series_uid, old.sop_uid):
        raise InvalidInputError(
            "the new instance would have the identity of the old one, which never changes here; keep at most two of "
            "the UIDs, or give it another PatientID"
        )
    if to is not None:
        found = scan(BytesIO(made))
        syntax = found.transfer_syntax_uid
        made = transcode(made, header_length=found.header_length, transfer_syntax_uid=syntax, to=to)
    return chain([made], pixels_of(pacs, stored) if apart else ())


def move_instance(pacs: "Pacs", stored: Stored, target: Dataset, new_uid: Callable[[str], str]) -> Iterator[bytes]:
    """Make the file that an instance has in another study, in pieces as `make_instance`.

    Parameters
    ----------
    target
        The header of an instance of that study: patient and study are taken from it, whatever the instance said.
    new_uid
        From `new_uids`.

    Raises
    ------
    PixelDataError
        A value cannot be read or written.
    """
    with reading_quietly():
        ds, apart = read_apart(pacs, stored)
        map_uids(ds, new_uid)
        use_unicode(ds)
        for tag in [element.tag for element in ds if level_of(element.keyword) in _ABOVE_SERIES]:
            del ds[tag]
        for element in target:
            if element.keyword and level_of(element.keyword) in _ABOVE_SERIES:
                ds[element.tag] = element
        return chain([_written(ds, stored)], pixels_of(pacs, stored) if apart else ())


def _anonymize(ds: Dataset, stored: Stored, modification: Modification) -> None:
    rules, secret = modification.rules, modification.secret
    who = derived_uid("patient", secret, stored.identity.patient_key).rpartition(".")[2]
    kept = [ds[tag] for tag in map(_tag, ("PatientName", "PatientID")) if tag in rules.keep and tag in ds]
    deidentify(
        ds,
        new_uid=lambda uid: derived_uid("modified", secret, uid),
        keep=rules.keep,
        keep_private=modification.keep_private,
    )
    ds.PatientName, ds.PatientID = "Anonymized", f"{int(who) % 10**16:016d}"
    for element in kept:
        ds[element.tag] = element
    apply_rules(ds, Rules(replace=rules.replace, remove=rules.remove, keep=rules.keep))


def _written(ds: Dataset, stored: Stored) -> bytes:
    syntax = stored.transfer_syntax_uid
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(syntax)
    # Real files have it in their File Meta Information only.
    ds.file_meta.MediaStorageSOPClassUID = UID(str(ds.get("SOPClassUID") or stored.sop_class_uid))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    ds.preamble = bytes(128)
    buffer = BytesIO()
    try:
        ds.save_as(buffer, enforce_file_format=True)
    except Exception as error:
        # The message may quote a value, so only its kind is told.
        raise PixelDataError(f"a value of the instance cannot be written ({type(error).__name__})") from error
    return buffer.getvalue()


def _check_identity(operation: Operation, level: Level, rules: Rules, *, forced: bool) -> None:
    touched = [keyword for keyword in _IDENTIFYING if _tag(keyword) in rules.replace or _tag(keyword) in rules.remove]
    touched += [keyword for keyword in _UIDS.values() if operation == "modify" and _tag(keyword) in rules.keep]
    if touched and not forced:
        raise InvalidInputError(f"changing or keeping {touched[0]} takes the option Force: it makes the identity")
    if any(_tag(keyword) in rules.remove for keyword in _IDENTIFYING[1:]):
        raise InvalidInputError("a UID that makes the identity cannot be removed")
    if operation == "modify" and level == "patient" and _tag("PatientID") not in rules.replace:
        raise InvalidInputError("modifying a patient takes a new PatientID in Replace")


def _tag(keyword: str) -> int:
    return tag_for_keyword(keyword) or 0
