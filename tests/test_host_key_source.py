"""Whether an image makes SSH host keys at its first boot, told from its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from factory import host_key_source, sshd_config
from factory.reading import cloud_init
from tests.guest_tree import Tree, link, plant
from tests.scrub_cases import GUEST

KEYGEN = "[Service]\nExecStart=/usr/bin/ssh-keygen -A\n"
UNIT = "/etc/systemd/system/keys.service"
IN_LIB = "/usr/lib/systemd/system/keys.service"
OFF: dict[str, Any] = {"/etc/cloud/cloud-init.disabled": ""}
WANTS = "/etc/systemd/system/multi-user.target.wants"

LIB = "/usr/lib/systemd/system"
FEDORA: dict[str, Any] = {
    f"{LIB}/sshd.service": "[Unit]\nWants=sshd-keygen.target\n",
    f"{WANTS}/sshd.service": link(f"{LIB}/sshd.service"),
    f"{LIB}/sshd-keygen.target": "[Unit]\nWants=sshd-keygen@rsa.service sshd-keygen@ed25519.service\n",
    f"{LIB}/sshd-keygen@.service": "[Service]\nExecStart=/usr/libexec/openssh/sshd-keygen %i\n",
    f"{LIB}/sshd-keygen@.service.d/c.conf": "[Unit]\nConditionPathExists=!/run/x/cloud-init.target\n",
}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (OFF, "switches cloud-init off"),
        ({"/usr/bin/cloud-init": None}, "not installed"),
        ({"/etc/systemd/system/cloud-init.target.wants/cloud-init.service": None}, "no unit of cloud-init is enabled"),
        ({"/etc/systemd/system/cloud-init.service": link("/dev/null")}, "masked"),
        ({"/usr/lib/systemd/system-generators/cloud-init-generator": None}, "no generator"),
        ({"/etc/cloud/cloud.cfg": "cloud_init_modules: [growpart]\n"}, "lacks ssh"),
        ({"/etc/cloud/cloud.cfg.d/99.cfg": "ssh_genkeytypes: []\n"}, "ssh_genkeytypes"),
        ({"/etc/cloud/cloud.cfg.d/99.cfg": "ssh_genkeytypes:\n"}, "ssh_genkeytypes"),
        ({"/etc/cloud/cloud.cfg.d/99.cfg": "ssh_keys: {rsa_private: x}\n"}, "ssh_keys"),
        ({"/etc/cloud/cloud.cfg.d/99.cfg": "manual_cache_clean: True\n"}, "manual_cache_clean"),
        ({"/etc/cloud/cloud.cfg": "a: [b\n"}, "lacks ssh; /etc/cloud/cloud.cfg"),
        ({"/etc/ssh/sshd_config.d/x.conf": "HostKey /etc/own\n"}, "names only /etc/own"),
        (
            {
                "/etc/ssh/sshd_config.d/x.conf": "HostKey /etc/ssh/ssh_host_ed25519_key\n",
                "/etc/cloud/cloud.cfg.d/99.cfg": "ssh_genkeytypes: [rsa]\n",
            },
            "none of ed25519",
        ),
        (
            OFF | {f"{WANTS}/keys.service": link(UNIT), UNIT: f"[Unit]\nConditionFirstBoot=yes\n{KEYGEN}"},
            "no enabled unit",
        ),
        (OFF | {UNIT: KEYGEN}, "no enabled unit"),
        (
            OFF | {f"{WANTS}/keys.service": link(IN_LIB), UNIT: link("/dev/null"), IN_LIB: KEYGEN},
            "no enabled unit",
        ),
        (OFF | {"/etc/init.d/sshd": "ssh-keygen -A\n", "/etc/conf.d/sshd": "sshd_disable_keygen=yes\n"}, "no enabled"),
        (FEDORA | {"/etc/cloud/cloud.cfg": "cloud_init_modules: [growpart]\n"}, "lacks ssh"),
    ],
)
def test_an_image_in_which_nothing_makes_host_keys(changes: Mapping[str, Any], reason: str, tmp_path: Path) -> None:
    assert reason in "; ".join(host_key_source.missing(changed(tmp_path, changes), named(tmp_path)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        OFF | {f"{WANTS}/keys.service": link("../keys.service"), UNIT: KEYGEN},
        OFF | {"/etc/systemd/system/ssh.service.d/keys.conf": "[Service]\nExecStartPre=/usr/bin/ssh-keygen -A\n"},
        OFF | {"/etc/init.d/sshd": "#!/sbin/openrc-run\nssh-keygen -A\n"},
        OFF | FEDORA,
        FEDORA,
        {"/usr/sbin/sshd": None, "/usr/bin/cloud-init": None},
        {"/etc/cloud/cloud.cfg.d/99.cfg": "ssh_genkeytypes: [ed25519]\nssh_deletekeys: true\n"},
        {"/etc/ssh/sshd_config.d/x.conf": "HostKey /etc/ssh/ssh_host_ed25519_key\n"},
        {"/etc/cloud/cloud.cfg.d/99.cfg": "a: [b\n"},
        {
            "/usr/lib/systemd/system-generators/cloud-init-generator": None,
            f"{LIB}/cloud-init.service": "[Service]\nExecStart=/usr/bin/cloud-init init\n",
            f"{WANTS}/cloud-init.service": link(f"{LIB}/cloud-init.service"),
        },
    ],
)
def test_an_image_in_which_something_makes_host_keys(changes: Mapping[str, Any], tmp_path: Path) -> None:
    assert host_key_source.missing(changed(tmp_path, changes), named(tmp_path)) == []


def changed(folder: Path, changes: Mapping[str, Any]) -> Tree:
    """A clean guest with *changes*; what is None in them is removed."""
    root = plant(folder / "guest", GUEST)
    plant(root, {path: content for path, content in changes.items() if content is not None})
    for path in (path for path, content in changes.items() if content is None):
        (root / path.lstrip("/")).unlink()
    return Tree(root)


def named(folder: Path) -> list[str]:
    return sshd_config.values(Tree(folder / "guest"), "HostKey")


def test_cloud_inits_own_yaml_may_use_anchors(tmp_path: Path) -> None:
    """Debian's 05_logging.cfg does."""
    logging = "_log:\n - &base |\n   [loggers]\n   keys=root\n - *base\nlog_cfgs:\n - [ *base ]\n"
    assert host_key_source.missing(changed(tmp_path, {"/etc/cloud/cloud.cfg.d/05_logging.cfg": logging})) == []


