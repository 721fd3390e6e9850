"""Random histories of a spool (appends, releases, crashes, bit flips, reopening) against a list of what must be there."""

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shipper.clock import SystemClock
from shipper.events import Reporter
from shipper.spool import Frame, Fsync, Spool
from shipper.spool.frame import FIXED, MAGIC

SEGMENT = 300  # so that segments close all the time


class SpoolMachine(RuleBasedStateMachine):
    """Everything appended and not released stays readable, whatever happens to other frames."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.report = Reporter(SystemClock())
        self.expected: list[Frame] = []
        self.released = 0
        self.highest = 0  # no position below is ever given away again
        self.open()

    def open(self) -> None:
        self.spool = Spool.open(
            self.root, name="t", fsync=Fsync.NEVER, segment_bytes=SEGMENT, max_bytes=1 << 20, report=self.report
        )

    def segment_of(self, frame: Frame) -> tuple[Path, int]:
        """The file that holds a frame, and the frame's offset in it."""
        bases = sorted(int(path.stem) for path in self.root.glob("*.spool"))
        base = max(b for b in bases if b <= frame.start)
        return self.root / f"{base:020d}.spool", frame.start - base

    def on_disk(self) -> list[Frame]:
        first = self.spool.first()
        return [frame for frame in self.expected if frame.start >= first]

    @rule(header=st.binary(max_size=9), payload=st.binary(max_size=200), like_frame=st.booleans())
    def append(self, header: bytes, payload: bytes, like_frame: bool) -> None:
        if like_frame:
            payload += MAGIC + bytes(40)
        start, end = self.spool.append(header, payload)
        assert start >= self.highest
        assert end - start == FIXED + len(header) + len(payload)
        self.expected.append(Frame(start, end, header, payload))
        self.highest = end

    @precondition(lambda self: self.expected)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        frame = data.draw(st.sampled_from(self.expected))
        self.spool.release(frame.end)
        self.released = max(self.released, frame.end)
        self.expected = [frame for frame in self.expected if frame.end > self.released]

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.open()
        assert self.spool.frontier() >= self.highest

    @precondition(lambda self: self.expected and self.expected[-1].end == self.spool.frontier())
    @rule(part=st.floats(0.01, 0.99))
    def crash_while_appending(self, part: float) -> None:
        """The writer dies with a part of its last frame written; that frame was never accepted."""
        torn = self.expected.pop()
        self.spool.close()
        path, offset = self.segment_of(torn)
        os.truncate(path, offset + max(1, int((torn.end - torn.start) * part)))
        self.open()
        # More than the start, if damage lies right before it or an empty segment behind it.
        assert torn.start <= self.spool.frontier() <= torn.end
        self.highest = torn.start

    @precondition(lambda self: self.on_disk())
    @rule(data=st.data(), while_open=st.booleans(), bit=st.integers(0, 7))
    def flip_a_bit(self, data: st.DataObject, while_open: bool, bit: int) -> None:
        frame = data.draw(st.sampled_from(self.on_disk()))
        at = data.draw(st.integers(0, frame.end - frame.start - 1))
        if not while_open:
            self.spool.close()
        path, offset = self.segment_of(frame)
        with path.open("r+b") as file:
            file.seek(offset + at)
            byte = file.read(1)[0]
            file.seek(offset + at)
            file.write(bytes([byte ^ (1 << bit)]))
        self.expected.remove(frame)
        if not while_open:
            self.open()

    @invariant()
    def all_frames_are_read_in_order(self) -> None:
        assert [f for f in self.read_from(self.spool.first(), 250) if f.end > self.released] == self.expected

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), limit=st.integers(1, 2000))
    def read_from_within(self, data: st.DataObject, limit: int) -> None:
        """A position inside a frame finds that frame; the limit is kept except for a single frame."""
        frame = data.draw(st.sampled_from(self.expected))
        at = data.draw(st.integers(frame.start, frame.end - 1))
        found = self.spool.frames(at, limit)
        assert found[0] == frame
        assert len(found) == 1 or sum(f.end - f.start for f in found) <= limit + SEGMENT

    def read_from(self, at: int, limit: int) -> list[Frame]:
        found: list[Frame] = []
        while frames := self.spool.frames(at, limit):
            found += frames
            at = frames[-1].end
        return found

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.root)


TestSpoolModel = SpoolMachine.TestCase
TestSpoolModel.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
