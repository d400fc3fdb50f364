"""Files that are no DICOM: named where they are refused, made into instances where somebody can."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from researchpacs.dicom.foreign import CONVERTIBLE, OPENING_BYTES, foreign_kind
from researchpacs.errors import ResearchPacsError
from researchpacs.ingest._check import reason_of
from researchpacs.ingest._spool import spool_dataset
from researchpacs.ingest._tasks import FileTask, Task
from researchpacs.model import Refusal

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["Converter", "converted", "explained"]

Converter: TypeAlias = Callable[[Path], "Sequence[Dataset] | None"]
"""Turns the path of a file into data sets; None for DICOM, and for what it cannot convert."""


def converted(task: FileTask, convert: Converter, tmp: Path) -> Iterator[Task | Refusal]:
    """Give a task for each instance that a file is converted into; the task itself where it is not converted."""
    try:
        made = convert(task.path)
    except ResearchPacsError as error:
        yield Refusal(task.source, str(error))
    except OSError as error:
        yield Refusal(task.source, reason_of(error))
    else:
        if made is None:
            yield task
        else:
            yield from (spool_dataset(dataset, task.source, tmp) for dataset in made)


def explained(refusal: Refusal) -> str:
    """Give the reason; of a file that could be converted, with the way to do that."""
    if not refusal.reason.startswith("not DICOM"):
        return refusal.reason
    try:
        with open(refusal.source, "rb") as file:
            kind = foreign_kind(file.read(OPENING_BYTES), Path(refusal.source).stat().st_size)
    except (OSError, ValueError):
        return refusal.reason  # a member of a zip archive, a stream, or gone by now
    if kind not in CONVERTIBLE:
        return refusal.reason
    return f"not DICOM: the file is {kind}; ingest(..., convert={{'like': study}}) makes DICOM of it"
