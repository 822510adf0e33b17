"""``factory check --fix``: the repaired copy, and what is never touched."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from factory import disk, inspection, run, settings
from tests import rule_images
from tests.rule_images import write
from tests.test_check import Factory, factory, good

__all__ = ["factory", "good"]


@pytest.mark.real
def test_a_repaired_copy_passes_and_the_original_stays(factory: Factory, tmp_path: Path) -> None:
    key = write("/etc/ssh/ssh_host_ed25519_key", "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0LXRoaW5n\n", 0o600)
    grown = rule_images.on_disk(lambda path: os.truncate(path, path.stat().st_size + (1 << 20)))
    path = rule_images.make(tmp_path / "bad.img", "debian", key, grown, rule_images.converted("vmdk"))
    before = disk.sha256(path)
    done = factory("check", path)
    assert done.returncode == 5
    assert all(rule in done.stdout for rule in ("GEN-F08", "GEN-G29", "MGC-F01"))
    done = factory("check", "--fix", path, "--output", tmp_path / "new.qcow2")
    assert done.returncode == 0, done.stdout
    assert "removed /etc/ssh/ssh_host_ed25519_key" in done.stderr
    assert disk.sha256(path) == before
    disk.convert(tmp_path / "new.qcow2", "qcow2", tmp_path / "new.raw", "raw")
    assert b"c2VjcmV0LXRoaW5n" not in (tmp_path / "new.raw").read_bytes()
    assert list(settings.state_dir().iterdir()) == []


@pytest.mark.real
def test_a_repair_removes_what_a_link_leads_to_under_its_own_name(factory: Factory, tmp_path: Path) -> None:
    changes = [
        rule_images.link("/home/eve", "../srv/people/./eve"),
        rule_images.link("/srv/people", "/srv/real"),
        rule_images.write("/srv/real/eve/.bash_history", "mysql -psecret\n"),
        rule_images.write("/srv/real/eve/notes", "x\n"),
    ]
    path = rule_images.make(tmp_path / "bad.img", "debian", *changes)
    done = factory("check", "--fix", path, "--output", tmp_path / "new.qcow2")
    assert done.returncode == 0, done.stdout  # every name that is left has a file
    assert "removed /srv/real/eve/.bash_history" in done.stderr
    with inspection.open_image(tmp_path / "new.qcow2") as image:
        assert image.listdir("/home/eve") == ["notes"]


@pytest.mark.real
def test_a_repair_never_writes_over_a_file_or_follows_an_unsafe_image(factory: Factory, good: Path) -> None:
    assert factory("check", "--fix", good).returncode == 2
    assert factory("check", "--fix", good, "--output", good).returncode == 2
    unsafe = good.with_name("unsafe.qcow2")
    data = bytearray(good.read_bytes())
    data[8:20] = (200).to_bytes(8, "big") + (4).to_bytes(4, "big")  # a backing file's name
    unsafe.write_bytes(data)
    done = factory("check", "--fix", unsafe, "--output", good.with_name("new.qcow2"))
    assert done.returncode == 5
    assert "cannot be repaired offline" in done.stderr
    assert "FAIL GEN-F02" in done.stdout
    assert not good.with_name("new.qcow2").exists()


@pytest.mark.real
@pytest.mark.parametrize(("absent", "status", "code"), [(False, 5, "image.refused"), (True, 3, "host.tool-missing")])
def test_a_repair_that_fails_ends_with_5_or_3_and_json(
    factory: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absent: bool, status: int, code: str
) -> None:
    grown = rule_images.on_disk(lambda path: os.truncate(path, path.stat().st_size + (1 << 20)))
    path = rule_images.make(tmp_path / "bad.img", "debian", grown)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("qemu-img", "prlimit", "debugfs", "e2fsck"):
        if found := shutil.which(name, path=run._search_path()):
            (programs / name).symlink_to(found)
    if not absent:
        (programs / "sgdisk").write_text("#!/bin/sh\necho 'the disk is on fire' >&2\nexit 9\n")
        (programs / "sgdisk").chmod(0o755)
    monkeypatch.setattr("factory.run._search_path", lambda: str(programs))
    done = factory("check", "--fix", path, "--output", tmp_path / "new.qcow2", "--format", "json")
    assert done.returncode == status, done.stderr
    assert f"[{code}]" in done.stderr
    if not absent:
        assert "could not be repaired" in done.stderr and "the disk is on fire" in done.stderr
    document = json.loads(done.stdout)
    assert {each["rule"] for each in document["findings"] if each["status"] == "fail"} == {"GEN-F08"}
    assert not (tmp_path / "new.qcow2").exists()
    assert list(settings.state_dir().iterdir()) == []
