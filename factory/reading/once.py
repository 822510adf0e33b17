"""Readers that other readers use too: what one made of an image is remembered as long as the image is open."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from factory.inspection import Image

T = TypeVar("T")


def once(reader: Callable[[Image], T]) -> Callable[[Image], T]:
    """*reader*, asked at most once for each image; what it raises is not remembered."""
    known: WeakKeyDictionary[Image, T] = WeakKeyDictionary()

    @functools.wraps(reader)
    def read(image: Image) -> T:
        if image not in known:
            known[image] = reader(image)
        return known[image]

    return read
