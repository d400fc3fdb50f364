"""An instance of the archive to a peer, as a C-STORE (PS3.7 9.1.1): the stored bytes where the peer takes them.

Where it does not take the stored transfer syntax, it gets the same object uncompressed, if it takes that.
"""

import io
import warnings
from collections.abc import Iterable, Iterator

from pydicom import dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from researchpacs.archive._content import open_checked
from researchpacs.archive._dimse._association import Association
from researchpacs.archive._dimse._command import C_STORE
from researchpacs.archive._dimse._contexts import EXPLICIT, IMPLICIT, Context, Proposal
from researchpacs.archive._stored import Stored
from researchpacs.errors import PixelDataError, ResearchPacsError

__all__ = ["NO_CONTEXT", "UNREADABLE", "MoveOrigin", "proposals_for", "send_instance"]

NO_CONTEXT = 0x0122
"""SOP class not supported (PS3.7 C.5.6): here, by no presentation context of the association."""
UNREADABLE = 0x0110
"""Processing failure (PS3.7 C.5.5): our own file is gone, or cannot be decoded."""
_LITTLE_ENDIAN = (EXPLICIT, IMPLICIT)
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_MOST_CONTEXTS = 128

MoveOrigin = tuple[str, int]
"""AE title and Message ID of the C-MOVE that an instance is sent for (PS3.7 9.1.1.1)."""


def proposals_for(instances: Iterable[Stored], *, by_us: bool = True) -> Iterator[list[Proposal]]:
    """Give the presentation contexts that instances need, as many at a time as an association can have.

    Each SOP class is proposed in the transfer syntaxes it is stored in, one a context, so that the peer takes each or
    not, and uncompressed.

    Parameters
    ----------
    by_us
        False where the peer will send them: C-GET.
    """
    wanted: dict[str, list[str]] = {}
    for one in instances:
        syntaxes = wanted.setdefault(one.sop_class_uid, [])
        if one.transfer_syntax_uid not in syntaxes:
            syntaxes.append(one.transfer_syntax_uid)
    found: list[Proposal] = []
    for sop_class_uid, syntaxes in wanted.items():
        choices = [[uid] for uid in syntaxes]
        if not any(uid in _LITTLE_ENDIAN for uid in syntaxes):
            choices.append(list(_LITTLE_ENDIAN))
        elif EXPLICIT not in syntaxes or IMPLICIT not in syntaxes:
            choices.append([uid for uid in _LITTLE_ENDIAN if uid not in syntaxes])
        if len(found) + len(choices) > _MOST_CONTEXTS:
            yield found
            found = []
        for choice in choices[:_MOST_CONTEXTS]:
            number = 2 * len(found) + 1
            found.append(
                Proposal(number, sop_class_uid, choice, scu_role=by_us, scp_role=not by_us, has_roles=not by_us)
            )
    if found:
        yield found


def send_instance(association: Association, stored: Stored, *, origin: MoveOrigin | None = None) -> int:
    """Send one instance and return the peer's status (PS3.4 B.2.3), or one of ours where it could not be sent.

    Raises
    ------
    RemoteError
        The association broke; nothing is known about this instance.
    """
    exact = association.context_for(stored.sop_class_uid, stored.transfer_syntax_uid)
    context = exact or _native_context(association, stored)
    if context is None:
        return NO_CONTEXT
    command: dict[str, int | str] = {
        "CommandField": C_STORE,
        "AffectedSOPClassUID": stored.sop_class_uid,
        "MessageID": association.next_id(),
        "Priority": 0,
        "AffectedSOPInstanceUID": stored.identity.sop_uid,
    }
    if origin is not None:
        command["MoveOriginatorApplicationEntityTitle"], command["MoveOriginatorMessageID"] = origin
    try:
        file = open_checked(stored)
    except (ResearchPacsError, OSError):
        return UNREADABLE
    with file:
        if exact is not None:
            file.seek(stored.dataset_offset)
            association.send(context, command, file, length=stored.size - stored.dataset_offset)
        else:
            try:
                data = _converted(file.read(), context.transfer_syntax_uid)
            except PixelDataError:
                return UNREADABLE
            association.send(context, command, data)
    return association.response(int(command["MessageID"])).status


def _native_context(association: Association, stored: Stored) -> Context | None:
    if stored.transfer_syntax_uid == _BIG_ENDIAN:
        return None
    found = (association.context_for(stored.sop_class_uid, uid) for uid in _LITTLE_ENDIAN)
    return next((context for context in found if context is not None), None)


def _converted(data: bytes, transfer_syntax_uid: str) -> bytes:
    """Decode compressed pixel data and write the data set in a little endian transfer syntax."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ds = dcmread(io.BytesIO(data), force=True)
            if "PixelData" in ds and ds.file_meta.TransferSyntaxUID.is_encapsulated:
                ds.decompress(generate_instance_uid=False)
            buffer = DicomBytesIO()
            buffer.is_implicit_VR, buffer.is_little_endian = transfer_syntax_uid == IMPLICIT, True
            write_dataset(buffer, ds)
        # pydicom and the codecs raise whatever a broken value trips over, and may quote it.
        except Exception as error:
            raise PixelDataError(
                f"an instance cannot be written uncompressed ({type(error).__name__}); ask for it as it is stored"
            ) from None
    return buffer.getvalue()
