"""The process that reads a disk image, which may be hostile: ``main`` is all that :mod:`factory.inspection` starts.

It has no environment, the rights of an unprivileged account, and limits: it can open no file and no socket, start no
process, write nothing but answers, and use only so much memory and time. The image is a descriptor that it inherited.
"""

from __future__ import annotations

import codecs
import ctypes
import os
import pwd
import resource
import sys
from typing import Any

from factory.inspection.wire import MAX_BYTES, WireError, receive, send

ACCOUNTS = ("factory-qemu", "nobody")  # the first that exists, when started by root
MEMORY = 1 << 30  # bytes of address space
SECONDS = 600  # of processor time
PR_SET_NO_NEW_PRIVS = 38
FIRST_LOGICAL = 1000  # numbers of logical volumes, above those of partitions


def confine() -> None:
    """Give up every right and set every limit. What the process needs must be imported and open by now."""
    if os.geteuid() == 0:
        account = _account()
        os.setgroups([])
        os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
        os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    limits = {
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_CPU: SECONDS,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 1 << 16,  # what it says when it fails
        resource.RLIMIT_NOFILE: 0,  # what is open stays open; nothing more can be
        resource.RLIMIT_NPROC: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def _account() -> pwd.struct_passwd:
    for name in ACCOUNTS[:-1]:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return pwd.getpwnam(ACCOUNTS[-1])


def main() -> None:
    """Answer requests on standard input until it ends. Arguments: the image's descriptor, and its format."""
    descriptor, image_format = int(sys.argv[1]), sys.argv[2]
    answers = os.dup(1)
    os.dup2(2, 1)  # nothing that a library prints may look like an answer
    try:
        from factory.inspection.disk import Disk
        from factory.inspection.filesystems import Entry, VolumeError
        from factory.inspection.tree import Absent, Node, Tree
        from factory.partitions import read_table

        if image_format == "qcow2":
            from factory.qcow2 import WINDOW
            from factory.zstd import decoder

            decoder(WINDOW)
        codecs.lookup("utf-16-le")  # of GPT names; Python loads it at its first use, too late
    except Exception as error:  # noqa: BLE001 - whatever keeps a library from being loaded is this host's fault
        send(answers, {"error": "libraries", "why": f"{type(error).__name__}: {error}"})
        return

    def described(entry: Entry, partition: int) -> list[Any]:
        return [*vars(entry).values(), partition]

    disks: list[Disk] = []

    def where_lost(why: str) -> str:
        """*why* something cannot be read, and the place of the image that is damaged."""
        lost = next((each for disk in disks for each in [*disk.lost, *disk.near]), "")
        return why if not lost or lost in why else f"{why} ({lost})" if why else ""

    def opened() -> tuple[Tree, dict[str, Any]]:
        disk = Disk(descriptor, image_format)
        disks.append(disk)
        table = read_table(disk.pread, disk.size)
        volumes: dict[int, Any] = {}
        partitions = list(table.partitions)
        for part in table.partitions:
            if part.filesystem and part.filesystem.kind == "LVM2_member":
                try:
                    partitions += disk.logical(part, FIRST_LOGICAL + len(partitions))
                except VolumeError as error:
                    volumes[part.number] = error
        for part in partitions:
            if part.filesystem and part.filesystem.kind not in ("LVM2_member", "swap"):
                try:
                    volumes[part.number] = disk.open(part, part.filesystem)
                except VolumeError as error:
                    volumes[part.number] = VolumeError(where_lost(str(error)))
        tree = Tree(tuple(partitions), volumes)
        tree.no_root = where_lost(tree.no_root)
        return tree, {
            "table": table.kind,
            "size": disk.size,
            "faults": list(table.faults),
            "partitions": [
                vars(part) | {"filesystem": vars(part.filesystem) if part.filesystem else None} for part in partitions
            ],
            "unreadable": {
                str(number): str(volume) for number, volume in volumes.items() if isinstance(volume, VolumeError)
            },
            "root": tree.root,
            "no_root": tree.no_root,
            "mounts": {mount.place: mount.partition for mount in tree.mounts.values()},
            "tops": tree.tops(),
        }

    def answer(tree: Tree, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        operation, partition = request["do"], request.get("partition")
        if operation == "peek":
            return {}, disks[0].pread(request["offset"], min(request["size"], MAX_BYTES))
        if operation == "mounted":
            return {"inode": tree.mounted(int(request["partition"]), request["options"])}, b""
        follow = operation in ("read", "scan") or bool(request.get("follow"))
        node: Node = tree.find(request["path"], follow=follow, partition=partition)
        if operation == "scan":
            if tree.entry(node).kind != "dir":
                return {"error": "not-a-directory"}, b""
            found = tree.scan(node, mounted=partition is None)
            return {"entries": [[name, *described(entry, number)] for name, number, entry in found]}, b""
        entry = tree.entry(node)
        if operation == "stat":
            return {"entry": described(entry, node.partition)}, b""
        if operation == "read":
            if entry.kind != "file":
                return {"error": "not-a-file", "kind": entry.kind}, b""
            return {"size": entry.size}, tree.read(node, request["offset"], min(request["size"], MAX_BYTES))
        if operation == "readlink":
            return ({"target": tree.link(node)} if entry.kind == "symlink" else {"error": "not-a-symlink"}), b""
        return {"names": {name: value.hex() for name, value in tree.xattrs(node).items()}}, b""

    confine()
    send(answers, {"ready": True})  # nothing of the image was read yet, so this much can be believed
    tree: Tree | None = None
    while True:
        try:
            request, _ = receive(0)
        except (EOFError, WireError):
            return
        content = b""
        for disk in disks:
            disk.lost.clear()
            disk.near.clear()
        first = tree is None
        try:
            if tree is None:
                tree, header = opened()
            else:
                header, content = answer(tree, request)
        except Absent:
            header = {"error": "absent"}
        except VolumeError as error:
            header = {"error": "unreadable", "why": where_lost(str(error))}
        except (MemoryError, RecursionError) as error:
            header = {"error": "unreadable", "why": f"it needs too much memory ({type(error).__name__})"}
        if not first and disks[0].lost and header.get("error") in (None, "absent"):
            # A library took what is lost for an end, or for zeros.
            header, content = {"error": "unreadable", "why": where_lost("the image is damaged")}, b""
        try:
            send(answers, header, content)
        except WireError as error:
            send(answers, {"error": "unreadable", "why": str(error)})
