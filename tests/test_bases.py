"""Base images: the catalogue, what a recipe's ``base:`` means, and when a base is made again."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from factory import base_definition, bases
from factory.bases import Base, Definition, obtain, resolve
from factory.cache import Cache
from factory.console import Console
from factory.errors import BaseError, HostError, UsageError

real = pytest.mark.real
PIN = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("FACTORY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# -- the catalogue ---------------------------------------------------------------------------------------------------


def test_the_catalogue_has_the_promised_names() -> None:
    assert bases.names() == [
        *("debian-11", "debian-12", "debian-13", "debian-12-genericcloud", "debian-13-genericcloud"),
        *("ubuntu-22.04", "ubuntu-24.04", "rocky-9", "oraclelinux-9", "fedora", "opensuse-leap"),
    ]


@pytest.mark.parametrize("definition", bases.catalogue(), ids=lambda definition: definition.name)
def test_every_entry_is_complete(definition: Definition) -> None:
    assert definition.kind in bases.kinds()
    assert definition.architecture == "x86_64"
    assert definition.title
    assert definition.verified
    assert definition.default_user
    assert definition.distribution
    assert definition.release
    assert set(definition.boot) <= {"bios", "uefi"}
    if definition.kind == "scratch":
        assert definition.suite
        assert definition.max_age == 7 * 86400
        return
    for address in (definition.url, definition.checksums, definition.signature):
        assert not address or address.startswith("https://")
    if definition.sha256 or definition.sha512:
        assert re.fullmatch(r"[0-9a-f]{64}", definition.sha256) or re.fullmatch(r"[0-9a-f]{128}", definition.sha512)
        assert definition.url
        assert definition.max_age is None  # the bytes are pinned: fetching them again changes nothing
    else:
        assert definition.checksums
        assert definition.signature
        assert re.fullmatch(r"[0-9A-F]{40}", definition.fingerprint)
        assert definition.keyrings
        assert definition.key_package
        assert definition.url or definition.image


def test_every_kind_is_whole() -> None:
    """Each module of the folder has what the catalogue needs of it; read, not imported: scratch needs libvirt."""
    for kind in bases.kinds():
        tree = ast.parse((base_definition.FOLDER / f"{kind}.py").read_text())
        assert ast.get_docstring(tree)
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert [argument.arg for argument in functions["build"].args.args] == ["definition", "destination"]
        assert {argument.arg for argument in functions["build"].args.kwonlyargs} >= {"work", "console"}
        names = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}  # type: ignore[attr-defined]
        assert "FORMAT" in names


@pytest.mark.parametrize(
    ("entry", "words"),
    [({"kynd": "scratch"}, "unknown kynd"), ({"kind": "file", "path": "/x"}, "path"), ({"max_age": "soon"}, "max_age")],
)
def test_a_typo_in_the_catalogue_cannot_hide(entry: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        base_definition._definition("x", {"kind": "scratch", **entry})


# -- names and paths -------------------------------------------------------------------------------------------------


def test_a_name() -> None:
    found = resolve("debian-12")
    assert (found.kind, found.suite, found.pin) == ("scratch", "bookworm", "")


def test_a_pinned_name() -> None:
    found = resolve(f"debian-12@sha256:{PIN.upper()}")
    assert (found.name, found.pin) == ("debian-12", PIN)


@pytest.mark.parametrize(
    "reference",
    ["debian-12@", "debian-12@sha256:", "debian-12@sha256:abc", f"debian-12@sha512:{PIN}", f"debian-12@{PIN}", "@"],
)
def test_a_pin_that_is_none(reference: str) -> None:
    with pytest.raises(UsageError, match="pinned in a way") as caught:
        resolve(reference)
    assert caught.value.code == "base.pin"


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("debian12", "debian-12"), ("debian-14", "debian-1"), ("ubuntu-24.4", "ubuntu-24.04"), ("fedora-44", "fedora")],
)
def test_a_misspelt_name(wrong: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"there is no base '{wrong}'") as caught:
        resolve(wrong)
    assert f"Perhaps {meant}" in caught.value.cause
    assert "opensuse-leap" in caught.value.hint
    assert caught.value.status == 2


def test_a_name_like_none() -> None:
    with pytest.raises(UsageError, match="there is no base") as caught:
        resolve("windows")
    assert caught.value.cause == ""
    with pytest.raises(UsageError):
        resolve("")


def test_paths_are_looked_for_where_the_recipe_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, current = tmp_path / "recipes/x", tmp_path / "current"
    folder.mkdir(parents=True)
    current.mkdir()
    monkeypatch.chdir(current)
    for place in (current, folder.parent, folder):
        (place / "base.qcow2").touch()
        assert resolve("base.qcow2", folder).path == place / "base.qcow2"
        assert resolve("./base.qcow2", folder).path == place / "base.qcow2"
    assert resolve("./base.qcow2").path == current / "base.qcow2"
    assert resolve(str(folder / "base.qcow2")).path == folder / "base.qcow2"
    found = resolve(f"../current/base.qcow2@sha256:{PIN}")
    assert (found.kind, found.pin, found.max_age) == ("file", PIN, None)
    (current / "a@b.qcow2").touch()
    assert resolve("./a@b.qcow2").path == current / "a@b.qcow2"


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.qcow2 is not there") as caught:
        resolve("images/absent.qcow2", tmp_path / "recipes/x")
    assert str(tmp_path / "recipes/images/absent.qcow2") in caught.value.cause
    for name in (f"{tmp_path}/", "~nobody-knows/x", "a/" + "b" * 5000, "a/\0"):
        with pytest.raises(UsageError, match="is not there"):
            resolve(name)


def test_what_decides_the_image_decides_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Definition(name="x", kind="download", url="https://a/x", sha256="0" * 64)
    assert one.key.startswith("x-")
    for change in ({"title": "t"}, {"verified": "v"}, {"max_age": 1}, {"pin": PIN}, {"keyrings": ("/k",)}):
        assert replace(one, **change).key == one.key
    for other in ({"url": "https://b/x"}, {"sha256": "1" * 64}, {"default_user": "u"}, {"boot": ("bios",)}):
        assert replace(one, **other).key != one.key
    monkeypatch.setattr(base_definition, "FORMAT", 99)
    assert one.key != Definition(name="x", kind="download").key


def test_age_in_words() -> None:
    words = [bases.age(seconds) for seconds in (5, 60, 3599, 7200, 86400, 9.5 * 86400)]
    assert words == ["less than a minute", "1 minute", "59 minutes", "2 hours", "1 day", "9 days"]


# -- files of this host ----------------------------------------------------------------------------------------------


@pytest.fixture
def qcow2(tmp_path: Path) -> Path:
    """A small qcow2 image with some content."""
    raw, image = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    raw.write_bytes(boot_sector() + os.urandom(1 << 20))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image], check=True)
    return image


def boot_sector() -> bytes:
    sector = bytearray(512)
    sector[446:462] = bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0]) + (1).to_bytes(4, "little") + (2048).to_bytes(4, "little")
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def get(reference: str, **options: Any) -> Base:
    return obtain(resolve(reference), console=Console.quiet(), **options)


@real
def test_a_file_is_copied_into_the_cache(qcow2: Path) -> None:
    content = qcow2.read_bytes()
    base = get(str(qcow2))
    assert base.path.read_bytes() == content
    assert base.kind == "file"
    assert base.facts["format"] == "qcow2"
    assert base.facts["checksum"] == f"sha256:{base.sha256}"
    assert base.facts["virtual_size"] == (1 << 20) + 512
    assert str(qcow2.parent) not in json.dumps(dict(base.facts))  # a path can name a person
    qcow2.write_bytes(b"edited later")
    assert base.path.read_bytes() == content


@real
def test_a_file_is_copied_once(qcow2: Path) -> None:
    first = get(str(qcow2))
    assert not first.cached
    again = get(str(qcow2), offline=True)
    assert again.cached
    assert again.path == first.path


@real
def test_a_file_that_changed_is_another_base(qcow2: Path) -> None:
    first = get(str(qcow2))
    with qcow2.open("r+b") as file:
        file.seek(-512, os.SEEK_END)
        file.write(b"changed")
    second = get(str(qcow2))
    assert not second.cached
    assert second.sha256 != first.sha256


@real
def test_the_digest_of_a_file_is_held_to(qcow2: Path) -> None:
    base = get(str(qcow2))
    assert get(f"{qcow2}@sha256:{base.sha256}").path == base.path
    with pytest.raises(BaseError, match=f"is pinned to sha256:{PIN}") as caught:
        get(f"{qcow2}@sha256:{PIN}")
    assert caught.value.code == "base.pin-mismatch"
    assert caught.value.status == 4
    assert base.sha256 in str(caught.value)


@real
def test_the_format_is_what_the_content_says(qcow2: Path, tmp_path: Path) -> None:
    misnamed = tmp_path / "disk.raw"
    misnamed.write_bytes(qcow2.read_bytes())
    assert get(str(misnamed)).facts["format"] == "qcow2"
    raw = tmp_path / "really.qcow2"
    raw.write_bytes(boot_sector() + bytes(1 << 20))
    base = get(str(raw))
    assert base.facts["format"] == "raw"
    assert base.path.read_bytes()[:4] == b"QFI\xfb"


@real
@pytest.mark.parametrize("name", ["json:{}.qcow2", "nbd:localhost:1.qcow2", "-f.qcow2", "a,b=c.qcow2", "ü ß\n.qcow2"])
def test_names_that_look_like_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(boot_sector() + bytes(1 << 20))
    assert get(name).facts["format"] == "raw"


@real
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw"], "unsafe qcow2"),
        (["-f", "qcow2", "-o", "data_file=data.raw,data_file_raw=on"], "unsafe qcow2"),
        (["-f", "vmdk", "-o", "subformat=monolithicFlat"], "no disk image|unsafe vmdk"),
        (["-f", "qed"], "no disk image"),
    ],
)
def test_images_that_need_other_files(tmp_path: Path, argv: list[str], words: str) -> None:
    subprocess.run(["qemu-img", "create", "-q", *argv, "disk.img", "1M"], check=True, cwd=tmp_path)
    with pytest.raises(UsageError, match=words) as caught:
        get(str(tmp_path / "disk.img"))
    assert caught.value.status == 2
    assert caught.value.hint
    assert Cache().entries() == []


@real
def test_an_encrypted_image(qcow2: Path) -> None:
    with qcow2.open("r+b") as file:  # as qemu-img marks it; making a real one takes seconds of key stretching
        file.seek(32)
        file.write(b"\0\0\0\1")
    with pytest.raises(UsageError, match="encrypted"):
        get(str(qcow2))


@pytest.mark.parametrize("content", [b"", b"text", bytes(1 << 16), b"QFI\xfb" + b"\xff" * 200, b"KDMV" * 300])
def test_files_that_are_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "disk.qcow2").write_bytes(content)
    with pytest.raises(UsageError):
        get(str(tmp_path / "disk.qcow2"))


@real
def test_a_file_that_changes_while_it_is_copied(qcow2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory import copying
    from factory.bases import file

    copy = copying.clone_file

    def slow_copy(source: Path, destination: Path, **options: Any) -> None:
        copy(source, destination, **options)
        os.utime(source)

    monkeypatch.setattr(file, "clone_file", slow_copy)
    with pytest.raises(UsageError, match="was changed while"):
        get(str(qcow2))
    assert Cache().entries() == []


@real
def test_no_room_for_the_copy(qcow2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory.bases import file

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file, "clone_file", full)
    with pytest.raises(HostError, match="cannot be copied") as caught:
        get(str(qcow2))
    assert caught.value.status == 3
    assert list(Cache().folder("work").iterdir()) == []


# -- when a base is made again ---------------------------------------------------------------------------------------


class Kind(ModuleType):
    """A kind of base that makes a new image each time, as ``scratch`` does, but in no time."""

    FORMAT = 1

    def __init__(self) -> None:
        super().__init__("kind")
        self.made: list[dict[str, Any]] = []
        self.fault: Exception | None = None
        self.on_build: Callable[[Path], None] = lambda work: None

    def build(self, definition: Definition, destination: Path, *, work: Path, console: Console, **options: Any) -> Any:
        self.made.append(options)
        self.on_build(work)
        if self.fault:
            raise self.fault
        destination.write_bytes(b"QFI\xfb" + os.urandom(60))
        return {"packages": [{"name": "bash"}], "number": len(self.made)}


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> Kind:
    """The kind ``scratch``, replaced by a quick one: when it is made is what these tests are about."""
    made = Kind()
    monkeypatch.setattr(base_definition, "kind_module", lambda name: made)
    monkeypatch.setattr(bases, "kind_module", lambda name: made)
    return made


def grow_old(days: float) -> None:
    for path in Cache().root.glob("base/*/*/entry.json"):
        record = json.loads(path.read_text())
        record["created"] = (datetime.now(UTC) - timedelta(days=days)).isoformat()
        path.write_text(json.dumps(record))


class Told(Console):
    """Remembers its warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_a_base_is_made_once(kind: Kind) -> None:
    first = get("debian-12", accelerator="tcg")
    second = get("debian-12", accelerator="tcg")
    assert kind.made == [{"accelerator": "tcg"}]
    assert (first.cached, second.cached) == (False, True)
    assert first.path == second.path
    assert first.facts["default_user"] == "debian"
    assert first.facts["packages"] == [{"name": "bash"}]
    assert first.facts["boot"] == ["bios", "uefi"]
    assert first.reference == f"debian-12@sha256:{first.sha256}"
    assert second.why == "made less than a minute ago"
    assert first.path.stat().st_mode & 0o222 == 0
    assert list(Cache().folder("work").iterdir()) == []


