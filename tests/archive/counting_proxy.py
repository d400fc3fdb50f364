"""A TCP proxy on loopback that counts what passes it, and can break off."""

import contextlib
import socket
import threading


class CountingProxy:
    """Passes connections on to a port; `received` counts the bytes that came back from it."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.received = 0
        self.sent = 0
        self.connections = 0
        self._break_after: int | None = None
        self._guard = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def reset(self) -> None:
        with self._guard:
            self.received = self.sent = self.connections = 0

    def break_after(self, count: int | None) -> None:
        """Break every connection off once so many more bytes have come back."""
        with self._guard:
            self._break_after = None if count is None else self.received + count

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, work, *args) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            # Small buffers, so that what a client leaves unread stays with the server.
            for end in (client, server):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
            self._start(self._pump, client, server, "sent")
            self._start(self._pump, server, client, "received")

    def _pump(self, source: socket.socket, target: socket.socket, name: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16_384):
                with self._guard:
                    setattr(self, name, getattr(self, name) + len(data))
                    broken = self._break_after is not None and self.received > self._break_after
                if broken:
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
