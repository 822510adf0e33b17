"""Seeds: what cloud-init in the guest reads at boot, on a small ISO.

A build's seed lets root log in by a key made for this build and gives the guest its SSH host key, so that the first
connection is verified. A boot test's seed does what a cloud does: a key for the distribution's default user in the
meta-data, and nothing else that the image should bring itself. The text comes from ``templates/cloud-init/``; values
enter it only as data. Nothing here is read back from the guest.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from factory.errors import UsageError
from factory.seed_iso import write_iso

Datasource = Literal["NoCloud", "ConfigDrive"]

MARKER_FILE = "/var/lib/factory-boot-test/marker"  # holds Seed.marker once user-data has run
COUNTER_FILE = "/var/lib/factory-boot-test/runs"  # one line for each time that user-data ran

_NAMED = "the build has a name of its own, so that traces of it can be found"
_LOGIN = "the factory logs in as root"
_NO_KEYS = "no key may stay in an image; the cloud gives each instance its keys"
_HOST_KEYS = "host keys belong to one machine; each instance makes its own"
_FILLED = "the root file system of the build always fills the disk"
_UPGRADE = "use 'upgrade' and a 'packages' step of the recipe"
_OURS = "the factory sets it"
RESERVED: Mapping[str, str] = {
    **dict.fromkeys(("hostname", "fqdn", "preserve_hostname", "prefer_fqdn_over_hostname", "manage_etc_hosts"), _NAMED),
    **dict.fromkeys(("disable_root", "disable_root_opts", "allow_public_ssh_keys"), _LOGIN),
    **dict.fromkeys(("ssh_authorized_keys", "ssh_import_id"), _NO_KEYS),
    **dict.fromkeys(("ssh_keys", "ssh_deletekeys", "ssh_genkeytypes"), _HOST_KEYS),
    **dict.fromkeys(("growpart", "resize_rootfs"), _FILLED),
    **dict.fromkeys(("package_update", "package_upgrade", "package_reboot_if_required"), _UPGRADE),
    **dict.fromkeys(("ssh", "no_ssh_fingerprints", "grub_dpkg", "grub-dpkg", "merge_how", "merge_type"), _OURS),
    **dict.fromkeys(("cloud_init_modules", "cloud_config_modules", "cloud_final_modules"), _OURS),
    "user": "write a list of 'users' instead",
    "power_state": "the factory powers the guest off itself",
}
"""Keys that a recipe's ``cloud_init`` may not hold, and why."""

# cloud-init lets user-data replace the module lists of its stages: it takes them from the merged configuration, where
# user-data comes first (seen with its 20.4, 22.4 and 25.1). To load the default lists takes 50 to 150 ms of a CPU
# without emulation, many times that under TCG, and some of them start programs. The override lives in the user-data of
# this one instance, so nothing of it is in the image. A recipe that asks for more than the keys below gets full lists.
_NEEDED = {
    "cloud_init_modules": ("bootcmd", "growpart", "resizefs", "set_hostname", "update_etc_hosts", "ssh"),
    "cloud_config_modules": ("locale", "timezone", "runcmd"),
    "cloud_final_modules": ("scripts_user", "final_message"),
}
_ONLY_FOR = {
    "bootcmd": "bootcmd",
    "locale": "locale",
    "timezone": "timezone",
    "runcmd": "runcmd",
    "scripts_user": "runcmd",
}  # module -> the key that needs it

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class KeyPair:
    """An ed25519 SSH key: the private half in OpenSSH's format, the public half as one line without a newline."""

    private_openssh: str = field(repr=False)
    public_openssh: str

    @property
    def fingerprint(self) -> str:
        """``SHA256:...`` of the public half, as ``ssh-keygen -lf`` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.public_openssh.split()[1])).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def patterns(self) -> tuple[bytes, ...]:
        """Byte strings that give either half away: the public base64, and the private lines that no other key has."""
        body = self.private_openssh.strip().splitlines()[2:-1]  # the first line of the body is the same for all keys
        return tuple(text.encode() for text in (self.public_openssh.split()[1], *body) if len(text) >= 20)


def new_keypair(comment: str) -> KeyPair:
    """A fresh ed25519 key whose public line ends with *comment* (one line of printable text)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    if not comment.isprintable():
        raise UsageError(f"The comment of a key must be one line of text: {comment!r}", code="seed.comment")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return KeyPair(private.decode(), f"{public.decode()} {comment}".rstrip())


