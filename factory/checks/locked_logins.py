"""Locked accounts: where sshd asks no PAM, a password that starts with ``!`` refuses keys too.

Such an account needs ``*`` instead. Looked at are accounts of people, root where it is the login user, and the default
user that cloud-init has yet to make: it locks it with ``!``.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.reading import accounts, cloud_init, default_user, sshd

FIX = "sed -i -e '1i UsePAM yes' /etc/ssh/sshd_config (Alpine: apk add openssh-server-pam first)"
_PASSWORDS = ("passwd", "hashed_passwd", "plain_text_passwd")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    ssh, known = looked.know(sshd.read), looked.know(accounts.read)
    if not ssh.installed:
        raise NotApplicable("there is no sshd")
    if ssh.value("UsePAM", "no") == "yes":
        yield Note(f"{ssh.deciding('UsePAM')[0].evidence}")
        return
    made = looked.know(default_user.read).name
    login = made or "root"
    for account in known.all:
        wanted = account.name == login or (known.human(account) and account.login_shell)
        if wanted and account.password.startswith("!"):
            yield Problem(account.name, f"{account.password_place}: {account.name} is locked by !; sshd asks no PAM")
    if made and known.named(made) is None and looked.know(cloud_init.read).program:
        user = default_user.configured(looked.know(cloud_init.read).settings)
        unlocked = str(user.get("lock_passwd", "true")).lower() in ("false", "no", "0", "off", "n")
        if not (unlocked and any(user.get(key) for key in _PASSWORDS)):
            line = ssh.first("UsePAM")
            said = line.evidence if line else "UsePAM is not set"
            told = f"{said}: cloud-init makes {made} locked by !; sshd asks no PAM"
            # Without a password, it is up to the distribution what an account that is not to be locked begins with.
            yield Problem(line.path if line else sshd.CONFIGS[0], told, unlocked, FIX)