def test_another_definition_is_another_base(kind: Kind) -> None:
    get("debian-12")
    get("debian-13")
    obtain(replace(resolve("debian-12"), suite="sid"), console=Console.quiet())
    kind.FORMAT = 2
    get("debian-12")
    assert len(kind.made) == 4


def test_an_old_base_is_made_again(kind: Kind) -> None:
    first = get("debian-12")
    grow_old(6.9)
    assert get("debian-12").path == first.path
    grow_old(7.1)
    assert get("debian-12").path != first.path
    assert len(kind.made) == 2


def test_an_old_base_is_accepted_when_asked(kind: Kind) -> None:
    first = get("debian-12")
    grow_old(9)
    base = get("debian-12", accept_stale=True)
    assert base.path == first.path
    assert base.why == "made 9 days ago, accepted as it is"


def test_updating_makes_a_young_base_again(kind: Kind) -> None:
    get("debian-12")
    assert get("debian-12", update=True).facts["number"] == 2
    with pytest.raises(UsageError, match="exclude"):
        get("debian-12", update=True, offline=True)


def test_a_base_that_is_pinned_by_its_definition_never_grows_old(kind: Kind) -> None:
    first = get("fedora")
    grow_old(900)
    assert get("fedora").path == first.path


def test_offline_uses_what_is_there(kind: Kind) -> None:
    first = get("debian-12")
    assert get("debian-12", offline=True).path == first.path
    grow_old(30)
    console = Told()
    assert obtain(resolve("debian-12"), offline=True, console=console).path == first.path
    assert len(console.warnings) == 1
    assert "30 days" in console.warnings[0]
    assert len(kind.made) == 1


