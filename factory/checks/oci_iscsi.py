"""iSCSI boot: the kernel's words for it are there when the metadata of an .oci archive asks for it, and only then.

Parameter ``words`` as in :mod:`factory.checks.kernel_words`; one of them is enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from factory.checks import Looked, NotApplicable, Note, Problem, Rule, kernel_words
from factory.checks.console import is_rescue
from factory.checks.oci_metadata import SUBJECT, launch_options
from factory.reading import boot_entries

FIX = (
    f"Write PARAVIRTUALIZED as bootVolumeType into {SUBJECT}, and pack it again: "
    f"tar -cf NEW.oci {SUBJECT} output.QCOW2; or, for bare metal: "
    "grubby --update-kernel=ALL --args='rd.iscsi.firmware=1 ip=ibft'"
)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if launch_options(looked).get("bootVolumeType") != "ISCSI":
        yield from kernel_words.check(looked, rule)
        return
    entries = [entry for entry in looked.know(boot_entries.read).entries if not is_rescue(entry)]
    if not entries:
        raise NotApplicable("no boot entry was found")
    for entry in entries:
        if not any(fnmatchcase(word, pattern) for word in entry.options for pattern in rule.parameters["words"]):
            told = f"{entry.evidence}: nothing about iSCSI, from which {SUBJECT} (bootVolumeType) asks to boot"
            yield Problem(entry.path, told, fix=FIX)
    yield Note(f"{SUBJECT} asks to boot by iSCSI, and {len(entries)} boot entries have words for it")
