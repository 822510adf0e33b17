"""What must hold in a booted guest. Each assertion is a function from facts to a finding; a new one is added to
``ALL``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factory.boot_test.facts import Facts
from factory.findings import Finding
from factory.reading.interfaces import is_virtual

if TYPE_CHECKING:
    from factory.boot_test.run import Boot
    from factory.seed import Seed


@dataclass(frozen=True)
class Seen:
    """One booted guest: the boot, the seed it was given, its default user, and what it says of itself.

    *allow_users* are the accounts (names or numbers) that its recipe lets have a password.
    """

    boot: Boot
    given: Seed
    user: str
    facts: Facts
    allow_users: tuple[str, ...] = ()

    def allows(self, name: str) -> bool:
        """Whether the account *name* may have a password; root, and an account that needs none, never."""
        uid = self.facts.uids.get(name, 0)
        return uid != 0 and name not in self.facts.no_password and not {name, str(uid)}.isdisjoint(self.allow_users)


Assertion = Callable[[Seen], Finding]


def finding(rule: str, subject: str, good: bool, evidence: str, why: str, fix: str) -> Finding:
    """A finding of a boot test: every one of its rules is an error when it is broken."""
    return Finding(
        rule=rule,
        status="pass" if good else "fail",
        severity="error",
        subject=f"boot {subject}",
        evidence=evidence[:2000],
        why=why,
        fix="" if good else fix,
        source="",
    )


def login(seen: Seen) -> Finding:
    """The injected key logs in as the default user (else nothing here would run)."""
    return finding(
        "BOOT-LOGIN",
        seen.boot.name,
        True,
        f"{seen.user} logged in with the injected key",
        "An instance is reached by its key only",
        "",
    )


def cloud_init(seen: Seen) -> Finding:
    """cloud-init has ended, without an error, recoverable ones included."""
    result = seen.facts.result.get("v1", {})
    errors = list(result.get("errors", []))
    stages = seen.facts.status.get("v1", {})
    recoverable = [
        f"{level}: {text}"
        for stage in stages.values()
        if isinstance(stage, dict)
        for level, texts in (stage.get("recoverable_errors") or {}).items()
        if level in ("ERROR", "WARNING", "CRITICAL")
        for text in texts
    ]
    good = bool(result) and seen.facts.enabled and not errors and not recoverable
    evidence = "; ".join([*errors, *recoverable]) or ("done" if result else "cloud-init never finished, or is disabled")
    return finding(
        "BOOT-CLOUD-INIT",
        seen.boot.name,
        good,
        evidence,
        "cloud-init brings the key, the host name and the network of every instance",
        "Run 'cloud-init status --long' and read /var/log/cloud-init.log in a guest of this image",
    )


def datasource(seen: Seen) -> Finding:
    """cloud-init took what this boot offered, so it is not pinned to another datasource."""
    found = str(seen.facts.result.get("v1", {}).get("datasource") or "none")
    return finding(
        "BOOT-DATASOURCE",
        seen.boot.name,
        f"DataSource{seen.boot.datasource}" in found,
        found,
        "An image that is pinned to one cloud's datasource gets no key in another",
        "Remove datasource_list from /etc/cloud/cloud.cfg.d and /etc/cloud/ds-identify.cfg",
    )


def user_data(seen: Seen) -> Finding:
    """User-data ran, and ran once."""
    good = seen.facts.marker == seen.given.marker and seen.facts.runs == 1
    return finding(
        "BOOT-USER-DATA",
        seen.boot.name,
        good,
        f"marker {'found' if seen.facts.marker == seen.given.marker else 'missing'}, ran {seen.facts.runs} times",
        "An old instance left in the image keeps user-data from running",
        "Remove /var/lib/cloud from the image",
    )


def network(seen: Seen) -> Finding:
    """An address came by DHCP, on a NIC whose MAC and slot the image has never seen (this network offers no route).

    A bridge of containers and a tunnel have addresses of their own, which say nothing about the NIC.
    """
    listed = re.findall(r"^\d+: ([^\s@]+)\S*\s+inet (\S+)", seen.facts.addresses, re.MULTILINE)
    addresses = [address for name, address in listed if name in seen.facts.cards and not is_virtual(name)]
    others = "".join(f"; {address} on {name}" for name, address in listed if address not in addresses)
    good = len(addresses) == 1 and addresses[0].startswith("10.0.2.") and not seen.facts.route.strip()
    route = f"; a route that DHCP did not give: {seen.facts.route.strip()}" if seen.facts.route.strip() else ""
    return finding(
        "BOOT-DHCP",
        seen.boot.name,
        good,
        f"addresses {', '.join(addresses) or 'none'}{others}{route}",
        "Without DHCP on whatever NIC the cloud gives, the instance is unreachable for ever",
        "Remove MAC addresses, interface names and static addresses from the network configuration",
    )


def hostname(seen: Seen) -> Finding:
    """The host name is the one that the datasource gave."""
    return finding(
        "BOOT-HOSTNAME",
        seen.boot.name,
        seen.facts.hostname.split(".")[0] == seen.given.hostname,
        seen.facts.hostname,
        "A host name kept from the build names every instance alike",
        "Remove preserve_hostname and /etc/hostname",
    )


def host_keys(seen: Seen) -> Finding:
    """Host keys were made, none is empty."""
    empty = [path for path, line in seen.facts.host_keys.items() if len(line.split()) < 2]
    good = bool(seen.facts.host_keys) and not empty
    return finding(
        "BOOT-HOST-KEYS",
        seen.boot.name,
        good,
        f"{len(seen.facts.host_keys)} keys" + (f", empty: {', '.join(empty)}" if empty else ""),
        "sshd does not start without host keys",
        "See that cloud-init's ssh module runs, or enable sshd-keygen",
    )


def machine_id(seen: Seen) -> Finding:
    """The machine-id is a new one, and D-Bus has the same."""
    good = bool(re.fullmatch(r"[0-9a-f]{32}", seen.facts.machine_id)) and seen.facts.dbus_id in (
        "",
        seen.facts.machine_id,
    )
    return finding(
        "BOOT-MACHINE-ID",
        seen.boot.name,
        good,
        f"{len(seen.facts.machine_id)} characters; D-Bus {'agrees' if good else 'differs'}",
        "systemd, DHCP and the journal go by it",
        "Ship /etc/machine-id empty and /var/lib/dbus/machine-id as a link to it",
    )


def root_grown(seen: Seen) -> Finding:
    """The root file system has grown to the larger disk."""
    good = seen.facts.root_size >= seen.boot.larger_by * 0.95
    return finding(
        "BOOT-ROOT-GROWN",
        seen.boot.name,
        good,
        f"root is {seen.facts.root_size / 1024**3:.1f} GiB on a disk that is "
        f"{seen.boot.larger_by / 1024**3:.0f} GiB larger than the image",
        "An instance's disk is larger than the image; without growth the rest is lost",
        "Install cloud-guest-utils (growpart), make root the last partition, keep growpart and resizefs enabled",
    )


def units(seen: Seen) -> Finding:
    """No unit has failed."""
    good = not seen.facts.failed and seen.facts.running == "running"
    return finding(
        "BOOT-UNITS",
        seen.boot.name,
        good,
        f"{seen.facts.running}; failed: {', '.join(seen.facts.failed) or 'none'}",
        "A failed unit is a service that does not work, in every instance",
        "Read 'systemctl status' of the unit in a guest",
    )


def passwords(seen: Seen) -> Finding:
    """Nobody can log in by password: SSH offers keys only, and no account that the recipe does not list has one."""
    offered = [method for method in seen.facts.methods if method != "publickey"]
    open_accounts = [name for name, locked in seen.facts.locked.items() if not locked]
    good = not offered and all(map(seen.allows, open_accounts))
    listed = ", ".join(f"{name}{' (allowed)' * seen.allows(name)}" for name in open_accounts) or "none"
    evidence = f"SSH offers {', '.join(seen.facts.methods) or 'nothing'}; accounts with a password: {listed}"
    return finding(
        "BOOT-PASSWORDS",
        seen.boot.name,
        good,
        evidence,
        "A password in an image is the same in every instance",
        "Set PasswordAuthentication and KbdInteractiveAuthentication to no, and lock the accounts (usermod -p '*'), "
        "or list those that are meant in checks.allow_users",
    )


def keys(seen: Seen) -> Finding:
    """No key but the injected one opens any account."""
    injected = seen.given.login.public_openssh.split()[1]
    strange = [
        f"{name}: {line[:20]}…"
        for name, lines in seen.facts.authorized_keys.items()
        for line in lines
        if injected not in line
    ]
    return finding(
        "BOOT-KEYS",
        seen.boot.name,
        not strange,
        "; ".join(strange) or "only the injected key",
        "A key left in the image opens every instance",
        "Remove the authorized_keys files from the image",
    )


ALL: tuple[Assertion, ...] = (
    login,
    cloud_init,
    datasource,
    user_data,
    network,
    hostname,
    host_keys,
    machine_id,
    root_grown,
    units,
    passwords,
    keys,
)


def check(seen: Seen) -> list[Finding]:
    """Every assertion on one booted guest."""
    return [assertion(seen) for assertion in ALL]


def did_not_boot(name: str, error: Exception) -> Finding:
    """The boot itself failed: *error* says why."""
    output = str(getattr(error, "output", "")).strip()
    return finding(
        "BOOT-LOGIN",
        name,
        False,
        f"{error}" + (f"\n{output[-1500:]}" if output else ""),
        "An instance is reached by its key only",
        "Read the boot's console log",
    )


def compare(boots: Sequence[tuple[str, Facts]], known: frozenset[str]) -> Iterator[Finding]:
    """Identity: no two boots share a host key or the machine-id, and none has those of the build (*known*)."""
    if not boots:
        return
    identities = (
        ("BOOT-HOST-KEYS-UNIQUE", "host keys", [_host_keys(facts) for _, facts in boots]),
        ("BOOT-MACHINE-ID-UNIQUE", "machine-id", [{facts.machine_id} for _, facts in boots]),
    )
    for rule, what, seen in identities:
        shared = set.intersection(*seen) if len(seen) > 1 else set()
        old = set.union(*seen) & known
        good = not shared and not old
        evidence = (
            "shared by all boots"
            if shared
            else "the build's own"
            if old
            else f"new in {len(seen)} boots, none from the build"
        )
        yield finding(
            rule,
            " and ".join(name for name, _ in boots),
            good,
            evidence,
            f"Instances that share the {what} cannot be told apart, and can pose as each other",
            "Remove it from the image, and see that the first boot makes it anew",
        )


def _host_keys(facts: Facts) -> set[str]:
    return {line.split()[1] for line in facts.host_keys.values() if len(line.split()) > 1}


def after_reboot(name: str, before: Facts, after: Facts) -> list[Finding]:
    """The same machine as before, as well as before, and user-data did not run again."""
    subject = f"{name} after its reboot"
    same = before.machine_id == after.machine_id and before.host_keys == after.host_keys
    again = after.boot_id != before.boot_id
    return [
        finding(
            "BOOT-REBOOT",
            subject,
            again and same,
            "rebooted" * again + (", same identity" if same else ", another identity"),
            "An instance must survive a reboot, as the machine that it was",
            "Read the console log of the second boot",
        ),
        finding(
            "BOOT-REBOOT-UNITS",
            subject,
            not after.failed and after.running == "running",
            f"{after.running}; failed: {', '.join(after.failed) or 'none'}",
            "What works once must work again",
            "Read 'systemctl status' of the unit in a guest that was rebooted",
        ),
        finding(
            "BOOT-REBOOT-USER-DATA",
            subject,
            after.runs == 1,
            f"ran {after.runs} times",
            "User-data belongs to the instance, not to each boot",
            "Look for a changing instance-id or manual_cache_clean",
        ),
    ]


def unchanged(before: str, after: str) -> Finding:
    """The image is, byte for byte, the one that was there before the boots."""
    return finding(
        "BOOT-IMAGE-UNCHANGED",
        "all",
        before == after,
        f"sha256 {after[:16]}…",
        "What is published must be what was tested",
        "See what else writes to the image file on this host, and build it again",
    )
