"""The process that reads an image: its rights, its limits, its end, and what it may answer."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import inspection
from factory.errors import HostError
from factory.inspection import Image, Unreadable, open_image
from tests import inspected

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inspected.guest(tmp_path_factory.mktemp("guest"))


@pytest.fixture(scope="module")
def image(guest: Path) -> Iterator[Image]:
    with open_image(guest) as opened:
        yield opened


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="Reading an image"):
        open_image(tmp_path / "none")


def test_the_child_has_no_rights(guest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-parsers")
    with open_image(guest) as image:
        process = image._child.pid
        proc = Path("/proc", str(process))
        limits = dict(re.findall(r"^(Max [a-z ]+?)  +\S+ +(\S+)", (proc / "limits").read_text(), re.MULTILINE))
        assert limits["Max open files"] == limits["Max processes"] == limits["Max core file size"] == "0"
        assert int(limits["Max address space"]) <= 1 << 30
        assert int(limits["Max cpu time"]) <= 600
        status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == 0 or os.geteuid() != 0
        if os.geteuid() == 0:
            assert "0" not in status["Uid"].split()
            # Nothing of the host, only the mark by which gc finds what a dead run left.
            assert re.fullmatch(rb"(IMAGE_FACTORY_OWNER=[^\0]*\0)?", (proc / "environ").read_bytes())
            opened = {os.readlink(link) for link in (proc / "fd").iterdir()}
            assert {name for name in opened if name.startswith("/") and not name.startswith("/tmp/#")} <= {
                str(guest)
            } | {name for name in opened if "(deleted)" in name}


def test_a_child_that_dies_is_not_silence(guest: Path) -> None:
    with open_image(guest) as image:
        image._child.send_signal(signal.SIGKILL)
        with pytest.raises(Unreadable, match="it ended"):
            image.exists("/etc/fstab")
        with pytest.raises(Unreadable, match="any more"):
            image.exists("/etc/fstab")


def test_a_child_that_hangs_is_ended(guest: Path) -> None:
    with open_image(guest, timeout=0.5) as image:
        image._child.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(Unreadable, match="too long"):
            image.exists("/etc/fstab")
        assert time.monotonic() - began < 5
        assert image._child.poll() is not None


@pytest.mark.parametrize(
    "answer",
    [
        "b'garbage ' * 100",
        "b'\\0\\0\\0\\4\\0\\0\\0\\0' + b'null'",
        "b'\\0\\0\\0\\2\\0\\0\\0\\0' + b'{}'",
        "b'\\0\\0\\0\\2\\0\\0\\0\\0' + b'[]'",
        "b'\\x7f\\xff\\xff\\xff' * 2",
        "b'\\0\\0\\0\\x09\\0\\0\\0\\0' + b'{\"size\":\"'",
        "b'\\0\\0\\1\\0\\0\\0\\0\\0' + b'[' * 256",
        "b''",
    ],
)
def test_garbage_is_not_an_answer(guest: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    code = f"import sys; sys.stdout.buffer.write({answer}); sys.stdout.flush(); sys.stdin.read(4)"
    monkeypatch.setattr(inspection, "_START", code)
    with pytest.raises(Unreadable):
        open_image(guest, timeout=20)


def test_nothing_is_left_running(guest: Path) -> None:
    image = open_image(guest)
    process = image._child.pid
    image.close()
    image.close()
    assert not Path("/proc", str(process)).exists()
    with pytest.raises(Unreadable, match="closed"):
        image.exists("/")


def test_the_child_ends_with_the_factory(guest: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from factory.inspection import open_image\n"
        "print(open_image(Path(sys.argv[1]))._child.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    words = [sys.executable, "-c", code, str(guest)]
    environment = os.environ | {"PYTHONPATH": str(Path(inspection.__file__).parent.parent)}
    done = subprocess.run(words, capture_output=True, env=environment, check=False)
    process = Path("/proc", done.stdout.decode().strip())
    deadline = time.monotonic() + 10
    assert process.name.isdigit(), done.stderr
    while runs(process) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(process)


def runs(process: Path) -> bool:
    """Whether the process is there, and not only waits for somebody to take its exit status."""
    try:
        return "\nState:\tZ" not in (process / "status").read_text()
    except OSError:
        return False


def test_many_threads_may_ask(image: Image) -> None:
    wrong: list[object] = []

    def ask() -> None:
        for _ in range(100):
            for path, content in (("/etc/hostname", b"guest\n"), ("/boot/efi/EFI/debian/grub.cfg", b"search")):
                if image.read(path) != content:
                    wrong.append(path)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
