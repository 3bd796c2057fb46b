"""JSON objects that begin with a checksum of the rest of their text: every later change is noticed."""

import hashlib

KEY = "sha256"
_BEGIN, _LENGTH = f'{{"{KEY}":"'.encode(), 64
_END = b'",'


def sealed(text: bytes) -> bytes:
    """Put a checksum in front of the entries of a JSON object."""
    entries = text.removeprefix(b"{")
    return _BEGIN + hashlib.sha256(entries).hexdigest().encode() + _END + entries


def unsealed(content: bytes) -> bytes:
    """Return the JSON object without its checksum. Raises ValueError where it has none or another one."""
    start = len(_BEGIN) + _LENGTH
    entries = content[start + len(_END) :]
    checksum = hashlib.sha256(entries).hexdigest().encode()
    if content[: len(content) - len(entries)] != _BEGIN + checksum + _END:
        raise ValueError("the file must be as it was written, but differs from its checksum")
    return b"{" + entries
