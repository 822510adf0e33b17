"""The firewalls that a guest switches on at boot, and whether they let a connection in: all that are known by name.

A firewall counts when something starts it: its service, ``ENABLED=yes`` of ufw, a script that runs at boot and calls
iptables or nft. What is installed and not started lets everything in.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.reading import firewalld, ifupdown, iptables, nftables
from factory.reading.lines import content_of, is_file, numbered, shell
from factory.reading.packet import ACCEPTED, Verdict, in_network, in_ports
from factory.reading.services import Services

if TYPE_CHECKING:
    from factory.inspection import Image

# (services, the files with their rules); the service's own unit may name another file
_IPTABLES = (
    (("netfilter-persistent", "iptables-persistent"), ("/etc/iptables/rules.v4",)),
    (
        ("iptables.service",),
        ("/etc/sysconfig/iptables", "/etc/iptables/iptables.rules", "/var/lib/iptables/rules-save"),
    ),
    (("iptables",), ("/etc/iptables/rules-save", "/var/lib/iptables/rules-save")),
)
_NFTABLES = ("/etc/nftables.conf", "/etc/sysconfig/nftables.conf", "/etc/nftables.nft", "/etc/nftables/main.nft")
_OTHERS = ("shorewall", "csf", "lfd", "apf", "ferm", "arno-iptables-firewall", "firehol", "vuurmuur", "nfs-firewall")
_CALLS = re.compile(r"(?:^|[\s;&|(/'\"])(iptables|nft|iptables-restore|iptables-apply|ufw)\s")
_FILES = 50  # of nftables that include one another
_LIMIT = 1 << 20


@dataclass(frozen=True)
class Firewall:
    """One that starts at boot. *started* is what starts it; *files* hold its rules."""

    name: str
    started: str
    files: tuple[str, ...]
    verdicts: dict[int, Verdict]
    unknown: str = ""  # why its rules cannot be followed

    def closes(self, port: int) -> str:
        """The place of the rule that keeps a TCP connection to *port* out; empty when it gets in."""
        found = self.verdicts.get(port, ACCEPTED)
        return "" if found.accepted else found.place or self.name


def read(image: Image, services: Services, ports: Sequence[int]) -> list[Firewall]:
    """Every firewall that starts at boot, and its verdicts on new TCP connections to each of *ports*."""
    found = []
    if started := services.started("firewalld"):
        zone = firewalld.read(image)
        found.append(Firewall("firewalld", started, zone.files, {port: zone.verdict(port) for port in ports}))
    found += _ufw(image, services, ports)
    for names, paths in _IPTABLES:
        files = [path for path in paths if is_file(image, path)]
        if (started := services.started(*names)) and files:
            lines = _lines(image, files[0])
            found.append(Firewall("iptables", started, (files[0],), {p: iptables.verdict(lines, p) for p in ports}))
            break
    if started := services.started("nftables"):
        path = _nftables_file(image, services)
        if path:
            found.append(_nft("nftables", started, image, path, ports))
    if started := services.started("SuSEfirewall2", "SuSEfirewall2_init"):
        found.append(_suse(image, started, ports))
    for name in _OTHERS:
        if started := services.started(name):
            found.append(Firewall(name, started, (), {}, "its rules are not followed here"))
    return found + list(_scripts(image, services, ports))


def _lines(image: Image, path: str) -> list[tuple[str, str]]:
    return [
        (line, f"{path}:{number}: {line.strip()[: nftables.SHOWN]}")
        for number, line in numbered(content_of(image, path), "#")
    ]


def _ufw(image: Image, services: Services, ports: Sequence[int]) -> Iterator[Firewall]:
    main, defaults, rules = "/etc/ufw/ufw.conf", "/etc/default/ufw", "/etc/ufw/user.rules"
    said = shell(main, content_of(image, main))
    started = services.started("ufw")
    if not started or "ENABLED" not in said or said["ENABLED"].value.lower() != "yes":
        return
    policy = shell(defaults, content_of(image, defaults)).get("DEFAULT_INPUT_POLICY")
    rejects = policy is not None and policy.value.upper() != "ACCEPT"
    if not is_file(image, "/lib/ufw/user.rules"):
        lines = _lines_of_tuples(image, rules)
    else:
        lines = _lines_of_tuples(image, "/lib/ufw/user.rules")
    verdicts = {}
    for port in ports:
        verdict = ACCEPTED if not rejects else Verdict(False, policy.place if policy else main)
        for action, where, source, place in lines:
            if in_network(source) and (where == "any" or in_ports(where.split(","), port)):
                verdict = ACCEPTED if action in ("allow", "limit") else Verdict(False, place)
                break
        verdicts[port] = verdict
    yield Firewall("ufw", f"{started}, {said['ENABLED'].place}", (rules, defaults), verdicts)


def _lines_of_tuples(image: Image, path: str) -> list[tuple[str, str, str, str]]:
    """ufw keeps its rules as comments: ``### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in``."""
    found = []
    for number, line in enumerate(content_of(image, path).splitlines(), 1):
        words = line.partition("### tuple ###")[2].split()
        if len(words) >= 7 and words[1] in ("tcp", "any") and "out" not in words[6:]:
            action = words[0].partition("_")[0].removeprefix("route:")
            if not words[0].startswith("route:") and "/" not in words[2].replace("/tcp", ""):
                found.append((action, words[2], words[5], f"{path}:{number}: {line.strip()}"))
    return found


def _nftables_file(image: Image, services: Services) -> str:
    """The file that the service loads: what its unit says, or the first of the usual ones."""
    unit = services.systemd.unit("nftables.service") if services.systemd.present else None
    for setting in unit.get("Service", "ExecStart") if unit else ():
        match = re.search(r"-\w*f\s+(\S+)", setting.value)
        if match and is_file(image, match[1]):
            return match[1]
    return next((path for path in _NFTABLES if is_file(image, path)), "")