def test_settings_are_merged_as_cloud_init_does(tmp_path: Path) -> None:
    tree = changed(
        tmp_path,
        {
            "/etc/cloud/cloud.cfg": "a: {x: 1, y: {z: 1}}\nlist: [1]\ncloud_init_modules: [ssh, [growpart, always]]\n",
            "/etc/cloud/cloud.cfg.d/10.cfg": "a: {y: {w: 2}}\nlist: [3]\n",
            "/etc/cloud/cloud.cfg.d/20.cfg": "a: {x: 9}\non: yes\n",
            "/etc/cloud/cloud.cfg.d/30.cfg": "# nothing\n",
            "/etc/cloud/cloud.cfg.d/40.cfg": "- a list\n",
            "/etc/cloud/cloud.cfg.d/50.cfg": "a: [\n",
            "/etc/cloud/cloud.cfg.d/ignored": "list: [4]\n",
        },
    )
    settings, faults = cloud_init.merged(tree)
    assert settings["a"] == {"x": "9", "y": {"z": "1", "w": "2"}}
    assert settings["list"] == ["3"]
    assert cloud_init.true(settings, "on")
    assert not cloud_init.true(settings, "off")
    assert cloud_init.modules(settings, "cloud_init_modules") == {"ssh", "growpart"}
    assert [fault.split(":")[0].split(" ")[0] for fault in faults] == [
        "/etc/cloud/cloud.cfg.d/40.cfg",
        "/etc/cloud/cloud.cfg.d/50.cfg",
    ]
