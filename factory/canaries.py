"""Canaries: what only this build can have written, and the search for it in the finished image.

A canary is unique by construction (random keys, ids and names of the build), so finding one proves a trace. The search
covers the whole virtual disk: files, free blocks, the journal, the gaps between partitions. What is compressed is
unpacked first, or named as not searched. Neither a canary nor a hit shows its value when printed.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Protocol

from factory import compressed, ext4, files, partitions
from factory.disk import Progress
from factory.errors import BuildError, FactoryError
from factory.finder import Finder, Found
from factory.inspection import Image, Unreadable
from factory.inspection.answers import FileStat

SHORTEST = 6  # bytes: in 2**30 random bytes, six given ones are found by chance once in 262,144 searches
_CONTAINERS = (b"QFI\xfb", b"KDMV", b"vhdxfile", b"conectix", b"<<< Orac")  # qcow2, vmdk, vhdx, vpc, vdi
_INITRAMFS = re.compile(r"/(?:boot|efi)/(?:.*/)?init(?:rd|ramfs)[^/]*")
_PACKAGED = ("/usr/lib/modules/", "/lib/modules/", "/usr/lib/firmware/", "/lib/firmware/")
_NEAR = 512  # bytes: patterns of one canary this close together are one trace
_TELLING = 12  # bytes of a key that make a line of its text unique


@dataclass(frozen=True)
class Canary:
    """Something to look for: *name* says what it is ("login key, private"), *kind* groups them."""

    name: str
    kind: str  # ssh-key, machine-id, uuid, mac, hostname, instance-id, secret, ...
    patterns: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        if not self.patterns or min(map(len, self.patterns)) < SHORTEST:
            raise ValueError(f"{self.name} is shorter than {SHORTEST} bytes: it would be found by chance")


@dataclass(frozen=True)
class Hit:
    """A canary that was found at *offset* (bytes, in the disk or in what was unpacked); *where* is for people."""

    canary: Canary
    offset: int
    where: str


@dataclass(frozen=True)
class Unsearched:
    """A compressed file, or a folder of them, that was not searched, and why."""

    path: str
    reason: str


@dataclass
class CompressedSearch:
    """The outcome of :func:`search_compressed`; *searched* counts the files that were opened."""

    hits: list[Hit] = field(default_factory=list)
    not_searched: list[Unsearched] = field(default_factory=list)
    searched: int = 0


class KeyPair(Protocol):
    """An SSH key as text, such as :class:`factory.seed.KeyPair`."""

    @property
    def private_openssh(self) -> str: ...

    @property
    def public_openssh(self) -> str: ...


def for_text(name: str, kind: str, text: str) -> Canary:
    """A hostname, an instance-id, a secret: as it is, and in base64 when it is long enough to be unique in it.

    Raises ValueError for a text of fewer than 6 bytes.
    """
    data = text.encode()
    return Canary(name, kind, (data, *(_base64_forms(data) if len(data) >= _TELLING else ())))


def for_machine_id(hexadecimal: str, name: str = "machine-id") -> Canary:
    """A machine-id: its 32 digits, with dashes, and the 16 bytes that journal files hold. Raises ValueError."""
    found = uuid.UUID(hex=hexadecimal.strip())
    return Canary(name, "machine-id", (found.hex.encode(), str(found).encode(), found.bytes))


def for_uuid(name: str, text: str) -> Canary:
    """A UUID such as that of SMBIOS: both cases, without dashes, and its bytes in both orders. Raises ValueError."""
    found = uuid.UUID(text)
    texts = (str(found), str(found).upper(), found.hex)
    return Canary(name, "uuid", (*(form.encode() for form in texts), found.bytes, found.bytes_le))


def for_mac(text: str, name: str = "MAC address") -> Canary:
    """A hardware address ``52:54:00:ab:cd:ef``: as text in the usual forms, as IPv6 interface id, as six bytes."""
    data = bytes.fromhex(text.replace(":", "").replace("-", ""))
    if len(data) != 6:
        raise ValueError(f"{text} is not a hardware address")
    interface = bytes((data[0] ^ 2, *data[1:3], 0xFF, 0xFE, *data[3:]))
    groups = struct.unpack(">4H", interface)
    texts = (data.hex(":"), data.hex(":").upper(), data.hex("-"), data.hex("-").upper(), data.hex(), data.hex().upper())
    ipv6 = ":".join(f"{group:x}" for group in groups)
    return Canary(name, "mac", (*(form.encode() for form in texts), ipv6.encode(), data))


def for_ssh_key(name: str, pair: KeyPair) -> tuple[Canary, Canary]:
    """The private and the public half of an unencrypted ed25519 key, in their text forms and as 32 bytes each.

    The public one includes its fingerprint, which sshd writes to its log. Raises ValueError for any other kind of key.
    """
    lines = [line for line in pair.private_openssh.splitlines() if line and not line.startswith("-")]
    body = base64.b64decode("".join(lines))
    seed, public = _ed25519(body)
    private = [seed, *_base64_forms(seed), *_key_lines(lines, body, (seed, public))]
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(pair.public_openssh.split()[1])).digest()).rstrip(b"=")
    return (
        Canary(f"{name}, private", "ssh-key", tuple(private)),
        Canary(f"{name}, public", "ssh-key", (public, *_base64_forms(public), digest)),
    )


def search(raw: Path, canaries: Sequence[Canary], *, stage: Progress | None = None) -> list[Hit]:
    """Every place of the raw disk image *raw* that holds a canary, free blocks included, in order.

    *stage* gets the progress in bytes of data. Raises BuildError when *raw* is not a raw image, and HostError when it
    cannot be read.
    """
    with files.touching(raw, "Searching an image"):
        with raw.open("rb") as file:
            # In any container the bytes are elsewhere, or compressed: nothing would be found, and that would pass.
            if file.read(8).startswith(_CONTAINERS):
                raise BuildError(f"{raw} is not a raw image", hint="Convert it to raw first", code="canaries.not-raw")
        owner, finder = _finder(canaries)
        found = finder.in_file(raw, stage.progress if stage else None)
    traces = _traces(found, owner)
    places = _places(raw, [offset for offset, _ in traces])
    return [Hit(canary, offset, place) for (offset, canary), place in zip(traces, places, strict=True)]


def search_stream(canaries: Sequence[Canary], pieces: Iterable[bytes], where: str) -> list[Hit]:
    """Every place of a stream that holds a canary; offsets count from its start, and *where* names it."""
    owner, finder = _finder(canaries)
    return [Hit(canary, offset, where) for offset, canary in _traces(finder.in_stream(pieces), owner)]


def search_compressed(image: Image, canaries: Sequence[Canary]) -> CompressedSearch:
    """Search what is inside the compressed files of *image*, initramfs images included; one level deep.

    Files are known by the ends of their names, and outside of /usr by their first bytes too. Of the thousands of
    compressed drivers and firmware of a distribution none is opened; they are named as one. btrfs may compress any file
    on the disk: there every file is searched as a program would read it, of all subvolumes that can be reached. Raises
    Unreadable when the image's files cannot be listed.
    """
    owner, finder = _finder(canaries)
    result = CompressedSearch()
    packaged = dict.fromkeys(_PACKAGED, 0)
    seen: set[tuple[int, int]] = set()
    btrfs = {part.number for part in image.partitions() if part.filesystem and part.filesystem.kind == "btrfs"}
    btrfs -= set(image.unreadable_partitions)

    def look_into(name: str, pieces: Iterable[bytes], path: str) -> None:
        failures: list[str] = []
        found = finder.in_stream(_noting(pieces, failures))
        result.hits.extend(Hit(canary, offset, name) for offset, canary in _traces(found, owner))
        result.searched += 1
        result.not_searched.extend(Unsearched(path, why) for why in failures)

    for partition, path, stat in _all_files(image, btrfs):
        if not stat.size or (stat.partition, stat.inode) in seen:
            continue
        seen.add((stat.partition, stat.inode))
        shown = path if partition is None else f"partition {partition}: {path}"
        if stat.partition in btrfs:
            look_into(shown, image.chunks(path, partition=partition), shown)
        kind = _compression(image, path, partition)
        inside = path.startswith if partition is None else path.__contains__  # there it may be below a subvolume
        folder = next((folder for folder in _PACKAGED if inside(folder)), None)
        if kind and folder:
            packaged[folder] += 1
        elif kind in compressed.UNKNOWN.values():
            result.not_searched.append(Unsearched(shown, f"it is {kind}"))
        elif kind:
            look_into(f"{shown}, unpacked", _unpacked(image, path, partition, kind), shown)
    result.not_searched += [
        Unsearched(
            f"partition {number} (btrfs)",
            "what was deleted there, or lies in a subvolume that is mounted nowhere, may be compressed",
        )
        for number in sorted(btrfs)
    ]
    for folder, count in packaged.items():
        if count:
            result.not_searched.append(Unsearched(folder, f"{count} compressed files that packages brought"))
    return result


def _all_files(image: Image, whole: Iterable[int]) -> Iterator[tuple[int | None, str, FileStat]]:
    """The files of the guest, and after them those of the partitions *whole* again, which it may not mount all of."""
    for partition in (None, *sorted(whole)):
        for path, stat in image.walk("/", partition=partition):
            if stat.kind == "file":
                yield partition, path, stat


def _compression(image: Image, path: str, partition: int | None) -> str | None:
    """How the file is compressed: "initramfs", a kind that can be unpacked, a value of compressed.UNKNOWN, or None."""
    if _INITRAMFS.match(path):
        return "initramfs"
    end = PurePosixPath(path).suffix.lower()
    if end in compressed.UNKNOWN:
        return compressed.UNKNOWN[end]
    # The name alone proves nothing: dpkg keeps plain text in alternatives/builtins.7.gz.
    return (
        compressed.kind_of(image.head(path, 6, partition=partition))
        if end in compressed.SUFFIXES or not path.startswith("/usr/")
        else None
    )


def _unpacked(image: Image, path: str, partition: int | None, kind: str) -> Iterator[bytes]:
    pieces = image.chunks(path, partition=partition)
    return compressed.unpack_initramfs(pieces) if kind == "initramfs" else compressed.unpack(kind, pieces)


def _noting(pieces: Iterable[bytes], failures: list[str]) -> Iterator[bytes]:
    """Pass *pieces* on; a reason why there are no more goes to *failures*."""
    try:
        yield from pieces
    except (compressed.NotOpened, Unreadable) as error:
        failures.append(str(error))


def _finder(canaries: Sequence[Canary]) -> tuple[list[Canary], Finder]:
    owner = [canary for canary in canaries for _ in canary.patterns]
    return owner, Finder([pattern for canary in canaries for pattern in canary.patterns])


def _traces(found: Iterable[Found], owner: Sequence[Canary]) -> list[tuple[int, Canary]]:
    """The first place of each run of places of the same canary."""
    last: dict[Canary, int] = {}
    traces = []
    for offset, pattern in found:
        canary = owner[pattern]
        if offset - last.get(canary, -_NEAR) >= _NEAR:
            traces.append((offset, canary))
        last[canary] = offset
    return traces


def _places(raw: Path, offsets: Sequence[int]) -> list[str]:
    if not offsets:
        return []
    table = partitions.of_file(raw)
    names: dict[int, str] = {}
    for part in table.partitions:
        inside = [offset for offset in offsets if part.start <= offset < part.start + part.size]
        kind = part.filesystem.kind if part.filesystem else ""
        shown = f"partition {part.number}" if part.number else "the disk"
        names |= dict.fromkeys(inside, f"{shown} ({kind})" if kind else shown)
        if kind.startswith("ext") and inside:
            try:
                owners = ext4.owners(raw, part.start, inside)
            except FactoryError:  # a damaged one: the partition has to do
                continue
            names |= {offset: f"{owner} on {shown}" for offset, owner in zip(inside, owners, strict=True)}
    return [names.get(offset, "outside of every partition") + f", at byte {offset}" for offset in offsets]


def _ed25519(body: bytes) -> tuple[bytes, bytes]:
    """The seed and the public key, 32 bytes each, of a decoded OpenSSH private key."""
    try:
        magic, rest = body[:15], body[15:]
        cipher, rest = _string(rest)
        _, rest = _string(rest)
        _, rest = _string(rest)
        _, rest = _string(rest[4:])
        private, _ = _string(rest)
        kind, rest = _string(private[8:])
        public, rest = _string(rest)
        both, _ = _string(rest)
    except struct.error:
        raise ValueError("this is no OpenSSH private key") from None
    if magic != b"openssh-key-v1\0" or cipher != b"none" or kind != b"ssh-ed25519" or len(both) != 64:
        raise ValueError("this is no unencrypted ed25519 key")
    return both[:32], public


def _string(data: bytes) -> tuple[bytes, bytes]:
    size = struct.unpack_from(">I", data)[0]
    return data[4 : 4 + size], data[4 + size :]


def _key_lines(lines: Sequence[str], body: bytes, parts: Sequence[bytes]) -> Iterator[bytes]:
    """The lines of a private key's text that hold enough of *parts* to be unique; all keys begin alike."""
    ends = [0]
    for line in lines:
        ends.append(ends[-1] + len(line))
    for line, (start, end) in zip(lines, pairwise(ends), strict=True):
        first, last = -(-start * 6 // 8), end * 6 // 8
        held = (_common(body, part, first, last) for part in parts)
        if max(held) >= _TELLING:
            yield line.encode()


def _common(body: bytes, part: bytes, first: int, last: int) -> int:
    """How many bytes of *part*, at one of its places, lie in body[first:last]."""
    most, place = 0, body.find(part)
    while place >= 0:
        most = max(most, min(last, place + len(part)) - max(first, place))
        place = body.find(part, place + 1)
    return most


def _base64_forms(data: bytes) -> Iterator[bytes]:
    """The characters that *data* is sure to become wherever it begins in a base64 text: one for each alignment."""
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + data)
        yield text[-(-shift * 8 // 6) : (shift + len(data)) * 8 // 6]
