"""A connection that tests may cut."""

import socket
import socketserver
import threading
from contextlib import suppress


class Cuttable(socketserver.ThreadingTCPServer):
    """Forwards connections to an address until they are cut, like an SSH tunnel."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        ends: list[socket.socket] = []
        self.ends = ends

        class Forward(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection((host, int(port))) as there:
                    ends.extend((self.request, there))
                    threading.Thread(target=pump, args=(there, self.request), daemon=True).start()
                    pump(self.request, there)

        super().__init__(("127.0.0.1", 0), Forward)

    def cut(self) -> None:
        while self.ends:
            close(self.ends.pop())


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    close(source)
    close(sink)


def close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
