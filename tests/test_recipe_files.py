"""The recipe's own files: what a copy takes, what it refuses, and the digest over all of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from factory.errors import RecipeError
from factory.recipe import Recipe, copied, fill
from factory.recipe.files import FileFault, pieces
from factory.recipe.steps import CopyStep
from tests.recipe_files import HEAD, PUBLIC_KEY, faults, load, write

COPY_ALL = "provision: [{copy: {source: site, destination: /srv/www}}]\n"


def copies(root: Path, more: str) -> list[tuple[str, bool, int]]:
    recipe = load(root, more)
    step = recipe.provision[0]
    assert isinstance(step, CopyStep)
    return [(one.destination, one.folder, one.mode) for one in copied(recipe, step)]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder to copy: a page, a program, an empty folder and a link to a file beside them."""
    write(tmp_path, HEAD, {"site/index.html": "x", "site/bin/run": "#!/bin/sh\n", "shared.txt": "shared"})
    folder = tmp_path / "recipes" / "web" / "site"
    (folder / "bin" / "run").chmod(0o700)
    (folder / "index.html").chmod(0o666)
    (folder / "empty").mkdir()
    (folder / "link.txt").symlink_to("../shared.txt")
    return folder


def test_a_folder_is_copied_with_modes_that_no_umask_changes(site: Path, tmp_path: Path) -> None:
    assert copies(tmp_path, COPY_ALL) == [
        ("/srv/www", True, 0o755),
        ("/srv/www/bin", True, 0o755),
        ("/srv/www/bin/run", False, 0o755),
        ("/srv/www/empty", True, 0o755),
        ("/srv/www/index.html", False, 0o644),
        ("/srv/www/link.txt", False, 0o644),
    ]


def test_a_mode_is_for_every_file_and_folders_can_be_entered(site: Path, tmp_path: Path) -> None:
    found = copies(tmp_path, COPY_ALL.replace("}}", ", mode: 0640}}"))
    assert {mode for _, folder, mode in found if folder} == {0o750}
    assert {mode for _, folder, mode in found if not folder} == {0o640}


def test_into_the_root_and_with_a_slash_at_the_end(site: Path, tmp_path: Path) -> None:
    assert copies(tmp_path, COPY_ALL.replace("/srv/www", "/"))[:2] == [("/", True, 0o755), ("/bin", True, 0o755)]
    assert copies(tmp_path, COPY_ALL.replace("/srv/www", "/srv/"))[1][0] == "/srv/bin"
    assert copies(tmp_path, COPY_ALL.replace("site", "site/index.html")) == [("/srv/www", False, 0o644)]


def test_links_are_followed_to_their_content(site: Path, tmp_path: Path) -> None:
    recipe = load(tmp_path, COPY_ALL)
    step = recipe.provision[0]
    assert isinstance(step, CopyStep)
    link = next(one for one in copied(recipe, step) if one.destination.endswith("link.txt"))
    assert link.content({}) == b"shared"
    assert not link.source.is_symlink()


