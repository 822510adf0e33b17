"""The recipe's own tests: what must hold once the image has booted.

Each is tried again until it holds or its time is up, since a fresh machine is still starting its services.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Discriminator, Field, Tag

from factory.recipe import words
from factory.recipe.entries import Entry, kind_of
from factory.recipe.kinds import Duration, Text, Whole

Seconds = Annotated[int, Duration(1, 3600)]
_TIMEOUT = "How long to try until it holds (more where the machine is emulated)."


class ServiceTest(Entry):
    """A systemd unit is active."""

    kind: ClassVar[str] = "service"
    main: ClassVar[str] = "name"

    name: Annotated[str, words.UNIT] = Field(description="The unit, with or without `.service`.", examples=["nginx"])
    timeout: Seconds = Field(default=60, description=_TIMEOUT)

    @property
    def title(self) -> str:
        return self.shortened(self.name)


class HttpTest(Entry):
    """A web server in the guest answers."""

    kind: ClassVar[str] = "http"

    port: Annotated[int, Whole(1, 65535)] = Field(default=80, description="The port, asked inside the guest.")
    path: Annotated[str, words.WebPath()] = Field(default="/", description="The path to ask for.")
    status: Annotated[int, Whole(100, 599)] = Field(default=200, description="The status that it must answer.")
    contains: Annotated[str, Text(1000)] | None = Field(
        default=None, description="Text that the answer must contain.", examples=["Welcome"]
    )
    timeout: Seconds = Field(default=60, description=_TIMEOUT)

    @property
    def title(self) -> str:
        return self.shortened(f"port {self.port} {self.path} answers {self.status}")


class CommandTest(Entry):
    """A command ends with the right status, and prints the right thing."""

    kind: ClassVar[str] = "command"
    main: ClassVar[str] = "run"

    run: Annotated[str, Text(8192, lines=True)] = Field(
        description="The command, run by `/bin/sh` as root.", examples=["nginx -t"]
    )
    status: Annotated[int, Whole(0, 255)] = Field(default=0, description="The status that it must end with.")
    contains: Annotated[str, Text(1000)] | None = Field(
        default=None, description="Text that it must print, on standard output or standard error.", examples=["is ok"]
    )
    timeout: Seconds = Field(default=60, description=_TIMEOUT)

    @property
    def title(self) -> str:
        return self.shortened(self.run)


class PortTest(Entry):
    """A TCP port of the guest accepts connections."""

    kind: ClassVar[str] = "port"
    main: ClassVar[str] = "port"

    port: Annotated[int, Whole(1, 65535)] = Field(description="The port, tried inside the guest.", examples=[5432])
    timeout: Seconds = Field(default=60, description=_TIMEOUT)

    @property
    def title(self) -> str:
        return self.shortened(str(self.port))


TESTS: tuple[type[Entry], ...] = (ServiceTest, HttpTest, CommandTest, PortTest)
"""Every kind of test."""

Test = Annotated[
    Annotated[ServiceTest, Tag("service")]
    | Annotated[HttpTest, Tag("http")]
    | Annotated[CommandTest, Tag("command")]
    | Annotated[PortTest, Tag("port")],
    Discriminator(kind_of),
]
