"""Boot menu: it goes on by itself, soon, with an entry that exists, and GRUB's notes tell of no failed boot.

*seconds* is the longest wait. A menu that waits for ever, or asks for a password, never boots in a cloud.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.leftovers import text
from factory.quoting import quoted
from factory.reading import boot_entries

_SIZE = 1024  # bytes of a grubenv
SHORT = (
    "Set the time-out to 1 second and make the menu anew: GRUB_TIMEOUT=1 in /etc/default/grub and update-grub, or "
    "grub2-mkconfig -o /boot/grub2/grub.cfg; timeout 1 in loader.conf; TIMEOUT 10 in extlinux.conf"
)
NO_DEFAULT = "grub-editenv - unset saved_entry, or set GRUB_DEFAULT=0 in /etc/default/grub and make the menu anew"
_NOTES = ("recordfail", "next_entry", "prev_saved_entry", "boot_indeterminate")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    longest = float(rule.parameters.get("seconds", 5))
    found = looked.know(boot_entries.read)
    if not found.files:
        raise NotApplicable("no configuration of a boot loader was found")
    for name, seconds in found.timeouts.items():
        if seconds < 0:
            yield Problem("image", f"the menu of {name} waits for ever", fix=SHORT)
        elif seconds > longest:
            told = f"the menu of {name} waits {seconds:g} s, more than {longest:g} s"
            yield Problem("image", told, warn=True, fix=SHORT)
    for missing in found.missing:
        if missing.what.startswith("default entry"):
            where = f"{missing.path}:{missing.line}: {missing.what}"
            yield Problem(missing.path, f"{where} is not in the menu, so another one boots", True, NO_DEFAULT)
    named = {missing.path for missing in found.missing}
    names = {name for entry in found.entries for name in (entry.id, entry.title)}
    for path, variables in looked.know(boot_entries.environment).items():
        saved = variables.get("saved_entry", "").rpartition(">")[2]
        if saved and not saved.isdigit() and saved not in names and path not in named and found.entries:
            line = _line(text(looked.image, path) or "", "saved_entry")
            yield Problem(path, f"{path}:{line}: saved_entry={saved} is not in the menu", True, NO_DEFAULT)
    for entry in found.entries:
        if entry.default and entry.protected:
            asks = f"{entry.path}:{entry.line}: the default entry asks for a password"
            fix = f"Add --unrestricted to the menuentry, or take superusers out of {quoted(entry.path)}"
            yield Problem(entry.path, asks, fix=fix)
    for path, variables in looked.know(boot_entries.environment).items():
        for note in _NOTES:
            if variables.get(note) and not (note == "boot_indeterminate" and variables[note] == "0"):
                line = _line(text(looked.image, path) or "", note)
                left = f"{path}:{line}: {note}={variables[note][:60]}"
                yield Problem(path, left, warn=True, fix=f"grub-editenv {quoted(path)} unset {note}")
        stat = looked.image.stat(path, follow=True)
        if stat and stat.size != _SIZE:
            size = f"{path}: {stat.size} bytes, and GRUB writes only to one of {_SIZE}"
            yield Problem(path, size, warn=True, fix=f"rm -f {quoted(path)} && grub-editenv {quoted(path)} create")
    yield Note(", ".join(f"{name}: {seconds:g} s" for name, seconds in found.timeouts.items()) or "no menu")


def _line(content: str, name: str) -> int:
    return next((number for number, line in enumerate(content.splitlines(), 1) if line.startswith(f"{name}=")), 0)
