"""One task -> one `Incoming` or one `Refusal`: scan, hash, and a temporary file, in constant memory."""

import hashlib
import os
import secrets
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from researchpacs.dicom._walk_window import BLOCK_BYTES
from researchpacs.dicom.facts import FactReader, Facts
from researchpacs.dicom.likeness import Like, Likeness
from researchpacs.dicom.scan import Scan, scan
from researchpacs.errors import InvalidInputError
from researchpacs.ingest._tasks import FileTask, MemberTask, SpooledTask, Task
from researchpacs.ingest._zip import copy_member
from researchpacs.ingest.identified import KEYWORDS, clean_text, identified
from researchpacs.model import Identity, Incoming, Issue, Reference, Refusal
from researchpacs.storage.durable import begin_to_write
from researchpacs.storage.full import is_disk_full

__all__ = ["Checker", "Hashes", "checked_or_refused", "hashed", "incoming_of", "reason_of", "scanned"]

_CHUNK = 1 << 20
_CHANGED = "it changed while it was read; ingest it again when it is complete"


class Checker:
    """Checks tasks one after the other; a context manager, because it keeps the last zip archive open.

    Parameters
    ----------
    tmp
        The workspace for temporary files.
    """

    def __init__(self, tmp: Path) -> None:
        self._tmp = tmp
        self._archive: tuple[Path, zipfile.ZipFile] | None = None
        self._facts = FactReader()
        self._likeness: Likeness[Incoming] = Likeness(self._facts)

    def __call__(self, task: Task) -> Incoming | Refusal:
        """Check one input; whatever is wrong with it becomes a refusal, so that the others go on."""
        return checked_or_refused(task.source, lambda: self._checked(task))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._archive is not None:
            self._archive[1].close()
            self._archive = None

    def _checked(self, task: Task) -> Incoming:
        if isinstance(task, FileTask):
            return self._file(task)
        if isinstance(task, MemberTask):
            return self._member(task)
        return self._spooled(task)

    def _file(self, task: FileTask) -> Incoming:
        with BufferedReader(FileIO(task.path, "rb", opener=_open_at_once), BLOCK_BYTES) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise InvalidInputError("neither a file nor a folder")
            block = file.read(BLOCK_BYTES)
            like = self._likeness.read(block, before.st_size)
            if like is not None:
                return self._like(task, file, before, block, like)
            found = scanned(file)
            if not task.copy:
                made = _reference(task, file, found, before, facts_in(self._facts, found, file))
            else:
                with self._blob() as (blob, target):
                    digest = hashed(file, found, target)
                    facts = facts_in(self._facts, found, file)
                    _refuse_changed(before, os.fstat(file.fileno()), digest.size)
                made = incoming_of(task.source, found, digest, blob=blob, facts=facts)
        self._likeness.learn(found, made.facts, block, made)
        return made

    def _like(
        self, task: FileTask, file: BinaryIO, before: os.stat_result, block: bytes, like: Like[Incoming]
    ) -> Incoming:
        """Take a file whose header is like another's."""
        if not task.copy:
            _refuse_changed(before, os.fstat(file.fileno()), like.found.size)
            header_sha256 = hashlib.sha256(memoryview(block)[: like.found.header_length]).hexdigest()
            return _incoming_like(task.source, like, reference=Reference(task.path, before.st_mtime_ns, header_sha256))
        with self._blob() as (blob, target):
            digest = hashed(file, like.found, target)
            _refuse_changed(before, os.fstat(file.fileno()), digest.size)
        return _incoming_like(task.source, like, digest=digest, blob=blob)

    def _member(self, task: MemberTask) -> Incoming:
        with self._blob() as (blob, target):
            copy_member(self._zip(task.archive), task.index, target)
            target.seek(0)
            found = scanned(target)
            digest = hashed(target, found)
            facts = facts_in(self._facts, found, target)
        return incoming_of(task.source, found, digest, blob=blob, facts=facts)

    def _spooled(self, task: SpooledTask) -> Incoming:
        try:
            with task.blob.open("rb") as file:
                found = scanned(file)
                digest = hashed(file, found)
                facts = facts_in(self._facts, found, file)
        except BaseException:
            task.blob.unlink(missing_ok=True)
            raise
        return incoming_of(task.source, found, digest, blob=task.blob, facts=facts)

    def _zip(self, path: Path) -> zipfile.ZipFile:
        if self._archive is None or self._archive[0] != path:
            self.__exit__(None, None, None)
            try:
                self._archive = (path, zipfile.ZipFile(path))
            except zipfile.BadZipFile as error:
                raise InvalidInputError("the zip archive changed while it was read") from error
        return self._archive[1]

    @contextmanager
    def _blob(self) -> Iterator[tuple[Path, BinaryIO]]:
        """Open a new file in the workspace, removed where the block fails."""
        blob = self._tmp / f"{secrets.token_hex(12)}.part"
        try:
            with blob.open("x+b") as file:
                yield blob, file
        except BaseException:
            blob.unlink(missing_ok=True)
            raise


