"""Really full and read-only disks, at every stage of a build: one paragraph, the right exit status, nothing half-done.

Root mounts small file systems for it; whoever is not root cannot, and skips those.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from factory import beginning, cache, disk, files, finish, layers, ledger, manifest
from factory.build import Options, _set_aside
from factory.console import Console
from factory.errors import FactoryError, HostError, MachineError, StepFailed
from factory.findings import Findings
from factory.hypervisor import kept_machine
from factory.hypervisor.accelerator import Accelerator
from factory.hypervisor.domain import Disk, MachineSpec
from factory.hypervisor.machine import Machine
from factory.layers import Layer
from factory.workspace import Workspace
from tests import command_line, test_layers
from tests.command_line import TOP, program, run
from tests.test_machine import SCENARIO, told

pytestmark = pytest.mark.real
MIB = 1 << 20
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    with mounted(tmp_path / "small", "size=2m,mode=711") as place:
        yield place


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command_line.own_places(tmp_path, monkeypatch)


def fill(place: Path) -> None:
    with contextlib.suppress(OSError), (place / "filler").open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass


def left(place: Path) -> list[str]:
    return sorted(path.name for path in place.rglob("*") if path.is_file() and path.name != "filler")


# -- known beforehand


@AS_ROOT
@pytest.mark.parametrize("variable", ["FACTORY_STATE", "FACTORY_CACHE", "--output"])
def test_a_build_is_refused_at_once_for_want_of_space(small: Path, tmp_path: Path, variable: str) -> None:
    words = ["--output", small / "out"] if variable == "--output" else ["--output", tmp_path / "out"]
    environment = {} if variable == "--output" else {variable: str(small / "below")}
    done = run("build", "minimal", *map(str, words), **environment)
    assert done.returncode == 3, done.stderr
    assert "host.disk-space" in done.stderr and "Traceback" not in done.stderr
    assert left(small) == []


@AS_ROOT
def test_a_build_is_refused_at_once_where_nothing_can_be_written(tmp_path: Path) -> None:
    with mounted(tmp_path / "ro", "size=2m,ro") as place:
        for words, more in ((["--output", str(place / "out")], {}), ([], {"FACTORY_STATE": str(place / "state")})):
            done = run("build", "minimal", *(words or ["--output", str(tmp_path / "out")]), **more)
            assert done.returncode == 3 and "host.read-only" in done.stderr, done.stderr
            assert "Traceback" not in done.stderr


# -- while it runs


def test_the_cache_takes_all_of_an_entry_or_nothing(small: Path, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(5 * MIB))
    small.chmod(0o700)
    store = cache.Cache(small)
    with pytest.raises(HostError) as caught:
        store.put("base", "debian-12-0", tmp_path / "image", {})
    assert caught.value.code in ("host.cache", "host.disk-full")
    assert "FACTORY_CACHE" in caught.value.hint or "space" in caught.value.hint
    assert left(small) == [] and store.entries() == []
    assert (tmp_path / "image").exists(), "what was made is not lost"


@AS_ROOT
def test_a_cache_that_can_take_no_more_names(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"x")
    with mounted(tmp_path / "few", "size=2m,mode=700,nr_inodes=2") as place:
        with pytest.raises(HostError) as caught:
            cache.Cache(place).put("base", "debian-12-0", tmp_path / "image", {})
        assert caught.value.code == "host.disk-full" and (tmp_path / "image").exists()


def overlay_with_ext4(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "tree").mkdir()
    (folder / "tree" / "file").write_bytes(os.urandom(6 * MIB))
    raw = folder / "disk.raw"
    with raw.open("wb") as file:
        file.truncate(32 * MIB)
    subprocess.run(["sgdisk", "-n", "1:2048:0", raw], check=True, capture_output=True)
    argv: list[str | Path] = ["mke2fs", "-q", "-t", "ext4", "-d", folder / "tree", "-E", f"offset={MIB}", raw, "30000"]
    subprocess.run(argv, check=True, capture_output=True)
    disk.convert(raw, "raw", folder / "disk.qcow2", "qcow2")
    return folder / "disk.qcow2"


@AS_ROOT
@pytest.mark.parametrize("full", ["work", "output"])
def test_shrinking_and_converting_onto_a_full_disk(small: Path, tmp_path: Path, full: str) -> None:
    source = overlay_with_ext4(tmp_path / "source")
    work, output = (small, tmp_path) if full == "work" else (tmp_path, small)
    with pytest.raises(HostError) as caught:
        finish.finish(source, output / "image.qcow2", work, Console.quiet())
    assert caught.value.code == "host.disk-space"
    assert str(small) in caught.value.message
    assert left(small) == [], "what was only begun is removed"


@AS_ROOT
@pytest.mark.parametrize("what", ["manifest", "findings", "sums", "ledger", "secret", "log"])
def test_small_files_on_a_full_disk(small: Path, what: str) -> None:
    fresh = Workspace.create("web", "0" * 8, output=small / "out", state=small / "state")
    fill(small)
    document = Findings.model_validate({"schema": 1, "image": "x" * 9000, "sha256": "0" * 64, "target": "generic"})
    before = left(small)
    with pytest.raises(HostError) as caught:
        match what:
            case "manifest" | "findings":
                manifest.write(fresh.partial / f"{what}.json", document)
            case "sums":
                files.write_whole(fresh.partial / "SHA256SUMS", b"x" * 9000)
            case "ledger":
                fresh.keep("x" * 9000)
            case "secret":
                with fresh.secret(kept_machine.KEY) as file:
                    while os.write(file, b"x" * 9000):
                        pass
            case "log":
                warned: list[str] = []
                console = Console.quiet()
                console.warn = lambda text: warned.append(text)  # type: ignore[method-assign]
                with console.log_to(fresh.partial / "build.log"):
                    for _ in range(2000):
                        console.say("a line of the log that does not fit on the disk any more")
                assert warned and "not complete" in warned[0]
                raise HostError("as it should be", code="host.disk-full")
    assert caught.value.code == "host.disk-full"
    (small / "filler").unlink()
    assert set(left(small)) - set(before) <= {"build.log", kept_machine.KEY}
    fresh.fail()
    assert ledger.entries(small / "state") == []


def test_a_layer_that_does_not_fit_leaves_its_room_to_the_cold_boot(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = cache.Cache()

    def kept(kind: str, size: int) -> cache.Entry:
        (tmp_path / kind).write_bytes(os.urandom(size))
        return store.put(kind, "k" * 64, tmp_path / kind, {})

    layer = Layer(kept("layer", MIB), kept("memory", 3 * MIB), test_layers.identity(), "m" * 36, 4096, 0.0, {})
    given_up: list[FactoryError] = []
    layering = SimpleNamespace(
        start=SimpleNamespace(layer=layer), store=store, give_up=given_up.append, begun=lambda: None
    )
    site = SimpleNamespace(
        base=SimpleNamespace(path=tmp_path / "base"),
        console=Console.quiet(),
        workspace=SimpleNamespace(work=small),
        hypervisor=SimpleNamespace(enclosure=SimpleNamespace(path=Path)),
    )
    cold: list[list[str]] = []

    def boots_cold(*_: object) -> SimpleNamespace:
        cold.append(left(small))
        return SimpleNamespace(guest=SimpleNamespace(close=lambda: None))

    monkeypatch.setattr(beginning, "_booted", boots_cold)
    with beginning.begun(site, layering):  # type: ignore[arg-type]
        pass
    assert cold == [[]] and [error.code for error in given_up] == ["host.cache"]


@AS_ROOT
def test_a_commit_on_a_full_disk_is_all_or_nothing(small: Path) -> None:
    fresh = Workspace.create("web", "0" * 8, output=small / "out", state=small / "state")
    (fresh.partial / "image.qcow2").write_bytes(b"x")
    fill(small)
    try:
        final = fresh.commit()
    except HostError as error:
        assert error.code == "host.disk-full"
        assert not (small / "out/web/latest").exists()
        fresh.fail()
    else:
        assert (small / "out/web/latest").resolve() == final
    assert not list((small / "out/web").glob(".*"))


@AS_ROOT
def test_a_guest_that_fills_the_hosts_disk_is_told_as_such(tmp_path: Path) -> None:
    """QEMU stops such a guest, which then says nothing more: without a look at QEMU it would only seem to hang."""
    with mounted(tmp_path / "state", "size=6m,mode=711"):
        (facts,) = told([*SCENARIO, "fills_its_disk"], tmp_path / "state", tmp_path / "cache")
    assert facts["code"] == "host.disk-full"
    assert facts["alive"] is True
    assert facts["seconds"] < 30


@AS_ROOT
@pytest.mark.parametrize("is_full", [True, False])
def test_a_disk_that_qemu_cannot_write_is_a_lack_of_this_host_when_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_full: bool
) -> None:
    with mounted(tmp_path / "small", "size=24m") as place:
        log = tmp_path / "console-build.log"
        log.touch()
        monkeypatch.setattr(Machine, "alive", True)
        spec = MachineSpec(
            "build", "0" * 8, "52:54:00:00:00:00", 1, log, "tcg", (Disk(tmp_path / "seed.iso", "raw", readonly=True),
            Disk(place / "disk.qcow2", "qcow2")), 1, 1 << 28,
        )  # fmt: skip
        connection = SimpleNamespace(stopped=lambda _: "an error")
        accelerator = Accelerator("tcg", "a test")
        machine = Machine(SimpleNamespace(connection=connection, owner=None, accelerator=accelerator), spec)  # type: ignore[arg-type]
        machine._domain = object()
        if is_full:
            fill(place)
        with pytest.raises(HostError if is_full else MachineError) as caught:
            machine.require_alive()
    assert (caught.value.status, caught.value.code) == (
        (3, "host.disk-full") if is_full else (4, "machine.disk-not-written")
    )
    assert (str(place) in caught.value.cause) is is_full


@AS_ROOT
def test_a_failure_is_told_although_its_machine_cannot_be_kept_on_a_full_disk(small: Path) -> None:
    fresh = Workspace.create("web", "0" * 8, output=small / "out", state=small / "state")
    (fresh.partial / "build.log").write_text("x")
    fill(small)
    error = StepFailed("the step failed", hint="Look at it")
    _set_aside(fresh, Options(keep="on-failure", again=("build", "x" * 9000)), error)
    failed = small / "out" / "web" / f"{fresh.build_id}.failed"
    assert str(error) == f"the step failed. Look at it. Everything is in {failed}."
    assert failed.is_dir() and ledger.entries(small / "state") == []


@AS_ROOT
@pytest.mark.parametrize("way", ["forget", "drop", "trim"])
def test_the_cache_makes_room_where_no_folder_can_be_made(tmp_path: Path, way: str) -> None:
    (tmp_path / "image").write_bytes(b"x")
    with mounted(tmp_path / "few", "size=2m,mode=700,nr_inodes=30") as place:
        store = cache.Cache(place)
        entry = store.put("layer", "k", tmp_path / "image", {})
        with pytest.raises(OSError, match="No space"):
            for number in range(30):
                (place / "locks" / str(number)).mkdir(parents=True)
        match way:
            case "forget":
                layers.forget(store, ["k"])
            case "drop":
                layers.drop(store, SimpleNamespace(disk=entry, memory=entry))  # type: ignore[arg-type]
            case "trim":
                assert store.trim(0) == [entry]
        assert store.entries() == [] and left(place) == []
        assert list((place / "layer").iterdir()) == []


@AS_ROOT
def test_a_cache_that_cannot_be_changed_ends_no_build_that_does_without_it(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"x")
    with mounted(tmp_path / "cache", "size=2m,mode=700") as place:
        store = cache.Cache(place)
        entry = store.put("layer", "k", tmp_path / "image", {})
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        layers.forget(store, ["k"])
        assert store.trim(0) == [] and entry.path.exists()


@AS_ROOT
def test_gc_makes_room_on_a_full_disk(small: Path) -> None:
    key = "debian-12-0123456789abcdef"
    (small / "cache" / "work" / key).mkdir(parents=True)
    (small / "cache").chmod(0o700)
    (small / "cache" / "locks").mkdir()
    (small / "cache" / "locks" / f"base-{key}.lock").touch()
    fill(small)
    done = run("gc", FACTORY_CACHE=str(small / "cache"))
    assert (done.returncode, done.stdout) == (0, f"removed {small / 'cache' / 'work' / key}\n"), done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_result_that_cannot_be_written(unbuffered: str) -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            program("bases", "list"), cwd=TOP, env=environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 3 and "[host.disk-full]" in done.stderr
    assert done.stderr.count("\n") == 1  # one paragraph, and nothing of Python's own


# -- the verbs that read only


@AS_ROOT
@pytest.mark.parametrize("verb", [("plan", "minimal"), ("bases", "list"), ("images", "list"), ("gc",), ("doctor",)])
def test_other_verbs_on_a_full_disk(small: Path, verb: tuple[str, ...]) -> None:
    (small / "state").mkdir(mode=0o711)
    (small / "cache").mkdir(mode=0o700)
    fill(small)
    done = run(*verb, FACTORY_STATE=str(small / "state"), FACTORY_CACHE=str(small / "cache"))
    assert done.returncode in (0, 3), done.stderr
    assert "Traceback" not in done.stderr
    assert TOP.exists()
