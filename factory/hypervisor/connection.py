"""The only module that imports libvirt: opens it, starts its event loop, and translates its errors.

``qemu:///embed`` (the default) runs libvirt's QEMU driver inside this process, without a daemon and without root.
One process holds one embedded root, so a process opens it once and every machine of the process lives in it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from factory.errors import FactoryError, HostError, MachineError, UsageError
from factory.processes import mark

# libvirt's own socket names below the root reach about 33 bytes, and a socket path ends at 108.
LONGEST_ROOT = 70
NO_MEMORY = re.compile(r"cannot set up guest memory|Cannot allocate memory", re.IGNORECASE)
IMPOSSIBLE = re.compile(r"phys-bits too low|Invalid SMP CPUs|Maximum CPUs greater")  # on any host that is as this one
LESS_MEMORY = "Give the machine less memory ('machine' of the recipe, and 'requirements' for its boot tests)"


class Connection:
    """An open connection to libvirt; close it, or use it in a ``with``."""

    def __init__(self, uri: str, root: Path | None = None, account: str = "", known: Path | None = None) -> None:
        """*root* is the folder of the embedded driver; *account* runs QEMU when we are root.

        *known* keeps what libvirt found out about QEMU from one root to the next: asking anew takes seconds.
        """
        self.embedded = uri == "qemu:///embed"
        self.root = root if self.embedded else None
        self.uri = uri
        self._libvirt = _load(root)
        _start_events(self._libvirt)
        address = uri
        if self.embedded:
            if root is None:
                raise ValueError("an embedded connection needs a root")
            _prepare_root(root, account)
            if known:
                _copy_capabilities(known, root / "cache/qemu/capabilities")
            address = f"qemu:///embed?root={root}"
        else:
            require_local(uri)
        with self.errors("be opened", HostError), _at_home_in(root):
            self._handle = self._libvirt.open(address)
        if root and self.embedded and known:
            with self.errors("ask QEMU what it can do", HostError):
                self._handle.getCapabilities()
            # Kept before any guest runs, so that no guest can have had a hand in it.
            _copy_capabilities(root / "cache/qemu/capabilities", known)

    def define_and_start(self, xml: str) -> Any:
        """Start a transient domain from its *xml*; returns libvirt's domain.

        Raises HostError when this host is why it does not start, MachineError when what was asked for is.
        """
        with self._starting("start the virtual machine"):
            return self._handle.createXML(xml, self._libvirt.VIR_DOMAIN_START_AUTODESTROY if not self.embedded else 0)

    def checkpoint(self, domain: Any, xml: str) -> None:
        """Save memory and disk of the running *domain* as *xml* says; it goes on at once. The new disk is there."""
        flags = self._libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
        with self.errors("save the virtual machine", MachineError):
            domain.snapshotCreateXML(xml, flags | self._libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT)

    def saved_xml(self, memory: Path) -> str:
        """The XML in a file of saved memory."""
        with self.errors("read a saved virtual machine", MachineError):
            return str(self._handle.saveImageGetXMLDesc(str(memory)))

    def restore(self, memory: Path, xml: str, uuid: str) -> Any:
        """Start the saved machine *uuid* from *memory*, with what *xml* changes; returns libvirt's domain."""
        with self._starting("start the saved virtual machine", saved=True):
            self._handle.restoreFlags(str(memory), xml, self._libvirt.VIR_DOMAIN_SAVE_RUNNING)
            return self._handle.lookupByUUIDString(uuid)

    def alive(self, domain: Any) -> bool:
        """Whether *domain* still runs."""
        try:
            return bool(domain.isActive())
        except self._libvirt.libvirtError:
            return False

    def stopped(self, domain: Any) -> str:
        """Why QEMU has stopped *domain* by itself, which it does when it cannot write its disk; else empty."""
        try:
            state, reason = domain.state()
        except self._libvirt.libvirtError:
            return ""
        paused, cannot_write = self._libvirt.VIR_DOMAIN_PAUSED, self._libvirt.VIR_DOMAIN_PAUSED_IOERROR
        return "an input or output error" if (state, reason) == (paused, cannot_write) else ""

    def destroy(self, domain: Any) -> None:
        """End *domain* at once; quiet when it has ended already."""
        with contextlib.suppress(self._libvirt.libvirtError):
            domain.destroy()

    def versions(self) -> dict[str, str]:
        """The versions of libvirt and of QEMU as libvirt sees it."""
        with self.errors("tell its version", HostError):
            return {
                "libvirt": _dotted(self._handle.getLibVersion()),
                "qemu": _dotted(self._handle.getVersion()),
            }

    @contextlib.contextmanager
    def errors(self, doing: str, kind: type[HostError] | type[MachineError]) -> Iterator[None]:
        """Translate libvirt's errors into *kind*."""
        try:
            yield
        except self._libvirt.libvirtError as error:
            raise kind(
                f"libvirt could not {doing}",
                cause=str(error.get_error_message() or error),
                hint=_hint(str(error), self.uri),
                code="host.libvirt" if kind is HostError else "machine.start",
            ) from error

    @contextlib.contextmanager
    def _starting(self, doing: str, *, saved: bool = False) -> Iterator[None]:
        try:
            yield
        except self._libvirt.libvirtError as error:
            text = str(error.get_error_message() or error)
            ours = error.get_error_code() in (self._libvirt.VIR_ERR_XML_ERROR, self._libvirt.VIR_ERR_XML_DETAIL)
            raise _start_error(doing, text, self.uri, asked=ours, saved=saved) from error

    def close(self) -> None:
        """Close the connection; the machines of an embedded driver must have ended before."""
        with contextlib.suppress(self._libvirt.libvirtError):
            self._handle.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _load(root: Path | None) -> Any:
    # libvirt reads this when it is loaded; without it, it writes on our standard error. Programs that we start must not
    # inherit it: the folder is ours, and libvirt does not load when the file cannot be written.
    name, before = "LIBVIRT_LOG_OUTPUTS", os.environ.get("LIBVIRT_LOG_OUTPUTS")
    os.environ[name] = before or (f"3:file:{root}/libvirt.log" if root else "4:file:/dev/null")
    try:
        import libvirt
    except (ImportError, SystemError) as error:
        raise HostError(
            "the Python binding of libvirt cannot be loaded",
            cause=f"{error}" + (f"; {name} is {before!r}" if before else ""),
            hint="Run 'make setup'" + (f", or unset {name}" if before else ""),
            code="host.libvirt-binding",
        ) from error
    finally:
        if before is None:
            del os.environ[name]
    libvirt.registerErrorHandler(_silent, None)  # it would print every error on stderr
    return libvirt


