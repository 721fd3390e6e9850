"""The random histories of a log, where a container runtime writes it: two outputs a file, and lines in parts.

A long search: ``python -m tests.sources.test_file_cri_model EXAMPLES STEPS``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

from hypothesis.stateful import rule, run_state_machine_as_test

from shipper.shape.containers import OUTPUTS
from tests.sources.test_file_lives import Rebooting
from tests.sources.test_file_model import World, _settings


class TwoOutputs:
    """Each line is for one of two outputs; parts of a line go to where it was begun."""

    number: int
    expected: list[str]
    unfinished: dict[int, bytes]
    output: dict[int, str]  # of the line that is unfinished, by descriptor

    def put(self, file: BinaryIO, text: bytes, tag: str) -> None:
        """Write a line of the file."""
        output = self.output.setdefault(file.fileno(), OUTPUTS[self.number % 3 == 0])
        file.write(f"2026-11-23T02:00:00.{self.number:09d}Z {output} {tag} ".encode() + text + b"\n")
        if tag == "F":
            del self.output[file.fileno()]

    def end_line(self, file: BinaryIO, text: bytes) -> None:
        begun = self.unfinished.pop(file.fileno(), b"")
        self.put(file, text, "F")
        self.expected.append((begun + text).decode())

    def begin_line(self, file: BinaryIO, text: bytes) -> None:
        self.unfinished[file.fileno()] = self.unfinished.get(file.fileno(), b"") + text
        self.put(file, text, "P")


class Containers(TwoOutputs, World):
    """The world of one tailer, with containers in it."""

    format = "auto"

    def __init__(self) -> None:
        super().__init__()
        self.output = {}

    def end_line(self, file: BinaryIO, text: bytes) -> None:
        super().end_line(file, text)
        self.written(file, self.expected[-1])

    @rule()
    def write_part_of_a_line(self) -> None:
        self.begin_line(self.log(), self.line())

    def close(self, file: BinaryIO) -> None:
        self.output.pop(file.fileno(), None)
        super().close(file)

    def lines_in(self, path: Path) -> set[str]:
        begun = {output.encode(): b"" for output in OUTPUTS}
        found = set()
        for line in path.read_bytes().split(b"\n")[:-1]:
            _, output, tag, text = line.split(b" ", 3)
            begun[output] += text
            if tag == b"F":
                found.add(begun[output].decode())
                begun[output] = b""
        return found | {text.decode() for text in begun.values()}


class RebootingContainers(TwoOutputs, Rebooting):
    """The same over several lives."""

    def __init__(self) -> None:
        super().__init__()
        self.output = {}

    @rule()
    def write_part_of_a_line(self) -> None:
        self.begin_line(self.file(), self.line())

    def close(self, file: BinaryIO) -> None:
        self.output.pop(file.fileno(), None)
        super().close(file)


TestContainers = Containers.TestCase
TestContainers.__doc__ = (
    """In any order of what is done to a container's log, every line of both outputs arrives once and in order."""
)
TestContainers.settings = _settings(30, 20)

TestRebootingContainers = RebootingContainers.TestCase
TestRebootingContainers.__doc__ = (
    """The same over power cuts and adoptions: every byte has one owner for both outputs, and arrives."""
)
TestRebootingContainers.settings = _settings(20, 20)

if __name__ == "__main__":
    run_state_machine_as_test(Containers, settings=_settings(int(sys.argv[1]), int(sys.argv[2]), search=True))
