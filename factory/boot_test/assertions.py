"""What must hold in a booted guest. Each assertion is a function from facts to a finding; a new one is added to ``ALL``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from factory.boot_test.facts import Facts
from factory.findings import Finding

if TYPE_CHECKING:
    from factory.boot_test.run import Boot
    from factory.hypervisor.domain import MachineSpec
    from factory.hypervisor.machine import Machine
    from factory.seed import Seed

Assertion = Callable[["Boot", "Seed", "MachineSpec", Facts, str], Finding]


def finding(rule: str, subject: str, good: bool, evidence: str, why: str, fix: str) -> Finding:
    """A finding of a boot test: every one of its rules is an error when it is broken."""
    return Finding(
        rule=rule, status="pass" if good else "fail", severity="error", subject=f"boot {subject}",
        evidence=evidence[:2000], why=why, fix="" if good else fix,
    )  # fmt: skip


def login(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, user: str) -> Finding:
    """The injected key logs in as the default user (else nothing here would run)."""
    return finding(
        "BOOT-LOGIN", boot.name, True, f"{user} logged in with the injected key", "An instance is reached by its key only", ""
    )


def cloud_init(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, user: str) -> Finding:
    """cloud-init has ended, without an error, recoverable ones included."""
    result = facts.result.get("v1", {})
    errors = list(result.get("errors", []))
    stages = facts.status.get("v1", {})
    recoverable = [
        f"{level}: {text}"
        for stage in stages.values()
        if isinstance(stage, dict)
        for level, texts in (stage.get("recoverable_errors") or {}).items()
        if level in ("ERROR", "WARNING", "CRITICAL")
        for text in texts
    ]
    good = bool(result) and facts.enabled and not errors and not recoverable
    evidence = "; ".join([*errors, *recoverable]) or ("done" if result else "cloud-init never finished, or is disabled")
    return finding(
        "BOOT-CLOUD-INIT", boot.name, good, evidence,
        "cloud-init brings the key, the host name and the network of every instance",
        "Run 'cloud-init status --long' and read /var/log/cloud-init.log in a guest of this image",
    )  # fmt: skip


def datasource(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, user: str) -> Finding:
    """cloud-init took what this boot offered, so it is not pinned to another datasource."""
    found = str(facts.result.get("v1", {}).get("datasource") or "none")
    return finding(
        "BOOT-DATASOURCE", boot.name, f"DataSource{boot.datasource}" in found, found,
        "An image that is pinned to one cloud's datasource gets no key in another",
        "Remove datasource_list from /etc/cloud/cloud.cfg.d and /etc/cloud/ds-identify.cfg",
    )  # fmt: skip


def user_data(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, user: str) -> Finding:
    """User-data ran, and ran once."""
    good = facts.marker == given.marker and facts.runs == 1
    return finding(
        "BOOT-USER-DATA", boot.name, good, f"marker {'found' if facts.marker == given.marker else 'missing'}, ran {facts.runs} times",
        "An old instance left in the image keeps user-data from running", "Remove /var/lib/cloud from the image",
    )  # fmt: skip


def network(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, user: str) -> Finding:
    """An address and a default route came by DHCP, on a NIC whose MAC and slot the image has never seen."""
    addresses = re.findall(r"inet (\S+)", facts.addresses)
    good = len(addresses) == 1 and addresses[0].startswith("10.0.2.") and "via 10.0.2.2" in facts.route
    return finding(
        "BOOT-DHCP", boot.name, good, f"addresses {', '.join(addresses) or 'none'}; route {facts.route.strip() or 'none'}",
        "Without DHCP on whatever NIC the cloud gives, the instance is unreachable for ever",
        "Remove MAC addresses, interface names and static addresses from the network configuration",
    )  # fmt: skip


def hostname(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, user: str) -> Finding:
    """The host name is the one that the datasource gave."""
    return finding(
        "BOOT-HOSTNAME", boot.name, facts.hostname.split(".")[0] == given.hostname, facts.hostname,
        "A host name kept from the build names every instance alike", "Remove preserve_hostname and /etc/hostname",
    )  # fmt: skip


def host_keys(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, user: str) -> Finding:
    """Host keys were made, none is empty."""
    empty = [path for path, line in facts.host_keys.items() if len(line.split()) < 2]
    good = bool(facts.host_keys) and not empty
    return finding(
        "BOOT-HOST-KEYS", boot.name, good, f"{len(facts.host_keys)} keys" + (f", empty: {', '.join(empty)}" if empty else ""),
        "sshd does not start without host keys", "See that cloud-init's ssh module runs, or enable sshd-keygen",
    )  # fmt: skip


def machine_id(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, user: str) -> Finding:
    """The machine-id is a new one, and D-Bus has the same."""
    good = bool(re.fullmatch(r"[0-9a-f]{32}", facts.machine_id)) and facts.dbus_id in ("", facts.machine_id)
    return finding(
        "BOOT-MACHINE-ID", boot.name, good, f"{len(facts.machine_id)} characters; D-Bus {'agrees' if good else 'differs'}",
        "systemd, DHCP and the journal go by it", "Ship /etc/machine-id empty and /var/lib/dbus/machine-id as a link to it",
    )  # fmt: skip


def root_grown(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, user: str) -> Finding:
    """The root file system has grown to the larger disk."""
    good = facts.root_size >= boot.larger_by * 0.95
    return finding(
        "BOOT-ROOT-GROWN", boot.name, good, f"root is {facts.root_size / 1024**3:.1f} GiB on a disk that is "
        f"{boot.larger_by / 1024**3:.0f} GiB larger than the image",
        "An instance's disk is larger than the image; without growth the rest is lost",
        "Install cloud-guest-utils (growpart), make root the last partition, keep growpart and resizefs enabled",
    )  # fmt: skip


def units(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, user: str) -> Finding:
    """No unit has failed."""
    good = not facts.failed and facts.running == "running"
    return finding(
        "BOOT-UNITS", boot.name, good, f"{facts.running}; failed: {', '.join(facts.failed) or 'none'}",
        "A failed unit is a service that does not work, in every instance", "Read 'systemctl status' of the unit in a guest",
    )  # fmt: skip


def passwords(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, user: str) -> Finding:
    """Nobody can log in by password: SSH offers keys only, and no account has a password."""
    offered = [method for method in facts.methods if method != "publickey"]
    open_accounts = [name for name, locked in facts.locked.items() if not locked]
    good = not offered and not open_accounts
    evidence = f"SSH offers {', '.join(facts.methods) or 'nothing'}; accounts with a password: {', '.join(open_accounts) or 'none'}"
    return finding(
        "BOOT-PASSWORDS", boot.name, good, evidence, "A password in an image is the same in every instance",
        "Set PasswordAuthentication and KbdInteractiveAuthentication to no, and lock the accounts (usermod -p '*')",
    )  # fmt: skip


def keys(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, user: str) -> Finding:
    """No key but the injected one opens any account."""
    injected = given.login.public_openssh.split()[1]
    strange = [f"{name}: {line[:20]}…" for name, lines in facts.authorized_keys.items() for line in lines if injected not in line]
    return finding(
        "BOOT-KEYS", boot.name, not strange, "; ".join(strange) or "only the injected key",
        "A key left in the image opens every instance", "Remove the authorized_keys files from the image",
    )  # fmt: skip


ALL: tuple[Assertion, ...] = (
    login, cloud_init, datasource, user_data, network, hostname, host_keys, machine_id, root_grown, units, passwords, keys,
)  # fmt: skip


def check(boot: Boot, given: Seed, spec: MachineSpec, facts: Facts, machine: Machine, user: str) -> list[Finding]:
    """Every assertion on one booted guest."""
    return [assertion(boot, given, spec, facts, user) for assertion in ALL]


def did_not_boot(name: str, error: Exception) -> Finding:
    """The boot itself failed: *error* says why."""
    output = str(getattr(error, "output", "")).strip()
    return finding(
        "BOOT-LOGIN", name, False, f"{error}" + (f"\n{output[-1500:]}" if output else ""),
        "An instance is reached by its key only", "Read the boot's console log",
    )  # fmt: skip


def compare(boots: Sequence[tuple[str, Facts]], known: frozenset[str]) -> Iterator[Finding]:
    """Identity: no two boots share a host key or the machine-id, and none has those of the build (*known*)."""
    if not boots:
        return
    for rule, what, of in (
        ("BOOT-HOST-KEYS-UNIQUE", "host keys", lambda facts: {line.split()[1] for line in facts.host_keys.values() if line}),
        ("BOOT-MACHINE-ID-UNIQUE", "machine-id", lambda facts: {facts.machine_id}),
    ):
        seen: list[set[str]] = [of(facts) for _, facts in boots]
        shared = set.intersection(*seen) if len(seen) > 1 else set()
        old = set.union(*seen) & known
        good = not shared and not old
        evidence = "shared by all boots" if shared else "the build's own" if old else f"new in {len(seen)} boots, none from the build"
        yield finding(
            rule, " and ".join(name for name, _ in boots), good, evidence,
            f"Instances that share the {what} cannot be told apart, and can pose as each other",
            "Remove it from the image, and see that the first boot makes it anew",
        )  # fmt: skip


def after_reboot(name: str, before: Facts, after: Facts) -> list[Finding]:
    """The same machine as before, as well as before, and user-data did not run again."""
    subject = f"{name} after its reboot"
    same = before.machine_id == after.machine_id and before.host_keys == after.host_keys
    again = after.boot_id != before.boot_id
    return [
        finding(
            "BOOT-REBOOT", subject, again and same, "rebooted" * again + (", same identity" if same else ", another identity"),
            "An instance must survive a reboot, as the machine that it was", "Read the console log of the second boot",
        ),
        finding(
            "BOOT-REBOOT-UNITS", subject, not after.failed and after.running == "running",
            f"{after.running}; failed: {', '.join(after.failed) or 'none'}", "What works once must work again",
            "Read 'systemctl status' of the unit in a guest that was rebooted",
        ),
        finding(
            "BOOT-REBOOT-USER-DATA", subject, after.runs == 1, f"ran {after.runs} times",
            "User-data belongs to the instance, not to each boot", "Look for a changing instance-id or manual_cache_clean",
        ),
    ]  # fmt: skip


def unchanged(before: str, after: str) -> Finding:
    """The image is, byte for byte, the one that was there before the boots."""
    return finding(
        "BOOT-IMAGE-UNCHANGED", "all", before == after, f"sha256 {after[:16]}…", "What is published must be what was tested", ""
    )
