"""Series and studies as xarray names them: by UID, handle, folder or URL."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from researchpacs._pacs._connect import connect, opened
from researchpacs._pacs._handles import Series, Study
from researchpacs.errors import InvalidInputError, NotFoundError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["series_dataset", "study_datasets"]

Noun: TypeAlias = Literal["series", "study"]
_PLURALS: dict[Noun, str] = {"series": "series", "study": "studies"}

_UID = re.compile(r"[0-9]+(\.[0-9]+)*\.?")
_URL = re.compile(r"(?P<root>.+?)(/studies/(?P<study>[0-9.]+))?(/series/(?P<series>[0-9.]+))?/?")


def series_dataset(given: Any, *, home: str | os.PathLike[str] | None, **options: Any) -> "xr.Dataset":
    """Open a series; `given` and `home` as the engine has them, options as for `open_volume`.

    Raises
    ------
    InvalidInputError
        What was given names no series.
    NotFoundError
        There is none of that UID, or nothing at that path.
    GeometryError
        It is no volume.
    """
    from researchpacs.volume.dataset import open_dataset

    with _found(given, "series", home) as series:
        return _named(open_dataset(series, **options), series.uid)


def study_datasets(given: Any, *, home: str | os.PathLike[str] | None, **options: Any) -> "dict[str, xr.Dataset]":
    """Open all series of a study, by the path of their node: the UID, with a number behind where there are several.

    What is no volume is there frame by frame; what has no images, as attributes.
    """
    import xarray as xr

    from researchpacs.volume.dataset import open_datasets

    with _found(given, "study", home) as study:
        groups = {"/": _named(xr.Dataset(attrs={"StudyInstanceUID": study.uid}), study.uid)}
        for series in study.series:
            about = {"SeriesInstanceUID": series.uid, "Modality": series.Modality or ""}
            parts = open_datasets(series, **options)
            if len(parts) == 1:
                groups[f"/{series.uid}"] = _named(parts[0].assign_attrs(about), series.uid)
                continue
            groups[f"/{series.uid}"] = xr.Dataset(attrs=about)
            for number, part in enumerate(parts, start=1):
                groups[f"/{series.uid}/{number}"] = _named(part, series.uid)
        return groups


def _named(found: "xr.Dataset", uid: str) -> "xr.Dataset":
    found.encoding["source"] = uid  # else xarray takes a UID for a relative path
    return found


@contextmanager
def _found(given: Any, level: Noun, home: str | os.PathLike[str] | None) -> Iterator[Any]:
    """Give the handle of what was named, while its archive is open."""
    if isinstance(given, Series if level == "series" else Study):
        yield given
    elif isinstance(given, str) and "://" in given:
        match = _URL.fullmatch(given)
        if match is None or not match[level] or (level == "study" and match["series"]):
            raise InvalidInputError(f"the URL of a {level} is that of connect() with /{_PLURALS[level]}/<uid> behind")
        with connect(match["root"]) as pacs:
            yield getattr(pacs, level)(match[level])
    elif isinstance(given, str) and _UID.fullmatch(given) and not Path(given).exists():
        with _of_uid(given, level, home) as handle:
            yield handle
    elif isinstance(given, str | os.PathLike) and os.fspath(given):
        if home is not None:
            raise InvalidInputError("home= is the archive of a UID; a folder or file is opened where it lies")
        with _on_disk(Path(given).expanduser(), level) as handle:
            yield handle
    else:
        raise InvalidInputError(f"{type(given).__name__}: expected a UID, a handle, a folder or a URL of a {level}")


@contextmanager
def _of_uid(uid: str, level: Noun, home: str | os.PathLike[str] | None) -> Iterator[Any]:
    """Look in the archives that are open here, unless another is named, then in that of `home`."""
    for pacs in opened() if home is None else []:
        with suppress(NotFoundError):
            handle = getattr(pacs, level)(uid)
            break
    else:
        with connect(home) as pacs:
            yield getattr(pacs, level)(uid)
        return
    yield handle


@contextmanager
def _on_disk(path: Path, level: Noun) -> Iterator[Any]:
    """Take files in by reference, into an archive that is gone again: a volume needs its files alone.

    So they pass the guarded scan as all others do.
    """
    if not path.exists():
        raise NotFoundError(f"there is nothing at that path, and it is no UID of a {level}")
    with tempfile.TemporaryDirectory(prefix="researchpacs-") as folder, connect(folder) as pacs:
        pacs.ingest(path, copy=False, progress=False)
        found = list(pacs.search(level, limit=2))
        if len(found) != 1:
            what = f"more than one {level}" if found else "no DICOM"
            raise InvalidInputError(f"the path holds {what}; ingest it, and open what it holds by UID")
        uids = [one.uid for one in pacs.search("instance")]
        if any(Path(place.path).is_relative_to(Path(folder).resolve()) for place in pacs.archive.locate(uids)):
            raise InvalidInputError("a zip archive is unpacked into an archive: ingest it, and open it by UID")
        yield found[0]
