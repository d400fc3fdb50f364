"""How a series becomes files: as it is stored, or as a volume with a description beside it.

Every format names its files by numbers, says how large they will be at most, and writes them below a folder that is
moved into place when they are whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from researchpacs.cohort.export import _bids
from researchpacs.cohort.export._items import Item
from researchpacs.cohort.export._sidecar import sidecar_of, write_json
from researchpacs.cohort.export._volumes import dimensions_of, opened, volumes_of
from researchpacs.errors import ConflictError, InvalidInputError

if TYPE_CHECKING:
    from researchpacs.cohort.part import Source

__all__ = ["Format", "format_of"]

_PIECE_BYTES = 16 << 20
_CHUNK_SLICES = 16
_FILES = """
select instance_key, sha256, size_bytes
from instances
where patient_key = $patient and StudyInstanceUID = $study and SeriesInstanceUID = $series
order by InstanceNumber nulls last, SOPInstanceUID
"""


class Format(Protocol):
    """What a cohort is exported as."""

    @property
    def name(self) -> str:
        """As users name it."""
        ...

    @property
    def keeps_identity(self) -> bool:
        """Whether files say who the patients are, where the archive does."""
        ...

    def places(self, items: Sequence[Item]) -> Sequence[PurePosixPath]:
        """Where each series comes to lie: a file or a folder."""
        ...

    def at_most(self, item: Item, source: "Source") -> int:
        """Bytes of its files, or before compression; errors as `write` raises them."""
        ...

    def write(self, item: Item, source: "Source", place: Path) -> None:
        """Write the files of a series: at `place`, in it, or beside it with the same beginning."""
        ...

    def finish(self, folder: Path, items: Sequence[Item], about: Mapping[str, Any]) -> None:
        """Write what describes all of them."""
        ...


def format_of(name: str, *, on_irregular: str) -> Format:
    """The format of a name.

    Raises
    ------
    InvalidInputError
        There is none.
    MissingExtraError
        It needs a package that is not installed.
    """
    if name == "dicom":
        return _Files()
    if name == "nifti":
        return _Nifti(on_irregular)
    if name == "zarr":
        return _Zarr(on_irregular)
    if name == "bids":
        return _bids.Bids(_Nifti(on_irregular), on_irregular=on_irregular)
    raise InvalidInputError(f"format={name!r}: expected 'dicom', 'nifti', 'zarr' or 'bids'")


def _numbered(item: Item) -> PurePosixPath:
    return PurePosixPath(f"patient-{item.patient}", f"study-{item.study}", f"series-{item.series}")


class _Files:
    """DICOM: every file bit for bit as it is stored, in a folder per series."""

    name = "dicom"
    keeps_identity = True

    def places(self, items: Sequence[Item]) -> Sequence[PurePosixPath]:
        return [_numbered(one) for one in items]

    def at_most(self, item: Item, source: "Source") -> int:
        return sum(size for _, _, size in self._files(item, source))

    def write(self, item: Item, source: "Source", place: Path) -> None:
        place.mkdir(parents=True)
        files = self._files(item, source)
        digits = max(6, len(str(len(files))))
        for number, (key, expected, size) in enumerate(files, start=1):
            digest = sha256()
            with (place / f"{number:0{digits}d}.dcm").open("xb") as file:
                for at in range(0, size, _PIECE_BYTES):
                    piece = source.archive.read(key, at, min(_PIECE_BYTES, size - at))
                    digest.update(piece)
                    file.write(piece)
            if expected and digest.hexdigest() != expected:
                raise ConflictError("a file is not the one that was stored; verify() says which")

    def finish(self, folder: Path, items: Sequence[Item], about: Mapping[str, Any]) -> None:
        """Nothing: the files describe themselves."""

    @staticmethod
    def _files(item: Item, source: "Source") -> list[tuple[str, str | None, int]]:
        patient, study, series = item.member.identity
        found = source.catalog.sql(_FILES, patient=patient, study=study, series=series).fetchall()
        return [(key, digest, size) for key, digest, size in found]


@dataclass(frozen=True, slots=True)
class _Nifti:
    """NIfTI: a compressed volume with a JSON file of its technical attributes beside it.

    A series of several volumes, such as magnitude and phase, becomes as many files, ``-1``, ``-2`` and so on.
    """

    on_irregular: str
    name: str = "nifti"
    keeps_identity: bool = False

    def places(self, items: Sequence[Item]) -> Sequence[PurePosixPath]:
        return [_numbered(one).with_suffix(".nii.gz") for one in items]

    def at_most(self, item: Item, source: "Source") -> int:
        vols = opened(item, source, self.on_irregular)
        for vol in vols:
            vol.dicom.affine_lps  # noqa: B018 - a volume without one has no place in NIfTI
        return sum(int(vol.nbytes) for vol in vols)

    def write(self, item: Item, source: "Source", place: Path) -> None:
        sidecar = sidecar_of(source.handle(item.member))
        place.parent.mkdir(parents=True, exist_ok=True)
        for stem, vol in volumes_of(item, source, self.on_irregular, place.name.removesuffix(".nii.gz")):
            vol.dicom.to_nifti(place.with_name(f"{stem}.nii.gz"))
            # What tells the volumes of a fourth dimension apart NIfTI has no place for.
            more = {"Dimensions": found} if (found := dimensions_of(vol)) else {}
            write_json(place.with_name(f"{stem}.json"), {**sidecar, **more})

    def finish(self, folder: Path, items: Sequence[Item], about: Mapping[str, Any]) -> None:
        """Nothing: each volume has its description beside it."""


@dataclass(frozen=True, slots=True)
class _Zarr:
    """Zarr: a volume as xarray writes it, coordinates included, for `xarray.open_zarr` and `researchpacs.restore`."""

    on_irregular: str
    name: str = "zarr"
    keeps_identity: bool = False

    def __post_init__(self) -> None:
        from researchpacs.volume import require_zarr

        require_zarr("an export as Zarr")

    def places(self, items: Sequence[Item]) -> Sequence[PurePosixPath]:
        return [_numbered(one).with_suffix(".zarr") for one in items]

    def at_most(self, item: Item, source: "Source") -> int:
        return sum(int(vol.nbytes) for vol in opened(item, source, self.on_irregular))

    def write(self, item: Item, source: "Source", place: Path) -> None:
        from researchpacs.volume import as_stored

        sidecar = sidecar_of(source.handle(item.member))
        for stem, found in volumes_of(item, source, self.on_irregular, place.name.removesuffix(".zarr")):
            sizes = found.sizes.items()
            chunks = tuple(size if axis in ("y", "x") else min(_CHUNK_SLICES, size) for axis, size in sizes)
            as_stored(found.assign_attrs(description=sidecar)).to_zarr(
                place.with_name(f"{stem}.zarr"), mode="w-", encoding={"image": {"chunks": chunks}}, zarr_format=2,
                consolidated=True,
            )  # fmt: skip

    def finish(self, folder: Path, items: Sequence[Item], about: Mapping[str, Any]) -> None:
        """Nothing: each volume describes itself."""
