"""The clock is set by servers that every cloud reaches: none is inside another cloud.

Parameter ``own``: servers of the target itself, which are fine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from factory.checks import Looked, Note, Problem, Rule, without_line
from factory.leftovers import matching
from factory.reading.lines import content_of, numbered

FILES = (
    "/etc/chrony.conf",
    "/etc/chrony/chrony.conf",
    "/etc/chrony.d/*.conf",
    "/etc/chrony/conf.d/*.conf",
    "/etc/chrony/sources.d/*.sources",
    "/etc/systemd/timesyncd.conf",
    "/etc/systemd/timesyncd.conf.d/*.conf",
    "/usr/lib/systemd/timesyncd.conf.d/*.conf",
    "/etc/ntp.conf",
    "/etc/ntpsec/ntp.conf",
    "/etc/ntpsec/ntp.d/*.conf",
    "/etc/openntpd/ntpd.conf",
    "/etc/conf.d/ntpd",
)
_SERVER = re.compile(
    r"169\.254\.(?:169\.(?:123|254)|170\.\d+)|fd00:ec2::123|metadata\.google\.internal|\btime\.google\.internal"
    r"|168\.63\.129\.16|100\.100\.(?:61|100|5|3)\.\d+|\bntp\.cloud\.aliyuncs\.com|/dev/ptp_hyperv|\bptp_hyperv"
)


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    own = tuple(rule.parameters.get("own", ()))
    count = 0
    for path, _ in matching(looked.image, *FILES):
        count += 1
        for number, line in numbered(content_of(looked.image, path), "#;!%"):
            match = _SERVER.search(line.partition(" #")[0])
            if match and match[0] not in own:
                yield Problem(path, f"{path}:{number}: {line.strip()}", fix=without_line(path, number))
    yield Note(f"{count} files")
