"""Real guests that fail, each in its own way, and what a real run leaves on disk. For ``make test-all``."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from factory import bases, disk, ledger, seed
from factory.console import Console
from factory.errors import FactoryError
from factory.guest import Guest
from factory.hypervisor import machine as machines
from factory.hypervisor.accelerator import choose
from factory.hypervisor.domain import Disk, MachineSpec, domain_xml
from factory.hypervisor.fresh import free_port, new_mac, new_uuid
from factory.hypervisor.hypervisor import Hypervisor
from factory.hypervisor.machine import Machine
from factory.login import log_in
from factory.provision.session import FOLDER, Session
from tests import checkout, secret_watch
from tests.command_line import TOP
from tests.ordinary_user import as_ordinary_user
from tests.test_provision import recipe_of

pytestmark = [pytest.mark.real, pytest.mark.slow]
SOON = 10.0  # seconds after the guest shows it


@pytest.fixture(scope="module")
def base() -> bases.Base:
    return bases.obtain(bases.resolve("debian-12"), console=Console.quiet(), accelerator=choose(), connect="qemu:///embed",
                        accept_stale=True)  # fmt: skip


def without_dhcp(spec: MachineSpec) -> str:
    tree = ElementTree.fromstring(domain_xml(spec))
    for argument in tree.iter():
        if argument.get("value", "").startswith("user,id=n0"):
            argument.set("value", "hubport,id=n0,hubid=7")
    return ElementTree.tostring(tree, encoding="unicode")


def booted(
    base: bases.Base, folder: Path, extra: dict[str, Any], use: Callable[[Machine, Guest], None] | None = None,
    *, seeded: bool = True, memory: int = 1 << 30,
) -> FactoryError:  # fmt: skip
    """Boot *base* with *extra* in its seed, log in and *use* it; the error that this ends with."""
    work = folder / "work"
    work.mkdir(mode=0o711)
    accelerator = choose()
    with Hypervisor(work, accelerator) as hypervisor:
        overlay, iso = work / "disk.qcow2", work / "seed.iso"
        disk.create_overlay(hypervisor.enclosure.path(base.path), "qcow2", overlay, 4 << 30)
        login, host_key = seed.new_keypair("build"), seed.new_keypair("host")
        seed.write(
            seed.build_seed(
                hostname="factory-test", instance_id=new_uuid(), login=login, host_key=host_key, extra=extra
            ),
            iso,
        )
        disks = (Disk(overlay, "qcow2"), *([Disk(iso, "raw", readonly=True)] if seeded else []))
        spec = MachineSpec(
            name="build", uuid=new_uuid(), mac=new_mac(), ssh_port=free_port(), console=folder / "console.log",
            accelerator=accelerator.name, disks=disks, memory=memory,
        )  # fmt: skip
        with (
            pytest.raises(FactoryError) as caught,
            hypervisor.machine(spec) as machine,
            log_in(machine, "root", login, host_key) as guest,
        ):
            assert use is not None, "the login should not have come"
            use(machine, guest)
        return caught.value


def at_boot(command: str) -> dict[str, Any]:
    return {"bootcmd": [["sh", "-c", command]]}


BOOTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "kernel panic": ("machine.kernel-panic", at_boot("echo c > /proc/sysrq-trigger"), "Kernel panic"),
    "SSH closed": ("machine.ssh-closed", at_boot("echo Bogus yes > /etc/ssh/sshd_config.d/0.conf"), "Failed to start"),
    "SSH refuses the key": (
        "machine.login-refused",
        at_boot("echo PubkeyAuthentication no > /etc/ssh/sshd_config.d/0.conf"),
        " finished at ",
    ),
    "emergency shell": (
        "machine.emergency",
        at_boot("systemctl --no-block isolate emergency.target"),
        "emergency mode",
    ),
}


@pytest.mark.parametrize("name", BOOTS)
def test_a_boot_that_fails_is_told_with_its_cause_soon(base: bases.Base, tmp_path: Path, name: str) -> None:
    code, extra, shown = BOOTS[name]
    seen = first_seen(tmp_path / "console.log", shown)
    error = booted(base, tmp_path, extra)
    assert error.code == code, error
    assert time.monotonic() - seen[0] < SOON + 5, "and it was told soon after the guest showed it"


def first_seen(console: Path, words: str) -> list[float]:
    """When *words* first stand in *console*; the list is filled from a thread."""
    seen: list[float] = []

    def look() -> None:
        while not seen:
            if console.exists() and words.encode() in console.read_bytes():
                seen.append(time.monotonic())
            time.sleep(0.3)

    threading.Thread(target=look, daemon=True).start()
    return seen


def test_a_guest_without_a_seed(base: bases.Base, tmp_path: Path) -> None:
    assert booted(base, tmp_path, {}, seeded=False).code == "machine.no-seed"


def test_a_guest_that_gets_no_address(base: bases.Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "domain_xml", without_dhcp)
    assert booted(base, tmp_path, {}).code == "machine.no-address"


def test_steps_that_fail_in_a_guest_and_a_guest_that_freezes(base: bases.Base, tmp_path: Path) -> None:
    """One guest after the other: memory, disk, dpkg's lock, the archive, then it is frozen."""
    codes: dict[str, str] = {}

    def use(machine: Machine, guest: Guest) -> None:
        guest.run(f"install -d -m 0700 {FOLDER}")
        recipe = recipe_of(tmp_path, "  - shell: 'true'\n")
        session = Session(guest, recipe, Console.quiet(), "scratch", machine.require_alive, 1.0)
        session.answers = machine.answers
        lock = "import fcntl,time;f=open('/var/lib/dpkg/lock-frontend','w');fcntl.lockf(f,2);time.sleep(600)"
        guest.run(f'python3 -c "{lock}" >/dev/null 2>&1 & sleep 2')
        quick = "apt-get -o DPkg::Lock::Timeout=1 -o Acquire::Retries=0 -o Acquire::http::Timeout=3"
        for name, command in {
            "lock": f"{quick} -y install hello",
            "archive": "echo 'deb http://archive.invalid/debian bookworm main' > /etc/apt/sources.list.d/x.list; "
            f"{quick} -o APT::Update::Error-Mode=any update",
            "memory": "tail /dev/zero",
            "disk": "dd if=/dev/zero of=/var/full bs=1M 2>/dev/null",
        }.items():
            try:
                session.run(command, name, timeout=300)
            except FactoryError as error:
                codes[name] = error.code
            guest.run("rm -f /var/full /etc/apt/sources.list.d/x.list")
        assert machine._process is not None
        os.kill(machine._process, signal.SIGSTOP)
        try:
            session.run("sleep 600", "frozen", timeout=600)
        finally:
            os.kill(machine._process, signal.SIGCONT)

    error = booted(base, tmp_path, {}, use, memory=768 << 20)
    assert error.code == "machine.frozen"
    assert codes == {
        "lock": "step.package-lock",
        "archive": "step.archive-unreachable",
        "memory": "step.guest-out-of-memory",
        "disk": "step.guest-disk-full",
    }


