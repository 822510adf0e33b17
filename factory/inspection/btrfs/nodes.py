"""The trees of btrfs: items in the order of their keys, found through nodes that are checked as they are read."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from factory.inspection.btrfs.chunks import Chunks, Superblock
from factory.inspection.filesystems import VolumeError

Key = tuple[int, int, int]  # object, kind of item, offset

LEVELS = 8
LAST = (1 << 64) - 1
_HEADER = 101  # bytes
_ITEM = struct.Struct("<QBQII")
_POINTER = struct.Struct("<QBQQQ")
_CACHED = 20 << 20  # bytes of nodes that are kept


class Pointer(NamedTuple):
    """Where a node is said to be, and what is known of it before it is read."""

    address: int
    generation: int
    level: int
    first: Key | None = None  # its first key, as its parent has it
    below: Key | None = None  # all of its keys are smaller


@dataclass(frozen=True)
class _Node:
    level: int
    generation: int
    keys: list[Key]
    data: bytes
    spans: list[tuple[int, int]]  # of a leaf: where in data each item begins and ends
    children: list[tuple[int, int]]  # of an inner node: address and generation


class Nodes:
    """Every tree of a file system, by a pointer to its top."""

    def __init__(self, chunks: Chunks, superblock: Superblock) -> None:
        self._chunks = chunks
        self._super = superblock
        self._nodes: OrderedDict[int, _Node] = OrderedDict()

    def items(self, top: Pointer, first: Key, last: Key) -> Iterator[tuple[Key, bytes]]:
        """The items with keys from *first* to *last*, in order. Raises VolumeError."""
        node = self._node(top)
        keys = node.keys
        if not node.level:
            for index in range(bisect_left(keys, first), bisect_right(keys, last)):
                start, end = node.spans[index]
                yield keys[index], node.data[start:end]
            return
        for index in range(max(bisect_right(keys, first) - 1, 0), bisect_right(keys, last)):
            yield from self.items(self._child(top, node, index), first, last)

    def find(self, top: Pointer, key: Key) -> bytes | None:
        """The item with that very key."""
        found = self.floor(top, key)
        return found[1] if found and found[0] == key else None

    def floor(self, top: Pointer, key: Key) -> tuple[Key, bytes] | None:
        """The last item whose key is not above *key*. Raises VolumeError."""
        while True:
            node = self._node(top)
            index = bisect_right(node.keys, key) - 1
            if index < 0:
                return None
            if not node.level:
                start, end = node.spans[index]
                return node.keys[index], node.data[start:end]
            top = self._child(top, node, index)

    def _child(self, top: Pointer, node: _Node, index: int) -> Pointer:
        address, generation = node.children[index]
        below = node.keys[index + 1] if index + 1 < len(node.keys) else top.below
        # A level less at each step: no chain of nodes is a loop.
        return Pointer(address, generation, node.level - 1, node.keys[index], below)

    def _node(self, pointer: Pointer) -> _Node:
        node = self._nodes.get(pointer.address)
        if node is None:
            node = self._read(pointer.address)
            if len(self._nodes) * self._super.node >= _CACHED:
                self._nodes.popitem(last=False)
            self._nodes[pointer.address] = node
        else:
            self._nodes.move_to_end(pointer.address)
        if (node.level, node.generation) != (pointer.level, pointer.generation):
            raise VolumeError(f"the node at {pointer.address} is not the one that its parent means")
        keys = node.keys
        if (pointer.first is not None and (not keys or keys[0] != pointer.first)) or (
            pointer.below is not None and keys and keys[-1] >= pointer.below
        ):
            raise VolumeError(f"the node at {pointer.address} holds other items than its parent says")
        return node

    def _read(self, address: int) -> _Node:
        why = ""
        for data in self._chunks.copies(address, self._super.node):
            checksum = self._super.checksum
            if checksum.of(data[32:]) != data[: checksum.width]:
                why = why or "has a wrong checksum"
                continue
            own, generation, count, level = struct.unpack_from("<Q24xQ8xIB", data, 0x30)
            if data[32:48] != self._super.uuid or own != address:
                why = "belongs elsewhere"
            elif level >= LEVELS or generation > self._super.generation:
                why = "is impossible"
            else:
                return self._parsed(address, data, level, generation, count)
        raise VolumeError(f"the node at {address} {why}")

    def _parsed(self, address: int, data: bytes, level: int, generation: int, count: int) -> _Node:
        width = _POINTER.size if level else _ITEM.size
        end = len(data)
        table = _HEADER + count * width
        if table > end or (level and not count):
            raise VolumeError(f"the node at {address} is damaged")
        keys: list[Key] = []
        spans: list[tuple[int, int]] = []
        children: list[tuple[int, int]] = []
        if level:
            for number, kind, offset, child, born in _POINTER.iter_unpack(data[_HEADER:table]):
                keys.append((number, kind, offset))
                children.append((child, born))
        else:
            for number, kind, offset, place, size in _ITEM.iter_unpack(data[_HEADER:table]):
                place += _HEADER
                # Items lie one before the other, from the end of the node on.
                if place + size != end or place < table:
                    raise VolumeError(f"the node at {address} is damaged")
                end = place
                keys.append((number, kind, offset))
                spans.append((place, place + size))
        if any(one >= other for one, other in pairwise(keys)):
            raise VolumeError(f"the node at {address} is not in order")
        return _Node(level, generation, keys, data, spans, children)
