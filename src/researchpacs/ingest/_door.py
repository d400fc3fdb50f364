"""From sources to a report: `incoming` checks, the archive's `store` keeps, `ingest` puts the two together."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from researchpacs.ingest._convert import Converter, converted, explained
from researchpacs.ingest._inputs import Adapter, DatasetInput, Input, PathInput, as_inputs
from researchpacs.ingest._interrupt import interrupt_deferred
from researchpacs.ingest._pool import check_all
from researchpacs.ingest._progress import Progress
from researchpacs.ingest._report import IngestReport
from researchpacs.ingest._spool import spool_dataset, spool_stream
from researchpacs.ingest._tasks import FileTask, Task
from researchpacs.ingest._walk import path_tasks
from researchpacs.model import Incoming, Outcome, Refusal
from researchpacs.storage.home import Home

__all__ = ["incoming", "ingest"]


def ingest(
    sources: object,
    *,
    store: Callable[[Iterable[Incoming]], Iterator[Outcome]],
    home: Home,
    copy: bool = True,
    workers: int = 1,
    progress: bool | None = None,
    adapters: Sequence[Adapter] = (),
    convert: Converter | None = None,
    as_series: Callable[[Sequence[str]], Sequence[object]] | None = None,
) -> IngestReport:
    """Check everything that sources name or hold, hand it to an archive and report.

    Parameters
    ----------
    sources
        A path of a file, folder or zip archive, a binary stream, a pydicom Dataset, what an adapter knows, or a list of
        these.
    store
        `Archive.store`.
    home
        Where temporary files go.
    copy
        False leaves files where they are and keeps references. Zip members, streams and data sets are always copied.
    workers
        Processes that scan and hash; few inputs are done without.
    progress
        Show a bar; by default on a terminal and in a notebook.
    adapters
        What turns other objects into data sets.
    convert
        What turns files that are no DICOM into data sets; without it they are refused.
    as_series
        Turns SeriesInstanceUIDs into the handles of `IngestReport.series`.

    Raises
    ------
    InvalidInputError
        A source of an unknown kind, before anything is taken in; or one named directly was refused, after all others
        have been taken in.
    ConflictError
        A source named directly has the identity of a stored instance and other content.
    KeyboardInterrupt
        Interrupted, after what had been checked by then was stored.
    """
    inputs = as_inputs(sources, adapters)
    with (
        interrupt_deferred() as interrupted,
        home.workspace() as tmp,
        # Closed before the workspace goes: until then workers may write to it.
        closing(_incoming(inputs, tmp=tmp, copy=copy, workers=workers, progress=progress, convert=convert)) as checked,
    ):
        outcomes = list(_outcomes(checked, store, interrupted))
    report = IngestReport(outcomes, as_series)
    report.raise_for({one.source for one in inputs})
    return report


def incoming(
    sources: object,
    *,
    tmp: Path,
    copy: bool = True,
    workers: int = 1,
    progress: bool | None = None,
    adapters: Sequence[Adapter] = (),
) -> Generator[Incoming | Refusal]:
    """Check everything that sources name or hold, in no particular order; the parameters are those of `ingest`.

    Closing the generator early stops the workers.

    Parameters
    ----------
    tmp
        A workspace (`Home.workspace`) on the disk of the archive.
    """
    return _incoming(as_inputs(sources, adapters), tmp=tmp, copy=copy, workers=workers, progress=progress)


def _incoming(
    inputs: Sequence[Input],
    *,
    tmp: Path,
    copy: bool,
    workers: int,
    progress: bool | None,
    convert: Converter | None = None,
) -> Generator[Incoming | Refusal]:
    with Progress(wanted=progress) as bar:
        tasks = bar.expect(_tasks(inputs, tmp=tmp, copy=copy, convert=convert))
        yield from bar.count(check_all(tasks, tmp=tmp, workers=workers))


def _tasks(inputs: Sequence[Input], *, tmp: Path, copy: bool, convert: Converter | None) -> Iterator[Task | Refusal]:
    for one in inputs:
        if isinstance(one, PathInput):
            for task in path_tasks(one.path, one.source, copy=copy):
                if convert is not None and isinstance(task, FileTask):
                    yield from converted(task, convert, tmp)
                else:
                    yield task
        elif isinstance(one, DatasetInput):
            yield spool_dataset(one.dataset, one.source, tmp)
        else:
            yield spool_stream(one.stream, one.source, tmp)


def _outcomes(
    checked: Iterator[Incoming | Refusal],
    store: Callable[[Iterable[Incoming]], Iterator[Outcome]],
    interrupted: Callable[[], bool],
) -> Iterator[Outcome]:
    """Lead refusals past the archive; after an interrupt what has been checked is stored, and no more comes."""
    refused: list[Outcome] = []

    def accepted() -> Iterator[Incoming]:
        for one in checked:
            if isinstance(one, Refusal):
                refused.append(Outcome(one.source, "refused", explained(one)))
            else:
                yield one
            if interrupted():
                return

    yield from store(accepted())
    yield from refused
