"""Ports for servers of tests."""

import secrets
import socket
from contextlib import suppress


def free_port() -> int:
    """Find a port below the ephemeral ports, so that no other process gets it while its server is down."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
