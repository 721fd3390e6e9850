"""What a place on a file system is to this host, and what its refusals mean."""

from __future__ import annotations

import errno
import os

from shipper.errors import DeliveryError, Retryable, Unusable

REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "glusterfs", "fuse.glusterfs", "fuse.ceph", "gpfs", "beegfs"}
)
"""File systems whose servers have what was fsynced.

Not among them: other FUSE (it may be a local overlay, or an upload that happens later), 9p and virtiofs (a directory of the
machine that this one runs on), and block devices over the network, which end with the host like any disk.
"""

_LATER = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota is used up",
    errno.EIO: "the disk fails",
    errno.ESTALE: "the server of this file system has forgotten it",
    errno.ETIMEDOUT: "the server of this file system does not answer",
    errno.EMFILE: "this process has too many files open",
    errno.ENFILE: "this host has too many files open",
}
_FOR_A_PERSON = {
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "it may not be written by this user",
    errno.EPERM: "it may not be written by this user",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.EEXIST: "a part of the path is a file, not a directory",
    errno.EISDIR: "it is a directory",
    errno.ELOOP: "it is a symbolic link, which is not followed",
    errno.ENAMETOOLONG: "the path is too long",
    errno.EFBIG: "files may not become so large here",
    errno.ENXIO: "it is no file",
}


def failure(error: OSError, path: str) -> DeliveryError:
    """What a refusal by the operating system means for the request that was to be written."""
    number = error.errno or 0
    if number in _FOR_A_PERSON:
        return Unusable(f"{path}: {_FOR_A_PERSON[number]}")
    return Retryable(f"{path}: {_LATER.get(number) or error.strerror or str(error)}")


def survives(descriptor: int) -> bool:
    """Whether the file is on a server elsewhere, and so outlives this host."""
    device = os.fstat(descriptor).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            return any(_remote(line, wanted) for line in mounts)
    except OSError:
        return False  # what cannot be told is not claimed


def _remote(line: str, device: str) -> bool:
    """Whether a line of mountinfo (proc(5)) is of that device, and of a server that is not this host itself."""
    fields, _, rest = line.partition(" - ")
    if fields.split(" ")[2:3] != [device]:
        return False
    kind, _, more = rest.partition(" ")
    options = more.split()[-1].split(",") if more.split() else []
    return kind in REMOTE and not any(option.startswith(("addr=127.", "addr=::1")) for option in options)
