"""An image that was built warm and from layers is the image that was built cold, file by file."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from factory import disk, ext4
from factory.run import run
from tests.test_real_builds import build

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount the images"),
]

RECIPE = """schema: 1
name: equal
version: 1.0.0
base: debian-12
disk: 3GiB
provision:
  - packages: [htop, libcap2-bin, nginx-light]
  - shell: |
      adduser --system --group --home /srv/app app
      install -d -o app -m 2750 /srv/app/data
      setcap cap_net_bind_service=ep /usr/bin/htop
      systemctl enable nginx
  - copy: {source: files, destination: /srv/app/files, owner: app, mode: "0640"}
  - shell: |
      date -d @0 +%Y > /srv/app/year
      rm -r /usr/share/doc/htop
checks: {allow_users: [app]}
"""
EXCEPTIONS = {"/boot/initrd.img-*": "the times of the files in it, when a step makes it anew"}
"""Files that may differ in their content, and why. Nothing may differ in owner, mode or extended attributes."""


@contextmanager
def mounted(image: Path, work: Path) -> Iterator[Path]:
    """The root file system of *image*, read-only."""
    raw, place = work / "mounted.raw", work / "mounted"
    disk.convert(image, "qcow2", raw, "raw")
    place.mkdir()
    (partition,) = ext4.ext4_partitions(raw)
    run(["mount", "-o", f"ro,noload,loop,offset={partition.start}", raw, place], reason="for the test")
    try:
        yield place
    finally:
        run(["umount", place], reason="for the test")
        place.rmdir()
        raw.unlink()


def facts(path: Path) -> dict[str, Any]:
    """All that belongs to a file but its times."""
    status = path.lstat()
    found: dict[str, Any] = {"mode": oct(status.st_mode), "owner": (status.st_uid, status.st_gid)}
    found["attributes"] = {
        name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
    }
    if stat.S_ISLNK(status.st_mode):
        found["content"] = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        found["content"] = hashlib.sha256(path.read_bytes()).hexdigest()
        found["names"] = status.st_nlink
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        found["content"] = status.st_rdev
    return found


def tree(image: Path, work: Path) -> dict[str, dict[str, Any]]:
    """Every file of *image*."""
    with mounted(image, work) as root:
        return {
            f"/{path.relative_to(root)}": facts(path)
            for folder, folders, files in os.walk(root)
            for path in (Path(folder, name) for name in [*folders, *files])
        }


def differences(one: dict[str, dict[str, Any]], two: dict[str, dict[str, Any]]) -> list[str]:
    """What differs, a line each."""
    found = [
        f"{path} is only in the {'first' if path in one else 'second'}" for path in sorted(one.keys() ^ two.keys())
    ]
    for path in sorted(one.keys() & two.keys()):
        names = [name for name in one[path].keys() | two[path].keys() if one[path].get(name) != two[path].get(name)]
        if names == ["content"] and any(Path(path).match(pattern) for pattern in EXCEPTIONS):
            continue
        found += [f"{path} differs in its {name}" for name in names]
    return found


def test_warm_and_layered_is_cold(tmp_path: Path) -> None:
    recipe = tmp_path / "equal.yaml"
    recipe.write_text(RECIPE)
    (tmp_path / "equal/files").mkdir(parents=True)
    (tmp_path / "equal/files/a").write_text("a\n")
    trees = {}
    for name, options in (("cold", ["--cold"]), ("warm", ["--no-cache"]), ("layers", ["--from", "4"])):
        built = build(recipe, tmp_path, "--boot-test", "none", *options)
        stages = {stage["name"]: stage["cache"] for stage in built["manifest"]["stages"]}
        hits = [stage for stage, cache in stages.items() if cache == "hit" and re.match(r"boot|upgrade|\d", stage)]
        assert (
            hits
            == {
                "cold": [],
                "warm": ["boot"],
                "layers": ["boot", "upgrade", "1/4 packages", "2/4 shell", "3/4 copy"],
            }[name]
        )
        trees[name] = tree(Path(built["image"]), tmp_path)
        assert len(trees[name]) > 10000
    assert trees["cold"]["/usr/bin/htop"]["attributes"]  # else the comparison would miss them
    assert differences(trees["cold"], trees["warm"]) == []
    assert differences(trees["cold"], trees["layers"]) == []


def test_a_difference_is_seen() -> None:
    file = {"mode": "0o100644", "owner": (0, 0), "attributes": {}, "content": "x", "names": 1}
    one = {"/a": file, "/boot/initrd.img-6": file}
    assert differences(one, one) == []
    assert differences(one, {"/a": file}) == ["/boot/initrd.img-6 is only in the first"]
    assert differences(one, one | {"/a": file | {"owner": (1, 0)}}) == ["/a differs in its owner"]
    assert differences(one, one | {"/boot/initrd.img-6": file | {"content": "y"}}) == []
    assert differences(one, one | {"/boot/initrd.img-6": file | {"mode": "0o100600"}}) != []