# -- a failed build that is kept, continued, and whose secrets are nowhere

SECRETS = {
    "token": "tok-6f1d2e7c9a3b45f8-token",
    "AWS_SECRET_ACCESS_KEY": "aws-91c0d7b2e4f84d6f8a+b/c=secret",
    "MGC_API_KEY": "mgc-3d5f7a9b1c2e4d6f-key",
    "MGC_OBJ_KEY_SECRET": "obj-8c6b4a2d0f1e3c5b-secret",
    "proxy": "proxy-password-77aa55ee33",
    "profile": "profile-secret-0011223344556677",
}
RECIPE = """schema: 1
name: secretive
version: 1.0.0
base: debian-12
disk: 4GiB
upgrade: none
variables: {token: {secret: true}}
provision:
  - shell: echo one > /var/lib/one
  - shell: |
      echo "the token is $token"
      cp /run/factory/environment /tmp/held && rm /tmp/held
      test -e /var/lib/mended || MARK
"""


@pytest.fixture
def run_in(tmp_path: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    state = tmp_path / "state"
    (tmp_path / "aws").write_text(
        f"[default]\naws_access_key_id = AKIAX\naws_secret_access_key = {SECRETS['profile']}\n"
    )
    environment = checkout.environment(
        FACTORY_STATE=str(state), CI="1", PYTHONPATH=str(TOP), AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "aws"),
        TMPDIR=str(tmp_path / "tmp"), no_proxy="*", https_proxy=f"http://user:{SECRETS['proxy']}@127.0.0.1:9",
        **{name: value for name, value in SECRETS.items() if name.isupper()},
    )  # fmt: skip
    (tmp_path / "tmp").mkdir()

    def call(*words: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "factory", *map(str, words)]
        done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    yield call
    call("gc")


