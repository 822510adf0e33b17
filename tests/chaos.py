"""``make chaos``: kill -9 at random moments of real builds, and look what is left.

Run as ``python -m tests.chaos --rounds 20``.

Each round starts a real build (or makes a base anew), kills it at a moment that the seed decides, runs ``factory gc``,
and looks for processes, mounts and files that should not be there. Then a build runs to its end, and its image must
hold the bytes that this round gave it. Round N of a seed is always the same: ``--first N --rounds 1`` repeats it.

Nothing outside the work folder is touched; the base is copied from the user's cache, when one is there.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from factory import bases, cache, inspection
from factory.copying import clone_file
from factory.processes import started

TOP = Path(__file__).parents[1]
PR_SET_CHILD_SUBREAPER = 36
PAYLOAD = 5_000_000  # bytes of a file that the recipe copies
FIRST_GUESS = 100.0  # seconds of a build, before one has been measured
GC_LIMIT = 60.0  # seconds
BUILD_LIMIT = 1500.0
RECIPE = """schema: 1
name: chaos
version: 1.0.0
base: debian-12
disk: 4GiB
upgrade: none
variables: {word: {}}
provision:
  - shell: echo @before > /var/lib/chaos-before
  - copy: {source: payload, destination: /var/lib/chaos-payload}
  - copy: {source: word, destination: /var/lib/chaos-word, template: true}
  - shell: sha256sum /var/lib/chaos-payload | cut -d' ' -f1 > /var/lib/chaos-sum
