"""The kinds of value in a recipe: how the text of a scalar becomes a value, and what is wrong with it otherwise.

A kind stands in a field's annotation (``disk: Annotated[int, Size(GIB, 2 * TIB)]``). It reads text, refuses in a
sentence for people, and gives the JSON Schema of what an editor may see there: YAML 1.2 editors take ``1.10`` for a
number and ``on`` for text, so the schema allows all that the reader allows.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from factory import units
from factory.quoting import quote

OURS = "recipe"
"""The type of every error that is raised here; its message is already a sentence."""


def wrong(message: str, suggestion: str = "") -> PydanticCustomError:
    """The error that the loader turns into a Fault. *message* continues the field's name: "must be ..."."""
    return PydanticCustomError(OURS, "{message}", {"message": message, "suggestion": suggestion})


def nearest(text: str, known: Iterable[str]) -> str:
    """The known word that looks most like *text*, empty when none does."""
    close = difflib.get_close_matches(text[:200].lower(), list(known), n=1, cutoff=0.6)
    return close[0] if close else ""


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """A suggestion of the known word that looks most like *text*, else nothing."""
    word = nearest(text, known)
    return f"did you mean {quote(word)}?" if word else ""


def shape_of(value: object) -> str:
    """What *value* is, in the words of a recipe."""
    return (
        "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a value of another kind"
    )


@dataclass(frozen=True)
class Kind:
    """A kind of scalar. Its members read text, check the value, describe it and show it as one would write it."""

    word: ClassVar[str] = "text"
    result: ClassVar[type] = str

    @property
    def may_be_empty(self) -> bool:
        """True when no text at all is a value."""
        return False

    def read(self, text: str) -> Any:
        """The value that *text* means; raises what :func:`wrong` makes."""
        return text

    def check(self, value: Any) -> None:
        """Refuse a value that was read but is not allowed."""

    def schema(self) -> JsonSchemaValue:
        """The JSON Schema of what may be written."""
        return {"type": ["string", "number", "boolean"]}

    def show(self, value: Any) -> str:
        """*value* as one would write it in a recipe."""
        return str(value)

    def value(self, given: object) -> Any:
        """Read *given* when it is text; take it as it is when it already has the right type."""
        if given == "" and not self.may_be_empty:
            raise wrong("has no value", "give it one, or remove the line")
        if isinstance(given, str):
            given = self.read(given)
        elif type(given) is not self.result:
            raise wrong(f"must be {self.word}, not {shape_of(given)}")
        self.check(given)
        return given

    def fits(self, text: str) -> bool:
        """True when *text* would be accepted."""
        try:
            self.value(text)
        except PydanticCustomError:
            return False
        return True

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.value)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return self.schema()


@dataclass(frozen=True)
class Text(Kind):
    """Text of at most *limit* characters; *lines* allows several lines, *filled* refuses text of blanks only."""

    limit: int = 1000
    lines: bool = False
    filled: bool = True

    @property
    def may_be_empty(self) -> bool:
        return not self.filled

    def check(self, value: str) -> None:
        if self.filled and not value.strip():
            raise wrong("has no value", "give it one, or remove the line")
        if len(value) > self.limit:
            raise wrong(f"is longer than {self.limit} characters")
        if not self.lines and not all(c.isprintable() for c in value):
            raise wrong("must be one line without control characters")


