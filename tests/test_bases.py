"""Base images: the catalogue, what a recipe's ``base:`` means, and when a base is made again."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from factory import base_definition, bases
from factory.bases import Definition, resolve
from factory.errors import UsageError

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
