"""Keeps track of the files of a journal: new ones, renamed ones, deleted ones that are still needed, and chains they belong to."""

from __future__ import annotations

import errno

from shipper.events import Problem, Reporter
from shipper.sources.journal.chain import Chain
from shipper.sources.journal.file import JournalFile, Understand
from shipper.sources.journal.layout import ARCHIVED
from shipper.sources.journal.places import Places

Key = tuple[int, int]
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
            self._drop(file)

    def _failed(self, file: JournalFile, problem: Exception) -> None:
        if file.key not in self._gone:
            self._report(Problem("journal", f"{file.path} cannot be read: {problem}", file.path))
        if isinstance(problem, ValueError):
            self._passed[file.key] = file.path
            self._gone.pop(file.key, None)
            self._drop(file)

    def _drop(self, file: JournalFile) -> None:
        self._files.pop(file.key, None)
        self.chains[file.header.sequence_id].files.pop(file.key, None)
        file.close()
