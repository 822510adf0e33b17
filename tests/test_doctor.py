"""The doctor's rows, each with the state of a host that really has that fault; and what a build refuses at once."""

from __future__ import annotations

import datetime
import http.server
import json
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import factory.run
from factory import cache, doctor, preflight, processes, settings
from factory.doctor import configured, services
from factory.doctor.page import page
from factory.doctor.row import Check, guarded
from factory.errors import HostError
from factory.plan import make_plan
from factory.workspace import Workspace
from tests import command_line
from tests.command_line import TOP, run

NOW = datetime.datetime(2026, 11, 22, 12, 0, 0, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command_line.own_places(tmp_path, monkeypatch)


def row(checks: list[Check], what: str) -> Check:
    (found,) = (check for check in checks if check.what == what)
    assert bool(found.fix) or found.state == "ok", "what is not well comes with its fix"
    assert f"{found.found} {found.fix}".count("'") % 2 == 0, "quotes come in pairs"
    return found


# -- outside


class Archive(http.server.BaseHTTPRequestHandler):
    """A mirror that has one suite, and a clock of its own."""

    date = "Sun, 22 Nov 2026 12:00:00 GMT"

    def do_HEAD(self) -> None:
        self.send_response_only(200 if self.path == "/debian/dists/bookworm/InRelease" else 404)
        self.send_header("Date", self.date)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Archive) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def asked(monkeypatch: pytest.MonkeyPatch, mirror: str) -> list[Check]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("FACTORY_MIRROR", mirror)
    return list(services.archive())


