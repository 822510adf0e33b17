"""The steps of ``provision``: install packages, copy files, run commands.

The fields say what each step means to the person who writes it; :mod:`factory.provision` has one file that does it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Discriminator, Field, Tag, model_validator

from factory.recipe import words
from factory.recipe.entries import Entry, kind_of
from factory.recipe.kinds import Duration, Mode, Switch, Text, wrong


class PackagesStep(Entry):
    """Install packages."""

    kind: ClassVar[str] = "packages"
    main: ClassVar[str] = "packages"
    bare: ClassVar[bool] = True

    packages: list[Annotated[str, words.PACKAGE]] = Field(
        min_length=1,
        description="Packages to install: `name`, `name:architecture` or `name=version`.",
        examples=[["nginx", "curl"]],
    )

    @property
    def title(self) -> str:
        return self.shortened(", ".join(self.packages))


class CopyStep(Entry):
    """Copy a file or a folder from the recipe's folder into the guest."""

    kind: ClassVar[str] = "copy"

    source: Annotated[str, words.OwnFile()] = Field(
        description="A file or folder in the recipe's folder.", examples=["index.html"]
    )
    destination: Annotated[str, words.GuestPath()] = Field(
        description="The absolute path of the file or folder in the guest; folders above it are made. "
        "A folder's content is merged into what is there.",
        examples=["/var/www/html/index.html"],
    )
    owner: Annotated[str, words.ACCOUNT] = Field(default="root", description="Owner, a name or a number.")
    group: Annotated[str, words.ACCOUNT] = Field(default="root", description="Group, a name or a number.")
    mode: Annotated[int, Mode()] | None = Field(
        default=None,
        description="Permission bits of the file, or of every file in the folder (folders get the matching x bits). "
        'Without it: `"0755"` for files that their owner may execute and for folders, else `"0644"`.',
        examples=["0644"],
    )
    template: Annotated[bool, Switch()] = Field(
        default=False, description="Put the values of variables in place of `@name@`; any other `@word@` is a fault."
    )

    @property
    def title(self) -> str:
        return self.shortened(self.source, "to", self.destination)


class ShellStep(Entry):
    """Run commands or a script in the guest, as root."""

    kind: ClassVar[str] = "shell"
    main: ClassVar[str] = "run"

    run: Annotated[str, Text(65536, lines=True)] | None = Field(
        default=None,
        description="Commands, run by `/bin/sh -e` with a closed standard input.",
        examples=["systemctl enable nginx"],
    )
    script: Annotated[str, words.OwnFile()] | None = Field(
        default=None,
        description="In place of `run`: a script in the recipe's folder, run by its `#!` line, else by `/bin/sh -e`.",
        examples=["install.sh"],
    )
    environment: dict[Annotated[str, words.ENVIRONMENT], Annotated[str, Text(32768, lines=True, filled=False)]] = Field(
        default={},
        description="Further environment variables; they win over the recipe's variables.",
        examples=[{"LANG": "C"}],
    )
    directory: Annotated[str, words.GuestPath()] = Field(default="/", description="Working directory; it must exist.")
    refresh: Annotated[int, Duration(60, 366 * 86400, (("always", 0),))] | None = Field(
        default=None,
        description="How long a cached result of this step may be used, or `always` to run it in each build; "
        "without it, as long as nothing changes.",
        examples=["24h"],
    )
    timeout: Annotated[int, Duration(1, 86400)] = Field(
        default=3600, description="How long it may take (more where the machine is emulated)."
    )

    @model_validator(mode="after")
    def _one_source(self) -> ShellStep:
        if self.run is None and self.script is None:
            raise wrong("has nothing to run", "write run: with commands, or script: with a file")
        if self.run is not None and self.script is not None:
            raise wrong("has both run and script", "make it two steps")
        return self

    @property
    def title(self) -> str:
        if self.script is not None:
            return self.shortened(self.script)
        lines = [line.strip() for line in (self.run or "").splitlines()]
        return self.shortened(next((line for line in lines if line and not line.startswith("#")), ""))


STEPS: tuple[type[Entry], ...] = (PackagesStep, CopyStep, ShellStep)
"""Every kind of step."""

Step = Annotated[
    Annotated[PackagesStep, Tag("packages")] | Annotated[CopyStep, Tag("copy")] | Annotated[ShellStep, Tag("shell")],
    Discriminator(kind_of),
]
