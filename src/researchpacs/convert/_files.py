"""Conversion on the way into an archive: what `ingest` asks of each file it walks over."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from researchpacs.convert._to_dicom import to_dicom
from researchpacs.dicom.foreign import CONVERTIBLE
from researchpacs.errors import InvalidInputError

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["file_converter"]

_OF_OWN_MODALITY = frozenset({"PDF", "STL"})
"""Kinds whose modality is given, so that one said for a folder is not meant for them."""
_OF_ARRAYS = frozenset({"source", "affine_lps", "spacing"})


def file_converter(options: Mapping[str, Any] | None) -> "Callable[[Path], Sequence[Dataset] | None] | None":
    """Give what turns the path of a file into instances, and into None where it is none that can be converted.

    Parameters
    ----------
    options
        Those of `to_dicom` that make sense for files. None: nothing is converted, and there is no converter.

    Raises
    ------
    InvalidInputError
        Another option, or nobody that the instances belong to; before any file is read.
    """
    if options is None:
        return None
    from researchpacs.convert._sources import file_kind
    from researchpacs.convert._subject import as_subject

    known = sorted(set(inspect.signature(to_dicom).parameters) - _OF_ARRAYS)
    if not isinstance(options, Mapping) or set(options) - set(known):
        raise InvalidInputError(
            f"convert= is a mapping of options of to_dicom, such as {{'like': study}}; known are {', '.join(known)}"
        )
    as_subject(options.get("like"), options.get("attributes") or {})

    def convert(path: Path) -> "Sequence[Dataset] | None":
        kind = file_kind(path)
        own = {name: value for name, value in options.items() if name != "modality" or kind not in _OF_OWN_MODALITY}
        return to_dicom(path, **own) if kind in CONVERTIBLE else None

    return convert
