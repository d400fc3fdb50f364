"""Parse what a user hands to `ingest` into inputs of three kinds."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, TypeGuard

from researchpacs.errors import InvalidInputError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Adapter", "DatasetInput", "Input", "PathInput", "StreamInput", "as_inputs"]

_DEEPEST = 100

Adapter: TypeAlias = "Callable[[object], Sequence[Dataset] | None]"
"""Turns objects that ingest does not know into data sets; None for what is not its own.

It is called with the list of all unknown objects, so that what belongs together becomes one instance; where it declines
the list, with each object alone.
"""


@dataclass(frozen=True, slots=True)
class PathInput:
    """A file, folder or zip archive."""

    path: Path
    source: str


@dataclass(frozen=True, slots=True)
class DatasetInput:
    """A data set in memory."""

    dataset: "Dataset"
    source: str = "<dataset>"


@dataclass(frozen=True, slots=True)
class StreamInput:
    """A binary file object, read from where it stands to its end."""

    stream: BinaryIO
    source: str = "<stream>"


Input: TypeAlias = PathInput | DatasetInput | StreamInput


def as_inputs(sources: object, adapters: Sequence[Adapter] = ()) -> list[Input]:
    """Flatten lists and tell the kinds apart.

    Raises
    ------
    InvalidInputError
        An object that neither ingest nor an adapter knows; nothing has been taken in then.
    """
    inputs: list[Input] = []
    unknown: list[object] = []
    for thing in _flat(sources):
        known = _as_input(thing)
        if known is None:
            unknown.append(thing)
        else:
            inputs.append(known)
    return inputs + [DatasetInput(dataset) for dataset in _adapted(unknown, adapters)]


def _flat(sources: object, above: tuple[int, ...] = ()) -> Iterator[object]:
    # A Dataset iterates over its elements, a stream over its lines, a path is a text: none of them is a list here.
    single = (
        isinstance(sources, str | bytes | os.PathLike | Mapping) or _is_dataset(sources) or hasattr(sources, "read")
    )
    if single or not isinstance(sources, Iterable):
        yield sources
        return
    if id(sources) in above or len(above) > _DEEPEST:
        raise InvalidInputError("a list of sources holds itself or too many lists within lists; give a flat list")
    for source in sources:
        yield from _flat(source, (*above, id(sources)))


def _as_input(thing: object) -> Input | None:
    if _is_dataset(thing):
        return DatasetInput(thing)
    if isinstance(thing, str) or (isinstance(thing, os.PathLike) and not hasattr(thing, "read")):
        return PathInput(_as_path(thing), os.fspath(thing))
    if hasattr(thing, "read"):
        return StreamInput(thing)  # type: ignore[arg-type]
    return None


def _as_path(path: str | os.PathLike[str]) -> Path:
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidInputError("a path is a text that is not empty, without NUL; '.' is the current folder")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InvalidInputError("the ~ in a path names no user's folder; write the path out") from error


def _adapted(unknown: list[object], adapters: Sequence[Adapter]) -> "list[Dataset]":
    if not unknown:
        return []
    together = _ask(adapters, unknown)
    if together is not None:
        return list(together)
    datasets: list[Dataset] = []
    for thing in unknown:
        alone = _ask(adapters, thing)
        if alone is None:
            raise InvalidInputError(
                f"cannot ingest a {type(thing).__name__}; give a path, a binary stream, a pydicom Dataset, "
                "an annotation, or a list of these"
            )
        datasets += alone
    return datasets


def _ask(adapters: Sequence[Adapter], thing: object) -> "Sequence[Dataset] | None":
    return next((made for adapter in adapters if (made := adapter(thing)) is not None), None)


def _is_dataset(thing: object) -> "TypeGuard[Dataset]":
    """Whether it is a data set; who never imported pydicom has none, and need not wait for the import."""
    pydicom = sys.modules.get("pydicom")
    return pydicom is not None and isinstance(thing, pydicom.Dataset)
