"""What readers of network configuration make of odd, hostile and merged files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from factory.inspection import Unreadable
from factory.reading import cloud_init, datasources, ifupdown, netplan, network, network_manager, networkd
from factory.reading.interfaces import fixed, is_virtual, matches
from tests.guest_tree import Content, Tree, link, plant

NETPLAN = "/etc/netplan"
NETWORKD = "/etc/systemd/network"
BASE = "/etc/cloud/cloud.cfg"


def tree(tmp_path: Path, files: Mapping[str, Content]) -> Tree:
    return Tree(plant(tmp_path / "guest", {"/etc/hosts": "", **files}))


def test_netplan_merges_by_name_and_appends_lists(tmp_path: Path) -> None:
    device = "network:\n  ethernets:\n    lan:\n      addresses: [{}]\n"
    image = tree(
        tmp_path,
        {
            f"{NETPLAN}/10.yaml": device.format("10.0.0.1/8") + "      dhcp4: true\n",
            f"{NETPLAN}/20.yaml": device.format("10.0.0.2/8") + "      dhcp4: false\n",
            "/lib/netplan/10.yaml": device.format("10.0.0.3/8"),
            f"{NETPLAN}/30.yml": device.format("10.0.0.4/8"),
        },
    )
    (found,) = netplan.read(image)
    assert not found.dhcp
    assert [place.partition(":")[0] for place in found.static] == [f"{NETPLAN}/10.yaml", f"{NETPLAN}/20.yaml"]


def test_a_match_by_driver_is_for_virtio_or_for_others(tmp_path: Path) -> None:
    text = "network:\n  ethernets:\n    a: {match: {driver: virtio_net}, dhcp4: yes}\n    b: {match: {driver: hv}}\n"
    mine, other = netplan.read(tree(tmp_path, {f"{NETPLAN}/x.yaml": text}))
    assert mine.covers("enp9s0")
    assert not other.covers("enp9s0")
    assert other.narrow == "the driver hv"


@pytest.mark.parametrize(
    ("text", "name", "covered"),
    [
        ("[Match]\nName=en* eth*\n", "ens3", True),
        ("[Match]\nName=!docker* lo\n", "ens3", True),
        ("[Match]\nName=!en*\n", "ens3", False),
        ("[Match]\nType=ether\nKind=!*\n", "ens3", True),
        ("[Match]\nType=wlan\n", "ens3", False),
        ("[Match]\nName=e*\nMACAddress=52:54:00:12:34:56\n", "ens3", False),
        ("[Match]\nName=e*\nVirtualization=container\n", "ens3", False),
        ("[Match]\nName=e*\n[Match]\nName=x*\n", "xen0", True),
    ],
)
def test_networkd_matches_cards(tmp_path: Path, text: str, name: str, covered: bool) -> None:
    (found,) = networkd.read(tree(tmp_path, {f"{NETWORKD}/a.network": f"{text}[Network]\nDHCP=yes\n"}))
    assert found.covers(name) is covered


def test_networkd_leaves_out_masked_files_and_those_for_no_card(tmp_path: Path) -> None:
    image = tree(
        tmp_path,
        {
            "/usr/lib/systemd/network/a.network": "[Match]\nName=*\n[Network]\nDHCP=yes\n",
            f"{NETWORKD}/a.network": link("/dev/null"),
            f"{NETWORKD}/b.network": "[Network]\nDHCP=yes\n",
            f"{NETWORKD}/c.network.bak": "[Match]\nName=*\n",
        },
    )
    assert networkd.read(image) == []


@pytest.mark.parametrize(
    ("devices", "listed"),
    [
        ("*", True),
        ("*,except:type:wifi", True),
        ("*,except:type:ethernet", False),
        ("interface-name:en*;interface-name:wl*", True),
        ("interface-name:docker*", False),
        ("52:54:00:12:34:56", False),
        ("type:ethernet", True),
        ("driver:virtio_net", True),
        ("ens*", True),
        ("", False),
    ],
)
def test_lists_of_network_manager(devices: str, listed: bool) -> None:
    assert network_manager.listed(devices, "ens3") is listed


def test_settings_of_network_manager_are_laid_over_one_another(tmp_path: Path) -> None:
    key = "[main]\nno-auto-default"
    image = tree(
        tmp_path,
        {
            "/usr/lib/NetworkManager/conf.d/00.conf": f"{key}=*\n",
            "/usr/lib/NetworkManager/conf.d/10.conf": f"{key}=a\n",
            "/etc/NetworkManager/NetworkManager.conf": f"{key}=b\n",
            "/etc/NetworkManager/conf.d/00.conf": "",
            "/etc/NetworkManager/conf.d/20.conf": f"{key}+=c\n",
        },
    )
    assert [entry.value for entry in network_manager.settings(image)] == ["b", "c"]


def test_ifupdown_follows_sources_and_joins_lines(tmp_path: Path) -> None:
    image = tree(
        tmp_path,
        {
            "/etc/network/interfaces": "source interfaces.d/*.cfg\nsource-directory more\nauto \\\n  eth0\n",
            "/etc/network/interfaces.d/a.cfg": "iface eth0 inet dhcp\n    dns-nameservers 10.0.0.1\n",
            "/etc/network/interfaces.d/b.off": "iface eth9 inet dhcp\n",
            "/etc/network/more/c": "source /etc/network/interfaces\niface eth1 inet static\naddress 10.1.1.1\n",
            "/etc/network/more/d.bak": "iface eth8 inet dhcp\n",
        },
    )
    found = {each.names[0]: each for each in ifupdown.read(image)}
    assert set(found) == {"eth0", "eth1"}
    assert found["eth0"].up
    assert found["eth0"].dhcp
    assert found["eth1"].static == ("/etc/network/more/c:3: address 10.1.1.1",)
    assert not found["eth1"].up


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("HWADDR=52:54:00:12:34:56", True),
        ("MACADDR='52-54-00-AB-CD-EF'", True),
        ("address fe80::52:54:00:12:34:56:1", False),
        ("HWADDR=00:00:00:00:00:00", False),
        ("DUID=00:01:00:01:2a:3b:4c:5d:52:54:00:12:34:56", False),
    ],
)
def test_what_is_a_mac_address(line: str, found: bool) -> None:
    assert bool(network.MAC.search(line)) is found


def test_addresses_and_names() -> None:
    assert [fixed(word) for word in ("10.0.2.15/24", "2001:db8::1", "dhcp")] == [True, True, False]
    assert not any(map(fixed, ("127.0.0.1/8", "::1/128", "fe80::1/64", "169.254.1.1", "0.0.0.0", "")))
    assert all(map(is_virtual, ("lo", "docker0", "br-1a2b", "veth3", "virbr0", "wg0")))
    assert not any(map(is_virtual, ("eth0", "ens3", "enp1s0", "bond0", "br0")))
    assert matches("ens3", ["e*", "!eth*"])
    assert not matches("eth0", ["e*", "!eth*"])


def test_an_alias_bomb_is_not_looked_at_and_says_so(tmp_path: Path) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for low, high in zip("abcdefg", "bcdefgh", strict=True):
        bomb += f"{high}: &{high} [{', '.join([f'*{low}'] * 9)}]\n"
    with pytest.raises(Unreadable, match="more than 100000 values"):
        cloud_init.read(tree(tmp_path / "one", {BASE: bomb}))
    assert cloud_init.read(tree(tmp_path / "two", {BASE: "a: &a [*a]\n"})).faults
    assert netplan.faults(tree(tmp_path / "three", {f"{NETPLAN}/a.yaml": "network: &n {ethernets: *n}\n"}))


def test_merge_keys_count_and_later_files_win(tmp_path: Path) -> None:
    image = tree(
        tmp_path,
        {
            "/usr/bin/cloud-init": "",
            BASE: "base: &b {preserve_hostname: true, x: 1}\ngrowpart: {mode: auto, devices: [/]}\n",
            f"{BASE}.d/b.cfg": "growpart: {mode: 'off'}\n",
            f"{BASE}.d/a.cfg": "growpart: {mode: gpart}\nz: &z {preserve_hostname: yes}\n<<: *z\n",
        },
    )
    found = cloud_init.read(image)
    assert found.true("preserve_hostname")
    assert found.get("growpart") == {"mode": "off", "devices": ["/"]}
    assert found.place("growpart", "mode") == f"{BASE}.d/b.cfg:1: growpart: {{mode: 'off'}}"


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("datasource_list: [ A, 'B' ]\n", ("A", "B"), ("A", "B")),
        ('  "datasource_list" : ["A"]\n', None, ("A",)),
        ("datasource_list: [A]\ndatasource_list: [B] # x\n", ("B",), ("B",)),
        ("datasource_list:\n- A\n", None, None),
        ("datasource_list: []\n", None, None),
        ("datasource_list: [A,\n B]\n", ("A",), ("A",)),
        ("x: {datasource_list: [A]}\n", None, ("A]}",)),
    ],
)
def test_what_ds_identify_takes(
    tmp_path: Path, text: str, old: tuple[str, ...] | None, new: tuple[str, ...] | None
) -> None:
    script = "/usr/lib/cloud-init/ds-identify"
    for number, (content, seen) in enumerate([("", old), ("get_single_line_flow_sequence", new)]):
        image = tree(tmp_path / str(number), {BASE: "a: b\n", f"{BASE}.d/x.cfg": text, script: content})
        assert datasources.read(image).seen == seen
