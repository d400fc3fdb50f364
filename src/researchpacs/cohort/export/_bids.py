"""BIDS: magnetic resonance images of structure and function, where it is plainly said what they are.

The names are those of the Brain Imaging Data Structure 1.10. What a series is comes from the cohort's column ``bids``,
such as ``anat/T1w``, ``anat/ce-gad_T1w`` or ``func/task-rest_bold``, else from its description, if that names one
weighting of structure only and the echo time does not contradict it. A guess would be worse than a series that is left
out with the reason.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from researchpacs.cohort.export._items import Item
from researchpacs.cohort.export._sidecar import write_json
from researchpacs.cohort.export._volumes import dimensions_of, opened
from researchpacs.errors import GeometryError, InvalidInputError, ResearchPacsError, UnsupportedError

if TYPE_CHECKING:
    from researchpacs.cohort.export._formats import Format
    from researchpacs.cohort.part import Source

__all__ = ["Bids", "Kind", "kind_of"]

VERSION = "1.10.0"
_SUFFIXES = {
    "anat": ("T1w", "T2w", "PDw", "FLAIR", "T2starw", "PDT2", "angio", "inplaneT1", "inplaneT2"),
    "func": ("bold",),
}
_ENTITIES = {"anat": ("acq", "ce", "rec"), "func": ("task", "acq", "ce", "rec", "dir")}
"""In the order in which names have them."""
_COLUMN = re.compile(r"(?P<folder>anat|func)/(?P<entities>(?:[a-z]+-[A-Za-z0-9]+_)*)(?P<suffix>[A-Za-z0-9]+)")
# What people write into descriptions, by what it means; without letters or digits around it.
_WORDS = {
    "T1w": r"T1W?(?![*\d])|MP-?RAGE|T1-?MPRAGE|BRAVO",
    "T2w": r"T2W?(?![*\d])(?!-?STAR)",
    "T2starw": r"T2\*W?|T2-?STAR",
    "PDw": r"PDW?",
    "FLAIR": r"FLAIR",
}
_NAMED = {name: re.compile(rf"(?<![A-Z0-9])(?:{words})(?![A-Z0-9])") for name, words in _WORDS.items()}
_SHORT_ECHO_MS, _LONG_ECHO_MS = 40.0, 60.0
_README = """# {name}

{description}

