"""What is read on the host: files, the journal, what services and jobs hand over."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from shipper.config.schema_shape import Multiline, Shape
from shipper.config.section import Section
from shipper.config.units import Seconds, Size, Word

MIB = 1 << 20


class Files(Section, frozen=True):
    """A group of log files to tail."""

    include: Annotated[list[str], Meta(description="Globs of files to tail; ** crosses directories.", min_length=1)]
    exclude: Annotated[list[str], Meta(description="Globs of files to leave out.")] = msgspec.field(
        default_factory=list
    )
    start_at: Annotated[
        Literal["beginning", "end"], Meta(description="Where to begin in a file that exists at the first start.")
    ] = "beginning"
    max_line_bytes: Annotated[Size, Meta(description="A longer line is split and its parts are marked.")] = MIB
    hold: Annotated[Seconds, Meta(description="How long an unfinished last line may wait for its end.")] = 0.5
    format: Annotated[
        Literal["auto", "plain", "cri", "docker"],
        Meta(description="What writes the files; auto: a container's file is recognised by its lines and its place."),
    ] = "auto"
    encoding: Annotated[
        Literal["auto", "utf-8", "utf-16le", "utf-16be", "latin-1", "windows-1252"],
        Meta(description="Encoding of the text; auto: UTF-8, or UTF-16 where a file begins with its byte order mark."),
    ] = "auto"
    ignore_older: Annotated[
        Seconds,
        Meta(
            description="Of files not written to for so long when first seen, only what is appended is read; 0: all are.",
            ge=0,
        ),
    ] = 0.0
    attributes: Annotated[dict[str, str], Meta(description="Attributes put on every record of these files.")] = (
        msgspec.field(default_factory=dict)
    )
    when_full: Annotated[
        Literal["drop_oldest", "block"],
        Meta(
            description="When `file_limits.held_max` is reached: the oldest is given up, or nothing is, and no more is copied."
        ),
    ] = "drop_oldest"
    multiline: Annotated[
        Multiline | None, Meta(description="Join lines to events; not set: every line is a record.")
    ] = None
    shape: Annotated[
        Shape | None, Meta(description="Understand records; not set: each is shipped as it was written.")
    ] = None


class FileLimits(Section, frozen=True):
    """Bounds on the tailing of files as a whole."""

    max_open_files: Annotated[
        int,
        Meta(description="Descriptors held open at most; 0: half of what the process may have, at most 1024.", ge=0),
    ] = 0
    poll_interval: Annotated[
        Seconds, Meta(description="How often to look where the kernel does not notify.", ge=0.01)
    ] = 1.0
    held_max: Annotated[
        Size,
        Meta(
            description="In an outage, what is unread of deleted and truncated files is copied to the state directory, up to so much.",
            ge=0,
        ),
    ] = 1 << 30


class Journal(Section, frozen=True):
    """systemd's journal (docs/journald.md); `journal: {}` reads this machine's."""

    shorthand: ClassVar[str] = "directory"
    alone: ClassVar[bool] = True  # may stand by itself instead of in a list

    name: Annotated[
        Word, Meta(description="What its streams are called; of several journals, each needs another one.")
    ] = "journal"
    directory: Annotated[
        str,
        Meta(description="Where its files lie, as for journalctl -D; not set: where this machine's journal is kept."),
    ] = ""
    files: Annotated[list[str], Meta(description="Globs of journal files, instead of a directory.")] = msgspec.field(
        default_factory=list
    )
    namespace: Annotated[str, Meta(description="A namespace of this machine's journal (LogNamespace=).")] = ""
    boot: Annotated[
        Literal["current", "all"], Meta(description="Ship entries of the present boot only, or all that there are.")
    ] = "current"
    start_at: Annotated[
        Literal["beginning", "end"], Meta(description="Where to begin in what is there at the first start.")
    ] = "beginning"
    units: Annotated[
        list[Word], Meta(description="Ship only entries of these units; globs, .service need not be said.")
    ] = msgspec.field(default_factory=list)
    exclude_units: Annotated[list[Word], Meta(description="Leave out entries of these units.")] = msgspec.field(
        default_factory=list
    )
    identifiers: Annotated[list[str], Meta(description="Ship only entries with these syslog identifiers; globs.")] = (
        msgspec.field(default_factory=list)
    )
    exclude_identifiers: Annotated[list[str], Meta(description="Leave out entries with these.")] = msgspec.field(
        default_factory=list
    )
    priority: Annotated[
        Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"],
        Meta(description="The least urgent priority that is shipped."),
    ] = "debug"
    kernel: Annotated[
        Literal["auto", "true", "false"],
        Meta(description="Ship the kernel's messages; auto: unless units or identifiers are named."),
    ] = "auto"
    fields: Annotated[
        list[Word],
        Meta(description="Fields that become attributes by their own names, besides the usual ones: names, all, none."),
    ] = msgspec.field(default_factory=list)
    attributes: Annotated[dict[str, str], Meta(description="Attributes put on every record of this journal.")] = (
        msgspec.field(default_factory=dict)
    )
    service_from_unit: Annotated[
        bool, Meta(description="service.name is the unit of each entry, instead of that of the host.")
    ] = False
    max_message: Annotated[Size, Meta(description="A longer message is split and its parts are marked.")] = MIB
    shape: Annotated[
        Shape | None, Meta(description="Understand messages; not set: each is shipped as it was written.")
    ] = None


class Services(Section, frozen=True):
    """Services that hand over by the SDK, below spool_dir (docs/handoff.md)."""

    enabled: Annotated[bool, Meta(description="Make the spool directory, and ship what services put there.")] = True
    process_max: Annotated[
        Size, Meta(description="Disk space for what one process put aside; beyond, it drops its oldest and counts.")
    ] = 64 * MIB
    host_max: Annotated[
        Size,
        Meta(description="Disk space for what all processes put aside; beyond, the oldest is dropped and counted."),
    ] = 512 * MIB


class Jobs(Section, frozen=True):
    """What programs write that run under `shipper exec` (docs/exec.md)."""

    multiline: Annotated[
        Multiline | None, Meta(description="Join lines to events; not set: every line is a record.")
    ] = None
    shape: Annotated[
        Shape | None, Meta(description="Understand records; not set: each is shipped as it was written.")
    ] = None


class Traces(Section, frozen=True):
    """Which of the services' spans are shipped. Requests are counted before, from all of them."""

    keep: Annotated[
        float, Meta(description="Share of traces shipped, 0 to 1, by a hash of the trace id.", ge=0, le=1)
    ] = 1.0
    slow: Annotated[
        Seconds,
        Meta(description="A span that took so long keeps its trace, like an error does; 0: only errors do.", ge=0),
    ] = 0.0
