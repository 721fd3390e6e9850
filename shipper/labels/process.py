"""This process, told apart from every other one that ever ran: the inherent facts and the instance id made from them.

OpenTelemetry's SDK gives every process, and every forked child anew, a random ``service.instance.id``. Ours is computed, so
that a process which is asked twice (by two libraries, before and after its providers were built) answers the same.
"""

from __future__ import annotations

import os
import sys
import uuid
from dataclasses import dataclass

from shipper.labels.container import container_id
from shipper.labels.finding import AttributeValue, Surroundings
from shipper.labels.machine import boot_id

NAMESPACE = uuid.UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320")
"""The namespace that semconv gives for a ``service.instance.id`` made of an inherent stable id."""

_FORKED_NOT_EXECUTED = 0x40  # PF_FORKNOEXEC of the kernel's sched.h
_FLAGS, _START = 6, 19  # in /proc/<pid>/stat behind the command, which ends with the last parenthesis: proc_pid_stat(5)


@dataclass(frozen=True, slots=True)
class Process:
    """What tells a process from all others. ``forked``: it shares the program and environment it was started with."""

    pid: int
    boot_id: str
    container_id: str
    pid_namespace: int
    start_ticks: int
    forked: bool

    @property
    def instance(self) -> str:
        """The ``service.instance.id`` of this process: a UUIDv5, the same whenever it is computed."""
        facts = (self.boot_id, self.container_id, self.pid_namespace, self.pid, self.start_ticks)
        return str(uuid.uuid5(NAMESPACE, "\0".join(map(str, facts))))


def this_process(root: str = "/") -> Process:
    """The calling process. To be asked again in a forked child; a few small files are read."""
    around = Surroundings(root, {})
    flags, start_ticks = _stat(around)
    return Process(
        pid=os.getpid(),
        boot_id=boot_id(around),
        container_id=container_id(around),
        pid_namespace=_pid_namespace(around),
        start_ticks=start_ticks,
        forked=bool(flags & _FORKED_NOT_EXECUTED) or _is_worker(),
    )


def attributes(process: Process) -> dict[str, AttributeValue]:
    """The resource attributes that are facts about a process (semconv ``process.*``), without its arguments."""
    version = sys.version_info
    return {
        "process.pid": process.pid,
        "process.parent_pid": os.getppid(),
        "process.executable.name": os.path.basename(sys.executable or ""),
        "process.executable.path": sys.executable or "",
        "process.command": sys.orig_argv[0] if sys.orig_argv else "",
        "process.runtime.name": sys.implementation.name,
        "process.runtime.version": f"{version.major}.{version.minor}.{version.micro}",
        "process.runtime.description": sys.version,
        **({"container.id": process.container_id} if process.container_id else {}),
    }


def _stat(around: Surroundings) -> tuple[int, int]:
    """The kernel's flags of this process and when it started, in clock ticks since boot; zeros where /proc is hidden."""
    fields = around.read_or_empty("/proc/self/stat").rpartition(")")[2].split()
    try:
        return int(fields[_FLAGS]), int(fields[_START])
    except (IndexError, ValueError):
        return 0, 0


def _pid_namespace(around: Surroundings) -> int:
    try:
        return os.stat(around.path("/proc/self/ns/pid")).st_ino
    except OSError:
        return 0


def _is_worker() -> bool:
    """Whether ``multiprocessing`` made this process (its spawned children are executed, yet are workers of one service)."""
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None
