"""Keeps track of the files of a journal: new ones, renamed ones, deleted ones that are still needed, and chains they belong to."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from shipper.events import Problem, Reporter
from shipper.sources.journal.chain import GONE, Chain
from shipper.sources.journal.file import JournalFile, Understand
from shipper.sources.journal.layout import ARCHIVED
from shipper.sources.journal.places import Places

Key = tuple[int, int]
Known = Mapping[str, Mapping[str, tuple[int, int]]]
"""By sequence and by id of the file, the numbers of its entries: the first, and the one behind the last."""
_LISTINGS = 4  # before a file that an earlier run knew counts as deleted
_PATIENCE = 10  # listings in which files of a known chain may be missing before they count as deleted
_FOR_GOOD = (errno.EACCES, errno.EPERM, errno.ENOENT)


class JournalFiles:
    """The chains of one journal. All calls may raise nothing: what cannot be read is said, and tried again."""

    def __init__(self, places: Places, understand: Understand, report: Reporter) -> None:
        self.chains: dict[bytes, Chain] = {}
        self._places = places
        self._understand = understand
        self._report = report
        self._files: dict[Key, JournalFile] = {}
        self._passed: dict[Key, str] = {}  # files that are not needed, by the name they had
        self._gone: dict[
            Key, JournalFile
        ] = {}  # without a name; what journald deletes it also empties, as others do not
        self._broken: dict[Key, int] = {}  # files that are none (yet), and how often that was seen
        self._listings = 0

    def chain(self, sequence_id: bytes) -> Chain:
        """The chain of a sequence, made where there is none."""
        chain = self.chains.get(sequence_id)
        if chain is None:
            chain = self.chains[sequence_id] = Chain(sequence_id, self._understand)
            chain.awaited = self._listings < _PATIENCE
            chain.suspect = self._check
        return chain

    def grown(self) -> bool:
        """Whether a known file has grown or was archived: a few reads of a header each."""
        changed = False
        for chain in self.chains.values():
            changed |= chain.refresh(self._failed)
        return changed

    def look(self) -> bool:
        """Look at all files, then for new ones, then at all again, so that what is shown is complete; see `Chain`.

        True when there was more at the end than is shown: another look is due.
        """
        self.grown()
        tails = {id: chain.tail() for id, chain in self.chains.items()}
        self._list()
        self.grown()
        for id, tail in tails.items():
            self.chains[id].frontier = max(self.chains[id].frontier, tail)
        return any(chain.tail() > chain.frontier for chain in self.chains.values())

    def release(self, sequence_id: bytes, below: int) -> None:
        """Nobody needs entries with lower numbers any more: files that have no others are let go of."""
        self.chains[sequence_id].release(below)
        for file in list(self.chains[sequence_id].files.values()):
            over = file.header.state == ARCHIVED or file.path.endswith("~") or file.key in self._gone
            if over and file.header.tail < below:
                self._drop(file)
                if file.key not in self._gone:
                    self._passed[file.key] = file.path
                self._gone.pop(file.key, None)

    def close(self) -> None:
        """Let go of all files."""
        for file in list(self._files.values()):
            self._drop(file)

    # Inside --------------------------------------------------------------------------------------------------------------

    def _list(self) -> None:
        found, problem = self._places.list()
        if problem is not None:
            self._report(Problem("journal", f"no journal can be read: {problem.strerror}: {problem.filename}", "list"))
            return
        self._listings += 1
        failed = False
        for key, path in found.items():
            known = self._files.get(key)
            if known is not None:
                known.path = path
            elif self._passed.get(key) != path:
                failed |= not self._open(key, path)
        for kept in (self._passed, self._broken):
            for key in kept.keys() - found.keys():
                del kept[key]
        for key, file in self._files.items():
            if key not in found:
                self._gone.setdefault(key, file)
        for file in list(self._gone.values()):
            self._look_at_gone(file)
        for chain in self.chains.values():
            chain.awaited = failed or (not chain.files and self._listings < _PATIENCE)

    def _open(self, key: Key, path: str) -> bool:
        """Take up a file; False when that may be possible later."""
        try:
            file = JournalFile(path)
        except OSError as problem:
            if problem.errno != errno.ENOENT:
                hint = ": shipper has to be in the group systemd-journal" if problem.errno in _FOR_GOOD else ""
                self._report(Problem("journal", f"{path} cannot be opened: {problem.strerror}{hint}", path))
            return problem.errno in _FOR_GOOD
        except ValueError as problem:
            seen = self._broken[key] = self._broken.get(key, 0) + 1
            if seen < _PATIENCE:  # it may be about to be made, or deleted
                return False
            self._report(Problem("journal", f"{path} cannot be read: {problem}", path))
            self._passed[key] = path
            return True
        if file.key != key:  # renamed between listing and opening
            file.close()
            return False
        self._files[key] = file
        self.chain(file.header.sequence_id).add(file)
        return True

    def _check(self) -> bool:
        """Look whether the files still are what they were; True when one is not any more, and is therefore let go of."""
        before = len(self._files)
        for file in list(self._files.values()):
            try:
                file.refresh()
            except (OSError, ValueError) as problem:
                self._failed(file, problem)
        return len(self._files) < before

    def _look_at_gone(self, file: JournalFile) -> None:
        try:
            file.refresh()
        except (OSError, ValueError):
            del self._gone[file.key]
            self._lose(file, GONE)

    def _failed(self, file: JournalFile, problem: Exception) -> None:
        if file.key not in self._gone:
            self._report(Problem("journal", f"{file.path} cannot be read: {problem}", file.path))
        if isinstance(problem, ValueError):
            self._passed[file.key] = file.path
            gone = self._gone.pop(file.key, None) is not None or not os.path.exists(file.path)
            self._lose(file, GONE if gone else str(problem))

    def _lose(self, file: JournalFile, why: str) -> None:
        """What was not read of a file is in no other but by chance."""
        if not file.empty:
            self.chains[file.header.sequence_id].vanished(file.header.head, file.header.tail + 1, why)
        self._drop(file)

    def recall(self, remembered: Known) -> None:
        """What files earlier runs knew that are there no more; looked for several times, for a listing may lack some."""
        for _ in range(_LISTINGS):
            missing = self._missing(remembered)
            if not missing:
                return
            self.look()
        for sequence, start, end in self._missing(remembered):
            self.chain(sequence).vanished(start, end, GONE)

    def _missing(self, remembered: Known) -> list[tuple[bytes, int, int]]:
        there = {file.header.file_id.hex() for file in self._files.values()}
        return [
            (bytes.fromhex(sequence), start, end)
            for sequence, files in remembered.items()
            for id, (start, end) in files.items()
            if id not in there
        ]

    def known(self) -> Known:
        """The files there are, as `recall` wants them."""
        return {
            sequence.hex(): {
                file.header.file_id.hex(): (file.header.head, file.header.tail + 1)
                for file in chain.files.values()
                if not file.empty
            }
            for sequence, chain in self.chains.items()
        }

    def _drop(self, file: JournalFile) -> None:
        self._files.pop(file.key, None)
        self.chains[file.header.sequence_id].files.pop(file.key, None)
        file.close()
