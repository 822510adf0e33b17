"""apt, for Debian, Ubuntu and what is like them.

What only the build needs (the mirror of this host, a proxy, dpkg without fsync) lies below /run and is named by
APT_CONFIG, so it is gone with the guest's memory and cannot reach the image.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import time

from factory import apt_pins, http, mirror
from factory.errors import StepFailed
from factory.files import touching
from factory.provision.session import FOLDER, Session

FAMILIES = ["debian", "ubuntu"]
CONFIG = f"{FOLDER}/apt.conf"
SOURCES = f"{FOLDER}/sources.list"
OWN_SOURCES = "/etc/apt/sources.list"
PINS = f"{FOLDER}/preferences"
HOSTS_AUTHORITIES = f"{FOLDER}/authorities.pem"
AUTHORITIES = "/run/factory-authorities.pem"  # not in FOLDER, which the account that apt fetches with may not enter
GUESTS_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
FETCHED_FROM = (
    f"{FOLDER}/lists"  # what STATE_OF_LISTS said when the lists were fetched: a layer's guest remembers it too
)
STATE_OF_LISTS = (
    "{ find -L /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/mirrors /var/lib/dpkg/arch -type f "
    "-exec sha256sum {} + 2>/dev/null | sort; ls /var/lib/apt/lists 2>/dev/null; }"
)
"""Prints what the lists depend on: sources and foreign architectures, which any step may change; and their names."""
KEYRINGS = "/etc/apt/keyrings"
LOCK_SECONDS = 600
RETRIES = 3
LISTS_KEEP = 3600  # seconds after which the lists of a guest that goes on from a layer are fetched again


class System:
    """apt-get in one guest."""

    def __init__(self, session: Session, release: dict[str, str]) -> None:
        self.environment = {"DEBIAN_FRONTEND": "noninteractive", "APT_CONFIG": CONFIG, "TERM": "dumb"}
        self._session = session
        self._release = release
        self._passed_over: dict[str, str] = {}
        self._addresses: list[tuple[str, str]] = []  # of the archive, and of the mirror that stands in for it

    def prepare(self) -> None:
        """Write the configuration of this build below /run."""
        lines = [
            'Acquire::Languages "none";',
            f'Acquire::Retries "{RETRIES}";',
            # Lists that could not be fetched are only a warning otherwise: security updates would quietly be missed.
            'APT::Update::Error-Mode "any";',
            'Acquire::http::Timeout "60";',
            f'DPkg::Lock::Timeout "{LOCK_SECONDS}";',
            'DPkg::Options { "--force-unsafe-io"; "--force-confdef"; "--force-confold"; };',
            'DPkg::Use-Pty "false";',
        ]
        proxies = mirror.proxies_for_guest()
        for scheme in ("http", "https"):
            if proxies.get(f"{scheme}_proxy"):
                lines.append(f'Acquire::{scheme}::Proxy "{proxies[f"{scheme}_proxy"]}";')
        if "no_proxy" in proxies:
            self.environment["no_proxy"] = proxies["no_proxy"]  # apt reads it nowhere else
        sources = [repository.uri for repository in self._session.recipe.repositories]
        # Only a base that we built has its distribution's sources, and nothing else, in sources.list.
        if self._session.base_kind == "scratch":
            suite = self._release.get("VERSION_CODENAME", "")
            found = mirror.debian_mirror(suite)
            sources += [found.uri, found.security_uri]
            self._addresses = [
                (mirror.SECURITY, mirror.guest_uri(found.security_uri)),  # first: it begins as the other does
                (mirror.ARCHIVE, mirror.guest_uri(found.uri)),
            ]
            self._session.sources = hashlib.sha256(repr([suite, self._addresses]).encode()).hexdigest()
            lines.append(f'Dir::Etc::SourceList "{SOURCES}";')
        if self._session.base_kind != "scratch" or any(uri.startswith("https:") for uri in sources):
            lines += self._authorities()
        self._session.guest.put_bytes(("\n".join(lines) + "\n").encode(), CONFIG, 0o644)
        self._session.environment |= self.environment
        self.follow_sources()

    def follow_sources(self) -> None:
        """Make the build's list of sources anew: the guest's own, as a step may have left it, with our mirror in it."""
        if self._addresses:
            words = " ".join(f"-e {shlex.quote(_replacing(*pair))}" for pair in self._addresses)
            self._session.guest.run(f"sed -E {words} {OWN_SOURCES} 2>/dev/null >{SOURCES}", check=False)

    def _authorities(self) -> list[str]:
        """Have apt trust, beside what the guest trusts, the certificates that this host trusts."""
        bundle = http.ca_file()
        if bundle is None:
            return []
        with touching(bundle, "Reading certificates"):
            self._session.guest.put_bytes(bundle.read_bytes(), HOSTS_AUTHORITIES, 0o644)
        self._session.guest.run(
            f"{{ cat {GUESTS_AUTHORITIES} 2>/dev/null; echo; cat {HOSTS_AUTHORITIES}; }} >{AUTHORITIES} && "
            f"chmod 0644 {AUTHORITIES}"
        )
        return [f'Acquire::https::CAInfo "{AUTHORITIES}";']

    def add_repositories(self) -> None:
        """Write a deb822 source and a keyring for each repository of the recipe."""
        recipe = self._session.recipe
        for number, repository in enumerate(recipe.repositories, 1):
            name = f"{recipe.name}-{number}"
            fields = [f"Types: deb\nURIs: {repository.uri}\nSuites: {repository.suite}"]
            if repository.components:
                fields.append(f"Components: {' '.join(repository.components)}")
            if repository.key:
                suffix = "asc" if self._armored(repository.key) else "gpg"
                keyring = f"{KEYRINGS}/{name}.{suffix}"
                self._session.guest.run(f"install -d -m 0755 {KEYRINGS}")
                self._session.guest.put_bytes((recipe.folder / repository.key).read_bytes(), keyring, 0o644)
                fields.append(f"Signed-By: {keyring}")
            source = "\n".join(fields) + "\n"
            self._session.guest.put_bytes(source.encode(), f"/etc/apt/sources.list.d/{name}.sources", 0o644)
        self._session.lists_at = 0.0

    def _armored(self, key: str) -> bool:
        return (self._session.recipe.folder / key).read_bytes().lstrip().startswith(b"-----BEGIN")

    def update(self) -> None:
        """Fetch the lists of packages, unless those that the guest has are young, and of the sources that it has."""
        self.follow_sources()
        guest = self._session.guest
        young = time.time() - self._session.lists_at <= LISTS_KEEP
        if young and guest.run(f"{STATE_OF_LISTS} | cmp -s - {FETCHED_FROM}", check=False).status == 0:
            return
        self._apt("-q update", "package lists")
        guest.run(f"{STATE_OF_LISTS} >{FETCHED_FROM}")
        self._session.lists_at = time.time()

    def upgrade(self, which: str) -> None:
        """``all``: dist-upgrade; ``security``: only what the security suite brings."""
        self.update()
        if which == "all":
            self._apt("-y dist-upgrade", "upgrade")
            return
        # The packages whose candidate comes from a security archive, by apt's own word.
        listed = self._session.run(
            "apt-get -s -o Debug::NoLocking=1 dist-upgrade", "upgrade", quiet=True, environment=self.environment
        ).stdout
        names = security_upgrades(listed)
        if names:
            self._apt(f"-y --only-upgrade install {shlex.join(names)}", "upgrade")

    def install(self, packages: list[str], where: str) -> None:
        """Install *packages* as apt-get does by default, recommended ones included."""
        self.update()
        self._apt(f"-y install {shlex.join(packages)}", where)

    def has_lists(self) -> bool:
        """Whether the guest has lists of packages, whoever fetched them."""
        return self._session.guest.run("ls /var/lib/apt/lists/*_Packages*", check=False).status == 0

    def installed(self) -> list[dict[str, str]]:
        """What dpkg-query lists as installed."""
        command = "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version} ${Architecture}\\n'"
        rows = [line.split() for line in self._session.guest.run(command).stdout.splitlines()]
        return [
            {"name": r[1], "version": r[2], "architecture": r[3]} for r in rows if len(r) == 4 and r[0] == "installed"
        ]

    def _apt(self, words: str, where: str) -> None:
        while True:
            try:
                self._session.run(f"apt-get {words}", where, environment=self.environment)
                return
            except StepFailed as error:
                if not self._pass_over(error):
                    raise _explained(error) from error

    def _pass_over(self, error: StepFailed) -> bool:
        """Whether to try again without versions that our own mirror lacks, as the base was made; it is told."""
        lacking = apt_pins.missing(error.output)
        known = lacking.items() <= self._passed_over.items()
        if known or len(self._passed_over) >= apt_pins.TRIES or self._session.base_kind != "scratch":
            return False
        self._passed_over |= lacking
        guest = self._session.guest
        own = guest.read("cat /etc/apt/preferences 2>/dev/null").strip()
        guest.put_bytes(f"{own}\n\n{apt_pins.preferences(self._passed_over)}".encode(), PINS, 0o644)
        guest.run(f"echo 'Dir::Etc::Preferences \"{PINS}\";' >>{CONFIG}")
        named = ", ".join(f"{name} {version}" for name, version in lacking.items())
        self._session.console.warn(f"The mirror lacks {named}, which its index names: going on without that version")
        return True


def _replacing(address: str, mirror_uri: str) -> str:
    """A command of ``sed -E``: *address*, as http or https and of either name of the archive, becomes *mirror_uri*."""
    folder = re.escape(address.rpartition("/")[2])
    safe = re.sub(r"([\\&#])", r"\\\1", mirror_uri)
    return rf"s#https?://(deb|security)\.debian\.org/{folder}/?([[:space:]])#{safe}\2#"


def security_upgrades(simulated: str) -> list[str]:
    """The names that ``apt-get -s dist-upgrade`` would install from a security archive."""
    pattern = re.compile(r"^Inst (\S+) (?:\[[^]]*\] )?\((.*)\)", re.MULTILINE)
    return [
        name
        for name, origin in pattern.findall(simulated)
        if re.search(r"[-:/ ]security\b|Debian-Security", origin, re.I)
    ]


KNOWN = (
    (
        r"Unable to locate package (\S+)",
        "The package {0} is not in the package lists",
        "Check its name on packages.debian.org, or add the repository that has it",
        "step.package-unknown",
    ),
    (
        r"Package '?(\S+?)'? has no installation candidate",
        "The package {0} has no version to install",
        "Check its name, or add the repository that has it",
        "step.package-unknown",
    ),
    (
        r"Version '(\S+)' for '(\S+)' was not found",
        "There is no version {0} of {1}",
        "Leave the version out, or name one that 'apt-cache policy' lists",
        "step.package-unknown",
    ),
    (
        r"Could not resolve '([^']+)'",
        "The guest could not resolve {0}",
        "Check this host's DNS, or set FACTORY_MIRROR",
        "step.archive-unreachable",
    ),
    (
        r"(?:Could not connect to|Unable to connect to|Cannot initiate the connection to) (\S+)",
        "The archive {0} did not answer",
        "Check the network and proxy of this host, or set FACTORY_MIRROR",
        "step.archive-unreachable",
    ),
    (
        r"Failed to fetch (\S+)\s+404",
        "The archive's index names {0}, which the archive does not have",
        "Its mirror is being updated: try again in an hour, or set FACTORY_MIRROR",
        "step.archive-incomplete",
    ),
    (
        r"No space left on device|not enough free space|You don't have enough free space",
        "The guest's disk is full",
        "Give the recipe a larger disk",
        "step.guest-disk-full",
    ),
    (
        r"NO_PUBKEY|is not signed|EXPKEYSIG",
        "A repository's signature was not accepted",
        "Check the key and fingerprint of the repository in the recipe",
        "step.repository-signature",
    ),
)


def _explained(error: StepFailed) -> StepFailed:
    """*error* with the cause that apt's own words give."""
    for pattern, cause, hint, code in KNOWN:
        match = re.search(pattern, error.output)
        if match:
            return StepFailed(
                error.message, cause=cause.format(*match.groups()), hint=hint, output=error.output, code=code
            )
    return error
