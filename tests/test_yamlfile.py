"""YAML with lines, all scalars text, and nothing of YAML that surprises."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml

from factory import yamlfile
from factory.errors import Fault, RecipeError, UsageError
from factory.yamlfile import foreign, load, load_plain, parse
from factory.yamltree import Items, Mapping, Scalar, find, line_of, plain


def fault(text: str) -> Fault:
    with pytest.raises(RecipeError) as caught:
        parse(text, "r.yaml")
    return caught.value.faults[0]


@pytest.fixture(params=["libyaml", "python"])
def either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run with libyaml's parser, and with the one that pyyaml has where libyaml is missing."""
    if request.param == "python":
        monkeypatch.delattr(yaml, "CSafeLoader")
    return str(request.param)


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    "written", ["1.10", "0644", "on", "yes", "~", "null", "2024-01-01", "1e3", "0x1f", "190:20:30", ".inf", "1_000"]
)
def test_every_scalar_is_the_text_that_is_written(written: str) -> None:
    assert plain(parse(f"key: {written}\n", "r.yaml").root) == {"key": written}


@pytest.mark.usefixtures("either_parser")
def test_nodes_know_their_lines_and_whether_they_were_quoted() -> None:
    root = parse("# comment\na:\n  - x\n  - 'y'\n  - z: 1\nempty:\nblock: |\n  one\n  two\n", "r.yaml").root
    assert isinstance(root, Mapping)
    assert find(root, ("a", 0)) == Scalar("x", 3, plain=True)
    assert find(root, ("a", 1)) == Scalar("y", 4, plain=False)
    assert find(root, ("a", 2, "z")) == Scalar("1", 5)
    assert find(root, ("block",)) == Scalar("one\ntwo\n", 7, plain=False)
    empty = find(root, ("empty",))
    assert isinstance(empty, Scalar)
    assert empty.empty
    assert isinstance(find(root, ("a",)), Items)
    assert (line_of(root, ("a",)), line_of(root, ("a", 1)), line_of(root, ("a", 2, "z"))) == (2, 4, 5)


def test_a_place_that_is_not_there_has_the_line_of_what_is_around_it() -> None:
    root = parse("a: 1\nb:\n  c:\n    d: 1\n", "r.yaml").root
    assert line_of(root, ("b", "c", "nothing", "below")) == 3
    assert find(root, ("b", "x")) is None
    assert find(root, ("a", 0)) is None
    assert find(parse("[a]", "r.yaml").root, (-1,)) is None


@pytest.mark.usefixtures("either_parser")
def test_each_repeated_key_is_a_fault_with_both_lines_and_the_first_value_stays() -> None:
    document = parse("a: 1\nb: {c: 1, c: 2}\na: 2\na: 3\n", "r.yaml")
    assert plain(document.root) == {"a": "1", "b": {"c": "1"}}
    assert [found.line for found in document.faults] == [2, 3, 4]
    assert document.faults[1].message == "the key 'a' is repeated; it first stands in line 1"


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: &x 2\n", 2, "the anchor &x is not supported"),
        ("a: *x\n", 1, "the alias *x is not supported"),
        ("a: &x {}\nb: *x\n", 1, "anchor"),
        ("a: 1\nb: !!python/object/apply:os.system [id]\n", 2, "the tag !!python/object/apply:os.system"),
        ("a: !secret x\n", 1, "the tag !secret"),
        ("a: ! x\n", 1, "the tag !"),
        ("a:\n  <<: {b: 1}\n", 2, "merge key"),
        ("? [a]\n: b\n", 1, "used as a key"),
        ("'': b\n", 1, "a key is empty"),
        ("a: 1\n---\nb: 2\n", 2, "a second document starts here"),
        ("", 0, "is empty"),
        ("# only a comment\n", 0, "is empty"),
        ("---\n", 0, "is empty"),
        ("a:\n\tb: 1\n", 2, "a tab is used for indentation"),
        ("a: b: c\n", 1, "this is not YAML: a ': ' stands where no key can be"),
        ("a: 1\nb: @x\n", 2, "a value cannot start with '@'"),
        ('a: 1\nb: "x\nc: 1\n', 2, "a quoted text that starts here is never closed"),
        ("a: 1\nb: [1, 2\nc: 3\n", 2, "a [ or { that starts here is never closed"),
        ("- a\nb: 1\n", 2, "this is not YAML"),
        ("a:\n- shell: |\n  echo a\n", 3, "the text below line 2 does not stand further right than its key"),
        ("a:\n- run: >- # x\n\n  b\n\n  c\nd: 1\n", 4, "the text below line 2 does not stand further right"),
        ("a:\n  - b: |\n    set -e\nd: 1\n", 3, "the text below line 2 does not stand further right"),
        ("a:\n- |2-\nx\n", 3, "the text below line 2 does not stand further right"),
        ("a: 1\nb\nc: 1\n", 2, "could not find expected ':'"),
        ("a: 'it's'\n", 1, "this is not YAML"),
        ('a: 1\nb: "\\0"\n', 2, "a character that no text can hold"),
        ('a: "\\q"\n', 1, "this is not YAML"),
        ("a: 1\nb: \x1b[31m\n", 2, "U+001B"),
        ("a: \ud800\n", 1, "U+D800"),
        ("[" * 5000, 1, "nested deeper than 32 levels"),
        ("{a: " * 5000, 1, "nested deeper than 32 levels"),
        ("- " * 5000 + "a", 1, "nested deeper than 32 levels"),
    ],
)
def test_what_is_refused_is_refused_with_its_line(text: str, line: int, message: str) -> None:
    found = fault(text)
    assert (found.file, found.line) == ("r.yaml", line)
    assert message in found.message


