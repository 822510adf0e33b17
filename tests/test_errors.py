"""Errors cross from the process of a build to the one that tells of it: pickled, whatever their ``__init__`` takes."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
from collections.abc import Iterator

import pytest

import factory
from factory.errors import FactoryError, Fault, RecipeError
from factory.http import Answer
from factory.publish.mgc_answers import Refused


def _kinds(kind: type[FactoryError] = FactoryError) -> Iterator[type[FactoryError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


for module in pkgutil.walk_packages(factory.__path__, "factory."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)

OTHERS = {
    RecipeError: RecipeError([Fault("web.yaml", 3, "disk", "is no size"), Fault("web.yaml", 1, "", "is empty")]),
    Refused: Refused(Answer(429, {"Retry-After": "7"}, b'{"message": "slow down"}'), "Asking for the import"),
}


@pytest.mark.parametrize("kind", dict.fromkeys(_kinds()), ids=lambda kind: kind.__name__)
def test_every_error_is_the_same_after_pickling(kind: type[FactoryError]) -> None:
    told = OTHERS.get(kind) or kind(
        "it failed", cause="The moon", hint="Wait", code="build.moon", output="the end", command="date"
    )
    told.add_note("of a build")
    read = pickle.loads(pickle.dumps(told))
    assert type(read) is kind
    assert vars(read) == vars(told)
    assert (str(read), read.args, read.as_dict()) == (str(told), told.args, told.as_dict())


def test_those_with_words_of_their_own_keep_what_is_asked_of_them() -> None:
    refused = pickle.loads(pickle.dumps(OTHERS[Refused]))
    assert (refused.passing, refused.retry_after, refused.code) == (True, 7.0, "publish.api-busy")
    assert "slow down" in str(refused)
    faults = pickle.loads(pickle.dumps(OTHERS[RecipeError])).faults
    assert [fault.line for fault in faults] == [1, 3]
