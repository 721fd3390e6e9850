"""Writes stamped lines into a log and rotates it: ``python -m bench.rotator FILE LINES_PER_SECOND SECONDS ROTATIONS_PER_SECOND``.

Rotated files go to the directory ``old`` beside that of the log, so that they are reached only by who has them open. Prints
how many lines were written in how many seconds.
"""

import os
import sys
import time

BURST = 50  # lines in one write: at this rate a writer has a buffer
PADDING = "x" * 150


def main() -> None:
    path, rate, seconds, rotations = sys.argv[1], *map(float, sys.argv[2:5])
    old = os.path.join(os.path.dirname(os.path.dirname(path)), "old")
    os.makedirs(old, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    descriptor = os.open(path, flags)
    begun = time.monotonic()
    rotated = 0
    bursts = int(rate * seconds / BURST)
    for number in range(bursts):
        now = time.monotonic() - begun
        wait = number * BURST / rate - now
        if wait > 0.0001:
            time.sleep(wait)
        if now * rotations >= rotated + 1:
            rotated += 1
            os.rename(path, os.path.join(old, f"{rotated}.log"))
            os.close(descriptor)
            descriptor = os.open(path, flags)
        stamp = time.time_ns()
        first = number * BURST
        text = "".join(f"line={each} {PADDING} ns={stamp}\n" for each in range(first, first + BURST))
        os.write(descriptor, text.encode())
    print(bursts * BURST, time.monotonic() - begun)


if __name__ == "__main__":
    main()
