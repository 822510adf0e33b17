"""Every mistake in a recipe is a fault on its line, under its path, in words that say what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory import targets
from factory.errors import Fault
from factory.recipe import validate
from tests.recipe_files import HEAD, PUBLIC_KEY, blocks, faults, write

FILES: dict[str, str | bytes] = {
    "index.html": "<h1>@greeting@</h1>\n",
    "bad.html": "a\nb @greting@ c @other@\n@other@\n",
    "logo.png": b"\x89PNG\xff\xfe",
    "site/a.html": "a",
    "site/b/c.html": "line one\n@unknown@\n",
    "run.sh": "echo hi\n",
    "empty.sh": "",
    "k.asc": PUBLIC_KEY,
    "secret.asc": PUBLIC_KEY.replace("PUBLIC", "PRIVATE"),
}


@pytest.fixture(autouse=True)
def two_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clouds are known, whatever the factory knows today."""
    monkeypatch.setattr(targets, "names", lambda: ["mgc", "oci"])


RIGHT = blocks("recipe_right.txt")
WRONG = [block.split("=> ") for block in blocks("recipe_faults.txt")]
"""What stands from line 5 on, and then each fault."""


@pytest.mark.parametrize("more", RIGHT)
def test_this_is_right(tmp_path: Path, more: str) -> None:
    write(tmp_path, HEAD + more, FILES)
    assert validate(["web"], root=tmp_path) == []


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[0][:50])
def test_this_is_wrong_and_said_so(tmp_path: Path, case: list[str]) -> None:
    more, *said = case
    assert said
    found = [str(fault).removeprefix("recipes/web.yaml:") for fault in faults(tmp_path, more, FILES)]
    assert found == [line.rstrip("\n") for line in said]


NOT_OURS = "debian, ubuntu and what is like them, not for rocky-9"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "repositories: [{uri: https://x.example/deb, suite: ./}]\nprovision:\n  - packages: [nginx]\n",
            [
                f"4: base: updates are for {NOT_OURS} (write upgrade: none)",
                f"5: repositories[0]: is for {NOT_OURS} (install with a shell step)",
                f"7: provision[0].packages: is for {NOT_OURS} (install with a shell step)",
            ],
        ),
        ("upgrade: all\n", [f"5: upgrade: updates are for {NOT_OURS} (write upgrade: none)"]),
        ("upgrade: none\nprovision:\n  - shell: dnf -y install nginx\n", []),
    ],
)
def test_a_base_without_a_package_system_of_ours_is_told_before_it_boots(
    tmp_path: Path, more: str, said: list[str]
) -> None:
    write(tmp_path, HEAD.replace("debian-12", "rocky-9") + more, FILES)
    found = [str(fault).removeprefix("recipes/web.yaml:") for fault in validate(["web"], root=tmp_path)]
    assert found == said


# The four fields of the head, each wrong in its way.
HEADS: list[tuple[str, str, int, str, str, str]] = [
    ("schema: 1", "schema: 2", 1, "schema", "must be 1, not 2", ""),
    ("schema: 1\n", "", 1, "", "'schema' is missing", "write schema: 1"),
    ("name: web\n", "", 1, "", "'name' is missing", "such as name: nginx"),
    ("version: 1.0.0\n", "", 1, "", "'version' is missing", "such as version: 1.0.0"),
    ("base: debian-12\n", "", 1, "", "'base' is missing", "such as base: debian-12"),
    ("name: web", "nmae: web", 2, "nmae", "unknown key 'nmae'", "did you mean 'name'?"),
    ("name: web", "name: other", 2, "name", "is 'other', but the file is 'web.yaml'", "both the same name"),
    ("name: web", "name: a/b", 2, "name", "must be lower-case letters", "it is a name, not a path"),
    ("name: web", "name: Web", 2, "name", "must be lower-case letters", "write 'web'"),
    ("name: web", "name: -web", 2, "name", "must be lower-case letters", ""),
    ("name: web", "name: " + "a" * 64, 2, "name", "must be lower-case letters", ""),
    ("name: web", "name:", 2, "name", "has no value", ""),
    ("name: web", 'name: "web\\n"', 2, "name", "must be lower-case letters", ""),
    ("version: 1.0.0", "version: 1/0", 3, "version", "must be letters, digits", ""),
    ("version: 1.0.0", "version: -1", 3, "version", "must be letters, digits", ""),
    ("version: 1.0.0", "version: [1]", 3, "version", "must be text, not a list", ""),
    ("debian-12", "debain-12", 4, "base", "there is no base 'debain-12'", "debian-12"),
    ("debian-12", "debian-12@sha256:abc", 4, "base", "must be a base image's name", ""),
    ("debian-12", "./no.qcow2", 4, "base", "is not there", "no.qcow2"),
    ("debian-12", "Debian 12", 4, "base", "must be a base image's name", ""),
]


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "message", "suggestion"), HEADS, ids=lambda value: str(value)[:30]
)
def test_one_mistake_in_a_required_field_is_one_fault(
    tmp_path: Path, old: str, new: str, line: int, path: str, message: str, suggestion: str
) -> None:
    write(tmp_path, HEAD.replace(old, new))
    found = validate(["web"], root=tmp_path)
    assert len(found) == 1, found
    assert (found[0].line, found[0].path) == (line, path)
    assert message in found[0].message
    assert suggestion.lower() in found[0].suggestion.lower()


