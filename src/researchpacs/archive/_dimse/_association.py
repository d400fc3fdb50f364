"""An association, either end of it: messages in and out, release and abort (PS3.8 9.2, PS3.7 6.3).

One thread uses an association. `Association.receive` assembles a message from its fragments and gives its data set to a
sink, which may be a file; `Association.send` cuts one into PDUs that the peer takes.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, TypeAlias

from researchpacs.archive._dimse._command import (
    C_CANCEL,
    RESPONSE,
    Command,
    decode_command,
    encode_command,
    has_data_set,
)
from researchpacs.archive._dimse._contexts import Context
from researchpacs.archive._dimse._errors import AbortedError, GoneError, ProtocolError
from researchpacs.archive._dimse._pdu import ABORT, DATA, RELEASE_RP, RELEASE_RQ, Fragment, Wire, fragments_of
from researchpacs.errors import RemoteError

__all__ = ["Association", "Memory", "Message", "Sink", "SinkOf", "Timeouts"]

_LONGEST_COMMAND = 65_536
_LONGEST_COMMENT = 64
_LONGEST_IDENTIFIER = 4 << 20
# PS3.8 table 9-26: who aborts, and why.
_BY_USER, _BY_PROVIDER = 0, 2
_UNEXPECTED = 2


class Sink(Protocol):
    """Where a data set goes as it comes in."""

    def write(self, data: memoryview) -> None:
        """Take a fragment; whatever goes wrong is kept for later, because the rest has to be read anyway."""
        ...

    def discard(self) -> None:
        """Forget what there is: the rest will not come."""
        ...


class Memory:
    """A sink for the short data sets of queries; what is longer is a breach of the protocol."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: memoryview) -> None:
        """Take a fragment."""
        if len(self.data) + len(data) > _LONGEST_IDENTIFIER:
            raise ProtocolError(f"the peer sent an identifier of more than {_LONGEST_IDENTIFIER} bytes")
        self.data += data

    def discard(self) -> None:
        """Forget it."""
        self.data.clear()


@dataclass(frozen=True, slots=True)
class Message:
    """A command set and what came with it."""

    context: Context
    command: Command
    sink: Sink | None = None
    """Holds the data set; None where there was none."""

    @property
    def id(self) -> int:
        """Message ID of a request."""
        return int(self.command.get("MessageID", 0))

    @property
    def kind(self) -> int:
        """Command Field."""
        return int(self.command["CommandField"])

    @property
    def status(self) -> int:
        """Status of a response."""
        if "Status" not in self.command:
            raise ProtocolError("the peer sent a response without a status")
        return int(self.command["Status"])

    @property
    def data(self) -> bytes:
        """A short data set."""
        return bytes(self.sink.data) if isinstance(self.sink, Memory) else b""


