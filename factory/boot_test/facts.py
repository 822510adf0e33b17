"""What a booted guest says of itself: read once, in one command, then judged by the assertions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from factory import cloud_init
from factory.errors import MachineError
from factory.guest import Guest
from factory.hypervisor.machine import Machine
from factory.seed import COUNTER_FILE, MARKER_FILE

WAIT = 120  # seconds for cloud-init and for systemd's first transaction; scaled

# Runs in the guest as root. Python is there wherever cloud-init is; the answer is one line of JSON behind a mark.
SCRIPT = r"""
import glob, json, os, pwd, subprocess, sys
def out(*argv):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode("utf-8", "replace")
def text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None
def data(path):
    try:
        return json.loads(text(path) or "null")
    except ValueError:
        return None
def is_card(name):
    at = "/sys/class/net/" + name
    below = [path.split("/lower_")[-1] for path in glob.glob(at + "/lower_*")]
    return os.path.exists(at + "/device") or any(map(is_card, below))
root = os.statvfs("/")
keys = {}
for user in pwd.getpwall():
    for name in ("authorized_keys", "authorized_keys2"):
        content = text(os.path.join(user.pw_dir, ".ssh", name))
        if content and content.strip():
            keys.setdefault(user.pw_name, []).extend(line for line in content.splitlines() if line.strip())
answer = {
    "result": data("/run/cloud-init/result.json"),
    "status": data("/run/cloud-init/status.json"),
    "enabled": os.path.exists("/run/cloud-init/enabled"),
    "machine_id": (text("/etc/machine-id") or "").strip(),
    "dbus_id": (text("/var/lib/dbus/machine-id") or "").strip(),
    "host_keys": {path: (text(path) or "").strip() for path in glob.glob("/etc/ssh/ssh_host_*_key.pub")},
    "root_size": root.f_frsize * root.f_blocks,
    "route": out("ip", "-4", "route", "show", "default"),
    "addresses": out("ip", "-4", "-o", "addr", "show", "scope", "global"),
    "cards": [name for name in os.listdir("/sys/class/net") if is_card(name)],
    "failed": [line.split()[0] for line in out("systemctl", "--failed", "--plain", "--no-legend").splitlines() if line],
    "running": out("systemctl", "is-system-running").strip(),
    "authorized_keys": keys,
    "hostname": os.uname().nodename,
    "marker": (text(sys.argv[1]) or "").strip(),
    "runs": len((text(sys.argv[2]) or "").split()),
    "shadow": [line.split(":")[:2] for line in (text("/etc/shadow") or "").splitlines()],
    "uids": {user.pw_name: user.pw_uid for user in pwd.getpwall()},
    "os": text("/etc/os-release") or "",
    "boot_id": (text("/proc/sys/kernel/random/boot_id") or "").strip(),
}
print("FACTS " + json.dumps(answer))
"""


@dataclass(frozen=True)
class Facts:
    """The answers of one guest."""

    result: dict[str, Any]  # cloud-init's result.json: datasource and errors
    status: dict[str, Any]  # cloud-init's status.json, with recoverable errors where its version has them
    enabled: bool
    machine_id: str
    dbus_id: str
    host_keys: dict[str, str]  # path of the public key -> its line
    shown_key: str  # the host key of this very SSH session
    root_size: int  # bytes of the root file system
    route: str
    addresses: str
    cards: list[str]  # names of the machine's cards, and of bridges and the like that stand on one
    failed: list[str]
    running: str
    authorized_keys: dict[str, list[str]]
    hostname: str
    marker: str
    runs: int
    locked: dict[str, bool]  # user -> nobody can log in with a password
    no_password: list[str]  # users who need none
    uids: dict[str, int]
    boot_id: str
    methods: list[str]


def gather(guest: Guest, machine: Machine, scale: float) -> Facts:
    """Wait for the guest to come to rest, then ask it everything at once.

    Raises MachineError, and HostError when this host is why the machine stopped.
    """
    from factory.guest import offered_methods

    limit, alive = WAIT * scale, machine.require_alive
    cloud_init.wait(guest, timeout=limit, alive=alive)
    guest.run("systemctl is-system-running --wait", check=False, timeout=limit, alive=alive)
    ask = f"sudo -n python3 -I - {MARKER_FILE} {COUNTER_FILE}"
    done = guest.run(ask, stdin=SCRIPT.encode(), check=False, timeout=limit, alive=alive)
    line = next((line for line in done.stdout.splitlines() if line.startswith("FACTS ")), "")
    if not line:
        raise MachineError(
            f"the guest could not be asked: 'sudo -n python3' as {guest.user} ended with status {done.status}",
            cause=(done.stderr.strip().splitlines() or ["it printed nothing"])[-1],
            hint="The default user needs sudo without a password, as cloud-init gives it",
            output=done.stderr[-2000:],
            code="machine.no-sudo",
        )
    answer = json.loads(line.removeprefix("FACTS "))
    shadow = dict(entry for entry in answer.pop("shadow") if len(entry) == 2)
    answer.pop("os")
    return Facts(
        **{**answer, "result": answer["result"] or {}, "status": answer["status"] or {}},
        locked={name: _locked(password) for name, password in shadow.items()},
        no_password=[name for name, password in shadow.items() if not password],
        shown_key=guest.host_key,
        methods=offered_methods(machine.spec.ssh_port, guest.user, timeout=machine.answer_time),
    )


def _locked(password: str) -> bool:
    return password.startswith(("!", "*"))
