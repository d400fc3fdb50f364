"""Answer requests for planes from a few threads, newest first, also while a cell runs."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Literal

from researchpacs.errors import InvalidInputError
from researchpacs.viewer._messages import PlaneReply, PlaneRequest
from researchpacs.viewer._planes import PlaneStack
from researchpacs.viewer._voxels import Voxels

__all__ = ["PlaneServer"]

THREADS = 2
_TRAVELS_AS: dict[str, Literal["int16", "float32", "rgb8"]] = {"<i2": "int16", "<f4": "float32", "|u1": "rgb8"}


class PlaneServer:
    """Planes of one volume by request.

    Parameters
    ----------
    voxels
        Where the values come from.
    stacks
        By name.
    reply
        Sends an answer with its buffers; called from another thread.
    fail
        Tells that the request of this id failed; called from another thread.
    """

    def __init__(
        self,
        voxels: Voxels,
        stacks: dict[str, PlaneStack],
        *,
        reply: Callable[[PlaneReply, list[memoryview]], None],
        fail: Callable[[str, Exception], None],
    ) -> None:
        self._voxels = voxels
        self._stacks = stacks
        self._reply = reply
        self._fail = fail
        self._lock = threading.Lock()
        self._wanted: dict[str, PlaneRequest] = {}
        self._ready: list[str] = []

    def ask(self, request: PlaneRequest) -> None:
        """Take a request; the answer comes through `reply` or `fail`.

        Raises
        ------
        InvalidInputError
            For a plane the volume does not have.
        """
        stack = self._stacks.get(request["plane"])
        if stack is None or not 0 <= request["index"] < stack.shape[0]:
            raise InvalidInputError(f"the volume has no {request['plane']} plane {request['index']}")
        if not 0 <= request["volume"] < self._voxels.count:
            raise InvalidInputError(f"there is no volume {request['volume']}")
        with self._lock:
            self._wanted[request["id"]] = request
        pending = self._voxels.ready(stack, request["volume"])
        if pending is None:
            self._enqueue(request["id"])
        else:
            pending.add_done_callback(lambda _: self._enqueue(request["id"]))

    def cancel(self, request_id: str) -> None:
        """Forget a request that is not being answered yet."""
        with self._lock:
            self._wanted.pop(request_id, None)

    def _enqueue(self, request_id: str) -> None:
        with self._lock:
            self._ready.append(request_id)
        _threads().submit(self._serve_newest)

    def _serve_newest(self) -> None:
        with self._lock:
            request = self._wanted.pop(self._ready.pop(), None)
        if request is None:
            return
        try:
            stack = self._stacks[request["plane"]]
            pixels, exact = self._voxels.pixels(stack, request["index"], request["volume"])
            answer = PlaneReply(kind="plane", request=request["id"], dtype=_TRAVELS_AS[pixels.dtype.str], exact=exact)
            self._reply(answer, [pixels.data.cast("B")])
        except Exception as error:  # whatever a reader of pixels raises is told in the cell
            self._fail(request["id"], error)


@cache
def _threads() -> ThreadPoolExecutor:
    """One pool for all viewers of the process."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="researchpacs-planes")
