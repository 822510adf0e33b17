"""Settings for eth0 and the kernel's command lines agree: every way to boot calls the card by that name, and will."""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule
from factory.checks.dhcp_for_any_card import names, network_off, without_dhcp
from factory.reading import boot_entries, network
from factory.reading.interfaces import KERNEL
from factory.reading.lines import content_of, numbered, shell

OPTION = "net.ifnames=0"
# Where the command line of the next kernel comes from; a file that is not there says nothing.
NEXT = ("/etc/kernel/cmdline", "/etc/default/grub")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    called = names(looked)
    settings = [each for each in looked.know(network.read) if each.one_name in KERNEL and each.up]
    depends = bool(network_off(looked))
    if settings and not called.kernel:
        # While cloud-init sets up the network, a setting for eth0 is only a leftover.
        warn = not depends or not without_dhcp(looked)
        yield Problem(
            settings[0].path, f"{settings[0].place}; {called.mixed or 'no boot entry has ' + OPTION}", warn=warn
        )
    elif called.mixed:
        path = called.mixed.split(":")[0]
        yield Problem(path, f"{called.mixed} (another boot entry has {OPTION})", warn=True)
    if called.kernel and any("0" in each.option("net.ifnames") for each in looked.know(boot_entries.read).entries):
        yield from _next(looked, bool(settings))
    yield Note(f"cards are called {', '.join(called.possible)}")


def _next(looked: Looked, needed: bool) -> Iterator[Problem]:
    for path in NEXT:
        content = content_of(looked.image, path)
        if path == "/etc/default/grub" and content:
            paths = [path, *looked.image.glob("/etc/default/grub.d/*.cfg")]
            values = [e for each in paths for e in shell(each, content_of(looked.image, each)).values()]
            lines = [e.place for e in values if e.key.startswith("GRUB_CMDLINE_LINUX")]
        else:
            lines = [line for _, line in numbered(content, "#")]
        if lines and not any(OPTION in line for line in lines):
            yield Problem(path, f"{path} lacks {OPTION}, which the boot entries have", warn=not needed)