def _silent(_context: object, _error: object) -> None:
    """Errors come as exceptions; libvirt need not print them too."""


_events: threading.Thread | None = None
_events_lock = threading.Lock()


def _start_events(libvirt: Any) -> None:
    """The embedded driver needs a running event loop before it is opened."""
    global _events
    with _events_lock:
        if _events is not None:
            return
        libvirt.virEventRegisterDefaultImpl()

        def loop() -> None:
            while True:
                try:
                    libvirt.virEventRunDefaultImpl()
                except libvirt.libvirtError:
                    time.sleep(0.1)

        _events = threading.Thread(target=loop, name="libvirt-events", daemon=True)
        _events.start()


def _prepare_root(root: Path, account: str) -> None:
    if len(os.fsencode(root)) > LONGEST_ROOT:
        raise HostError(
            f"the folder for libvirt is too long: {root}",
            cause="libvirt makes sockets below it, whose paths end at 108 bytes",
            hint="Set FACTORY_STATE to a shorter path",
            code="host.path-too-long",
        )
    lines = ['stdio_handler = "file"', "max_core = 0"]
    if os.geteuid() == 0:
        lines += [
            f'user = "{account}"',
            f'group = "{_group_of(account)}"',
            "cgroup_controllers = []",
            'security_driver = "none"',
            # Owners of files are set by us: libvirt would change them on images that are not ours alone.
            "dynamic_ownership = 0",
            "remember_owner = 0",
            "namespaces = []",
        ]
    lines.append("seccomp_sandbox = 1")
    config = root / "etc"
    config.mkdir(parents=True, exist_ok=True)
    (config / "qemu.conf").write_text("\n".join(lines) + "\n")


@contextlib.contextmanager
def _at_home_in(root: Path | None) -> Iterator[None]:
    """Where there is no XDG_RUNTIME_DIR, libvirt keeps a few files of its own in ~/.cache: let it be our folder."""
    if root is None or os.environ.get("XDG_RUNTIME_DIR"):
        yield
        return
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(root / "home")
    try:
        yield
    finally:
        del os.environ["XDG_CACHE_HOME"]
        if before is not None:
            os.environ["XDG_CACHE_HOME"] = before


def _copy_capabilities(source: Path, destination: Path) -> None:
    """libvirt itself checks, by times and versions, whether a copied answer still holds."""
    if source.is_dir():
        destination.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in source.glob("*.xml"):
            part = destination / f".{file.name}.{mark()}"
            shutil.copy2(file, part)
            part.replace(destination / file.name)


def _group_of(account: str) -> str:
    import grp
    import pwd

    return grp.getgrgid(pwd.getpwnam(account).pw_gid).gr_name


def require_local(uri: str) -> None:
    """Raise UsageError when *uri* is no libvirt of this host."""
    parts = urlsplit(uri)
    if parts.netloc or "+" in parts.scheme or parts.scheme != "qemu":
        raise UsageError(
            f"the libvirt address {uri!r} is not supported",
            cause="Only a libvirt of this host can reach the files of a build",
            hint="Use qemu:///embed (the default), qemu:///session or qemu:///system",
            code="usage.connect",
        )


def _start_error(doing: str, text: str, uri: str, *, asked: bool = False, saved: bool = False) -> FactoryError:
    """Why a machine did not start, by the words of libvirt and QEMU: this host, or what was *asked* for.

    A *saved* machine may be no good itself.
    """
    message = f"libvirt could not {doing}"
    if NO_MEMORY.search(text):
        return HostError(message, cause=text, hint=f"{LESS_MEMORY}, or this host more, or swap", code="host.memory")
    if IMPOSSIBLE.search(text):
        return MachineError(message, cause=text, hint=f"{LESS_MEMORY}, and fewer CPUs", code="machine.start")
    if asked or saved:
        return MachineError(message, cause=text, hint=_hint(text, uri), code="machine.start")
    return HostError(message, cause=text, hint=_hint(text, uri), code="host.machine-start")


def _hint(text: str, uri: str) -> str:
    if "Failed to connect socket" in text:
        return f"Is the daemon behind {uri} running, and may you use it? Without --connect no daemon is needed"
    if "no connection driver" in text:
        return "Run 'make setup' to install the QEMU driver of libvirt"
    if "Permission denied" in text:
        return "Run 'factory doctor' to see which file or device is meant and how to open it"
    if "Cannot find" in text or "no emulator" in text.lower() or "Unable to find" in text:
        return "Run 'make setup' to install QEMU"
    if "memory" in text.lower():
        return "Give the recipe's machine less memory, or free some on this host"
    return "Run 'factory doctor'"


def _dotted(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
