"""sshd, sudoers and accounts as an image holds them: what the system would do, not what a line looks like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from factory.reading import accounts, homes, sshd, sudoers
from tests.guest_tree import Content, Tree, link, plant

UNIT = "[Service]\nEnvironmentFile=-/etc/default/ssh\nExecStart=/usr/sbin/sshd -D $SSHD_OPTS\n"
MAIN = "Include /etc/ssh/sshd_config.d/*.conf\nPasswordAuthentication no\nUsePAM yes\n"
GUEST: Mapping[str, Content] = {
    "/etc/ssh/sshd_config": MAIN,
    "/usr/sbin/sshd": "x",
    "/usr/lib/systemd/system/ssh.service": UNIT,
    "/usr/lib/systemd/system/ssh.socket": "[Socket]\nListenStream=22\n",
    "/etc/systemd/system/multi-user.target.wants/ssh.service": link("/lib/systemd/system/ssh.service"),
}


def guest(tmp_path: Path, files: Mapping[str, Content]) -> Tree:
    return Tree(plant(plant(tmp_path / "guest", GUEST), files))


def read(tmp_path: Path, files: Mapping[str, Content]) -> sshd.Sshd:
    return sshd.read(guest(tmp_path, files))


@pytest.mark.parametrize(
    ("files", "value", "place"),
    [
        ({}, "no", "/etc/ssh/sshd_config:2"),
        ({"/etc/ssh/sshd_config.d/50-cloud-init.conf": "PasswordAuthentication yes\n"}, "yes", "50-cloud-init.conf:1"),
        (
            {
                "/etc/ssh/sshd_config.d/50-x.conf": "passwordauthentication=YES # why\n",
                "/etc/ssh/sshd_config.d/10-x.conf": '# x\n\tPasswordAuthentication "no"\n',
            },
            "no",
            "10-x.conf:2",
        ),
        ({"/etc/ssh/sshd_config.d/50-x.conf.bak": "PasswordAuthentication yes\n"}, "no", "sshd_config:2"),
        ({"/etc/ssh/sshd_config.d/.50-x.conf": "PasswordAuthentication yes\n"}, "no", "sshd_config:2"),
        ({"/etc/ssh/sshd_config.d/50-x.conf": "#PasswordAuthentication yes\n"}, "no", "sshd_config:2"),
        ({"/etc/ssh/sshd_config.d/50-x.conf": "Match User x\nPasswordAuthentication yes\n"}, "no", "sshd_config:2"),
        ({"/etc/ssh/sshd_config": f"PasswordAuthentication yes\n{MAIN}"}, "yes", "sshd_config:1"),
        (
            {"/etc/ssh/sshd_config": "Include more\n" + MAIN, "/etc/ssh/more": "PasswordAuthentication yes"},
            "yes",
            "/etc/ssh/more:1",
        ),
        ({"/etc/default/ssh": "SSHD_OPTS='-o PasswordAuthentication=yes'\n"}, "yes", "sshd's command line:1"),
        ({"/etc/default/ssh": "SSHD_OPTS=-oPasswordAuthentication=yes\n"}, "yes", "sshd's command line:1"),
        (
            {"/etc/default/ssh": "SSHD_OPTS='-f /etc/other'\n", "/etc/other": "PasswordAuthentication yes\n"},
            "yes",
            "/etc/other:1",
        ),
    ],
)
def test_the_first_value_wins(tmp_path: Path, files: Mapping[str, Content], value: str, place: str) -> None:
    found = read(tmp_path, files)
    line = found.first("PasswordAuthentication")
    assert line is not None
    assert line.value == value
    assert place in line.evidence
    assert found.value("PermitRootLogin", "prohibit-password") == "prohibit-password"


def test_a_match_block_ends_with_its_file_and_decides_for_its_users(tmp_path: Path) -> None:
    drop_in = "Match User bob,!eve Address *\n  PasswordAuthentication yes\nMatch all\nX11Forwarding no\n"
    found = read(tmp_path, {"/etc/ssh/sshd_config.d/a.conf": drop_in})
    (line,) = found.matched("passwordauthentication")
    assert line.match == ("User", "bob,!eve", "Address", "*")
    assert [line.about(user) for user in ("bob", "eve", "root")] == [True, False, False]
    assert [each.value for each in found.deciding("PasswordAuthentication")] == ["no", "yes"]
    assert found.matched("X11Forwarding")[0].about("root")
    group = read(tmp_path, {"/etc/ssh/sshd_config.d/a.conf": "Match Group sftp\nPubkeyAuthentication no\n"})
    (line,) = group.matched("PubkeyAuthentication")
    assert line.about("root") is None
    assert line.about("root", ["root", "sftp"]) and line.about("root", ["root"]) is False


def test_an_older_name_of_a_keyword(tmp_path: Path) -> None:
    found = read(tmp_path, {"/etc/ssh/sshd_config.d/a.conf": "ChallengeResponseAuthentication no\n"})
    assert found.value("KbdInteractiveAuthentication", "yes") == "no"


@pytest.mark.parametrize("wanted", [True, False])
def test_whether_it_starts(tmp_path: Path, wanted: bool) -> None:
    root = plant(tmp_path / "guest", GUEST)
    if not wanted:
        (root / "etc/systemd/system/multi-user.target.wants/ssh.service").unlink()
    found = sshd.read(Tree(root))
    assert bool(found.starts) == wanted
    assert found.why_not == ("" if wanted else "ssh.service is not enabled")
    socket = {"/etc/systemd/system/sockets.target.wants/ssh.socket": link("x")}
    assert sshd.read(Tree(plant(root, socket))).starts
    masked = {"/etc/systemd/system/ssh.service": link("/dev/null")}
    assert "ssh.socket would start ssh.service, which is masked" in sshd.read(Tree(plant(root, masked))).why_not


def test_without_the_program_nothing_starts(tmp_path: Path) -> None:
    root = plant(tmp_path / "guest", GUEST)
    (root / "usr/sbin/sshd").unlink()
    assert sshd.read(Tree(root)).why_not == "there is no sshd"


def test_alpine_starts_it_by_a_run_level(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "/usr/sbin/sshd": "x",
        "/etc/init.d/sshd": "x",
        "/etc/conf.d/sshd": 'SSHD_OPTS="-o PubkeyAuthentication=no"\n',
    }
    root = plant(tmp_path, {**files, "/etc/runlevels/default/sshd": link("/etc/init.d/sshd")})
    found = sshd.read(Tree(root))
    assert found.starts == "/etc/runlevels/default/sshd"
    assert found.value("PubkeyAuthentication", "yes") == "no"
    (root / "etc/runlevels/default/sshd").unlink()
    assert sshd.read(Tree(root)).why_not == "sshd is in no run level"


def test_sudoers_with_aliases_and_folders(tmp_path: Path) -> None:
    files = {
        "/etc/sudoers": (
            "Defaults env_reset, \\\n  targetpw\nUser_Alias OPS = ann, bob : DEV = eve\nroot ALL=(ALL:ALL) ALL\n"
            "OPS ALL = NOPASSWD: ALL\n%wheel ALL=(ALL) ALL # NOPASSWD: no\n#1000 ALL=(ALL) ALL\n@includedir sudoers.d\n"
        ),
        "/etc/sudoers.d/90-cloud": "packer ALL=(ALL) NOPASSWD:ALL\n",
        "/etc/sudoers.d/90-cloud.bak": "gone ALL=(ALL) NOPASSWD:ALL\n",
        "/etc/sudoers.d/90-cloud~": "gone ALL=(ALL) NOPASSWD:ALL\n",
    }
    found = sudoers.read(Tree(plant(tmp_path, files)))
    assert [(grant.who, grant.no_password) for grant in found.grants] == [
        ("root", False), ("ann", True), ("bob", True), ("%wheel", False), ("#1000", False), ("packer", True)
    ]  # fmt: skip
    assert found.grants[-1].evidence == "/etc/sudoers.d/90-cloud:1: packer ALL=(ALL) NOPASSWD:ALL"
    assert "targetpw" in found.defaults[0][0]


@pytest.mark.parametrize(
    ("password", "kind"),
    [
        ("", "none"), ("*", "locked"), ("!", "locked"), ("!!", "locked"), ("!*", "locked"), ("*LK*", "locked"),
        ("$y$j9T$abc$def", "usable"), ("$6$salt$hash", "usable"), ("ab0123456789.", "usable"),
        ("!$6$salt$hash", "kept"), ("!!$1$a$b", "kept"), ("*$6$salt$hash", "kept"), ("!ab0123456789.", "kept"),
    ],
)  # fmt: skip
def test_what_a_password_lets_in(password: str, kind: str) -> None:
    assert accounts.kind(password) == kind


def test_accounts_with_shadow_and_homes(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "/etc/passwd": "root:x:0:0::/root:/bin/bash\nbob:x:1001:1001::/data/bob:\nold::7:7::/old:/usr/sbin/nologin\n",
        "/etc/shadow": "root:*:19000:0:99999:7:::\nbob:$6$a$b:0:0:90:7::18000:\nbob::::::::\n",
        "/etc/group": "root:x:0:\nwheel:x:10:bob,eve\n",
        "/etc/gshadow": "wheel:$6$a$b::\n",
        "/data/bob/.profile": "",
        "/home/ghost/.profile": "",
    }
    found = accounts.read(Tree(plant(tmp_path, files)))
    bob = found.named("bob")
    assert bob is not None
    assert (bob.kind, bob.changed, bob.longest, bob.expires) == ("usable", 0, 90, 18000)
    assert (bob.place, bob.password_place) == ("/etc/passwd:2", "/etc/shadow:2")
    assert bob.login_shell
    assert found.human(bob)
    old = found.named("old")
    assert old is not None
    assert (old.kind, old.password_place, old.login_shell) == ("none", "/etc/passwd:3", False)
    assert found.groups[1].members == ("bob", "eve")
    assert accounts.kind(found.groups[1].password) == "usable"
    assert {"/data/bob", "/home/ghost"} <= set(homes.read(Tree(tmp_path)).names)
    assert "$6$" not in repr(found), "a hash is a secret"


def test_many_accounts_are_looked_up_by_name(tmp_path: Path) -> None:
    lines = [f"u{number}:x:{number}:1::/:/bin/sh\n" for number in range(50)] + ["u7:x:0:0::/root:/bin/sh\n"]
    known = accounts.read(Tree(plant(tmp_path, {"/etc/passwd": "".join(lines)})))
    assert known.names is known.names  # made once: a hostile image has as many accounts as fit into a file
    assert (known.named("u7") or known.all[0]).uid == 7 and known.named("u50") is None  # the first line counts
