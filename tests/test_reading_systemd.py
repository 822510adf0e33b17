"""systemd and OpenRC as an image holds them: what starts at boot, and why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from factory.reading import openrc, systemd, unit_file
from tests.guest_tree import Content, Tree, folder, link, plant

UNIT = "[Service]\nExecStart=/usr/sbin/sshd -D\n[Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n"
WANTS = "/etc/systemd/system/multi-user.target.wants/ssh.service"
GUEST: Mapping[str, Content] = {
    "/etc/machine-id": "",
    "/lib": link("usr/lib"),
    "/usr/lib/systemd/system/default.target": link("graphical.target"),
    "/usr/lib/systemd/system/graphical.target": "[Unit]\nRequires=multi-user.target\n",
    "/usr/lib/systemd/system/multi-user.target": "[Unit]\nRequires=basic.target\n",
    "/usr/lib/systemd/system/ssh.service": UNIT,
    "/usr/lib/systemd/system/ssh.socket": "[Socket]\nListenStream=22\nAccept=no\n[Install]\nWantedBy=sockets.target\n",
    "/usr/lib/systemd/system/firewalld.service": "[Service]\nExecStart=x\n[Install]\nWantedBy=multi-user.target\n",
}
ENABLED = {WANTS: link("/lib/systemd/system/ssh.service")}
MASK = link("/dev/null")


def read(tmp_path: Path, *layers: Mapping[str, Content]) -> systemd.Systemd:
    root = plant(tmp_path / "guest", GUEST)
    for layer in layers:
        plant(root, layer)
    return systemd.read(Tree(root))


def test_a_link_enables_and_without_it_nothing_does(tmp_path: Path) -> None:
    assert read(tmp_path / "off").why_not("ssh.service") == "ssh.service is not enabled"
    assert read(tmp_path / "off").started("ssh.service") == ""
    found = read(tmp_path / "on", ENABLED)
    assert found.present
    assert found.started("ssh.service") == WANTS
    assert found.enabled()["ssh.service"] == WANTS
    assert found.why_not("nginx.service") == "there is no nginx.service"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"/etc/systemd/system/ssh.service": MASK}, "ssh.service is masked by /etc/systemd/system/ssh.service"),
        ({"/etc/systemd/system/ssh.service": ""}, "ssh.service is masked by /etc/systemd/system/ssh.service"),
        ({"/etc/systemd/system.control/ssh.service": MASK}, "ssh.service is masked by /etc/systemd/system.control/"),
        ({"/etc/systemd/system/multi-user.target": MASK}, "ssh.service is not enabled"),
        ({"/etc/systemd/system/default.target": link("/lib/systemd/system/rescue.target")}, "not enabled"),
        (
            {
                "/etc/systemd/system/ssh.service.d/a.conf": "[Unit]\nConditionPathExists=!/etc/ssh/no\n",
                "/etc/ssh/no": "",
            },
            "a.conf:2: ConditionPathExists=!/etc/ssh/no",
        ),
        ({"/usr/lib/systemd/system/service.d/x.conf": "[Unit]\nConditionPathExists=/etc/flag\n"}, "x.conf:2"),
        ({"/usr/lib/systemd/system/ssh.service.d/x.conf": "[Unit]\nConditionFirstBoot=yes\n"}, "ConditionFirstBoot"),
        (
            {"/usr/lib/systemd/system/ssh.service.d/x.conf": "[Unit]\nConditionPathExists=|/a\nAssertPathExists=/b\n"},
            "x",
        ),
    ],
)
def test_what_keeps_an_enabled_unit_from_starting(tmp_path: Path, files: Mapping[str, Content], why: str) -> None:
    assert why in read(tmp_path, ENABLED, files).why_not("ssh.service")
    assert read(tmp_path, ENABLED, files).started("ssh.service") == ""


@pytest.mark.parametrize(
    "files",
    [
        {"/etc/systemd/system/ssh.service.d/a.conf": "[Unit]\nConditionPathExists=!/etc/ssh/sshd_not_to_be_run\n"},
        {"/etc/systemd/system/ssh.service.d/a.conf": "[Unit]\nConditionPathExists=/run/never\n"},
        {"/etc/systemd/system/ssh.service.d/a.conf.bak": "[Unit]\nConditionPathExists=/never\n"},
        {
            "/usr/lib/systemd/system/ssh.service.d/a.conf": "[Unit]\nConditionPathExists=/never\n",
            "/etc/systemd/system/ssh.service.d/a.conf": MASK,
        },
        {
            "/usr/lib/systemd/system/ssh.service.d/a.conf": "[Unit]\nConditionPathExists=/never\n",
            "/usr/lib/systemd/system/ssh.service.d/b.conf": "[Unit]\nConditionPathExists=\n",
        },
        {
            "/usr/lib/systemd/system/ssh.service.d/a.conf": "[Unit]\nConditionPathExists=|/no\n",
            "/usr/lib/systemd/system/ssh.service.d/b.conf": "[Unit]\nConditionPathExists=|/etc\n",
        },
        {"/etc/systemd/system/sshd.service": link("/lib/systemd/system/ssh.service")},
    ],
)
def test_what_does_not_keep_it(tmp_path: Path, files: Mapping[str, Content]) -> None:
    found = read(tmp_path, ENABLED, files)
    assert found.why_not("ssh.service") == ""


def test_aliases_are_the_unit_they_name(tmp_path: Path) -> None:
    alias = {"/etc/systemd/system/sshd.service": link("/lib/systemd/system/ssh.service")}
    found = read(tmp_path, alias, {"/etc/systemd/system/multi-user.target.wants/sshd.service": link("x")})
    assert found.started("ssh.service") == "/etc/systemd/system/multi-user.target.wants/sshd.service"
    assert found.started("sshd.service")
    assert found.real("sshd.service") == "ssh.service"
    drop_in = {"/etc/systemd/system/sshd.service.d/x.conf": "[Service]\nEnvironment=A=1\n"}
    unit = read(tmp_path, drop_in).unit("ssh.service")
    assert unit is not None
    assert [setting.path for setting in unit.get("Service", "Environment")] == [*drop_in]


def test_sockets_and_unit_files_pull_in_too(tmp_path: Path) -> None:
    socket = {"/etc/systemd/system/sockets.target.wants/ssh.socket": link("/lib/systemd/system/ssh.socket")}
    assert read(tmp_path / "a", socket).started("ssh.socket")
    assert not read(tmp_path / "a").started("ssh.service")
    wants = {"/usr/lib/systemd/system/multi-user.target": "[Unit]\nWants=getty.target \\\n # no\n ssh.service\n"}
    assert read(tmp_path / "b", wants).started("ssh.service") == "/usr/lib/systemd/system/multi-user.target"
    other = {"/etc/systemd/system/rescue.target.wants/ssh.service": link("x")}
    assert not read(tmp_path / "c", other).started("ssh.service")


def test_presets_count_at_a_first_boot_only(tmp_path: Path) -> None:
    presets = {
        "/usr/lib/systemd/system-preset/90-x.preset": "disable *\n",
        "/usr/lib/systemd/system-preset/50-x.preset": "# c\nenable ssh.*\ndisable firewalld.service\n",
    }
    first = {"/etc/machine-id": "uninitialized\n"}
    assert not read(tmp_path / "a", presets).started("ssh.service")
    found = read(tmp_path / "b", presets, first)
    assert found.first_boot
    assert found.started("ssh.service") == "/usr/lib/systemd/system/ssh.service"
    assert not found.started("firewalld.service")
    assert not found.preset("firewalld.service")
    assert read(tmp_path / "c", first).started("firewalld.service"), "without presets all are enabled"
    over = {"/etc/systemd/system-preset/50-x.preset": ""}
    assert not read(tmp_path / "b", over).started("ssh.service"), "the same name in /etc replaces the whole file"


def test_an_init_script_counts_where_no_unit_has_its_name(tmp_path: Path) -> None:
    script = {"/etc/init.d/ufo": "#!/bin/sh\n", "/etc/rc2.d/S01ufo": link("../init.d/ufo")}
    assert read(tmp_path / "a", script).started("ufo.service") == "/etc/rc2.d/S01ufo"
    assert read(tmp_path / "b", {**script, "/etc/systemd/system/ufo.service": MASK}).why_not("ufo.service")
    assert not read(tmp_path / "c", {"/etc/init.d/ufo": "", "/etc/rc2.d/K01ufo": link("../init.d/ufo")}).started(
        "ufo.service"
    )


def test_cloud_init_comes_by_its_generator(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "/usr/lib/systemd/system-generators/cloud-init-generator": "#!/bin/sh\n",
        "/usr/lib/systemd/system/cloud-init.target": "[Unit]\n",
        "/usr/lib/systemd/system/cloud-init.service": "[Service]\n",
        "/etc/systemd/system/cloud-init.target.wants/cloud-init.service": link("x"),
    }
    assert read(tmp_path / "a", files).started("cloud-init.service")
    assert read(tmp_path / "a", {"/etc/cloud/cloud-init.disabled.bak": ""}).started("cloud-init.service")
    assert not read(tmp_path / "a", {"/etc/cloud/cloud-init.disabled": ""}).started("cloud-init.service")


def test_templates_and_their_instances(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "/usr/lib/systemd/system/getty@.service": "[Service]\nExecStart=a\n",
        "/etc/systemd/system/getty@tty1.service.d/x.conf": "[Service]\nExecStart=\nExecStart=b\n",
        "/etc/systemd/system/multi-user.target.wants/getty@tty1.service": link("/lib/systemd/system/getty@.service"),
    }
    found = read(tmp_path, files)
    assert found.started("getty@tty1.service")
    unit = found.unit("getty@tty1.service")
    assert unit is not None
    assert [setting.value for setting in unit.get("Service", "ExecStart")] == ["b"]
    assert read(tmp_path, {"/etc/systemd/system/getty@.service": MASK}).masked("getty@tty1.service")


def test_a_guest_without_systemd(tmp_path: Path) -> None:
    assert not systemd.read(Tree(plant(tmp_path, {"/etc/passwd": ""}))).present


def test_unit_file_continues_lines_and_empties_lists() -> None:
    content = "[Unit]\nAfter=a \\\n# a comment between\n  b\nAfter=\nAfter=c\n[Service]\nType=simple\nType=notify\n"
    unit = unit_file.merge("x.service", "/x", [("/x", content), ("/y", "[Unit]\nAfter=d\n")])
    assert list(unit.words("Unit", "After")) == ["c", "d"]
    assert unit.last("Service", "Type") == "notify"
    assert unit.get("Unit", "After")[1].path == "/y"
    assert unit.get("Service", "Type")[0].line == 9


def test_openrc_starts_what_its_run_levels_link(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "/etc/init.d/sshd": "#!/sbin/openrc-run\n",
        "/etc/init.d/nginx": "#!/sbin/openrc-run\n",
        "/etc/runlevels/default/sshd": link("/etc/init.d/sshd"),
        "/etc/runlevels/default/gone": link("/etc/init.d/gone"),
        "/etc/runlevels/shutdown/nginx": link("/etc/init.d/nginx"),
        "/etc/runlevels/boot": folder(),
    }
    found = openrc.read(Tree(plant(tmp_path, files)))
    assert found.present
    assert found.started == {"sshd": "/etc/runlevels/default/sshd"}
    plant(tmp_path, {"/etc/inittab": "::wait:/sbin/openrc shutdown\n# x:/sbin/openrc off\n"})
    assert "nginx" in openrc.read(Tree(tmp_path)).started
    assert not openrc.read(Tree(tmp_path / "etc")).present
