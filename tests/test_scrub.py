"""Scrub operations: each finds its dirt, its shell commands really remove it, and what only looks like dirt stays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from factory import inspection, scrub
from factory.inspection import Unreadable
from factory.scrub import Leftover
from tests import images, scrub_identity, scrub_traces
from tests.guest_tree import Content, Tree, enter, file, folder, plant
from tests.scrub_cases import FACTS, GUEST, HOST, SHADOW, Case

CASES = {**scrub_identity.CASES, **scrub_traces.CASES}
ALL = [
    pytest.param(name, case, id=f"{name}-{number}")
    for name, cases in CASES.items()
    for number, case in enumerate(cases)
]
OPERATIONS = {operation.name: operation for operation in scrub.operations()}


def clean_guest(folder: Path, *layers: Mapping[str, Content]) -> Path:
    root = plant(folder / "guest", GUEST)
    for layer in layers:
        plant(root, layer)
    return root


def found(name: str, root: Path) -> list[Leftover]:
    return list(OPERATIONS[name].verify(Tree(root), FACTS))


def state(root: Path, names: list[str]) -> dict[str, object]:
    """Kind, mode and content of each path."""
    result: dict[str, object] = {}
    for name in names:
        path = root / name.lstrip("/")
        if path.is_symlink():
            result[name] = os.readlink(path)
        elif path.is_dir():
            result[name] = oct(path.stat().st_mode)
        else:
            result[name] = (oct(path.stat().st_mode), path.read_bytes()) if path.exists() else None
    return result


def after(path: Path) -> bytes | None:
    if path.is_symlink():
        return b"-> " + os.fsencode(os.readlink(path))
    return path.read_bytes() if path.exists() else None


def test_every_operation_has_a_case_with_dirt_and_one_with_what_only_looks_like_it() -> None:
    assert set(CASES) == set(OPERATIONS)
    for name, cases in CASES.items():
        assert any(case.dirty for case in cases), name
    without = {name for name, cases in CASES.items() if not any(case.benign for case in cases)}
    assert without == {"login-records", "tmp-files"}  # their clean twins are in the clean guest


def test_a_clean_guest_has_no_leftover(tmp_path: Path) -> None:
    assert scrub.verify(Tree(clean_guest(tmp_path)), FACTS) == []


@pytest.mark.parametrize(("name", "case"), ALL)
def test_finds_removes_and_leaves_alone(name: str, case: Case, tmp_path: Path) -> None:
    root = clean_guest(tmp_path, case.benign)
    assert found(name, root) == []
    plant(root, case.dirty)
    if case.dirty:
        assert {leftover.path for leftover in found(name, root)} == case.expected
    survivors = [path for path in case.benign if path not in case.after]
    before = state(root, survivors)
    assert enter(root, scrub.deletion(FACTS, name)) == ""
    assert {leftover.path for leftover in found(name, root)} == case.stays
    assert state(root, survivors) == before
    for path, content in case.after.items():
        assert after(root / path.lstrip("/")) == content, path
    # A second run finds nothing to do and nothing to complain about.
    assert enter(root, scrub.deletion(FACTS, name)) == ""


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_cannot_be_looked_at_is_never_taken_for_clean(name: str, tmp_path: Path) -> None:
    class Dark(Tree):
        def _ask(self, request: dict[str, Any], understood: Any) -> Any:
            raise Unreadable("the disk is damaged")

    with pytest.raises(Unreadable):
        list(OPERATIONS[name].verify(Dark(clean_guest(tmp_path)), FACTS))


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_damaged_file_is_not_skipped(name: str, tmp_path: Path) -> None:
    """Each path that an operation asks for, unreadable one after the other, must end its verify."""
    root = clean_guest(tmp_path)
    for cases in CASES[name]:
        plant(root, cases.benign)
    asked: list[str] = []

    class Noted(Tree):
        broken = ""

        def _ask(self, request: dict[str, Any], understood: Any) -> Any:
            asked.append(f"{request['do']} {request['path']}")
            if asked[-1] == self.broken:
                raise Unreadable(f"{self.broken} is damaged")
            return super()._ask(request, understood)

    list(OPERATIONS[name].verify(Noted(root), FACTS))
    for question in dict.fromkeys(asked):
        tree = Noted(root)
        tree.broken = question
        with pytest.raises(Unreadable):
            list(OPERATIONS[name].verify(tree, FACTS))


def test_a_seed_on_an_esp_that_is_not_mounted_is_found(tmp_path: Path) -> None:
    esp = plant(tmp_path / "esp", {"/loader/random-seed": b"x"})
    left = list(OPERATIONS["random-seed"].verify(Tree(clean_guest(tmp_path), p15=esp), FACTS))
    assert [leftover.path for leftover in left] == ["partition 15: /loader/random-seed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")
def test_a_log_that_its_service_could_not_make_again_is_emptied(tmp_path: Path) -> None:
    root = clean_guest(tmp_path, {"/var/log/app.log": "x", "/var/log/root.log": "x", "/var/log/app/own.log.1": "x"})
    os.chown(root / "var/log/app.log", 105, 4)
    os.chown(root / "var/log/app", 105, 4)
    os.chown(root / "var/log/app/own.log.1", 105, 4)
    enter(root, scrub.deletion(FACTS, "logfiles"))
    status = (root / "var/log/app.log").stat()
    assert (status.st_uid, status.st_gid, status.st_size) == (105, 4, 0)
    assert (root / "var/log/app").stat().st_uid == 105
    assert not (root / "var/log/root.log").exists()
    assert not (root / "var/log/app/own.log.1").exists()


def test_swap_is_swap_again_under_its_old_names(tmp_path: Path) -> None:
    images.needs("mkswap")
    root = clean_guest(tmp_path, {"/swap/swapfile": bytes(1 << 20)})
    images.call("mkswap", "-U", "0b1c2d3e-4f50-4000-8000-0123456789ab", "-L", "scratch", root / "swap/swapfile")
    with (root / "swap/swapfile").open("r+b") as space:
        space.seek(300_000)
        space.write(b"private key")
    header = (root / "swap/swapfile").read_bytes()[1036:1068]
    assert [left.path for left in found("swap", root)] == ["/swap/swapfile"]
    enter(root, scrub.deletion(FACTS, "swap"))
    content = (root / "swap/swapfile").read_bytes()
    assert (content[1036:1068], content[4086:4096], len(content)) == (header, b"SWAPSPACE2", 1 << 20)
    assert b"private key" not in content


def test_notes_of_grub_are_found_and_taken_out_by_its_own_tool(tmp_path: Path) -> None:
    block = "# GRUB Environment Block\nsaved_entry=0\nrecordfail=1\nnext_entry=2\n"
    root = clean_guest(tmp_path, {"/boot/grub/grubenv": block.ljust(1024, "#"), "/boot/grub2/grubenv": "x" * 1000})
    assert [(left.path, left.evidence) for left in found("grub-state", root)] == [
        ("/boot/grub/grubenv", "recordfail is set to '1'"),
        ("/boot/grub/grubenv", "next_entry is set to '2'"),
        ("/boot/grub2/grubenv", "has 1000 bytes, and GRUB needs 1024"),
    ]
    (root / "boot/grub2/grubenv").unlink()
    if shutil.which("grub-editenv") is None:
        pytest.skip("there is no grub-editenv here: only the report was tested")
    enter(root, scrub.deletion(FACTS, "grub-state"))
    assert found("grub-state", root) == []
    assert "saved_entry=0" in (root / "boot/grub/grubenv").read_text()


def test_modes_stay(tmp_path: Path) -> None:
    root = clean_guest(
        tmp_path, {"/etc/hosts": file(f"127.0.1.1 {HOST}\n".encode(), 0o640), "/var/log/wtmp": file(b"x", 0o664)}
    )
    enter(root, scrub.deletion(FACTS))
    modes = {
        name: oct((root / name).stat().st_mode & 0o7777) for name in ("etc/hosts", "etc/shadow", "var/log/wtmp", "tmp")
    }
    assert modes == {"etc/hosts": "0o640", "etc/shadow": "0o640", "var/log/wtmp": "0o664", "tmp": "0o1777"}


@pytest.mark.parametrize("kind", ["key", "hash", "history"])
def test_no_evidence_holds_a_secret(kind: str, tmp_path: Path) -> None:
    secret = "S3cr3tS3cr3t"
    dirts: Mapping[str, Mapping[str, Content]] = {
        "key": {"/root/.ssh/authorized_keys": f"ssh-rsa {secret}\n", "/etc/ssh/ssh_host_rsa_key": secret},
        "hash": {"/etc/shadow": SHADOW.replace("daemon:*", f"daemon:$6${secret}")},
        "history": {
            "/root/.bash_history": f"login {secret}\n",
            "/etc/iscsi/initiatorname.iscsi": f"InitiatorName={secret}\n",
        },
    }
    left = scrub.verify(Tree(clean_guest(tmp_path, dirts[kind])), FACTS)
    assert left
    assert secret not in repr(left)


@pytest.mark.real
@pytest.mark.skipif(os.geteuid() != 0, reason="without root, mke2fs makes no files that belong to root")
def test_a_real_image_tells_the_same_before_and_after(tmp_path: Path) -> None:
    """All dirt at once, on ext4 with an ESP, through the confined reader; then the whole deletion, and again."""
    root = clean_guest(tmp_path, {"/etc/fstab": images.SYSTEM["etc/fstab"], "/boot/efi": folder()})
    for cases in CASES.values():
        for path, content in cases[0].dirty.items():
            if path not in ("/etc/fstab", "/etc/shadow", "/etc/passwd") and not path.startswith("/boot/efi"):
                plant(root, {path: content})
    tree = Tree(root)
    image = images.disk(tmp_path / "dirty.raw", root, "-b", "4096", esp={"loader/random-seed": b"seed"})
    with inspection.open_image(image) as view:
        dirty = scrub.verify(view, FACTS)
    on_esp = {leftover for leftover in dirty if leftover.path == "/boot/efi/loader/random-seed"}
    assert len(on_esp) == 1
    assert set(dirty) - on_esp == set(scrub.verify(tree, FACTS))
    assert {leftover.operation for leftover in dirty} == set(OPERATIONS) - {"accounts"}
    enter(root, scrub.deletion(FACTS))
    image = images.disk(tmp_path / "clean.raw", root, "-b", "4096", esp={"EFI/BOOT/BOOTX64.EFI": b"MZ"})
    with inspection.open_image(image) as view:
        left = scrub.verify(view, FACTS)
    assert [(leftover.path, leftover.severity) for leftover in left] == [
        ("/etc/ssl/private/ssl-cert-snakeoil.key", "warn")
    ]
