"""Whether root's key would log in to a guest that goes on, by what its sshd says of itself.

The answers are those of OpenSSH 9.2, shortened to what is read of them.
"""

from __future__ import annotations

import pytest

from factory.renewal.way_in import judged

GOOD = """\
groups root
permitrootlogin without-password
pubkeyauthentication yes
passwordauthentication no
authorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2
authenticationmethods any
status 0
"""


def but(*lines: str) -> str:
    """A good answer with *lines* in place of those of the same settings."""
    names = [line.split()[0] for line in lines]
    kept = [line for line in GOOD.splitlines() if line.split()[0] not in names]
    return "\n".join([*kept, *lines])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (GOOD, ""),
        (but("permitrootlogin yes"), ""),
        (but("permitrootlogin no"), "PermitRootLogin is no"),
        (but("permitrootlogin forced-commands-only"), "PermitRootLogin is forced-commands-only"),
        (but("pubkeyauthentication no"), "PubkeyAuthentication is no"),
        (but("authenticationmethods publickey"), ""),
        (but("authenticationmethods publickey,password publickey"), ""),
        (but("authenticationmethods publickey,password"), "AuthenticationMethods asks for more than a key"),
        (but("authorizedkeysfile /etc/ssh/keys/%u"), "AuthorizedKeysFile is /etc/ssh/keys/%u"),
        (but("authorizedkeysfile none"), "AuthorizedKeysFile is none"),
        (but("allowusers app", "allowusers deploy"), "AllowUsers shuts root out"),
        (but("allowusers app", "allowusers root"), ""),
        (but("allowusers root@10.0.2.*"), ""),
        (but("allowusers root@192.0.2.1"), "AllowUsers shuts root out"),
        (but("denyusers ro*"), "DenyUsers shuts root out"),
        (but("denyusers app"), ""),
        (but("allowgroups ssh"), "AllowGroups shuts root out"),
        (but("allowgroups ssh", "allowgroups root"), ""),
        (but("groups root ssh", "allowgroups ssh"), ""),
        (but("denygroups root"), "DenyGroups shuts root out"),
        (
            "groups root\n/etc/ssh/sshd_config: line 9: Bad configuration option: Nonsense\nstatus 255\n",
            "its sshd refuses its settings: /etc/ssh/sshd_config: line 9: Bad configuration option: Nonsense",
        ),
        ("groups root\nsh: 1: sshd: not found\nstatus 127\n", ""),  # it cannot be asked
        ("groups root\nMissing privilege separation directory: /run/sshd\nstatus 255\n", ""),
        ("", ""),
    ],
)
def test_what_the_guests_sshd_says_of_roots_key(answer: str, why: str) -> None:
    assert judged(answer) == why
