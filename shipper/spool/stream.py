"""A spool as a stream: frames are joined into batches, and a frame too large for a request is split at its records."""

from __future__ import annotations

from dataclasses import replace

from shipper.contracts import Batch, Cut, Member, Signal, Stream, StreamKind
from shipper.errors import RangeGone
from shipper.spool.frame import Frame
from shipper.spool.parts import Part, Splittable
from shipper.spool.spool import Spool

_ROOMY = 256 << 10  # a limit from which on it is there for fairness, not because little fits
_WHOLE = 4 << 20  # a frame up to this is not split then: finding its records costs more than sharing the turn gives


class SpoolStream(Stream):
    """The frames of one spool, all of one signal. A batch is some whole frames, or some records of a single frame.

    Positions are those of the spool; the record number ``n`` of a frame has the position ``frame start + n``.
    """

    def __init__(self, spool: Spool, *, id: str, signal: Signal, kind: StreamKind, life: str, name: str) -> None:
        self.id = id
        self.signal = signal
        self.kind = kind
        self.name = name
        self.life = life
        self.start = spool.first()
        self._spool = spool
        self._begun: Splittable | None = None  # a large frame of which only the beginning was cut

    @property
    def spool(self) -> Spool:
        """What it is the stream of."""
        return self._spool

    def frontier(self) -> int:
        """See `Stream.frontier`: what may be read, see `Spool.frontier`."""
        return self._spool.frontier()

    def released(self, below: int) -> None:
        """See `Stream.released`: whole segments below are deleted."""
        self._spool.release(below)

    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut`. The batch is stamped with its oldest frame's own observed time, not with ``observed_ns``."""
        return self.cut_up_to(at, resume, self._spool.frontier(), limit, observed_ns)

    def border(self, position: int) -> int | None:
        """See `Stream.border`: between two frames."""
        if position >= self._spool.frontier():
            return None
        holding = self._spool.frames(position, 1)
        return holding[0].start if holding and holding[0].start <= position else None

    def cut_up_to(self, at: int, resume: int, end: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut_up_to`, and `cut` for the stamp."""
        frontier = self._spool.frontier()
        if at >= frontier:
            return None
        begun, self._begun = self._begun, None
        if begun is not None and max(begun.start, self._spool.first() - 1) < at < begun.end:
            return self._cut_within(begun, begun.unit(at), limit, end)
        frames = self._spool.frames(at, limit)
        if not frames or frames[0].start > at:
            raise RangeGone(self.id, at, frames[0].start if frames else frontier, "it is not in the spool any more")
        first = self._splittable(frames[0])
        if at > first.start or first.end > end or first.size > _whole(limit):
            return self._cut_within(first, first.unit(at), limit, end)
        return self._batch(self._together(first, [frame for frame in frames[1:] if frame.end <= end], limit))

    def reread(self, cut: Cut) -> Batch:
        """See `Stream.reread`."""
        frames = self._frames(cut)
        first = frames[0]
        if len(frames) > 1 or (first.start, first.end) == (cut.start, cut.end):
            return self._batch(frames)
        return self._batch_within(first, first.unit(cut.start), first.unit(cut.end), cut.end)

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        """See `Stream.halve`: at the frame border nearest to the middle, else at the middle record of the one frame."""
        frames = self._frames(cut)
        if len(frames) > 1:
            middle = (cut.start + cut.end) // 2
            index = min(range(1, len(frames)), key=lambda i: abs(frames[i].start - middle))
            return self._batch(frames[:index]).cut, self._batch(frames[index:]).cut
        only = frames[0]
        a, b = only.unit(cut.start), only.unit(cut.end)
        if b - a < 2:
            return None
        middle = (a + b) // 2
        return (
            self._batch_within(only, a, middle, only.position(middle)).cut,
            self._batch_within(only, middle, b, cut.end).cut,
        )

    def _splittable(self, frame: Frame) -> Splittable:
        return Splittable(frame, self.signal, self.id)

    def _together(self, first: Splittable, following: list[Frame], limit: int) -> list[Splittable]:
        """The frames that fit in one batch: they meet, and they belong to the same life."""
        taken = [first]
        size = first.size
        for frame in following:
            size += len(frame.content)
            if frame.start != taken[-1].end or size > limit:
                break
            more = self._splittable(frame)
            if more.header.life != first.header.life:
                break
            taken.append(more)
        return taken

    def _cut_within(self, frame: Splittable, first: int, limit: int, end: int) -> Batch:
        """About ``limit`` bytes of one frame, from a record on, and nothing behind ``end``."""
        most = frame.units if end >= frame.end else frame.unit(end)
        count = min(frame.reach(first, limit), most) - first
        while True:
            last = min(first + count, frame.units)
            batch = self._batch_within(frame, first, last, frame.position(last))
            if len(batch.payload) <= limit or count == 1:
                self._begun = frame if last < frame.units else None
                return batch
            count = max(1, count // 2)

    def _frames(self, cut: Cut) -> list[Splittable]:
        """All frames of a cut. Raises `RangeGone` when one is missing or the cut does not fit them."""
        found: list[Splittable] = []
        at = cut.start
        while at < cut.end:
            more = self._spool.frames(at, cut.end - at)
            if not more or more[0].start > at:
                raise RangeGone(self.id, cut.start, cut.end, f"position {at} is not in the spool any more")
            for frame in more:
                if frame.start < cut.end and frame.start <= at:
                    found.append(self._splittable(frame))
                    at = frame.end
        whole = found[0].start == cut.start and found[-1].end == cut.end
        if not found or (len(found) > 1 and not whole):
            raise RangeGone(self.id, cut.start, cut.end, "its frames are not where they were")
        return found

    def _batch(self, frames: list[Splittable]) -> Batch:
        """Whole frames as one batch."""
        members: list[Member] = []
        offset = 0
        for frame in frames:
            members += [replace(member, offset=member.offset + offset) for member in frame.header.members]
            offset += frame.size
        payload = frames[0].payload if len(frames) == 1 else b"".join([frame.content for frame in frames])
        part = Part(payload, sum(frame.header.records for frame in frames), tuple(members))
        observed = min(frame.header.observed_ns for frame in frames)
        return self._make(part, frames[0].start, frames[-1].end, observed, frames[0].header.life)

    def _batch_within(self, frame: Splittable, first: int, last: int, end: int) -> Batch:
        """Some records of one frame as a batch."""
        part = frame.part(first, last)
        return self._make(part, frame.position(first), end, frame.header.observed_ns, frame.header.life)

    def _make(self, part: Part, start: int, end: int, observed_ns: int, life: str) -> Batch:
        cut = Cut(start, end, start, end, part.records, observed_ns)
        return Batch(life or self.life, self.id, self.signal, cut, part.payload, self.kind, part.members)


def _whole(limit: int) -> int:
    """The size up to which a frame is not split."""
    return max(limit, _WHOLE) if limit >= _ROOMY else limit
