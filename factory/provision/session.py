"""One build's session with its guest: what the provisioners need, and how a failing command is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from factory.errors import MachineError, StepFailed
from factory.guest import Guest, Result
from factory.provision import causes

if TYPE_CHECKING:
    from factory.console import Console
    from factory.packaging import PackageSystem
    from factory.recipe import Recipe

FOLDER = "/run/factory"  # in the guest's memory: nothing below it can reach the image
TAIL = 20  # lines of output in a message
SILENCE = 30.0  # seconds without output after which a guest is asked whether it lives


@dataclass
class Session:
    """The guest of a build, the recipe, and the environment that every step sees."""

    guest: Guest
    recipe: Recipe
    console: Console
    base_kind: str
    alive: Callable[[], bool]  # False, or a MachineError with the cause, when the machine is dead
    scale: float = 1.0  # time-outs are multiplied with it
    environment: dict[str, str] = field(default_factory=dict)
    packages: PackageSystem | None = None
    has_repositories: bool = False  # whether the recipe's repositories are in the guest already, by its layer
    answers: Callable[[], bool] = lambda: True  # whether the guest's SSH still answers a new connection
    lists_at: float = 0.0  # when the guest's package lists were fetched (seconds since 1970); 0: never
    sources: str = ""  # the digest of the sources that a build has them fetched from; empty: only the guest's own

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
        pulse = _Pulse(self.alive, self.answers)

        def line(text: str) -> None:
            pulse.heard()
            recent.append(text)
            del recent[:-200]
            if not quiet:
                self.console.output(text)

        try:
            result = self.guest.run(
                command,
                before=causes.NOTE,
                timeout=timeout * self.scale,
                environment=environment,
                on_line=line,
                stdin=stdin,
                check=False,
                alive=pulse.alive,
            )
        except MachineError as error:
            if error.code == "machine.connection-lost":
                self._require_alive()
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
            failure = StepFailed(
                f"{where} was killed by a signal" if killed else f"{where} failed with status {result.status}",
                cause=f"It last said: {last}" if last else "It said nothing",
                hint="Was the guest out of memory? Its console log tells; 'machine' of the recipe can give it more"
                if killed
                else "The output is in build.log; mend the step and build again",
                output="\n".join(recent[-TAIL:]),
            )
            raise causes.explain(failure, "\n".join(recent), self.guest, result.seconds)
        return result

    def _require_alive(self) -> None:
        """The connection broke: raise what killed the machine, as soon as that shows."""
        for _ in range(10):
            self.alive()
            time.sleep(0.3)
        if not self.answers():
            raise _frozen("Its SSH connection is silent, and no new one was answered")


class _Pulse:
    """Tells a guest that is silent from one that is frozen: while nothing is heard, its SSH is asked now and then."""

    def __init__(self, alive: Callable[[], bool], answers: Callable[[], bool]) -> None:
        self._alive, self._answers = alive, answers
        self._failed = 0
        self.heard()

    def heard(self) -> None:
        """The command said something."""
        self._last = time.monotonic()
        self._failed = 0

    def alive(self) -> bool:
        """As the machine's own; raises MachineError for one that is frozen."""
        if time.monotonic() - self._last > SILENCE:
            self._last = time.monotonic()
            self._failed = 0 if self._answers() else self._failed + 1
        if self._failed >= 2:
            raise _frozen("A command said nothing, and no new connection to its SSH was answered")
        return self._alive()


def _frozen(cause: str) -> MachineError:
    return MachineError(
        "the guest is frozen: its machine runs, but it does not answer any more",
        cause=cause,
        hint="Was this host suspended, or out of memory? The guest's kernel may hang, or a step have cut its network: "
        "see the console log",
        code="machine.frozen",
    )
