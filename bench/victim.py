"""A service that is killed: ``python -m bench.victim COUNTER NAME`` logs numbered lines for as long as it is let.

After each call it notes in the mapped file COUNTER how many calls returned; what the page cache holds outlives SIGKILL,
so the one who killed it knows exactly what was promised.
"""

from __future__ import annotations

import logging
import mmap
import struct
import sys

import shipper


def main() -> None:
    path, name = sys.argv[1:]
    with open(path, "r+b") as file:
        counter = mmap.mmap(file.fileno(), 8)
    shipper.init(service=name, handoff="spool", instrument=False)
    logger = logging.getLogger("victim")
    logger.setLevel(logging.INFO)
    pack, number = struct.Struct("<Q").pack_into, 0
    while True:
        logger.info("line %d of %s;", number, name)
        number += 1
        pack(counter, 0, number)


if __name__ == "__main__":
    main()
