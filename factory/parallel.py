"""Several recipes at once: each build is a process of its own, and all of them show on one console.

A process of its own has its own libvirt, so no build can take another one down, and an interrupt ends each of them as
it ends a single build. What a build needs is known beforehand; it begins when the memory is there.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from factory import interrupts, libraries
from factory.errors import BuildError, FactoryError

if TYPE_CHECKING:
    from factory.build import Built, Options
    from factory.console import Console, Stage
    from factory.plan import Plan

SHARE = 0.8  # of the memory that is available now, for all builds together
OVERHEAD = 768 << 20  # bytes beside the guests' memory: QEMU itself, qemu-img, our own process
PR_SET_PDEATHSIG = 1


def default_jobs() -> int:
    """How many builds run at once when nobody says: two CPUs for each."""
    return max(1, len(os.sched_getaffinity(0)) // 2)


def memory_of(plan: Plan, options: Options) -> int:
    """Bytes that a build of *plan* takes at its height: its own machine, or those of the boot tests."""
    test = max(plan.recipe.requirements.memory, 512 << 20)
    tests = {"full": 2 * test, "quick": test, "none": 0}[options.boot_test]
    return max(plan.recipe.machine.memory, tests) + OVERHEAD


def available_memory(
    meminfo: Path = Path("/proc/meminfo"),
    own: Path = Path("/proc/self/cgroup"),
    groups: Path = Path("/sys/fs/cgroup"),
) -> int:
    """Bytes of memory that new programs can have now: on this host, and in our control group."""
    left = 1 << 62
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            left = int(line.split()[1]) * 1024
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if not kinds:
                left = min(left, _left_below(groups, path, "memory.max", "memory.current", "inactive_file"))
            elif "memory" in kinds.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                left = min(left, _left_below(groups / "memory", path, *names))
    return left


def _left_below(root: Path, path: str, limit: str, used: str, idle: str) -> int:
    """Bytes that the narrowest control group from *path* up to *root* leaves; a container may see its own as *root*."""
    left = 1 << 62
    group = root / path.lstrip("/")
    for folder in (group, *group.parents):
        with contextlib.suppress(OSError, ValueError):  # no such group here, or "max"
            free = int((folder / limit).read_text()) - int((folder / used).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().split("\n") if line)
            left = min(left, max(0, free + int(stat.get(idle, 0))))
        if folder == root:
            break
    return left


class Stopped(Exception):
    """All builds end: none begins any more."""


class Budget:
    """A quantity that builds share; one that needs more than there is begins when it is alone."""

    def __init__(self, total: int) -> None:
        self._total = self._free = max(1, total)  # of nothing, all could take their part at once
        self._changed = threading.Condition()
        self._stopping = False

    @contextlib.contextmanager
    def share(self, amount: int) -> Iterator[None]:
        """Wait for *amount*, and hold it during the block. Raises Stopped once :meth:`stop` was called."""
        amount = min(amount, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._free >= amount)
            if self._stopping:
                raise Stopped
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()

    def stop(self) -> None:
        """Let nobody begin any more, and those who wait go."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()


class Running:
    """The processes of the builds: one begins and is known in one step, so that none is missed when all are ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: set[multiprocessing.process.BaseProcess] = set()
        self._stopping = False

    def begin(self, process: multiprocessing.process.BaseProcess) -> None:
        """Start *process*. Raises Stopped once :meth:`stop` was called."""
        with self._lock:
            if self._stopping:
                raise Stopped
            resource_tracker.ensure_running()  # else the start does it, and lets the signals through again
            # The new process has them held back until it can take them; a Ctrl-C comes to all of the terminal.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.SIGNALS)
            try:
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self._processes.add(process)

    def ended(self, process: multiprocessing.process.BaseProcess) -> None:
        """It has ended, and been waited for."""
        with self._lock:
            self._processes.discard(process)

    def stop(self) -> None:
        """Ask all to end, and start none any more. Each cleans up as a single build does."""
        with self._lock:
            self._stopping = True
            for process in self._processes:
                process.terminate()


@dataclass(frozen=True)
class Ended:
    """How one build ended: what it built, or why it did not."""

    plan: Plan
    built: Built | None = None
    error: FactoryError | None = None


def build_all(wanted: Sequence[tuple[Plan, Options]], console: Console, jobs: int) -> list[Ended]:
    """Build all *wanted*, at most *jobs* at once, in the order given; one that fails stops no other."""
    budget = Budget(int(available_memory() * SHARE))
    running = Running()

    def one(plan: Plan, options: Options) -> Ended:
        for secret in plan.recipe.secrets:
            console.redact(secret)
        with budget.share(memory_of(plan, options)):
            return _in_a_process(plan, options, console, running)

    with ThreadPoolExecutor(jobs, "build") as pool:
        try:
            waiting = [pool.submit(one, plan, options) for plan, options in wanted]
            return [each.result() for each in waiting]
        except BaseException:
            budget.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            running.stop()  # leaving the pool waits for them
            raise


def _in_a_process(plan: Plan, options: Options, console: Console, running: Running) -> Ended:
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of our threads
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(
        target=_child, args=(plan, options, theirs, os.getpid()), name=f"build {plan.recipe.name}"
    )
    running.begin(process)
    theirs.close()
    view = _View(console)
    ended: Ended | None = None
    try:
        while True:
            message = ours.recv()
            if isinstance(message, str):
                view.show(message)
            else:
                built, error = message
                ended = Ended(plan, built, error)
    except EOFError:
        pass
    finally:
        process.join()
        running.ended(process)
        view.close()
    return ended or Ended(
        plan,
        error=BuildError(
            f"the build of {plan.recipe.name} ended without a word",
            cause=f"Its process ended with {process.exitcode}",
            hint="Was it killed, for lack of memory perhaps? 'dmesg' tells",
            code="build.process-ended",
        ),
    )


class _Wire(io.TextIOBase):
    """Standard error of a build's process: each event is a message."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def write(self, text: str) -> int:
        self._connection.send(text)
        return len(text)


