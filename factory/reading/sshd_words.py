"""The words of sshd_config: which keywords and algorithms sshd knows. One that it does not know keeps it from starting.

Distributions patch sshd and versions differ, so a word that is not listed here is looked for in the program itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from factory.reading.once import once
from factory.reading.sshd import PROGRAMS, Line

if TYPE_CHECKING:
    from factory.inspection import Image


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Of OpenSSH from 5.3 on, those that it only passes over included, and of the patches of Debian, Red Hat and SUSE.
KEYWORDS = _words(
    """acceptenv addressfamily afstokenpassing allowagentforwarding allowgroups allowstreamlocalforwarding
    allowtcpforwarding allowusers authenticationmethods authorizedkeyscommand authorizedkeyscommandrunas
    authorizedkeyscommanduser authorizedkeysfile authorizedkeysfile2 authorizedprincipalscommand
    authorizedprincipalscommanduser authorizedprincipalsfile banner canonicalmatchuser casignaturealgorithms
    challengeresponseauthentication channeltimeout checkmail chrootdirectory ciphers clientalivecountmax
    clientaliveinterval compression debianbanner denygroups denyusers disableforwarding dsaauthentication
    exposeauthenticationmethods exposeauthinfo fingerprinthash forcecommand gatewayports gssapiauthentication
    gssapicleanupcredentials gssapicleanupcreds gssapidelegatecredentials gssapienablek5users gssapiindicators
    gssapikexalgorithms gssapikeyexchange gssapistorecredentialsonrekey gssapistrictacceptorcheck
    gssapiusesessioncredcache gssusesessionccache hostbasedacceptedalgorithms hostbasedacceptedkeytypes
    hostbasedauthentication hostbasedusesnamefrompacketonly hostcertificate hostdsakey hostkey hostkeyagent
    hostkeyalgorithms ignorerhosts ignoreuserknownhosts include ipqos kbdinteractiveauthentication keepalive
    kerberosauthentication kerberosgetafstoken kerberosorlocalpasswd kerberostgtpassing kerberosticketcleanup
    kerberosuniqueccache kerberosusekuserok kexalgorithms keyregenerationinterval listenaddress logingracetime loglevel
    logverbose macs match maxauthtries maxsessions maxstartups modulifile pamauthenticationviakbdint pamservicename
    passwordauthentication permitblacklistedkeys permitemptypasswords permitlisten permitopen permitrootlogin permittty
    permittunnel permituserenvironment permituserrc persourcemaxstartups persourcenetblocksize persourcepenalties
    persourcepenaltyexemptlist pidfile port printlastlog printmotd protocol pubkeyacceptedalgorithms
    pubkeyacceptedkeytypes pubkeyauthentication pubkeyauthoptions rdomain refuseconnection rekeylimit requiredrsasize
    reversemappingcheck revokedkeys rhostsauthentication rhostsrsaauthentication rsaauthentication rsaminsize
    securitykeyprovider serverkeybits setenv showpatchlevel skeyauthentication sshdauthpath sshdsessionpath
    streamlocalbindmask streamlocalbindunlink strictmodes subsystem syslogfacility tcpkeepalive trustedusercakeys
    unusedconnectiontimeout usedns uselogin usepam useprivilegeseparation verifyreversemapping versionaddendum
    x11displayoffset x11forwarding x11maxdisplays x11uselocalhost xauthlocation"""
)
# Every version wants a word after these; about others versions differ.
_WITH_WORD = _words(
    """addressfamily allowagentforwarding allowtcpforwarding banner ciphers clientalivecountmax clientaliveinterval
    compression gatewayports hostbasedauthentication hostkey ignorerhosts ignoreuserknownhosts
    kbdinteractiveauthentication kexalgorithms listenaddress logingracetime loglevel macs maxauthtries maxsessions
    maxstartups passwordauthentication permitemptypasswords permitrootlogin permituserenvironment pidfile port
    printlastlog printmotd pubkeyauthentication strictmodes subsystem syslogfacility tcpkeepalive usedns usepam
    x11displayoffset x11forwarding x11uselocalhost"""
)
_MACS = (
    "hmac-sha1",
    "hmac-sha1-96",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-md5",
    "hmac-md5-96",
    "umac-64",
    "umac-128",
)
_ALGORITHMS = {
    "ciphers": _words(
        """3des-cbc aes128-cbc aes192-cbc aes256-cbc aes128-ctr aes192-ctr aes256-ctr aes128-gcm@openssh.com
        aes256-gcm@openssh.com chacha20-poly1305@openssh.com rijndael-cbc@lysator.liu.se none"""
    ),
    "macs": frozenset(
        name + end for name in _MACS for end in (("-etm@openssh.com", "@openssh.com" if "umac" in name else ""))
    ),
    "kexalgorithms": _words(
        """curve25519-sha256 curve25519-sha256@libssh.org diffie-hellman-group-exchange-sha1
        diffie-hellman-group-exchange-sha256 diffie-hellman-group1-sha1 diffie-hellman-group14-sha1
        diffie-hellman-group14-sha256 diffie-hellman-group16-sha512 diffie-hellman-group18-sha512 ecdh-sha2-nistp256
        ecdh-sha2-nistp384 ecdh-sha2-nistp521 mlkem768x25519-sha256 sntrup4591761x25519-sha512@tinyssh.org
        sntrup761x25519-sha512 sntrup761x25519-sha512@openssh.com"""
    ),
}
_PROGRAM = 64 << 20  # bytes; no sshd is larger


def fault(image: Image, line: Line) -> str:
    """Why sshd ends at a line of its configuration, as far as that is certain; "" when it goes on."""
    if line.keyword not in KEYWORDS and not _in_program(image, line.keyword):
        return "no keyword of sshd"
    if line.keyword in _WITH_WORD and not line.words:
        return "it wants a word"
    known = _ALGORITHMS.get(line.keyword)
    for name in _names(line.words) if known else ():
        # A program with real tables decides alone: versions drop algorithms, and add others.
        if known and not _in_program(image, name) and (name not in known or _in_program(image, "aes256-ctr")):
            return f"sshd knows no {name}"
    return ""


def _names(words: Sequence[str]) -> Iterator[str]:
    """The algorithms of a list that sshd looks up: all but of one that takes some away, or that has patterns."""
    given = words[0] if words else ""
    if not given.startswith("-"):
        yield from (name for name in given.lstrip("+^").split(",") if name and not set(name) & set("*?!"))


def _in_program(image: Image, word: str) -> bool:
    return word.encode("utf-8", "surrogateescape") + b"\0" in _program(image)


@once
def _program(image: Image) -> bytes:
    """sshd itself, in which every word that it knows ends in a zero byte; linkers let it be the end of a longer one."""
    for path in PROGRAMS:
        found = image.stat(path, follow=True)
        if found and found.kind == "file" and found.size <= _PROGRAM:
            return b"".join(image.chunks(path))
    return b""
