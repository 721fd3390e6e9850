"""Tuning of the C allocator for a program that builds and frees a few megabytes again and again.

By default glibc gives every large block back to the kernel at once, and each page of the next one is a fault again: on a
backlog that was a fifth of all CPU time (`python -m bench 'file-plain*'`). Keeping blocks of up to 8 MiB in the heap, and
up to 16 MiB of free heap, avoids it; the peak of resident memory does not change, because the blocks are needed anyway.

That holds for one heap. By default every few threads get a heap of their own (an arena), and what one keeps free is of no use
to another: with ten destinations, which each convert and compress in threads, that was a fifth of all memory
(`python -m bench export-together`). One heap for all costs nothing, as Python lets one thread run at a time.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1  # mallopt(3)
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_KEPT_BLOCK = 8 << 20
_KEPT_FREE = 16 << 20


def keep_freed_memory() -> bool:
    """Have glibc reuse large blocks, from one heap; false where the C library has no such setting (musl), which only costs speed."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    wanted = ((_M_MMAP_THRESHOLD, _KEPT_BLOCK), (_M_TRIM_THRESHOLD, _KEPT_FREE), (_M_ARENA_MAX, 1))
    return all(mallopt(what, value) for what, value in wanted)
