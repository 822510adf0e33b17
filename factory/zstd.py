"""Blocks compressed by zstd, unpacked within limits."""

from __future__ import annotations

import functools
from collections.abc import Callable


@functools.cache
def decoder(window: int) -> Callable[[bytes, int], bytes]:
    """A function of (compressed, largest) that unpacks one block; *window* is how far back it may refer, in bytes.

    The function raises ValueError for what is damaged or unpacks to more than *largest* bytes. A process has to call
    this before it gives up its right to open files.
    """
    import zstandard

    one = zstandard.ZstdDecompressor(max_window_size=window)

    def decode(data: bytes, size: int) -> bytes:
        try:
            # The size that a block names is what would be reserved for it.
            named = zstandard.frame_content_size(data)
            if named > size:
                raise ValueError(f"it unpacks to {named} bytes, more than {size}")
            return bytes(one.decompress(data, max_output_size=size, allow_extra_data=True))
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None

    return decode
