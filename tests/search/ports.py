"""Ports for servers of tests."""

import secrets
import socket
from contextlib import suppress


def free_port() -> int:
    """Find a port below those that systems hand out unasked, so that nobody takes it while its server is not there."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
