"""What boot loaders would do: GRUB's scripts and environment, BLS, extlinux, systemd-boot."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.filesystem import FileSystem
from factory.inspection import Unreadable
from factory.inspection.answers import Top
from factory.partitions import Partition
from factory.reading import boot_entries, grub_script
from factory.reading.boot_entries import BootEntries, BootEntry
from tests.guest_tree import Content, Tree, folder, link, plant

ROOT = "11111111-2222-3333-4444-555555555555"
BOOT = "99999999-2222-3333-4444-555555555555"
KERNEL = {
    "/boot/vmlinuz-6.1": "k",
    "/boot/initrd.img-6.1": "i",
    "/boot/vmlinuz-5.10": "k",
    "/boot/initrd.img-5.10": "i",
}
DEBIAN = f"""
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   set next_entry=
   save_env next_entry
else
   set default="${{saved_entry}}"
fi
if [ x"${{feature_menuentry_id}}" = xy ]; then menuentry_id_option="--id"; else menuentry_id_option=""; fi
function recordfail {{
  set recordfail=1
  if [ -n "${{have_grubenv}}" ]; then if [ -z "${{boot_once}}" ]; then save_env recordfail; fi; fi
}}
if [ "${{recordfail}}" = 1 ] ; then
  set timeout=30
else
  set timeout=1
fi
set linux_gfx_mode=
if [ x$grub_platform = xefi ]; then
  for video in efi_gop efi_uga; do insmod $video; done
