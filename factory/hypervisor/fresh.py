"""What each machine has of its own: a free port of this host, a MAC address, a UUID."""

from __future__ import annotations

import secrets
import socket
import uuid as uuids


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def new_mac() -> str:
    """A random MAC address in QEMU's own range."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))


def new_uuid() -> str:
    """A random UUID for the machine's SMBIOS."""
    return str(uuids.uuid4())
