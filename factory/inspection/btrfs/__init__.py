"""btrfs, read from its on-disk format: subvolumes, compressed files, checksums of metadata and data.

No library with a usable licence reads it offline, so this is a reader of our own, for one device: ``checksums`` and
``codecs`` know the algorithms, ``chunks`` turns logical addresses into places of the partition, ``nodes`` reads the
trees, ``content`` the files' bytes, ``volume`` puts them together. An image may be hostile: every number is checked
before it is used, a node is believed only with its checksum, its own address, its generation and its range of keys as
its parent told them, and each loop ends with what lies on the disk. What is wrong raises VolumeError.
"""

from factory.inspection.btrfs.volume import Btrfs

__all__ = ["Btrfs"]
