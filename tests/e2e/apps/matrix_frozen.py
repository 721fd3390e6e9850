"""A function for the matrix that is frozen between its calls, as a platform for functions does: a line in, a line out."""

import os
import sys

from tests.e2e.apps import work

work.start()
print("ready", flush=True)
for line in sys.stdin:
    verb, first = line.split()
    work.work(int(first))
    if verb == "exit":
        os._exit(0)
    print("done", flush=True)