def test_a_base_may_be_pinned_or_a_file_beside_the_recipe(tmp_path: Path) -> None:
    for base in (
        f"debian-12@sha256:{'0f' * 32}",
        "./disk.qcow2",
        str(tmp_path / "recipes/web/disk.qcow2"),
        "disk.qcow2",
    ):
        write(tmp_path, HEAD.replace("debian-12", base), {"disk.qcow2": b"QFI\xfb"})
        assert validate(["web"], root=tmp_path) == []


def test_ten_mistakes_are_ten_faults_in_the_order_of_the_lines(tmp_path: Path) -> None:
    more = """disk: 4G
machine: {cpus: none}
upgrade: sometimes
provision:
  - packages: [-x]
  - copy: {source: nothing, destination: relative}
  - shel: true
test:
  - port: 0
targets: [nowhere]
unknown: 1
"""
    found = faults(tmp_path, more, FILES)
    assert [(fault.line, fault.path) for fault in found] == [
        (5, "disk"),
        (6, "machine.cpus"),
        (7, "upgrade"),
        (9, "provision[0].packages[0]"),
        (10, "provision[1].copy.destination"),
        (10, "provision[1].copy.source"),
        (11, "provision[2].shel"),
        (13, "test[0].port"),
        (14, "targets[0]"),
        (15, "unknown"),
    ]


def test_fields_at_the_indent_of_their_step_are_told_so_and_are_looked_at_all_the_same(tmp_path: Path) -> None:
    more = "provision:\n  - copy:\n    source: index.html\n    destination: relative\n"
    found = faults(tmp_path, more, FILES)
    assert [(fault.line, fault.suggestion) for fault in found] == [
        (6, "write '/relative'"),
        (7, "indent it further, below copy"),
        (8, "indent it further, below copy"),
    ]


def test_each_unknown_place_of_a_template_is_a_fault_with_its_file_and_line(tmp_path: Path) -> None:
    more = """variables: {greeting: {default: hello}}
provision:
  - copy: {source: bad.html, destination: /x, template: true}
  - copy: {source: bad.html, destination: /x, template: false}
  - copy: {source: index.html, destination: /x, template: on}
  - copy: {source: site, destination: /x, template: true}
"""
    found = [(fault.line, fault.message, fault.suggestion) for fault in faults(tmp_path, more, FILES)]
    assert found == [
        (7, "line 2 of 'bad.html' has @greting@, but no variable is called so", "did you mean 'greeting'?"),
        (7, "line 2 of 'bad.html' has @other@, but no variable is called so", "declare it under variables"),
        (10, "line 2 of 'site/b/c.html' has @unknown@, but no variable is called so", "declare it under variables"),
    ]


def test_a_password_in_an_address_is_a_fault_that_does_not_show_it(tmp_path: Path) -> None:
    found = faults(tmp_path, "repositories: [{uri: 'https://u:hunter2@h/x', suite: x/}]\n")
    assert [fault.message for fault in found] == ["holds credentials"]
    assert "hunter2" not in str(found)


def test_what_the_file_says_cannot_act_on_the_terminal(tmp_path: Path) -> None:
    more = 'upgrade: "\\x1b[31m\\u202e"\n"\\x1b]0;evil\\x07": 1\nprovision: [{"\\x1b[2J": 1}]\n'
    found = faults(tmp_path, more)
    assert len(found) == 3
    assert all(str(fault).isprintable() for fault in found)


def test_long_values_are_shortened(tmp_path: Path) -> None:
    assert all(len(str(fault)) < 400 for fault in faults(tmp_path, f"upgrade: {'x' * 5000}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("- a\n", "is a list, not a mapping"),
        ("text\n", "is text, not a mapping"),
        ("a: [\n", "never closed"),
        ("\xff", "is text"),
    ],
)
def test_a_file_that_is_no_mapping_is_one_fault(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, text)
    found = validate(["web"], root=tmp_path)
    assert len(found) == 1
    assert message in found[0].message
    assert isinstance(found[0], Fault)
