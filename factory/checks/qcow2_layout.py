"""qcow2 details: the plain layout that every importer reads."""

from __future__ import annotations

from collections.abc import Iterator

from factory import qcow2
from factory.checks import Looked, NotApplicable, Note, Problem, Rule


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    """*compression*: a list of zlib and zstd."""
    header = looked.file.qcow2
    if header is None:
        raise NotApplicable(looked.no_header)
    compression = "zstd" if header.compression == qcow2.ZSTD else "zlib"
    for wrong, what in (
        (header.version != 3, "its version is compat=0.10, not 1.1"),
        (header.compatible & qcow2.LAZY_REFCOUNTS, "it has lazy_refcounts"),
        (header.cluster_bits != 16, f"its clusters have {header.cluster} bytes, not 65536"),
        (compression not in rule.parameters["compression"], f"it is compressed with {compression}"),
        (header.bitmaps, "it has bitmaps"),
    ):
        if wrong:
            yield Problem("image", what)
    yield Note(f"compat 1.1, clusters of {header.cluster} bytes, {compression}")
