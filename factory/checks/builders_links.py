"""No Wi-Fi, VPN, bridge, bond or VLAN of the builder's is left: they need its network, and hold keys to it."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.leftovers import matching
from factory.quoting import quoted
from factory.reading import network
from factory.reading.lines import content_of, numbered

_KEYS = ("psk=", "password=", "wep_key", "privatekey", "private-key", "wpa-psk", "sae_password")
FILES = (
    "/etc/wpa_supplicant/*.conf",
    "/var/lib/iwd/*.psk",
    "/etc/openvpn/*.conf",
    "/etc/openvpn/client/*.conf",
    "/etc/ipsec.secrets",
    "/etc/ppp/chap-secrets",
    "/etc/systemd/network/*.netdev",
)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    for interface in looked.know(network.read):
        if interface.kind in ("wifi", "tunnel") or (interface.kind in ("bridge", "bond", "vlan") and interface.ports):
            yield Problem(interface.path, f"{interface.place} ({interface.kind})")
    for path, _ in matching(looked.image, *FILES):
        for number, line in numbered(content_of(looked.image, path)):
            bare = line.replace(" ", "").lower()
            vpn = path.startswith("/etc/openvpn/") and line.split()[0] in ("remote", "<key>", "secret")
            secret = path.endswith("secrets") and len(line.split()) > 1
            if vpn or secret or any(key in bare for key in _KEYS):
                told = f"{path}:{number}: {'a key' if not vpn else line.split()[0]}"
                yield Problem(path, told, fix=f"rm -f {quoted(path)}")
                break
    yield Note("only cards of the machine itself")
