"""cloud-init looks for its data where this cloud gives it: the list that is in force has one of its datasources.

Both lists count: the one that ds-identify reads line by line, and the one of cloud-init's merged settings, which is in
force where ds-identify does not run. Parameter ``datasources``: the names instead of the target's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from factory.checks import Looked, NotApplicable, Note, Problem, Rule
from factory.quoting import quoted
from factory.reading import cloud_init, datasources

LINK_LOCAL = ("169.254.169.254", "fe80:", "fd00:ec2::254")


def check(looked: Looked, rule: Rule) -> Iterator[Problem | Note]:
    if not looked.know(cloud_init.read).program:
        raise NotApplicable("cloud-init is not installed")
    wanted = tuple(rule.parameters.get("datasources", ())) or looked.target.datasources
    if not wanted:
        raise NotApplicable(f"{looked.target.title} names no datasource")
    found = looked.know(datasources.read)
    seen: dict[str, str] = {}
    override = looked.know(datasources.override)
    if override.datasource and override.datasource not in wanted:
        seen[override.datasource_place] = f"ds-identify looks for {override.datasource} alone"
    if found.seen is not None and not set(found.seen) & set(wanted):
        seen[found.seen_place] = f"ds-identify takes only {', '.join(found.seen)}"
    if found.settings is not None and not set(found.settings) & set(wanted):
        seen.setdefault(found.settings_place, f"the settings have only {', '.join(found.settings) or 'an empty list'}")
    for place, what in seen.items():
        path = place.split(":")[0]
        yield Problem(path, f"{place} ({what}; {' or '.join(wanted)} is needed)", fix=_fix(looked, path, wanted))
    yield from _elsewhere(looked, wanted)
    listed = found.seen or found.settings
    yield Note(f"{found.seen_place or found.settings_place}" if listed else "no list: every datasource is looked for")


def _elsewhere(looked: Looked, wanted: tuple[str, ...]) -> Iterator[Problem]:
    """A datasource of the target that is told to ask another host than the cloud's."""
    settings = looked.know(cloud_init.read)
    for name in wanted:
        urls = settings.get("datasource", name, "metadata_urls")
        listed = [url for url in urls if isinstance(url, str)] if isinstance(urls, list) else []
        if listed and not any(host in url for url in listed for host in LINK_LOCAL):
            place = settings.place("datasource", name, "metadata_urls")
            path = place.split(":")[0]
            told = f"{place} (none of them is the cloud's own)"
            yield Problem(path, told, fix=f"Take metadata_urls of {name} out of {quoted(path)}")


def _fix(looked: Looked, path: str, wanted: tuple[str, ...]) -> str | None:
    """A file that says other things too stays, and a later one wins over it; any other goes by the rule's own fix."""
    part = next((part for part in looked.know(cloud_init.read).parts if part.path == path), None)
    if part is None or (path != cloud_init.BASE and set(part.settings or {}) <= {"datasource_list", "datasource"}):
        return None
    return f"echo 'datasource_list: [{', '.join(wanted)}]' >/etc/cloud/cloud.cfg.d/99_zz_datasources.cfg"