Made by researchpacs {version} from the cohort {cohort}. Participants are numbered; names, identifiers, dates and
free text of the DICOM files are left out. Faces are not removed from the images.
manifest.csv tells which series each file was made from, for those who have the archive.
"""


class Bids:
    """A BIDS dataset of raw data; see the module.

    Parameters
    ----------
    volumes
        The format that writes each volume with its description.
    on_irregular
        As in `open_volumes`.
    """

    name = "bids"
    keeps_identity = False

    def __init__(self, volumes: "Format", *, on_irregular: str) -> None:
        self._volumes = volumes
        self._on_irregular = on_irregular

    def places(self, items: Sequence[Item]) -> Sequence[PurePosixPath]:
        names = [_name(one) for one in items]
        several = Counter(names)
        before: Counter[tuple[str, str, str]] = Counter()
        places = []
        for folder, beginning, suffix in names:
            before[folder, beginning, suffix] += 1
            run = f"_run-{before[folder, beginning, suffix]}" if several[folder, beginning, suffix] > 1 else ""
            places.append(PurePosixPath(folder, f"{beginning}{run}_{suffix}.nii.gz"))
        return places

    def at_most(self, item: Item, source: "Source") -> int:
        self._require(item, source)
        return self._volumes.at_most(item, source)

    def write(self, item: Item, source: "Source", place: Path) -> None:
        kind, times = kind_of(item), self._require(item, source)
        self._volumes.write(item, source, place)
        if times:
            sidecar = place.with_name(place.name.removesuffix(".nii.gz") + ".json")
            told = json.loads(sidecar.read_text(encoding="utf-8"))
            step = round((times[-1] - times[0]) / (len(times) - 1), 6)
            write_json(sidecar, {**told, "TaskName": kind.entity("task"), "RepetitionTime": step})

    def _require(self, item: Item, source: "Source") -> list[float]:
        """The times of a series of function; none of one of structure. Others have no place under their name."""
        kind = kind_of(item)
        found = [dimensions_of(vol) for vol in opened(item, source, self._on_irregular)]
        wanted = ("time",) if kind.folder == "func" else ()
        if [tuple(one) for one in found] != [wanted]:
            axes = " and ".join(f"({', '.join((*one, 'z', 'y', 'x'))})" for one in (wanted, *found))
            raise GeometryError(f"{kind.folder} is one volume; expected and found dimensions are {axes}")
        times = found[0].get("time", [])
        if len(times) == 1:
            raise GeometryError("one volume is no series of function")
        return times

    def finish(self, folder: Path, items: Sequence[Item], about: Mapping[str, Any]) -> None:
        """Write the description of the dataset and its participants."""
        write_json(
            folder / "dataset_description.json",
            {
                "Name": about["name"],
                "BIDSVersion": VERSION,
                "DatasetType": "raw",
                **({"License": about["license"]} if about["license"] else {}),
                "Authors": [about["author"]],
                **({"ReferencesAndLinks": about["citations"]} if about["citations"] else {}),
                "GeneratedBy": [{"Name": "researchpacs", "Version": about["version"]}],
            },
        )
        (folder / "README.md").write_text(
            _README.format(
                name=about["name"], description=about["description"], version=about["version"], cohort=about["cohort"]
            ),
            encoding="utf-8",
        )
        (folder / ".bidsignore").write_text("manifest.csv\nro-crate-metadata.json\n", encoding="utf-8")
        rows = {one.patient: (_age(one.known.get("PatientAge")), _SEX.get(one.known.get("PatientSex") or "", "n/a"))
                for one in reversed(items)}  # fmt: skip
        lines = ["participant_id\tage\tsex", *(f"sub-{who}\t{age}\t{sex}" for who, (age, sex) in sorted(rows.items()))]
        (folder / "participants.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        write_json(folder / "participants.json", _PARTICIPANTS)


_SEX = {"M": "M", "F": "F", "O": "O"}
_PARTICIPANTS = {
    "participant_id": {"Description": "Number of the participant in this dataset"},
    "age": {"Description": "Age at the first study, 89 for all older ones", "Units": "year"},
    "sex": {"Description": "As recorded with the images", "Levels": {"M": "male", "F": "female", "O": "other"}},
}


class Kind(NamedTuple):
    """What BIDS calls a series."""

    folder: str
    entities: tuple[str, ...]
    """Such as ``ce-gad``, in order."""
    suffix: str

    def entity(self, name: str) -> str:
        """The value of an entity; empty where it has none."""
        return next((one.partition("-")[2] for one in self.entities if one.startswith(f"{name}-")), "")


def kind_of(item: Item) -> Kind:
    """What a series is.

    Raises
    ------
    InvalidInputError
        The cohort's column says what BIDS has no name for here, or nothing says what the series is.
    UnsupportedError
        No magnetic resonance image.
    """
    modality = item.known.get("Modality")
    if modality != "MR":
        raise UnsupportedError(f"only MR is exported as BIDS, this series is {modality or 'of no modality'}")
    if wanted := item.member.columns.get("bids"):
        return _as_kind(str(wanted))
    found = _named(item)
    if found is None:
        raise InvalidInputError(
            "nothing says plainly what BIDS calls this series: freeze the cohort with a column bids, such as anat/T1w"
        )
    return Kind("anat", (), found)


def _as_kind(text: str) -> Kind:
    """What the cohort's column says."""
    match = _COLUMN.fullmatch(text)
    folder = match["folder"] if match else "anat"
    entities = tuple(match["entities"].split("_")[:-1]) if match else ()
    names = [one.partition("-")[0] for one in entities]
    known = _ENTITIES[folder]
    is_sound = match is not None and match["suffix"] in _SUFFIXES[folder] and set(names) <= set(known)
    if match is None or not is_sound or len(set(names)) < len(names) or (folder == "func" and "task" not in names):
        raise InvalidInputError(
            f"the column bids takes {folder}/, entities out of {', '.join(known)}, each once, and a suffix out of "
            f"{', '.join(_SUFFIXES[folder])}, such as anat/ce-gad_T1w or func/task-rest_bold"
        )
    ordered = sorted(entities, key=lambda one: known.index(one.partition("-")[0]))
    return Kind(folder, tuple(ordered), match["suffix"])


def _named(item: Item) -> str | None:
    """What the description names, if it is one thing and the echo time agrees."""
    told = " ".join(str(item.known.get(name) or "") for name in ("SeriesDescription", "ProtocolName")).upper()
    text = re.sub(r"[_.:/]", " ", told)
    found = {name for name, words in _NAMED.items() if words.search(text)}
    if found == {"T2w", "FLAIR"}:
        found = {"FLAIR"}
    echo = item.known.get("EchoTime")
    derived = "DERIVED" in (item.known.get("ImageType") or ())
    if len(found) != 1 or derived or item.known.get("ContrastBolusAgent") or echo is None:
        return None
    (name,) = found
    short = name in ("T1w", "PDw")
    return name if (echo < _SHORT_ECHO_MS if short else name == "T2starw" or echo > _LONG_ECHO_MS) else None


def _name(item: Item) -> tuple[str, str, str]:
    """Folder, beginning and suffix; of what cannot be named something that is never written."""
    try:
        kind = kind_of(item)
    except ResearchPacsError:
        kind = Kind("anat", (), "unnamed")
    beginning = "_".join((f"sub-{item.patient}", f"ses-{item.study}", *kind.entities))
    return f"sub-{item.patient}/ses-{item.study}/{kind.folder}", beginning, kind.suffix


def _age(text: Any) -> str:
    """Years, from an Age String (PS3.5 6.2); very old people are few enough to be known by it."""
    match = re.fullmatch(r"(\d{3})([YMWD])", str(text or "").strip())
    if match is None:
        return "n/a"
    per_year = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}[match[2]]
    return f"{min(int(match[1]) / per_year, 89):.3g}"
