"""The disk inside an image and the file systems on it, opened by dfVFS; only the inspection's child imports this.

dfVFS lays the layers: the range of bytes of a partition, the file system. All of them read the one descriptor that the
process inherited, through :mod:`factory.qcow2` when it is a qcow2, so it needs no right to open anything.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable
from typing import Any, ClassVar

import pytsk3
from dfvfs.file_io import file_io
from dfvfs.lib import definitions, tsk_image
from dfvfs.path import factory as specs
from dfvfs.resolver import context, resolver
from dfvfs.resolver_helpers import manager, os_resolver_helper
from dfvfs.vfs import tsk_file_system

from factory.filesystem import FileSystem, identify
from factory.inspection.btrfs import Btrfs
from factory.inspection.filesystems import Ext, Fat, Volume, VolumeError, Xfs, translated
from factory.partitions import Partition, reader
from factory.qcow2 import Qcow2, Qcow2Error

_EXT_INCOMPAT = (
    0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x20000
)  # what SleuthKit was seen to read
_EXT_BIGALLOC = 0x200
_VOLUMES_LIMIT = 256  # of one group
_XFS_INCOMPAT = 0x6F  # not 0x10, "needs repair"


class Disk:
    """The bytes of the disk inside the image at *descriptor*: raw, or a qcow2 that stands alone."""

    def __init__(self, descriptor: int, image_format: str) -> None:
        self._context = context.Context()
        size = os.fstat(descriptor).st_size

        pread = reader(descriptor)
        if image_format == "qcow2":
            try:
                disk = Qcow2(pread)
            except Qcow2Error as error:
                raise VolumeError(str(error)) from None
            _View.register(disk.pread, disk.size)
            size = disk.size
        else:
            _View.register(pread, size)
        self._spec = specs.Factory.NewPathSpec(definitions.TYPE_INDICATOR_OS, location="/image")
        with translated("the image"):
            self._file = resolver.Resolver.OpenFileObject(self._spec, resolver_context=self._context)
        self.size = size
        self.lost = _View.lost  # places that could not be decoded, since somebody emptied it
        self.near = _View.near  # such places at which a read stopped, which need not have wanted them
        self._logical: dict[int, tuple[Any, Any]] = {}  # of a volume its path and its bytes
        self._systems: list[Any] = []

    def pread(self, offset: int, size: int) -> bytes:
        """As os.pread. Raises VolumeError."""
        if offset < 0 or offset >= self.size:
            return b""
        with translated("the image"):
            return _all(self._file, offset, min(size, self.size - offset))

    def logical(self, partition: Partition, first: int) -> list[Partition]:
        """The logical volumes of LVM in a partition, numbered from *first*. Raises VolumeError."""
        parent = self._part(partition)
        with translated("LVM"):
            spec = specs.Factory.NewPathSpec(definitions.TYPE_INDICATOR_LVM, location="/", parent=parent)
            system = resolver.Resolver.OpenFileSystem(spec, resolver_context=self._context)
            self._systems.append(system)  # its group would go with it
            group = system.GetLVMVolumeGroup()
            found = []
            for index in range(min(int(group.number_of_logical_volumes), _VOLUMES_LIMIT)):
                volume, number = group.get_logical_volume(index), first + index
                spec = specs.Factory.NewPathSpec(
                    definitions.TYPE_INDICATOR_LVM, location=f"/lvm{index + 1}", volume_index=index, parent=parent
                )
                file = resolver.Resolver.OpenFileObject(spec, resolver_context=self._context)
                self._logical[number] = (spec, file)
                size = int(volume.size)
                held = identify(functools.partial(_read_at, file), 0, size)
                name = f"{group.name}/{volume.name}"
                found.append(Partition(number, partition.start, size, "lvm", "", name, held))
        return found

    def open(self, partition: Partition, filesystem: FileSystem) -> Volume:
        """The file system of a partition. Raises VolumeError, also for features that would be misread."""
        if partition.number in self._logical:
            head = _read_at(self._logical[partition.number][1], 0, 4096)
        else:
            head = self.pread(partition.start, 4096)
        if filesystem.kind.startswith("ext"):
            incompat, ro_compat = struct.unpack_from("<II", head, 1024 + 96)
            if incompat & ~_EXT_INCOMPAT or ro_compat & _EXT_BIGALLOC:
                raise VolumeError(f"it has features that cannot be read here ({incompat:#x}, {ro_compat:#x})")
            indicator, known = definitions.TYPE_INDICATOR_TSK, pytsk3.TSK_FS_TYPE_EXT_DETECT
        elif filesystem.kind == "vfat":
            indicator, known = definitions.TYPE_INDICATOR_TSK, pytsk3.TSK_FS_TYPE_FAT_DETECT
        elif filesystem.kind == "xfs":
            version, incompat = struct.unpack_from(">H", head, 100)[0] & 15, struct.unpack_from(">I", head, 216)[0]
            if version >= 5 and incompat & ~_XFS_INCOMPAT:
                raise VolumeError(f"it has features that cannot be read here ({incompat:#x})")
            indicator, known = definitions.TYPE_INDICATOR_XFS, None
        elif filesystem.kind == "btrfs":
            return Btrfs(self._within(partition), partition.size)
        else:
            raise VolumeError(f"{filesystem.kind} cannot be read here")
        parent = self._part(partition)
        spec = specs.Factory.NewPathSpec(indicator, location="/", parent=parent)
        with translated(filesystem.kind):
            if known is None:
                opened = resolver.Resolver.OpenFileSystem(spec, resolver_context=self._context)
            else:
                opened = _SleuthKitOf(self._context, spec, known)
                opened.Open()
        if filesystem.kind == "xfs":
            return Xfs(opened, parent)
        if filesystem.kind == "vfat":
            return Fat(opened)
        return Ext(opened, parent, self._context, 1024 << struct.unpack_from("<I", head, 1024 + 24)[0])

    def _within(self, partition: Partition) -> Callable[[int, int], bytes]:
        """As os.pread, of the bytes of a partition and no others. Raises VolumeError."""

        def pread(offset: int, size: int) -> bytes:
            size = min(size, partition.size - offset)
            if offset < 0 or size <= 0:
                return b""
            if partition.number in self._logical:
                return _read_at(self._logical[partition.number][1], offset, size)
            return self.pread(partition.start + offset, size)

        return pread

    def _part(self, partition: Partition) -> Any:
        if partition.number in self._logical:
            return self._logical[partition.number][0]
        if not partition.start:  # dfVFS takes no range from 0
            return self._spec
        return specs.Factory.NewPathSpec(
            definitions.TYPE_INDICATOR_DATA_RANGE,
            parent=self._spec,
            range_offset=partition.start,
            range_size=partition.size,
        )


def _read_at(file: Any, offset: int, size: int) -> bytes:
    if not 0 <= offset < 1 << 62:
        return b""
    with translated("LVM"):
        return _all(file, offset, size)


def _all(file: Any, offset: int, size: int) -> bytes:
    """*size* bytes, fewer only at the end of *file*: a read that stops before damage goes on, and then fails."""
    file.seek(offset)
    found = b""
    while len(found) < size and (piece := file.read(size - len(found))):
        found += piece
    return bytes(found)


class _Image(tsk_image.TSKFileSystemImage):  # type: ignore[misc]
    """The bytes of a partition for SleuthKit, which reads far ahead and judges by what it got of what it wants."""

    def read(self, offset: int, size: int) -> bytes:
        try:
            return bytes(super().read(offset, size))
        except OSError:
            return b""


class _SleuthKitOf(tsk_file_system.TSKFileSystem):  # type: ignore[misc]
    """A file system whose kind is known: left to itself, SleuthKit tries every kind, all over the disk."""

    def __init__(self, resolver_context: Any, spec: Any, known: Any) -> None:
        super().__init__(resolver_context, spec)
        self._known = known

    def _Open(self, mode: str = "rb") -> None:  # noqa: N802
        file = resolver.Resolver.OpenFileObject(self._path_spec.parent, resolver_context=self._resolver_context)
        self._tsk_file_system = pytsk3.FS_Info(_Image(file), 0, self._known)
        self._file_object = file


class _View(file_io.FileIO):  # type: ignore[misc]
    """The disk as dfVFS wants a file: the child can open nothing by name."""

    source: Callable[[int, int], bytes]
    length = 0
    # One disk a process; the libraries above pass on no words of an error, and not every error.
    lost: ClassVar[list[str]] = []
    near: ClassVar[list[str]] = []

    @classmethod
    def register(cls, source: Callable[[int, int], bytes], length: int) -> None:
        cls.source = staticmethod(source)
        cls.length = length

        class Opener(os_resolver_helper.OSResolverHelper):  # type: ignore[misc]
            def NewFileObject(self, resolver_context: Any, path_spec: Any) -> Any:  # noqa: N802
                return cls(resolver_context, path_spec)

        manager.ResolverHelperManager.DeregisterHelper(Opener())
        manager.ResolverHelperManager.RegisterHelper(Opener())

    def _Open(self) -> None:  # noqa: N802
        self._position = 0

    def _Close(self) -> None:  # noqa: N802
        pass

    def read(self, size: int | None = None) -> bytes:
        try:
            data = type(self).source(self._position, self.length if size is None else size)
        except Qcow2Error as error:
            if not error.before:
                type(self).lost.append(str(error))
                raise OSError(str(error)) from None
            type(self).near.append(str(error))
            data = error.before
        except MemoryError:
            # Not every library lets it through: some would say that the image is damaged.
            type(self).lost.append("it needs too much memory")
            raise
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.length}[whence]

    def get_offset(self) -> int:
        return self._position

    def get_size(self) -> int:
        return self.length
