"""Copies that no image can keep are refused by ``factory validate``, and the scrub does take what that says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from factory import scrub
from factory.recipe import validate
from factory.recipe.scrubbed import PLACES
from tests.guest_tree import enter, plant
from tests.recipe_files import HEAD, write
from tests.scrub_cases import FACTS, GUEST

FILES: dict[str, str | bytes] = {"x": "x", "tree/root/.ssh/config": "x", "tree/etc/app.conf": "x"}
LATER = "  - shell: 'true'\n"
LOST = {
    "/run/app/x": "serves",
    "/var/run/x": "serves",
    "/tmp/x": "serves",
    "/var/tmp/deep/x": "serves",
    "/root/.ssh/config": "serves",
    "/home/app/.ssh/id_ed25519": "serves",
    "/etc/skel/.ssh/config": "serves",
    "/root/.cache/model/x": "serves",
    "/home/app/.cargo/registry/x": "serves",
    "/etc/resolv.conf": "serves",
    "/etc/salt/minion_id": "serves",
    "/etc/salt/pki/minion/minion_master.pub": "serves",
    "/etc/puppetlabs/puppet/ssl/certs/ca.pem": "serves",
    "/var/lib/puppet/ssl/certs/ca.pem": "serves",
    "/etc/ssh/ssh_host_rsa_key": "",
    "/var/lib/cloud/scripts/per-boot/x": "",
    "/var/lib/cloud/seed/nocloud/user-data": "",
}


def said(folder: Path, steps: str) -> list[str]:
    write(folder, f"{HEAD}provision:\n{steps}", FILES)
    return [str(fault).removeprefix("recipes/web.yaml:") for fault in validate(["web"], root=folder)]


def copy(destination: str, source: str = "x") -> str:
    return f"  - copy: {{source: {source}, destination: {destination}}}\n"


@pytest.mark.parametrize("path", LOST)
def test_a_copy_that_would_be_lost_is_refused(tmp_path: Path, path: str) -> None:
    (fault,) = said(tmp_path, copy(path))
    assert fault.startswith(f"6: provision[0].copy.destination: {path!r} ") and fault.endswith(")")
    assert (said(tmp_path, copy(path) + LATER) == []) == bool(LOST[path]), "a later step may use it"
    assert len(said(tmp_path, LATER + copy(path))) == 1, "an earlier step may not"


def test_each_place_has_its_case() -> None:
    for place in PLACES:
        assert any(re.fullmatch(place.pattern, path) and bool(LOST[path]) == place.serves for path in LOST), place


def test_a_folder_is_looked_into(tmp_path: Path) -> None:
    (fault,) = said(tmp_path, copy("/", "tree"))
    assert "provision[0].copy.destination: '/root/.ssh/config' is removed" in fault


@pytest.mark.parametrize(
    "path",
    [
        *("/opt/tmp/x", "/etc/cloud/cloud.cfg.d/x.cfg", "/etc/ssh/sshd_config.d/x.conf", "/etc/ssh/ssh_known_hosts"),
        *(
            "/root/.config/x",
            "/usr/lib/tmpfiles.d/run.conf",
            "/var/log/app.log",
            "/etc/salt/minion.d/x.conf",
            "/runner",
        ),
    ],
)
def test_a_copy_that_stays_is_right(tmp_path: Path, path: str) -> None:
    assert said(tmp_path, copy(path)) == []


@pytest.mark.real
def test_the_scrub_takes_each_of_them(tmp_path: Path) -> None:
    kept = [path for path in LOST if not path.startswith(("/run/", "/var/run/"))]
    root = plant(plant(tmp_path / "guest", GUEST), dict.fromkeys([*kept, "/opt/x"], "x"))
    enter(root, scrub.deletion(FACTS))
    assert [path for path in [*kept, "/opt/x"] if (root / path.lstrip("/")).exists()] == ["/opt/x"]