fi
menuentry 'Debian' --class debian $menuentry_id_option 'simple' {{
    recordfail
    search --no-floppy --fs-uuid --set=root {ROOT}
    linux /boot/vmlinuz-6.1 root=UUID={ROOT} ro console=tty0 \\
        console=ttyS0,115200 dyndbg="file drivers/x +p"
    initrd /boot/initrd.img-6.1
}}
submenu 'Advanced' $menuentry_id_option 'advanced' {{
    menuentry 'Debian, 6.1' --id 'a-6.1' {{
        linux /boot/vmlinuz-6.1 root=/dev/sda1 ro
        initrd /boot/initrd.img-6.1
    }}
    menuentry "Debian, 5.10" --id a-5.10
    {{
        linux /boot/vmlinuz-5.10 root=LABEL=root ro ; initrd /boot/gone
    }}
}}
menuentry 'Firmware' {{ fwsetup }}
menuentry 'memtest' {{ linux16 /boot/memtest86+.bin }}
# menuentry 'commented' {{ linux /boot/nothing }}
"""


def guest(tmp_path: Path, files: dict[str, Content], esp: dict[str, Content] | None = None) -> Tree:
    plant(tmp_path / "root", {"/etc/fstab": "", **KERNEL, **files})
    tree = Tree(tmp_path / "root", **({"p15": plant(tmp_path / "esp", esp)} if esp is not None else {}))
    parts = [Partition(1, 0, 0, "", "", "", FileSystem("ext4", "root", ROOT))]
    if esp is not None:
        parts.append(Partition(15, 0, 0, "", "", "", FileSystem("vfat", "ESP", "1A2B-3C4D")))
    object.__setattr__(tree._facts, "partitions", tuple(parts))
    return tree


def environment(**variables: str) -> bytes:
    text = "# GRUB Environment Block\n" + "".join(f"{name}={value}\n" for name, value in variables.items())
    return text.encode().ljust(1024, b"#")


def entry(found: BootEntries, name: str) -> BootEntry:
    return next(each for each in found.entries if each.id == name)


def test_grub_entries_are_run(tmp_path: Path) -> None:
    found = boot_entries.read(guest(tmp_path, {"/boot/grub/grub.cfg": DEBIAN}))
    assert [each.id for each in found.entries] == ["simple", "a-6.1", "a-5.10"]
    simple = entry(found, "simple")
    assert simple.options == (
        f"root=UUID={ROOT}", "ro", "console=tty0", "console=ttyS0,115200", "dyndbg=file drivers/x +p",
    )  # fmt: skip
    assert simple.kernel.there and simple.kernel.path == "/boot/vmlinuz-6.1"
    assert simple.default and simple.option("console") == ["tty0", "ttyS0,115200"]
    assert simple.evidence.startswith("/boot/grub/grub.cfg:30: root=UUID=")
    assert entry(found, "a-6.1").options[0] == "root=/dev/sda1"
    assert [each.there for each in entry(found, "a-5.10").initrds] == [False]
    assert found.timeouts == {"grub pc": 1.0, "grub efi": 1.0} and not found.missing


@pytest.mark.parametrize(
    ("saved", "default"),
    [("", "simple"), ("a-5.10", "a-5.10"), ("Advanced>Debian, 6.1", "a-6.1"), ("1>1", "a-5.10"), ("1", "a-6.1"),
     ("advanced>a-5.10", "a-5.10")],
)  # fmt: skip
def test_the_default_follows_grubenv(tmp_path: Path, saved: str, default: str) -> None:
    files: dict[str, Content] = {"/boot/grub/grub.cfg": DEBIAN, "/boot/grub/grubenv": environment(saved_entry=saved)}
    found = boot_entries.read(guest(tmp_path, files))
    assert [each.id for each in found.entries if each.default] == [default]
    assert not found.missing


def test_a_default_that_is_not_there(tmp_path: Path) -> None:
    block = environment(saved_entry="gone", recordfail="1")
    found = boot_entries.read(guest(tmp_path, {"/boot/grub/grub.cfg": DEBIAN, "/boot/grub/grubenv": block}))
    assert [(each.path, each.line, each.what) for each in found.missing] == [
        ("/boot/grub/grubenv", 2, "default entry 'gone'")
    ]
    assert [each.id for each in found.entries if each.default] == ["simple"]
    assert found.timeouts == {"grub pc": 30.0, "grub efi": 30.0}


def test_a_search_in_vain(tmp_path: Path) -> None:
    text = DEBIAN.replace(f"--set=root {ROOT}", f"--set=root {BOOT}")
    found = boot_entries.read(guest(tmp_path, {"/boot/grub/grub.cfg": text}))
    assert [each.what for each in found.missing] == [f"search --no-floppy --fs-uuid --set=root {BOOT}"]
    assert entry(found, "simple").kernel.there, "GRUB goes on with the partition that it has"


def test_bls_by_blscfg(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "/boot/grub2/grub.cfg": "load_env\nset default=\"${saved_entry}\"\nset timeout=5\ninsmod blscfg\nblscfg\n",
        "/boot/grub2/grubenv": environment(saved_entry="abc-6.1", kernelopts="root=UUID=1 ro"),
        "/boot/loader/entries/abc-6.1.conf":
            "title A\nversion 6.1\nlinux /boot/vmlinuz-6.1\ninitrd /boot/initrd.img-6.1 $tuned_initrd\n"
            "options $kernelopts console=ttyS0 $tuned_params\n",
        "/boot/loader/entries/abc-5.10.conf": "title B\nlinux /boot/vmlinuz-5.9\noptions root=UUID=2\n",
        "/boot/loader/entries/notes.txt": "linux /x\n",
    }  # fmt: skip
    found = boot_entries.read(guest(tmp_path, files))
    assert [(each.id, each.loader, each.default) for each in found.entries] == [
        ("abc-6.1", "bls", True), ("abc-5.10", "bls", False),
    ]  # fmt: skip
    assert entry(found, "abc-6.1").options == ("root=UUID=1", "ro", "console=ttyS0")
    assert entry(found, "abc-6.1").evidence.startswith("/boot/loader/entries/abc-6.1.conf:5: ")
    assert not entry(found, "abc-5.10").kernel.there


def test_bls_that_no_loader_reads(tmp_path: Path) -> None:
    files: dict[str, Content] = {
        "/boot/grub2/grub.cfg": DEBIAN,
        "/boot/loader/entries/old.conf": "linux /boot/gone\n",
    }
    assert "old" not in [each.id for each in boot_entries.read(guest(tmp_path, files)).entries]


def test_systemd_boot(tmp_path: Path) -> None:
    esp: dict[str, Content] = {
        "/EFI/systemd/systemd-bootx64.efi": "x",
        "/loader/loader.conf": "timeout 3\ndefault two.conf\n",
        "/loader/entries/one.conf": "title 1\nlinux /one/linux\ninitrd /one/initrd\noptions root=UUID=1 a\noptions b\n",
        "/loader/entries/two.conf": "title 2\nlinux\t/two/linux\noptions root=UUID=2\n",
        "/two/linux": "k",
    }
    found = boot_entries.read(guest(tmp_path, {}, esp))
    assert {each.id: (each.default, each.kernel.there) for each in found.entries} == {
        "one": (False, False), "two": (True, True),
    }  # fmt: skip
    assert entry(found, "one").options == ("root=UUID=1", "a", "b")
    assert entry(found, "one").path == "(partition 15)/loader/entries/one.conf"


def test_extlinux(tmp_path: Path) -> None:
    text = """DEFAULT menu.c32
