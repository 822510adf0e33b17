"""No seed is left: no folder, no settings and no partition of the image that would win over the cloud's own data."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.leftovers import below
from factory.quoting import quoted
from factory.reading import cloud_init

FOLDERS = (
    "/var/lib/cloud/seed",
    "/writable/system-data/var/lib/cloud/seed",
    "/config-drive",
)
LABELS = ("cidata", "config-2")
SETTINGS = ("seedfrom", "user-data", "meta-data", "userdata_raw", "metadata", "vendor-data")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    settings = looked.know(cloud_init.read)
    for path, found in below(looked.image, *FOLDERS):
        yield Problem(path, f"{path}: {found.size} bytes")
    for part in looked.disk.partitions():
        if part.filesystem and part.filesystem.label.lower() in LABELS:
            told = f"partition {part.number} has the label {part.filesystem.label} of a seed"
            yield Problem(
                "image",
                told,
                fix="Make the image without that partition; on a raw copy of a disk with GPT: "
                f"sgdisk -d {part.number} DISK, with MBR: sfdisk --delete DISK {part.number}",
            )
    sources = settings.get("datasource")
    for name, source in sources.items() if isinstance(sources, dict) else ():
        for key in SETTINGS if isinstance(source, dict) else ():
            if key in source:
                path, _, rest = settings.place("datasource", str(name), key).partition(":")
                told = f"{path}:{rest.split(':')[0]}: datasource.{name}.{key}"
                yield Problem(path, told, fix=f"Take {key} of {name} out of {quoted(path)}")
    yield Note("no seed")
