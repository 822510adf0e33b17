"""What the doctor says of publishing: the values that a target supplies, and the store that would be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from factory.doctor import configured, services
from factory.doctor.row import Check, guarded
from tests import command_line

NOBODY = "http://127.0.0.1:9"  # a proxy that is not there, so that nothing leaves this host


@pytest.fixture(autouse=True)
def _nothing_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command_line.own_places(tmp_path, monkeypatch)
    for name in [name for name in os.environ if name.startswith(("FACTORY_S3_", "FACTORY_MGC_", "AWS_", "MGC_"))]:
        monkeypatch.delenv(name)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOBODY)
    monkeypatch.setenv("MGC_CONFIG_DIR", str(tmp_path / "mgc"))
    monkeypatch.setattr(services, "ANSWER", 1.0)


def row(checks: list[Check], what: str) -> Check:
    (found,) = (check for check in checks if check.what == what)
    return found


# -- the store


@pytest.fixture
def _a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_S3_BUCKET", "images")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA0000000000000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x" * 40)


@pytest.mark.usefixtures("_a_bucket")
@pytest.mark.parametrize("way", ["key", "profile", "store's key"])
def test_the_store_of_the_target_whose_key_is_there_is_tried(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "key":
        monkeypatch.setenv("MGC_API_KEY", "k" * 36)
    elif way == "profile":
        (tmp_path / "mgc/default").mkdir(parents=True)
        (tmp_path / "mgc/default/auth.yaml").write_text(f"api_key: {'k' * 36}\n")
    else:
        monkeypatch.setenv("MGC_OBJ_KEY_ID", "k" * 36)
        monkeypatch.setenv("MGC_OBJ_KEY_SECRET", "s" * 36)
    found = row(guarded(services.object_storage), "object storage")
    assert found.state == "fail"
    assert "br-se1.magaluobjects.com" in found.found


@pytest.mark.usefixtures("_a_bucket")
def test_a_store_that_no_setting_names_is_no_fault_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    found = row(guarded(services.object_storage), "object storage")
    assert (found.state, "amazonaws.com" in found.found) == ("warn", True), found
    assert "FACTORY_S3_ENDPOINT" in found.fix
    monkeypatch.setenv("FACTORY_S3_ENDPOINT", "https://store.example:8333")
    named = row(guarded(services.object_storage), "object storage")
    assert (named.state, "store.example" in named.found) == ("fail", True), named


# -- settings


def test_what_a_target_supplies_is_shown_with_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = list(configured.examine())
    assert row(checks, "FACTORY_S3_ENDPOINT").found == "https://br-se1.magaluobjects.com (from target mgc)"
    assert row(checks, "FACTORY_S3_REGION").found == "br-se1 (from target mgc)"
    assert row(checks, "FACTORY_S3_ADDRESSING").found == "path (from target mgc)"
    assert row(checks, "FACTORY_MGC_API_URL").found == "https://api.magalu.cloud/br-se1/compute (from target mgc)"
    assert row(checks, "FACTORY_S3_CHECKSUMS").found == "when_required (the default)"
    assert row(checks, "FACTORY_S3_BUCKET").found.startswith("not set (")
    (unset,) = services.object_storage()
    assert (unset.state, "not set up" in unset.found) == ("ok", True)  # none of that means that somebody publishes
    monkeypatch.setenv("FACTORY_S3_REGION", "br-mgl1")
    checks = list(configured.examine())
    assert row(checks, "FACTORY_S3_REGION").found == "br-mgl1 (from environment)"
    assert row(checks, "FACTORY_S3_ENDPOINT").found == "https://br-se-1.magaluobjects.com (from target mgc)"
    assert row(checks, "FACTORY_MGC_API_URL").found == "https://api.magalu.cloud/br-se-1/compute (from target mgc)"


def test_a_region_of_another_store_leaves_nothing_for_a_target_to_supply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_S3_REGION", "us-east-1")
    monkeypatch.setenv("FACTORY_S3_ENDPOINT", "https://store.example:8333")
    checks = list(configured.examine())
    assert row(checks, "FACTORY_S3_ENDPOINT").found == "https://store.example:8333 (from environment)"
    assert row(checks, "FACTORY_MGC_API_URL").found.startswith("not set (")
    assert {check.state for check in checks} == {"ok"}
