"""Runs in a resumed guest, as root, from standard input: entropy, keys, sessions. VALUES stands above, as JSON.

It needs nothing but the standard library of an old Python 3, which cloud-init brings.
"""

import fcntl
import glob
import json
import os
import signal
import struct
import sys

RNDADDENTROPY, RNDRESEEDCRNG = 0x40085203, 0x5207


def add_entropy(fresh: bytes) -> None:
    """Stir and credit fresh bytes, and have the generator draw from the pool now instead of within minutes."""
    with open("/dev/urandom", "wb", buffering=0) as device:
        fcntl.ioctl(device, RNDADDENTROPY, struct.pack("ii", len(fresh) * 8, len(fresh)) + fresh)
        try:
            fcntl.ioctl(device, RNDRESEEDCRNG)
        except OSError:
            if [int(number) for number in os.uname().release.split(".")[:2]] >= [4, 17]:  # older ones do not know it
                raise


def replace(path: str, text: str, mode: int) -> None:
    """Write a file anew, never open to more than *mode* allows."""
    part = path + ".factory"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "w") as file:
        file.write(text)
    os.chmod(part, mode)
    os.rename(part, path)


def status(pid: int) -> "tuple[str, int]":
    """Name and parent of a process."""
    with open("/proc/%d/stat" % pid, errors="replace") as file:
        text = file.read()
    return text[text.index("(") + 1 : text.rindex(")")], int(text.rpartition(")")[2].split()[1])


def everybody() -> "dict[int, tuple[str, int]]":
    """All processes."""
    found = {}
    for path in glob.glob("/proc/[0-9]*"):
        try:
            pid = int(os.path.basename(path))
            found[pid] = status(pid)
        except (OSError, ValueError):
            pass
    return found


def end_old_sessions() -> int:
    """End every SSH session but this one, and the DHCP client, whose lease would end by the new clock.

    The address stays: the kernel counts its own time, in which nothing has passed. Gives the listener's pid.
    """
    processes = everybody()
    mine, pid = set(), os.getpid()
    while pid > 1 and pid in processes:
        mine.add(pid)
        pid = processes[pid][1]
    listener = max(mine, key=lambda each: processes[each][1] == 1)
    for pid, (name, parent) in processes.items():
        session = name.startswith("sshd") and parent in processes and processes[parent][0].startswith("sshd")
        if pid not in mine and (session or name in ("dhclient", "dhcpcd")):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    return listener


def main(values: "dict[str, str]") -> None:
    """All of it, in this order."""
    add_entropy(bytes.fromhex(values["entropy"]))
    keys = "/root/.ssh/authorized_keys"
    with open(keys) as file:
        kept = [line for line in file.read().splitlines() if values["old_login"] not in line]
    replace(keys, "\n".join([*kept, values["new_login"], ""]), 0o600)
    replace("/etc/ssh/ssh_host_ed25519_key", values["host_private"], 0o600)
    replace("/etc/ssh/ssh_host_ed25519_key.pub", values["host_public"] + "\n", 0o644)
    listener = end_old_sessions()
    sys.stdout.write("RENEWED\n")
    sys.stdout.flush()
    os.kill(listener, signal.SIGHUP)  # it starts itself anew: new host key, new random numbers


if __name__ == "__main__":
    main(json.loads(globals()["VALUES"]))
