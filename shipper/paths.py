"""Where things lie when nothing is said; needed by the sidecar, by `shipper bake` and by services alike.

Only the standard library is imported, because a service that merely wants to find its spool must not pay for a
configuration library.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

CONFIG_FILE = "/etc/shipper/shipper.yaml"
RELEASE_FILE = "/etc/shipper/release.json"
SYSTEM_STATE_DIR = "/var/lib/shipper"


def default_state_dir(env: Mapping[str, str], uid: int | None = None) -> str:
    """The state directory nobody configured: ``/var/lib/shipper`` for root, else the user's XDG state directory.

    ``uid`` is the effective user id (default: this process's). A relative ``XDG_STATE_HOME`` is ignored, as the XDG
    base directory specification demands.
    """
    if (os.geteuid() if uid is None else uid) == 0:
        return SYSTEM_STATE_DIR
    base = env.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):
        home = env.get("HOME") or os.path.expanduser("~")
        base = os.path.join(home, ".local", "state")
    return os.path.join(base, "shipper")
