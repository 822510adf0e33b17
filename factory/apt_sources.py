"""The package sources of this host, from /etc/apt: one-line files (``*.list``) and stanzas (``*.sources``)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

YES = {"yes", "true", "with", "on", "enable", "1"}  # what apt takes for true
NO = {"no", "false", "without", "off", "disable", "0"}
UNSAFE_OPTIONS = ("trusted", "allow-insecure", "allow-weak", "allow-downgrade-to-insecure")


@dataclass(frozen=True)
class AptSource:
    """One address of binary packages. *signed_by* is empty when any key that apt trusts may sign it.

    *unsafe* says that apt was told to take packages that nobody signed.
    """

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    unsafe: bool = False


def read_sources(root: Path = Path("/")) -> list[AptSource]:
    """All enabled sources of the host whose root is *root*, in apt's order; what cannot be read is left out."""
    apt = root / "etc/apt"
    folder = apt / "sources.list.d"
    try:
        parts = sorted(path for path in folder.iterdir() if re.fullmatch(r"[A-Za-z0-9._-]+\.(list|sources)", path.name))
    except OSError:
        parts = []
    found: list[AptSource] = []
    for path in [apt / "sources.list", *parts]:
        try:
            text = path.read_text("utf-8", "replace")
        except OSError:
            continue  # absent, or a file that only root may read because it holds a password
        found += parse_stanzas(text) if path.suffix == ".sources" else parse_lines(text)
    return [source for item in found for source in _expand(item, root)]


def parse_lines(text: str) -> list[AptSource]:
    """The sources in a one-line file: ``deb [ option=value ... ] uri suite component ...``."""
    found = []
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        match = re.fullmatch(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)", line)
        if not match:
            continue
        options: dict[str, str] = {}
        for word in (match[1] or "").split():
            key, _, value = word.partition("=")
            options[key.rstrip("+-").lower()] = value
        found.append(
            AptSource(
                uri=match[2].rstrip("/"),
                suites=(match[3].rstrip("/"),),
                components=tuple(match[4].split()),
                signed_by=_words(options.get("signed-by", "").replace(",", " ")),
                architectures=_words(options.get("arch", "").replace(",", " ")),
                unsafe=_unsafe(options),
            )
        )
    return found


def parse_stanzas(text: str) -> list[AptSource]:
    """The sources in a deb822 file. A key that stands in the file itself counts as one that is not a keyring's path."""
    found = []
    for stanza in re.split(r"\n(?:[ \t]*\n)+", text.replace("\r\n", "\n")):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").strip().lower() in NO:
            continue
        for uri in fields.get("uris", "").split():
            found.append(
                AptSource(
                    uri=uri.rstrip("/"),
                    suites=tuple(suite.rstrip("/") for suite in fields.get("suites", "").split()),
                    components=_words(fields.get("components", "")),
                    signed_by=_words(fields.get("signed-by", "")),
                    architectures=_words(fields.get("architectures", "")),
                    unsafe=_unsafe(fields),
                )
            )
    return found


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t") and name:
            fields[name] += "\n" + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _unsafe(options: dict[str, str]) -> bool:
    return any(options.get(option, "no").strip().lower() in YES for option in UNSAFE_OPTIONS)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _expand(source: AptSource, root: Path) -> Iterator[AptSource]:
    """*source*, or for ``mirror+file:`` (as in Debian's own cloud images) one for each address in the file it names."""
    if not source.uri.startswith("mirror+file:"):
        yield source
        return
    listed = root / re.sub(r"^mirror\+file:/*", "", source.uri)
    try:
        lines = listed.read_text("utf-8", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        words = line.partition("#")[0].split()
        if words:
            yield AptSource(
                words[0].rstrip("/"),
                source.suites,
                source.components,
                source.signed_by,
                source.architectures,
                source.unsafe,
            )