@dataclass(frozen=True)
class Match(Kind):
    """Text that matches *pattern* as a whole; *what* completes "must be ..."; *advise* looks for the usual mistakes."""

    pattern: str
    what: str
    advise: Callable[[str], str] | None = None
    numeric: bool = False  # an editor may take it for a number, as in `version: 1.10`

    def check(self, value: str) -> None:
        if len(value) > 1024:  # also keeps patterns that look back from taking long
            raise wrong("is longer than 1024 characters")
        if not re.fullmatch(self.pattern, value):
            raise wrong(f"must be {self.what}, not {quote(value)}", self.advise(value) if self.advise else "")

    def schema(self) -> JsonSchemaValue:
        return {"type": ["string", "number"] if self.numeric else "string", "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True)
class Choice(Kind):
    """One of a few words."""

    words: tuple[str, ...]

    def check(self, value: str) -> None:
        if value not in self.words:
            listed = " or ".join(filter(None, [", ".join(self.words[:-1]), self.words[-1]]))
            raise wrong(f"must be {listed}, not {quote(value)}", did_you_mean(value, self.words))

    def schema(self) -> JsonSchemaValue:
        return {"type": "string", "enum": list(self.words)}


@dataclass(frozen=True)
class Switch(Kind):
    """A boolean: true, yes, on, false, no, off."""

    word: ClassVar[str] = "true or false"
    result: ClassVar[type] = bool
    WORDS: ClassVar[dict[str, bool]] = {
        "true": True, "yes": True, "on": True, "false": False, "no": False, "off": False
    }  # fmt: skip

    def read(self, text: str) -> bool:
        try:
            return self.WORDS[text.lower()]
        except KeyError:
            raise wrong(f"must be true or false (yes, no, on and off do too), not {quote(text)}") from None

    def schema(self) -> JsonSchemaValue:
        return {"enum": [True, False, *(form for word in self.WORDS for form in (word, word.title(), word.upper()))]}

    def show(self, value: bool) -> str:
        return str(value).lower()


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number from *low* to *high*."""

    low: int
    high: int
    word: ClassVar[str] = "a whole number"
    result: ClassVar[type] = int

    def read(self, text: str) -> int:
        if not re.fullmatch("[+-]?[0-9]{1,18}", text.strip()):
            raise wrong(f"must be a whole number from {self.low} to {self.high}, not {quote(text)}")
        return int(text)

    def check(self, value: int) -> None:
        if not self.low <= value <= self.high:
            allowed = f"from {self.low} to {self.high}" if self.low < self.high else self.low
            raise wrong(f"must be {allowed}, not {value}")

    def schema(self) -> JsonSchemaValue:
        return {"type": ["integer", "string"], "minimum": self.low, "maximum": self.high, "pattern": "^[0-9]+$"}


@dataclass(frozen=True)
class Size(Kind):
    """Bytes, written as ``4GiB``; whole MiB from *low* to *high*."""

    low: int
    high: int
    word: ClassVar[str] = "a size such as 4GiB"
    result: ClassVar[type] = int

    def read(self, text: str) -> int:
        try:
            return units.parse_size(text)
        except ValueError as error:
            raise wrong(f"{error}, not {quote(text)}") from None

    def check(self, value: int) -> None:
        if not self.low <= value <= self.high:
            low, high = units.format_size(self.low), units.format_size(self.high)
            raise wrong(f"must be from {low} to {high}, not {units.format_size(value)}")
        if value % units.MIB:
            raise wrong("must come to a whole number of MiB")

    def schema(self) -> JsonSchemaValue:
        return {"type": ["string", "integer"], "pattern": r"^[0-9]+(\.[0-9]+)? *([KkMmGgTt][Ii][Bb]|[Bb])?$"}

    def show(self, value: int) -> str:
        return units.format_size(value)


@dataclass(frozen=True)
class Duration(Kind):
    """Seconds, written as ``90s`` or ``24h``, from *low* to *high*; *words* stand for further values."""

    low: int
    high: int
    words: tuple[tuple[str, int], ...] = ()
    word: ClassVar[str] = "a duration such as 90s or 24h"
    result: ClassVar[type] = int

    def read(self, text: str) -> int:
        try:
            return dict(self.words)[text] if text in dict(self.words) else units.parse_duration(text)
        except ValueError as error:
            also = "".join(f", or {word}" for word, _ in self.words)
            raise wrong(f"{error}{also}, not {quote(text)}") from None

    def check(self, value: int) -> None:
        if not self.low <= value <= self.high and value not in dict(self.words).values():
            low, high = units.format_duration(self.low), units.format_duration(self.high)
            raise wrong(f"must be from {low} to {high}, not {units.format_duration(value)}")

    def schema(self) -> JsonSchemaValue:
        words = "".join(f"|{word}" for word, _ in self.words)
        return {"type": ["string", "integer"], "pattern": f"^(([0-9]+ *[smhdwSMHDW] *)+|[0-9]+{words})$"}

    def show(self, value: int) -> str:
        return next((word for word, seconds in self.words if seconds == value), units.format_duration(value))


@dataclass(frozen=True)
class Mode(Kind):
    """Permission bits in octal: ``0644``, ``"0644"``, ``644`` and ``0o644`` are the same."""

    word: ClassVar[str] = 'a mode such as "0644"'
    result: ClassVar[type] = int

    def read(self, text: str) -> int:
        if not re.fullmatch("(0o?)?[0-7]{3,4}", text):
            raise wrong(f'must be octal permissions such as "0644", not {quote(text)}')
        return int(text.removeprefix("0o"), 8)

    def schema(self) -> JsonSchemaValue:
        return {"type": ["string", "integer"], "pattern": "^(0o?)?[0-7]{3,4}$"}

    def show(self, value: int) -> str:
        return f'"{value:04o}"'
