"""Where cloud-init would look for a cloud's data: what its own settings say, and what ds-identify reads in them.

ds-identify is the shell script that decides at boot whether cloud-init runs, and writes the list that cloud-init then
uses. It is no YAML reader: it takes the last line in cloud.cfg and cloud.cfg.d/*.cfg that has ``datasource_list:`` in
it, whatever is around it, and knows a list only when all of it stands on that line. A list of one (or of one and
``None``) it uses without looking whether that cloud is there. Without such a line it looks for every cloud.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.leftovers import text
from factory.reading import cloud_init

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factory.inspection import Image

SCRIPTS = (
    "/usr/lib/cloud-init/ds-identify",
    "/usr/libexec/cloud-init/ds-identify",
    "/lib/cloud-init/ds-identify",
    "/usr/libexec/ds-identify",
)
OVERRIDE = "/etc/cloud/ds-identify.cfg"
_KEY = "datasource_list"
# Up to 22.4 it matched the start of the line; later ones let quotes and spaces come before the colon.
_NEW = re.compile(rf"""{_KEY}["']*\s*:""")
_OLD = re.compile(rf"{_KEY}:(\s|$)")


@dataclass(frozen=True)
class Datasources:
    """*settings*: the list in cloud-init's settings, None when there is none. *seen*: what ds-identify takes from it.

    *seen* is None when it would look for every cloud. *script* is ds-identify; without one, what a new one would take.
    The places are ``path:line: text``.
    """

    script: str
    settings: tuple[str, ...] | None
    settings_place: str
    seen: tuple[str, ...] | None
    seen_place: str
    multi_line: str = ""  # the place of a list that ds-identify cannot read, empty when there is none


@dataclass(frozen=True)
class Override:
    """What ds-identify.cfg says: a datasource, a policy; with their places."""

    datasource: str = ""
    datasource_place: str = ""
    policy: str = ""
    policy_place: str = ""

    @property
    def disables(self) -> bool:
        """Whether the policy keeps cloud-init from running on every machine."""
        modes = [word for word in self.policy.split(",") if word in ("enabled", "disabled", "search", "report")]
        return bool(modes) and modes[-1] == "disabled"


def read(image: Image) -> Datasources:
    """The lists of datasources in *image*. Raises Unreadable."""
    settings = cloud_init.read(image)
    listed = settings.get(_KEY)
    own = None if _KEY not in settings.settings else tuple(_words(listed))
    script = next((path for path in SCRIPTS if image.stat(path, follow=True)), "")
    seen, seen_place, multi_line = None, "", ""
    old = bool(script) and "get_single_line_flow_sequence" not in (text(image, script) or "")
    for place, value in _lines(settings, old):
        seen_place = place
        seen = _shell_list(value) or None
        multi_line = place if _broken(value) else ""
    return Datasources(script, own, settings.place(_KEY) if own is not None else "", seen, seen_place, multi_line)


def override(image: Image) -> Override:
    """What /etc/cloud/ds-identify.cfg says, as ds-identify reads it."""
    found = image.stat(OVERRIDE, follow=True)
    if found is None or found.kind != "file":
        return Override()
    values: dict[str, tuple[str, str]] = {}
    for number, line in enumerate((text(image, OVERRIDE) or "").splitlines(), 1):
        key, colon, value = line.split("#")[0].partition(":")
        if colon:
            values[key.strip()] = (_unquoted(value.strip()), f"{OVERRIDE}:{number}: {line.strip()}")
    return Override(*values.get("datasource", ("", "")), *values.get("policy", ("", "")))


def _words(listed: object) -> list[str]:
    if isinstance(listed, str):
        return [listed]
    return [word for word in listed if isinstance(word, str)] if isinstance(listed, list) else []


def _lines(settings: cloud_init.CloudInit, old: bool) -> Iterator[tuple[str, str]]:
    """Every line that ds-identify takes, in its order: a shell's ``*.cfg`` has no dot files."""
    for part in settings.parts:
        if part.path.rpartition("/")[2].startswith(".") or not part.path.startswith("/etc/cloud/cloud.cfg"):
            continue
        for number, line in enumerate(part.text.splitlines(), 1):
            bare = line.split("#")[0]
            match = _OLD.match(bare.strip()) if old else _NEW.search(bare)
            if match:
                value = bare.partition(":")[2] if old else bare.rpartition(":")[2]
                yield f"{part.path}:{number}: {line.strip()}", value.strip()


def _shell_list(value: str) -> tuple[str, ...]:
    inner = value.removeprefix("[").removesuffix("]")
    return tuple(word for word in (_unquoted(part.strip()) for part in inner.split(",")) if word)


def _broken(value: str) -> bool:
    """Whether a list goes on in another line, in any of YAML's forms."""
    return not value or value[0] in "|>&*!" or (value.startswith("[") and not value.endswith("]"))


def _unquoted(word: str) -> str:
    quoted = len(word) > 1 and word[0] == word[-1] and word[0] in "\"'"
    return word[1:-1] if quoted else word