def test_offline_without_a_base(kind: Kind) -> None:
    with pytest.raises(BaseError, match="is not in the cache") as caught:
        get("debian-12", offline=True)
    assert caught.value.code == "base.offline"
    assert "factory bases build debian-12" in caught.value.hint
    assert kind.made == []


def test_a_pinned_base_never_grows_old(kind: Kind) -> None:
    first = get("debian-12")
    newer = get("debian-12", update=True)
    grow_old(90)
    base = get(f"debian-12@sha256:{first.sha256}")
    assert base.path == first.path
    assert base.path != newer.path
    assert base.why == "pinned"
    assert get(f"debian-12@sha256:{first.sha256}", offline=True).path == first.path


def test_a_pinned_base_that_is_not_there(kind: Kind) -> None:
    with pytest.raises(BaseError, match="and is not in this cache") as caught:
        get(f"debian-12@sha256:{PIN}")
    assert caught.value.code == "base.pin-mismatch"
    assert kind.made == []  # minutes of building could not change it
    now = get("debian-12")
    with pytest.raises(BaseError, match="but is sha256:") as caught:
        get(f"debian-12@sha256:{PIN}")
    assert now.sha256 in caught.value.hint
    with pytest.raises(BaseError, match="not in the cache"):
        get(f"debian-12@sha256:{PIN}", offline=True)


