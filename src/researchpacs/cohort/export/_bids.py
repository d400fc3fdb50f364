"""BIDS: magnetic resonance images of structure, where the cohort or the series says plainly what they are.

The names are those of the Brain Imaging Data Structure 1.10. What a series is comes from the cohort's column ``bids``,
such as ``anat/T1w`` or ``anat/ce-gad_T1w``, else from its description, if that names one weighting only and the echo
time does not contradict it. A guess would be worse than a series that is left out with the reason.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from researchpacs.cohort.export._items import Item
from researchpacs.cohort.export._sidecar import write_json
from researchpacs.errors import InvalidInputError, ResearchPacsError, UnsupportedError

if TYPE_CHECKING:
    from researchpacs.cohort.export._formats import Format
    from researchpacs.cohort.part import Source

__all__ = ["Bids", "kind_of"]

VERSION = "1.10.0"
_SUFFIXES = ("T1w", "T2w", "PDw", "FLAIR", "T2starw", "PDT2", "angio", "inplaneT1", "inplaneT2")
_ENTITIES = ("acq", "ce", "rec")
_COLUMN = re.compile(
    rf"anat/(?P<entities>(?:(?:{'|'.join(_ENTITIES)})-[A-Za-z0-9]+_)*)(?P<suffix>{'|'.join(_SUFFIXES)})"
)
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
    """

    name = "bids"
    keeps_identity = False

    def __init__(self, volumes: "Format") -> None:
        self._volumes = volumes

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
        kind_of(item)
        return self._volumes.at_most(item, source)

    def write(self, item: Item, source: "Source", place: Path) -> None:
        kind_of(item)
        self._volumes.write(item, source, place)

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


def kind_of(item: Item) -> tuple[str, str]:
    """Entities and suffix of a series, such as ``("ce-gad_", "T1w")``.

    Raises
    ------
    InvalidInputError
        The cohort's column says what BIDS has no name for here, or nothing says what the series is.
    UnsupportedError
        No magnetic resonance image.
    """
    wanted = item.member.columns.get("bids")
    if wanted:
        match = _COLUMN.fullmatch(str(wanted))
        if match is None:
            raise InvalidInputError(
                f"the column bids takes anat/, entities out of {', '.join(_ENTITIES)} and a suffix out of "
                f"{', '.join(_SUFFIXES)}, such as anat/ce-gad_T1w"
            )
        entities = sorted(match["entities"].split("_")[:-1], key=lambda one: _ENTITIES.index(one.partition("-")[0]))
        return "".join(f"{one}_" for one in entities), match["suffix"]
    modality = item.known.get("Modality")
    if modality != "MR":
        raise UnsupportedError(
            f"only MR is exported as BIDS, this series is {modality or 'of no modality'}; NIfTI has it"
        )
    found = _named(item)
    if found is None:
        raise InvalidInputError(
            "nothing says plainly what BIDS calls this series: freeze the cohort with a column bids, such as anat/T1w"
        )
    return "", found


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
        entities, suffix = kind_of(item)
    except ResearchPacsError:
        entities, suffix = "", "unnamed"
    beginning = f"sub-{item.patient}_ses-{item.study}_{entities}".removesuffix("_")
    return f"sub-{item.patient}/ses-{item.study}/anat", beginning, suffix


def _age(text: Any) -> str:
    """Years, from an Age String (PS3.5 6.2); very old people are few enough to be known by it."""
    match = re.fullmatch(r"(\d{3})([YMWD])", str(text or "").strip())
    if match is None:
        return "n/a"
    per_year = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}[match[2]]
    return f"{min(int(match[1]) / per_year, 89):.3g}"
