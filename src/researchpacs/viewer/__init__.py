"""Look at a volume in a notebook cell: axial and coronal planes, windows, lengths."""

from typing import TYPE_CHECKING

from researchpacs.viewer._widget import Viewer
from researchpacs.viewer._window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import xarray as xr

    from researchpacs.annotation import Measurement
    from researchpacs.model import SeriesSource

__all__ = ["Viewer", "Window", "view"]


def view(
    target: "xr.DataArray | SeriesSource",
    *,
    window: "Window | str | None" = None,
    save: "Callable[[Sequence[Measurement]], object] | None" = None,
) -> Viewer:
    """Show a volume as axial and coronal planes side by side.

    Parameters
    ----------
    target
        A volume with dims (z, y, x) and a geometry, or a series, which is opened lazily.
    window
        A `Window` or the name of a preset; by default what suits the modality.
    save
        Stores the drawn lengths; without it they stay in the viewer's `annotations`.

    Raises
    ------
    GeometryError
        Where there is no volume geometry, or planes that are no rectangles (a tilted gantry).
    InvalidInputError
        For another target, more than three dims, an unknown window.
    """
    return Viewer(target, window=window, save=save)