def test_a_failure_names_the_old_base(kind: Kind) -> None:
    get("debian-12")
    grow_old(9)
    kind.fault = BaseError("the archive did not answer", hint="Check the network", code="base.archive-unreachable")
    with pytest.raises(BaseError) as caught:
        get("debian-12")
    assert caught.value.hint == "Check the network. --accept-stale uses the one made 9 days ago"
    assert caught.value.code == "base.archive-unreachable"
    assert get("debian-12", accept_stale=True).cached
    assert list(Cache().folder("work").iterdir()) == []


def test_a_failure_without_an_old_base(kind: Kind) -> None:
    kind.fault = HostError("no mmdebstrap", hint="Install it")
    with pytest.raises(HostError) as caught:
        get("debian-12")
    assert caught.value.hint == "Install it"
    assert Cache().entries() == []


def test_what_a_killed_process_left_is_cleared(kind: Kind) -> None:
    left = Cache().folder("work") / resolve("debian-12").key
    left.mkdir()
    (left / "disk.raw").touch()
    seen: list[list[Path]] = []
    kind.on_build = lambda work: seen.append(list(work.iterdir()))
    get("debian-12")
    assert seen == [[]]


def test_a_damaged_base_is_made_again(kind: Kind) -> None:
    base = get("debian-12")
    base.path.chmod(0o644)
    base.path.write_bytes(b"damaged")
    console = Told()
    assert obtain(resolve("debian-12"), console=console).facts["number"] == 2
    assert "does not match its sha256" in console.warnings[0]


