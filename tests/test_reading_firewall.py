"""What rules of iptables and nftables do with a connection from outside, followed for one packet."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from factory.reading import firewalld, iptables, nftables
from tests.guest_tree import Tree, plant

HEAD = "*filter\n:INPUT {} [0:0]\n"


def by_iptables(text: str, port: int = 22) -> str:
    found = iptables.verdict([(line, f"f:{n}") for n, line in enumerate(text.splitlines(), 1)], port)
    return "" if found.accepted else found.place


def by_nftables(text: str, port: int = 22) -> str:
    found = nftables.verdict(list(nftables.words("f", text)), port)
    return "" if found.accepted else found.place.partition(": ")[0]


@pytest.mark.parametrize(
    ("rule", "closed"),
    [
        ("-A INPUT -p tcp --dport 22 -j DROP", True),
        ("-A INPUT -p tcp -m multiport --dports 80,20:30 -j REJECT --reject-with tcp-reset", True),
        ("-A INPUT -p tcp -m tcp --dport ssh -m comment --comment 'no -j ACCEPT' -j DROP", True),
        ("-A INPUT -i eth0 -j DROP", True),
        ("-A INPUT ! -i lo -j DROP", True),
        ("-A INPUT ! -s 10.0.0.0/8 -p tcp -j DROP", True),
        ("-A INPUT -s ! 10.0.0.0/8 -j DROP", True),
        ("-A INPUT -m state --state NEW -j LOG --log-prefix x\n-A INPUT -m state --state NEW -j DROP", True),
        ("-A INPUT -p tcp --syn -j DROP", True),
        ("-N no\n-A no -j DROP\n-A INPUT -g no", True),
        ("-A INPUT -p udp --dport 22 -j DROP", False),
        ("-A INPUT -p tcp ! --dport 22 -j DROP", False),
        ("-A INPUT -s 10.0.0.0/8 -j DROP", False),
        ("-A INPUT -m conntrack --ctstate INVALID -j DROP", False),
        ("-A INPUT -i lo -j DROP", False),
        ("-A INPUT -i docker0 -j DROP", False),
        ("-A FORWARD -j DROP", False),
        ("-A INPUT -p tcp --tcp-flags ALL NONE -j DROP", False),
        ("-A INPUT -m set --match-set bad src -j DROP", False),
        ("-A INPUT -p tcp --dport 22 -j ACCEPT\n-A INPUT -j DROP", False),
        ("-A INPUT -j out\n-A out -j RETURN\n-A out -j DROP", False),
        ("COMMIT\n*nat\n-A INPUT -j DROP", False),
        ("# -A INPUT -j DROP", False),
        ("-A INPUT -j loop\n-A loop -j loop", False),
    ],
)
def test_rules_of_iptables(rule: str, closed: bool) -> None:
    assert bool(by_iptables(HEAD.format("ACCEPT") + rule)) is closed


def test_a_policy_of_iptables_and_what_is_behind_it() -> None:
    assert by_iptables(HEAD.format("DROP")) == "f:2"
    assert by_iptables(HEAD.format("DROP") + "-A INPUT -p tcp --dport 22 -j ACCEPT") == ""
    assert by_iptables(HEAD.format("DROP") + "-A INPUT -p tcp --dport 22 -j ACCEPT", 8080) == "f:2"


def test_commands_of_iptables() -> None:
    assert by_iptables("iptables -P INPUT DROP") == "f:1"
    assert by_iptables("iptables -A INPUT -j DROP\n/sbin/iptables -I INPUT -p tcp --dport 22 -j ACCEPT") == ""
    assert by_iptables("iptables -A INPUT -j DROP\niptables -F INPUT") == ""
    assert by_iptables("iptables -w -t nat -A INPUT -j DROP") == ""


CHAIN = "table inet t {{\n chain in {{\n  type filter hook input priority 0; policy {};\n  {}\n }}\n}}\n"


@pytest.mark.parametrize(
    ("rule", "closed"),
    [
        ("tcp dport 22 drop", True),
        ("tcp dport { 80, 22 } counter packets 0 bytes 0 reject with icmpx port-unreachable", True),
        ('meta l4proto tcp th dport 20-30 log prefix "in: " level info drop', True),
        ('iifname != "lo" drop', True),
        ("ct state new,untracked drop", True),
        ("ct state vmap { established : accept, new : drop }", True),
        ("ip saddr != { 10.0.0.0/8, 192.168.0.0/16 } drop", True),
        ("tcp flags & (fin|syn|rst|ack) == syn drop", True),
        ("ip protocol tcp ct state new limit rate 3/minute burst 5 packets drop", True),
        ("tcp dport != 22 drop", False),
        ("tcp dport vmap { 80 : drop, 443 : drop }", False),
        ("ip saddr 10.0.0.0/8 drop", False),
        ("ip6 saddr ::/0 drop", False),
        ("udp dport 22 drop", False),
        ("iif lo drop", False),
        ("ct state invalid drop", False),
        ("ct state new limit rate over 10/second drop", False),
        ("tcp dport 22 accept; drop", False),
        ("# tcp dport 22 drop", False),
        ("fib daddr type broadcast drop", False),
        ("ip saddr @blocked drop", False),
    ],
)
def test_rules_of_nftables(rule: str, closed: bool) -> None:
    assert bool(by_nftables(CHAIN.format("accept", rule))) is closed


def test_sets_variables_jumps_and_several_chains_of_nftables() -> None:
    text = """
    define open = { 80, 443 }
    table inet t {
      set more { type inet_service; elements = { 22, 8443 } }
      chain in {
        type filter hook input priority filter; policy drop;
        tcp dport $open accept
        tcp dport @more jump found
      }
      chain found { ct state new accept }
      chain forward { type filter hook forward priority 0; policy drop; }
    }
    table ip other { chain late { type filter hook input priority 10; tcp dport 443 drop } }
    """
    assert by_nftables(text, 22) == ""
    assert by_nftables(text, 80) == ""
    assert by_nftables(text, 443) == "f:13"
    assert by_nftables(text, 25) == "f:6"


def test_commands_of_nftables() -> None:
    text = (
        "add table inet f\nadd chain inet f i { type filter hook input priority 0; policy accept; }\n"
        "add rule inet f i tcp dport { 22, 23 } drop\n"
    )
    assert by_nftables(text) == "f:3"
    assert by_nftables(text + "flush ruleset\n") == ""


@pytest.mark.parametrize("text", ["table", "table inet t {", "chain {{{", "}}}", 'log prefix "', "define x", "a \\"])
def test_broken_files_of_nftables_end(text: str) -> None:
    assert by_nftables(text) == ""


def test_hostile_rules_end_soon() -> None:
    started = time.monotonic()
    jumps = [f"-A c{n} -j c{n + 1}" for n in range(100) for _ in range(10)]
    assert by_iptables("\n".join([HEAD.format("ACCEPT"), "-A INPUT -j c0", *jumps])) == ""
    assert by_iptables(HEAD.format("ACCEPT") + "-A INPUT " + "-m x " * 200_000) == ""
    chains = "".join(f"chain c{n} {{ {f'jump c{n + 1}; ' * 10} }}\n" for n in range(100))
    hook = "type filter hook input priority 0; policy accept; jump c0;"
    assert by_nftables(f"table inet t {{\n chain in {{ {hook} }}\n{chains}\n}}\n") == ""
    long = "counter " * 100_000
    assert by_nftables(f"table inet t {{\n chain in {{ {hook} {long} drop }}\n}}\n") == ""
    many = "define x = { " + "22, " * 50_000 + "22 }\n"
    assert by_nftables(many + CHAIN.format("accept", "tcp dport { " + "$x, " * 1000 + " } drop"))
    assert time.monotonic() - started < 20


def test_hostile_zones_end_soon(tmp_path: Path) -> None:
    started = time.monotonic()
    for number, part in enumerate(("<rule ", "<!-- ", '<service name="', "<port ", "<zone ")):
        zone = {"/etc/firewalld/zones/public.xml": part * 100_000, "/etc/hosts": ""}
        found = firewalld.read(Tree(plant(tmp_path / str(number), zone)))
        assert not found.verdict(22).accepted
    assert time.monotonic() - started < 20
