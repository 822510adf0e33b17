"""Way of booting: the system goes to its normal target, asks nobody anything, and lets people log in."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.reading import first_boot, systemd

_FILES = {
    "/etc/nologin": ("only root may log in while it is there", False),
    "/run/nologin": ("only root may log in while it is there", False),
    "/.unconfigured": ("the first boot asks questions on the console", False),
    "/forcefsck": ("the first boot checks all file systems", True),
}
_BAD_TARGETS = ("rescue.target", "emergency.target", "initrd.target", "poweroff.target", "halt.target", "reboot.target",
                "shutdown.target", "kexec.target", "system-update.target")  # fmt: skip
_NEEDED = ("multi-user.target", "basic.target", "sysinit.target", "local-fs.target", "network.target", "sockets.target",
           "systemd-logind.service", "dbus.service", "systemd-udevd.service", "systemd-journald.service")  # fmt: skip
_UPDATE = "/system-update"


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    image = looked.image
    for path, (what, mild) in _FILES.items():
        if what and image.exists(path):
            yield Problem(path, f"{path} is there: {what}", mild, f"rm -f {path}")
    if image.exists(_UPDATE) or image.exists(f"/etc{_UPDATE}"):
        yield Problem(_UPDATE, f"{_UPDATE} is there: the first boot installs updates and starts anew", warn=True)
    units = looked.know(systemd.read)
    if not units.present:
        yield Note("nothing stops the boot")
        return
    target = units.default_target
    if target in _BAD_TARGETS:
        path = units.path("default.target")
        told = f"{path or 'default.target'}: the system boots to {target}"
        yield Problem(path or "default.target", told, fix="systemctl set-default multi-user.target")
    for unit in _NEEDED:
        if path := units.masked(unit):
            told = f"{path}: {unit} is masked, and no normal boot does without it"
            yield Problem(path, told, fix=f"systemctl unmask {unit}")
    for question in first_boot.read(image):
        told = f"{question.path} starts {question.unit}: {question.why}"
        yield Problem(question.path, told, fix=f"systemctl mask {question.unit}")
    yield Note(f"the system boots to {target}")
