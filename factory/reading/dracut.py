"""The settings by which dracut makes the next initramfs: /etc/dracut.conf and the drop-ins."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.leftovers import text

if TYPE_CHECKING:
    from factory.inspection import Image

_FOLDERS = ("/usr/lib/dracut/dracut.conf.d", "/etc/dracut.conf.d")
_ASSIGNED = re.compile(r"""\s*([a-z_]+)\+?=(?:"([^"]*)"|'([^']*)'|([^\s#;]*))""")


@dataclass(frozen=True)
class Setting:
    """One line that sets a variable, or adds to it."""

    path: str
    line: int
    name: str
    value: str

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the value."""
        return tuple(self.value.split())

    @property
    def evidence(self) -> str:
        """The place and the setting, for a finding."""
        return f"{self.path}:{self.line}: {self.name}={self.value!r}"


def settings(image: Image) -> list[Setting]:
    """Every setting, in the order in which dracut reads them."""
    return [
        Setting(path, number, match[1], match[2] or match[3] or match[4] or "")
        for path in files(image)
        for number, line in enumerate((text(image, path) or "").splitlines(), 1)
        if (match := _ASSIGNED.match(line))
    ]


def files(image: Image) -> list[str]:
    """dracut.conf, then the drop-ins by name; one in /etc takes the place of its namesake in /usr."""
    by_name = {}
    for folder in _FOLDERS:
        for path in image.glob(f"{folder}/*.conf"):
            by_name[path.rpartition("/")[2]] = path
    return ["/etc/dracut.conf", *(by_name[name] for name in sorted(by_name))]
