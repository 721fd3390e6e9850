"""What the agent remembers of the pods it has met: one small file in the state of each, so that a restart knows whose it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from shipper.labels.state import prepare_state_dir, read_private, write_atomically
from shipper.node.places import Place

FILE = "pod.json"
HOME = "pods"
GOING = ".gone-"  # what is being deleted
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Met:
    """A pod. ``ended``: its farewell was said, when its files had these ``sizes``."""

    place: Place
    ended: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)


class Memory:
    """Of all pods, below the state directory of the node agent."""

    def __init__(self, state_dir: str) -> None:
        """Raises `StateUnwritable`."""
        self._home = os.path.join(state_dir, HOME)
        prepare_state_dir(self._home)
        self._met: dict[str, Met] = {}
        for name in os.listdir(self._home):
            if name.startswith(GOING):
                shutil.rmtree(os.path.join(self._home, name), ignore_errors=True)
            elif (met := _read(os.path.join(self._home, name))) is not None:
                self._met[name] = met

    def all(self) -> dict[str, Met]:
        """By uid."""
        return dict(self._met)

    def get(self, uid: str) -> Met | None:
        """What is known of a pod, if it was ever met."""
        return self._met.get(uid)

    def directory(self, uid: str) -> str:
        """Where the state of a pod's life is."""
        return os.path.join(self._home, uid)

    def begun(self, place: Place) -> None:
        """A run of this pod's life begins. Raises `StateUnwritable`, OSError."""
        if self._met.get(place.uid) != Met(place):
            self._write(Met(place))

    def ended(self, place: Place, sizes: Mapping[str, int]) -> None:
        """Its farewell was said and is acknowledged. Raises `StateUnwritable`, OSError."""
        self._write(Met(place, True, sizes))

    def forget(self, uid: str) -> None:
        """Nothing is left of it anywhere: its state goes, too. After a crash in the middle the next start goes on."""
        gone = os.path.join(self._home, GOING + uid)
        os.rename(self.directory(uid), gone)
        del self._met[uid]
        shutil.rmtree(gone, ignore_errors=True)

    def _write(self, met: Met) -> None:
        place = met.place
        prepare_state_dir(self.directory(place.uid))
        content = {
            "path": place.path,
            "namespace": place.namespace,
            "name": place.name,
            "uid": place.uid,
            "ended": met.ended,
            "sizes": dict(met.sizes),
        }
        write_atomically(os.path.join(self.directory(place.uid), FILE), json.dumps(content).encode())
        self._met[place.uid] = met


def _read(directory: str) -> Met | None:
    """None for what is none; it is begun anew when its pod is met."""
    try:
        content = json.loads(read_private(os.path.join(directory, FILE), _MOST))
        place = Place(*(str(content[key]) for key in ("path", "namespace", "name", "uid")))
        sizes = {str(name): int(size) for name, size in content["sizes"].items()}
        return Met(place, content["ended"] is True, sizes) if place.uid == os.path.basename(directory) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
