"""C-STORE (PS3.4 B.2): through the guarded scan into the archive; success means that the instance is durable."""

import itertools
from pathlib import Path

from researchpacs.archive import EmbeddedArchive
from researchpacs.archive._dimse._association import Memory, Message, Sink
from researchpacs.archive._dimse._command import C_STORE, Command
from researchpacs.archive._dimse._contexts import Context, is_storage
from researchpacs.archive._dimse._received import FileSink, file_meta
from researchpacs.ingest import check_spool
from researchpacs.model import Incoming, Refusal
from researchpacs.server.together import store_together
from researchpacs.storage.full import is_disk_full

__all__ = ["keep", "sink_for"]

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
_NO_SPACE = "no space left"
_counter = itertools.count(1)


def sink_for(context: Context, command: Command, *, folder: Path, calling_aet: str, most_bytes: int) -> Sink:
    """Say where the data set of a message goes: instances into a file, everything else is short."""
    if command["CommandField"] != C_STORE or not is_storage(context.sop_class_uid):
        return Memory()
    meta = file_meta(
        sop_class_uid=context.sop_class_uid,
        sop_instance_uid=str(command.get("AffectedSOPInstanceUID", "")),
        transfer_syntax_uid=context.transfer_syntax_uid,
        source_aet=calling_aet,
    )
    return FileSink(folder, meta, most_bytes=most_bytes)


def keep(request: Message, archive: EmbeddedArchive) -> tuple[int, str]:
    """Take in what a C-STORE brought; its status and, for a failure, why (PS3.4 table B.2-1)."""
    sink = request.sink
    if not isinstance(sink, FileSink):
        return CANNOT_UNDERSTAND, "a C-STORE without a data set"
    if sink.error is not None:
        return _failed(sink.error)
    checked = check_spool(sink.spool, f"C-STORE {next(_counter)}")
    if isinstance(checked, Refusal):
        return _refused(checked.reason)
    if problem := _mismatch(request.command, checked):
        return DOES_NOT_MATCH, problem
    try:
        (outcome,) = store_together(archive, [checked])
        sink.spool.hand_over()
    except OSError as error:
        return _failed(error)
    return _refused(outcome.reason) if outcome.kind == "refused" else (SUCCESS, "")


def _refused(reason: str) -> tuple[int, str]:
    return (OUT_OF_RESOURCES if reason.startswith(_NO_SPACE) else CANNOT_UNDERSTAND), reason


def _failed(error: OSError) -> tuple[int, str]:
    return OUT_OF_RESOURCES, _NO_SPACE if is_disk_full(error) else "the archive cannot write"


def _mismatch(command: Command, item: Incoming) -> str:
    if item.sop_class_uid != command.get("AffectedSOPClassUID"):
        return "the SOP class of the data set is not that of the request"
    if item.identity.sop_uid != command.get("AffectedSOPInstanceUID"):
        return "the SOP Instance UID of the data set is not the requested"
    return ""
