"""Seeds: keys, templates and ISOs, read back by other programs than the one that wrote them."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pycdlib
import pytest
import pytsk3
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from factory import seed as seeds
from factory.errors import HostError, UsageError

LOGIN = seeds.new_keypair("login")
HOST_KEY = seeds.new_keypair("host")
HOSTILE = 'x"\n  - evil: true\nruncmd: [reboot]\n\x00\x7f\x85\u2028 # {{ 7 * 7 }} {% raw %} \\ud83d\\ude00 😀'
UUID = "0f1c3b9e-5f0f-4b7e-8a83-5ad1f1c0ffee"


def build(**extra: Any) -> seeds.Seed:
    return seeds.build_seed(hostname="factory-1f2e3d4c", instance_id=UUID, login=LOGIN, host_key=HOST_KEY, extra=extra)


def for_test(datasource: seeds.Datasource = "NoCloud", mac: str = "") -> seeds.Seed:
    return seeds.test_seed(hostname="boot-a", instance_id=UUID, login=LOGIN, datasource=datasource, mac=mac)


# -- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_is_what_ssh_keygen_makes_of_it(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(LOGIN.private_openssh)
    path.chmod(0o600)
    (tmp_path / "key.pub").write_text(LOGIN.public_openssh + "\n")
    printed = subprocess.run(["ssh-keygen", "-lf", path], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["256", LOGIN.fingerprint, "login", "(ED25519)"]
    derived = subprocess.run(["ssh-keygen", "-yf", path], capture_output=True, text=True, check=True).stdout
    assert derived.split()[:2] == LOGIN.public_openssh.split()[:2]


def test_keys_differ_and_hide_their_private_half() -> None:
    assert seeds.new_keypair("a").fingerprint != seeds.new_keypair("a").fingerprint
    assert "PRIVATE" not in repr(LOGIN)
    assert "PRIVATE" not in repr(build())


def test_patterns_of_a_key_are_in_that_key_only() -> None:
    text = LOGIN.private_openssh.encode() + LOGIN.public_openssh.encode()
    other = HOST_KEY.private_openssh.encode() + HOST_KEY.public_openssh.encode()
    assert len(LOGIN.patterns) >= 4
    assert all(pattern in text and pattern not in other for pattern in LOGIN.patterns)


def test_a_comment_of_two_lines_is_refused() -> None:
    with pytest.raises(UsageError, match="one line"):
        seeds.new_keypair("a\nssh-ed25519 AAAA evil")


# -- user-data and meta-data -----------------------------------------------------------------------------------------


def test_the_build_lets_only_root_in_with_keys_we_know() -> None:
    seed = build()
    assert seed.user_data.startswith("#cloud-config\n")
    data = yaml.safe_load(seed.user_data)
    assert data["disable_root"] is False
    assert data["ssh_authorized_keys"] == [LOGIN.public_openssh]
    assert data["ssh_deletekeys"] is True
    assert data["ssh_keys"] == {
        "ed25519_private": HOST_KEY.private_openssh,
        "ed25519_public": HOST_KEY.public_openssh,
    }
    assert data["users"] == [""]
    meta = yaml.safe_load(seed.meta_data)
    assert meta == {
        "instance-id": UUID,
        "local-hostname": "factory-1f2e3d4c",
        "public-keys": [LOGIN.public_openssh],
    }
    assert seed.network_config == ""


def test_the_builds_own_values_are_its_canaries() -> None:
    seed = build()
    whole = (seed.user_data + seed.meta_data).encode()
    assert set(seed.canaries) == {"login key", "host key", "instance-id", "hostname"}
    public_or_host = [*seed.canaries["host key"], LOGIN.public_openssh.split()[1].encode()]
    assert all(pattern in whole for pattern in public_or_host)
    assert "host key" not in for_test().canaries
    for line in HOST_KEY.private_openssh.splitlines()[1:-1]:
        assert line in seed.secrets


def test_a_boot_test_gives_what_a_cloud_gives_and_no_more() -> None:
    seed = for_test("ConfigDrive", mac="52:54:00:AB:CD:EF")
    data = yaml.safe_load(seed.user_data)
    assert set(data) == {"write_files", "runcmd"}
    assert data["write_files"] == [{"path": seeds.MARKER_FILE, "content": seed.marker, "permissions": "0644"}]
    assert data["runcmd"] == [["sh", "-c", f"echo run >> {seeds.COUNTER_FILE}"]]
    assert seed.host_key is None
    assert len(seed.marker) == 32
    meta = json.loads(seed.meta_data_json)
    assert (meta["uuid"], meta["hostname"]) == (UUID, "boot-a")
    assert meta["public_keys"] == {"factory": LOGIN.public_openssh}
    network = json.loads(seed.network_data_json)
    assert network["links"][0]["ethernet_mac_address"] == "52:54:00:ab:cd:ef"
    assert for_test("ConfigDrive").network_data_json == ""


def test_two_boot_tests_have_different_markers() -> None:
    assert for_test().marker != for_test().marker


# -- what a recipe adds ----------------------------------------------------------------------------------------------


def test_a_recipe_adds_keys_of_its_own() -> None:
    data = yaml.safe_load(build(timezone="UTC", users=[{"name": "app"}]).user_data)
    assert data["timezone"] == "UTC"
    assert data["users"] == [{"name": "app"}]
    assert data["disable_root"] is False


@pytest.mark.parametrize("key", sorted(seeds.RESERVED))
def test_a_recipe_cannot_replace_what_the_factory_sets(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(**{key: True})
    assert caught.value.code == "recipe.cloud-init-reserved"
    assert key in caught.value.message
    assert caught.value.cause


def test_every_key_that_the_template_sets_is_reserved() -> None:
    assert set(yaml.safe_load(build().user_data)) - {"users"} <= set(seeds.RESERVED)


@pytest.mark.parametrize("users", ["default", ["default"], ["a, default"], [{"name": "default"}], [{}], [7]])
def test_the_default_user_is_not_made_in_a_build(users: object) -> None:
    with pytest.raises(UsageError, match="without 'default'"):
        build(users=users)


def test_module_lists_are_short_unless_the_recipe_needs_more() -> None:
    short = yaml.safe_load(build(timezone="UTC").user_data)
    assert short["cloud_init_modules"] == ["growpart", "resizefs", "set_hostname", "update_etc_hosts", "ssh"]
    assert short["cloud_config_modules"] == ["timezone"]
    assert short["cloud_final_modules"] == ["final_message"]
    ran = yaml.safe_load(build(runcmd=["true"], bootcmd=["true"]).user_data)
    assert "bootcmd" in ran["cloud_init_modules"]
    assert ran["cloud_config_modules"] == ["runcmd"]
    assert "scripts_user" in ran["cloud_final_modules"]
    assert "cloud_init_modules" not in yaml.safe_load(build(ntp={"enabled": True}).user_data)


def test_hostile_text_stays_text() -> None:
    clean = set(yaml.safe_load(build(zone=1).user_data))
    data = yaml.safe_load(build(**{"zone": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}}).user_data)
    assert data["zone"] == HOSTILE
    assert data[HOSTILE] == {HOSTILE: [HOSTILE]}
    assert set(data) == clean | {HOSTILE}


@settings(deadline=None)  # a busy machine is no fault of the value
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one), max_leaves=5))
def test_whatever_enters_a_template_is_read_back_the_same(value: object) -> None:
    assert yaml.safe_load(seeds._as_data(value)) == value


@pytest.mark.parametrize("value", ["\ud800", float("nan"), object()])
def test_a_value_without_a_form_in_yaml_is_the_users_mistake(value: object) -> None:
    with pytest.raises(UsageError) as caught:
        build(zone=value)
    assert caught.value.code == "seed.value"


@pytest.mark.parametrize("name", ["", "a\nb", "-a", "a b", "a/b", "a" * 64, "UPPER", 'a"', "a.b"])
def test_a_name_that_no_guest_can_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        seeds.test_seed(hostname=name, instance_id="i", login=LOGIN)


def test_bad_instance_ids_and_macs_are_refused() -> None:
    with pytest.raises(UsageError):
        seeds.test_seed(hostname="a", instance_id="i\nlocal-hostname: b", login=LOGIN)
    with pytest.raises(UsageError):
        for_test("ConfigDrive", mac="52:54:00")


def test_a_template_with_an_unknown_name_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(seeds.template_folder(), tmp_path, dirs_exist_ok=True)
    (tmp_path / "meta-data.j2").write_text("instance-id: {{ instance_idd }}\n")
    monkeypatch.setattr(seeds, "template_folder", lambda: tmp_path)
    with pytest.raises(UsageError, match=r"meta-data\.j2.*instance_idd"):
        for_test()


# -- ISOs ------------------------------------------------------------------------------------------------------------


def read_with_pycdlib(path: Path) -> dict[str, tuple[str, str]]:
    """Each file of the ISO: its Rock Ridge path -> (text by Rock Ridge, text by Joliet)."""
    iso = pycdlib.PyCdlib()
    iso.open(str(path))
    found = {}
    for folder, _, names in iso.walk(rr_path="/"):
        for name in names:
            inside = f"{folder.rstrip('/')}/{name}"
            with iso.open_file_from_iso(rr_path=inside) as by_rock_ridge:
                text = by_rock_ridge.read().decode()
            with iso.open_file_from_iso(joliet_path=inside) as by_joliet:
                found[inside] = (text, by_joliet.read().decode())
    iso.close()
    return found


def read_with_sleuthkit(path: Path, inside: str) -> str:
    """One file of the ISO, by a reader that shares no code with the writer."""
    entry = pytsk3.FS_Info(pytsk3.Img_Info(str(path))).open(inside)
    size = entry.info.meta.size
    return entry.read_random(0, size).decode() if size else ""


def blkid(path: Path) -> dict[str, str]:
    program = shutil.which("blkid", path="/usr/sbin:/sbin:/usr/bin:/bin")
    assert program, "util-linux has it"
    done = subprocess.run([program, "-p", "-o", "export", path], capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def test_the_nocloud_iso(tmp_path: Path) -> None:
    seed, path = build(), tmp_path / "seed.iso"
    seeds.write(seed, path)
    facts = blkid(path)
    assert (facts["LABEL"], facts["TYPE"]) == ("cidata", "iso9660")
    files = {"user-data": seed.user_data, "meta-data": seed.meta_data, "network-config": "", "vendor-data": ""}
    assert read_with_pycdlib(path) == {f"/{name}": (text, text) for name, text in files.items()}
    for name, text in files.items():
        assert read_with_sleuthkit(path, f"/{name}") == text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size % 512 == 0  # else QEMU would pad what the guest sees
    assert [entry.name for entry in tmp_path.iterdir()] == ["seed.iso"]


def test_the_configdrive_iso(tmp_path: Path) -> None:
    seed, path = for_test("ConfigDrive", mac="52:54:00:ab:cd:ef"), tmp_path / "seed.iso"
    seeds.write(seed, path)
    facts = blkid(path)
    assert (facts["LABEL"], facts["TYPE"]) == ("config-2", "iso9660")
    names = {
        "user_data": seed.user_data,
        "meta_data.json": seed.meta_data_json,
        "network_data.json": seed.network_data_json,
    }
    files = {f"/openstack/{one}/{name}": text for one in ("latest", "2018-08-27") for name, text in names.items()}
    assert read_with_pycdlib(path) == {name: (text, text) for name, text in files.items()}
    for name, text in files.items():
        assert read_with_sleuthkit(path, name) == text


def test_an_older_iso_is_replaced_and_kept_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "seed.iso"
    seeds.write(build(), path)
    seeds.write(for_test(), path)
    written = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("factory.seed_iso.os.replace", full)
    with pytest.raises(HostError, match="No space left") as caught:
        seeds.write(build(), path)
    assert caught.value.code == "host.disk-full"
    assert path.read_bytes() == written
    assert [entry.name for entry in tmp_path.iterdir()] == ["seed.iso"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="No such file"):
        seeds.write(build(), tmp_path / "absent" / "seed.iso")


# -- cloud-init's own word -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def published_schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The schema inside the cloud-init package of this host's own archive; no Python library offers it."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("this host has no apt-get, which fetches cloud-init's schema")
    folder = tmp_path_factory.mktemp("cloud-init")
    fetched = subprocess.run(["apt-get", "download", "cloud-init"], cwd=folder, capture_output=True, text=True)
    packages = list(folder.glob("*.deb"))
    if not packages:
        pytest.skip(f"apt-get cannot fetch cloud-init here: {fetched.stderr.strip()[-200:]}")
    subprocess.run(["dpkg-deb", "-x", packages[0], folder / "unpacked"], check=True)
    (path,) = (folder / "unpacked").glob("**/schemas/schema-cloud-config-v1.json")
    schema: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return schema


@pytest.mark.real
def test_user_data_passes_cloud_inits_published_schema(published_schema: dict[str, Any]) -> None:
    schema = jsonschema.Draft4Validator(published_schema)
    for seed in (build(), build(timezone="UTC", runcmd=["true"]), for_test()):
        assert [error.message for error in schema.iter_errors(yaml.safe_load(seed.user_data))] == []
    wrong = yaml.safe_load(build().user_data) | {"disable_root": ["no"]}
    assert not schema.is_valid(wrong)
