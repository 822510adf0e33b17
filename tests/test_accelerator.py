"""The accelerator: proved by a small guest that really runs, and every reason against KVM with its fix."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from factory.errors import HostError, UsageError
from factory.hypervisor import accelerator
from factory.hypervisor.accelerator import Accelerator, choose, probe, probe_sector
from factory.hypervisor.enclosure import account
from factory.run import find

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account for QEMU")
REAL = accelerator._why_not_kvm


@pytest.fixture
def good_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host where all speaks for KVM; gives the folder of its ``kvm`` device and ``cpuinfo``."""
    (tmp_path / "kvm").touch()
    (tmp_path / "kvm").chmod(0o666)
    (tmp_path / "cpuinfo").write_text("processor : 0\nflags\t\t: fpu vme vmx sse2\n")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(accelerator, "_qemu", lambda: "/usr/bin/qemu-system-x86_64")
    monkeypatch.setattr(accelerator, "probe", lambda name: name == "kvm")
    monkeypatch.setattr(accelerator, "_why_not_kvm", lambda: REAL(tmp_path / "kvm", tmp_path / "cpuinfo"))
    return tmp_path


def no_device(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "kvm").unlink()


def no_permission(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)


def no_virtualisation(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "cpuinfo").write_text("flags : fpu sse2 xvmx\nmodel name : svms\n")


def hanging_guest(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "probe", lambda name: False)


