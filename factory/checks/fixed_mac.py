"""MAC addresses: no network setting and no boot entry is bound to the card that the build had."""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line, without_words
from factory.inspection import Image
from factory.quoting import quoted
from factory.reading import boot_entries, cloud_init, netplan, network
from factory.reading.lines import content_of

_IN_WORD = re.compile(r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.IGNORECASE)
WRITTEN = re.compile(r"/50-cloud-init\.yaml$")  # cloud-init writes it anew on every instance
ANY_CARD = 'network:\\n  version: 2\\n  ethernets:\\n    any:\\n      match: {name: "e*"}\\n      dhcp4: true\\n'


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for path, place in looked.know(_macs):
        yield Problem(path, place, fix=_fix(looked.image, path, place))
    for entry in looked.know(boot_entries.read).entries:
        words = [word for word in entry.options if word.startswith(("ifname=", "BOOTIF=", "ip="))]
        if found := [word for word in words if _IN_WORD.search(word)]:
            told = f"{entry.path}:{entry.line}: {' '.join(found)}"
            yield Problem(entry.path, told, fix=without_words(" ".join(found)))
    yield Note("no MAC address in any network setting")


def _macs(image: Image) -> list[tuple[str, str]]:
    return list(network.macs(image))


def _fix(image: Image, path: str, place: str) -> str:
    """What mends the line at *place* and leaves a file that still brings a card up."""
    number = int(place.removeprefix(path).split(":")[1])
    if path.startswith(netplan.FOLDERS):
        # Without its address, match is empty and set-name is left alone: netplan then refuses the whole file.
        return f"rm -f {quoted(path)}" if WRITTEN.search(path) else f"printf '{ANY_CARD}' >{quoted(path)}"
    if path.startswith("/etc/cloud/") or path == cloud_init.BASE:
        return (
            f"Write the network of {quoted(path)} for any card, "
            "as network: {version: 2, ethernets: {any: {match: {name: 'e*'}, dhcp4: true}}}, or take it out"
        )
    if path.endswith(".link"):
        return f"rm -f {quoted(path)}"
    if path.endswith(".network") and _section(content_of(image, path), number) == "Match":
        return f"sed -i '{number}s/.*/Name=e*/' {quoted(path)}"
    return without_line(path, number)


def _section(content: str, number: int) -> str:
    """The section of an INI-like file that its line *number* is in."""
    headings = [line.strip() for line in content.splitlines()[:number] if line.strip().startswith("[")]
    return headings[-1].strip("[]") if headings else ""