"""


@dataclass
class Round:
    """What one round did and found; *wrong* is empty when all is well. Times are in seconds."""

    number: int
    what: str
    victims: str
    after: float
    stage: str = ""
    ended_before: bool = False
    gc: float = 0.0
    build: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Chaos:
    """The place of all rounds, and what they share."""

    def __init__(self, work: Path, seed: str) -> None:
        self.work, self.seed = work, seed
        self.state, self.out, self.cache, self.tmp = (work / name for name in ("state", "out", "cache", "tmp"))
        self.expected = FIRST_GUESS
        self.update = FIRST_GUESS * 2
        self.report = work / "rounds.jsonl"
        self.mounts = _mounts()

    def prepare(self) -> None:
        """The recipe, its payload, and a base."""
        for folder in (self.state, self.tmp, self.work / "recipes" / "chaos"):
            folder.mkdir(parents=True, exist_ok=True)
        (self.work / "recipes" / "chaos.yaml").write_text(RECIPE)
        payload = random.Random("payload").randbytes(PAYLOAD)
        (self.work / "recipes" / "chaos" / "payload").write_bytes(payload)
        (self.work / "recipes" / "chaos" / "word").write_text("@word@\n")
        self.digest = hashlib.sha256(payload).hexdigest()
        definition = bases.resolve("debian-12")
        store = cache.Cache(self.cache)
        if bases.cached(definition, store) is None and (have := bases.cached(definition)) is not None:
            copy = self.work / "base"
            clone_file(have.path, copy)
            facts = dict(have.facts)
            store.put("base", definition.key, copy, facts)
        _say(f"base: {'copied from the cache' if bases.cached(definition, store) else 'is made by the first build'}")

    def run(self, number: int, *, short: bool) -> Round:
        """Round *number*: the build that is killed, gc, and (unless *short*) one that is not."""
        chance = random.Random(f"{self.seed}:{number}")
        base = chance.random() < 0.1 and not short
        words = ["bases", "update", "debian-12"] if base else self._build(f"killed-{number}", chance)
        victims = chance.choices(["factory", "factory and watcher", "its process group"], [6, 2, 2])[0]
        moment = chance.random() * (self.update if base else self.expected)
        done = Round(number, " ".join(words[:2]), victims, round(moment, 1))
        self._kill(words, victims, moment, done)
        begin = time.monotonic()
        swept = self._factory(["gc"], GC_LIMIT)
        done.gc = round(time.monotonic() - begin, 1)
        if swept.returncode != 0 or "Traceback" in swept.stderr:
            done.wrong.append(f"gc ended with {swept.returncode}: {swept.stderr[-500:]}")
        done.wrong += self.strays()
        if not short:
            self._build_whole(number, done)
        with self.report.open("a") as report:
            report.write(json.dumps(asdict(done)) + "\n")
        return done

    def _build(self, word: str, chance: random.Random) -> list[str]:
        test = chance.choices(["none", "quick"], [3, 1])[0]
        return ["build", "chaos", "--set", f"word={word}", "--boot-test", test, "--keep", "never", "--accept-stale"]

    def _environment(self) -> dict[str, str]:
        places = {"FACTORY_STATE": self.state, "FACTORY_CACHE": self.cache, "TMPDIR": self.tmp, "PYTHONPATH": TOP}
        return os.environ | {name: str(path) for name, path in places.items()} | {"PYTHONDONTWRITEBYTECODE": "1"}

    def _start(self, words: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "factory", *words],
                cwd=self.work, env=self._environment(), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                start_new_session=True,
            )  # fmt: skip

    def _factory(self, words: list[str], limit: float) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "factory", *words]
        return subprocess.run(
            argv, cwd=self.work, env=self._environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=limit, check=False,
        )  # fmt: skip

    def _kill(self, words: list[str], victims: str, moment: float, done: Round) -> None:
        log = self.work / f"round-{done.number}.log"
        process = self._start(words, log)
        deadline = time.monotonic() + moment
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(min(0.05, max(0.0, deadline - time.monotonic())))
        done.ended_before = process.poll() is not None
        if not done.ended_before:
            watchers = [pid for pid, words in _children(process.pid).items() if "watcher.py" in words]
            process.kill() if victims != "its process group" else os.killpg(process.pid, signal.SIGKILL)
            for pid in watchers if victims == "factory and watcher" else []:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        elif process.returncode != 0:
            done.wrong.append(f"it ended by itself with {process.returncode}: {log.read_text()[-1000:]}")
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        done.stage = lines[-1][:100] if lines else ""

    def _build_whole(self, number: int, done: Round) -> None:
        """The next build must succeed, with the bytes of this round."""
        word = f"whole-{number}"
        begin = time.monotonic()
        words = ["build", "chaos", "--set", f"word={word}", "--boot-test", "none", "--keep", "never", "--accept-stale"]
        try:
            built = self._factory([*words, "--json"], BUILD_LIMIT)
        except subprocess.TimeoutExpired:
            done.wrong.append(f"the next build did not end within {BUILD_LIMIT:.0f} s")
            return
        done.build = round(time.monotonic() - begin, 1)
        if built.returncode != 0:
            done.wrong.append(f"the next build ended with {built.returncode}: {built.stderr[-1500:]}")
            return
        self.expected = done.build
        (result,) = json.loads(built.stdout)["builds"]
        done.wrong += self._judge(Path(self.work, result["directory"]), word)
        done.wrong += self.strays()
        shutil.rmtree(self.out / "chaos", ignore_errors=True)

    def _judge(self, folder: Path, word: str) -> list[str]:
        sums = subprocess.run(
            ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, check=False
        )
        wrong = [] if sums.returncode == 0 else [f"SHA256SUMS of {folder} does not hold"]
        if (folder.parent / "latest").resolve() != folder.resolve():
            wrong.append("latest does not point to the build")
        image, raw = next(folder.glob("*.qcow2")), self.work / "image.raw"
        checked = subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", image], capture_output=True, check=False)
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True)
        wrong += [] if checked.returncode == 0 else [f"qemu-img check: {checked.returncode}"]
        try:
            with inspection.open_image(raw, format="raw") as view:
                held = {name: view.read(f"/var/lib/chaos-{name}") for name in ("before", "payload", "word", "sum")}
        finally:
            raw.unlink()
        found = hashlib.sha256(held["payload"]).hexdigest(), held["sum"].decode().strip(), held["word"], held["before"]
        expected = self.digest, self.digest, f"{word}\n".encode(), b"@before\n"
        return wrong if found == expected else [*wrong, f"the image holds {found}, not {expected}"]

    def strays(self) -> list[str]:
        """What is left that should not be: processes, mounts, files."""
        deadline = time.monotonic() + 3  # a process that was killed just now may still be ending
        while (left := _children(os.getpid())) and time.monotonic() < deadline:
            time.sleep(0.1)
        found = [f"process {pid}: {words[:150]}" for pid, words in left.items()]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        found += [f"mount {line}" for line in _mounts() - self.mounts]
        places = [self.state / name for name in ("builds", "ledger", "libvirt", "tests")]
        found += [f"file {path}" for place in places if place.is_dir() for path in place.iterdir()]
        found += [f"file {path}" for path in self.tmp.iterdir()]
        found += [f"file {path}" for path in self.cache.glob("work/*")]
        if not found:  # else there may be a whole /proc in it
            found += [f"file {path}" for path in self.cache.rglob(".*")]
            found += [f"file {path}" for path in self.out.rglob(".*")]
        return found


def _mounts() -> set[str]:
    return set(Path("/proc/self/mounts").read_text().splitlines())


def _children(parent: int) -> dict[int, str]:
    """The processes below *parent* that have not ended, with their command lines; ours that have are reaped."""
    with contextlib.suppress(ChildProcessError):
        while parent == os.getpid() and os.waitpid(-1, os.WNOHANG)[0]:
            pass
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found: dict[int, str] = {}
    below = list(parents.get(parent, []))
    while below:
        pid = below.pop()
        below += parents.get(pid, [])
        with contextlib.suppress(OSError):
            if started(pid) is not None:
                found[pid] = (Path(f"/proc/{pid}/cmdline").read_bytes()).replace(b"\0", b" ").decode(errors="replace")
    return found


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run the rounds; 0 when nothing was wrong in any of them."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="the number of the first round")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--work", type=Path, help="a folder; what is measured there is kept")
    parser.add_argument("--within", type=float, default=FIRST_GUESS, help="seconds in which the first build is killed")
    parser.add_argument("--short", action="store_true", help="no build to its end after each kill")
    chosen = parser.parse_args(arguments)
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("this process cannot be a subreaper")
    with contextlib.ExitStack() as closing:
        work = chosen.work or Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="chaos-", dir="/var/tmp")))
        work.mkdir(parents=True, exist_ok=True)
        chaos = Chaos(work.absolute(), chosen.seed)
        chaos.expected = chosen.within
        chaos.prepare()
        bad = 0
        for number in range(chosen.first, chosen.first + chosen.rounds):
            done = chaos.run(number, short=chosen.short)
            bad += bool(done.wrong)
            _say(_line(done))
        _say(f"{chosen.rounds} rounds of seed {chosen.seed}: {bad} with something wrong")
    return 1 if bad else 0


def _line(done: Round) -> str:
    words: dict[str, Any] = {"gc": f"{done.gc} s", "next build": f"{done.build} s"}
    tail = ", ".join(f"{name} {value}" for name, value in words.items())
    verdict = "WRONG: " + "; ".join(done.wrong) if done.wrong else "all well"
    killed = "ended before" if done.ended_before else f"killed {done.victims}"
    return f"{done.number}: {done.what}, {killed} after {done.after} s [{done.stage}]; {tail}: {verdict}"


if __name__ == "__main__":
    sys.exit(main())
