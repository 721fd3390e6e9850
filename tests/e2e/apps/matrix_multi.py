"""Child processes for the matrix, by fork or spawn: each does its share and ends as it is told to."""

import multiprocessing
import os
import signal
import sys

from tests.e2e.apps import work

work.start()  # a spawned child imports this file too


def share(first: int, ending: str) -> None:
    for start in range(first, first + 500, 100):
        work.work(start)
    work.done(first)
    if ending == "exit":
        os._exit(0)
    if ending != "graceful":
        signal.pause()


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    children = [context.Process(target=share, args=(first, sys.argv[2])) for first in (0, 500)]
    for child in children:
        child.start()
    for child in children:
        child.join()
