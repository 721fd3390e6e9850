"""The errors Shipper raises, so that a caller can tell whose doing a failure was and what to do next.

::

    ShipperError
    ├── ConfigError            you: a setting is wrong; says its path and the nearest right name
    ├── MissingExtra           you: an optional part is not installed; says the pip command
    ├── StateError             the state directory cannot be used as it is
    │   ├── StateUnwritable    mount a writable directory there
    │   ├── StateLocked        another sidecar runs on it
    │   ├── StateDamaged       set aside; says what was lost and what is rebuilt
    │   ├── LedgerFull         the disk is full: nothing was written, try the same again later
    │   └── QuarantineFull     its limit is reached: what is refused from now on has to be dropped and counted
    ├── MalformedOtlp          the world: bytes that are not the OTLP message they claim to be
    ├── DamagedSegment         the world: a spool segment whose checksum fails; says directory, segment, offset
    ├── SpoolFull              a disk limit is reached and the policy is to refuse
    ├── RangeGone              a range that was promised can no longer be read again
    └── DeliveryError          what a destination's answer means; raised by exporters only
        ├── Retryable          try the very same again, after ``wait`` seconds if given
        ├── Unusable           the destination is set up wrongly (401, 404, 3xx, HTML): hold everything, try rarely, say it loudly
        ├── TooLarge           halve it
        └── Rejected           the content is refused: isolate the offender by halving, then quarantine it

Anything else that escapes is a bug and is meant to surface.
"""

from __future__ import annotations

_LONGEST = 1000  # characters of a path or a problem


class ShipperError(Exception):
    """Base of every error that Shipper raises on purpose; its text is fit for a person to read."""


class ConfigError(ShipperError):
    """A setting is wrong. ``path`` is where it stands, for example ``shipper.yaml: files[0].include``.

    Both repeat what somebody wrote: what is not printable is escaped and what is endless cut, so that an error is one line.
    """

    def __init__(self, path: str, problem: str) -> None:
        path, problem = _one_line(path), _one_line(problem)
        super().__init__(f"{path}: {problem}" if path else problem)
        self.path = path
        self.problem = problem


def _one_line(text: str) -> str:
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class MissingExtra(ShipperError):
    """An optional part is not installed; the text carries the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part: pip install 'ephemeral-shipper[{extra}]'")
        self.extra = extra


class StateError(ShipperError):
    """The state directory cannot be used as it is."""


class StateUnwritable(StateError):
    """The state directory cannot be written; mount a writable directory there or set ``SHIPPER_STATE_DIR``."""


class StateLocked(StateError):
    """Another sidecar runs on this state directory."""


class StateDamaged(StateError):
    """A state file is damaged; ``set_aside`` is where it was moved to, or empty when it was left in place."""

    def __init__(self, path: str, reason: str, set_aside: str = "") -> None:
        where = f"; set aside as {set_aside}" if set_aside else ""
        super().__init__(f"{path} is damaged ({reason}){where}")
        self.path = path
        self.reason = reason
        self.set_aside = set_aside


class LedgerFull(StateError):
    """The ledger could not be written because the disk is full or fails; nothing changed, the same call may be repeated."""


class QuarantineFull(StateError):
    """The quarantine holds as much as it may; nothing was kept. Waiting does not help, unlike with a full disk."""


class MalformedOtlp(ShipperError):
    """Bytes are not the OTLP message they claim to be; ``offset`` is the byte where that showed."""

    def __init__(self, problem: str, offset: int = 0) -> None:
        super().__init__(f"not valid OTLP at byte {offset}: {problem}")
        self.problem = problem
        self.offset = offset


class DamagedSegment(ShipperError):
    """A spool segment does not hold what was written to it."""

    def __init__(self, directory: str, segment: str, offset: int, problem: str) -> None:
        super().__init__(f"{directory}/{segment} is damaged at byte {offset}: {problem}")
        self.directory = directory
        self.segment = segment
        self.offset = offset
        self.problem = problem


class SpoolFull(ShipperError):
    """A spool may not grow further: its limit is reached, or the disk is full. Nothing was accepted."""


class RangeGone(ShipperError):
    """A range of a stream can no longer be read again (the file was truncated or replaced by somebody).

    ``records``: how many it held, 0 when nobody can know.
    """

    def __init__(self, stream: str, start: int, end: int, reason: str, records: int = 0) -> None:
        super().__init__(f"{stream} [{start}, {end}) can no longer be read: {reason}")
        self.stream = stream
        self.start = start
        self.end = end
        self.reason = reason
        self.records = records


class DeliveryError(ShipperError):
    """What a destination's answer means for the request it was given."""


class Retryable(DeliveryError):
    """Try the very same request again, not before ``wait`` seconds if the destination said so.

    ``unsent``: it certainly did not get there whole, so the destination has nothing of it. When in doubt, False.
    """

    def __init__(self, reason: str, wait: float | None = None, *, unsent: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.unsent = unsent


class Unusable(DeliveryError):
    """The destination is set up wrongly, whatever is sent: nothing is given up, it is tried again rarely and said loudly."""


class TooLarge(DeliveryError):
    """The request is larger than the destination takes; send it in halves."""


class Rejected(DeliveryError):
    """The content is refused for good. With ``isolate`` false, halving it would not help (quarantine all of it)."""

    def __init__(self, reason: str, *, isolate: bool = True) -> None:
        super().__init__(reason)
        self.isolate = isolate
