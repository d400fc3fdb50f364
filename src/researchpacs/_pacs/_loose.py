"""Files that are in no archive, to be looked at: DICOM by way of a temporary one, for there is only one door."""

import atexit
import os
import tempfile
from pathlib import Path
from typing import Any

from researchpacs._pacs._facade import OPEN, Pacs
from researchpacs.config import Settings
from researchpacs.errors import InvalidInputError, NotFoundError

__all__ = ["loose"]

IMAGES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
"""What SimpleITK reads as images with a place."""


def loose(path: str | os.PathLike[str]) -> Any:
    """Open what is at a path.

    Returns
    -------
    target
        A SimpleITK image; a study, or its one series, of an archive that lasts as long as the process and refers to the
        files where they are.

    Raises
    ------
    NotFoundError
        Nothing is there.
    InvalidInputError
        It holds no DICOM images, or those of several studies; or SimpleITK cannot read it.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise NotFoundError("there is nothing at this path; check its spelling and the working directory")
    if place.name.lower().endswith(IMAGES):
        return _image(place)
    home = tempfile.TemporaryDirectory(prefix="researchpacs-view-")
    pacs = Pacs(Settings.load(Path(home.name)))
    # None of those that people open: SQL cells and others look there.
    OPEN.discard(pacs)
    atexit.register(_end, pacs, home)
    pacs.ingest(place, copy=False)
    studies = list(pacs.search("study"))
    if len(studies) != 1:
        raise InvalidInputError(
            f"the path holds {len(studies)} studies; ingest it with pacs.ingest and view one of them"
            if studies
            else "the path holds no DICOM objects that can be ingested"
        )
    (study,) = studies
    series = study.series
    return series[0] if len(series) == 1 else study


def _image(place: Path) -> Any:
    import SimpleITK

    try:
        return SimpleITK.ReadImage(str(place))
    except RuntimeError:
        # Its own message names the path, which may name a person.
        raise InvalidInputError(f"SimpleITK cannot read this {place.suffix} file as an image") from None


def _end(pacs: Pacs, home: "tempfile.TemporaryDirectory[str]") -> None:
    pacs.close()
    home.cleanup()
