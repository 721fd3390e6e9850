"""Doing something to a module now if it is imported, else as soon as it is.

Nothing is imported for our sake: what a service does not use it does not pay for, and what it imports later is not missed.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Then = Callable[[ModuleType], None]


def when_imported(name: str, then: Then) -> None:
    """Call ``then`` with the module ``name``, once. What ``then`` raises must not concern whoever imports: it catches itself.

    A module that is being imported right now is waited for. One that is imported by another module waited for (Starlette
    by FastAPI) is told when that one is done, too: patched halfway, the outer one would be built on what is patched.
    """
    if imported(name):
        then(sys.modules[name])
    else:
        _finder.wait(name, then)


def imported(name: str) -> bool:
    """Whether the module is there, and wholly."""
    module = sys.modules.get(name)
    if module is None:
        return False
    return name in _finder.done or not getattr(getattr(module, "__spec__", None), "_initializing", False)


class _Finder(MetaPathFinder):
    """Stands in front of the other finders while modules are waited for, and has them find those."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Then]] = {}
        self.done: set[str] = set()  # imported wholly, though the import system still calls them half done when we tell
        self._half: tuple[str, ...] = ()  # whose import had begun: the import that comes after it is the next occasion

    def wait(self, name: str, then: Then) -> None:
        self.waiting.setdefault(name, []).append(then)
        if name in sys.modules:
            self._half = (*self._half, name)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.waiting and not (self._half and any(map(imported, self._half))):
            return None
        spec = _found(fullname, path, target)
        if spec is not None and hasattr(
            spec.loader, "exec_module"
        ):  # a namespace has none, and nothing to be waited for
            spec.loader = _Telling(fullname, spec.loader)
        return spec

    def due(self, name: str) -> list[tuple[str, Then]]:
        """Whom to tell now that ``name`` was imported; they wait no longer."""
        self.done.add(name)
        names = [name, *filter(imported, self._half)]
        self._half = tuple(each for each in self._half if each not in names)
        due = [(each, then) for each in names for then in self.waiting.pop(each, ())]
        if not self.waiting:
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
        return due


def _found(fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    """What the other finders find."""
    for finder in list(sys.meta_path):
        find = None if isinstance(finder, _Finder) else getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(fullname, path, target) if find is not None else None
        if spec is not None:
            return spec
    return None


class _Telling(Loader):
    """A loader that says when it is done. It may never be asked to begin: many look for a module only to know it is there."""

    def __init__(self, name: str, loader: Any) -> None:
        self._name = name
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        _turn.depth += 1
        try:
            self._loader.exec_module(module)
            _turn.due += _finder.due(self._name)
        finally:
            _turn.depth -= 1
            _turn.tell()


class _Turn(threading.local):
    """What this thread imports of the modules waited for, one inside the other, and whom to tell of it."""

    def __init__(self) -> None:
        self.depth = 0
        self.due: list[tuple[str, Then]] = []

    def tell(self) -> None:
        while self.due and not self.depth:
            name, then = self.due.pop(0)
            module = sys.modules.get(name)  # some put another object into their place
            if module is not None:
                then(module)


_turn = _Turn()
_finder = _Finder()