def _nft(name: str, started: str, image: Image, path: str, ports: Sequence[int]) -> Firewall:
    files: list[str] = []
    words = list(_nft_words(image, path, files))
    return Firewall(name, started, tuple(files), {port: nftables.verdict(words, port) for port in ports})


def _nft_words(image: Image, path: str, files: list[str]) -> Iterator[tuple[str, str]]:
    """The words of a file and of what it includes, in place."""
    if path in files or len(files) >= _FILES or not is_file(image, path):
        return
    files.append(path)
    for number, line in enumerate(content_of(image, path)[:_LIMIT].splitlines(), 1):
        match = re.match(r'\s*include\s+"([^"]+)"', line)
        if match is None:
            yield from nftables.words(path, line, number)
            continue
        pattern = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[1]))
        for included in image.glob(pattern):
            if not included.rpartition("/")[2].startswith("."):
                yield from _nft_words(image, included, files)


def _suse(image: Image, started: str, ports: Sequence[int]) -> Firewall:
    path = "/etc/sysconfig/SuSEfirewall2"
    said = shell(path, content_of(image, path))

    def words(key: str) -> list[str]:
        return said[key].value.replace(",", " ").split() if key in said else []

    verdicts = {}
    for port in ports:
        is_open = in_ports(words("FW_SERVICES_EXT_TCP"), port) or (
            port == 22 and "sshd" in words("FW_CONFIGURATIONS_EXT")
        )
        verdicts[port] = ACCEPTED if is_open else Verdict(False, f"{path}: no service that opens port {port}")
    return Firewall("SuSEfirewall2", started, (path,), verdicts)


def _scripts(image: Image, services: Services, ports: Sequence[int]) -> Iterator[Firewall]:
    """Scripts and settings that run at boot and load rules by themselves."""
    for started, path, lines in _boot_lines(image, services):
        commands: list[tuple[str, str]] = []
        words: list[tuple[str, str]] = []
        for line, place in lines:
            called = _CALLS.findall(line)
            for name in called:
                if name == "iptables":
                    commands += [(part.rstrip(" '\""), place) for part in re.findall(r"iptables\s[^;&|]*", line)]
                elif name == "nft" and (match := re.search(r"nft\s+(?:-\w+\s+)*?-\w*f\s+(\S+)", line)):
                    yield _nft("nft", started, image, match[1].strip("\"'"), ports)
                elif name == "nft":
                    command = re.findall(r"nft\s+['\"]?([^'\"]*)", line)[-1]
                    words += [(word, place) for word, _ in nftables.words(path, command.replace("\\;", ";"))]
                elif name == "iptables-restore" and (match := re.search(r"(?:<|-restore\s(?:-\w+\s)*)\s*(/\S+)", line)):
                    rules = _lines(image, match[1].strip("\"';"))
                    verdicts = {port: iptables.verdict(rules, port) for port in ports}
                    yield Firewall("iptables", f"{started}, {place}", (match[1],), verdicts)
        if words:
            yield Firewall("nft", started, (path,), {port: nftables.verdict(words, port) for port in ports})
        if commands:
            verdicts = {port: iptables.verdict(commands, port) for port in ports}
            yield Firewall("iptables", started, (path,), verdicts)


def _boot_lines(image: Image, services: Services) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    scripts = [path for folder in ("if-pre-up.d", "if-up.d") for path in image.glob(f"/etc/network/{folder}/*")]
    scripts += ["/etc/rc.local", "/etc/rc.d/rc.local", "/etc/init.d/boot.local"]
    scripts += image.glob("/etc/local.d/*.start") if services.started("local") else []
    scripts += image.glob("/etc/NetworkManager/dispatcher.d/*") + image.glob("/etc/networkd-dispatcher/*.d/*")
    for path in scripts:
        found = image.stat(path, follow=True)
        if found and found.kind == "file" and found.mode & 0o100 and found.size <= _LIMIT:
            yield path, path, _lines(image, path)
    for path in [path for pattern in _CRON for path in image.glob(pattern) if is_file(image, path)]:
        at_boot = [(line, place) for line, place in _lines(image, path) if line.lstrip().startswith("@reboot")]
        yield path, path, at_boot
    for stanza in ifupdown.parse(image).stanzas:
        lines = [(value, place) for key, value, place in stanza.options if key in ("pre-up", "up", "post-up")]
        yield stanza.place, stanza.path, lines
    for name, started in (services.systemd.enabled() if services.systemd.present else {}).items():
        unit = services.systemd.unit(name)
        if unit is None or name in _KNOWN:
            continue
        settings = [
            setting for key in ("ExecStart", "ExecStartPre", "ExecStartPost") for setting in unit.get("Service", key)
        ]
        lines = [(setting.value, f"{setting.path}:{setting.line}: {setting.value}") for setting in settings]
        for word in [setting.value.split()[0].lstrip("-@+!:") for setting in settings if setting.value.split()]:
            found = (
                image.stat(word, follow=True) if word.startswith(("/usr/local/", "/opt/", "/etc/", "/root/")) else None
            )
            if found and found.kind == "file" and found.size <= _LIMIT:
                lines += _lines(image, word)
        yield started, unit.path, lines


_OWN = ("/usr/local/", "/opt/", "/etc/", "/root/", "/srv/", "/home/")  # where scripts lie that no package brings
_CRON = ("/etc/crontab", "/etc/cron.d/*", "/var/spool/cron/*", "/var/spool/cron/crontabs/*", "/var/spool/cron/tabs/*")
_KNOWN = ("firewalld.service", "ufw.service", "nftables.service", "iptables.service", "netfilter-persistent.service")
