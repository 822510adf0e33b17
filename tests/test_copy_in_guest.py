"""``copy`` onto what a guest has already, behind a real SSH server: links and folders stay what they are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.errors import StepFailed
from tests.ssh_guest import SshGuest, ssh_guest
from tests.test_provision import recipe_of, run

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="the guest's own root owns the files that are looked at"),
]


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshGuest]:
    with ssh_guest(tmp_path_factory.mktemp("copy") / "guest") as running:
        yield running


def test_a_folder_that_is_copied_leaves_the_guests_links_to_folders(guest: SshGuest, tmp_path: Path) -> None:
    guest.path("/var/usr/lib/deep").mkdir(parents=True)
    guest.path("/var/usr/lib/old").write_text("old")
    guest.path("/var/lib").symlink_to("usr/lib")
    step = "  - copy: {source: rootfs, destination: /var}\n"
    run(guest, recipe_of(tmp_path, step, **{"rootfs/lib/deep/x.service": "1", "rootfs/etc/y": "2"}))
    assert os.readlink(guest.path("/var/lib")) == "usr/lib"
    assert guest.path("/var/usr/lib/deep/x.service").read_text() == "1"
    assert guest.path("/var/usr/lib/old").read_text() == "old"


@pytest.mark.parametrize(
    ("there", "source", "word"),
    [
        ("mkdir empty", "page", "case/empty/page"),
        ("mkdir real; ln -s real empty", "page", "case/empty is a folder"),
        ("echo kept >empty", "site", "case/empty is no folder"),
        ("ln -s nothing empty", "site", "case/empty is no folder"),
    ],
)
def test_nothing_of_the_guest_is_removed_to_make_room_for_a_copy(
    guest: SshGuest, tmp_path: Path, there: str, source: str, word: str
) -> None:
    with guest.connect() as session:
        session.run(f"rm -rf /var/case && mkdir /var/case && cd /var/case && {there}")
        look = "cd /var/case && ls -l --time-style=full-iso"
        before = session.run(look).stdout
        step = f"  - copy: {{source: {source}, destination: /var/case/empty}}\n"
        with pytest.raises(StepFailed) as caught:
            run(guest, recipe_of(tmp_path, step, **{"page": "1", "site/a": "2"}))
        assert caught.value.code == "step.copy"
        assert word in str(caught.value)
        assert session.run(look).stdout == before
