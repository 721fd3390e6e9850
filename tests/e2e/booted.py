"""Runs ``shipper`` as if the machine had booted when a test says so: the boot id and boot time come from a directory.

``booted.py <directory> <arguments of shipper>``; the directory has ``boot_id`` and ``stat`` as /proc would.
"""

from __future__ import annotations

import sys

from shipper.labels import machine

directory = sys.argv.pop(1)
machine.BOOT_ID_FILE = f"{directory}/boot_id"
machine.BOOT_TIME_FILE = f"{directory}/stat"

from shipper.cli import main  # noqa: E402 - after the files it would look at

main()
