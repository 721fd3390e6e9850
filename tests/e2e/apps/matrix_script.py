"""A plain script for the matrix: works, says so, and ends as it is told to."""

import os
import signal
import sys

from tests.e2e.apps import work

work.start()
for first in range(0, 1000, 100):
    work.work(first)
work.done("all")
if sys.argv[1] == "exit":
    os._exit(0)
if sys.argv[1] != "graceful":
    signal.pause()
