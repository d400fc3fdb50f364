"""The description of an export as linked data: an RO-Crate 1.1 (ro-crate-metadata.json).

It says what is in the folder, under which licence, whose data they are, how to cite them, and how it came about.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from researchpacs.cohort.export._report import Exported
from researchpacs.cohort.export._sidecar import write_json

__all__ = ["NAME", "citations_of", "licences_of", "write_crate"]

NAME = "ro-crate-metadata.json"
_CONTEXT = "https://w3id.org/ro/crate/1.1/context"
_SPECIFICATION = "https://w3id.org/ro/crate/1.1"
_CREATIVE_COMMONS = {
    f"cc {kind} {version}": f"https://creativecommons.org/licenses/{kind.replace(' ', '-')}/{version}/"
    for kind in ("by", "by-nc", "by-sa", "by-nd", "by-nc-sa", "by-nc-nd")
    for version in ("2.0", "2.5", "3.0", "4.0")
} | {"cc0 1.0": "https://creativecommons.org/publicdomain/zero/1.0/"}
_UNKNOWN = {
    "@id": "#no-licence",
    "@type": "CreativeWork",
    "name": "No licence is known",
    "description": "Nothing is known of a licence of these data: ask their owner before using them.",
}
_FORMATS = {
    ".dcm": "application/dicom",
    ".gz": "application/gzip",
    ".json": "application/json",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".md": "text/markdown",
}


def write_crate(folder: Path, rows: Sequence[Exported], about: Mapping[str, Any], beside: Sequence[str]) -> None:
    """Write the description of a folder.

    Parameters
    ----------
    folder
        Of the export.
    rows
        What came of each series.
    about
        Of the whole: name, description, cohort, digest, format, author, created_at, exported_at, version, license.
    beside
        Paths of the other files, such as the manifest.
    """
    write_json(folder / NAME, {"@context": _CONTEXT, "@graph": list(_graph(rows, about, beside))})


def licences_of(rows: Sequence[Exported], given: str | None) -> dict[str, dict[str, Any]]:
    """The licences of the exported series by their name; the one that was given stands for all."""
    names = [given] if given else sorted({name for one in rows if (name := _licence(one))})
    return {name: _licence_entity(name) for name in names}


def citations_of(rows: Sequence[Exported]) -> list[str]:
    """Where the data are cited, each once."""
    found = (one.item.origin.get("source_doi") for one in rows if one.error is None)
    return sorted({_doi(doi) for doi in found if doi})


def _graph(rows: Sequence[Exported], about: Mapping[str, Any], beside: Sequence[str]) -> Iterator[dict[str, Any]]:
    done = [one for one in rows if one.error is None]
    licences = licences_of(done, about["license"])
    all_known = bool(about["license"]) or all(_licence(one) for one in done)
    entities = [*licences.values(), *([] if all_known and licences else [_UNKNOWN])]
    citations = citations_of(done)
    data = [entity for one in done for entity in _data(one, licences)]
    files = [_file(name) for name in beside]
    yield {
        "@id": NAME,
        "@type": "CreativeWork",
        "conformsTo": {"@id": _SPECIFICATION},
        "about": {"@id": "./"},
    }
    yield {
        "@id": "./",
        "@type": "Dataset",
        "name": about["name"],
        "description": about["description"],
        "datePublished": about["exported_at"],
        "license": _references(entities),
        "author": {"@id": "#author"},
        "identifier": f"sha256:{about['digest']}",
        **({"citation": _references([{"@id": one} for one in citations])} if citations else {}),
        "isBasedOn": {"@id": "#cohort"},
        "hasPart": _references([*files, *data]),
        "mentions": {"@id": "#export"},
    }
    yield from files
    yield from data
    yield from entities
    yield from ({"@id": one, "@type": "CreativeWork", "name": one, "url": one} for one in citations)
    yield from _provenance(about)


def _provenance(about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"@id": "#author", "@type": "Person", "name": about["author"]}
    yield {
        "@id": "#cohort",
        "@type": "Dataset",
        "name": f"Cohort {about['cohort']}",
        "description": about["question"],
        "dateCreated": about["created_at"],
        "creator": {"@id": "#author"},
        "identifier": f"sha256:{about['digest']}",
    }
    yield {
        "@id": "#export",
        "@type": "CreateAction",
        "name": f"Export as {about['format']}",
        "description": about["identity"],
        "endTime": about["exported_at"],
        "agent": {"@id": "#author"},
        "instrument": {"@id": "#researchpacs"},
        "object": {"@id": "#cohort"},
        "result": {"@id": "./"},
    }
    yield {
        "@id": "#researchpacs",
        "@type": "SoftwareApplication",
        "name": "researchpacs",
        "version": about["version"],
        "softwareVersion": about["version"],
        "url": "https://researchpacs.readthedocs.io",
    }


def _data(one: Exported, licences: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The files of a series, or its folder where they are many."""
    origin = one.item.origin
    licence = licences.get(_licence(one))
    told = {
        **({"license": {"@id": licence["@id"]}} if licence else {}),
        **({"citation": {"@id": _doi(origin["source_doi"])}} if origin.get("source_doi") else {}),
        "identifier": f"urn:oid:{one.item.member.series_uid}",
    }
    within: dict[str, list[int]] = {}
    for name, length, _ in one.files:
        within.setdefault(one.root_of(name), []).append(length)
    for root, lengths in within.items():
        if any(name == root for name, _, _ in one.files):
            yield {**_file(root), "contentSize": str(lengths[0]), **told}
        else:
            size = f"{len(lengths)} files, {sum(lengths)} bytes"
            yield {"@id": f"{root}/", "@type": "Dataset", "name": root, "description": size, **told}


def _file(name: str) -> dict[str, Any]:
    return {
        "@id": quote(name),
        "@type": "File",
        "name": name,
        "encodingFormat": _FORMATS.get(Path(name).suffix, "application/octet-stream"),
    }


def _licence(one: Exported) -> str:
    return one.item.origin.get("license_short_name") or ""


def _licence_entity(name: str) -> dict[str, Any]:
    known = _CREATIVE_COMMONS.get(" ".join(name.lower().split()))
    is_address = name.startswith(("http://", "https://"))
    identity = known or (quote(name, safe=":/?#[]@!$&'()*+,;=%~") if is_address else f"#licence-{quote(name, safe='')}")
    return {"@id": identity, "@type": "CreativeWork", "name": name, "description": f"The licence {name}"}


def _doi(text: str) -> str:
    bare = text.removeprefix("https://doi.org/").removeprefix("http://doi.org/").removeprefix("doi:")
    return f"https://doi.org/{quote(bare, safe='/:;().-_')}"


def _references(entities: Sequence[Mapping[str, Any]]) -> Any:
    """One reference, or the list of several."""
    found = [{"@id": one["@id"]} for one in entities]
    return found[0] if len(found) == 1 else found
