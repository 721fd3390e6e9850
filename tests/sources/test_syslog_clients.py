"""The syslog receiver as stock clients see it: logger(1), Python's handler, rsyslog."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shipper.sources.listen import ListenSettings
from shipper.sources.syslog.settings import TlsSettings
from tests.sources.certificates import Certificates, make
from tests.sources.spooled_kit import HOST, Syslog, counted, syslog, until

LOGGER = shutil.which("logger")
needs_logger = pytest.mark.skipif(LOGGER is None, reason="logger(1) is not installed (bsdutils)")


async def run_logger(*arguments: str, text: str = "") -> None:
    """``logger`` with these arguments and lines on its standard input."""
    assert LOGGER is not None
    command = [LOGGER, *arguments]
    await asyncio.to_thread(subprocess.run, command, input=text.encode(), check=True, timeout=20)


@needs_logger
def test_logger_by_udp_in_the_new_form(tmp_path: Path) -> None:
    """What logger(1) sends as RFC 5424 has its header in attributes and its text as body."""

    async def story() -> None:
        async with syslog(tmp_path) as server:
            await run_logger(
                *("--rfc5424", "--server", "127.0.0.1", "--port", str(server.udp[1]), "--udp"),
                *("--id=4711", "--tag", "backup", "--msgid", "DONE", "-p", "local3.warning"),
                *("--sd-id", "job@32473", "--sd-param", r'name="night\]ly"', "--sd-param", 'size="12"'),
                "all [is] well — really",
            )
            (record,) = await server.holds(1)
            assert record.body == "all [is] well — really"
            assert (record.severity, record.severity_text) == (13, "warning")
            assert record.attributes["syslog.facility"] == "local3"
            assert record.attributes["syslog.appname"] == "backup"
            assert record.attributes["syslog.procid"] == "4711"
            assert record.attributes["syslog.msgid"] == "DONE"
            assert record.attributes["syslog.hostname"] == socket.gethostname()
            assert record.attributes["syslog.structured_data.job@32473.name"] == "night]ly"
            assert record.attributes["syslog.structured_data.job@32473.size"] == "12"
            assert record.resource == HOST
            assert abs(record.time - record.observed) < 60 * 10**9

    asyncio.run(story())


@needs_logger
@pytest.mark.parametrize("form", ["--rfc3164", "--rfc5424"])
@pytest.mark.parametrize("counted_octets", [False, True])
def test_logger_by_tcp_line_by_line(tmp_path: Path, form: str, counted_octets: bool) -> None:
    """A thousand lines on logger(1)'s standard input arrive in order, in both forms and with both framings."""

    async def story() -> None:
        async with syslog(tmp_path) as server:
            text = "".join(f"line {number}\n" for number in range(1000))
            octets = ["--octet-count"] if counted_octets else []
            port = str(server.address[1])
            await run_logger(form, "--server", "127.0.0.1", "--port", port, "--tcp", "-t", "job", *octets, text=text)
            records = await server.holds(1000)
            assert [record.body for record in records] == [f"line {number}" for number in range(1000)]
            assert {record.attributes["syslog.appname"] for record in records} == {"job"}
            assert {record.attributes["syslog.hostname"] for record in records} == {socket.gethostname()}

    asyncio.run(story())


