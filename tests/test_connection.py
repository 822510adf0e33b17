"""What is opened, what is refused, and how libvirt's own words are told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from factory.errors import HostError, UsageError
from factory.hypervisor import connection, embedded, reaper, watcher
from factory.hypervisor.connection import Connection
from factory.ledger import started

TOP = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "uri",
    ["qemu+ssh://host/system", "qemu://host/system", "qemu+unix:///system", "xen:///", "test:///default", "", "/etc"],
)
def test_what_is_no_libvirt_of_this_host_is_refused(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        Connection(uri)
    assert (caught.value.code, caught.value.status) == ("usage.connect", 2)


@pytest.mark.real
def test_a_daemon_that_is_not_there(tmp_path: Path) -> None:
    program = (
        "from factory.hypervisor.connection import Connection\n"
        "from factory.errors import HostError\n"
        "try:\n    Connection('qemu:///system')\n"
        "except HostError as error:\n    print(error.code, error.status, error)"
    )
    environment = os.environ | {"LIBVIRT_DEFAULT_URI": "", "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", program]
    if os.geteuid() == 0:  # in case that there is one
        without = 'mount -t tmpfs none /run; exec "$@"'
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", without, "sh", *command]
    done = subprocess.run(command, cwd=TOP, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("host.libvirt 3 libvirt could not be opened.")
    assert "Is the daemon behind qemu:///system running" in done.stdout


@pytest.mark.real
def test_what_libvirt_reads_at_its_start_is_not_inherited(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from factory.hypervisor import connection\n"
        "connection._load(Path(sys.argv[1])); assert 'LIBVIRT_LOG_OUTPUTS' not in os.environ\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "LIBVIRT_LOG_OUTPUTS"}
    subprocess.run([sys.executable, "-c", program, tmp_path], cwd=TOP, env=environment, check=True)
    assert (tmp_path / "libvirt.log").exists()


@pytest.mark.real
def test_a_log_of_the_users_own_that_cannot_be_written(tmp_path: Path) -> None:
    program = (
        "from factory.hypervisor import connection; from factory.errors import HostError\n"
        "try:\n    connection._load(None)\nexcept HostError as error:\n    print(error.code, error.hint)"
    )
    environment = os.environ | {"LIBVIRT_LOG_OUTPUTS": f"3:file:{tmp_path}/absent/log"}
    done = subprocess.run([sys.executable, "-c", program], cwd=TOP, env=environment, capture_output=True, text=True)
    assert "host.libvirt-binding" in done.stdout
    assert "unset LIBVIRT_LOG_OUTPUTS" in done.stdout


def test_a_folder_too_long_for_sockets_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(HostError) as caught:
        connection._prepare_root(Path("/" + "x" * 80), "")
    assert (caught.value.code, caught.value.status) == ("host.path-too-long", 3)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Failed to connect socket to '/run/libvirt/libvirt-sock': No such file", "Is the daemon"),
        ("Could not open '/x': Permission denied", "factory doctor"),
        ("internal error: Cannot find suitable emulator for x86_64", "install QEMU"),
        ("unsupported configuration: No emulator found for arch 'x86_64'", "install QEMU"),
        ("no connection driver available for qemu:///embed", "QEMU driver of libvirt"),
        ("cannot set up guest memory 'pc.ram': Cannot allocate memory", "less memory"),
        ("something new", "factory doctor"),
    ],
)
def test_libvirts_words_get_a_hint(text: str, hint: str) -> None:
    assert hint in connection._hint(text, "qemu:///system")


QEMU = "internal error: process exited while connecting to monitor: 2026-11-22T17:05:00.1Z qemu-system-x86_64: "


@pytest.mark.parametrize(
    ("text", "status", "code", "hint"),
    [
        (f"{QEMU}cannot set up guest memory 'pc.ram': Cannot allocate memory", 3, "host.memory", "less memory"),
        (f"{QEMU}Could not open '/x': Permission denied", 3, "host.machine-start", "factory doctor"),
        (f"{QEMU}Could not set up host forwarding rule 'tcp:127.0.0.1:1-:22'", 3, "host.machine-start", ""),
        ("unsupported configuration: Emulator does not support virt type 'kvm'", 3, "host.machine-start", ""),
        ("End of file while reading data: Input/output error", 3, "host.machine-start", ""),
        (f"{QEMU}Address space limit 0xffffffffff < 0x400ffffffff phys-bits too low (40)", 4, "machine.start", "less"),
        (f"{QEMU}Invalid SMP CPUs 300. The max CPUs supported by machine 'pc-i440fx-7.2' is 255", 4, "machine.start",
         "fewer CPUs"),
    ],
)  # fmt: skip
def test_who_is_why_a_machine_does_not_start(text: str, status: int, code: str, hint: str) -> None:
    error = connection._start_error("start it", text, "qemu:///embed")
    assert (error.status, error.code, error.cause) == (status, code, text)
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Unknown savevm section or instance '0000:00:03.0/x'", "machine.start"),
        (f"{QEMU}Cannot allocate memory", "host.memory"),
    ],
)
def test_a_saved_machine_may_itself_be_why(text: str, code: str) -> None:
    """The layer of the first is dropped, the layer of the second is not."""
    assert connection._start_error("start it", text, "qemu:///embed", saved=True).code == code


# -- the watcher


def test_the_watcher_meets_only_qemus_of_its_folder(tmp_path: Path) -> None:
    """The processes here are sleepers that call themselves qemu, or do not, and name the folder, or do not."""
    folder = tmp_path / "root"
    sleep = shutil.which("sleep") or pytest.fail("there is no sleep")

    def sleeper(name: str, path: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([f"{name} {path}/x", "60"], executable=sleep)

    ours = sleeper("qemu-system-x86_64", folder)
    others = [sleeper("qemu-system-x86_64", tmp_path / "root2"), sleeper("vim", folder)]
    try:
        assert watcher.processes_of(str(folder)) == [ours.pid]
        watcher.end_all(str(folder))
        assert ours.wait(5) == -9
        assert [other.poll() for other in others] == [None, None]
    finally:
        for process in (ours, *others):
            process.kill()
            process.wait()


# -- the reaper


def test_the_reaper_leaves_our_own_children_alone() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked
    assert child.pid not in reaper.ended()
    assert child.wait() == 0


# -- the folders of dead processes


def test_folders_of_processes_that_are_gone_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_STATE", str(tmp_path))
    mine = f"{os.getpid()}-{started(os.getpid())}"
    for name in (mine, f"{os.getpid()}-1", "999999999-5", "not-a-folder-of-ours"):
        folder = tmp_path / "libvirt" / name
        folder.mkdir(parents=True)
        (folder / embedded.PLACE).write_text(str(folder))
        os.utime(folder, (0, 0))
    removed = embedded.reap()
    assert sorted(Path(each).name for each in removed) == sorted([f"{os.getpid()}-1", "999999999-5"])
    assert sorted(path.name for path in (tmp_path / "libvirt").iterdir()) == sorted([mine, "not-a-folder-of-ours"])
