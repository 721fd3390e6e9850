"""The cases. Each returns rows of (case, figure, unit, value)."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import (
    exporters,
    fair,
    files,
    fleet_load,
    forward_receive,
    journal,
    node_pods,
    otlp_forward,
    redact,
    remote_write,
    routes,
    sdk,
    servers,
    stampede,
)
from bench.process import Sidecar, Sink, cores, start, wait_for
from bench.row import Row, workplace

MB = 1_000_000


def plain_line(rng: random.Random) -> bytes:
    """A 200-byte access line with a fresh request id, user, path and duration."""
    text = (
        f"2026-11-23T02:00:{rng.randrange(60):02d}.{rng.randrange(1000):03d}Z INFO checkout request"
        f" id={rng.getrandbits(64):016x} user={rng.randrange(10**6)} method=GET path=/api/v1/items/{rng.randrange(10**5)}"
        f" status={rng.choice((200, 200, 200, 404, 500))} duration_ms={rng.random() * 100:.2f} agent=mobile/4.2 region=eu-west-1"
    )
    return text.encode().ljust(199, b".")[:199] + b"\n"


def secret_line(rng: random.Random) -> bytes:
    """The same with a mail address and a password in it."""
    return (
        plain_line(rng)[:140]
        + f" mail=u{rng.getrandbits(32):08x}@example.com password={rng.getrandbits(48):012x}\n".encode()
    )


def json_line(rng: random.Random) -> bytes:
    """A 380-byte JSON line with time, level, trace context and fields."""
    return (
        f'{{"time":"2026-11-23T02:00:{rng.randrange(60):02d}.{rng.randrange(1000):03d}Z","level":"info","trace_id":"'
        f'{rng.getrandbits(128):032x}","span_id":"{rng.getrandbits(64):016x}","service":"checkout","msg":"request handled",'
        f'"http":{{"method":"GET","path":"/api/v1/items/{rng.randrange(10**5)}","status":{rng.choice((200, 404))}}},'
        f'"user":{rng.randrange(10**6)},"duration_ms":{rng.random() * 100:.3f},"region":"eu-west-1","agent":"mobile/4.2"}}\n'
    ).encode()


def access_line(rng: random.Random) -> bytes:
    """A 210-byte line of an access log in the combined format."""
    return (
        f"10.0.{rng.randrange(256)}.{rng.randrange(256)} - - [23/Nov/2026:02:00:{rng.randrange(60):02d} +0000] "
        f'"GET /api/v1/items/{rng.randrange(10**5)}?region=eu-west-1 HTTP/1.1" {rng.choice((200, 200, 404, 500))} '
        f'{rng.randrange(10**5)} "https://shop.example/items" "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/145.0" '
        f"{rng.random():.3f}\n"
    ).encode()


def logfmt_line(rng: random.Random) -> bytes:
    """A 260-byte logfmt line with time, level, trace context and fields."""
    return (
        f'time=2026-11-23T02:00:{rng.randrange(60):02d}.{rng.randrange(1000):03d}Z level=INFO msg="request handled" '
        f"trace_id={rng.getrandbits(128):032x} span_id={rng.getrandbits(64):016x} service=checkout method=GET "
        f"path=/api/v1/items/{rng.randrange(10**5)} status={rng.choice((200, 404))} user={rng.randrange(10**6)} "
        f"duration_ms={rng.random() * 100:.3f} region=eu-west-1\n"
    ).encode()


def stamp(rng: random.Random) -> str:
    """A time as container runtimes write it."""
    return f"2026-11-23T02:00:{rng.randrange(60):02d}.{rng.randrange(10**9):09d}"


def cri_line(rng: random.Random) -> bytes:
    """The 200-byte line as containerd writes it for stdout."""
    return f"{stamp(rng)}Z stdout F ".encode() + plain_line(rng)


def docker_line(rng: random.Random) -> bytes:
    """The same as Docker's json-file driver does."""
    text, time_ = plain_line(rng)[:-1], stamp(rng).rstrip("0")
    return b'{"log":"%s\\n","stream":"stdout","time":"%sZ"}\n' % (text, time_.encode())


