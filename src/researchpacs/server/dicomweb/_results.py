"""Matches as DICOM JSON: the attributes every result has, and those asked for (PS3.18 10.6.3.3)."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from researchpacs.archive import EmbeddedArchive
from researchpacs.archive.holdings import instances_of
from researchpacs.archive.matching import Match
from researchpacs.dicom.keywords import LEVELS, level_of, vr_of
from researchpacs.model import Level
from researchpacs.server.dicomweb._instance import OpenInstance
from researchpacs.server.dicomweb._json import Attribute, attribute, json_of
from researchpacs.server.dicomweb._query import Question
from researchpacs.server.dicomweb._resources import instance_url, object_url

if TYPE_CHECKING:
    from researchpacs.archive import Stored

__all__ = ["result"]

# Tables 10.6.3-3 to 10.6.3-5: there in every result, with a value or without.
_ALWAYS: Mapping[str, tuple[str, ...]] = {
    "study": (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "StudyID",
    ),
    "series": (
        "Modality",
        "SeriesInstanceUID",
        "SeriesNumber",
    ),
    "instance": (
        "SOPClassUID",
        "SOPInstanceUID",
        "InstanceNumber",
    ),
}
# There where the objects have a value.
_IF_KNOWN: Mapping[str, tuple[str, ...]] = {
    "study": ("StudyDescription", "InstitutionName"),
    "series": (
        "SeriesDescription",
        "BodyPartExamined",
        "Laterality",
        "SeriesDate",
        "SeriesTime",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
    ),
    "instance": ("Rows", "Columns", "BitsAllocated", "NumberOfFrames"),
}
_UIDS: Mapping[str, str] = {
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}
_WHOLE_NUMBERS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_ONE_VALUE = frozenset({"LT", "ST", "UC", "UR", "UT"})


def result(archive: EmbeddedArchive, match: Match, question: Question, *, given: Iterable[str], root: str) -> Attribute:
    """One match in the DICOM JSON Model.

    Parameters
    ----------
    given
        Levels that the request's path names: their attributes are left out, but for the UIDs.
    root
        URL of the service.
    """
    level = question.find.level
    made = dict(_plain(match, level, frozenset(given), root))
    wanted = [f"{tag:08X}" for tag in question.include if f"{tag:08X}" not in made]
    if wanted or question.everything:
        known = dict(_indexed(match))
        made.update({tag: known[tag] for tag in wanted if tag in known})
        if question.everything or any(tag not in known for tag in wanted):
            header = _header(archive, match, level, root)
            tags = _of_levels(header, level) if question.everything else wanted
            made = {**{tag: header[tag] for tag in {*tags, *wanted} if tag in header}, **made}
    return dict(sorted(made.items()))


def _plain(match: Match, level: Level, given: frozenset[str], root: str) -> Iterator[tuple[str, Attribute]]:
    """What every result has, from the ledger alone."""
    values = match.attributes
    yield attribute("SpecificCharacterSet", "ISO_IR 192")
    yield attribute("InstanceAvailability", "ONLINE")
    yield attribute("RetrieveURL", _url(match, level, root))
    for one in LEVELS[1 : LEVELS.index(level) + 1]:
        if one in given:
            yield _typed(_UIDS[one], values.get(_UIDS[one], ""))
            continue
        for keyword in _ALWAYS[one]:
            yield _typed(keyword, values.get(keyword, ""))
        for keyword in _IF_KNOWN[one]:
            if values.get(keyword):
                yield _typed(keyword, values[keyword])
        yield from _counts(match, one)


def _counts(match: Match, level: str) -> Iterator[tuple[str, Attribute]]:
    if level == "study":
        yield attribute("ModalitiesInStudy", *match.modalities)
        yield attribute("NumberOfStudyRelatedSeries", match.study_series)
        yield attribute("NumberOfStudyRelatedInstances", match.study_instances)
    elif level == "series":
        yield attribute("NumberOfSeriesRelatedInstances", match.series_instances)


def _url(match: Match, level: Level, root: str) -> str:
    return object_url(root, *(match.attributes[_UIDS[one]] for one in LEVELS[1 : LEVELS.index(level) + 1]))


def _indexed(match: Match) -> Iterator[tuple[str, Attribute]]:
    for keyword, text in match.attributes.items():
        if text:
            yield _typed(keyword, text)


def _typed(keyword: str, text: str) -> tuple[str, Attribute]:
    """An attribute from the text that the ledger has of it."""
    vr = _vr_of(keyword)
    values: list[Any] = [text] if vr in _ONE_VALUE else text.split("\\")
    if vr in _WHOLE_NUMBERS or vr == "DS":
        values = [_number(value, whole=vr != "DS") for value in values]
    return attribute(keyword, *values)


_vr_of = cache(vr_of)


def _number(text: str, *, whole: bool) -> int | float | str:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        return text


def _header(archive: EmbeddedArchive, match: Match, level: Level, root: str) -> Attribute:
    """Every attribute of an instance, or of the first one below a study or series."""
    uids = [match.attributes.get(_UIDS[one]) for one in LEVELS[1 : LEVELS.index(level) + 1]]
    found: list[Stored] = instances_of(archive, *uids, limit=1)  # type: ignore[arg-type]
    if not found:
        return {}  # deleted since it was found
    with OpenInstance(found[0]) as instance:
        url = instance_url(root, instance.stored)
        return json_of(instance.header, lambda path: f"{url}/bulkdata/{path}")


def _of_levels(header: Attribute, level: Level) -> list[str]:
    from pydicom.datadict import keyword_for_tag

    depth = LEVELS.index(level)
    return [tag for tag in header if LEVELS.index(level_of(keyword_for_tag(int(tag, 16)))) <= depth]
