"""The script that scrubs a guest as its last act: how it is put together, what it does in which order, and how it ends.

Under a real systemd it runs in the builds of the other tests; here its own /usr/sbin stands in for the programs that
would stop services and power off, in a guest with process numbers of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from factory import scrub
from factory.scrub import Facts
from tests.guest_tree import Content, Tree, enter, file, folder, plant
from tests.scrub_cases import FACTS, GUEST, HOST

UNITS = """
case $1 in
    list-units)
        case "$*" in
            *socket*) printf 'systemd-journald.socket loaded active running x\\n'
                      printf 'apt-daily.timer loaded active waiting x\\n' ;;
            *) printf 'nginx.service loaded active running x\\nfactory-scrub.service loaded active running x\\n'
               printf 'session-1.scope loaded active running x\\ninit.scope loaded active running x\\n' ;;
        esac ;;
esac
"""


def program(extra: str = "") -> Content:
    """A program that notes how it was called."""
    return file(f'#!/bin/sh\necho "${{0##*/}} $*" >>/calls\n{extra}\n'.encode(), 0o755)


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    root = plant(tmp_path / "guest", GUEST)
    shutil.rmtree(root / "usr/sbin")
    sbin = {f"/usr/sbin/{name}": program() for name in ("fstrim", "mount", "umount", "swapoff", "poweroff", "sync")}
    return plant(root, sbin | {"/usr/sbin/systemctl": program(UNITS), "/run/systemd/system": folder()})


def run_script(root: Path, *, before: str = "", facts: Facts = FACTS) -> tuple[str, list[str]]:
    """What the console showed, and the programs that were called."""
    controller, terminal = os.openpty()
    with open(controller, "rb", buffering=0) as shown:
        try:
            os.set_blocking(controller, False)
            # PID 1 stays, as in a machine, with a process that nothing stops: the script must end that one itself.
            start = """
