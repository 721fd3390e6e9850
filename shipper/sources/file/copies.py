"""Knowing which files only repeat what a stream has read: copies made by copytruncate, before, during and after it.

A copy must not be read as if it were new, and it is where the bytes are that truncating the original destroyed. A file named
like a rotated form of another, holding nothing but what that one begins with, is taken for its copy. Under any other name it
is only waited for a moment: two files may begin alike and yet be two.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

from shipper.clock import Clock
from shipper.sources.file.content import Content
from shipper.sources.file.handles import TailedFile
from shipper.sources.file.identity import HEAD_BYTES, NAME_BYTES, Head, Key, digest, is_related, rotation_bases
from shipper.sources.file.rotation import CANDIDATES, holds_content_of, is_prefix_of, named, siblings

if TYPE_CHECKING:
    from shipper.sources.file.table import FileTable

DOUBT = 1.0  # seconds for which a file that looks like a copy, but is not named like one, is waited for
FRESH_NS = 10_000_000_000  # in the first scan of a life only a file this young can be a copy in the making


class Copies:
    """What is known of copies; remembered over restarts in ``known`` (write it down when ``changed``)."""

    def __init__(self, table: FileTable, clock: Clock) -> None:
        self.known: dict[Key, tuple[int, Head]] = {}  # how many bytes of it another stream has, and what it begins with
        self.changed = False
        self.taken: frozenset[Key] = frozenset()  # no copies: an earlier life has read the beginning
        self._table = table
        self._clock = clock
        self._leads: dict[int, dict[str, list[TailedFile]]] = {}  # by what they begin with: how many bytes, and which
        self._doubtful: set[TailedFile] = set()

    def note(self, file: TailedFile, size: int) -> None:
        """``file`` is read by a stream and ``size`` bytes long now: others may turn out to be copies of it."""
        length = min(size, NAME_BYTES)
        if length > file.led_by:
            self.unnote(file)
            file.led_by, file.lead = length, digest(file.read(length, 0))
            self._leads.setdefault(length, {}).setdefault(file.lead, []).append(file)

    def remember(self, copy: TailedFile, size: int) -> None:
        """The first ``size`` bytes of ``copy`` are another stream's."""
        self._doubtful.discard(copy)
        entry = (size, Head.of(copy.read(HEAD_BYTES, 0)))
        if copy.text is not None:  # compressed: all of it, and known again without unpacking it
            entry = (copy.status().st_size, Head.of(copy.raw(HEAD_BYTES, 0)))
        if self.known.get(copy.key) != entry:
            self.known[copy.key] = entry
            self.changed = True

    def expect(self, key: Key, size: int, head: Head) -> None:
        """Should the file ``key`` be seen again, its first ``size`` bytes are another stream's, if it still begins with ``head``."""
        self.known[key] = (size, head)
        self.changed = True

    def forget(self, file: TailedFile) -> None:
        """The file is gone."""
        self._doubtful.discard(file)
        if self.known.pop(file.key, None) is not None:
            self.changed = True
        self.unnote(file)

    def unnote(self, file: TailedFile) -> None:
        """The file does not begin any more as it did."""
        if file.led_by:
            leads = self._leads[file.led_by]
            leads[file.lead].remove(file)
            if not leads[file.lead]:
                del leads[file.lead]
            if not leads:
                del self._leads[file.led_by]
            file.led_by, file.lead = 0, ""

    def doubtful(self) -> Iterable[TailedFile]:
        """Files of which it is not yet decided whether they are copies."""
        return list(self._doubtful)

    def decide(self) -> None:
        """Wait no longer: what is doubtful counts as a file of its own when it is looked at next."""
        for file in self._doubtful:
            file.since = float("-inf")

    def passed(self, file: TailedFile, size: int, head: bytes) -> int:
        """How many bytes at the beginning of ``file`` another stream is known to have."""
        entry = self.known.get(file.key)
        if entry is None or file.copy_of is not None:  # what is still growing as a copy is compared anew
            return 0
        if size >= entry[0] and entry[1].matches(head):
            return entry[0]
        self.drop(file)  # the inode has other content, or is used again
        return 0

    def is_known_packed(self, file: TailedFile, size: int) -> bool:
        """Whether a compressed file of ``size`` bytes is one whose text other streams have. Raises OSError."""
        entry = self.known.get(file.key)
        if entry is None:
            return False
        if entry[0] == size and entry[1].matches(file.raw(HEAD_BYTES, 0)):
            return True
        self.drop(file)
        return False

    def alike(self, lead: str) -> list[TailedFile]:
        """The files with streams whose first bytes have this fingerprint."""
        return list(self._leads.get(NAME_BYTES, {}).get(lead, ()))

    def originals(self, file: TailedFile, head: bytes) -> list[TailedFile]:
        """The files that ``file``, which begins with ``head``, may be a copy of by its beginning and its name, wherever it lies."""
        alike = [
            each
            for length, leads in self._leads.items()
            if length <= len(head)
            for each in leads.get(digest(head[:length]), ())
            if each is not file and each.stream is not None and not each.stream.finished
        ]
        return [each for each in alike[:CANDIDATES] if is_related(file.path, each.path or each.origin)]

    def doubt(self, file: TailedFile, size: int, head: bytes, *, first_scan: bool) -> bool:
        """Whether ``file``, which no stream reads, must not be read (yet). Raises OSError."""
        if first_scan and not self._is_fresh(file):
            return False
        original = self._named_original(file, size)
        if original is not None:
            file.copy_of = original
            self.remember(file, size)
            self._table.contents.copied(original)
            return True
        self.drop(file)
        if first_scan or size < NAME_BYTES or self._clock.monotonic() - file.since >= DOUBT:
            return False
        for other in self.alike(digest(head[:NAME_BYTES])):
            if self._is_copy_of(file, size, other):
                file.copy_of = other.stream
                self._doubtful.add(file)
                return True
        return False

    def drop(self, file: TailedFile) -> None:
        """The file is no copy, or not any more."""
        file.copy_of = None
        self._doubtful.discard(file)
        if self.known.pop(file.key, None) is not None:
            self.changed = True

    def _is_fresh(self, file: TailedFile) -> bool:
        return self._clock.wall_ns() - file.status().st_ctime_ns < FRESH_NS

    def _named_original(self, file: TailedFile, size: int) -> Content | None:
        """The stream that ``file`` repeats, going by its name."""
        originals = [self._table.at(base) for base in rotation_bases(file.path)]
        if file.copy_of is not None and file not in self._doubtful:
            originals.append(file.copy_of.file)
        for other in originals:
            if other is not None and self._is_copy_of(file, size, other):
                return other.stream
        return None

    def _is_copy_of(self, file: TailedFile, size: int, other: TailedFile) -> bool:
        if other is file or other.stream is None or other.stream.finished:
            return False
        return is_prefix_of(file, size, other)

    def find(self, old: Content, truncated: TailedFile | None, further: Iterable[str] = ()) -> TailedFile | None:
        """The file that holds what ``old`` was reading, now that its own file does not; ``further``: where else it may be.

        Raises OSError when no descriptor is left to look.
        """
        for copy in self._table:
            if copy.copy_of is old and self._holds(copy, old):
                return copy  # it may have been deleted by now
        beside = truncated.path if truncated is not None and truncated.path else old.path
        # What is still in its place costs no listing.
        for path, status in chain(named(old.path), siblings(beside, further)):
            key = (status.st_dev, status.st_ino)
            if truncated is not None and key == truncated.key:
                continue
            file = self._table.of(key)
            if file is not None and file.stream is not None:
                if file.size == status.st_size and file.changed_ns == status.st_mtime_ns:
                    continue
                self._table.check(path)  # its inode may be that of another file by now
                file = self._table.of(key)
                if file is not None and file.stream is old:
                    return file
                if file is not None and file.stream is not None:
                    continue
            fresh = file is None
            if file is None:
                file = self._table.take_up(path, key)
            if file is None:
                continue
            if self._holds(file, old):
                return file
            if fresh:
                passed = self.known.get(key)
                self._table.forget(file)
                if passed is not None:  # it was only looked into; what others have of it they still have
                    self.known[key] = passed
        return None

    def _holds(self, file: TailedFile, old: Content) -> bool:
        try:
            size = file.length()
            if file.text is not None:
                if not old.head.length or not old.head.matches(file.read(HEAD_BYTES, 0)):
                    return False
                if not self._table.packed.measure_now(file):
                    return False  # it may still be written; then it is read as far as it is new, when it is whole
                size = file.length()
            return holds_content_of(file, size, old)
        except OSError:  # vanished or not readable: then nothing can be read from it either
            return False
