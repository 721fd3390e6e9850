"""Finding out what kind of file a new one is: by what it begins with, and by where it lies."""

from __future__ import annotations

import os

from shipper.clock import Clock
from shipper.events import Problem, Reporter
from shipper.labels.container_logs import Container, container_of
from shipper.shape.containers import FORMATS, LONGEST, SAMPLE, Recognised, recognise
from shipper.sources.file.encoded import ENCODINGS, marked, may_be_marked
from shipper.sources.file.handles import TailedFile
from shipper.sources.file.kind import PLAIN_TEXT, Kind
from shipper.sources.file.settings import FileGroup

PATIENCE = 1.0  # seconds for which the end of a first line is waited for


class Recogniser:
    """Decides of each file once. One whose first line is not finished has to be asked for again."""

    def __init__(self, clock: Clock, report: Reporter) -> None:
        self._clock = clock
        self._report = report
        self._waiting: dict[TailedFile, float] = {}  # until when

    def kind_of(self, file: TailedFile, group: FileGroup) -> Kind | None:
        """The kind of ``file``; None while that cannot be told. Raises OSError."""
        if group.format in ("auto", "plain"):
            beginning = file.read(2, 0)
            encoding = marked(beginning) if group.encoding == "auto" else ENCODINGS[group.encoding]
            if encoding:
                self._waiting.pop(file, None)
                return Kind(encoding=encoding)
            if group.encoding == "auto" and may_be_marked(beginning) and not self._patience_over(file):
                return None
        if group.format == "plain":
            self._waiting.pop(file, None)
            return PLAIN_TEXT
        container = container_of([*file.paths, *map(os.path.realpath, file.paths)])
        if group.format != "auto":
            return Kind(FORMATS[group.format], container.attributes)
        found = _recognise(file, container)
        if not found.certain and not self._patience_over(file):
            return None
        self._waiting.pop(file, None)
        if found.format is not None:
            return Kind(found.format, container.attributes)
        if found.nearly is not None:
            name = found.nearly.name
            said = f"{file.path} is read as plain text, for not all lines at its beginning are those of a container (format {name})"
            self._report(Problem("format", f"{said}: where it is one, say so (files[].format: {name})", file.path))
        return PLAIN_TEXT

    def _patience_over(self, file: TailedFile) -> bool:
        now = self._clock.monotonic()
        return now >= self._waiting.setdefault(file, now + PATIENCE)

    def decide(self, file: TailedFile, group: FileGroup) -> Kind:
        """The same, with what can be told now. Raises OSError."""
        self._waiting[file] = float("-inf")
        return self.kind_of(file, group) or PLAIN_TEXT

    def waiting(self, *, at_once: bool) -> list[TailedFile]:
        """Files that are waited for; ``at_once``: they are not waited for any longer."""
        if at_once:
            self._waiting = dict.fromkeys(self._waiting, float("-inf"))
        decided = [file for file in self._waiting if file.stream is not None or (file.fd < 0 and not file.paths)]
        for file in decided:
            del self._waiting[file]
        return list(self._waiting)


def _recognise(file: TailedFile, container: Container) -> Recognised:
    beginning = file.read(SAMPLE, 0)
    found = recognise(beginning, expected=container.expected)
    if found.certain or len(beginning) < SAMPLE:
        return found
    return recognise(file.read(LONGEST, 0), expected=container.expected)
