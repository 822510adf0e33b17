"""What an initramfs holds: its files, the drivers among them, and the few small files that tell how it was made.

It is unpacked as a stream, whatever it is compressed by; early microcode in front of it is passed over. One that is
damaged, or whose content lies in a file system of its own, raises Unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from factory import compressed
from factory.inspection import Unreadable
from factory.reading.grub_menu import Place, shown

if TYPE_CHECKING:
    from factory.inspection import Image

ENTRIES = 200_000  # files in one initramfs
KEPT = 4 << 20  # bytes of small files
_SMALL = re.compile(
    r"(?:usr/)?lib/modules/[^/]+/modules\.builtin|etc/cmdline\.d/[^/]+|conf/(?:conf\.d/[^/]+|param\.conf|arch\.conf)"
    r"|cryptroot/crypttab|etc/crypttab|etc/fstab(?:\.empty)?|(?:usr/)?lib/dracut/[\w.-]+|etc/cmdline"
    r"|etc/lvm/(?:lvm\.conf|devices/system\.devices)|(?:.+/)?\.ssh/authorized_keys2?|etc/[^/]+/authorized_keys"
)
_LOGIN_KEYS = re.compile(r"(?:.+/)?authorized_keys2?")
_HOST_KEYS = re.compile(r"etc/(?:ssh|dropbear)[^/]*/(?:[^/]+/)*[^/]*host[^/]*key[^/]*|etc/tinyssh/sshkeydir/.+")
_INNER = re.compile(r"(?:squashfs?-root|erofs-root|root)\.(?:img|squashfs|erofs)")
_MODULE = re.compile(r"([^/]+)\.ko(?:\.(?:gz|xz|zst|bz2|lzma))?$")


@dataclass(frozen=True)
class Initramfs:
    """One initramfs. *names* have no slash in front; *modules* are names of drivers, with ``_`` for ``-``.

    *maker* is dracut, initramfs-tools, mkinitfs or empty; *small* holds the content of files that tell how it was made.
    """

    path: str
    names: frozenset[str]
    modules: frozenset[str]
    maker: str
    small: dict[str, bytes] = field(default_factory=dict)

    @property
    def builtin(self) -> frozenset[str]:
        """The drivers that the initramfs itself says are built into its kernel."""
        lists = (content for name, content in self.small.items() if name.endswith("modules.builtin"))
        return frozenset(module_name(line) for content in lists for line in content.decode("utf-8", "replace").split())

    @property
    def words(self) -> tuple[tuple[str, str], ...]:
        """The words that dracut put in for the kernel's command line, each with the file that it is in."""
        names = sorted(name for name in self.small if name.startswith(("etc/cmdline.d/", "etc/cmdline")))
        return tuple((name, word) for name in names for word in self.text(name).split())

    @property
    def login_keys(self) -> tuple[str, ...]:
        """Files with content that hold keys for logins while the system starts."""
        return tuple(sorted(name for name in self.small if _LOGIN_KEYS.fullmatch(name)))

    @property
    def host_keys(self) -> tuple[str, ...]:
        """Files with keys of an SSH server that runs while the system starts."""
        return tuple(sorted(name for name in self.names if _HOST_KEYS.fullmatch(name)))

    def text(self, name: str) -> str:
        """The text of one of the small files; "" when it is not there."""
        return self.small.get(name, b"").decode("utf-8", "replace")


def read(image: Image, place: Place) -> Initramfs:
    """The initramfs at *place*. Raises Unreadable, and Absent when it is not there."""
    path = shown(image, place)
    small: dict[str, bytes] = {}
    names = set()
    try:
        for name, content in _members(image.chunks(place.path, partition=place.partition)):
            names.add(name)
            if content:
                small[name] = content
            if len(names) > ENTRIES:
                raise compressed.NotOpened(f"it holds more than {ENTRIES} files")
    except compressed.NotOpened as error:
        raise Unreadable(f"{path} cannot be unpacked", cause=str(error)) from None
    if not names:
        raise Unreadable(f"{path} holds no files")
    inner = next((name for name in names if _INNER.fullmatch(name)), None)
    if inner:
        raise Unreadable(f"{path} keeps its files in {inner}, which cannot be read here")
    modules = frozenset(module_name(name) for name in names if _MODULE.search(name))
    return Initramfs(path, frozenset(names), modules, _maker(names), small)


def module_name(path: str) -> str:
    """The name of a driver by its file: ``virtio_blk`` of ``kernel/drivers/block/virtio-blk.ko.xz``."""
    match = _MODULE.search(path)
    return (match[1] if match else path.rpartition("/")[2]).replace("-", "_")


def _maker(names: Iterable[str]) -> str:
    known = set(names)
    if any(name.startswith(("usr/lib/dracut", "lib/dracut")) for name in known):
        return "dracut"
    if "conf/initramfs.conf" in known or "scripts/functions" in known:
        return "initramfs-tools"
    if "sbin/nlplug-findfs" in known or "usr/sbin/nlplug-findfs" in known:
        return "mkinitfs"
    return ""


def _members(pieces: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """The names in a row of cpio archives, with the content of those files that are kept."""
    buffer = bytearray()
    source = compressed.unpack_initramfs(pieces)
    kept = 0

    def have(size: int) -> bool:
        while len(buffer) < size:
            piece = next(source, None)
            if piece is None:
                return False
            buffer.extend(piece)
        return True

    while have(110):
        if bytes(buffer[:5]) != b"07070":
            if buffer[0]:
                raise compressed.NotOpened("its cpio archive is damaged")
            buffer[:] = buffer.lstrip(b"\0")  # padding in between
            continue
        try:
            size, length = int(buffer[54:62], 16), int(buffer[94:102], 16)
        except ValueError:
            raise compressed.NotOpened("its cpio archive is damaged") from None
        start = 110 + length + (-(110 + length) % 4)
        if length > 4096 or not have(start):
            raise compressed.NotOpened("its cpio archive is cut off")
        name = bytes(buffer[110 : 110 + length]).rstrip(b"\0").decode("utf-8", "surrogateescape").removeprefix("./")
        end = size + (-size % 4)
        content = b""
        if _SMALL.fullmatch(name) and kept + size <= KEPT:
            if not have(start + end):
                raise compressed.NotOpened("its cpio archive is cut off")
            content = bytes(buffer[start : start + size])
            kept += size
        left = start + end
        while left > len(buffer):
            left -= len(buffer)
            piece = next(source, None)
            if piece is None:
                raise compressed.NotOpened("its cpio archive is cut off")
            buffer[:] = piece
        del buffer[:left]
        if name != "TRAILER!!!":
            yield name.lstrip("/"), content
