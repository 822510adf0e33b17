"""The recipe's own tests, run in a booted guest until they hold or their time is up."""

from __future__ import annotations

import contextlib
import json
import shlex
import time

from factory.errors import MachineError
from factory.findings import Finding
from factory.guest import Guest
from factory.hypervisor.machine import Machine
from factory.recipe import CommandTest, HttpTest, PortTest, Recipe, ServiceTest, Test

# Asks inside the guest, so that a service that listens on its loopback only is reached too; no tool of the guest is
# needed.
ASK_HTTP = """
import http.client, json, sys
want = json.loads(sys.argv[1])
try:
    connection = http.client.HTTPConnection("127.0.0.1", want["port"], timeout=20)
    connection.request("GET", want["path"], headers={"Host": "localhost", "Connection": "close"})
    answer = connection.getresponse()
    body = answer.read(2000000).decode("utf-8", "replace")
except OSError as error:
    print(f"no answer: {error}"); sys.exit(1)
if answer.status != want["status"]:
    print(f"status {answer.status}, wanted {want['status']}"); sys.exit(1)
if want["contains"] is not None and want["contains"] not in body:
    print(f"status {answer.status}, but the answer lacks {want['contains']!r}: {body[:300]!r}"); sys.exit(1)
print(f"status {answer.status}, {len(body)} characters")
"""
ASK_PORT = """
import socket, sys
for host in ("127.0.0.1", "::1"):
    try:
        socket.create_connection((host, int(sys.argv[1])), timeout=20).close()
    except OSError as error:
        print(f"{host}: {error}"); continue
    print(f"{host} accepts"); sys.exit(0)
sys.exit(1)
"""
PAUSE = 2.0  # seconds between two tries
SLOW_PAUSE = 5.0  # the same where the machine is emulated: a try is work for it
IDLE = 0.5  # processes that wait for a processor, over a minute
PATIENCE = 30.0  # seconds that a try may go on after the test's own time is up


def run_tests(recipe: Recipe, guest: Guest, machine: Machine, boot: str, scale: float) -> list[Finding]:
    """One finding for each test of *recipe*.

    What *scale* adds to their time runs from now, for all at once: they wait for the same guest to come up.
    """
    began = time.monotonic()
    return [_run(test, number, guest, machine, boot, began, scale) for number, test in enumerate(recipe.test, 1)]


def _run(test: Test, number: int, guest: Guest, machine: Machine, boot: str, began: float, scale: float) -> Finding:
    start = time.monotonic()
    deadline = max(began + test.timeout * scale, start + test.timeout)
    pause = PAUSE if scale == 1 else SLOW_PAUSE
    while True:
        good, evidence = _try(test, guest, machine, max(deadline - time.monotonic(), 5.0))
        now = time.monotonic()
        # The longer time is for what a slow processor still has to do: a guest at rest has used up its own.
        if good or now + pause > deadline or (now - start >= test.timeout and _idle(guest, machine)):
            break
        time.sleep(pause)
    return Finding(
        rule=f"TEST-{number}",
        status="pass" if good else "fail",
        severity="error",
        subject=f"boot {boot}: {test.kind} {test.title}",
        evidence=evidence[:2000],
        why="The recipe asks for it",
        fix="" if good else f"Mend the recipe's provision, or this test (line {test.line})",
        source="the recipe",
    )


def _idle(guest: Guest, machine: Machine) -> bool:
    words = guest.read("cat /proc/loadavg", alive=machine.require_alive).split()
    with contextlib.suppress(ValueError):  # no number: nobody knows, so it has its time
        return bool(words) and float(words[0]) < IDLE
    return False


def _try(test: Test, guest: Guest, machine: Machine, seconds: float) -> tuple[bool, str]:
    match test:
        case ServiceTest():
            command, stdin = f"systemctl is-active {shlex.quote(test.name)}", b""
        case HttpTest():
            want = {"port": test.port, "path": test.path, "status": test.status, "contains": test.contains}
            command, stdin = f"python3 -I - {shlex.quote(json.dumps(want))}", ASK_HTTP.encode()
        case PortTest():
            command, stdin = f"python3 -I - {test.port}", ASK_PORT.encode()
        case CommandTest():
            command, stdin = f"/bin/sh -c {shlex.quote(test.run)}", b""
    limit = seconds + PATIENCE
    try:
        done = guest.run(f"sudo -n {command}", stdin=stdin, check=False, timeout=limit, alive=machine.require_alive)
    except MachineError as error:
        if isinstance(error.__cause__, TimeoutError):
            return False, f"it did not end within {limit:.0f} s"
        raise
    printed = (done.stdout + done.stderr).strip()
    if not isinstance(test, CommandTest):
        return done.status == 0, printed or f"status {done.status}"
    if done.status != test.status:
        return False, f"status {done.status}, wanted {test.status}: {printed[-1000:]}"
    if test.contains is not None and test.contains not in printed:
        return False, f"it does not print {test.contains!r} but: {printed[-1000:]}"
    return True, f"status {done.status}: {printed[-200:]}"
