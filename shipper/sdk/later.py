"""Doing something to a module now if it is imported, else as soon as it is.

Nothing is imported for our sake: what a service does not use it does not pay for, and what it imports later is not missed.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Then = Callable[[ModuleType], None]


def when_imported(name: str, then: Then) -> None:
    """Call ``then`` with the module ``name``, once. What ``then`` raises must not concern whoever imports: it catches itself."""
    module = sys.modules.get(name)
    if module is not None:
        then(module)
        return
    _finder.wait(name, [then])


class _Finder(MetaPathFinder):
    """Stands in front of the other finders while modules are waited for, and has them find those."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[Then]] = {}

    def wait(self, name: str, then: Sequence[Then]) -> None:
        self.waiting.setdefault(name, []).extend(then)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.waiting:
            return None
        then = self.waiting.pop(fullname)  # or it would be found here again
        if not self.waiting:
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            self.wait(fullname, then)  # it may be on the path at the next try
            return None
        spec.loader = _Telling(spec.loader, then)
        return spec


class _Telling(Loader):
    """A loader that says when it is done."""

    def __init__(self, loader: Loader, then: Sequence[Then]) -> None:
        self._loader = loader
        self._then = then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for each in self._then:
            each(module)


_finder = _Finder()