@needs_logger
def test_logger_by_the_socket_of_libc(tmp_path: Path) -> None:
    """What is written to the socket that stands for /dev/log arrives, with the pid that the kernel vouches for."""

    async def story() -> None:
        path = tmp_path / "log"
        async with syslog(tmp_path, socket=str(path)) as server:
            assert LOGGER is not None
            process = await asyncio.create_subprocess_exec(
                LOGGER, "-u", str(path), "-t", "cron", "-i", "-p", "cron.err", "hi"
            )
            assert await process.wait() == 0
            (record,) = await server.holds(1)
            assert (record.body, record.severity) == ("hi", 17)
            assert record.attributes["syslog.facility"] == "cron"
            assert record.attributes["syslog.appname"] == "cron"
            assert record.attributes["process.pid"] == process.pid
            assert record.attributes["syslog.procid"] == str(process.pid)

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["udp", "tcp", "unix", "unix-stream"])
def test_python_s_own_handler(tmp_path: Path, kind: str) -> None:
    """What `logging.handlers.SysLogHandler` sends arrives by all its ways, text and level as they were, also over many lines."""

    async def story() -> None:
        path = str(tmp_path / "log")
        settings = {"unix": {"socket": path}, "unix-stream": {"streams": (ListenSettings(path=path),)}}.get(kind, {})
        async with syslog(tmp_path, **settings) as server:
            where = {"udp": lambda: server.udp, "tcp": lambda: server.address}.get(kind, lambda: path)()
            stream = kind in ("tcp", "unix-stream")

            def send() -> None:
                handler = logging.handlers.SysLogHandler(
                    where,
                    logging.handlers.SysLogHandler.LOG_LOCAL1,
                    socket.SOCK_STREAM if stream else socket.SOCK_DGRAM,
                )
                logger = logging.Logger("shop")
                logger.addHandler(handler)
                for number in range(200):
                    logger.warning("it: broke %d ü", number)
                handler.close()

            await asyncio.to_thread(send)
            records = await server.holds(200)
            assert [record.body for record in records] == [f"it: broke {number} ü" for number in range(200)]
            assert {record.attributes["syslog.facility"] for record in records} == {"local1"}
            assert {record.severity for record in records} == {13}

    asyncio.run(story())


RSYSLOGD = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
_MODULES = Path("/usr/lib/x86_64-linux-gnu/rsyslog")
needs_rsyslog = pytest.mark.skipif(RSYSLOGD is None, reason="rsyslogd is not installed (rsyslog)")


@asynccontextmanager
async def rsyslog(directory: Path, action: str) -> AsyncIterator[Path]:
    """An rsyslogd that does ``action`` with what comes on its own socket, the path of which is yielded."""
    directory.mkdir()
    inlet = directory / "in"
    configuration = directory / "rsyslog.conf"
    configuration.write_text(
        f"""global(workDirectory="{directory}")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{inlet}" RateLimit.Interval="0")
{action}
"""
    )
    assert RSYSLOGD is not None
    with open(directory / "output", "wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(RSYSLOGD, "-n", "-f", str(configuration), "-i", str(directory / "pid")), stdout=output, stderr=output
        )
    try:
        await until(inlet.exists, f"rsyslogd is up: {(directory / 'output').read_text()}")
        yield inlet
    finally:
        process.terminate()
        await process.wait()


def forwarding(server: Syslog, made: Certificates | None = None, **options: str) -> str:
    """An omfwd action to a receiver."""
    protocol = options.pop("protocol", "tcp")
    port = server.udp[1] if protocol == "udp" else server.address[1]
    more = "".join(f' {key}="{value}"' for key, value in options.items())
    tls = ""
    if made is not None:
        more += (
            ' StreamDriver="ossl" StreamDriverMode="1" StreamDriverAuthMode="x509/certvalid"'
            f' StreamDriver.CAFile="{made.ca}" StreamDriver.CertFile="{made.client_cert}" StreamDriver.KeyFile="{made.client_key}"'
        )
        tls = f'global(DefaultNetstreamDriverCAFile="{made.ca}")\n'
    return f'{tls}action(type="omfwd" Target="127.0.0.1" Port="{port}" Protocol="{protocol}"{more})\n'