@dataclass(frozen=True)
class Seed:
    """All that one boot of one guest is told. Both forms of the meta-data are there, so either ISO can be written."""

    datasource: Datasource
    instance_id: str
    hostname: str
    login: KeyPair
    host_key: KeyPair | None  # None: the guest must make its own
    user_data: str = field(repr=False)  # holds the private host key
    meta_data: str
    network_config: str
    meta_data_json: str
    network_data_json: str  # empty: no such file
    marker: str = ""  # what MARKER_FILE must hold after a boot test

    @property
    def canaries(self) -> dict[str, tuple[bytes, ...]]:
        """What must not be in the image after a build with this seed: what it is -> its byte strings."""
        found = {
            "login key": self.login.patterns,
            "instance-id": (self.instance_id.encode(),),
            "hostname": (self.hostname.encode(),),
        }
        return found | ({"host key": self.host_key.patterns} if self.host_key else {})

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that no log may show: the private keys, whole and line by line."""
        keys = [self.login.private_openssh] + ([self.host_key.private_openssh] if self.host_key else [])
        return tuple(text for key in keys for text in (key, *key.strip().splitlines()[1:-1]))


def build_seed(
    *, hostname: str, instance_id: str, login: KeyPair, host_key: KeyPair, extra: Mapping[str, Any] | None = None
) -> Seed:
    """The seed of a build. *extra* is the recipe's ``cloud_init``, with values typed as cloud-init wants them.

    Raises UsageError when *extra* holds a RESERVED key or a value that YAML has no form for.
    """
    extra = dict(extra or {})
    if taken := sorted(extra.keys() & RESERVED.keys()):
        raise UsageError(
            f"{', '.join(f'cloud_init.{key}' for key in taken)} cannot be set by a recipe",
            cause="; ".join(dict.fromkeys(RESERVED[key] for key in taken)),
            code="recipe.cloud-init-reserved",
        )
    modules = _modules(extra)
    users = extra.pop("users", [])
    if not isinstance(users, list) or any(_is_default(user) for user in users):
        raise UsageError(
            "'cloud_init.users' of a recipe must be a list without 'default'",
            cause="The default user is made anew in each instance, with that instance's keys",
            code="recipe.cloud-init-reserved",
        )
    values = {"host_key": host_key, "users": users, "modules": modules, "extra": extra}
    return _seed("build-user-data", "NoCloud", hostname, instance_id, login, host_key, values)


def test_seed(
    *, hostname: str, instance_id: str, login: KeyPair, datasource: Datasource = "NoCloud", mac: str = ""
) -> Seed:
    """The seed of a boot test, as a cloud would make it.

    A ConfigDrive seed names its one interface by *mac*, as OpenStack does; *instance_id* should then be the machine's
    SMBIOS UUID, by which cloud-init knows at a reboot that it is still the same instance.
    """
    marker = secrets.token_hex(16)
    values = {"marker": marker, "marker_file": MARKER_FILE, "counter_file": COUNTER_FILE}
    return _seed("test-user-data", datasource, hostname, instance_id, login, None, values, mac=mac, marker=marker)


def write(seed: Seed, path: Path) -> None:
    """Write *seed* as the ISO of its own datasource."""
    {"NoCloud": write_nocloud, "ConfigDrive": write_configdrive}[seed.datasource](seed, path)


def write_nocloud(seed: Seed, path: Path) -> None:
    """Write an ISO labelled ``cidata`` to *path* (mode 0600; an older file is replaced in one step)."""
    files = {"user-data": seed.user_data, "meta-data": seed.meta_data}
    write_iso(path, "cidata", files | {"network-config": seed.network_config, "vendor-data": ""})


def write_configdrive(seed: Seed, path: Path) -> None:
    """Write an ISO labelled ``config-2`` to *path*, laid out as OpenStack does (mode 0600)."""
    files = {"user_data": seed.user_data, "meta_data.json": seed.meta_data_json}
    if seed.network_data_json:
        files["network_data.json"] = seed.network_data_json
    # cloud-init takes the newest version that it knows, which is 2018-08-27 since its 18.4, else "latest".
    folders = ("2018-08-27", "latest")
    write_iso(path, "config-2", {f"openstack/{one}/{name}": text for one in folders for name, text in files.items()})


def _is_default(user: object) -> bool:
    name = user.get("name", "default") if isinstance(user, Mapping) else user
    return not isinstance(name, str) or "default" in re.split(r"[,\s]+", name)


def _modules(extra: Mapping[str, Any]) -> dict[str, list[str]]:
    """The three module lists that suffice for *extra*; empty when cloud-init's own lists are needed."""
    if extra.keys() - set(_ONLY_FOR.values()):
        return {}
    return {
        stage: [name for name in names if name not in _ONLY_FOR or _ONLY_FOR[name] in extra]
        for stage, names in _NEEDED.items()
    }