def other_architecture(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")


def closed_to_the_account(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (host / "kvm").chmod(0o600)


REASONS = [
    pytest.param(no_device, "/dev/kvm is not there", "kvm_intel", id="no device"),
    pytest.param(no_permission, "may not open /dev/kvm", "adduser", id="no permission"),
    pytest.param(no_virtualisation, "neither vmx nor svm", "nested", id="no vmx, no svm"),
    pytest.param(hanging_guest, "a small guest did not run", "dmesg", id="a guest hangs"),
    pytest.param(other_architecture, "aarch64", "x86_64 host", id="another architecture"),
    pytest.param(closed_to_the_account, "QEMU's account", "group kvm", marks=AS_ROOT, id="closed to QEMU's account"),
]


@pytest.mark.parametrize("word", ["vmx", "svm"])
def test_kvm_is_chosen_where_all_speaks_for_it(good_host: Path, word: str) -> None:
    (good_host / "cpuinfo").write_text(f"flags : fpu {word} sse2\n")
    assert choose() == choose("kvm") == Accelerator("kvm", "a small guest ran on it")
    assert choose().scale == 1.0


@pytest.mark.parametrize(("broken", "reason", "fix"), REASONS)
def test_each_reason_against_kvm(
    good_host: Path, monkeypatch: pytest.MonkeyPatch, broken: object, reason: str, fix: str
) -> None:
    assert callable(broken)
    broken(good_host, monkeypatch)
    chosen = choose()
    assert chosen.name == "tcg"
    assert reason in chosen.why
    assert fix in chosen.fix
    assert chosen.scale > 1
    with pytest.raises(HostError) as caught:
        choose("kvm")
    assert (caught.value.code, caught.value.status) == ("host.no-kvm", 3)
    assert reason in caught.value.message and fix in caught.value.hint


def test_tcg_can_be_asked_for(good_host: Path) -> None:
    assert choose("tcg") == Accelerator("tcg", "asked for")


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        choose("xen")
    assert caught.value.code == "usage.accelerator"


@AS_ROOT
def test_the_device_may_be_opened_by_owner_group_and_others(tmp_path: Path) -> None:
    name = account()
    entry = pwd.getpwnam(name)
    device = tmp_path / "kvm"
    device.touch()
    for uid, gid, mode, may in (
        (0, 0, 0o600, False),
        (0, 0, 0o666, True),
        (0, entry.pw_gid, 0o660, True),
        (0, entry.pw_gid, 0o640, False),
        (0, entry.pw_gid, 0o606, False),  # whoever is in the group does not count as one of the others
        (entry.pw_uid, 0, 0o600, True),
        (entry.pw_uid, 0, 0o466, False),
    ):
        os.chown(device, uid, gid)
        device.chmod(mode)
        assert accelerator._may_open(device, name) is may, (uid, gid, oct(mode))


# -- the small guest


def test_the_sector_is_a_boot_sector() -> None:
    sector = probe_sector()
    assert len(sector) == 512
    assert sector[510:] == b"\x55\xaa"


@pytest.mark.skipif(not shutil.which("objdump"), reason="objdump is not installed")
def test_the_sector_is_the_program_that_its_comment_says(tmp_path: Path) -> None:
    sector = tmp_path / "sector"
    sector.write_bytes(probe_sector())

    def disassembled(kind: str, start: int, end: int) -> str:
        argv = ["objdump", "-D", "-b", "binary", "-m", kind, "-M", "intel", "--adjust-vma=0x7c00"]
        argv += [f"--start-address={start}", f"--stop-address={end}", sector.as_posix()]
        text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        return " ".join(" ".join(line.split("\t")[2:]) for line in text.splitlines() if "\t" in line)

    real = " ".join(disassembled("i8086", 0x7C00, 0x7C17).split())
    for instruction in ("cli", "lgdtw ds:0x7c40", "mov eax,cr0", "or al,0x1", "mov cr0,eax", "jmp 0x8:0x7c20"):
        assert instruction in real
    protected = " ".join(disassembled("i386", 0x7C20, 0x7C37).split())
    for instruction in ("mov ds,eax", "mov ecx,0x1312d00", "loop 0x7c2b", "mov dx,0x501", "mov al,0x21", "out dx,al"):
        assert instruction in protected
    table = probe_sector()[0x40:]
    assert table[:6] == (23).to_bytes(2, "little") + (0x7C48).to_bytes(4, "little")
    assert table[8:16] == bytes(8)  # the null descriptor


@pytest.mark.real
def test_the_small_guest_really_runs() -> None:
    assert probe("tcg") is True


@pytest.mark.real
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("0c01", "0c00", id="never leaves real mode"),
        pytest.param("eef4", "90f4", id="never reaches the exit"),
        pytest.param("b021", "b020", id="leaves with another status"),
        pytest.param("55aa", "55ab", id="is no boot sector"),
    ],
)
def test_a_guest_that_does_not_get_to_its_end_is_no_proof(
    monkeypatch: pytest.MonkeyPatch, right: str, wrong: str
) -> None:
    spoiled = probe_sector().replace(bytes.fromhex(right), bytes.fromhex(wrong))
    assert spoiled != probe_sector()
    monkeypatch.setattr(accelerator, "probe_sector", lambda: spoiled)
    monkeypatch.setattr(accelerator, "PROBE_SECONDS", 1)
    assert probe("tcg") is False


@pytest.mark.real
def test_an_accelerator_that_qemu_does_not_have_counts_as_none() -> None:
    assert probe("no-such-accelerator") is False


@pytest.mark.real
@AS_ROOT
def test_qemu_does_not_run_as_root_for_it_and_needs_no_open_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program in front of QEMU notes as whom it was started; the temporary folder is closed to all but root."""
    real = find("qemu-system-x86_64", reason="")
    (tmp_path / "noted").mkdir(mode=0o777)
    (tmp_path / "noted").chmod(0o777)
    program = tmp_path / "qemu-system-x86_64"
    program.write_text(f'#!/bin/sh\nid -un >{tmp_path}/noted/who\nexec {real} "$@"\n')
    program.chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o711)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("tempfile.tempdir", str(closed))
    assert probe("tcg") is True
    assert (tmp_path / "noted/who").read_text().strip() == account() != "root"
    assert list(closed.iterdir()) == []


@pytest.mark.parametrize("wanted", ["auto", "kvm", "tcg"])
def test_no_qemu_at_all_is_told_at_once(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(HostError) as caught:
        choose(wanted)
    assert (caught.value.code, caught.value.status) == ("host.tool-missing", 3)
    assert "qemu-system-x86" in caught.value.hint