def checked_or_refused(source: str, check: Callable[[], Incoming]) -> Incoming | Refusal:
    """Turn whatever a check raises into a refusal."""
    try:
        return check()
    except InvalidInputError as error:
        return Refusal(source, str(error))
    except OSError as error:
        return Refusal(source, reason_of(error))
    except Exception as error:
        # The message may quote the file, so only its kind is told.
        return Refusal(source, f"cannot be read ({type(error).__name__}); please report this as a bug")


def reason_of(error: OSError) -> str:
    """Say in one phrase, without a path, what the system reported."""
    if is_disk_full(error):
        return "no space left on the disk of the archive; free some and ingest again"
    if isinstance(error, FileNotFoundError):
        return "it went away before it could be read"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return f"cannot be read ({os.strerror(error.errno or 0)})"


@dataclass(frozen=True, slots=True)
class Hashes:
    sha256: str
    dataset_sha256: str | None
    size: int


def _open_at_once(path: str, flags: int) -> int:
    # A pipe in place of a file would otherwise wait for a writer for ever.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def scanned(file: BinaryIO) -> Scan:
    if file.seek(0, os.SEEK_END) == 0:
        raise InvalidInputError("an empty file")
    file.seek(0)
    return scan(file)


def hashed(file: BinaryIO, found: Scan, target: BinaryIO | None = None) -> Hashes:
    """Hash a file from its start, and copy it in the same read; its data set is hashed by who needs to compare it."""
    whole, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(_CHUNK):
        whole.update(chunk)
        if target is not None:
            target.write(chunk)
        size += len(chunk)
    if target is not None:
        target.flush()
        begin_to_write(target.fileno())
    if size != found.size:
        raise InvalidInputError(_CHANGED)
    return Hashes(whole.hexdigest(), None, size)


def facts_in(reader: FactReader, found: Scan, file: BinaryIO) -> Facts | None:
    """Take the facts from an image's header; None for what else there is, and where the file has to be read whole."""
    if found.table is None or not found.header_length < found.size:
        return None

    def read(offset: int, length: int) -> bytes:
        file.seek(offset)
        return file.read(length)

    return reader.read(found, read(0, found.header_length), read)


def _reference(task: FileTask, file: BinaryIO, found: Scan, before: os.stat_result, facts: Facts | None) -> Incoming:
    """Keep a reference: hash the header only, which is the whole file where there are no pixels behind it."""
    file.seek(0)
    header = file.read(found.header_length)
    _refuse_changed(before, os.fstat(file.fileno()), found.size)
    header_sha256 = hashlib.sha256(header).hexdigest()
    digest = None
    if len(header) == found.size:
        digest = Hashes(header_sha256, hashlib.sha256(header[found.dataset_offset :]).hexdigest(), found.size)
    reference = Reference(task.path, before.st_mtime_ns, header_sha256)
    return incoming_of(task.source, found, digest, reference=reference, facts=facts)


def _refuse_changed(before: os.stat_result, after: os.stat_result, size: int) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or before.st_size != size:
        raise InvalidInputError(_CHANGED)


def incoming_of(
    source: str,
    found: Scan,
    digest: Hashes | None,
    *,
    blob: Path | None = None,
    reference: Reference | None = None,
    facts: Facts | None = None,
) -> Incoming:
    identity, attributes = identified(found)
    return Incoming(
        source=source,
        identity=identity,
        sop_class_uid=attributes["SOPClassUID"] or clean_text(found.text("MediaStorageSOPClassUID")),
        transfer_syntax_uid=found.transfer_syntax_uid,
        size=found.size,
        header_length=found.header_length,
        dataset_offset=found.dataset_offset,
        blob=blob,
        sha256=digest.sha256 if digest else None,
        dataset_sha256=digest.dataset_sha256 if digest else None,
        reference=reference,
        attributes={keyword: value for keyword, value in attributes.items() if value or found.has(keyword)},
        issues=tuple(Issue(oddity.keyword, oddity.problem) for oddity in found.issues),
        facts=facts,
    )


def _incoming_like(
    source: str,
    like: Like[Incoming],
    *,
    digest: Hashes | None = None,
    blob: Path | None = None,
    reference: Reference | None = None,
) -> Incoming:
    """As `incoming_of`, of a header that is like another's."""
    first, found = like.model, like.found
    told = {KEYWORDS[tag]: text for tag, text in like.texts.items() if text is not None and tag in KEYWORDS}
    identity = first.identity
    return Incoming(
        source=source,
        identity=Identity(
            identity.patient_id,
            identity.issuer,
            identity.study_uid,
            identity.series_uid,
            told.get("SOPInstanceUID", identity.sop_uid),
        ),
        sop_class_uid=first.sop_class_uid,
        transfer_syntax_uid=first.transfer_syntax_uid,
        size=found.size,
        header_length=found.header_length,
        dataset_offset=found.dataset_offset,
        blob=blob,
        sha256=digest.sha256 if digest else None,
        dataset_sha256=digest.dataset_sha256 if digest else None,
        reference=reference,
        attributes={**first.attributes, **told},
        facts=like.facts,
    )
