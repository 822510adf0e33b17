"""Kernels: the one that boots has its modules, and it is the newest that is installed."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.reading import boot_entries, kernels
from factory.reading.bls import version_key


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    found = {kernel.image.path: kernel for kernel in looked.know(kernels.read)}
    default = next((entry for entry in looked.know(boot_entries.read).entries if entry.default), None)
    chosen = found.get(default.kernel.path) if default else None
    if default is None or chosen is None:
        raise NotApplicable("no default boot entry with a kernel, as another finding says")
    if chosen.release and not looked.image.exists(f"{kernels.MODULES}/{chosen.release}"):
        yield Problem(chosen.image.path, f"{kernels.MODULES}/{chosen.release} is not there: this kernel has no modules")
    flavour = _flavour(chosen.release)
    newer = [
        kernel
        for kernel in found.values()
        if _flavour(kernel.release) == flavour
        and version_key(kernel.release) > version_key(chosen.release)
        and "rescue" not in kernel.image.path
    ]
    if newer:
        newest = max(newer, key=lambda kernel: version_key(kernel.release))
        where = f"{default.path}:{default.line}"
        yield Problem(where.partition(":")[0], f"{where}: {chosen.name} boots, and {newest.name} is newer", warn=True)
    yield Note(f"{chosen.name} boots, of {len(found)} kernels")


def _flavour(release: str) -> str:
    """``cloud-amd64`` of 6.1.0-18-cloud-amd64: kernels of different flavours are not older or newer."""
    return "-".join(part for part in release.split("-") if part[:1].isalpha())
