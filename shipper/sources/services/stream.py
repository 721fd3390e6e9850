"""A series as a stream: frames are cut into batches at segment borders or before, and spliced without decoding."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from zlib import crc32

from shipper.contracts import Batch, Cut, Signal, StreamKind
from shipper.errors import RangeGone
from shipper.handoff.frame import CRC, ERROR, HEAD, MAGIC, MAX_BODY, OVERHEAD, Frame, walk
from shipper.sources.books import SizedStream
from shipper.sources.services.place import Strange
from shipper.sources.services.sampling import Sampling
from shipper.sources.services.segment import Segment
from shipper.sources.services.series import Series
from shipper.sources.services.settings import MAX_POSITION
from shipper.sources.services.splicing import BODY_KIND, envelope, request

LARGEST = 1 << 20  # of source in one batch; one frame may be larger
BLOCK = 64 << 10  # of a range whose value is judged
_REMEMBERED = 64


class ServiceStream(SizedStream):
    """The records of one signal of one process. ``moved`` is called when positions were released."""

    kind = StreamKind.DATA

    def __init__(
        self,
        id: str,
        name: str,
        series: Series,
        *,
        life: str,
        sampling: Sampling,
        moved: Callable[[ServiceStream], None],
        sample: Callable[[bytes], None] | None = None,
    ) -> None:
        """``sample`` gets the body of one frame of each batch that is cut."""
        self.id = id
        self.name = name
        self.series = series
        self.signal: Signal = series.signal
        self.start = 0
        self.released_to = 0
        self.measured_to: int | None = None  # None: nobody measures
        self.fixed: int | None = None  # the run ends here
        self.final = False
        self._life = life
        self._sampling = sampling if self.signal is Signal.TRACES else Sampling()
        self._moved = moved
        self._sample = sample
        self._counted: OrderedDict[int, int] = OrderedDict()  # position -> records of its segment before it

    # As a stream -------------------------------------------------------------------------------------------------------

    def frontier(self) -> int:
        """See `Stream.frontier`: behind the last whole frame; with a dead process, behind everything."""
        return self.series.frontier() if self.fixed is None else self.fixed

    @property
    def finished(self) -> bool:
        """See `Stream.finished`."""
        return self.final

    @property
    def size(self) -> int:
        """How far it is known to reach."""
        return self.frontier()

    def released(self, below: int) -> None:
        """See `Stream.released`: segments that end below may be deleted."""
        self.released_to = max(self.released_to, below)
        self._moved(self)

    def cut(self, at: int, resume: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut`."""
        return self.cut_up_to(at, resume, MAX_POSITION, limit, observed_ns)

    def border(self, position: int) -> int | None:
        """See `Stream.border`: between two frames."""
        segment = self.series.at(position)
        if segment is None or position > segment.base + segment.whole:
            return None
        start = segment.base + segment.border_before(position - segment.base)
        ends = [start + end for _, end, _ in self._heads(segment, start, position)]
        return max([start, *(end for end in ends if end <= position)])

    def valuable(self, start: int, end: int) -> list[tuple[int, int]]:
        """See `Stream.valuable`: as the heads of frames say, in pieces of 64 KiB."""
        found: list[tuple[int, int]] = []
        while start < end:
            segment = self.series.at(start)
            begin = self.border(start)
            if segment is None or begin is None:
                return found
            until = min(end, segment.base + segment.whole)
            found += _with_errors(self._heads(segment, begin, until), begin, until)
            start = self.series.until(segment)
        return found

    def cut_up_to(self, at: int, resume: int, end: int, limit: int, observed_ns: int) -> Batch | None:
        """See `Stream.cut_up_to`."""
        bound, frontier = end, self.frontier()
        if at >= frontier:
            return None
        segment = self.series.at(at)
        if segment is None:
            if self.series.segments and self.series.segments[0].base <= at and not self._is_gone(at):
                return None  # behind the whole frames of a segment whose writer is not done with it
            raise self._gone(at)
        try:
            frames, end = self._frames(segment, at, min(limit, LARGEST), bound)
        except (FileNotFoundError, Strange):
            raise self._gone(at) from None
        if self._sample is not None and frames and frames[-1].kind == BODY_KIND[self.signal]:
            self._sample(frames[-1].body)
        return self._batch(segment, frames, Cut(at, end, at, end, 0, observed_ns))

    def reread(self, cut: Cut) -> Batch:
        """See `Stream.reread`."""
        segment, frames = self._again(cut)
        return self._batch(segment, frames, cut)

    def halve(self, cut: Cut) -> tuple[Cut, Cut] | None:
        """See `Stream.halve`: at the frame border nearest to the middle that leaves records on both sides."""
        _, frames = self._again(cut)
        mine = [frame for frame in frames if frame.kind == BODY_KIND[self.signal]]
        if len(mine) < 2 or cut.records < 2:
            return None
        base = cut.start - frames[0].start if frames else 0
        middle = (mine[0].start + mine[-1].end) // 2
        border = min((frame.start for frame in mine[1:]), key=lambda start: abs(start - middle))
        position = base + border
        segment = self.series.at(cut.start)
        if segment is None:
            raise self._gone(cut.start)
        halves = []
        for start, end in ((cut.start, position), (position, cut.end)):
            part = replace(cut, start=start, end=end, resume=start, next_resume=end)
            held = [frame for frame in frames if start <= frame.start + base < end]
            halves.append(self._batch(segment, held, part).cut)
        return halves[0], halves[1]

    # For a consumer ----------------------------------------------------------------------------------------------------

    def frames(self, at: int, limit: int) -> tuple[list[Frame], int]:
        """See `FrameStream.frames`."""
        while at < self.frontier():
            segment = self.series.at(at)
            if segment is None:
                following = self.series.following(at)
                if following is None or not self._is_gone(at):
                    return [], at
                at = following.base
                continue
            try:
                frames, end = self._frames(segment, at, limit)
            except (FileNotFoundError, Strange):
                return [], self.series.until(segment)
            if frames:
                return frames, end
            at = end
        return [], at

    def resource_attributes(self, number: int) -> Mapping[str, str]:
        """See `FrameStream.resource_attributes`."""
        return self.series.declared.attributes(number)

    def route(self, number: int) -> str:
        """See `FrameStream.route`."""
        return self.series.declared.route(number)

    def measured(self, below: int) -> None:
        """See `FrameStream.measured`."""
        self.measured_to = max(self.measured_to or 0, below)
        self._moved(self)

    @property
    def done_to(self) -> int:
        """Nobody needs positions below any more."""
        return self.released_to if self.measured_to is None else min(self.released_to, self.measured_to)

    @property
    def over(self) -> bool:
        """Every destination has it to its end."""
        return self.final and self.released_to >= self.frontier()

    @property
    def done(self) -> bool:
        """Nobody needs anything of it any more."""
        return self.final and self.done_to >= self.frontier()

    def fix(self) -> None:
        """What is there now is all that this run ships."""
        self.fixed = self.series.settled()

    # Inside ------------------------------------------------------------------------------------------------------------

    def _heads(self, segment: Segment, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
        """Where each frame of ``[start, end)`` begins and ends, from ``start`` on, and whether it tells of an error.

        Ends at the first bytes that are no whole frame.
        """
        try:
            data = self.series.read(segment, start, end)
        except (OSError, Strange):
            return
        at = 0
        while at + OVERHEAD <= len(data):
            magic, kind, flags, length, *_ = HEAD.unpack_from(data, at + CRC.size)
            behind = at + OVERHEAD + length
            whole = magic == MAGIC and length <= MAX_BODY and behind <= len(data)
            if not whole or crc32(memoryview(data)[at + CRC.size : behind]) != CRC.unpack_from(data, at)[0]:
                return
            yield at, behind, bool(flags & ERROR) and kind == BODY_KIND[self.signal]
            at = behind

    def _frames(self, segment: Segment, at: int, limit: int, bound: int = MAX_POSITION) -> tuple[list[Frame], int]:
        """The frames from ``at`` on, about ``limit`` bytes, with offsets from ``at``; and where the batch ends.

        Nothing lies behind ``bound``.
        """
        until = min(self._until(segment), bound)
        reach = min(until, segment.base + segment.size)
        data = self.series.read(segment, at, min(reach, at + limit)) if at < reach else b""
        walked = walk(data)
        if not walked.frames and at + len(data) < reach:  # one frame that is larger
            data = self.series.read(segment, at, reach)
            frames = walk(data, most=1).frames
            end = at + (frames[0].end if frames else len(data))
        else:
            frames = walked.frames
            end = at + walked.end
            if end == at or at + len(data) >= reach:
                end = at + len(data)
        if end < at + OVERHEAD and end < reach and not frames:
            raise FileNotFoundError(segment.name)  # it is shorter than it was
        return frames, until if end >= reach else end

    def _until(self, segment: Segment) -> int:
        """Where the last batch of a segment ends now."""
        until = self.series.until(segment)
        return until if self.fixed is None else min(until, self.fixed)

    def _again(self, cut: Cut) -> tuple[Segment, list[Frame]]:
        """The frames of an earlier cut, with offsets from its start. Raises `RangeGone` when they are not there."""
        segment = self.series.at(cut.start)
        if segment is None or self.series.until(segment) < cut.end:
            raise self._gone(cut.start, cut.end)
        try:
            data = self.series.read(segment, cut.start, cut.end)
        except (FileNotFoundError, Strange):
            raise self._gone(cut.start, cut.end) from None
        if len(data) < min(cut.end, segment.base + segment.size) - cut.start:
            raise self._gone(cut.start, cut.end)
        return segment, walk(data).frames

    def _batch(self, segment: Segment, frames: list[Frame], cut: Cut) -> Batch:
        wanted = BODY_KIND[self.signal]
        mine = [frame for frame in frames if frame.kind == wanted]
        kept = self._sampling.choose(mine)
        payload, records = request(self.signal, kept, self.series.declared) if kept else (b"", 0)
        sampled = len(mine) - len(kept)
        before = self._counted.get(cut.start, 0 if cut.start == segment.base else -1)
        if before >= 0:
            self._remember(cut.end, before + len(mine))
        shaped = replace(cut, records=records, sampled=sampled)
        return Batch(self._life, self.id, self.signal, shaped, payload or envelope(self.series.declared))

    def _remember(self, position: int, records: int) -> None:
        self._counted[position] = records
        if len(self._counted) > _REMEMBERED:
            self._counted.popitem(last=False)

    def _is_gone(self, at: int) -> bool:
        """Whether the segment that held ``at`` is gone, rather than not written to its end yet."""
        before = [segment for segment in self.series.segments if segment.base <= at]
        return not before or before[-1].final

    def _gone(self, at: int, end: int = 0) -> RangeGone:
        following = self.series.following(at)
        behind = max(at, end or (following.base if following is not None else self.frontier()))
        if at < self.series.begins:
            return RangeGone(self.id, at, behind, "it was deleted when every destination had it")
        return RangeGone(self.id, at, behind, "its segment was dropped, as there was no room", self._held(at, behind))

    def _held(self, at: int, behind: int) -> int:
        """How many records a range held that is gone; 0 when nobody can know."""
        held = 0
        for start, (end, records) in self.series.holes.items():
            if at <= start < behind:
                held += records
            elif start < at < end:
                held += max(0, records - self._counted.get(at, records))
        return held


def _with_errors(heads: Iterable[tuple[int, int, bool]], base: int, until: int) -> list[tuple[int, int]]:
    """Ranges of about 64 KiB, at frames, in which one tells of an error; what is no frame belongs to no range."""
    found: list[tuple[int, int]] = []
    start = end = 0
    error = False
    for begin, behind, tells in heads:
        if behind - start > BLOCK and begin > start:
            if error:
                found.append((base + start, base + begin))
            start, error = begin, False
        error = error or tells
        end = behind
    if error and base + end <= until:
        found.append((base + start, base + end))
    return found
