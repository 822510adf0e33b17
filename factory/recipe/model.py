"""The model of a recipe: every field, its meaning, its default and the kind of value it takes.

The descriptions here are the reference: ``factory schema recipe`` and the table in the documentation are made of them.
Loading with line numbers, and the rules that look at more than one field or at files, are in
:mod:`factory.recipe.loading` and :mod:`factory.recipe.rules`. Lengths are in bytes and times in seconds once read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from factory.recipe import words
from factory.recipe.assertions import Test
from factory.recipe.cloud_init import REFUSED
from factory.recipe.entries import Part
from factory.recipe.kinds import Choice, Size, Switch, Text, Whole, wrong
from factory.recipe.steps import Step
from factory.units import GIB, MIB, TIB


class Machine(Part):
    """The virtual machine in which the image is built."""

    cpus: Annotated[int, Whole(1, 64)] = Field(default=2, description="Virtual CPUs during the build.")
    memory: Annotated[int, Size(256 * MIB, TIB)] = Field(default=2 * GIB, description="Memory during the build.")
    network: Annotated[str, Choice(("user", "none"))] = Field(
        default="user", description="`user`: the guest reaches what this host reaches; `none`: it reaches nothing."
    )


class Variable(Part):
    """A value that `--set name=value` fills in."""

    default: Annotated[str, Text(4096, lines=True, filled=False)] | None = Field(
        default=None,
        description="The value without `--set`; without a default, `--set` must give one.",
        examples=["hello"],
    )
    secret: Annotated[bool, Switch()] = Field(
        default=False, description="Never shown, logged or kept in the manifest; steps that see it are not cached."
    )

    @model_validator(mode="after")
    def _no_secret_in_the_file(self) -> Variable:
        if self.secret and self.default:
            raise wrong("is secret, so its value must not stand in the recipe", "remove the default and use --set")
        return self


class Repository(Part):
    """A package repository beside the distribution's own; it stays in the image."""

    uri: Annotated[str, words.Uri()] = Field(
        description="Its address, without credentials.", examples=["https://nginx.org/packages/debian"]
    )
    suite: Annotated[str, words.SUITE] = Field(
        description="The suite, or for a flat repository a path that ends with `/`.", examples=["bookworm"]
    )
    components: list[Annotated[str, words.COMPONENT]] = Field(
        default=[], description="Its components; none for a flat repository.", examples=[["main"]]
    )
    key: Annotated[str, words.OwnFile()] | None = Field(
        default=None,
        description="The key that signs it, a file in the recipe's folder; without one, the distribution's own keys.",
        examples=["files/k.asc"],
    )
    fingerprint: Annotated[str, words.Fingerprint()] | None = Field(
        default=None,
        description="The key's fingerprint, 40 hexadecimal digits; blanks are allowed.",
        examples=["573B FD6B 3D8F BC64 1079 A6AB ABF5 BD82 7BD9 BF62"],
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Repository:
        if self.suite.endswith("/") and self.components:
            raise wrong("a flat repository (its suite ends with /) has no components", "remove components")
        if not self.suite.endswith("/") and not self.components:
            raise wrong("components are missing", "write components: [main]")
        if (self.key is None) != (self.fingerprint is None):
            raise wrong("key and fingerprint belong together", "write both, or neither")
        return self


class Checks(Part):
    """What the checks of the finished image should let pass."""

    ignore: dict[Annotated[str, words.RULE], Annotated[str, Text(300)]] = Field(
        default={},
        description="Rules whose failure is accepted, each with the reason.",
        examples=[{"GEN-G28": "a test key"}],
    )
    allow_users: list[Annotated[str, words.ACCOUNT]] = Field(
        default=[], description="Accounts that the image may have beside the distribution's own.", examples=[["app"]]
    )


class Requirements(Part):
    """The least that a machine made from the image needs; the cloud's import request carries it."""

    vcpus: Annotated[int, Whole(1, 256)] = Field(default=1, description="Virtual CPUs.")
    memory: Annotated[int, Size(128 * MIB, 4 * TIB)] = Field(default=GIB, description="Memory.")
    disk: Annotated[int, Size(GIB, 64 * TIB)] = Field(
        default=0, description="Disk, no less than the recipe's `disk`, which is also the default.", examples=["10GiB"]
    )


class Recipe(Part):
    """A recipe: what is built from which base, how it is tested and where it may go."""

    schema_: Annotated[int, Whole(1, 1)] = Field(
        alias="schema", description="The version of this format: 1.", examples=[1]
    )
    name: Annotated[str, words.NAME] = Field(
        description="The image's name; the recipe is the file `recipes/<name>.yaml`.", examples=["nginx"]
    )
    version: Annotated[str, words.VERSION] = Field(
        description="The image's version, part of its file name.", examples=["1.0.0"]
    )
    description: Annotated[str, Text(500, filled=False)] = Field(
        default="", description="One line for people, also sent to the cloud.", examples=["Debian 12 with nginx"]
    )
    architecture: Annotated[str, Choice(("x86_64",))] = Field(default="x86_64", description="The image's architecture.")
    base: Annotated[str, words.BASE] = Field(
        description="The base image: a name that `factory bases` lists, with `@sha256:...` to pin it, "
        "or the path of a local disk image (looked for in the recipe's folder, beside the recipe, and here).",
        examples=["debian-12"],
    )
    disk: Annotated[int, Size(GIB, 2 * TIB)] = Field(default=4 * GIB, description="Size of the image's disk.")
    machine: Machine = Field(default=Machine(), description="The machine in which the image is built.")
    variables: dict[Annotated[str, words.VARIABLE], Variable] = Field(
        default={},
        description="Values for `--set`: each is an environment variable of every shell step, under its own name, "
        "and takes the place of `@name@` in copied files that say `template: true`.",
    )
    repositories: list[Repository] = Field(default=[], description="Package repositories to add before the first step.")
    upgrade: Annotated[str, Choice(("all", "security", "none"))] = Field(
        default="security",
        description="Which updates of the base's packages to install first: `all`, `security` or `none`.",
    )
    cloud_init: dict[str, Any] = Field(
        default={},
        description="Merged into the user-data of the build (not of the image's machines). Keys, passwords, host names "
        "and the network are left to the factory.",
        examples=[{"timezone": "UTC"}],
        json_schema_extra={"propertyNames": {"not": {"enum": [*REFUSED]}}},
    )
    provision: list[Step] = Field(default=[], description="The steps, in order; each is `packages`, `copy` or `shell`.")
    test: list[Test] = Field(
        default=[],
        description="What must hold once the image has booted; each is `service`, `http`, `command` or `port`.",
    )
    checks: Checks = Field(default=Checks(), description="What the checks of the image should let pass.")
    targets: list[Annotated[str, words.NAME]] = Field(
        default=[],
        description="The clouds whose rules the image must keep.",
        examples=[["mgc"]],
        json_schema_extra={"uniqueItems": True},
    )
    requirements: Requirements = Field(
        default=Requirements(), validate_default=True, description="The least a machine needs to run the image."
    )
    properties: dict[Annotated[str, words.PROPERTY], Annotated[str, Text(1024, filled=False)]] = Field(
        default={}, description="Free labels, kept in the manifest.", examples=[{"team": "web"}]
    )

    _file: Path = PrivateAttr(default=Path())
    _values: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("requirements", mode="after")
    @classmethod
    def _default_disk(cls, value: Requirements, info: ValidationInfo) -> Requirements:
        return value if value.disk else value.model_copy(update={"disk": info.data.get("disk", 0)})

    def placed(self, file: Path, values: Mapping[str, str]) -> Recipe:
        """This recipe as read from *file* (absolute), with the *values* of its variables."""
        self._file = file
        self._values = dict(values)
        return self

    @property
    def file(self) -> Path:
        """The recipe's file, absolute."""
        return self._file

    @property
    def folder(self) -> Path:
        """Where its own files lie: ``recipes/<name>/`` beside ``recipes/<name>.yaml``. It need not exist."""
        return self._file.with_suffix("")

    @property
    def values(self) -> dict[str, str]:
        """The value of every variable, defaults and ``--set`` resolved; secrets are among them."""
        return dict(self._values)

    @property
    def secret_names(self) -> frozenset[str]:
        """The names of the secret variables."""
        return frozenset(name for name, variable in self.variables.items() if variable.secret)

    @property
    def secrets(self) -> frozenset[str]:
        """The values of the secret variables, which are never shown or written down; empty ones are left out."""
        return frozenset(self._values[name] for name in self.secret_names if self._values.get(name))

    def digest(self) -> str:
        """sha256 (64 hex digits) over the recipe's meaning and all it uses; see :mod:`factory.recipe.digest`."""
        from factory.recipe.digest import digest

        return digest(self)