def test_a_kept_build_is_entered_and_continued_and_no_secret_is_left_anywhere(
    tmp_path: Path, run_in: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    recipe = tmp_path / "recipes/secretive.yaml"
    recipe.parent.mkdir()
    recipe.write_text(RECIPE.replace("MARK", "{ echo 'it does not work'; exit 7; }"))
    needles = {name: secret_watch.forms(value) for name, value in SECRETS.items()}
    given = ("--set", f"token={SECRETS['token']}")
    build = ("build", recipe, "--keep", "on-failure", "--boot-test", "none", "--accept-stale", *given)
    watch = secret_watch.Watch({name: value for name, value in SECRETS.items() if name != "token"})
    try:
        failed = run_in(*build, status=4)
        assert "factory ssh" in failed.stderr and "it does not work" in failed.stderr
        (entry,) = ledger.entries(tmp_path / "state")
        assert run_in("ssh", entry.build_id, "--", "cat", "/var/lib/one").stdout == "one\n"
        heard = run_in("console", "--no-follow").stdout  # a guest that goes on from memory has nothing to say
        assert "Linux version" in heard or "(warm, ready" in failed.stderr
        assert secret_watch.in_files(SECRETS, [tmp_path / "out"]) == set()

        recipe.write_text(RECIPE.replace("MARK", "true"))
        again = run_in("retry", entry.build_id, *given)
    finally:
        seen = watch.stop()
    assert seen == set()
    folder = tmp_path / again.stdout.splitlines()[-1]
    assert run_in("gc").returncode == 0
    shown = [failed.stdout, failed.stderr, again.stdout, again.stderr]
    assert [name for name in SECRETS for text in shown if any(n in text.encode() for n in needles[name])] == []

    raw = tmp_path / "image.raw"
    image = next(folder.glob("*.qcow2"))
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True)
    cache = Path(os.environ.get("FACTORY_CACHE", "/var/cache/image-factory"))
    places = [tmp_path / "state", tmp_path / "out", tmp_path / "tmp", raw, cache / "history", cache / "layer"]
    for name, found in needles.items():
        for needle in found:
            argv = ["grep", "-rlaF", "-e", needle.decode(), *(str(place) for place in places if place.exists())]
            assert subprocess.run(argv, capture_output=True, text=True, check=False).stdout == "", name
    assert json.loads((folder / "manifest.json").read_text())["recipe"]["name"] == "secretive"


# -- an ordinary user


def test_an_ordinary_user_builds_an_image_to_its_end(tmp_path: Path) -> None:
    """As 'nobody' when root runs the tests, else as whoever does; nothing is made on the host for it."""
    home = tmp_path / "home"
    work = home / "chaos"
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.chaos import Chaos, Round\n"
        f"chaos = Chaos(Path({str(work)!r}), 'user')\nchaos.prepare()\ndone = Round(1, 'build', '', 0.0)\n"
        "chaos._build_whole(1, done)\nprint(done)\nsys.exit(bool(done.wrong))"
    )
    have = bases.cached(bases.resolve("debian-12"))
    if have is None:
        pytest.skip("no base is in the cache, and user name spaces may be closed here: test_scratch builds one")
    argv = as_ordinary_user(
        [
            "env",
            "-u",
            "FACTORY_CACHE",
            "-u",
            "FACTORY_STATE",
            f"HOME={home}",
            f"PYTHONPATH={TOP}",
            sys.executable,
            "-c",
            code,
        ],
        home,
    )
    copied = work / "cache/base" / have.entry.key / have.sha256
    copied.parent.mkdir(parents=True)
    shutil.copytree(have.entry.folder, copied)
    (work / "cache").chmod(0o700)
    owner = home.stat()
    for path in (work, *work.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    done = subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"wrong=\[\]", done.stdout)
