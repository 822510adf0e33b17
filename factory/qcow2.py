"""The header of a qcow2 image, and the disk inside it read on demand: plain and compressed (zlib, zstd) clusters.

libqcow gives wrong bytes for compressed clusters, and decoding a whole image first costs seconds; here a cluster is
decoded when it is asked for, by the process that has no rights. Only images that hold all of their data are read.
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from factory.zstd import decoder

Pread = Callable[[int, int], bytes]  # (offset, size) -> the bytes there, fewer at the end of the file

MAGIC = b"QFI\xfb"
DIRTY, CORRUPT, DATA_FILE, COMPRESSION, EXTENDED_L2 = 1, 2, 4, 8, 16  # incompatible features
LAZY_REFCOUNTS = 1  # a compatible feature
ZLIB, ZSTD = 0, 1
L1_LIMIT = 32 << 20  # bytes, as in QEMU
WINDOW = 8 << 20  # bytes that zstd may look back
_OFFSET = 0x00FFFFFFFFFFFE00
_COMPRESSED = 1 << 62
_ZERO = 1
_CACHED = 64 << 20  # bytes of decoded clusters that are kept
_TABLES = 16 << 20  # bytes of L2 tables that are kept


class Qcow2Error(Exception):
    """The image cannot be read, or is damaged; the message says why. *before* are the bytes that came before that."""

    def __init__(self, message: str, before: bytes = b"") -> None:
        super().__init__(message)
        self.before = before


@dataclass(frozen=True)
class Header:
    """What the header says. Sizes and offsets in bytes."""

    version: int
    backing: bool
    size: int  # of the disk inside
    cluster_bits: int
    encryption: int  # 0 none, 1 AES, 2 LUKS
    l1_entries: int
    l1_offset: int
    refcount_offset: int
    refcount_clusters: int
    snapshots: int
    incompatible: int
    compatible: int
    compression: int  # ZLIB or ZSTD
    bitmaps: bool = False

    @property
    def cluster(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def l2_entries(self) -> int:
        """How many clusters one L2 table places."""
        return self.cluster // 8

    @property
    def l1_needed(self) -> int:
        """How many L2 tables the disk inside needs."""
        return -(-self.size // (self.cluster * self.l2_entries))


def read_header(pread: Pread) -> Header:
    """The header of the image that *pread* reads. Raises Qcow2Error when it is none, or an impossible one."""
    head = pread(0, 112)
    if head[:4] != MAGIC or len(head) < 72:
        raise Qcow2Error("the qcow2 header is cut off" if head[:4] == MAGIC else "it is no qcow2 image")
    (version, backing, _, cluster_bits, size, encryption, l1_entries, l1_offset, refcounts, refcount_clusters,
     snapshots) = struct.unpack_from(">IQIIQIIQQII", head, 4)  # fmt: skip
    if version not in (2, 3) or not 9 <= cluster_bits <= 21:
        raise Qcow2Error(f"the qcow2 header is impossible (version {version}, clusters of 2^{cluster_bits} bytes)")
    incompatible = compatible = compression = autoclear = 0
    if version == 3:
        if len(head) < 104:
            raise Qcow2Error("the qcow2 header is cut off")
        incompatible, compatible, autoclear = struct.unpack_from(">QQQ", head, 72)
        length = struct.unpack_from(">I", head, 100)[0]
        if incompatible & COMPRESSION and length > 104 and len(head) > 104:
            compression = head[104]
    return Header(
        version, backing != 0, size, cluster_bits, encryption, l1_entries, l1_offset, refcounts, refcount_clusters,
        snapshots, incompatible, compatible, compression, bool(autoclear & 1),
    )  # fmt: skip


def outside(head: Header, pread: Pread, size: int) -> tuple[str, ...]:
    """What of the image lies outside of its file of *size* bytes: a file that is cut off. A refused header is one."""
    if head.l1_entries * 8 > L1_LIMIT:
        return ("its first table is larger than any disk needs",)
    if head.refcount_offset + head.refcount_clusters * head.cluster > size:
        return ("its table of reference counts lies behind the end of the file",)
    if head.l1_entries < head.l1_needed:
        return ("its first table is too small for its disk",)
    table = pread(head.l1_offset, head.l1_needed * 8)
    if len(table) < head.l1_needed * 8:
        return ("its first table lies behind the end of the file",)
    places, lost = set[int](), 0
    clusters = -(-head.size // head.cluster)
    for index, (entry,) in enumerate(struct.iter_unpack(">Q", table)):
        place = entry & _OFFSET
        if not place:
            continue
        if place % head.cluster or place in places:
            # Each is as large as a cluster, so together they are no larger than the file and soon looked at.
            return ("its tables of clusters overlap",)
        places.add(place)
        entries = pread(place, head.cluster)
        if len(entries) < head.cluster:
            return ("a table of clusters lies behind the end of the file",)
        lost += _lost(head, entries, min(head.l2_entries, clusters - index * head.l2_entries), size)
    return (f"{lost} of its clusters lie behind the end of the file",) if lost else ()


def _lost(head: Header, entries: bytes, count: int, size: int) -> int:
    """How many of the first *count* clusters that an L2 table places lie outside of a file of *size* bytes."""
    if entries.count(0) == len(entries):
        return 0
    bits = 62 - (head.cluster_bits - 8)
    low, lost = (1 << bits) - 1, 0
    for (value,) in struct.iter_unpack(">Q", entries[: count * 8]):
        if value & _COMPRESSED:
            start = value & low
            # The last sector of a compressed cluster need not be whole.
            lost += start // 512 * 512 + ((value & (_COMPRESSED - 1)) >> bits) * 512 >= size
        elif value & _OFFSET:
            lost += (value & _OFFSET) + head.cluster > size
    return lost


class Qcow2:
    """The disk inside a qcow2 image that stands alone."""

    def __init__(self, pread: Pread) -> None:
        """Raises Qcow2Error for an image that refers to other files or cannot be read here."""
        self._pread = pread
        self.header = head = read_header(pread)
        if head.backing or head.encryption or head.incompatible & ~(DIRTY | COMPRESSION):
            raise Qcow2Error("it has a backing file, a data file, encryption or features that cannot be read here")
        if head.compression not in (ZLIB, ZSTD):
            raise Qcow2Error(f"its compression is unknown ({head.compression})")
        needed = head.l1_needed
        if head.l1_entries * 8 > L1_LIMIT or head.l1_entries < needed:
            raise Qcow2Error("the qcow2 header is impossible (its tables do not fit its size)")
        # Tables stay bytes: as numbers of Python they would be five times as large.
        self._l1 = pread(head.l1_offset, needed * 8)
        if len(self._l1) < needed * 8:
            raise Qcow2Error("the qcow2 is cut off (its first table)")
        self._l2: OrderedDict[int, bytes] = OrderedDict()
        self._decoded: OrderedDict[int, bytes] = OrderedDict()
        self._decode = decoder(WINDOW) if head.compression == ZSTD else _inflate
        self.size = head.size

    def pread(self, offset: int, size: int) -> bytes:
        """As os.pread, of the disk. Raises Qcow2Error, which names the place on the disk."""
        size = min(size, self.size - offset)
        cluster, pieces = self.header.cluster, list[bytes]()
        while size > 0:
            index, within = divmod(offset, cluster)
            try:
                piece = self._piece(index, within, min(size, cluster - within), size)
            except Qcow2Error as error:
                raise Qcow2Error(f"byte {offset} of the disk is lost: {error}", b"".join(pieces)) from None
            pieces.append(piece)
            offset += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _piece(self, index: int, within: int, length: int, most: int) -> bytes:
        """*length* bytes of a cluster from *within* it, or up to *most* when the next ones follow it in the file."""
        cluster, entry = self.header.cluster, self._entry(index)
        if entry & _COMPRESSED:
            return self._compressed(entry)[within : within + length]
        if entry & _ZERO or not entry & _OFFSET:
            return bytes(length)
        start = (entry & _OFFSET) + within
        # Clusters mostly follow each other: one read for as many as do.
        while length < most and self._entry(index + 1) & ~(1 << 63) == (entry & _OFFSET) + cluster:
            index, entry = index + 1, entry + cluster
            length += min(most - length, cluster)
        return self._exactly(start, length)

    def _entry(self, index: int) -> int:
        top, below = divmod(index, self.header.l2_entries)
        if top * 8 >= len(self._l1):
            return 0
        place = _number(self._l1, top) & _OFFSET
        if not place:
            return 0
        table = self._l2.get(place)
        if table is None:
            self._room(self._l2, _TABLES)
            table = self._l2[place] = self._exactly(place, self.header.cluster, whole=True)
        return _number(table, below)

    def _room(self, kept: OrderedDict[int, bytes], most: int) -> None:
        """Room for one more of what is as large as a cluster, within *most* bytes."""
        while kept and (len(kept) + 1) * self.header.cluster > most:
            kept.popitem(last=False)

    def _compressed(self, entry: int) -> bytes:
        found = self._decoded.get(entry)
        if found is not None:
            self._decoded.move_to_end(entry)
            return found
        self._room(self._decoded, _CACHED)
        bits = 62 - (self.header.cluster_bits - 8)
        place = entry & ((1 << bits) - 1)
        sectors = (entry & (_COMPRESSED - 1)) >> bits
        data = self._pread(place, (sectors + 1) * 512 - place % 512)
        try:
            found = self._decode(data, self.header.cluster)
        except (zlib.error, ValueError) as error:
            raise Qcow2Error(f"the compressed cluster at {place} of the file is damaged ({error})") from None
        if len(found) != self.header.cluster:
            raise Qcow2Error(f"the compressed cluster at {place} of the file is damaged")
        self._decoded[entry] = found
        return found

    def _exactly(self, place: int, size: int, *, whole: bool = False) -> bytes:
        data = self._pread(place, size)
        if len(data) < size:
            if whole or not data:
                raise Qcow2Error("the qcow2 is cut off")
            data += bytes(size - len(data))  # QEMU too reads zeros behind the end of the file
        return data


def _inflate(data: bytes, size: int) -> bytes:
    return zlib.decompressobj(-15).decompress(data, size)


def _number(table: bytes, index: int) -> int:
    return int.from_bytes(table[index * 8 : index * 8 + 8], "big")
