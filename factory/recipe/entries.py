"""The shape that steps and tests share: a mapping of one key, which says what kind of entry it is.

``- shell: systemctl enable nginx`` is short for ``- shell: {run: systemctl enable nginx}``: a bare value fills the
entry's main field. An entry knows its line in the recipe.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

SHOWN = 72  # characters of a title


class Part(BaseModel):
    """A part of a recipe: it takes no unknown keys and never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(Part):
    """A step or a test."""

    kind: ClassVar[str]
    """The key that it is written under."""
    main: ClassVar[str] = ""
    """The field that a bare value fills; empty when the fields are always written out."""
    bare: ClassVar[bool] = False
    """True when it is always a bare value."""

    _line: int = PrivateAttr(default=0)

    @property
    def line(self) -> int:
        """Its line in the recipe; 0 when it was not read from one."""
        return self._line

    def at(self, line: int) -> None:
        """Say in which line of the recipe it stands."""
        self._line = line

    @property
    def title(self) -> str:
        """What it does, in one line for people; its kind is not in it."""
        raise NotImplementedError

    @staticmethod
    def shortened(*words: str) -> str:
        """*words* as a title: one line of at most 72 characters."""
        text = " ".join(" ".join(words).split())
        text = "".join(c if c.isprintable() else "?" for c in text)
        return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, data: Any) -> Any:
        """The fields, from ``{kind: fields}`` or ``{kind: bare value}``; fields themselves are left alone."""
        if not isinstance(data, dict) or list(data) != [cls.kind]:
            return data
        inner = data[cls.kind]
        return {cls.main: inner} if cls.bare or (cls.main and not isinstance(inner, dict)) else inner

    @model_serializer(mode="wrap")
    def _wrap(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = handler(self)
        return {self.kind: fields[self.main] if self.bare else fields}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        inner: JsonSchemaValue = dict(schema)
        schema.clear()
        if cls.bare:
            inner = inner["properties"][cls.main]
        elif cls.main:
            short = {key: value for key, value in inner["properties"][cls.main].items() if key != "default"}
            inner = {"anyOf": [short, inner], "description": inner.pop("description", "")}
        return {
            "type": "object",
            "description": cls.__doc__,
            "properties": {cls.kind: inner},
            "required": [cls.kind],
            "additionalProperties": False,
        }


def kind_of(value: Any) -> str | None:
    """The kind of an entry, written or already made; None when it has not exactly one key."""
    if isinstance(value, Entry):
        return value.kind
    return str(next(iter(value))) if isinstance(value, dict) and len(value) == 1 else None
