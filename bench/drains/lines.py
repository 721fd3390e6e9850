"""The lines of a cell: a backlog with errors spread in it, a service that goes on writing, and what of both arrived.

Every line has a mark, a letter for its file and a number, so that what is in a file, in a range of it, or in an archive can be
counted by one search over bytes.
"""

from __future__ import annotations

import mmap
import random
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MARK = re.compile(rb" ([abs])#(\d{9}) ")
ERROR = re.compile(rb" ERROR checkout( [ab]#\d{9} )")
LINE = 200
ERROR_EVERY = 10_000  # lines
LAST = 64 << 10  # bytes: a stream's last words
SHARES = {"a": 0.75, "b": 0.25}  # of the backlog, by file
LAST_WORDS = 50

SERVICE = f"""
import signal, sys, time
file = open(sys.argv[1], "ab", buffering=0)
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
signal.signal(signal.SIGINT, lambda *_: stopped.append(1))
number = 0
def write(words):
    global number
    file.write(b"2026-11-23T02:00:00.000Z INFO checkout s#%09d %s\\n" % (number, words))
    number += 1
while not stopped:
    write(b"request handled")
    time.sleep(0.01)
for _ in range({LAST_WORDS}):
    write(b"last word")
    time.sleep(0.002)
"""


def service(path: Path) -> list[str]:
    """The command of a service that writes to ``path`` until it is stopped, and then has something to say."""
    return [sys.executable, "-c", SERVICE, str(path)]


def make_backlog(directory: Path, size: int) -> list[Path]:
    """Files of about ``size`` bytes together, one line in ten thousand an error."""
    rng = random.Random(1)
    tails = [
        f" request id={rng.getrandbits(64):016x} user={rng.randrange(10**6)} method=GET path=/api/v1/items/"
        f"{rng.randrange(10**5)} status=200 duration_ms={rng.random() * 100:.2f} agent=mobile/4.2 region=eu-west-1"
        for _ in range(20_011)
    ]
    made = []
    for letter, share in SHARES.items():
        path = directory / f"{letter}.log"
        with open(path, "wb", buffering=1 << 20) as out:
            for number in range(round(size * share / LINE)):
                level = "ERROR" if number % ERROR_EVERY == ERROR_EVERY // 2 else "INFO "
                head = f"2026-11-23T02:00:00.000Z {level} checkout {letter}#{number:09d}"
                out.write((head + tails[number % len(tails)]).ljust(LINE - 1, ".").encode() + b"\n")
        made.append(path)
    return made


@dataclass
class Lines:
    """Lines by file: which numbers, and how many came again."""

    numbers: dict[str, set[int]] = field(default_factory=dict)
    twice: int = 0

    def add(self, data: bytes | mmap.mmap, start: int = 0, end: int = sys.maxsize) -> None:
        """Count every mark in ``data[start:end]``."""
        for found in MARK.finditer(data, start, min(end, len(data))):
            have = self.numbers.setdefault(found[1].decode(), set())
            number = int(found[2])
            self.twice += number in have
            have.add(number)

    def __len__(self) -> int:
        return sum(map(len, self.numbers.values()))

    def of(self, letter: str) -> set[int]:
        """The numbers of one file."""
        return self.numbers.get(letter, set())

    def both(self, other: Lines) -> int:
        """How many are here and there."""
        return sum(len(numbers & other.of(letter)) for letter, numbers in self.numbers.items())

    def without(self, *others: Lines) -> int:
        """How many are here and in none of the others."""
        return sum(
            len(numbers.difference(*(other.of(letter) for other in others))) for letter, numbers in self.numbers.items()
        )


@dataclass
class Written:
    """What stands in the log files of a cell in the end."""

    all: Lines = field(default_factory=Lines)
    errors: Lines = field(default_factory=Lines)
    last: Lines = field(default_factory=Lines)
    """Those that lie in the last 64 KiB of their file."""


def written(paths: Iterable[Path]) -> Written:
    """Read the truth."""
    found = Written()
    for path in paths:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found.all.add(data)
            found.last.add(data, data.find(b"\n", max(0, len(data) - LAST)) + 1 if len(data) > LAST else 0)
            for error in ERROR.finditer(data):
                found.errors.add(error[1])
    return found


def within(ranges: Mapping[Path, list[tuple[int, int]]]) -> Lines:
    """The lines that lie in these ranges of the files; a line counts where it begins."""
    found = Lines()
    for path, spans in ranges.items():
        data = path.read_bytes()
        for start, end in spans:
            found.add(data, start, end)
    return found
