"""What the services' source needs to know, and the bounds on what strangers may put in front of it."""

from __future__ import annotations

from dataclasses import dataclass

PROCESS_MAX = 64 << 20
MAX_SEGMENT = 32 << 20  # a segment is rotated at 8 MiB, and one more frame fits behind that
MAX_DECLARED = 4096  # resources, and scopes, of one series
MAX_ROUTES = 256
MAX_DECLARATION = 256 << 10  # bytes of one declaration, head or note
MAX_SEGMENTS = 4096  # of one process
MAX_NAMES = 20_000  # in one directory
MAX_POSITION = 1 << 53  # some petabytes of one series; what fits a number of JSON
MAX_RUNS = 4096  # of sequence numbers of one series
MAX_DAMAGES = 64  # ranges of one segment that hold no frame; behind so many the rest of what is there is skipped
MAX_PER_USER = 512  # processes of one user that are looked at; further ones wait until some of these are gone


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """Everything `ServiceSource` needs to know.

    ``root``: the directory services make theirs in. ``aside``: where remains of another boot go. ``process_max`` and
    ``host_max``: bytes of segments. ``keep``: share of traces that is shipped (errors and slow ones always are);
    ``slow``: seconds from which on a span counts as slow, 0 for never. ``poll_interval``: seconds between looks for what no
    notification tells. ``notify``: use inotify. ``closed``: no service can join, for all that is there is of an earlier life.
    """

    root: str
    aside: str
    process_max: int = PROCESS_MAX
    host_max: int = 512 << 20
    keep: float = 1.0
    slow: float = 0.0
    poll_interval: float = 1.0
    notify: bool = True
    max_per_user: int = MAX_PER_USER
    closed: bool = False