def test_only_templates_are_filled(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a": "é @name@ @@ a@b.c @name @", "b": b"\xff@name@"}
    recipe = load(
        tmp_path,
        "variables: {name: {default: '@name@ $x {{ y }}'}}\nprovision:\n"
        "  - copy: {source: a, destination: /a, template: true}\n  - copy: {source: b, destination: /b}\n",
        files,
    )
    contents = [
        one.content(recipe.values)
        for step in recipe.provision
        if isinstance(step, CopyStep)
        for one in copied(recipe, step)
    ]
    assert contents == ["é @name@ $x {{ y }} @@ a@b.c @name @".encode(), b"\xff@name@"]


def test_filling_is_one_pass_and_strict() -> None:
    assert fill("@a@@b@ @A@ @a b@", {"a": "@b@", "b": "2"}) == "@b@2 @A@ @a b@"
    assert fill("@at@word@at@", {"at": "@"}) == "@word@"
    with pytest.raises(KeyError):
        fill("@nothing@", {})


@pytest.mark.parametrize("target", ["../../../outside", "/etc/passwd", "..", "nowhere", "loop"])
def test_a_link_that_leaves_the_folder_or_leads_nowhere_is_a_fault(site: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").write_text("secret")
    (site / "loop").symlink_to(target)
    found = faults(tmp_path, COPY_ALL)
    assert len(found) == 1
    assert found[0].path == "provision[0].copy.source"
    assert "'site/loop'" in found[0].message


def test_the_source_itself_may_not_be_such_a_link_either(tmp_path: Path) -> None:
    write(tmp_path, HEAD, {"a": ""})
    (tmp_path / "outside").write_text("secret")
    for name in ("out.sh", "key.asc"):
        (tmp_path / "recipes" / "web" / name).symlink_to(tmp_path / "outside")
    more = "provision: [{copy: {source: out.sh, destination: /x}}, {shell: {script: out.sh}}]\n"
    assert ["leads out of" in fault.message for fault in faults(tmp_path, more)] == [True, True]


def test_a_recipe_folder_that_is_itself_a_link_is_fine(tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    real.mkdir()
    (real / "a").write_text("a")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "web").symlink_to(real)
    assert copies(tmp_path, "provision: [{copy: {source: a, destination: /a}}]\n") == [("/a", False, 0o644)]


def test_what_is_neither_file_nor_folder_is_a_fault(site: Path, tmp_path: Path) -> None:
    os.mkfifo(site / "pipe")
    assert ["neither a file nor a folder" in fault.message for fault in faults(tmp_path, COPY_ALL)] == [True]


def test_a_link_to_a_folder_is_not_copied(site: Path, tmp_path: Path) -> None:
    (site / "again").symlink_to("bin")
    assert ["is a link to a folder" in fault.message for fault in faults(tmp_path, COPY_ALL)] == [True]


def test_a_name_that_is_no_text_is_a_fault(site: Path, tmp_path: Path) -> None:
    os.close(os.open(os.fsencode(site) + b"/\xff\x1b", os.O_CREAT))
    found = faults(tmp_path, COPY_ALL)
    assert len(found) == 1
    assert str(found[0]).isprintable()


def test_too_many_files_are_a_fault(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.recipe.files.MAX_PIECES", 5)
    assert ["more than 5 files" in fault.message for fault in faults(tmp_path, COPY_ALL)] == [True]


def test_without_a_folder_the_fault_says_where_files_lie(tmp_path: Path) -> None:
    found = faults(tmp_path, COPY_ALL)
    assert found[0].suggestion == "the recipe's own files lie in web/ beside it, and there is no such folder"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_a_fault(site: Path, tmp_path: Path) -> None:
    (site / "index.html").chmod(0)
    assert ["Permission denied" in fault.message for fault in faults(tmp_path, COPY_ALL)] == [True]


def test_a_file_that_went_away_since_is_a_recipe_error_on_its_line(site: Path, tmp_path: Path) -> None:
    recipe = load(tmp_path, COPY_ALL)
    step = recipe.provision[0]
    assert isinstance(step, CopyStep)
    for path in sorted(site.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    site.rmdir()
    with pytest.raises(FileFault):
        pieces(recipe.folder, "site")
    for act in (lambda: copied(recipe, step), recipe.digest):
        with pytest.raises(RecipeError) as caught:
            act()
        assert caught.value.faults[0].line == 5


DIGESTED = """description: a recipe
variables: {greeting: {default: hello}, token: {secret: true}}
repositories: [{uri: 'https://h/x', suite: s/, key: k.asc, fingerprint: 7A0070A08D4656A269F0D635E44F98ED36981A37}]
provision:
  - copy: {source: site, destination: /x}
  - shell: {script: run.sh}
properties: {a: b, c: d}
"""


def digested(root: Path, more: str = DIGESTED, **settings: str) -> Recipe:
    write(root, HEAD, {"site/a": "1", "site/b/c": "2", "run.sh": "echo\n", "k.asc": PUBLIC_KEY, "unused": "x"})
    return load(root, more, settings={"token": "t"} | settings)


def test_the_digest_is_64_hex_digits_and_the_same_elsewhere(tmp_path: Path) -> None:
    first = digested(tmp_path / "one").digest()
    assert len(first) == 64
    assert int(first, 16)
    assert digested(tmp_path / "two").digest() == first


def test_how_it_is_written_does_not_change_the_digest(tmp_path: Path) -> None:
    first = digested(tmp_path).digest()
    other = "# a comment\ndisk: 4096MiB\nupgrade: security\nmachine: {}\n" + DIGESTED.replace(
        "{a: b, c: d}", "\n  c: d\n  a: 'b'"
    ).replace("{script: run.sh}", "{script: run.sh, timeout: 60m}")
    assert digested(tmp_path, other).digest() == first
    (tmp_path / "recipes" / "web" / "unused").write_text("y")
    assert digested(tmp_path).digest() == first


def test_the_value_of_a_secret_is_not_in_the_digest_but_others_are(tmp_path: Path) -> None:
    first = digested(tmp_path).digest()
    assert digested(tmp_path, token="another").digest() == first
    assert digested(tmp_path, greeting="bye").digest() != first
    assert digested(tmp_path, greeting="hello").digest() == first


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a recipe", "another"),
        ("/x}", "/y}"),
        ("script: run.sh", "script: run.sh, refresh: always"),
        ("c: d", "c: e"),
        ("  - shell: {script: run.sh}\n", ""),
        ("provision:\n", "provision:\n  - shell: {script: run.sh}\n"),
        ("{default: hello}", "{default: hello2}"),
        ("description", "upgrade: all\ndescription"),
        ("description", "cloud_init: {a: 1}\ndescription"),
        ("description", "test: [{port: 80}]\ndescription"),
    ],
)  # fmt: skip
def test_what_it_means_changes_the_digest(tmp_path: Path, old: str, new: str) -> None:
    first = digested(tmp_path).digest()
    assert DIGESTED.replace(old, new) != DIGESTED
    assert digested(tmp_path, DIGESTED.replace(old, new)).digest() != first


def test_a_typed_value_of_cloud_init_differs_from_its_text(tmp_path: Path) -> None:
    digests = {
        digested(tmp_path, DIGESTED + f"cloud_init: {{a: {value}}}\n").digest() for value in ("1", "'1'", "true")
    }
    assert len(digests) == 3


def test_files_change_the_digest_by_content_name_and_executable_bit(tmp_path: Path) -> None:
    recipe = digested(tmp_path)
    folder = recipe.folder
    seen = {recipe.digest()}

    def changed() -> bool:
        size = len(seen)
        seen.add(recipe.digest())
        return len(seen) > size

    (folder / "site" / "a").write_text("9")
    assert changed()
    (folder / "site" / "a").rename(folder / "site" / "aa")  # still the first
    assert changed()
    (folder / "site" / "aa").rename(folder / "site" / "z")
    assert changed()
    (folder / "site" / "z").chmod(0o755)
    assert changed()
    (folder / "site" / "z").chmod(0o700)
    assert not changed()
    (folder / "site" / "new").mkdir()
    assert changed()
    (folder / "run.sh").write_text("echo 2\n")
    assert changed()
    (folder / "k.asc").write_text(PUBLIC_KEY + "\n")
    assert changed()