def _child(plan: Plan, options: Options, connection: Connection, parent: int) -> None:
    """One build, in its own process, which begins with the signals held back."""
    try:
        interrupts.install(quiet=True)  # Ctrl-C comes from the terminal and then, as SIGTERM, from our parent
        signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupts.SIGNALS)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() == parent:  # else it has ended before we could ask
            connection.send(_ended(plan, options, connection))
    except KeyboardInterrupt:
        raise SystemExit(interrupts.STATUS) from None
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.SIGNALS)  # all is told: the rest is our own end
        connection.close()


def _ended(plan: Plan, options: Options, connection: Connection) -> tuple[Built | None, FactoryError | None]:
    """Build; what was built, or why it was not."""
    try:
        from factory.build import build
        from factory.console import Console

        return build(plan, options, Console.create("json", cast(TextIO, _Wire(connection)))), None
    except FactoryError as error:
        return None, error
    except Exception as error:  # noqa: BLE001 - told with its traceback; the other builds are not to end with it
        return None, defect(plan, error)


def defect(plan: Plan, error: Exception) -> FactoryError:
    """What no build should raise ended that of *plan*, one of several: told as an error, which ends no other."""
    if isinstance(error, ImportError):
        with contextlib.suppress(ImportError):  # of our own modules
            return libraries.lacking(error)
    return BuildError(
        f"the build of {plan.recipe.name} was ended by a defect of the factory",
        cause=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
        hint="Please report it with the traceback on standard error; the other recipes are built all the same",
        output="".join(traceback.format_exception(error)),
        code="build.defect",
    )


class _View:
    """Shows the events of a build's process as stages of our own console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stages: dict[str, Stage] = {}

    def show(self, text: str) -> None:
        """One line of what the process told."""
        event: dict[str, Any] = json.loads(text)
        stage = self._stages.get(event.get("stage", ""))
        match event["event"]:
            case "stage" if event["state"] == "running":
                self._begin(event["stage"])
            case "stage" if stage:
                self._end(stage, event)
            case "note" if stage:
                stage.note(event["note"])
            case "progress" if stage and "bytes" in event:
                stage.progress(event["bytes"], event["total"])
            case "progress" if stage:
                stage.progress(event["done"], event["total"], event["unit"])
            case "output" if stage:
                stage.output(event["line"])
            case "message":
                self._console.say(event["text"])
            case "warning":
                self._console.warn(event["text"])

    def _begin(self, path: str) -> None:
        # A name may have a slash in it ("1/5 packages"), so the parent is the longest path that is known.
        above = max((known for known in self._stages if path.startswith(f"{known}/")), key=len, default="")
        stage = self._console.stage(path[len(above) + 1 :] if above else path, parent=self._stages.get(above))
        self._stages[path] = stage
        stage.__enter__()

    def _end(self, stage: Stage, event: dict[str, Any]) -> None:
        if event.get("note"):
            stage.note(event["note"])
        stage.state = event["state"]
        stage.__exit__(None, None, None)

    def close(self) -> None:
        """End what the process has left open, the innermost first."""
        for stage in reversed(self._stages.values()):
            if stage.running:
                stage.state = "failed"
                stage.__exit__(None, None, None)
