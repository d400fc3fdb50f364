"""Write a cohort into a folder: series by series, whole ones only, so that a run that was cut short goes on."""

import csv
import getpass
import io
import os
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from researchpacs.cohort._members import digest_of
from researchpacs.cohort.cohort import Cohort
from researchpacs.cohort.export._crate import citations_of, write_crate
from researchpacs.cohort.export._formats import Format, format_of
from researchpacs.cohort.export._items import Item, items_of
from researchpacs.cohort.export._record import LOCK, Record
from researchpacs.cohort.export._report import Exported, ExportReport
from researchpacs.errors import ConflictError, InvalidInputError, ResearchPacsError
from researchpacs.ingest._progress import Progress
from researchpacs.storage.durable import sync_all, sync_directory, write_atomically
from researchpacs.storage.full import is_disk_full

if TYPE_CHECKING:
    from researchpacs.cohort.part import Part, Source

__all__ = ["exported"]

_PARTIAL = ".partial"
_MANIFEST = "manifest.csv"
_MOST_THREADS = 4
_LONGEST_ERROR = 500
_IDENTITY = (
    "The files are as they are stored, bit for bit: names, identifiers and dates of the patients are in them.",
    "Patients are numbered; names, identifiers, dates and free text are left out. Faces are not removed from images.",
)


@dataclass(frozen=True, slots=True)
class _Run:
    """What is written how, from where to where."""

    rows: Sequence[Exported]
    written: Format
    source: "Source"
    out: Path
    record: Record