def test_an_archive_that_answers_and_the_clock(archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = asked(monkeypatch, f"{archive}/debian")
    assert row(checks, "DNS").state == row(checks, "archive").state == "ok"
    assert row(checks, "clock").what == "clock"


def test_an_archive_that_is_none(archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = row(asked(monkeypatch, f"{archive}/elsewhere"), "archive")
    assert found.state == "fail" and "404" in found.found and "FACTORY_MIRROR" in found.fix


def test_an_archive_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    found = row(asked(monkeypatch, f"http://127.0.0.1:{port}/debian"), "archive")
    assert found.state == "fail" and "did not answer" in found.found


def test_an_archive_that_never_answers_costs_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "ANSWER", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        found = row(asked(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}/debian"), "archive")
    assert found.state == "fail" and time.monotonic() - start < 5


def test_a_name_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    found = row(asked(monkeypatch, "http://mirror.invalid/debian"), "DNS")
    assert found.state == "fail" and "mirror.invalid" in found.found


@pytest.mark.parametrize(
    ("date", "state"),
    [
        ("Sun, 22 Nov 2026 11:59:30 GMT", "ok"),
        ("Sun, 22 Nov 2026 11:50:00 GMT", "warn"),
        ("Sun, 22 Nov 2026 12:10:00 GMT", "warn"),
        ("Thu, 19 Nov 2026 12:00:00 GMT", "fail"),
        ("soon", "ok"),
        ("", "ok"),
    ],
)
def test_the_clock_is_compared(date: str, state: str) -> None:
    (found,) = services.clock(date, NOW, "mirror.example")
    assert found.state == state and (state == "ok" or "mirror.example" in found.found)


def test_a_metadata_service_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as service:
        monkeypatch.setattr(services, "METADATA", service.getsockname())
        (found,) = services.metadata()
    assert found.state == "warn" and "credentials" in found.found
    (found,) = services.metadata()
    assert found.state == "ok"


# -- this host


def test_the_device_of_kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "kvm"
    monkeypatch.setattr(doctor, "KVM", device)
    assert next(doctor._kvm()).state == "ok"
    device.touch()
    device.chmod(0o666)
    assert next(doctor._kvm()).state == "warn"
    device.chmod(0o660)
    assert next(doctor._kvm()).state == "ok"


def test_a_cache_with_a_damaged_entry(tmp_path: Path) -> None:
    assert next(doctor._cache_entries()).found == "none yet"
    (tmp_path / "x").write_text("content")
    entry = cache.Cache().put("base", "debian-12-0", tmp_path / "x", {})
    assert next(doctor._cache_entries()).state == "ok"
    entry.path.chmod(0o600)
    entry.path.write_text("less")
    found = next(doctor._cache_entries())
    assert found.state == "warn" and "debian-12-0" in found.found


def test_a_cache_over_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("content")
    cache.Cache().put("base", "debian-12-0", tmp_path / "x", {})
    monkeypatch.setenv("FACTORY_CACHE_LIMIT", "1B")
    assert "over the limit" in next(doctor._cache_entries()).found


def test_what_dead_runs_left_is_told_and_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert next(doctor._left()).state == "ok"
    workspace = Workspace.create("web", "0" * 8, output=tmp_path / "out", state=tmp_path / "state")
    assert next(doctor._left()).found == "nothing; builds that run: 1"
    workspace.keep("step.failed")
    assert workspace.build_id in next(doctor._left()).found
    child = subprocess.Popen(
        ["sleep", "60"],
        env={processes.VARIABLE: f"1-1-{processes.mark().split('-', 2)[2]}", "PATH": os.defpath},
    )
    try:
        assert next(doctor._left()).found == f"'factory gc' would end process {child.pid}"
    finally:
        child.kill()
        child.wait()
    half_a_base = tmp_path / "cache" / "work" / "debian-12-0123456789abcdef"
    half_a_base.mkdir(parents=True)
    lock = tmp_path / "cache" / "locks" / f"base-{half_a_base.name}.lock"
    lock.parent.mkdir(exist_ok=True)
    lock.touch()
    assert next(doctor._left()).found == f"'factory gc' would remove {half_a_base}"


def test_the_whole_examination_is_quick_and_ends_with_3_on_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_MIRROR", "http://mirror.invalid/debian")
    start = time.monotonic()
    done = run("doctor", "--json")
    assert done.returncode == 3
    assert time.monotonic() - start < 30
    checks = {check["what"]: check for check in json.loads(done.stdout)["checks"]}
    known = "accelerator,/dev/kvm,libvirt,UEFI firmware,mmdebstrap,cache,state,output,memory,left behind,DNS"
    assert set(known.split(",")) <= set(checks)
    assert checks["DNS"]["state"] == "fail" and checks["DNS"]["fix"]


# -- settings


def test_each_setting_is_shown_with_its_origin_or_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.PURPOSES.keys() == settings.DEFAULTS.keys()
    monkeypatch.setenv("FACTORY_S3_ENDPOINT", "https://who:secret-word@store.example:8333")
    monkeypatch.setenv("MGC_API_KEY", "a-key-of-somebody")
    monkeypatch.delenv("MGC_OBJ_KEY_ID", raising=False)
    monkeypatch.setenv("FACTORY_MIRORR", "http://mirror.example/debian")
    misspelt = row(list(configured.examine()), "FACTORY_MIRORR")
    assert (misspelt.state, misspelt.fix) == ("warn", "Did you mean FACTORY_MIRROR?")
    monkeypatch.delenv("FACTORY_MIRORR")
    checks = list(configured.examine())
    assert {check.state for check in checks} == {"ok"}, "what is not set is no warning"
    assert row(checks, "FACTORY_CONNECT").found == "qemu:///embed (the default)"
    assert row(checks, "FACTORY_S3_ENDPOINT").found == "https://store.example:8333 (from environment)"
    assert row(checks, "FACTORY_S3_BUCKET").found == "not set (to publish: the bucket that images go to)"
    assert row(checks, "MGC_API_KEY").found == "set (from environment)"
    assert row(checks, "MGC_OBJ_KEY_ID").found.startswith("not set (to publish to Magalu Cloud")
    assert not any(secret in str(checks) for secret in ("secret-word", "a-key-of-somebody"))


def test_a_bucket_that_publishing_needs_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MGC_OBJ_KEY_ID", raising=False)
    monkeypatch.setenv("FACTORY_S3_REGION", "br-se1")
    found = row(list(services.object_storage()), "object storage")
    assert found.state == "warn" and "FACTORY_S3_REGION is set, but no bucket" in found.found


# -- the page


ROWS = [
    Check("ok", "libvirt", "qemu:///embed: libvirt 9.0.0, QEMU 7.2.22"),
    Check(
        "warn", "metadata service", "one answers here, " * 6, "Block 169.254.169.254 for the user that runs QEMU, " * 3
    ),
    Check("fail", "UEFI firmware", "OVMF is not installed", "Run 'make setup'"),
    Check("ok", "FACTORY_S3_STORAGE_CLASS", "not set (to publish: the storage class of the image)", about="setting"),
    Check("ok", "FACTORY_CACHE", "/a/path/" + "x" * 90, about="setting"),
]


@pytest.mark.parametrize("width", [120, 80, 60, 40])
def test_the_page_keeps_to_the_terminal(width: int) -> None:
    lines = page(ROWS, width).splitlines()
    assert all(len(line) <= width or line.strip().startswith("/") for line in lines if "x" * 90 not in line)
    assert lines[-1] == "1 fault and 1 warning: the arrows say what to do." or width == 40
    said = " ".join(" ".join(lines).split())
    for check in ROWS:
        for words in (check.what, check.found, check.fix):
            assert " ".join(words.split()) in said, words
    begins = [line[:4].strip() for line in lines]
    assert [each for each in begins if each in ("ok", "warn", "fail")] == ["ok", "warn", "fail"]
    assert f"      -> {ROWS[2].fix}" in lines


def test_the_page_of_a_program_has_a_line_for_each() -> None:
    lines = page(ROWS, None).splitlines()
    assert [line for line in lines if line.startswith("warn")] == [f"warn  metadata service  {ROWS[1].found.rstrip()}"]
    assert page([ROWS[0]], None).splitlines()[-1] == "All is well."


# -- what a build refuses at once


def test_a_build_says_at_once_which_programs_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory.run, "_search_path", lambda: str(tmp_path))
    with pytest.raises(HostError) as caught:
        preflight.check(make_plan(str(TOP / "recipes/minimal.yaml")), tmp_path / "out")
    assert caught.value.code == "host.tool-missing"
    for name in ("qemu-img", "mmdebstrap", "e2fsck"):
        assert name in caught.value.message
    assert "qemu-utils" in caught.value.hint


def _of_processor() -> float:
    """Seconds that the processes which were started here, and ended, have worked."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_build_without_the_space_for_its_plan_is_refused_within_two_seconds(tmp_path: Path) -> None:
    recipe = tmp_path / "recipes/big.yaml"
    recipe.parent.mkdir()
    recipe.write_text("schema: 1\nname: big\nversion: 1\nbase: debian-12\n")
    before = "from factory import preflight\npreflight.HEADROOM = 1 << 50"
    start = _of_processor()
    done = run("build", recipe, before=before)
    assert _of_processor() - start < 2  # seconds of work: a busy machine takes its own time for them
    assert done.returncode == 3 and "host.disk-space" in done.stderr and "are free there" in done.stderr
    assert not (tmp_path / "out").exists() and not list((tmp_path / "state").glob("builds/*"))


def test_places_on_one_disk_share_its_space(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    preflight._require_space({tmp_path / "a": free // 2}, "a build")
    with pytest.raises(HostError, match="a build needs"):
        preflight._require_space({tmp_path / "a": free // 3 * 2, tmp_path / "b": free // 3 * 2}, "a build")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(HostError) as caught:
        preflight._require_writable(tmp_path / "closed" / "below")
    assert caught.value.code == "host.permission"


# -- stores and clouds


@pytest.mark.real
def test_a_bucket_that_can_be_written_and_one_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests import object_store

    (unset,) = services.object_storage()
    assert unset.state == "ok" and "not set up" in unset.found
    with object_store.running(tmp_path / "store") as store:
        object_store.lead_to(store, monkeypatch)
        (found,) = services.object_storage()
        assert found.state == "ok" and "can be written" in found.found
        pending = store.client().list_multipart_uploads(Bucket=object_store.BUCKET)
        assert not pending.get("Uploads") and not store.client().list_objects_v2(Bucket=object_store.BUCKET)["KeyCount"]
        monkeypatch.setenv("FACTORY_S3_BUCKET", "nobodys")
        (found,) = guarded(services.object_storage)
        assert (found.state, found.what) == ("fail", "object storage") and "nobodys" in found.found + found.fix
        monkeypatch.setenv("FACTORY_S3_BUCKET", object_store.BUCKET)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong" * 8)
        (found,) = guarded(services.object_storage)
        assert found.state == "fail" and "wrongwrong" not in str(found)


def test_a_row_of_a_command_that_failed_has_the_line_that_its_hint_points_at() -> None:
    def failing() -> Iterator[Check]:
        factory.run.run(["sh", "-c", f"exit 3 # {'x' * 100}"], reason="to fail")
        yield Check("ok", "", "")

    (found,) = guarded(failing)
    line = f"sh -c 'exit 3 # {'x' * 100}'"
    assert (found.fix, found.command) == (factory.run.RUN_AS, line)
    for width in (None, 60):
        assert page([found], width).splitlines()[-3].strip() == line


def test_a_key_of_a_cloud_that_is_taken_and_one_that_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.magalu_scene import open_scene

    with open_scene(tmp_path, monkeypatch):
        (found,) = services.clouds()
        assert (found.state, found.what) == ("ok", "API of mgc")
        monkeypatch.setenv("MGC_API_KEY", "not-a-key-of-anybody")
        (found,) = services.clouds()
        assert found.state == "fail" and "not-a-key" not in str(found)
        monkeypatch.delenv("MGC_API_KEY")
        monkeypatch.setenv("MGC_CONFIG_DIR", str(tmp_path / "none"))
        (found,) = services.clouds()
        assert found.state == "ok" and "not set up (MGC_API_KEY)" in found.found
