"""Keeps track of the files of a journal: new ones, renamed ones, deleted ones that are still needed, and chains they belong to."""

from __future__ import annotations

import errno
from collections.abc import Iterator

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

    def __init__(self, places: Places, understand: Understand, held_max: int, report: Reporter) -> None:
        self.chains: dict[bytes, Chain] = {}
        self._places = places
        self._understand = understand
        self._held_max = held_max
        self._report = report
        self._files: dict[Key, JournalFile] = {}
        self._passed: dict[Key, str] = {}  # files that are not needed, by the name they had
        self._gone: dict[Key, JournalFile] = {}  # deleted, and held open
        self._listings = 0

    def chain(self, sequence_id: bytes) -> Chain:
        """The chain of a sequence, made where there is none."""
        chain = self.chains.get(sequence_id)
        if chain is None:
            chain = self.chains[sequence_id] = Chain(sequence_id, self._understand)
            chain.awaited = self._listings < _PATIENCE
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
            over = file.header.state == ARCHIVED or file.key in self._gone
            if over and file.header.tail < below:
                self._drop(file)
                if file.key not in self._gone:
                    self._passed[file.key] = file.path
                self._gone.pop(file.key, None)

    @property
    def deleted(self) -> Iterator[JournalFile]:
        """Files that were deleted and are still needed."""
        return iter(self._gone.values())

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
        for key in [key for key in self._passed if key not in found]:
            del self._passed[key]
        for key, file in self._files.items():
            if key not in found:
                self._gone.setdefault(key, file)
        self._bound()
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
            self._report(Problem("journal", f"{path} cannot be read: {problem}", path))
            self._passed[key] = path
            return True
        if file.key != key:  # renamed between listing and opening
            file.close()
            return False
        self._files[key] = file
        self.chain(file.header.sequence_id).add(file)
        return True

    def _bound(self) -> None:
        """Deleted files hold disk space: beyond the limit the oldest are let go of, and what was not read of them is gone."""
        held = sum(file.bytes_held() for file in self._gone.values())
        for file in sorted(self._gone.values(), key=lambda file: file.header.head):
            if held <= self._held_max:
                return
            held -= file.bytes_held()
            self._report(Problem("journal", f"{file.path} was deleted and is held no longer: too much is", file.path))
            self._drop(file)
            del self._gone[file.key]

    def _failed(self, file: JournalFile, problem: Exception) -> None:
        self._report(Problem("journal", f"{file.path} cannot be read: {problem}", file.path))
        if isinstance(problem, ValueError):
            self._passed[file.key] = file.path
            self._gone.pop(file.key, None)
            self._drop(file)

    def _drop(self, file: JournalFile) -> None:
        self._files.pop(file.key, None)
        self.chains[file.header.sequence_id].files.pop(file.key, None)
        file.close()
