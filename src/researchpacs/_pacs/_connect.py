"""Open an archive, and find those that are open."""

import os
from typing import TYPE_CHECKING, Any

from researchpacs._pacs._completion import offer_completion
from researchpacs._pacs._facade import OPEN, Pacs
from researchpacs._pacs._handles import Series, Study
from researchpacs._pacs._loose import loose
from researchpacs.config import Settings

if TYPE_CHECKING:
    from researchpacs.viewer import Viewer, Window

__all__ = ["connect", "opened", "view"]


def connect(where: str | os.PathLike[str] | None = None) -> Pacs:
    """Open an archive, and make it where there is none yet.

    Parameters
    ----------
    where
        The folder of an embedded archive; by default ``$RESEARCHPACS_HOME``, else the platform's user data folder.
        Or the URL of a server that keeps the instances: ``orthanc+http://user:secret@host:8042/``,
        ``dicomweb+https://host/dicom-web``. Only the catalog is then here, in the default folder.

    Raises
    ------
    InvalidInputError
        The folder holds something else.
    UnsupportedError
        A newer version wrote the archive, or it lies where it cannot be safe; the message says what to do.
    RemoteError, AccessError
        The server does not answer, or not to this user.
    """
    offer_completion()
    if isinstance(where, str) and "://" in where:
        return Pacs(Settings.load(), url=where)
    return Pacs(Settings.load(where))


def opened() -> list[Pacs]:
    """The archives that this process has open."""
    return [pacs for pacs in OPEN if not pacs.closed]


def view(
    target: Any, *, window: "Window | str | None" = None, layout: str | None = None, spacing: Any = None
) -> "Viewer":
    """Show what is given in the cell.

    Measurements drawn in it can be saved where the series is in an archive that this process has open.

    Parameters
    ----------
    target
        A DataArray from `open_volume`, `read_volume`, `open_frames` or `reconstruct`; a series or a study; a NumPy
        array; a SimpleITK image; the path of a DICOM file or folder, or of an image such as NIfTI or NRRD.
    window
        A `Window` or the name of a preset such as ``"lung"``; by default what suits the modality.
    layout
        ``"mpr"``: all planes side by side; ``"stack"``: one; by default what there is.
    spacing
        Of a NumPy array: mm along (z, y, x), or one number for all; without it nothing is measured.
    """
    from researchpacs import viewer

    if isinstance(target, str | os.PathLike):
        # Nothing is saved: the archive behind it is gone with the process.
        return viewer.view(loose(target), window=window, layout=layout)
    if isinstance(target, Series | Study):
        return target.view(window=window, layout=layout)
    uid = getattr(target, "attrs", {}).get("SeriesInstanceUID")
    owner = next((pacs for pacs in OPEN if uid and pacs.holds(uid)), None)
    if owner is not None:
        return owner.view(target, window=window, layout=layout)
    return viewer.view(target, window=window, layout=layout, spacing=spacing)