: >>"$root/dev/console"
mount --bind "$console" "$root/dev/console"
mount -t proc proc "$root/proc"
true | true
setsid sleep 1000 >/dev/null 2>&1 &
chroot "$root" /bin/sh /run/factory-scrub
ended=$?
kill -0 $! 2>/dev/null && echo "the stray still runs"
exit $ended
"""
            printed = enter(
                root,
                scrub.script(facts),
                name=scrub.SCRIPT,
                own_sbin=True,
                options=("--pid", "--fork"),
                before=f"console={os.ttyname(terminal)}\n{before}{start}",
            )
        finally:
            os.close(terminal)
        text = b""
        with contextlib.suppress(OSError):
            while piece := shown.read(65536):
                text += piece
    assert printed == ""
    return text.decode(), (root / "calls").read_text().splitlines()


def test_everything_in_its_order(guest: Path) -> None:
    plant(guest, {"/root/.bash_history": "x", "/etc/hostname": HOST, "/var/log/journal/0123/system.journal": "x"})
    plant(guest, {"/srv/my data": folder(), "/srv/data": folder()})
    shown, calls = run_script(guest, before='mount --bind "$root/srv/data" "$root/srv/my data"\n')
    assert scrub.outcome(shown) == scrub.Outcome(True, ())
    assert scrub.verify(Tree(guest), FACTS) == []
    assert not (guest / "root/.bash_history").exists()
    words = [" ".join(call.split()[:2]) for call in calls]
    assert words[0] == "systemctl mask"
    assert "--runtime" in calls[0]
    assert "systemd-random-seed.service" in calls[0].split()
    stops = [call for call in calls if call.startswith("systemctl stop")]
    assert stops == [
        "systemctl stop systemd-journald.socket apt-daily.timer",
        "systemctl stop nginx.service session-1.scope",
    ]
    end = [call for call in calls if call.split()[0] != "umount" and "list-units" not in call][3:]
    assert end == ["swapoff -a", "sync ", "fstrim -av", "mount -o remount,ro none /", "systemctl poweroff --force"]
    unmounted = [call for call in calls if call.startswith("umount")]
    assert calls[calls.index("fstrim -av") + 1 : calls.index("mount -o remount,ro none /")] == unmounted
    if on_a_device(guest):  # else the host's own files are on something like an overlay, which stays mounted
        assert unmounted[0] == "umount /srv/my data"
    assert "umount /" not in unmounted


def on_a_device(path: Path) -> bool:
    done = subprocess.run(["findmnt", "-no", "SOURCE", "-T", path], capture_output=True, text=True, check=False)
    return done.stdout.startswith("/dev/")


def test_a_failure_is_told_and_the_rest_still_runs(guest: Path) -> None:
    plant(guest, {"/usr/sbin/fstrim": program("echo 'fstrim: no' >&2; exit 1"), "/tmp/x": "x", "/tmp/kept/y": "x"})
    shown, calls = run_script(guest, before='mount -t tmpfs tmpfs "$root/tmp/kept"\n')
    outcome = scrub.outcome(shown)
    assert outcome is not None
    assert not outcome.ok
    assert [name.split()[0] for name in outcome.failed] == ["tmp-files", "trim"]
    assert "fstrim: no" in outcome.failed[1]
    assert "FACTORY-SCRUB-DONE 1" in shown
    assert calls[-1] == "systemctl poweroff --force"


def test_a_disk_that_stays_writable_is_told(guest: Path) -> None:
    plant(guest, {"/usr/sbin/mount": program("echo 'mount: / is busy' >&2; exit 32")})
    shown, calls = run_script(guest)
    outcome = scrub.outcome(shown)
    assert outcome is not None
    assert [name.split()[0] for name in outcome.failed] == ["read-only"]
    assert "mount: / is busy" in outcome.failed[0]
    assert calls[-1] == "systemctl poweroff --force"


def test_a_guest_without_systemd_is_powered_off_too(guest: Path) -> None:
    plant(guest, {"/usr/sbin/systemctl": program("exit 127")})
    (guest / "run/systemd/system").rmdir()
    shown, calls = run_script(guest)
    assert scrub.outcome(shown) == scrub.Outcome(True, ())
    assert calls[-2:] == ["systemctl poweroff --force", "poweroff -f"]
    assert not any("mask" in call for call in calls)


def test_it_refuses_to_run_anywhere_else(guest: Path) -> None:
    printed = enter(guest, scrub.script(FACTS), status=2, own_sbin=True)
    assert "only runs as /run/factory-scrub" in printed
    assert not (guest / "calls").exists()
    assert (guest / "etc/passwd").exists()


def test_the_deletion_alone_tells_failures_by_its_status(guest: Path) -> None:
    plant(guest, {"/tmp/kept/y": "x", "/var/tmp/x": "x", "/root/.viminfo": "x"})
    printed = enter(
        guest, scrub.deletion(FACTS), status=1, before='mount -t tmpfs tmpfs "$root/tmp/kept"\n', own_sbin=False
    )
    assert printed.startswith("FACTORY-SCRUB failed tmp-files (status 1: ")
    assert not (guest / "root/.viminfo").exists()


@pytest.mark.parametrize("facts", [FACTS, Facts(HOST)], ids=["all", "few"])
def test_the_script_is_sound_shell(facts: Facts, tmp_path: Path) -> None:
    for name, text in {"script": scrub.script(facts), "deletion": scrub.deletion(facts)}.items():
        path = tmp_path / name
        path.write_text(text)
        subprocess.run(["sh", "-n", path], check=True)
        if shutil.which("shellcheck") is None:
            pytest.skip("shellcheck is not installed")
        done = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_operations_run_as_their_order_says() -> None:
    orders = [operation.order for operation in scrub.operations()]
    names = [operation.name for operation in scrub.operations()]
    assert orders == sorted(orders)
    # cloud-init's cleaners need its state; its lines in fstab tell which swap is its own; its tools write logs.
    assert names.index("swap") < names.index("cloud-init") < names.index("logfiles")
    # accounts rewrites shadow, so copies of it must go later; anything may use /tmp.
    assert names.index("accounts") < names.index("passwd-backups")
    assert names[-1] == "tmp-files"


@pytest.mark.parametrize(
    "values",
    [
        {"hostname": "debian"},
        {"hostname": "factory-"},
        {"hostname": "factory-abc; rm -rf"},
        {"hostname": HOST, "allow_users": ("a b",)},
        {"hostname": HOST, "allow_users": ("app'",)},
        {"hostname": HOST, "own_files": ("/etc",)},
        {"hostname": HOST, "own_files": ("relative/file",)},
        {"hostname": HOST, "own_files": ("/etc/../x",)},
        {"hostname": HOST, "own_files": ("/etc/a\nb",)},
    ],
    ids=str,
)
def test_facts_that_would_hurt_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is no "):
        Facts(**values)  # type: ignore[arg-type]


def test_names_with_quotes_and_spaces_reach_the_shell_as_they_are(tmp_path: Path) -> None:
    names = ("/etc/it's ours", "/etc/$(touch x)", "/etc/*")
    root = plant(plant(tmp_path / "guest", GUEST), dict.fromkeys(names, "x"))
    enter(root, scrub.deletion(Facts(HOST, own_files=names), "factory-files"))
    assert not any((root / name.lstrip("/")).exists() for name in names)
    assert (root / "etc/passwd").exists()


@pytest.mark.parametrize(
    ("console", "expected"),
    [
        ("", None),
        ("FACTORY-SCRUB failed logfiles (status 1: x)\r\n", None),
        ("login: \r\nFACTORY-SCRUB-DONE 0\r\n[  103.9] reboot: Power down", scrub.Outcome(True, ())),
        (
            "FACTORY-SCRUB failed trim (status 1)\r\n\r\nFACTORY-SCRUB-DONE 1\r\n",
            scrub.Outcome(False, ("trim (status 1)",)),
        ),
        ("FACTORY-SCRUB-DONE 1\n", scrub.Outcome(False, ())),
        ("FACTORY-SCRUB-DONE 0\nFACTORY-SCRUB-DONE 0\n", scrub.Outcome(True, ())),
    ],
)
def test_the_outcome_is_read_from_the_console(console: str, expected: scrub.Outcome | None) -> None:
    assert scrub.outcome(console) == expected