SinkOf: TypeAlias = Callable[[Context, Command], Sink]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds."""

    connect: float = 10.0
    negotiate: float = 30.0
    """From the connection to the association."""
    answer: float = 120.0
    """For the response to a request."""
    idle: float = 300.0
    """Of an acceptor for the next request."""
    patience: float = 30.0
    """For the rest of a PDU that has begun."""


@dataclass(slots=True)
class Association:
    """An established association.

    Parameters
    ----------
    longest_pdu
        What the peer takes; 0 is no limit.
    is_requestor
        Whether we asked for it: decides whose roles those of the contexts are.
    """

    wire: Wire
    calling_aet: str
    called_aet: str
    accepted: Sequence[Context]
    longest_pdu: int
    timeouts: Timeouts
    is_requestor: bool
    sink_of: SinkOf = field(default=lambda _, __: Memory())
    _contexts: Mapping[int, Context] = field(init=False)
    _waiting: deque[Fragment] = field(init=False, default_factory=deque)
    _cancelled: set[int] = field(init=False, default_factory=set)
    _last_id: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._contexts = {context.id: context for context in self.accepted if context.is_accepted}

    def context_for(self, sop_class_uid: str, transfer_syntax_uid: str | None = None) -> Context | None:
        """Find the context in which we may invoke an operation of a SOP class."""
        for context in self._contexts.values():
            may_invoke = context.scu_role if self.is_requestor else context.scp_role
            matches = transfer_syntax_uid in (None, context.transfer_syntax_uid)
            if context.sop_class_uid == sop_class_uid and may_invoke and matches:
                return context
        return None

    def next_id(self) -> int:
        """Give a Message ID that is not in use."""
        self._last_id = self._last_id % 65_535 + 1
        return self._last_id

    # -- out ----------------------------------------------------------------------------------------------------------

    def send(
        self, context: Context, command: Command, data: bytes | BinaryIO | None = None, *, length: int | None = None
    ) -> None:
        """Send a message; `length` bytes of a file from where it stands."""
        encoded = encode_command(command, with_data_set=data is not None)
        self.wire.send_data(context.id, encoded, is_command=True, longest=self.longest_pdu)
        if data is not None:
            self.wire.send_data(context.id, data, is_command=False, longest=self.longest_pdu, length=length)

    def respond(
        self,
        request: Message,
        status: int,
        data: bytes | None = None,
        *,
        numbers: Command | None = None,
        comment: str = "",
    ) -> None:
        """Answer a request (PS3.7 9.3, 10.3).

        Parameters
        ----------
        data
            An encoded identifier.
        numbers
            More elements of the command set, such as counts of sub-operations.
        comment
            Why it failed, without patient data; cut to what an LO holds.
        """
        command: dict[str, int | str] = {
            "CommandField": request.kind | RESPONSE,
            "MessageIDBeingRespondedTo": request.id,
            "Status": status,
            **(numbers or {}),
        }
        if comment:
            command["ErrorComment"] = comment[:_LONGEST_COMMENT]
        for keyword in ("SOPClassUID", "SOPInstanceUID"):
            named = request.command.get(f"Affected{keyword}") or request.command.get(f"Requested{keyword}")
            if named:
                command[f"Affected{keyword}"] = named
        self.send(request.context, command, data)

    # -- in -----------------------------------------------------------------------------------------------------------

    def receive(self, *, wait_s: float | None = None) -> Message | None:
        """Wait for the next message; None where the peer released the association instead."""
        fragment = self._next_fragment(wait_s)
        if fragment is None:
            return None
        context, encoded = self._context_of(fragment), bytearray()
        while True:
            if not fragment.is_command or fragment.context_id != context.id:
                raise ProtocolError("the peer sent a data set without a command")
            encoded += fragment.data
            if len(encoded) > _LONGEST_COMMAND:
                raise ProtocolError(f"the peer sent a command set of more than {_LONGEST_COMMAND} bytes")
            if fragment.is_last:
                break
            fragment = self._following()
        command = decode_command(bytes(encoded))
        return Message(context, command, self._data_set(context, command) if has_data_set(command) else None)

    def response(self, request_id: int) -> Message:
        """Wait for the response to our request; in between the peer may only cancel what it asked for itself."""
        while True:
            message = self.receive(wait_s=self.timeouts.answer)
            if message is None:
                raise GoneError("the peer released the association instead of answering")
            answered = int(message.command.get("MessageIDBeingRespondedTo", 0))
            if message.kind != C_CANCEL:
                break
            self._cancelled.add(answered)
        if not message.kind & RESPONSE or answered != request_id:
            raise ProtocolError("the peer sent something else than the response that it owes")
        return message

    def is_cancelled(self, request: Message) -> bool:
        """Look, without waiting, whether the peer takes its request back (PS3.7 9.3.2.3)."""
        if request.id in self._cancelled:
            return True
        if not self._waiting and not self.wire.is_readable():
            return False
        message = self.receive(wait_s=self.timeouts.patience)
        if message is None:
            raise GoneError("the peer released the association before it was answered")
        # PS3.7 D.3.3.3: without asynchronous operations nothing else may come before the answer.
        if message.kind != C_CANCEL:
            raise ProtocolError("the peer sent another request before the answer to the first")
        self._cancelled.add(int(message.command.get("MessageIDBeingRespondedTo", 0)))
        return request.id in self._cancelled

    # -- the end ------------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """End the association in order (PS3.8 7.2); what the peer still sends is not looked at."""
        try:
            self.wire.send(RELEASE_RQ)
            until = time.monotonic() + self.timeouts.patience
            while time.monotonic() < until:
                kind, _ = self.wire.receive(wait_s=self.timeouts.patience)
                if kind == RELEASE_RQ:  # both at once: PS3.8 7.2.2.6
                    self.wire.send(RELEASE_RP)
                if kind != DATA:
                    break
        except RemoteError:
            pass  # it ends one way or the other, and every answer was received before
        finally:
            self.wire.close()

    def abort(self, *, broke_protocol: bool = False) -> None:
        """End the association at once (PS3.8 7.3)."""
        try:
            self.wire.send(ABORT, bytes([0, 0, _BY_PROVIDER, _UNEXPECTED] if broke_protocol else [0, 0, _BY_USER, 0]))
        except RemoteError:
            pass  # the connection is gone already, which is what was wanted
        finally:
            self.wire.close()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _data_set(self, context: Context, command: Command) -> Sink:
        sink = self.sink_of(context, command)
        try:
            while True:
                fragment = self._following()
                if fragment.is_command or fragment.context_id != context.id:
                    raise ProtocolError("the peer sent a command within a data set")
                sink.write(fragment.data)
                if fragment.is_last:
                    return sink
        except BaseException:
            sink.discard()
            raise

    def _context_of(self, fragment: Fragment) -> Context:
        context = self._contexts.get(fragment.context_id)
        if context is None:
            raise ProtocolError(f"the peer used presentation context {fragment.context_id}, which was not agreed on")
        return context

    def _following(self) -> Fragment:
        fragment = self._next_fragment(self.timeouts.patience)
        if fragment is None:
            raise ProtocolError("the peer released the association within a message")
        return fragment

    def _next_fragment(self, wait_s: float | None) -> Fragment | None:
        while not self._waiting:
            kind, body = self.wire.receive(wait_s=wait_s)
            if kind == RELEASE_RQ:
                self.wire.send(RELEASE_RP)
                return None
            if kind == ABORT:
                raise AbortedError("the peer aborted the association")
            if kind != DATA:
                raise ProtocolError(f"the peer sent a PDU of type {kind} within an association")
            self._waiting.extend(fragments_of(body))
        return self._waiting.popleft()
