"""Rules about SSH: that it starts and takes keys, and that no key of the build is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rule_images import (
    Case,
    Change,
    append,
    benign,
    cases,
    defect,
    edit,
    folder,
    link,
    prove,
    remove,
    replace,
    write,
)
from tests.rules.test_boot import in_initramfs

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL9 build@host\n"
MAIN = "/etc/ssh/sshd_config"
DROP_INS = "/etc/ssh/sshd_config.d"
SYSTEM = "/etc/systemd/system"
LIB = "/usr/lib/systemd/system"
CLOUD = "/etc/cloud/cloud.cfg"

# Rules that look into homes, or at every file.
NO_HOMES = (
    *("CI04", "CI07", "DL06", "DL07", "DL11", "DL17", "GEN-G06", "GEN-G07", "GEN-G27", "GEN-G28", "GEN-G32"),
    *("GEN-G34", "GEN-G39", "GEN-G46", "GEN-G48", "ID24", "SH16"),
)


def moved(path: str, to: str) -> Change:
    return lambda guest: guest.files.__setitem__(to, guest.files.pop(path))


STARTS = [
    defect("GEN-G18", "debian", remove(f"{SYSTEM}/multi-user.target.wants/ssh.service")),
    defect("GEN-G18", "debian", link(f"{SYSTEM}/ssh.service", "/dev/null")),
    defect("GEN-G18", "debian", remove("/usr/sbin/sshd"), related=("GEN-G19", "GEN-G20", "SH02", "SH08")),
    defect(
        "GEN-G18",
        "debian",
        replace(
            f"{LIB}/ssh.service", "[Service]", "[Unit]\nConditionPathExists=!/etc/ssh/sshd_not_to_be_run\n[Service]"
        ),
        write("/etc/ssh/sshd_not_to_be_run", ""),
    ),
    defect(
        "GEN-G18",
        "debian",
        link(f"{SYSTEM}/default.target", f"{LIB}/rescue.target"),
        related=("BT17", "GEN-G09", "NET01", "SH02"),
    ),
    defect("GEN-G18", "debian", replace(f"{LIB}/ssh.service", "/usr/sbin/sshd -D", "/usr/bin/true"), related=("SH02",)),
    defect(
        "GEN-G18", "debian", replace("/boot/grub/grub.cfg", "tty0", "tty0 systemd.mask=ssh.service"), related=("BT12",)
    ),
    defect("GEN-G18", "rhel", remove(f"{SYSTEM}/multi-user.target.wants/sshd.service")),
    defect("GEN-G18", "suse", link(f"{SYSTEM}/sshd.service", "/dev/null"), related=("SH02",)),
    defect("GEN-G18", "alpine", remove("/etc/runlevels/default/sshd")),
    benign(
        "GEN-G18",
        "debian",
        remove(f"{SYSTEM}/multi-user.target.wants/ssh.service"),
        write(f"{LIB}/ssh.socket", "[Socket]\nListenStream=22\n"),
        link(f"{SYSTEM}/sockets.target.wants/ssh.socket", f"{LIB}/ssh.socket"),
        alone=True,
    ),
    defect("GEN-G18", "debian", append(MAIN, "PermitRootLogn no\n")),
    defect("GEN-G18", "rhel", write(f"{DROP_INS}/05-x.conf", "Match User x\n  IgnoreUnknown Foo\n")),
    defect("GEN-G18", "suse", append(MAIN, "PermitRootLogin\n")),
    defect("GEN-G18", "debian", append(MAIN, "{{ ssh_options }}\n")),
    defect("GEN-G18", "alpine", append(MAIN, "Ciphers aes256-ctr,foo@bar\n")),
    defect("GEN-G18", "debian", append(MAIN, "MACs +hmac-foo\n")),
    defect(
        "GEN-G18",
        "debian",
        write("/usr/sbin/sshd", b"\x7fELF\0aes256-ctr\0curve25519-sha256\0", 0o755),
        append(MAIN, "KexAlgorithms mlkem768x25519-sha256,curve25519-sha256\n"),
    ),
    defect("GEN-G18", "alpine", remove(MAIN), related=("GEN-G20", "SH08")),
    defect("GEN-G18", "debian", edit("/etc/passwd", lambda text: text.replace("sshd:", "other:"))),
    defect("GEN-G18", "debian", write(f"{SYSTEM}/ssh.service.d/x.conf", "[Service]\nExecStart=\n")),
    *(
        defect("GEN-G18", "rhel", write(f"{SYSTEM}/sshd.service.d/x.conf", text), related=("SH02",))
        for text in (
            "[Unit]\nRequires=vpn.service\n",
            "[Service]\nExecStartPre=/opt/gone/prepare -x\n",
            "[Service]\nEnvironmentFile=/etc/gone\n",
        )
    ),
    benign(
        "GEN-G18",
        "rhel",
        write(
            f"{SYSTEM}/sshd.service.d/x.conf",
            "[Unit]\nWants=vpn.service\nRequires=NetworkManager.service network.target x.mount\n"
            "[Service]\nExecStartPre=-/opt/gone/prepare\nExecStartPre=/run/made/x\nEnvironmentFile=-/etc/gone\n",
        ),
    ),
    benign(
        "GEN-G18",
        "rhel",
        append(
            MAIN,
            "permitRootlogin = no\n\tRSAMinSize 2048\nUseLogin\nAcceptEnv\r\n"
            'Ciphers -foo*,3des-cbc\nKexAlgorithms ^curve25519-sha256\n"UsePAM" yes\n#Bananas\n',
        ),
    ),
    benign(
        "GEN-G18",
        "debian",
        write("/usr/sbin/sshd", b"\x7fELF\0xpermitbananas\0arcfour\0", 0o755),
        append(MAIN, "PermitBananas yes\nCiphers aes128-ctr,arcfour\nDebianBanner no\n"),
        alone=True,
    ),
    benign(
        "GEN-G18",
        "debian",
        edit("/etc/passwd", lambda text: text.replace("sshd:", "other:")),
        write("/usr/lib/sysusers.d/openssh-server.conf", 'u sshd - "sshd user" /run/sshd\n'),
        alone=True,
    ),
    benign("GEN-G18", "suse", moved(MAIN, "/usr/etc/ssh/sshd_config"), alone=True),
    benign("GEN-G18", "debian", write(f"{SYSTEM}/ssh.service.bak", ""), write("/etc/ssh/sshd_not_to_be_run.off", "")),
]
ANEW = "[Socket]\nListenStream=\n"
SOCKET = [
    remove(f"{SYSTEM}/multi-user.target.wants/ssh.service"),
    write(f"{LIB}/ssh.socket", "[Socket]\nListenStream=22\n"),
    link(f"{SYSTEM}/sockets.target.wants/ssh.socket", f"{LIB}/ssh.socket"),
]
LOGINS = [
    defect("GEN-G19", "debian", write(f"{DROP_INS}/05-x.conf", "PubkeyAuthentication no\n")),
    defect("GEN-G19", "rhel", append(MAIN, "Match User rocky\n  PubkeyAuthentication no\n")),
    defect("GEN-G19", "suse", replace(MAIN, ".ssh/authorized_keys", "/etc/keys/%u")),
    defect("GEN-G19", "debian", append(MAIN, "AuthenticationMethods publickey,password\n")),
    defect("GEN-G19", "debian", append(MAIN, "AllowUsers builder\n")),
    defect("GEN-G19", "debian", append(MAIN, "AllowGroups admins\n")),
    defect("GEN-G19", "debian", append(MAIN, "DenyUsers eve debian\n")),
    defect("GEN-G19", "alpine", append(MAIN, "ListenAddress 192.168.122.7\n")),
    defect("GEN-G19", "alpine", write("/etc/conf.d/sshd", 'SSHD_OPTS="-o PubkeyAuthentication=no"\n')),
    defect("GEN-G19", "debian", append(MAIN, "Port 2222\n")),
    defect("GEN-G19", "debian", append(MAIN, "ForceCommand /bin/false\n")),
    defect("GEN-G19", "debian", append(MAIN, "Match Group debian,x\n  ForceCommand /bin/false\n")),
    defect("GEN-G19", "debian", append(MAIN, "AllowUsers root debian@10.0.0.5\n")),
    defect("GEN-G19", "rhel", append(MAIN, "RevokedKeys /etc/ssh/revoked_keys\n")),
    benign("GEN-G19", "rhel", append(MAIN, "RevokedKeys /etc/ssh/revoked\n"), write("/etc/ssh/revoked", "")),
    defect("GEN-G19", "alpine", append(MAIN, "MaxSessions 0\n")),
    defect(
        "GEN-G19",
        "debian",
        replace(CLOUD, "name: debian", "name: root"),
        append(MAIN, "PermitRootLogin no\n"),
        related=("CI10",),
    ),
    benign("GEN-G19", "debian", append(MAIN, "PermitRootLogin no\n")),
    defect("GEN-G19", "debian", *SOCKET, write(f"{SYSTEM}/ssh.socket.d/x.conf", f"{ANEW}ListenStream=127.0.0.1:22\n")),
    defect("GEN-G19", "debian", *SOCKET, write(f"{SYSTEM}/ssh.socket.d/x.conf", f"{ANEW}ListenStream=2222\n")),
    benign(
        "GEN-G19",
        "debian",
        *SOCKET,
        write(
            f"{SYSTEM}/ssh.socket.d/x.conf",
            f"{ANEW}ListenStream=0.0.0.0:22\nListenStream=[::]:22\nListenStream=/run/ssh.sock\n",
        ),
        alone=True,
    ),
    benign("GEN-G19", "debian", append(MAIN, "Port 22\nPort 2222\nMatch Group sftp\n  ForceCommand internal-sftp\n")),
    benign("GEN-G19", "rhel", append(MAIN, "AllowUsers rocky@* eve@10.0.0.5\n")),
    defect("GEN-G19", "rhel", write(f"{DROP_INS}/05-x.conf", "PubkeyAcceptedAlgorithms ssh-dss\n")),
    benign("GEN-G19", "rhel", write(f"{DROP_INS}/05-x.conf", "PubkeyAcceptedAlgorithms +ssh-rsa\n")),
    benign("GEN-G19", "suse", append(MAIN, "Match User git\n  ForceCommand /usr/bin/git-shell\n")),
    benign("GEN-G19", "debian", append(MAIN, "Match User backup\n  PubkeyAuthentication no\n  X11Forwarding no\n")),
    benign("GEN-G19", "debian", write(f"{DROP_INS}/05-x.conf.bak", "PubkeyAuthentication no\n")),
    benign("GEN-G19", "debian", write(f"{DROP_INS}/06-x.conf", "#PubkeyAuthentication no\nListenAddress [::]:22\n")),
    benign("GEN-G19", "debian", write(f"{DROP_INS}/07-x.conf", "AllowUsers deb* root\nAuthenticationMethods any\n")),
]
PASSWORDS = [
    defect("GEN-G20", "debian", write(f"{DROP_INS}/05-cloud-init.conf", "PasswordAuthentication yes\n")),
    defect("GEN-G20", "rhel", write(f"{DROP_INS}/01-permitrootlogin.conf", "PermitRootLogin yes\n")),
    defect("GEN-G20", "suse", edit(MAIN, lambda text: f"PasswordAuthentication yes\n{text}")),
    defect("GEN-G20", "alpine", append(MAIN, "Match Address 10.0.0.0/8\n\tPasswordAuthentication yes\n")),
    defect("GEN-G20", "debian", remove(f"{DROP_INS}/10-cloud.conf")),
    defect("GEN-G20", "debian", write(f"{DROP_INS}/05-x.conf", "KbdInteractiveAuthentication yes\n")),
    defect("GEN-G20", "debian", write(f"{DROP_INS}/05-x.conf", "ChallengeResponseAuthentication yes\n")),
    defect(
        "GEN-G20",
        "debian",
        write("/etc/default/ssh", "SSHD_OPTS='-o PasswordAuthentication=yes'\n"),
        replace(f"{LIB}/ssh.service", "sshd -D", "sshd -D $SSHD_OPTS\nEnvironmentFile=-/etc/default/ssh"),
    ),
    defect(
        "GEN-G20",
        "rhel",
        append(CLOUD, "ssh_pwauth: true\n"),
        replace(CLOUD, "cloud_config_modules:", "cloud_config_modules:\n  - set-passwords"),
    ),
    defect("GEN-G20", "alpine", append(MAIN, "PermitEmptyPasswords yes\n")),
    benign(
        "GEN-G20",
        "rhel",
        remove(f"{DROP_INS}/10-cloud.conf"),
        append(CLOUD, "ssh_pwauth: false\n"),
        replace(CLOUD, "cloud_config_modules:", "cloud_config_modules:\n  - set-passwords"),
        alone=True,
    ),
    benign("GEN-G20", "debian", write(f"{DROP_INS}/50-cloud-init.conf", "PasswordAuthentication yes\n")),
    benign("GEN-G20", "debian", write(f"{DROP_INS}/05-x.txt", "PasswordAuthentication yes\n")),
    benign("GEN-G20", "alpine", append(MAIN, "PasswordAuthentication yes\nPermitRootLogin prohibit-password\n")),
]
KEYS = [
    defect("GEN-G27", "debian", write("/root/.ssh/authorized_keys", KEY, 0o600)),
    defect("GEN-G27", "debian", write("/root/.ssh/authorized_keys", f'no-pty,command="echo x" {KEY}', 0o600)),
    defect("GEN-G27", "debian", write("/home/ghost/.ssh/authorized_keys2", f"# mine\n\n{KEY}")),
    defect("GEN-G27", "rhel", write("/etc/skel/.ssh/authorized_keys", KEY)),
    defect("GEN-G27", "suse", write("/usr/sbin/.ssh/authorized_keys", KEY)),
    defect("GEN-G27", "alpine", write("/etc/dropbear/authorized_keys", KEY)),
    defect(
        "GEN-G27",
        "debian",
        write("/etc/ssh/people/root", KEY),
        write(f"{DROP_INS}/05-x.conf", "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/people/%u\n"),
    ),
    defect(
        "GEN-G27",
        "debian",
        write("/srv/door/all", KEY),
        append(MAIN, "Match User debian\n  AuthorizedKeysFile .ssh/authorized_keys /srv/door/all\n"),
    ),
    defect(
        "GEN-G27",
        "debian",
        write("/usr/local/bin/keys", f"#!/bin/sh\necho {KEY}"),
        append(MAIN, "AuthorizedKeysCommand /usr/local/bin/keys\nAuthorizedKeysCommandUser root\n"),
    ),
    defect("GEN-G27", "rhel", write("/etc/ssh/ca.pub", KEY), append(MAIN, "TrustedUserCAKeys /etc/ssh/ca.pub\n")),
    defect("GEN-G27", "rhel", write("/etc/userdb/eve.user", '{"userName":"eve","sshAuthorizedKeys":["ssh-rsa A"]}')),
    defect("GEN-G27", "debian", write("/etc/hosts.equiv", "a\n"), append(MAIN, "HostbasedAuthentication yes\n")),
    defect("GEN-G27", "debian", link("/root/.ssh", "/opt/hidden"), write("/opt/hidden/authorized_keys", KEY)),
    # In the initramfs, as dropbear and dracut put them there.
    defect("GEN-G27", "debian", in_initramfs("debian", {"root-aX3/.ssh/authorized_keys": KEY.encode()})),
    defect("GEN-G27", "rhel", in_initramfs("rhel", {"root/.ssh/authorized_keys": b"# mine\n" + KEY.encode()})),
    defect("GEN-G27", "alpine", in_initramfs("alpine", {"etc/dropbear/authorized_keys": KEY.encode()})),
    benign("GEN-G27", "debian", in_initramfs("debian", {"root-aX3/.ssh/authorized_keys": b"# none\n"}), alone=True),
    benign("GEN-G27", "debian", write("/root/.ssh/authorized_keys", "", 0o600)),
    benign("GEN-G27", "debian", write("/etc/skel/.ssh/authorized_keys", f"# put keys here:\n#{KEY}\n")),
    benign("GEN-G27", "debian", append(MAIN, "AuthorizedKeysCommand none\nTrustedUserCAKeys none\n")),
    benign("GEN-G27", "debian", write("/usr/share/doc/openssh-server/examples/authorized_keys", KEY)),
    benign("GEN-G27", "rhel", append(MAIN, "AuthorizedKeysCommand /usr/bin/userdbctl ssh-authorized-keys %u\n")),
    benign("GEN-G27", "rhel", folder("/root/.ssh", 0o700), write("/etc/ssh/ca.pub", "# none yet\n")),
]
CLIENT = [
    defect("SH04", "debian", write("/root/.ssh/known_hosts", f"10.0.0.1 {KEY}", 0o600)),
    defect("SH04", "rhel", write("/root/.ssh/config", "Host *\n  User builder\n")),
    defect("SH04", "alpine", write("/home/x/.shosts", "build.example.com\n")),
    # A home that nobody can look into is never clean.
    defect(
        "SH04",
        "debian",
        append("/etc/fstab", "UUID=1b4e28ba-2fa1-11d2-883f-0016d3cca427 /home ext4 defaults 0 2\n"),
        related=NO_HOMES,
    ),
    defect("SH04", "suse", write("/root/.ssh/id_ed25519.pub", KEY)),
    benign("SH04", "debian", folder("/root/.ssh", 0o700), write("/root/.ssh/known_hosts", "")),
    benign("SH04", "debian", write("/etc/ssh/ssh_known_hosts", f"github.com {KEY}")),
]
HOST_KEYS = [
    defect("GEN-G29", "debian", write("/etc/ssh/ssh_host_rsa_key", "x", 0o600)),
    defect("GEN-G29", "debian", write("/etc/ssh/ssh_host_ed25519_key.pub", KEY)),
    defect("GEN-G29", "rhel", write("/etc/ssh/ssh_host_mldsa_key", "", 0o600)),
    defect("GEN-G29", "alpine", write("/etc/dropbear/dropbear_ed25519_host_key", "x", 0o600)),
    defect("GEN-G29", "debian", in_initramfs("debian", {"etc/dropbear/dropbear_ed25519_host_key": b"\0\0\0\x0bssh"})),
    defect("GEN-G29", "rhel", in_initramfs("rhel", {"etc/ssh/ssh_host_ed25519_key": b"-----BEGIN"})),
    benign("GEN-G29", "rhel", in_initramfs("rhel", {"etc/ssh/sshd_config": b"x", "usr/sbin/sshd": b"x"}), alone=True),
    defect(
        "GEN-G29",
        "suse",
        append(MAIN, "HostKey /etc/ssh/ssh_host_ed25519_key\nHostKey /var/lib/keys/own\n"),
        write("/var/lib/keys/own", "x", 0o600),
    ),
    benign("GEN-G29", "debian", append(MAIN, "#HostKey /etc/passwd\n"), write("/etc/ssh/moduli", "host key\n")),
    benign("GEN-G29", "debian", write("/usr/share/doc/openssh-server/ssh_host_rsa_key", "x")),
]
MADE = [
    defect("SH02", "debian", append(CLOUD, "ssh_genkeytypes: []\n"), related=("CI10",)),
    defect("SH02", "debian", replace(CLOUD, "  - ssh\n", ""), related=("CI12",)),
    defect("SH02", "debian", append(MAIN, "HostKey /etc/own_key\n")),
    defect("SH02", "rhel", replace(CLOUD, "  - ssh\n", ""), write(
        f"{LIB}/sshd-keygen@.service.d/c.conf", "[Unit]\nConditionPathExists=!/run/x/cloud-init.target\n"
    ), related=("CI12",)),
    defect("SH02", "alpine", write("/etc/cloud/cloud-init.disabled", ""), related=("GEN-G09",)),
    benign("SH02", "suse", append(CLOUD, "ssh_genkeytypes: [rsa]\n")),
    benign("SH02", "debian", write("/etc/cloud/cloud-init.disabled.bak", "")),
    benign("SH02", "debian", append(CLOUD, "ssh_genkeytypes: [ed25519, rsa]\n")),
]  # fmt: skip
CASES: list[Case] = STARTS + LOGINS + PASSWORDS + KEYS + CLIENT + HOST_KEYS + MADE


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