def make_file(path: Path, size: int, line: Callable[[random.Random], bytes]) -> int:
    """A file of about ``size`` bytes; how many lines it has. A block of 20,000 different lines is repeated."""
    rng = random.Random(1)
    block = [line(rng) for _ in range(20_000)]
    data = b"".join(block)
    times = max(1, size // len(data))
    with open(path, "wb") as out:
        for _ in range(times):
            out.write(data)
    return times * len(block)


def throughput(name: str, line: Callable[[random.Random], bytes], size: int, **env: str) -> list[Row]:
    """A backlog, shipped and acknowledged on one core."""
    with workplace() as directory:
        log = directory / "log" / "app.log"
        lines = make_file(log, size, line)
        size = log.stat().st_size
        sink = Sink(directory)
        begun = time.monotonic()
        sidecar = Sidecar(directory, sink.endpoint, str(log), **env)
        wait_for(lambda: sink.records() > 0, 30, "the first record")
        startup_cpu, startup = sidecar.cpu(), time.monotonic() - begun
        before = sink.records()
        wait_for(lambda: sink.records() >= lines, 300, "the last record")
        cpu, wall = sidecar.cpu() - startup_cpu, time.monotonic() - begun - startup
        total_cpu = sidecar.cpu()
        peak = sidecar.memory("VmHWM")
        sidecar.terminate()
        taken = sink.stop()
    share = (lines - before) / lines
    return [
        Row(name, "throughput", "lines/s", (lines - before) / wall),
        Row(name, "throughput", "MB/s", size * share / wall / MB),
        Row(name, "CPU", "CPU-s/GB", cpu / (size * share / 1e9)),
        Row(name, "CPU with start-up", "CPU-s/GB", total_cpu / (size / 1e9)),
        Row(name, "memory, peak RSS", "MB", peak),
        Row(name, "wire/file", "ratio", taken["wire_bytes"] / size),
        Row(name, "missing", "lines", lines - taken["records"]),
    ]


def redacted(name: str, size: int) -> list[Row]:
    """The plain file as it is, masked though there is nothing to mask, and with two secrets in every line."""
    kinds = redact.SETTING
    runs = {
        "as it is": throughput(name, plain_line, size),
        "nothing to mask": throughput(name, plain_line, size, SHIPPER_REDACT=kinds),
        "two in every line": throughput(name, secret_line, size // 5, SHIPPER_REDACT=kinds),
    }
    return [
        Row(name, f"{row.figure}, {what}", row.unit, row.value)
        for what, rows in runs.items()
        for row in rows
        if row.figure in ("throughput", "CPU", "missing")
    ]


def exposure(name: str, rate: float, seconds: float, delay: float, **env: str) -> list[Row]:
    """Lines written one by one at ``rate``; the time from each write to the sink's answer."""
    with workplace() as directory:
        log = directory / "log" / "app.log"
        log.touch()
        sink = Sink(directory, delay=delay, keep=True)
        sidecar = Sidecar(directory, sink.endpoint, str(log), **env)
        wait_for(lambda: (directory / "state" / "admin.sock").exists(), 30, "the sidecar's start")
        time.sleep(1.5)
        writer = start(["-m", "bench.writer", str(log), str(rate), str(seconds)], cores()[1])
        before = sidecar.cpu()
        writer.wait()
        cpu = (sidecar.cpu() - before) / seconds
        sidecar.terminate()
        taken = sink.stop()
    delays = taken["delays"]
    if not delays:
        return [Row(name, "missing", "lines", rate * seconds)]
    cut = statistics.quantiles(delays, n=1000)
    return [
        Row(name, "exposure p50", "ms", cut[499] * 1000),
        Row(name, "exposure p99", "ms", cut[989] * 1000),
        Row(name, "exposure max", "ms", delays[-1] * 1000),
        Row(name, "CPU", "% of a core", cpu * 100),
        Row(name, "requests", "1/s", taken["requests"] / seconds),
    ]


def drain(name: str, size: int, raw_rate: float) -> list[Row]:
    """SIGTERM with a backlog and a sink of ``raw_rate`` uncompressed bytes a second."""
    with workplace() as directory:
        log = directory / "log" / "app.log"
        lines = make_file(log, size, plain_line)
        sink = Sink(directory, raw_rate=raw_rate)
        sidecar = Sidecar(directory, sink.endpoint, str(log), SHIPPER_DRAIN_EPHEMERAL="true")
        wait_for(lambda: sink.records() > 0, 30, "the first record")
        took = sidecar.terminate()
        code = sidecar.process.returncode
        taken = sink.stop()
        last = (time.time_ns() - taken["last_ns"]) / 1e9
    return [
        Row(name, "exit after SIGTERM", "s", took),
        Row(name, "exit after the last answer, at most", "s", last),
        Row(name, "left", "lines", lines - taken["records"]),
        Row(name, "exit status", "", float(code)),
    ]


def idle(name: str) -> list[Row]:
    """A sidecar with a quiet file."""
    with workplace() as directory:
        log = directory / "log" / "app.log"
        log.write_bytes(b"one line\n")
        sink = Sink(directory)
        sidecar = Sidecar(directory, sink.endpoint, str(log))
        wait_for(lambda: sink.records() > 0, 30, "the first record")
        time.sleep(3)
        before = sidecar.cpu()
        time.sleep(7)
        cpu = (sidecar.cpu() - before) / 7
        memory = sidecar.memory("VmRSS")
        sidecar.terminate()
        sink.stop()
    return [Row(name, "memory, RSS", "MB", memory), Row(name, "CPU", "% of a core", cpu * 100)]


def capacity(name: str) -> list[Row]:
    """How fast the sink is by itself, so that it can be seen not to be the bottleneck."""
    with workplace() as directory:
        sink = Sink(directory)
        result = subprocess.run(
            ["taskset", "-c", str(cores()[0]), sys.executable, "-m", "bench.blast", str(sink.port), "3"],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ.copy(),
        )
        sink.stop()
    return [Row(name, "wire bytes taken", "MB/s", float(result.stdout))]


def exported(kind: str, line: Callable[[random.Random], bytes], **shape: Any) -> Callable[[int], list[Row]]:
    """The case of an exporter and a kind of lines."""
    name = f"export-{kind}-fields" if shape else f"export-{kind}"
    return lambda size: exporters.cost(name, kind, lambda log: make_file(log, size, line), shape)


CASES: dict[str, Callable[[int], list[Row]]] = {
    "sink-capacity": lambda size: capacity("sink-capacity"),
    "file-cri": lambda size: throughput("file-cri", cri_line, size),
    "file-docker": lambda size: throughput("file-docker", docker_line, size),
    "file-plain-otlp-gzip": lambda size: throughput("file-plain-otlp-gzip", plain_line, size),
    "file-plain-otlp-nogzip": lambda size: throughput(
        "file-plain-otlp-nogzip", plain_line, size, OTEL_EXPORTER_OTLP_COMPRESSION="none"
    ),
    "file-json-otlp-gzip": lambda size: throughput("file-json-otlp-gzip", json_line, size),
    "file-json": lambda size: throughput("file-json", json_line, size, SHIPPER_FILES_SHAPE_PARSE="json"),
    "file-json-fields": lambda size: throughput(
        "file-json-fields", json_line, size, SHIPPER_FILES_SHAPE_PARSE="json", SHIPPER_FILES_SHAPE_FIELDS="all"
    ),
    "file-json-message": lambda size: throughput(
        "file-json-message", json_line, size, SHIPPER_FILES_SHAPE_PARSE="json", SHIPPER_FILES_SHAPE_BODY="message"
    ),
    "file-auto-plain": lambda size: throughput("file-auto-plain", plain_line, size, SHIPPER_FILES_SHAPE_PARSE="auto"),
    "file-access-log": lambda size: throughput(
        "file-access-log", access_line, size, SHIPPER_FILES_SHAPE_PARSE="common"
    ),
    "file-logfmt-fields": lambda size: throughput(
        "file-logfmt-fields", logfmt_line, size, SHIPPER_FILES_SHAPE_PARSE="logfmt", SHIPPER_FILES_SHAPE_FIELDS="all"
    ),
    "file-redact": lambda size: redacted("file-redact", size),
    "redact-spans": lambda size: redact.spans("redact-spans"),
    "routes": lambda size: routes.cost("routes"),
    "exposure-lone-line-sink-2ms": lambda size: exposure("exposure-lone-line-sink-2ms", 4, 30, 0.002),
    "exposure-lone-line-sink-50ms": lambda size: exposure("exposure-lone-line-sink-50ms", 4, 30, 0.050),
    "exposure-100-sink-2ms": lambda size: exposure("exposure-100-sink-2ms", 100, 10, 0.002),
    "exposure-100-sink-50ms": lambda size: exposure("exposure-100-sink-50ms", 100, 10, 0.050),
    "exposure-5000-sink-2ms": lambda size: exposure("exposure-5000-sink-2ms", 5000, 10, 0.002),
    "exposure-5000-sink-50ms": lambda size: exposure("exposure-5000-sink-50ms", 5000, 10, 0.050),
    "exposure-5000-low-sink-2ms": lambda size: exposure(
        "exposure-5000-low-sink-2ms", 5000, 10, 0.002, SHIPPER_MODE="low-exposure"
    ),
    "exposure-5000-low-sink-50ms": lambda size: exposure(
        "exposure-5000-low-sink-50ms", 5000, 10, 0.050, SHIPPER_MODE="low-exposure"
    ),
    "otlp-forward": lambda size: otlp_forward.forward("otlp-forward", "logs", size, 512),
    "otlp-forward-large": lambda size: otlp_forward.forward("otlp-forward-large", "logs", size, 8192),
    "otlp-forward-nogzip": lambda size: otlp_forward.forward(
        "otlp-forward-nogzip", "logs", size, 8192, OTEL_EXPORTER_OTLP_COMPRESSION="none"
    ),
    "otlp-forward-gzip": lambda size: otlp_forward.forward("otlp-forward-gzip", "logs", size, 512, "gzip"),
    "otlp-forward-traces": lambda size: otlp_forward.forward("otlp-forward-traces", "traces", size, 512),
    "otlp-forward-grpc": lambda size: otlp_forward.forward("otlp-forward-grpc", "grpc", size, 512),
    "otlp-forward-grpc-gzip": lambda size: otlp_forward.forward("otlp-forward-grpc-gzip", "grpc", size, 512, "gzip"),
    "forward-receive": lambda size: forward_receive.receive("forward-receive", "packed", size, 2000, ship=False),
    "forward-receive-gzip": lambda size: forward_receive.receive(
        "forward-receive-gzip", "gzip", size, 2000, ship=False
    ),
    "forward-receive-single": lambda size: forward_receive.receive(
        "forward-receive-single", "single", size, 2000, ship=False
    ),
    "forward-receive-and-ship": lambda size: forward_receive.receive(
        "forward-receive-and-ship", "packed", size, 2000, ship=True
    ),
    "journal": lambda size: journal.backlog("journal"),
    "idle": lambda size: idle("idle"),
    "many-files-10": lambda size: files.many("many-files-10", 10),
    "many-files-1000": lambda size: files.many("many-files-1000", 1000),
    "many-files-10000": lambda size: files.many("many-files-10000", 10_000),
    "node-pods": lambda size: node_pods.pods("node-pods", 50, 15),
    "rotation-storm": lambda size: files.storm("rotation-storm", 50_000, 5, 10),
    "fair": lambda size: fair.flood("fair", 100 * MB, 30),
    "idle-files": lambda size: fair.idle_files("idle-files", 1000, 45),
    "drain-300MB-sink-20MBps": lambda size: drain("drain-300MB-sink-20MBps", size, 20 * MB),
    "drain-300MB-sink-fast": lambda size: drain("drain-300MB-sink-fast", size, 0),
    "fleet-load": lambda size: fleet_load.rows("fleet-load"),
    "stampede-500-retry-after": lambda size: stampede.rows("stampede-500-retry-after", 500, rate=200, says_when=True),
    "stampede-500-says-nothing": lambda size: stampede.rows(
        "stampede-500-says-nothing", 500, rate=200, says_when=False
    ),
    "sdk-span": lambda size: sdk.cost("sdk-span", "spans"),
    "sdk-log": lambda size: sdk.cost("sdk-log", "logs"),
    "sdk-log-api": lambda size: sdk.cost("sdk-log-api", "records"),
    "sdk-import": lambda size: sdk.imports("sdk-import"),
    "sdk-crashes": lambda size: sdk.crashes("sdk-crashes"),
    "servers": lambda size: servers.arrivals("servers"),
    "remote-write": remote_write.convert,
    **{f"export-{kind}": exported(kind, plain_line) for kind in exporters.LOGS},
    **{f"export-{kind}-fields": exported(kind, json_line, parse="json", fields=["all"]) for kind in exporters.LOGS},
    "export-splunk-slow-acks": lambda size: exporters.cost(
        "export-splunk-slow-acks", "splunk", lambda log: make_file(log, size, plain_line), acknowledged_after=5.0
    ),
    "export-together": lambda size: exporters.together("export-together", lambda log: make_file(log, size, plain_line)),
}
