"""Logins by key: sshd takes the key that cloud-init puts into the default user's .ssh/authorized_keys.

Every line that decides for the default user counts: what a Match block says for that user, lists of allowed users and
groups, the methods that a login needs, the addresses that sshd listens on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.quoting import quoted
from factory.reading import accounts, default_user, sshd
from factory.reading.sshd import Line, Sshd

DEFAULTS = (".ssh/authorized_keys", "%h/.ssh/authorized_keys", "/home/%u/.ssh/authorized_keys")
_ANY = ("0.0.0.0", "::", "[::]", "*", "any")  # noqa: S104 (what sshd may listen on)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    ssh = looked.know(sshd.read)
    if not ssh.installed:
        raise NotApplicable("there is no sshd")
    user = looked.know(default_user.read)
    name = user.name or "root"
    yield from _decided(ssh, "PubkeyAuthentication", name, lambda line: line.value == "no")
    yield from _decided(ssh, "AuthorizedKeysFile", name, lambda line: not set(line.words) & set(DEFAULTS))
    yield from _decided(ssh, "AuthenticationMethods", name, lambda line: not _key_suffices(line.words))
    yield from _decided(ssh, "ForceCommand", name, lambda line: line.value != "none")
    yield from _decided(ssh, "PubkeyAcceptedAlgorithms", name, lambda line: not _usual_keys(line.words))
    yield from _listed(ssh, name, (name, *user.groups))
    addresses = [line for line in ssh.each("ListenAddress") if line.words]
    if addresses and not any(_host(line.words[0]) in _ANY for line in addresses):
        for line in addresses:
            yield Problem(line.path, f"{line.evidence}: no address that a machine will have", fix=line.removed)
    for line in ssh.each("Port"):
        if line.words and line.words[0] != "22":
            yield Problem(line.path, f"{line.evidence}: not the port that clouds open", True, line.removed)
    account = looked.know(accounts.read).named(name)
    if account and not account.login_shell:
        told = f"{account.place}: {name} has the shell {account.shell}, which lets nobody in"
        yield Problem(name, told, fix=f"usermod -s /bin/sh {quoted(name)}")


def _decided(ssh: Sshd, keyword: str, user: str, wrong: Callable[[Line], bool]) -> Iterator[Problem]:
    for line in ssh.deciding(keyword):
        about = line.about(user)
        if about is not False and wrong(line):
            yield Problem(line.path, line.evidence, about is None, line.removed)
        if about and line.match is not None:
            return


def _key_suffices(words: Sequence[str]) -> bool:
    return any(word in ("any", "publickey", "publickey,publickey") for word in words)


def _usual_keys(words: Sequence[str]) -> bool:
    """Whether keys that clouds use are accepted; ``+``, ``-`` and ``^`` change the defaults, which do."""
    names = ",".join(words)
    return names[:1] in ("+", "-", "^") or any(each in names for each in ("ssh-ed25519", "rsa-sha2-", "*"))


def _listed(ssh: Sshd, user: str, groups: Sequence[str]) -> Iterator[Problem]:
    """Whether lists of users and groups, all lines of which count, let the default user in."""
    for keyword, names in (("AllowUsers", [user]), ("AllowGroups", groups)):
        lines = ssh.each(keyword)
        words = [word.partition("@")[0] for line in lines for word in line.words]
        if words and not any(sshd.listed(name, words) for name in names):
            yield Problem(lines[0].path, f"{lines[0].evidence}: {user} is not among them", fix=lines[0].removed)
    for keyword, names in (("DenyUsers", [user]), ("DenyGroups", groups)):
        for line in ssh.each(keyword):
            if any(sshd.listed(name, [word for word in line.words if "@" not in word]) for name in names):
                yield Problem(line.path, f"{line.evidence}: {user} is among them", fix=line.removed)


def _host(address: str) -> str:
    """The address of a ListenAddress, which may have a port."""
    if address.startswith("["):
        return address.partition("]")[0] + "]"
    return address.partition(":")[0] if address.count(":") == 1 else address
