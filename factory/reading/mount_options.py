"""Which types and options of fstab suit a file system: those that mount and Linux know for it.

An option that is not known makes the mount fail. The lists hold what any release of Linux took, removed ones too.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

# fmt: off
_SAME = {"ext2": "ext", "ext3": "ext", "ext4": "ext", "vfat": "vfat", "msdos": "vfat", "xfs": "xfs", "btrfs": "btrfs",
         "swap": "swap"}
_ANY = """defaults auto noauto user nouser users owner group nofail fail loop offset sizelimit comment uhelper helper
    remount ro rw exec noexec suid nosuid dev nodev sync async dirsync mand nomand atime noatime diratime nodiratime
    relatime norelatime strictatime nostrictatime lazytime nolazytime iversion noiversion silent loud symfollow
    nosymfollow acl noacl context fscontext defcontext rootcontext seclabel noseclabel bind rbind private rprivate
    shared rshared slave rslave unbindable runbindable quota noquota usrquota grpquota encryption source pri sw
    nobootwait bootwait optional showthrough timeout smackfsdef smackfsfloor smackfshat smackfsroot
    smackfstransmute"""
_OWN = {
    "ext": """bsddf minixdf grpid bsdgroups nogrpid sysvgroups resgid resuid sb errors uid32 nouid32 debug oldalloc
    orlov user_xattr nouser_xattr norecovery noload bh nobh commit min_batch_time max_batch_time journal_dev
    journal_path journal_checksum nojournal_checksum journal_async_commit abort data data_err usrjquota grpjquota jqfmt
    prjquota barrier nobarrier i_version dax stripe delalloc nodelalloc warn_on_error nowarn_on_error mblk_io_submit
    nomblk_io_submit block_validity noblock_validity inode_readahead_blks journal_ioprio auto_da_alloc noauto_da_alloc
    dioread_nolock dioread_lock nodioread_nolock discard nodiscard init_itable init_inode_table noinit_itable
    noinit_inode_table max_dir_size_kb test_dummy_encryption inlinecrypt nombcache no_mbcache prefetch_block_bitmaps
    no_prefetch_block_bitmaps mb_optimize_scan fc_debug_max_replay fc_debug_force check nocheck reservation
    noreservation journal xip extents noextents removed bulk_read nobulk_read journal_update""",
    "xfs": """allocsize attr2 noattr2 biosize dax discard nodiscard filestreams grpid nogrpid bsdgroups sysvgroups
    gqnoenforce gquota ihashsize ikeep noikeep inode32 inode64 largeio nolargeio logbufs logbsize logdev rtdev mtpt
    noalign norecovery nouuid osyncisdsync osyncisosync pqnoenforce pquota prjquota qnoenforce uqnoenforce uquota sunit
    swidth swalloc wsync barrier nobarrier delaylog nodelaylog max_atomic_write max_open_zones lifetime nolifetime
    dmapi xdsm ino64 noextsize noikeep""",
    "vfat": """uid gid umask dmask fmask allow_utime codepage iocharset nonumtail check quiet showexec debug fat tz
    time_offset usefree uni_xlate utf8 shortname errors discard nfs rodir dos1xfloppy flush sys_immutable dots nodots
    dotsOK conv cvf_format cvf_options posix nocase usemap blocksize""",
}
# fmt: on


def is_of(kind: str, types: str) -> bool:
    """Whether *types* of fstab or rootfstype= can mount a file system of *kind*, as far as that is known here."""
    names = types.split(",")
    same = _SAME.get(kind)
    if same is None or "auto" in names or any(name.startswith(("no", "fuse")) for name in names):
        return True
    return any(_SAME.get(name, name) == same for name in names)


def unknown(kind: str, options: Iterable[str]) -> list[tuple[str, str]]:
    """The options that a file system of *kind* does not have, each with the one that may be meant, or "".

    None for a kind whose options are not known here.
    """
    own = _OWN.get(_SAME.get(kind, ""), "").split()
    if not own or any('"' in option for option in options):  # a comma in quotes is none between options
        return []
    known = {*own, *_ANY.split()}
    found = []
    for option in options:
        name = option.partition("=")[0].strip()
        if name and name not in known and not name.startswith(("x-", "X-", "_", "verity.")):
            found.append((option, next(iter(get_close_matches(name, known, 1, 0.8)), "")))
    return found
