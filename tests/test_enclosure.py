"""Who gets to the files of a build besides the account that QEMU runs as."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from factory.hypervisor import enclosure


@pytest.mark.parametrize(("embedded", "mode"), [(True, 0o700), (False, 0o711)])
def test_an_ordinary_users_disks_are_that_users(
    embedded: bool, mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon's QEMU may run as another account, which has to pass."""
    monkeypatch.setattr(enclosure, "account", lambda: "")
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o711)
    made = enclosure.Enclosure(work, kvm=True, embedded=embedded)
    made.close()
    assert stat.S_IMODE(work.stat().st_mode) == mode
