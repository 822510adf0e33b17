"""Logins by password: sshd takes none, whatever file decides, and root's least of all.

Where no line decides, passwords are on: that is an error only when an account has a password, and nothing when
cloud-init turns them off at the first boot (``ssh_pwauth: false``) and no earlier line keeps it from doing so.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.reading import accounts, cloud_init, sshd
from factory.reading.sshd import Line, Sshd

PASSWORD, KEYBOARD, ROOT = "PasswordAuthentication", "KbdInteractiveAuthentication", "PermitRootLogin"
_FALSE = ("false", "no", "off", "0")
_TRUE = ("true", "yes", "on", "1")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    ssh = looked.know(sshd.read)
    if not ssh.installed:
        raise NotApplicable("there is no sshd")
    settings, _ = cloud_init.merged(looked.image)
    later = str(settings.get("ssh_pwauth", "")).lower() if "ssh_pwauth" in settings else ""
    later = later if "set_passwords" in cloud_init.modules(settings, "cloud_config_modules") else ""
    usable = [each.name for each in looked.know(accounts.read).all if each.kind in ("usable", "none")]
    passwords = list(_passwords(ssh, later, usable))
    yield from passwords
    if later in _TRUE:
        told = f"ssh_pwauth: {later}: cloud-init turns passwords on at the first boot"
        yield Problem(
            "/etc/cloud/cloud.cfg", told, fix="echo 'ssh_pwauth: false' >/etc/cloud/cloud.cfg.d/99-pwauth.cfg"
        )
    yield from _keyboard(ssh, usable)
    for line in ssh.deciding("PermitEmptyPasswords"):
        if line.value == "yes":
            yield Problem(line.path, line.evidence, not passwords, line.removed)
    for line in ssh.deciding(ROOT):
        if line.value == "yes" and line.about("root") is not False:
            yield Problem(line.path, line.evidence, not passwords, line.removed)


def _passwords(ssh: Sshd, later: str, usable: list[str]) -> Iterator[Problem]:
    first = ssh.first(PASSWORD)
    if first is None and later not in _FALSE:
        who = f", and {', '.join(usable)} can log in by it" if usable else "; no account has a password"
        yield Problem("/etc/ssh/sshd_config", f"no line sets {PASSWORD}: passwords are on{who}", warn=not usable)
    elif first is not None and first.value == "yes" and not (later in _FALSE and _replaced(first)):
        yield Problem(first.path, first.evidence)
    for line in ssh.matched(PASSWORD):
        if line.value == "yes":
            yield Problem(line.path, line.evidence, fix=line.removed)


def _replaced(line: Line) -> bool:
    """Whether cloud-init's own drop-in comes before a line, or takes its place."""
    folder, _, name = line.path.rpartition("/")
    return not folder.endswith("sshd_config.d") or name >= "50-cloud-init.conf"


def _keyboard(ssh: Sshd, usable: list[str]) -> Iterator[Problem]:
    """With PAM, sshd asks for the password by this method too."""
    if ssh.value("UsePAM", "no") != "yes":
        return
    for line in ssh.deciding(KEYBOARD):
        if line.value == "yes":
            yield Problem(line.path, line.evidence)
    if ssh.first(KEYBOARD) is None and usable:
        who = ", ".join(usable)
        yield Problem("/etc/ssh/sshd_config", f"no line sets {KEYBOARD}: PAM asks for passwords, and {who} has one")