PROMPT 0
TIMEOUT 10
LABEL virt
  MENU DEFAULT
  LINUX vmlinuz-6.1
  INITRD initrd.img-6.1
  APPEND root=UUID=1 console=ttyS0
LABEL old
  KERNEL /boot/vmlinuz-gone
  APPEND root=/dev/vda3 initrd=/boot/initrd.img-5.10
#LABEL none
"""
    found = boot_entries.read(guest(tmp_path, {"/boot/extlinux.conf": text}))
    virt, old = found.entries
    assert virt.default and virt.kernel.there and virt.initrds[0].path == "/boot/initrd.img-6.1"
    assert virt.evidence == "/boot/extlinux.conf:8: root=UUID=1 console=ttyS0"
    assert not old.kernel.there and old.initrds[0].there
    assert found.timeouts == {"extlinux": 1.0}


def test_the_stub_on_the_esp(tmp_path: Path) -> None:
    stub = "search.fs_uuid {} root hd0,gpt1\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n"
    esp: dict[str, Content] = {"/EFI/debian/grub.cfg": stub.format(ROOT)}
    tree = guest(tmp_path, {"/boot/grub/grub.cfg": DEBIAN}, esp)
    assert not boot_entries.read(tree).missing
    plant(tmp_path / "esp", {"/EFI/debian/grub.cfg": stub.format(BOOT)})
    missing = boot_entries.read(tree).missing
    assert missing[0].path == "(partition 15)/EFI/debian/grub.cfg" and BOOT in missing[0].what


@pytest.mark.parametrize(
    "text",
    ["if true; then\n" * 100, "menuentry 'x' {\n linux /boot/vmlinuz\n", "set a='b\n", "source $prefix/grub.cfg\n",
     "function f { f; }\nf\n", "for a in " + "x " * 300 + "; do for b in " + "y " * 300 + "; do set c=1; done; done\n"],
)  # fmt: skip
def test_what_cannot_be_followed_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(Unreadable):
        boot_entries.read(guest(tmp_path, {"/boot/grub/grub.cfg": text}))


def test_nothing_to_boot(tmp_path: Path) -> None:
    assert boot_entries.read(guest(tmp_path, {"/boot/grub": link("/nowhere")})) == BootEntries()


def test_words_of_a_script() -> None:
    (command,) = grub_script.parse("linux /vmlinuz \"a $b c\"'d'e\\ f # comment\n")
    assert isinstance(command, grub_script.Command)
    assert ["".join(part.text for part in word.parts) for word in command.words] == ["linux", "/vmlinuz", "a b cde f"]


def test_a_partition_of_its_own_for_boot(tmp_path: Path) -> None:
    boot: dict[str, Content] = {
        "/grub2/grub.cfg": f"search --fs-uuid --set=root {BOOT}\nsearch --fs-uuid --set=boot {BOOT}\nblscfg\n",
        "/loader/entries/x.conf": "linux /vmlinuz-6.1\ninitrd /initramfs-6.1.img\noptions root=UUID=1\n",
        "/vmlinuz-6.1": "k",
        "/initramfs-6.1.img": "i",
    }
    plant(tmp_path / "root", {"/etc/fstab": "", "/boot": folder()})
    tree = Tree(tmp_path / "root", p2=plant(tmp_path / "boot", boot))
    parts = (
        Partition(1, 0, 0, "", "", "", FileSystem("xfs", "", ROOT)),
        Partition(2, 0, 0, "", "", "", FileSystem("ext4", "", BOOT)),
    )
    object.__setattr__(tree._facts, "partitions", parts)
    tree._facts.mounts["/boot"] = 2
    tree._facts.tops["/boot"] = Top(2, 0, "")
    found = boot_entries.read(tree)
    assert [(each.path, each.kernel.path, each.kernel.there, each.initrds[0].there) for each in found.entries] == [
        ("/boot/loader/entries/x.conf", "/boot/vmlinuz-6.1", True, True)
    ]
    assert found.files[0] == "/boot/grub2/grub.cfg" and not found.missing


@given(st.text(alphabet=" \n;{}[]()'\"\\$#=abif", max_size=200), st.sampled_from(["", "menuentry x { ", "if a; then "]))
def test_any_script_is_parsed_or_refused(text: str, start: str) -> None:
    with contextlib.suppress(grub_script.ScriptError):
        grub_script.parse(start + text)