def _seed(
    template: str,
    datasource: Datasource,
    hostname: str,
    instance_id: str,
    login: KeyPair,
    host_key: KeyPair | None,
    values: Mapping[str, Any],
    *,
    mac: str = "",
    marker: str = "",
) -> Seed:
    """Check the names, then render every file of the seed."""
    for what, pattern, text in (("host name", _NAME, hostname), ("instance-id", _IDENTITY, instance_id)):
        if not pattern.fullmatch(text):
            raise UsageError(f"{text!r} cannot be the {what} of a guest", code="seed.name")
    if mac and not _MAC.fullmatch(mac.lower()):
        raise UsageError(f"{mac!r} is not a MAC address", code="seed.name")
    named = {"hostname": hostname, "instance_id": instance_id, "login": login, "mac": mac.lower()}
    return Seed(
        datasource=datasource,
        instance_id=instance_id,
        hostname=hostname,
        login=login,
        host_key=host_key,
        user_data=_render(template, {"login": login, **values}),
        meta_data=_render("meta-data", named),
        network_config=_render("network-config", named),
        meta_data_json=_render("meta_data.json", named),
        network_data_json=_render("network_data.json", named) if mac else "",
        marker=marker,
    )


def template_folder() -> Path:
    """Where the templates are: inside the installed package, else beside it in a checkout."""
    inside = Path(__file__).parent / "templates" / "cloud-init"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "templates" / "cloud-init"


def _render(name: str, values: Mapping[str, Any]) -> str:
    """The text of ``<name>.j2``; every ``{{ value }}`` in it becomes data, by :func:`_as_data`."""
    import jinja2

    def finalize(value: object) -> object:
        return value if isinstance(value, jinja2.Undefined) else _as_data(value)  # an Undefined raises when it prints

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_folder()),
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701  this is YAML and JSON, and finalize leaves nothing to escape
    )
    try:
        text = environment.get_template(f"{name}.j2").render(values).strip()
    except jinja2.TemplateError as error:
        raise UsageError(
            f"The template {name}.j2 cannot be used: {type(error).__name__}: {error}",
            hint=f"Look at {template_folder()}",
            code="seed.template",
        ) from error
    return text and text + "\n"


def _as_data(value: object) -> str:
    """*value* as JSON on one line in ASCII, which is YAML too, whatever is in it.

    YAML knows no surrogate pairs and no raw DEL, so both become escapes that it has.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate has no form in UTF-8
        text = json.dumps(value, ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"A value of the recipe's 'cloud_init' cannot be written: {error}", code="seed.value"
        ) from error
    return re.sub(r"\\ud[89ab]..\\ud[c-f]..", _astral, text).replace("\x7f", "\\u007f")


def _astral(pair: re.Match[str]) -> str:
    high, low = int(pair[0][2:6], 16), int(pair[0][8:12], 16)
    return f"\\U{0x10000 + (high - 0xD800) * 0x400 + (low - 0xDC00):08x}"
