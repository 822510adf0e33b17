"""ifcfg files bring their card up by DHCP, and belong to no card of the builder's."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule, without_line
from factory.checks.dhcp_for_any_card import known_services
from factory.reading import ifcfg
from factory.reading.lines import Entry

_NO = ("no", "false", "0", "off", "n")
_HELD = ("BRIDGE", "MASTER", "TEAM_MASTER", "SLAVE", "BOND")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    interfaces = {each.path: each for each in looked.know(ifcfg.read) if each.physical}
    files = [*ifcfg.files(looked.image, ifcfg.RHEL), *ifcfg.files(looked.image, ifcfg.SUSE)]
    files = [(path, said) for path, said in files if path in interfaces]
    if not files:
        raise NotApplicable("there is no ifcfg file for a card")
    legacy = known_services(looked).started("network")
    for path, said in files:
        if not interfaces[path].up:
            entry = said.get("ONBOOT") or said.get("STARTMODE")
            yield Problem(path, entry.place if entry else f"{path}: it sets no STARTMODE")
        controlled = said.get("NM_CONTROLLED")
        if controlled and controlled.value.lower() in _NO and not legacy:
            told = f"{controlled.place} (and the service network is not started)"
            yield Problem(path, told, fix=without_line(path, controlled.line))
        if "UUID" in said:
            yield Problem(path, said["UUID"].place, warn=True, fix=without_line(path, said["UUID"].line))
        if not interfaces[path].dhcp and not interfaces[path].static and not _held(said):
            entry = said.get("BOOTPROTO")
            yield Problem(path, f"{entry.place if entry else path} (no address by DHCP)")
    yield Note(f"{len(files)} files")


def _held(said: dict[str, Entry]) -> bool:
    return any(key in said for key in _HELD)
