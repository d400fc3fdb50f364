"""The volumes of a series to be exported: opened without a pixel, or read one after another."""

from typing import TYPE_CHECKING, Any

from researchpacs.cohort.export._items import Item

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr

    from researchpacs.cohort.part import Source

__all__ = ["dimensions_of", "opened", "volumes_of"]


def opened(item: Item, source: "Source", on_irregular: str) -> "list[xr.DataArray]":
    """The volumes; no pixel is read."""
    from researchpacs.volume import open_volumes

    return open_volumes(source.handle(item.member), on_irregular=on_irregular)


def volumes_of(item: Item, source: "Source", on_irregular: str, stem: str) -> "Iterator[tuple[str, xr.DataArray]]":
    """The volumes in memory, one at a time, under names that begin with `stem`: as it is where there is one."""
    from researchpacs.volume import read_volume

    found = opened(item, source, on_irregular)
    if len(found) == 1:
        yield stem, read_volume(source.handle(item.member), on_irregular=on_irregular)
        return
    for number, vol in enumerate(found, start=1):
        yield f"{stem}-{number}", vol.compute()


def dimensions_of(vol: "xr.DataArray") -> dict[str, list[Any]]:
    """Coordinates of the dimensions beside z, y, x, by their names."""
    return {str(name): vol[name].values.tolist() for name in vol.dims if name not in ("z", "y", "x")}
