"""Writes stamped lines at a rate, each with one write(): ``python -m bench.writer FILE LINES_PER_SECOND SECONDS``."""

import os
import sys
import time

PADDING = "x" * 150


def main() -> None:
    path, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    begun = time.monotonic()
    for number in range(int(rate * seconds)):
        wait = begun + number / rate - time.monotonic()
        if wait > 0.0001:
            time.sleep(wait)
        os.write(descriptor, f"line={number} {PADDING} ns={time.time_ns()}\n".encode())


if __name__ == "__main__":
    main()
