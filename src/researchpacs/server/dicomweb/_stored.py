"""What became of the parts of a STOW-RS request, as its response tells (PS3.18 10.5.3, I.2)."""

from collections.abc import Sequence

from starlette.responses import Response

from researchpacs.archive import EmbeddedArchive
from researchpacs.model import Outcome
from researchpacs.server.dicomweb._answers import dicom_json
from researchpacs.server.dicomweb._json import Attribute, attribute
from researchpacs.server.dicomweb._resources import object_url

__all__ = ["OTHER_STUDY", "stored_answer"]

OTHER_STUDY = "the instance belongs to another study than the one it was sent to"

# PS3.18 Table I.2-2
_CANNOT_UNDERSTAND = 0xC000
_DOES_NOT_MATCH = 0xA900
_OUT_OF_RESOURCES = 0xA700
_DUPLICATE = 0x0111
"""An instance with this UID is there already, with other content, and stays; the one sent is kept aside."""


def stored_answer(archive: EmbeddedArchive, outcomes: Sequence[Outcome], root: str) -> Response:
    """Tell about every part: 200 all is stored, 202 with warnings or failures, 409 nothing is."""
    classes = _classes(archive, outcomes)
    referenced = [_referenced(one, classes, root) for one in outcomes if one.kind != "refused"]
    refused = [one for one in outcomes if one.kind == "refused"]
    named = [_failed(one) for one in refused if one.identity]
    nameless = [_failed(one) for one in refused if not one.identity]
    answer: Attribute = {}
    studies = {one.identity.study_uid for one in outcomes if one.identity and one.kind != "refused"}
    if len(studies) == 1:
        answer.update([attribute("RetrieveURL", object_url(root, *studies))])
    for keyword, items in (
        ("FailedSOPSequence", named),
        ("ReferencedSOPSequence", referenced),
        ("OtherFailuresSequence", nameless),
    ):
        if items:
            answer.update([attribute(keyword, *items)])
    return dicom_json(answer, status=_status(outcomes))


def _status(outcomes: Sequence[Outcome]) -> int:
    kinds = {one.kind for one in outcomes}
    if kinds == {"refused"}:
        return 507 if all(_reason(one) == _OUT_OF_RESOURCES for one in outcomes) else 409
    return 202 if kinds & {"refused", "conflict"} else 200


def _classes(archive: EmbeddedArchive, outcomes: Sequence[Outcome]) -> dict[str, str]:
    keys = [one.identity.key for one in outcomes if one.identity]
    return {key: stored.sop_class_uid for key, stored in archive.rows(keys).items()}


def _referenced(outcome: Outcome, classes: dict[str, str], root: str) -> Attribute:
    identity = outcome.identity
    assert identity is not None
    url = object_url(root, identity.study_uid, identity.series_uid, identity.sop_uid)
    item = dict(
        [
            attribute("ReferencedSOPClassUID", classes.get(identity.key, "")),
            attribute("ReferencedSOPInstanceUID", identity.sop_uid),
            attribute("RetrieveURL", url),
        ]
    )
    if outcome.kind == "conflict":
        item.update([attribute("WarningReason", _DUPLICATE)])
    return item


def _failed(outcome: Outcome) -> Attribute:
    item = dict([attribute("FailureReason", _reason(outcome)), attribute("ErrorComment", outcome.reason[:64])])
    if outcome.identity:
        item.update([attribute("ReferencedSOPInstanceUID", outcome.identity.sop_uid)])
        item.update([attribute("ReferencedSOPClassUID")])
    return item


def _reason(outcome: Outcome) -> int:
    if outcome.reason == OTHER_STUDY:
        return _DOES_NOT_MATCH
    return _OUT_OF_RESOURCES if outcome.reason.startswith("no space left") else _CANNOT_UNDERSTAND
