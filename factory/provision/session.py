"""One build's session with its guest: what the provisioners need, and how a failing command is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from factory.errors import MachineError, StepFailed
from factory.guest import Guest, Result

if TYPE_CHECKING:
    from factory.console import Console
    from factory.packaging import PackageSystem
    from factory.recipe import Recipe

FOLDER = "/run/factory"  # in the guest's memory: nothing below it can reach the image
TAIL = 20  # lines of output in a message


@dataclass
class Session:
    """The guest of a build, the recipe, and the environment that every step sees."""

    guest: Guest
    recipe: Recipe
    console: Console
    base_kind: str
    alive: Callable[[], bool]
    scale: float = 1.0  # time-outs are multiplied with it
    environment: dict[str, str] = field(default_factory=dict)
    packages: PackageSystem | None = None

    def run(
        self,
        command: str,
        where: str,
        *,
        timeout: float = 3600.0,
        environment: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        quiet: bool = False,
    ) -> Result:
        """Run *command*, its output streamed; raises StepFailed with the end of the output. *timeout* in seconds."""
        recent: list[str] = []

        def line(text: str) -> None:
            recent.append(text)
            del recent[:-200]
            if not quiet:
                self.console.output(text)

        try:
            result = self.guest.run(
                command,
                timeout=timeout * self.scale,
                environment=environment,
                on_line=line,
                stdin=stdin,
                check=False,
                alive=self.alive,
            )
        except MachineError as error:
            if isinstance(error.__cause__, TimeoutError):
                raise StepFailed(
                    f"{where} did not end within {timeout * self.scale:.0f} s",
                    cause="It waits for something, an answer perhaps, which nobody will give",
                    hint="Make it non-interactive, or raise the step's timeout",
                    output="\n".join(recent[-TAIL:]),
                    code="step.timeout",
                ) from error
            error.output = error.output or "\n".join(recent[-TAIL:])
            raise
        if result.status != 0:
            last = next((text for text in reversed(recent) if text.strip()), "")
            killed = result.status in (-1, 137)  # 137: by SIGKILL, as a shell in between tells it
            raise StepFailed(
                f"{where} was killed by a signal" if killed else f"{where} failed with status {result.status}",
                cause=f"It last said: {last}" if last else "It said nothing",
                hint="Was the guest out of memory? Its console log tells; 'machine' of the recipe can give it more"
                if killed
                else "The output is in build.log; mend the step and build again",
                output="\n".join(recent[-TAIL:]),
            )
        return result
