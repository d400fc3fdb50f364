"""Look at series, volumes and pictures in a notebook cell, and measure on them."""

from typing import TYPE_CHECKING, Any

from researchpacs.viewer._scene import as_spacing
from researchpacs.viewer._widget import Viewer
from researchpacs.viewer._window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from researchpacs.annotation import Measurement

__all__ = ["Viewer", "Window", "view"]


def view(
    target: Any,
    *,
    window: "Window | str | None" = None,
    layout: str | None = None,
    spacing: object = None,
    save: "Callable[[Sequence[Measurement]], object] | None" = None,
    known: "Callable[[str], Sequence[Measurement]] | None" = None,
) -> Viewer:
    """Show what is given as planes in a cell.

    Parameters
    ----------
    target
        A volume with dims (z, y, x) and a geometry, also repeated over time or in colour; frames with dims (frame, row,
        column); a series, opened lazily, as frames where it is no volume; a study, with a menu of its series; a NumPy
        array; a SimpleITK image.
    window
        A `Window` or the name of a preset; by default what suits the modality.
    layout
        ``"mpr"``: all planes side by side; ``"stack"``: one; by default what there is.
    spacing
        Of a NumPy array: mm along (z, y, x).
    save
        Stores measurements; without it they stay in the viewer's `annotations`.
    known
        Gives the measurements that are stored already, of a SeriesInstanceUID.

    Raises
    ------
    GeometryError
        Where an array has lost its geometry, or its planes are no rectangles.
    InvalidInputError
        For another target, an unknown window or layout.
    """
    return Viewer(target, window=window, layout=layout, spacing=as_spacing(spacing), save=save, known=known)
