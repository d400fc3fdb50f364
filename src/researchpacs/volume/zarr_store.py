"""A volume as a Zarr store that nothing is copied to: a chunk is made when somebody reads it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from math import ceil
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import MemoryStore

from researchpacs.errors import UnsupportedError
from researchpacs.volume._zarr_layout import as_stored
from researchpacs.volume.dataset import IMAGE

__all__ = ["VolumeStore"]

_CHUNKS = f"{IMAGE}/c/"


class VolumeStore(Store):
    """A read-only group of Zarr 3: the array ``image``, uncompressed, in the chunks of the volume, and coordinates.

    ``xarray.open_zarr(store, consolidated=False)`` and ``zarr.open_group(store, mode="r")`` take it. Reading raises
    what the volume raises.

    Parameters
    ----------
    vol
        Lazy or not; a chunk is the first chunk's size of a lazy one, a plane of another.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, vol: xr.DataArray) -> None:
        super().__init__(read_only=True)
        self._vol = vol
        self._chunk = _chunk_of(vol)
        self._counts = tuple(ceil(size / step) for size, step in zip(vol.shape, self._chunk, strict=True))
        # Everything but the voxels, written by xarray itself: `compute=False` leaves the array empty.
        self._around = MemoryStore()
        empty = vol.copy(data=da.zeros(vol.shape, dtype=vol.dtype, chunks=self._chunk))
        as_stored(empty).to_zarr(
            self._around, mode="w", zarr_format=3, consolidated=False, compute=False,
            encoding={IMAGE: {"chunks": self._chunk, "compressors": None}},
        )  # fmt: skip
        self._is_open = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VolumeStore) and other._vol is self._vol

    def __hash__(self) -> int:
        return id(self._vol)

    def __repr__(self) -> str:
        return f"<VolumeStore {dict(self._vol.sizes)} in chunks {self._chunk}>"

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Give the value of a key, or a part; None where there is none."""
        prototype = prototype or default_buffer_prototype()
        place = self._place(key)
        if place is None:
            return await self._around.get(key, prototype, byte_range)
        data = await asyncio.to_thread(self._read, place)
        return prototype.buffer.from_bytes(data[_slice_of(byte_range, len(data))])

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Give parts of values."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return self._place(key) is not None or await self._around.exists(key)

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse: the volume is where it is."""
        raise UnsupportedError(f"{key} cannot be written: the store is a view; write a copy with vol.dicom.to_zarr()")

    async def delete(self, key: str) -> None:
        """Refuse: the volume is where it is."""
        raise UnsupportedError(f"{key} cannot be deleted: the store is a view")

    async def list(self) -> AsyncIterator[str]:
        """Give all keys."""
        async for key in self._around.list():
            yield key
        for numbers in np.ndindex(self._counts):
            yield _CHUNKS + "/".join(map(str, numbers))

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Give the keys that begin so."""
        async for key in self.list():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Give what is directly below."""
        start = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        seen = set()
        async for key in self.list_prefix(start):
            name = key.removeprefix(start).partition("/")[0]
            if name not in seen:
                seen.add(name)
                yield name

    def _place(self, key: str) -> tuple[int, ...] | None:
        """Which chunk a key names."""
        numbers = key.removeprefix(_CHUNKS).split("/") if key.startswith(_CHUNKS) else []
        if len(numbers) != self._vol.ndim or not all(number.isdecimal() for number in numbers):
            return None
        place = tuple(map(int, numbers))
        return place if all(k < count for k, count in zip(place, self._counts, strict=True)) else None

    def _read(self, place: tuple[int, ...]) -> bytes:
        starts = [k * step for k, step in zip(place, self._chunk, strict=True)]
        region = tuple(slice(start, start + step) for start, step in zip(starts, self._chunk, strict=True))
        found = np.asarray(self._vol.isel(dict(zip(self._vol.dims, region, strict=True))).values)
        if found.shape != self._chunk:  # at an end: a chunk is whole, and nobody looks beyond
            whole = np.zeros(self._chunk, found.dtype)
            whole[tuple(slice(0, size) for size in found.shape)] = found
            found = whole
        return found.astype(found.dtype.newbyteorder("<"), copy=False).tobytes()


def _chunk_of(vol: xr.DataArray) -> tuple[int, ...]:
    if vol.chunks:
        return tuple(sizes[0] for sizes in vol.chunks)
    return tuple(size if name in ("y", "x", "row", "column", "rgb") else 1 for name, size in vol.sizes.items())


def _slice_of(part: Any, length: int) -> slice:
    if isinstance(part, RangeByteRequest):
        return slice(part.start, part.end)
    if isinstance(part, OffsetByteRequest):
        return slice(part.offset, None)
    if isinstance(part, SuffixByteRequest):
        return slice(max(0, length - part.suffix), None)
    return slice(None)