def exported(
    part: "Part",
    folder: str | os.PathLike[str],
    *,
    written: str,
    licence: str | None = None,
    on_irregular: str = "raise",
    dry_run: bool = False,
    workers: int | None = None,
    progress: bool | None = None,
) -> ExportReport:
    """Do the work of `Part.export`, which says what the parameters are."""
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise InvalidInputError(f"workers={workers!r}: expected a positive whole number")
    if licence is not None and not (isinstance(licence, str) and licence.strip() and licence.isprintable()):
        raise InvalidInputError("licence= takes the name or the address of a licence, such as 'CC BY 4.0'")
    how = format_of(written, on_irregular=on_irregular)
    out = Path(folder).expanduser().absolute()
    items = items_of(part)
    rows = [Exported(one, str(place)) for one, place in zip(items, how.places(items), strict=True)]
    if dry_run:
        return ExportReport(out, written, [_measured(one, how, part.source) for one in rows], dry_run=True)
    with _alone(out):
        options = {"format": written, "on_irregular": on_irregular, "name": part.name}
        run = _Run(rows, how, part.source, out, Record(out, part.members, options))
        shutil.rmtree(out / _PARTIAL, ignore_errors=True)
        found = _results(run, workers or min(_MOST_THREADS, os.cpu_count() or 1))
        with closing(found), Progress(wanted=progress, what="export", total=len(rows), unit="series") as bar:
            done = dict(bar.count(found))
        shutil.rmtree(out / _PARTIAL, ignore_errors=True)
        told = [done[at] for at in range(len(rows))]
        _describe(part, out, how, told, licence)
    return ExportReport(out, written, told, dry_run=False)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep other exports out of a folder while this one writes."""
    if out.exists() and not out.is_dir():
        raise InvalidInputError(f"{out} is no folder")
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise ConflictError(f"another process is exporting into {out}") from error


def _measured(one: Exported, written: Format, source: "Source") -> Exported:
    if one.item.refusal is not None:
        return _failed(one, one.item.refusal)
    try:
        return replace(one, bytes=written.at_most(one.item, source))
    except Exception as error:  # whatever it is, the other series are told
        return _failed(one, error)


def _results(run: _Run, limit: int) -> Generator[tuple[int, Exported]]:
    """Give what came of each series, by its place; only this thread moves files and writes the record."""
    waiting: dict[Future[Path], int] = {}
    left = iter(enumerate(run.rows))
    executor = ThreadPoolExecutor(limit, thread_name_prefix="export")
    try:
        while True:
            while len(waiting) < limit and (following := next(left, None)) is not None:
                at, one = following
                if (files := run.record.files_of(one.item.member)) is not None:
                    yield at, _finished(one, files, was_there=True)
                elif one.item.refusal is not None:
                    yield at, _failed(one, one.item.refusal)
                else:
                    waiting[executor.submit(_write_one, run, at)] = at
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                at = waiting.pop(future)
                yield at, _kept(run, at, future)
    finally:
        for future in waiting:
            future.cancel()
        executor.shutdown()


def _write_one(run: _Run, at: int) -> Path:
    """Write the files of a series below a folder of their own, durably."""
    partial = run.out / _PARTIAL / str(at)
    one = run.rows[at]
    run.written.write(one.item, run.source, partial / one.path)
    sync_all([path for path in partial.rglob("*") if path.is_file()])
    return partial


def _kept(run: _Run, at: int, future: "Future[Path]") -> Exported:
    """Move the files of a series to their place, and note them."""
    error = future.exception()
    if error is not None:
        if is_disk_full(error) or not isinstance(error, Exception):
            raise error
        return _failed(run.rows[at], error)
    partial = future.result()
    files, folders = [], set()
    for path in sorted(path for path in partial.rglob("*") if path.is_file()):
        name = path.relative_to(partial)
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        files.append((name.as_posix(), path.stat().st_size, digest))
        (run.out / name).parent.mkdir(parents=True, exist_ok=True)
        path.replace(run.out / name)
        folders |= {run.out / above for above in name.parents}
    sync_all(sorted(folders))
    run.record.add(run.rows[at].item.member, tuple(files))
    return _finished(run.rows[at], tuple(files), was_there=False)


def _finished(one: Exported, files: tuple[tuple[str, int, str], ...], *, was_there: bool) -> Exported:
    roots = [one.root_of(name) for name, _, _ in files]
    alike = [root for root in roots if root.endswith(PurePosixPath(one.path).suffix)]
    path = one.path if one.path in roots else alike[0]
    return replace(one, path=path, files=files, bytes=sum(size for _, size, _ in files), was_there=was_there)


def _failed(one: Exported, error: BaseException) -> Exported:
    """Say why, in the manifest too: errors of others may quote values, and are told by their kind alone."""
    reason = f": {error}" if isinstance(error, ResearchPacsError | OSError) else ", which no one expected"
    return replace(one, path="", error=f"{type(error).__name__}{reason}"[:_LONGEST_ERROR], cause=error)


# -- the whole ---------------------------------------------------------------------------------------------------------


def _describe(part: "Part", out: Path, written: Format, rows: Sequence[Exported], licence: str | None) -> None:
    """Write the manifest, what the format has for all, and the description as linked data."""
    about = _about(part, written, rows, licence)
    written.finish(out, [one.item for one in rows if one.error is None], about)
    write_atomically(out / _MANIFEST, _manifest(rows).encode())
    ours = {name for one in rows for name, _, _ in one.files}
    beside = sorted(
        path.name for path in out.iterdir() if path.is_file() and path.name not in ours and path.name[0] != "."
    )
    write_crate(out, rows, about, [name for name in beside if not name.startswith("ro-crate")])
    sync_directory(out)


def _about(part: "Part", written: Format, rows: Sequence[Exported], licence: str | None) -> Mapping[str, Any]:
    names = sorted({one.item.origin.get("license_short_name") or "" for one in rows if one.error is None})
    identity = _IDENTITY[0 if written.keeps_identity else 1]
    exported_count, failed = sum(one.error is None for one in rows), sum(one.error is not None for one in rows)
    left_out = f" {failed} series could not be exported; the manifest says why." if failed else ""
    description = str(getattr(part, "description", "") or f"The series of {part.name}.")
    return {
        "name": part.name,
        "cohort": part.name,
        "description": f"{description} {exported_count} series as {written.name}. {identity}{left_out}",
        "identity": identity,
        "question": _question(part, whole=written.keeps_identity),
        "digest": getattr(part, "digest", None) or digest_of(part.members),
        "format": written.name,
        "author": getattr(part, "author", None) or getpass.getuser(),
        "created_at": getattr(part, "created_at", None) or datetime.now(UTC).isoformat(timespec="seconds"),
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": version("researchpacs"),
        "license": licence or (names[0] if len(names) == 1 and names[0] else None),
        "citations": citations_of(rows),
    }


def _question(part: "Part", *, whole: bool) -> str:
    """What found the members: the query where files say who the patients are, else the steps of `attrition`."""
    query = getattr(getattr(part, "question", None), "query", "")
    if whole or not query:
        return f"Series found by: {query}" if query else "A list of series that were named one by one."
    steps = [step.step for step in part.attrition().steps[1:-1]] if isinstance(part, Cohort) else []
    # Conditions and words are as somebody typed them, and may name a patient.
    told = [step.partition(":")[0] if step.startswith(("where:", "text:")) else step for step in steps]
    return f"Series found by a query; {'; '.join(told) or 'the archive has it'}."


def _manifest(rows: Sequence[Exported]) -> str:
    """A line per file, and one per series that is not exported."""
    own = list(dict.fromkeys(name for one in rows for name in one.item.columns))
    origins = list(dict.fromkeys(name for one in rows for name in one.item.origin))
    out = io.StringIO()
    fixed = ("path", "bytes", "sha256", "patient", "study", "series", "StudyInstanceUID", "SeriesInstanceUID", "error")
    table = csv.writer(out, lineterminator="\n")
    own = [name for name in own if name not in {*fixed, *origins}]
    table.writerow([*fixed, *origins, *own])
    for one in rows:
        for path, size, digest in one.files or (("", "", ""),):
            table.writerow([*_fixed(one, path, size, digest), *_beside(one.item, origins, own)])
    return out.getvalue()


def _fixed(one: Exported, *file: Any) -> Iterator[Any]:
    member = one.item.member
    yield from file
    yield from (one.item.patient, one.item.study, one.item.series, member.study_uid, member.series_uid, one.error or "")


def _beside(item: Item, origins: Sequence[str], own: Sequence[str]) -> Iterator[Any]:
    yield from (item.origin.get(name, "") for name in origins)
    yield from (item.columns.get(name, "") for name in own)
