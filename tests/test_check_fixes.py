"""The commands that findings about accounts and SSH come with: they mend what was found, and nothing else."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from factory import checks, targets
from factory.checks import Looked, Problem, partition_table, root_last, run, without_line
from factory.partitions import Partition
from factory.quoting import quoted
from factory.reading import netplan, network
from tests import trees
from tests.guest_tree import Content, Tree, plant
from tests.scrub_cases import GUEST


def problems(tmp_path: Path, rule_id: str, files: dict[str, Content]) -> Iterator[Problem]:
    import importlib

    target = targets.load("mgc")
    rule = next(rule for rule in targets.rules(target) if rule.id == rule_id)
    looked = Looked(cast(Any, None), target, Tree(plant(plant(tmp_path, GUEST), files)))
    check = importlib.import_module(f"factory.checks.{rule.check}").check
    return (found for found in check(looked, rule) if isinstance(found, Problem))


def test_emptying_a_line_keeps_the_numbers_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "it's a file"
    path.write_text("one\ntwo\nthree\n")
    for number in (1, 3):
        subprocess.run(without_line(str(path), number), shell=True, check=True)
    assert path.read_text() == "\ntwo\n\n"


@pytest.mark.parametrize(
    ("rule", "path", "content", "fix"),
    [
        ("GEN-G39", "/etc/environment", "A=1\nAPI_TOKEN=abcdef\n", "sed -i '2s/.*//' /etc/environment"),
        ("GEN-G39", "/srv/x", "\nghp_" + "a1" * 18 + "\n", "sed -i '2s/.*//' /srv/x"),
        ("SH10", "/etc/sudoers", "root ALL=ALL\neve ALL=ALL\n", "sed -i '2s/.*//' /etc/sudoers"),
        ("SH10", "/etc/sudoers", "Defaults targetpw\n", "sed -i '1s/.*//' /etc/sudoers"),
        ("ID08", "/etc/hosts", "127.0.0.1 localhost\n10.0.0.1 x\n", "sed -i '2s/.*//' /etc/hosts"),
        ("GEN-G19", "/etc/ssh/sshd_config", "AllowUsers eve\nUsePAM yes\n", "sed -i '1s/.*//' /etc/ssh/sshd_config"),
        ("SH07", "/etc/passwd", "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n", "userdel -f toor"),
        ("SH07", "/etc/passwd", "eve:x:1000:1000::/srv:/bin/sh\n", "userdel -f eve"),
        ("SH07", "/etc/passwd", "eve:x:1000:1000::/home/eve:/bin/sh\n", "userdel -f -r eve"),
    ],
)
def test_a_line_is_mended_without_its_file(tmp_path: Path, rule: str, path: str, content: str, fix: str) -> None:
    assert fix in [problem.fix for problem in problems(tmp_path, rule, {path: content})]


def test_openrc_starts_sshd_in_its_own_way(tmp_path: Path) -> None:
    before = {path: content for path, content in trees.files("alpine").items() if path != "/etc/runlevels/default/sshd"}
    told = [problem.fix for problem in problems(tmp_path / "off", "GEN-G18", before)]
    assert told == ["rc-update add sshd default"]
    found = problems(tmp_path / "gone", "GEN-G18", before)
    (tmp_path / "gone/usr/sbin/sshd").unlink()
    masked: dict[str, Content] = {"/etc/systemd/system/ssh.service": b""}
    assert [problem.fix for problem in found] == ["apk add openssh && rc-update add sshd default"]
    assert [problem.fix for problem in problems(tmp_path / "debian", "GEN-G18", masked)] == [None]  # the rule's own


def test_a_broken_package_system_is_mended_by_its_own_program(tmp_path: Path) -> None:
    files: dict[str, Content] = {"/var/lib/yum/transaction-all.2026-01-05.10:11.12": "mem\n"}
    told = [problem.fix for problem in problems(tmp_path / "yum", "DL09", files)]
    assert told == ["yum-complete-transaction, or yum-complete-transaction --cleanup-only, in the guest"]
    files = {"/var/lib/dpkg/updates/0001": "Package: x\n"}
    assert [problem.fix for problem in problems(tmp_path / "dpkg", "DL09", files)] == [None]  # the rule's own


MAC = "52:54:00:12:34:56"


@pytest.mark.parametrize(
    ("path", "content", "fix"),
    [
        # cloud-init writes this one anew on every instance
        ("/etc/netplan/50-cloud-init.yaml", f"network: {{ethernets: {{a: {{macaddress: '{MAC}'}}}}}}", "rm -f {path}"),
        ("/etc/systemd/network/10-x.link", f"[Match]\nMACAddress={MAC}\n[Link]\nName=lan0\n", "rm -f {path}"),
        (
            "/etc/systemd/network/10-x.network",
            f"[Match]\nMACAddress={MAC}\n[Network]\nDHCP=yes\n",
            "sed -i '2s/.*/Name=e*/' {path}",
        ),
        (
            "/etc/systemd/network/10-x.network",
            f"[Match]\nName=e*\n[Link]\nMACAddress={MAC}\n",
            "sed -i '4s/.*//' {path}",
        ),
        ("/etc/network/interfaces", f"iface eth0 inet dhcp\n  hwaddress ether {MAC}\n", "sed -i '2s/.*//' {path}"),
    ],
)
def test_a_mac_address_is_taken_out_of_each_kind_of_file(tmp_path: Path, path: str, content: str, fix: str) -> None:
    assert [problem.fix for problem in problems(tmp_path, "GEN-G21", {path: content})] == [fix.format(path=path)]


def test_a_netplan_file_without_its_mac_address_still_brings_any_card_up(tmp_path: Path) -> None:
    path = "/etc/netplan/01-lan.yaml"
    text = (
        "network:\n  version: 2\n  ethernets:\n    lan:\n      match:\n"
        f"        macaddress: {MAC}\n      set-name: lan0\n      dhcp4: true\n"
    )
    (problem,) = problems(tmp_path, "GEN-G21", {path: text})
    assert problem.fix is not None
    subprocess.run(problem.fix.replace(path, f"{tmp_path}{path}"), shell=True, check=True)
    tree = Tree(tmp_path)
    (card,) = netplan.read(cast(Any, tree))
    assert not netplan.faults(cast(Any, tree)) and not list(network.macs(cast(Any, tree)))
    assert card.dhcp and not card.renamed and all(map(card.covers, ("eth0", "ens3", "enp1s0")))


def test_a_boot_entry_keeps_its_line(tmp_path: Path) -> None:
    words = f"linux /vmlinuz root=/dev/vda1 ifname=lan0:{MAC}"
    menu = f"menuentry 'x' {{\n  {words}\n  initrd /initrd.img\n}}\n"
    found = list(problems(tmp_path, "GEN-G21", {"/boot/grub/grub.cfg": menu}))
    assert found and all(each.fix and "rm -f" not in each.fix and "sed" not in each.fix for each in found)
    assert found[0].fix is not None and f"Take ifname=lan0:{MAC} out" in found[0].fix


@pytest.mark.parametrize(
    ("fault", "table", "partitions", "word"),
    [
        ("the primary GPT header expects its backup in sector 9, not in 8, the last", "gpt", 1, "sgdisk -e"),
        ("the primary GPT header has a wrong checksum", "gpt", 1, "sgdisk -e"),
        ("the disk says it has a GPT, and neither of its headers is there", "gpt", 0, "Copy or download"),
        ("partitions 1 and 2 overlap", "gpt", 2, "lie over each other"),
        ("partition 2 does not lie on the disk", "mbr", 1, "sfdisk --delete"),
        ("more than 128 logical partitions, or a loop of them", "mbr", 1, "Copy or download"),
    ],
)
def test_each_fault_of_a_partition_table_has_its_own_fix(fault: str, table: str, partitions: int, word: str) -> None:
    disk = SimpleNamespace(faults=(fault,), table=table, partitions=lambda: (None,) * partitions)
    rule = next(rule for rule in targets.rules(targets.load("mgc")) if rule.id == "GEN-F08")
    looked = cast(Looked, SimpleNamespace(disk=disk))
    (problem,) = (found for found in partition_table.check(looked, rule) if isinstance(found, Problem))
    assert problem.fix is not None and word in problem.fix
    assert ("sgdisk -e" in problem.fix) == (word == "sgdisk -e")


@pytest.mark.parametrize(
    ("table", "number", "words"),
    [
        ("gpt", 5, "sgdisk -d 5 DISK"),
        ("mbr", 2, "sfdisk --delete DISK 2"),
        ("mbr", 5, "sfdisk --delete DISK 5, and the extended"),
    ],
)
def test_a_partition_behind_the_root_goes_as_its_table_wants(table: str, number: int, words: str) -> None:
    parts = (Partition(1, 1 << 20, 1 << 20, "", "", ""), Partition(number, 2 << 20, 1 << 20, "", "", ""))
    disk = SimpleNamespace(table=table, partitions=lambda: parts, mounts=lambda: {"/": 1})
    rule = next(rule for rule in targets.rules(targets.load("mgc")) if rule.id == "GEN-F10")
    looked = cast(Looked, SimpleNamespace(disk=disk, image=disk))
    (problem,) = (found for found in root_last.check(looked, rule) if isinstance(found, Problem))
    assert problem.fix is not None and words in problem.fix


@pytest.mark.parametrize("name", ["a\x1b[31m'b\u202e", "\udcff\udcfe1", "\n\\n\t'é\x7f0"])
def test_a_hostile_name_in_a_fix_is_no_news_for_the_terminal(name: str) -> None:
    assert quoted("/etc/x y") == "'/etc/x y'"
    made = subprocess.run(["bash", "-c", f"printf %s {quoted(name)}"], capture_output=True, check=True)
    assert made.stdout == os.fsencode(name) and quoted(name).isprintable()


def test_half_of_a_pair_in_a_name_is_quoted_too() -> None:
    assert quoted("\ud800b") == r"$'\xed\xa0\x80b'"


@pytest.mark.parametrize("name", ["x;id;{subject};", "{subject}", "it's {subject}; id", "-f FORMAT {subject} $(id)"])
def test_a_name_in_the_guest_that_looks_like_a_template_stays_one_word(tmp_path: Path, name: str) -> None:
    path = f"/etc/network/interfaces.d/{name}"
    content = f"iface eth0 inet dhcp\n  hwaddress ether {MAC}\n"
    target = targets.load("mgc")
    rules = [rule for rule in targets.rules(target) if rule.id == "GEN-G21"]
    image = Tree(plant(plant(tmp_path, GUEST), {path: content, "/etc/network/interfaces": "source interfaces.d/*\n"}))
    found = run(rules, Looked(cast(Any, SimpleNamespace(format="raw", instead="")), target, image))
    assert found and all(shlex.split(each.fix) == ["sed", "-i", "2s/.*//", path] for each in found), found


def test_the_subject_of_a_rules_own_fix_is_one_word_too() -> None:
    rule = next(rule for rule in targets.rules(targets.load("mgc")) if rule.fix == "rm -f {subject}")
    path = "/etc/{subject};id;'{subject}'"
    assert shlex.split(checks._broken(rule, Problem(path, "e")).fix) == ["rm", "-f", path]


def test_no_check_leaves_a_template_in_a_fix_of_its_own() -> None:
    folder = Path(checks.__file__).parent
    assert [file.name for file in folder.glob("*.py") if "{subject}" in file.read_text()] == ["__init__.py"]
