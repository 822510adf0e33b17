"""Logins by key: sshd takes the key that cloud-init puts into the default user's .ssh/authorized_keys.

Every line that decides for the default user counts: what a Match block says for that user and its groups, lists of
allowed users and groups, the methods that a login needs, the addresses that sshd, or systemd for it, listens on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.quoting import quoted
from factory.reading import accounts, default_user, sshd
from factory.reading.sshd import Line, Sshd
from factory.reading.unit_file import Setting

DEFAULTS = (".ssh/authorized_keys", "%h/.ssh/authorized_keys", "/home/%u/.ssh/authorized_keys")
_ANY = ("0.0.0.0", "::", "[::]", "*", "any")  # noqa: S104 (what sshd may listen on)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    ssh = looked.know(sshd.read)
    if not ssh.installed:
        raise NotApplicable("there is no sshd")
    user = looked.know(default_user.read)
    name = user.name or "root"
    groups = (name, *user.groups)
    wrong: dict[str, Callable[[Line], bool]] = {
        "PubkeyAuthentication": lambda line: line.value == "no",
        "AuthorizedKeysFile": lambda line: not set(line.words) & set(DEFAULTS),
        "AuthenticationMethods": lambda line: not _key_suffices(line.words),
        "ForceCommand": lambda line: line.value != "none",
        "PubkeyAcceptedAlgorithms": lambda line: not _usual_keys(line.words),
        # Without that file, sshd takes no key at all.
        "RevokedKeys": lambda line: line.value not in ("none", "") and not looked.image.exists(line.words[0]),
        "MaxSessions": lambda line: line.value == "0",
    }
    if name == "root":
        wrong["PermitRootLogin"] = lambda line: line.value in ("no", "forced-commands-only")
    for keyword, is_wrong in wrong.items():
        yield from _decided(ssh, keyword, name, groups, is_wrong)
    yield from _listed(ssh, name, groups)
    yield from _sockets(ssh.sockets)
    addresses = [line for line in ssh.each("ListenAddress") if line.words]
    if addresses and not any(_host(line.words[0]) in _ANY for line in addresses):
        for line in addresses:
            yield Problem(line.path, f"{line.evidence}: no address that a machine will have", fix=line.removed)
    ports = [line for line in ssh.each("Port") if line.words]
    for line in ports if "22" not in [line.words[0] for line in ports] else ():
        yield Problem(line.path, f"{line.evidence}: not the port that clouds open", True, line.removed)
    account = looked.know(accounts.read).named(name)
    if account and not account.login_shell:
        told = f"{account.place}: {name} has the shell {account.shell}, which lets nobody in"
        yield Problem(name, told, fix=f"usermod -s /bin/sh {quoted(name)}")


def _decided(
    ssh: Sshd, keyword: str, user: str, groups: Sequence[str], wrong: Callable[[Line], bool]
) -> Iterator[Problem]:
    for line in ssh.deciding(keyword):
        about = line.about(user, groups)
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
        elif words and keyword == "AllowUsers":
            own = [(line, word) for line in lines for word in line.words if sshd.listed(user, [word.partition("@")[0]])]
            if all(word.partition("@")[2] not in ("", "*") for _, word in own):
                line, word = own[0]
                told = f"{line.evidence}: {user} is let in only from {word.partition('@')[2]}"
                yield Problem(line.path, told, True, line.removed)
    for keyword, names in (("DenyUsers", [user]), ("DenyGroups", groups)):
        for line in ssh.each(keyword):
            if any(sshd.listed(name, [word for word in line.words if "@" not in word]) for name in names):
                yield Problem(line.path, f"{line.evidence}: {user} is among them", fix=line.removed)


def _sockets(listens: Sequence[Setting]) -> Iterator[Problem]:
    """What systemd listens on in place of sshd: one of them must be port 22 of an address that a machine will have."""
    places = [(each, *each.value.rpartition(":")[::2]) for each in listens if not each.value.startswith(("/", "@"))]
    usable = [port for _, host, port in places if not host or host in _ANY]
    if not listens or "22" in usable:
        return
    setting = listens[-1]
    folder = f"/etc/systemd/system/{setting.path.partition('.socket')[0].rpartition('/')[2]}.socket.d"
    fix = f"mkdir -p {folder} && printf '[Socket]\\nListenStream=\\nListenStream=22\\n' >{folder}/zz-port-22.conf"
    told = "not the port that clouds open" if usable else "no address that a machine will have"
    place = f"{setting.path}:{setting.line}: ListenStream={setting.value}"
    yield Problem(setting.path, f"{place}: {told}", bool(usable), fix)


def _host(address: str) -> str:
    """The address of a ListenAddress, which may have a port."""
    if address.startswith("["):
        return address.partition("]")[0] + "]"
    return address.partition(":")[0] if address.count(":") == 1 else address