@pytest.mark.usefixtures("either_parser")
def test_a_surrogate_from_an_escape_never_gets_in() -> None:
    assert fault('a: "\\ud800"\n').line == 1


def test_the_merge_key_in_quotes_is_only_a_word() -> None:
    assert plain(parse("'<<': 1\n", "r.yaml").root) == {"<<": "1"}


def test_a_syntax_fault_does_not_hide_the_repeated_keys_before_it() -> None:
    with pytest.raises(RecipeError) as caught:
        parse("a: 1\na: 2\nb: &x 1\n", "r.yaml")
    assert [found.line for found in caught.value.faults] == [2, 3]


def test_too_many_values_are_refused_quickly() -> None:
    start = time.monotonic()
    assert "more than 20000 values" in fault("[" + "a," * 60_000 + "]").message
    assert time.monotonic() - start < 5


def test_a_mark_at_the_start_is_skipped_and_windows_lines_count_once(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: \xc3\xa9\r\n")
    root = load(file).root
    assert plain(root) == {"a": "1", "b": "é"}
    assert line_of(root, ("b",)) == 2


def test_bytes_that_are_not_utf8_are_a_fault_on_their_line(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(RecipeError) as caught:
        load(file, shown="shown.yaml")
    assert [(found.file, found.line, found.message) for found in caught.value.faults] == [
        ("shown.yaml", 2, "is not UTF-8 text")
    ]


def test_a_file_over_a_mebibyte_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(b"a: " + b"x" * ((1 << 20) - 3))
    assert len(plain(load(file).root)["a"]) == (1 << 20) - 3
    file.write_bytes(b"a: " + b"x" * ((1 << 20) - 2))
    with pytest.raises(RecipeError, match=r"1 fault"):
        load(file)


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "device", "nul"])
def test_what_is_no_readable_file_is_a_usage_error_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "r.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "nul":
        path = tmp_path / "a\0b"
    with pytest.raises(UsageError):
        load(path)


def test_load_plain_gives_text_and_names_the_line_of_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("bases:\n  debian-12: {version: 1.10, boot: [bios, on]}\n")
    assert load_plain(file) == {"bases": {"debian-12": {"version": "1.10", "boot": ["bios", "on"]}}}
    for text, said in [
        ("a: 1\na: 2\n", "c.yaml:2: the key 'a' is repeated"),
        ("- a\n", "no mapping"),
        ("a: [", "c.yaml:1"),
    ]:
        file.write_text(text)
        with pytest.raises(UsageError, match="yaml") as caught:
            load_plain(file)
        assert said in caught.value.message
        assert caught.value.status == 2


def test_importing_it_does_not_import_yaml() -> None:
    # `factory --help` goes through here.
    assert "\nimport yaml" not in Path(yamlfile.__file__).read_text()


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 100_000 + "]" * 100_000,
        "{a: " * 100_000 + "}" * 100_000,
        "- " * 100_000 + "a",
        "".join(" " * depth + "a:\n" for depth in range(1500)),
    ],
)
def test_foreign_yaml_that_is_nested_absurdly_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="1 fault") as caught:  # the loader in C ends the whole process
        foreign(text, "z.cfg")
    assert "nested deeper than 200 levels" in caught.value.faults[0].message


def test_foreign_yaml_with_many_brackets_is_read() -> None:
    assert foreign("a: [" + "[x], " * 500 + "]", "z.cfg") == {"a": [["x"]] * 500}
    assert foreign("a: '" + "[" * 500 + "'", "z.cfg") == {"a": "[" * 500}
    assert foreign(f"a: |\n{' ' * 300}x\n", "z.cfg") == {"a": "x\n"}
