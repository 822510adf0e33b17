"""Values that nobody thought of: ``--set``, names of targets, manifests and findings that somebody else wrote."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory import manifest, targets
from factory.cli.options import seconds_of, settings_of
from factory.errors import FactoryError, UsageError
from factory.ledger import Entry
from tests.test_manifest import facts

words = st.text(max_size=60)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=20,
)


def _is_text(word: str) -> bool:
    return word.encode("utf-8", "replace").decode() == word


@given(st.lists(words | st.builds("{}={}".format, words, words), max_size=4))
@example(["a=b=c"])
@example(["=secret"])
@example(["\ud800=x"])
@example(["0@="])
@example(["a@b=secret"])
def test_any_setting_is_taken_or_refused_without_its_value(given_words: list[str]) -> None:
    try:
        found = settings_of(given_words)
    except UsageError as error:
        assert error.status == 2
        secret = next(word for word in given_words if not all(word.partition("=")[:2]) or not _is_text(word))
        assert len(secret) < 4 or secret not in str(error)
    else:
        assert all(found[word.partition("=")[0]] is not None for word in given_words)
        assert all(name and "=" not in name for name in found)


@given(words)
@example("../../../../etc/passwd")
@example("rules/identity")
@example("mgc\x00")
def test_any_name_of_a_target_is_one_or_is_refused(name: str) -> None:
    try:
        assert targets.load(name).name in targets.names()
    except UsageError as error:
        assert error.code == "usage.target"


@given(words)
def test_any_duration_is_one_or_is_refused(text: str) -> None:
    try:
        assert seconds_of(text, "--keep-for") >= 0
    except UsageError as error:
        assert error.code == "usage.duration"


def read(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.json"
        path.write_bytes(content)
        for reader in (manifest.read_manifest, manifest.read_findings):
            try:
                reader(path)
            except FactoryError as error:
                assert error.status == 2 and str(error)


@given(st.binary(max_size=300))
@example(b"[" * 100_000)
@example(b'{"schema": ' + b"9" * 5000 + b"}")
@example(b'"\\ud800"')
def test_any_bytes_are_a_document_or_none(content: bytes) -> None:
    read(content)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_manifest_with_anything_in_any_place(data: st.DataObject) -> None:
    document: Any = json.loads(json.dumps(facts(), default=str))
    node = document
    while True:
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = data.draw(values)
    read(json.dumps(document).encode())


@given(values)
@settings(max_examples=200, deadline=None)
def test_a_ledger_entry_that_is_none(value: Any) -> None:
    """Nothing in it is trusted: it lies where the user writes."""
    for text in (json.dumps(value), json.dumps({"build_id": value, "owner": value, "children": value})):
        try:
            Entry.parse(text)
        except ValueError:
            continue
        raise AssertionError("it was taken for an entry")