def test_builds_side_by_side_make_one_base(kind: Kind) -> None:
    kind.on_build = lambda work: time.sleep(0.5)
    found: list[Base] = []
    threads = [threading.Thread(target=lambda: found.append(get("debian-12"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(kind.made) == 1
    assert len({base.path for base in found}) == 1
    assert sum(not base.cached for base in found) == 1


def test_updates_side_by_side_make_one_base(kind: Kind) -> None:
    get("debian-12")
    kind.on_build = lambda work: time.sleep(0.5)
    threads = [threading.Thread(target=lambda: get("debian-12", update=True)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(kind.made) == 2


def test_the_limit_of_the_cache_is_kept(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    first = get("debian-12")
    os.utime(first.path.parent, (0, 0))
    monkeypatch.setenv("FACTORY_CACHE_LIMIT", "100")
    second = get("debian-13")
    assert not first.path.exists()
    assert second.path.exists()


def test_what_the_cache_has(kind: Kind) -> None:
    assert bases.cached(resolve("debian-12")) is None
    made = get("debian-12")
    grow_old(9)
    found = bases.cached(resolve("debian-12"))
    assert found
    assert (found.path, found.sha256, found.size) == (made.path, made.sha256, 64)
    assert found.why == "made 9 days ago"
    assert not bases.fresh(resolve("debian-12"), found.entry)


def test_reaping_leaves_living_processes_alone(kind: Kind) -> None:
    seen: list[list[Path]] = []
    dead = Cache().folder("work") / "debian-9-0123456789abcdef"
    dead.mkdir()
    kind.on_build = lambda work: seen.append(bases.reap(Console.quiet()))
    get("debian-12")
    assert seen == [[dead]]
    assert bases.reap(Console.quiet()) == []


def test_names_load_nothing_heavy() -> None:
    """``factory validate`` asks for the names: that may not load HTTP, disk or machine libraries."""
    code = """
        import sys
        from factory import bases
        bases.resolve("debian-12")
        heavy = {"requests", "urllib3", "oslo_utils", "libvirt", "filelock", "paramiko", "pydantic"} & set(sys.modules)
        print(sorted(heavy))
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=True)
    assert done.stdout == "[]\n"