def write(path: Path, count: int) -> None:
    """Messages as libc writes them, to the inlet of rsyslogd; it blocks where that does not keep up."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(str(path))
        for number in range(count):
            sock.send(b"<27>Nov 23 02:00:08 shop[7]: line %d" % number)


FORMS = {
    "the default form": {},
    "the new form": {"template": "RSYSLOG_SyslogProtocol23Format"},
    "the form with exact times": {"template": "RSYSLOG_ForwardFormat"},
    "counted octets": {"template": "RSYSLOG_SyslogProtocol23Format", "TCP_Framing": "octet-counted"},
}


@needs_rsyslog
@pytest.mark.parametrize("form", FORMS)
def test_rsyslog_by_tcp(tmp_path: Path, form: str) -> None:
    """N messages in, N out, in order, whichever template and framing rsyslog uses."""

    async def story() -> None:
        async with (
            syslog(tmp_path) as server,
            rsyslog(tmp_path / "rsyslog", forwarding(server, **FORMS[form])) as inlet,
        ):
            await asyncio.to_thread(write, inlet, 5000)
            records = await server.holds(5000)
            # In the new form rsyslog sends the space that stood behind the tag as part of the text.
            assert [str(record.body).lstrip() for record in records] == [f"line {number}" for number in range(5000)]
            for record in records:
                assert record.attributes["syslog.appname"] == "shop"
                assert record.attributes["syslog.procid"] == "7"
                assert record.attributes["syslog.facility"] == "daemon"
                assert record.severity_text == "err"
            assert server.unparsed("priority") == server.unparsed("header") == 0

    asyncio.run(story())


@needs_rsyslog
def test_rsyslog_by_udp(tmp_path: Path) -> None:
    """By UDP every message arrives that the kernel did not drop, and those it did are counted."""

    async def story() -> None:
        async with syslog(tmp_path) as server:
            async with rsyslog(tmp_path / "rsyslog", forwarding(server, protocol="udp")) as inlet:
                await asyncio.to_thread(write, inlet, 2000)
                received = server.report.metrics.received
                await until(
                    lambda: counted(received, "syslog", "logs") + server.refused("kernel") >= 2000,
                    "all are there, or counted",
                )

    asyncio.run(story())


@needs_rsyslog
@pytest.mark.skipif(
    not (_MODULES / "lmnsd_ossl.so").exists(), reason="rsyslog's OpenSSL driver is not installed (rsyslog-openssl)"
)
def test_rsyslog_by_tls_known_by_its_certificate(tmp_path: Path) -> None:
    """By TLS with a client certificate (RFC 5425) all arrive; a client without one is not let in."""

    async def story() -> None:
        made = make(tmp_path / "pki")
        where = TlsSettings("127.0.0.1", 0, str(made.cert), str(made.key), client_ca=str(made.ca))
        async with syslog(tmp_path, streams=(where,)) as server:
            action = forwarding(server, made, TCP_Framing="octet-counted")
            async with rsyslog(tmp_path / "rsyslog", action) as inlet:
                await asyncio.to_thread(write, inlet, 1000)
                records = await server.holds(1000)
            assert [record.body for record in records] == [f"line {number}" for number in range(1000)]
            with contextlib.suppress(OSError):  # which of its errors TLS gives, and when, depends on who is first
                reader, writer = await asyncio.open_connection(*server.address, ssl=made.trusting())
                writer.write(b"<13>not let in\n")
                assert await reader.read() == b""
                writer.close()
            assert len(server.records()) == 1000

    asyncio.run(story())


@needs_rsyslog
@pytest.mark.skipif(not (_MODULES / "omuxsock.so").exists(), reason="this rsyslog has no omuxsock")
def test_rsyslog_by_a_unix_socket(tmp_path: Path) -> None:
    """What rsyslog's omuxsock writes to our socket arrives."""

    async def story() -> None:
        path = tmp_path / "log"
        async with syslog(tmp_path, socket=str(path)) as server:
            action = f'module(load="omuxsock")\n$OMUxSockSocket {path}\n*.* :omuxsock:\n'
            async with rsyslog(tmp_path / "rsyslog", action) as inlet:
                await asyncio.to_thread(write, inlet, 500)
                records = await server.holds(500)
            assert [record.body for record in records] == [f"line {number}" for number in range(500)]

    asyncio.run(story())
