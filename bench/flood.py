"""Writes 200-byte lines in bulk at a rate: ``python -m bench.flood FILE BYTES_PER_SECOND SECONDS``; prints how many lines."""

import os
import random
import sys
import time

LINES = 1000  # in one write: a writer at this rate has a buffer


def main() -> None:
    path, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    rng = random.Random(1)
    blocks = [b"".join(line(rng) for _ in range(LINES)) for _ in range(20)]
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    begun = time.monotonic()
    written = 0
    while (now := time.monotonic() - begun) < seconds:
        if (wait := written / rate - now) > 0.0001:
            time.sleep(wait)
        written += os.write(descriptor, blocks[written // len(blocks[0]) % len(blocks)])
    print(written // 200)


def line(rng: random.Random) -> bytes:
    text = f"2026-11-23T02:00:00.{rng.randrange(1000):03d}Z INFO checkout id={rng.getrandbits(64):016x} user={rng.randrange(10**6)}"
    return (
        f"{text} path=/api/v1/items/{rng.randrange(10**5)} duration_ms={rng.random() * 100:.2f} ".encode().ljust(
            199, b"."
        )
        + b"\n"
    )


if __name__ == "__main__":
    main()
