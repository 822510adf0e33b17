"""``docs/tutorial.md``, followed command by command in a fresh checkout: the one complete real build of ``make test``.

Nothing here is skipped. ``make test`` has set the host up, so a host that cannot build makes this red.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from factory.run import find, run
from tests import checkout
from tests.documents import TUTORIAL, Commands, commands, missing_lines

pytestmark = pytest.mark.real

LIMIT = 25 * 60  # seconds for all of it, on 2 cores under emulation and with an empty cache
SHOWN = 60  # lines of the log in a failure
LEFT_BEHIND = Path(__file__).with_name("left_behind.py")
FINDINGS = {"GEN-F02", "GEN-G29", "MGC-F01", "SCRUB-CANARIES", "SCRUB-MACHINE-ID", "SCRUB-SSH-HOSTKEYS"}
BOOT_FINDINGS = {"BOOT-HOST-KEYS-UNIQUE", "BOOT-MACHINE-ID-UNIQUE", "BOOT-REBOOT", "BOOT-IMAGE-UNCHANGED"}


@dataclass
class Walk:
    """The tutorial, followed: the checkout, the factory's state, the log of all output, and what each block printed."""

    checkout: Path
    state: Path
    log: Path
    environment: dict[str, str]
    printed: list[tuple[Commands, str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def latest(self) -> Path:
        """The build's folder."""
        return self.checkout / "out" / "hello" / "latest"

    def document(self, name: str) -> Any:
        """A JSON document of the build."""
        return json.loads((self.latest / name).read_text("utf-8"))

    def factory(self, *words: str) -> str:
        """What a further command of the checkout's own factory prints."""
        argv = [str(self.checkout / ".venv" / "bin" / "factory"), *words]
        return self.run(argv).stdout

    def run(self, argv: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a further program in the checkout, in the environment of the blocks and *environment*."""
        return subprocess.run(
            argv, cwd=self.checkout, env=self.environment | environment, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """Run every block of commands in its order; each must end with the status that the tutorial says."""
    folder = tmp_path_factory.mktemp("tutorial")
    state = folder / "state"
    walked = Walk(
        checkout.copy_to(folder / "checkout"),
        state,
        folder / "tutorial.log",
        checkout.environment(FACTORY_STATE=str(state), CI="true"),
    )
    deadline = time.monotonic() + LIMIT
    for part in commands(TUTORIAL):
        _follow(part, walked, deadline)
    yield walked


def _follow(part: Commands, walked: Walk, deadline: float) -> None:
    where = f"the block at line {part.block.line} of {TUTORIAL.name}"
    report = walked.log.with_name("left.txt")
    argv = [sys.executable, str(LEFT_BEHIND), str(report), "bash", "-euo", "pipefail", "-c", part.block.text]
    with walked.log.open("ab") as log:
        log.write(f"\n--- {where}\n{part.block.text}---\n".encode())
        log.flush()
        start = log.tell()
        process = subprocess.Popen(
            argv, cwd=walked.checkout, env=walked.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            status = process.wait(max(deadline - time.monotonic(), 1))
        except subprocess.TimeoutExpired:
            pytest.fail(f"{where} is not done after {LIMIT} s in all\n{_tail(walked.log)}")
        finally:
            _end(process)
    printed = walked.log.read_bytes()[start:].decode("utf-8", "replace")
    walked.printed.append((part, printed))
    walked.left += report.read_text().splitlines()
    if status != part.block.status:
        pytest.fail(f"{where} ended with {status}, not {part.block.status}\n{_tail(walked.log)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what still runs, in order: the factory cleans up on SIGTERM."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tail(log: Path) -> str:
    return "\n".join([f"The end of {log}:", *log.read_text("utf-8", "replace").splitlines()[-SHOWN:]])


def test_each_block_printed_what_the_tutorial_shows(walk: Walk) -> None:
    assert len(walk.printed) == len(commands(TUTORIAL)) > 10
    for part, printed in walk.printed:
        assert missing_lines(part.printed, printed) == [], f"line {part.block.line}"


def test_the_output_is_whole_and_latest_points_to_it(walk: Walk) -> None:
    assert walk.latest.is_symlink()
    (build,) = (path for path in walk.latest.parent.iterdir() if path.name != "latest")  # no .failed, no .partial
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{8}", build.name)
    assert os.readlink(walk.latest) == build.name
    logs = {"build.log", "console-build.log", "console-bios.log", "console-uefi.log"}
    documents = {"hello-1.0.0.qcow2", "manifest.json", "findings.json", "SHA256SUMS"}
    assert {path.name for path in build.iterdir()} == logs | documents
    for path in build.iterdir():
        if path.suffix != ".qcow2":
            assert b"PRIVATE KEY" not in path.read_bytes(), path.name


def test_the_image_is_sound_plain_and_compressed(walk: Walk) -> None:
    image = walk.latest / "hello-1.0.0.qcow2"
    assert run(["qemu-img", "check", "-f", "qcow2", image], reason="for the test").status == 0
    info = json.loads(run(["qemu-img", "info", "-f", "qcow2", "--output=json", image], reason="for the test").stdout)
    assert info["virtual-size"] == 4 << 30
    assert "backing-filename" not in info
    assert "snapshots" not in info
    assert info["format-specific"]["data"]["compat"] == "1.1"
    assert info["format-specific"]["data"]["compression-type"] == "zlib"
    assert image.stat().st_size < 300e6


def test_the_checksums_hold_also_after_the_second_boot_test(walk: Walk) -> None:
    assert run(["sha256sum", "--strict", "-c", "SHA256SUMS"], reason="for the test", cwd=walk.latest).status == 0
    digest = hashlib.sha256((walk.latest / "hello-1.0.0.qcow2").read_bytes()).hexdigest()
    assert walk.document("manifest.json")["image"]["sha256"] == walk.document("findings.json")["sha256"] == digest


def test_the_manifest_tells_how_it_came_to_be(walk: Walk) -> None:
    manifest = walk.document("manifest.json")
    assert manifest["recipe"]["name"] == "hello"
    assert manifest["targets"] == ["mgc"]
    assert {"linux-image-cloud-amd64", "cloud-init", "figlet"} <= {package["name"] for package in manifest["packages"]}
    stages = {stage["path"].removeprefix("hello/"): stage for stage in manifest["stages"]}
    expected = ["base", "boot", "cloud-init", "customise", "scrub", "shrink", "convert", "verify", "boot test"]
    assert [name for name in stages if "/" not in name] == expected
    assert {"customise/upgrade", "customise/1/4 packages", "customise/4/4 shell"} <= set(stages)
    assert {stage["state"] for stage in stages.values()} <= {"ok", "cached"}


def test_it_booted_both_ways_and_one_boot_was_rebooted(walk: Walk) -> None:
    boots = {boot["name"]: boot for boot in walk.document("manifest.json")["boots"]}
    assert {(name, boot["firmware"], boot["bus"], boot["datasource"]) for name, boot in boots.items()} == {
        ("bios", "bios", "virtio-blk", "NoCloud"),
        ("uefi", "uefi", "virtio-scsi", "ConfigDrive"),
    }
    assert {boot["state"] for boot in boots.values()} == {"ok"}
    assert all(boot["login_seconds"] > 0 for boot in boots.values())
    assert len([boot for boot in boots.values() if boot["reboot_seconds"]]) == 1


def test_nothing_failed_and_the_recipes_tests_ran_in_every_boot(walk: Walk) -> None:
    findings = walk.document("findings.json")["findings"]
    assert [finding for finding in findings if finding["status"] == "fail"] == []
    assert {finding["rule"] for finding in findings} >= FINDINGS | BOOT_FINDINGS
    for number, kind in enumerate(("service", "port", "http", "http", "command"), 1):
        subjects = [finding["subject"] for finding in findings if finding["rule"] == f"TEST-{number}"]
        assert sorted(subject.partition(f": {kind} ")[0] for subject in subjects) == [
            "boot bios",
            "boot bios after its reboot",
            "boot uefi",
        ]


def test_nothing_of_the_work_is_left(walk: Walk) -> None:
    assert walk.left == [], "processes outlived the command that started them"
    for name in ("builds", "ledger", "libvirt"):
        assert list((walk.state / name).iterdir()) == [], name


def test_the_base_is_at_hand_without_a_network(walk: Walk) -> None:
    assert re.search(r"^base +debian-12 \(scratch\) +cached, ", walk.factory("plan", "hello"), re.M)
    program = (
        "from factory import bases; from factory.console import Console;"
        "print(bases.obtain(bases.resolve('debian-12'), offline=True, console=Console.quiet()).sha256)"
    )
    closed = "http://127.0.0.1:9"
    argv = [str(walk.checkout / ".venv" / "bin" / "python"), "-c", program]
    done = walk.run(argv, http_proxy=closed, https_proxy=closed)
    assert done.stdout.strip() == walk.document("manifest.json")["base"]["digest"], done.stderr


def test_what_outlives_a_program_is_found_and_ended(tmp_path: Path) -> None:
    """The search for leftovers, proved on a process that detaches itself as QEMU does."""
    sleep = find("sleep", reason="for the test")
    argv = [sys.executable, str(LEFT_BEHIND), str(tmp_path / "report"), "bash", "-c"]
    start = time.monotonic()
    done = subprocess.run([*argv, f"setsid {sleep} 600 >/dev/null 2>&1 & exit 7"], check=False)
    assert done.returncode == 7
    pid, words = (tmp_path / "report").read_text().strip().split(" ", 1)
    assert words == f"{sleep} 600"
    assert not Path(f"/proc/{pid}").exists()
    assert time.monotonic() - start < 60
    done = subprocess.run([*argv, "true"], check=False)
    assert done.returncode == 0
    assert (tmp_path / "report").read_text() == ""
