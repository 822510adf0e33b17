"""The pairs in a hash database of Berkeley DB, as rpm had it until RHEL 8: read from its bytes, strictly.

The first page says how many buckets there are and on which page each power of two of them begins. A bucket is a chain
of pages with keys and values in turn; what is too long for a page lies in a chain of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

MAGIC = 0x061561
_VERSIONS = range(7, 11)
_PAGE_HEADER = 26  # bytes
_HASH_PAGES = (2, 13)  # kinds of pages: of older databases, and sorted
_OVERFLOW_PAGE, _META_PAGE = 7, 8
_IN_PLACE, _ELSEWHERE = 1, 3
_CHECKSUMS = 1  # a flag of the first page
_SPARES = 32


class BerkeleyError(Exception):
    """The database is damaged, or of a kind that cannot be read here; the message says why."""


class HashDatabase:
    """The database whose file has this *content*."""

    def __init__(self, content: bytes) -> None:
        """Raises BerkeleyError when it is none."""
        self._content = content
        self._order = next(
            (
                order
                for order in "<>"
                if len(content) >= 512 and struct.unpack_from(f"{order}I", content, 12)[0] == MAGIC
            ),
            "",
        )
        if not self._order:
            raise BerkeleyError("it is no hash database of Berkeley DB")
        version, self._size, encrypted, kind, flags = struct.unpack_from(f"{self._order}IIBBB", content, 16)
        (last,) = struct.unpack_from(f"{self._order}I", content, 32)
        self._buckets, self._named = struct.unpack_from(f"{self._order}I12xI", content, 72)
        self._spares = struct.unpack_from(f"{self._order}{_SPARES}I", content, 96)
        if version not in _VERSIONS or encrypted or flags & _CHECKSUMS:
            raise BerkeleyError(f"it is of a kind that is not read here (version {version})")
        sizes = [1 << bits for bits in range(9, 17)]
        if kind != _META_PAGE or self._size not in sizes or len(content) % self._size:
            raise BerkeleyError("its first page is damaged")
        self._pages = len(content) // self._size
        if last >= self._pages or self._buckets >= self._pages:
            raise BerkeleyError("it is cut off")

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key with its value. Raises BerkeleyError."""
        seen: set[int] = set()
        found, unused = 0, 0
        for bucket in range(self._buckets + 1):
            number = bucket + self._spares[bucket.bit_length()]
            if self._unused(number):
                unused = number
                continue
            while True:
                page, number = self._page(number, seen, _HASH_PAGES)
                items = list(self._items(page))
                if len(items) % 2:
                    raise BerkeleyError("a page has a key without a value")
                for index in range(0, len(items), 2):
                    found += 1
                    yield self._value(items[index], seen), self._value(items[index + 1], seen)
                if not number:
                    break
        # The number that the first page names is no proof alone: db_load adds that of the database it was dumped from.
        if unused and found != self._named:
            raise BerkeleyError(f"its page {unused} is empty, and it holds {found} of {self._named} pairs")

    def _unused(self, number: int) -> bool:
        """Whether a bucket was never written: only one of the first ones can be, while there are few pairs."""
        return 0 < number < self._pages and not any(self._content[number * self._size : (number + 1) * self._size])

    def _page(self, number: int, seen: set[int], kinds: tuple[int, ...]) -> tuple[bytes, int]:
        """A page and the number of the one that follows it; each may be met once."""
        if number in seen or not 0 < number < self._pages:
            raise BerkeleyError(f"its page {number} belongs to two chains, or is not there")
        seen.add(number)
        page = self._content[number * self._size : (number + 1) * self._size]
        own, _, follows, _, _, _, kind = struct.unpack_from(f"{self._order}IIIHHBB", page, 8)
        if own != number or kind not in kinds:
            raise BerkeleyError(f"its page {number} is damaged")
        return page, follows

    def _items(self, page: bytes) -> Iterator[bytes]:
        (count,) = struct.unpack_from(f"{self._order}H", page, 20)
        table = _PAGE_HEADER + 2 * count
        if table > len(page):
            raise BerkeleyError("a page has more items than it can hold")
        end = len(page)
        for place in struct.unpack_from(f"{self._order}{count}H", page, _PAGE_HEADER):
            # Items lie one before the other, from the end of the page on.
            if not table <= place < end:
                raise BerkeleyError("an item lies outside of its page")
            yield page[place:end]
            end = place

    def _value(self, item: bytes, seen: set[int]) -> bytes:
        if item[0] == _IN_PLACE:
            return item[1:]
        if item[0] != _ELSEWHERE or len(item) != 12:
            raise BerkeleyError("an item is of a kind that a database of packages does not have")
        number, size = struct.unpack_from(f"{self._order}II", item, 4)
        found = bytearray()
        while number:
            page, follows = self._page(number, seen, (_OVERFLOW_PAGE,))
            (length,) = struct.unpack_from(f"{self._order}H", page, 22)
            found += page[_PAGE_HEADER : _PAGE_HEADER + length]
            number = follows
        if len(found) != size:
            raise BerkeleyError("a long item is damaged")
        return bytes(found)
