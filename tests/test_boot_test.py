"""The assertions of the boot test by table: a good guest passes all, and each single defect breaks its own rule."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory import seed
from factory.boot_test import BootTest, Outcome, assertions
from factory.boot_test.assertions import Seen, after_reboot, check, compare, did_not_boot, unchanged
from factory.boot_test.facts import Facts, _locked
from factory.boot_test.run import GIB, Boot, _refuses, boots_of
from factory.errors import MachineError
from factory.findings import Finding
from factory.recipe import load_recipe
from tests.recipe_files import HEAD, write

LOGIN = seed.new_keypair("login")
STRANGER = seed.new_keypair("stranger")
HOST_KEY = seed.new_keypair("root@host").public_openssh
BOOT = Boot("bios", "bios", "pc", "virtio-blk", "NoCloud", 0x10, 10 * GIB)
GIVEN = seed.test_seed(hostname="boot-test-1", instance_id="i-1", login=LOGIN)
GOOD = Facts(
    result={"v1": {"datasource": "DataSourceNoCloud [seed=/dev/vdb]", "errors": []}},
    status={"v1": {"datasource": "x", "init": {"errors": [], "recoverable_errors": {}}, "stage": None}},
    enabled=True,
    machine_id="0123456789abcdef0123456789abcdef",
    dbus_id="0123456789abcdef0123456789abcdef",
    host_keys={"/etc/ssh/ssh_host_ed25519_key.pub": HOST_KEY},
    shown_key=" ".join(HOST_KEY.split()[:2]),
    root_size=13 * GIB,
    route="",
    addresses="2: eth0    inet 10.0.2.15/24 brd 10.0.2.255 scope global dynamic eth0",
    cards=["eth0"],
    failed=[],
    running="running",
    authorized_keys={"debian": [LOGIN.public_openssh], "root": [f'command="x" {LOGIN.public_openssh}']},
    hostname="boot-test-1",
    marker=GIVEN.marker,
    runs=1,
    locked={"root": True, "debian": True},
    no_password=[],
    uids={"root": 0, "debian": 1000, "app": 1500},
    boot_id="b1",
    methods=["publickey"],
)


def seen(**changes: Any) -> Seen:
    return Seen(BOOT, GIVEN, "debian", replace(GOOD, **changes))


def broken(findings: list[Finding]) -> list[str]:
    return [finding.rule for finding in findings if finding.status != "pass"]


def test_a_good_guest_passes_all() -> None:
    findings = check(seen())
    assert broken(findings) == []
    assert len(findings) == len(assertions.ALL) == len({finding.rule for finding in findings})
    assert all(finding.severity == "error" and finding.evidence and finding.why for finding in findings)


def two(name: str) -> str:
    """An address of another network card beside the good one."""
    return f"{GOOD.addresses}\n3: {name}    inet 172.17.0.1/16 brd 172.17.255.255 scope global {name}"


def result(**changes: Any) -> dict[str, Any]:
    return {"v1": GOOD.result["v1"] | changes}


def recoverable(level: str) -> dict[str, Any]:
    return {"v1": {"init": {"recoverable_errors": {level: ["a word"]}}}}


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"result": result(errors=["('ssh', ...)"])}, ["BOOT-CLOUD-INIT"]),
        ({"result": {}}, ["BOOT-CLOUD-INIT", "BOOT-DATASOURCE"]),
        ({"enabled": False}, ["BOOT-CLOUD-INIT"]),
        ({"status": recoverable("ERROR")}, ["BOOT-CLOUD-INIT"]),
        ({"status": recoverable("WARNING")}, ["BOOT-CLOUD-INIT"]),
        ({"status": recoverable("DEPRECATED")}, []),
        ({"status": {}}, []),  # cloud-init of Debian 11 writes none
        ({"result": result(datasource="DataSourceConfigDrive [net,ver=2]")}, ["BOOT-DATASOURCE"]),
        ({"result": result(datasource=None)}, ["BOOT-DATASOURCE"]),
        ({"result": result(datasource="DataSourceNone")}, ["BOOT-DATASOURCE"]),
        ({"marker": ""}, ["BOOT-USER-DATA"]),
        ({"marker": "of an older instance"}, ["BOOT-USER-DATA"]),
        ({"runs": 0}, ["BOOT-USER-DATA"]),
        ({"runs": 2}, ["BOOT-USER-DATA"]),
        ({"addresses": ""}, ["BOOT-DHCP"]),
        ({"addresses": "2: eth0    inet 192.168.1.5/24 scope global eth0"}, ["BOOT-DHCP"]),
        ({"addresses": two("eth1"), "cards": ["eth0", "eth1"]}, ["BOOT-DHCP"]),
        ({"addresses": two("eth0.7"), "cards": ["eth0", "eth0.7"]}, ["BOOT-DHCP"]),
        ({"addresses": two("docker0")}, []),
        ({"addresses": two("wg0")}, []),
        ({"addresses": two("br-1a2b3c4d5e6f")}, []),
        ({"addresses": two("inner")}, []),  # a bridge with a name of its own, without a card of the machine
        ({"addresses": two("flannel.1"), "cards": ["eth0", "flannel.1"]}, []),  # stands on eth0
        ({"addresses": GOOD.addresses.replace("eth0", "br0"), "cards": ["eth0", "br0"]}, []),
        ({"addresses": "3: docker0    inet 10.0.2.15/24 scope global docker0"}, ["BOOT-DHCP"]),
        ({"route": "default via 10.0.0.1 dev eth0"}, ["BOOT-DHCP"]),
        ({"hostname": "factory-0123456789"}, ["BOOT-HOSTNAME"]),
        ({"hostname": "boot-test-1.example.org"}, []),
        ({"host_keys": {}}, ["BOOT-HOST-KEYS"]),
        ({"host_keys": {"/etc/ssh/ssh_host_rsa_key.pub": ""}}, ["BOOT-HOST-KEYS"]),
        ({"machine_id": ""}, ["BOOT-MACHINE-ID"]),
        ({"machine_id": "uninitialized"}, ["BOOT-MACHINE-ID"]),
        ({"dbus_id": "f" * 32}, ["BOOT-MACHINE-ID"]),
        ({"dbus_id": ""}, []),
        ({"root_size": 4 * GIB}, ["BOOT-ROOT-GROWN"]),
        ({"root_size": int(9.6 * GIB)}, []),
        ({"failed": ["nginx.service"], "running": "degraded"}, ["BOOT-UNITS"]),
        ({"running": "starting"}, ["BOOT-UNITS"]),
        ({"methods": ["publickey", "password"]}, ["BOOT-PASSWORDS"]),
        ({"methods": ["publickey", "keyboard-interactive"]}, ["BOOT-PASSWORDS"]),
        ({"methods": ["none"]}, ["BOOT-PASSWORDS"]),
        ({"locked": {"root": True, "debian": False}}, ["BOOT-PASSWORDS"]),
        ({"authorized_keys": GOOD.authorized_keys | {"app": [STRANGER.public_openssh]}}, ["BOOT-KEYS"]),
        ({"authorized_keys": {"debian": [LOGIN.public_openssh, "# a comment"]}}, ["BOOT-KEYS"]),
    ],
)
def test_each_defect_breaks_its_own_rule(changes: dict[str, Any], rules: list[str]) -> None:
    findings = check(seen(**changes))
    assert broken(findings) == rules
    for finding in findings:
        if finding.status == "fail":
            assert finding.fix and finding.evidence and finding.subject == "boot bios"


@pytest.mark.parametrize(
    ("account", "allowed", "changes", "good"),
    [
        ("app", ("app",), {}, True),
        ("app", ("1500",), {}, True),
        ("app", (), {}, False),
        ("app", ("debian", "150"), {}, False),
        ("root", ("root", "0"), {}, False),
        ("app", ("app",), {"uids": {"app": 0}}, False),
        ("app", ("app",), {"uids": {}}, False),
        ("app", ("app",), {"no_password": ["app"]}, False),
        ("app", ("app",), {"methods": ["publickey", "password"]}, False),
    ],
)
def test_an_account_that_the_recipe_lists_may_have_a_password(
    account: str, allowed: tuple[str, ...], changes: dict[str, Any], good: bool
) -> None:
    facts = replace(GOOD, locked=GOOD.locked | {account: False}, **changes)
    findings = check(Seen(BOOT, GIVEN, "debian", facts, allowed))
    assert broken(findings) == ([] if good else ["BOOT-PASSWORDS"])
    assert [account in finding.evidence for finding in findings if finding.rule == "BOOT-PASSWORDS"] == [True]


def test_evidence_holds_no_key_and_no_password() -> None:
    findings = check(seen(authorized_keys={"app": [STRANGER.public_openssh]}, locked={"app": False}))
    text = " ".join(finding.evidence for finding in findings)
    assert STRANGER.public_openssh.split()[1] not in text
    assert "app" in text


@pytest.mark.parametrize(
    ("field", "locked"), [("!", True), ("*", True), ("!*", True), ("!$6$x", True), ("", False), ("$6$x$y", False)]
)
def test_which_accounts_have_a_password(field: str, locked: bool) -> None:
    assert _locked(field) is locked


# -- between boots


OTHER = replace(
    GOOD,
    machine_id="f" * 32,
    host_keys={"/etc/ssh/ssh_host_ed25519_key.pub": seed.new_keypair("x").public_openssh},
    boot_id="b2",
)


@pytest.mark.parametrize(
    ("second", "known", "rules"),
    [
        (OTHER, set(), []),
        (replace(OTHER, machine_id=GOOD.machine_id), set(), ["BOOT-MACHINE-ID-UNIQUE"]),
        (replace(OTHER, host_keys=GOOD.host_keys), set(), ["BOOT-HOST-KEYS-UNIQUE"]),
        (
            replace(OTHER, host_keys=OTHER.host_keys | {"rsa": f"{' '.join(HOST_KEY.split()[:2])} another comment"}),
            set(),
            ["BOOT-HOST-KEYS-UNIQUE"],
        ),
        (OTHER, {OTHER.machine_id}, ["BOOT-MACHINE-ID-UNIQUE"]),
        (OTHER, {HOST_KEY.split()[1]}, ["BOOT-HOST-KEYS-UNIQUE"]),
    ],
)
def test_what_two_boots_may_not_share(second: Facts, known: set[str], rules: list[str]) -> None:
    assert broken(list(compare([("bios", GOOD), ("uefi", second)], frozenset(known)))) == rules


def test_a_single_boot_is_compared_with_the_build_only() -> None:
    assert broken(list(compare([("bios", GOOD)], frozenset()))) == []
    assert broken(list(compare([("bios", GOOD)], frozenset({GOOD.machine_id})))) == ["BOOT-MACHINE-ID-UNIQUE"]
    assert list(compare([], frozenset())) == []


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"boot_id": "b2"}, []),
        ({}, ["BOOT-REBOOT"]),  # it never went down
        ({"boot_id": "b2", "machine_id": "f" * 32}, ["BOOT-REBOOT"]),
        ({"boot_id": "b2", "host_keys": OTHER.host_keys}, ["BOOT-REBOOT"]),
        ({"boot_id": "b2", "failed": ["x.service"]}, ["BOOT-REBOOT-UNITS"]),
        ({"boot_id": "b2", "running": "degraded"}, ["BOOT-REBOOT-UNITS"]),
        ({"boot_id": "b2", "runs": 2}, ["BOOT-REBOOT-USER-DATA"]),
    ],
)
def test_a_reboot(changes: dict[str, Any], rules: list[str]) -> None:
    findings = after_reboot("bios", GOOD, replace(GOOD, **changes))
    assert broken(findings) == rules
    assert {finding.subject for finding in findings} == {"boot bios after its reboot"}


def test_an_image_that_a_boot_has_changed() -> None:
    assert unchanged("a" * 64, "a" * 64).status == "pass"
    assert unchanged("a" * 64, "b" * 64).status == "fail"


def test_a_boot_that_did_not_come_up_is_told_with_its_console() -> None:
    error = MachineError("The kernel panicked", cause="VFS", output="line\n" * 1000 + "the last one", code="machine.x")
    finding = did_not_boot("uefi", error)
    assert (finding.rule, finding.status) == ("BOOT-LOGIN", "fail")
    assert "The kernel panicked" in finding.evidence and "the last one" in finding.evidence
    assert len(finding.evidence) <= 2000


# -- which boots


@pytest.mark.parametrize(
    ("bios", "uefi", "mode", "expected"),
    [
        (True, True, "full", [("bios", "bios", "pc"), ("uefi", "uefi", "q35")]),
        (True, False, "full", [("bios", "bios", "pc"), ("bios-2", "bios", "q35")]),
        (False, True, "full", [("uefi", "uefi", "q35"), ("uefi-2", "uefi", "q35")]),
        (True, True, "quick", [("bios", "bios", "pc")]),
        (False, True, "quick", [("uefi", "uefi", "q35")]),
    ],
)
def test_which_boots(bios: bool, uefi: bool, mode: Any, expected: list[tuple[str, str, str]]) -> None:
    boots = boots_of(BootTest(Path("x"), "debian", mode=mode, bios=bios, uefi=uefi))
    assert [(boot.name, boot.firmware, boot.chipset) for boot in boots] == expected
    assert [boot.reboot for boot in boots] == ([True, False] if mode == "full" else [False])


def test_the_two_boots_differ_in_all_that_may_differ_between_clouds() -> None:
    first, second = boots_of(BootTest(Path("x"), "debian"))
    for name in ("name", "firmware", "chipset", "bus", "datasource", "nic_slot", "larger_by"):
        assert getattr(first, name) != getattr(second, name), name


def test_a_boot_that_is_alone_has_two_processors() -> None:
    assert BootTest(Path("x"), "debian").cpus == 1
    assert BootTest(Path("x"), "debian", mode="quick").cpus == min(2, os.cpu_count() or 1)


def test_an_outcome_fails_by_its_failed_findings() -> None:
    findings = tuple(check(seen(hostname="x")))
    assert [finding.rule for finding in Outcome((), findings).failed] == ["BOOT-HOSTNAME"]


def test_what_the_recipe_ignores_keeps_no_machine(tmp_path: Path) -> None:
    (finding,) = [each for each in check(seen(failed=["a.service"])) if each.status == "fail"]
    plain = BootTest(tmp_path / "image.qcow2", "debian", "full")
    assert _refuses(plain, [finding])
    recipe = load_recipe(str(write(tmp_path, f"{HEAD}checks: {{ignore: {{{finding.rule}: known}}}}\n")))
    assert not _refuses(replace(plain, recipe=recipe), [finding])
