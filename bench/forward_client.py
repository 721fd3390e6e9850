"""Sends prebuilt chunks by the forward protocol: ``python -m bench.forward_client PORT BYTES RECORDS MODE``.

MODE is ``packed``, ``gzip`` or ``single`` (a message for each record, without acknowledgements). Records are what Docker's
driver for Fluentd sends: 200 bytes of text and five fields. Prints bytes, records and seconds from the first byte to the last
acknowledgement.
"""

from __future__ import annotations

import gzip
import random
import socket
import struct
import sys
import time

import msgpack

DIFFERENT = 8  # chunks, sent in turn
WINDOW = 4  # chunks on their way at once
RNG = random.Random(1)


def entry(number: int) -> list[object]:
    when = msgpack.ExtType(0, struct.pack(">II", 1_700_000_000, number))
    text = f"2026-11-23T02:00:08Z INFO checkout request id={RNG.getrandbits(64):016x} user={RNG.randrange(10**6)} method=GET"
    return [
        when,
        {
            "log": text.ljust(200, "."),
            "level": "info",
            "source": "stdout",
            "container_id": f"{RNG.getrandbits(256):064x}",
            "container_name": "/checkout",
            "status": RNG.choice((200, 404)),
        },
    ]


def prebuilt(records: int, mode: str) -> list[bytes]:
    """The entries of some chunks as one value of their message, or whole messages."""
    if mode == "single":
        return [
            b"".join(msgpack.packb(["docker.checkout", *entry(n)]) for n in range(records)) for _ in range(DIFFERENT)
        ]
    chunks = [b"".join(msgpack.packb(entry(n)) for n in range(records)) for _ in range(DIFFERENT)]
    return [gzip.compress(chunk, 6) for chunk in chunks] if mode == "gzip" else chunks


def main() -> None:
    port, size, records, mode = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    chunks = prebuilt(records, mode)
    each = len(b"".join(msgpack.packb(entry(n)) for n in range(100))) / 100
    count = max(WINDOW, round(size / (each * records)))
    answers = msgpack.Unpacker()
    acknowledged = 0
    with socket.create_connection(("127.0.0.1", port)) as sock:
        begun = time.monotonic()
        for number in range(count):
            if mode == "single":
                sock.sendall(chunks[number % DIFFERENT])
                continue
            option = {"chunk": f"{number}", "size": records, **({"compressed": "gzip"} if mode == "gzip" else {})}
            data = chunks[number % DIFFERENT]
            head = b"\x93" + msgpack.packb("docker.checkout") + b"\xc6" + struct.pack(">I", len(data))
            sock.sendall(b"".join((head, data, msgpack.packb(option))))
            while number - acknowledged >= WINDOW:
                answers.feed(sock.recv(1 << 16))
                acknowledged += sum(1 for _ in answers)
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(1 << 16):  # the rest of the acknowledgements, then the end
            answers.feed(data)
        print(int(count * records * each), count * records, time.monotonic() - begun, flush=True)


if __name__ == "__main__":
    main()
