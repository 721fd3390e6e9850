"""The admin door: status, drain and metrics over a unix socket; liveness, readiness and metrics over loopback TCP.

Only the socket can change anything, and its file mode (0600) is the permission. The TCP listener answers questions that
kubelets and scrapers ask, and refuses every address but loopback unless the configuration says otherwise.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web
from prometheus_client import generate_latest

from shipper.errors import ShipperError, StateError
from shipper.events import Problem, Reporter, Said

MAX_BODY = 64 * 1024


class Admin:
    """Serves the admin socket and, if wanted, the TCP listener."""

    def __init__(
        self,
        *,
        socket: str,
        listen: str,
        status: Callable[[], Mapping[str, Any]],
        drain: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]],
        notice: Callable[[Mapping[str, Any]], str],
        ready: Callable[[], bool],
        refresh: Callable[[], None],
        report: Reporter,
    ) -> None:
        self._socket = socket
        self._listen = listen
        self._status = status
        self._drain = drain
        self._notice = notice
        self._ready = ready
        self._refresh = refresh
        self._report = report
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Open the socket (required) and the TCP listener (a busy port is said, not fatal)."""
        private = self._questions()
        private.router.add_get("/status", self._get_status)
        private.router.add_post("/drain", self._post_drain)
        private.router.add_post("/notice", self._post_notice)
        runner = await self._run(private)
        with short_socket_path(self._socket) as path:
            old_mask = os.umask(0o177)
            try:
                if os.path.lexists(path):
                    os.unlink(path)  # ours: the state directory's lock is held
                await web.UnixSite(runner, path).start()
            except OSError as problem:
                raise StateError(
                    f"cannot open the admin socket {self._socket}: {problem.strerror or problem}"
                ) from problem
            finally:
                os.umask(old_mask)
        if self._listen:
            await self._start_tcp()

    async def _start_tcp(self) -> None:
        host, _, port = self._listen.rpartition(":")
        runner = await self._run(self._questions())
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        except OSError as problem:
            said = (
                f"/metrics is only on the admin socket: cannot listen on {self._listen} ({problem.strerror or problem})"
            )
            self._report(Problem("admin-listen", said))
            return
        self._report(Said(f"/metrics, /livez and /readyz on http://{self.address() or self._listen}"))

    def address(self) -> str:
        """Where TCP really listens (with port 0 the kernel chose), or empty."""
        for runner in self._runners[1:]:
            for address in runner.addresses:
                return f"{address[0]}:{address[1]}"
        return ""

    async def aclose(self) -> None:
        """Stop answering and remove the socket."""
        for runner in self._runners:
            await runner.cleanup()
        with short_socket_path(self._socket) as path:
            if os.path.lexists(path):
                os.unlink(path)

    def _questions(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/livez", self._get_livez)
        app.router.add_get("/readyz", self._get_readyz)
        return app

    async def _run(self, app: web.Application) -> web.AppRunner:
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await runner.setup()
        self._runners.append(runner)
        return runner

    async def _get_status(self, _: web.Request) -> web.Response:
        return web.json_response(dict(self._status()))

    async def _get_metrics(self, _: web.Request) -> web.Response:
        self._refresh()
        body = generate_latest(self._report.metrics.registry)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _get_livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _get_readyz(self, _: web.Request) -> web.Response:
        ready = self._ready()
        return web.Response(text="ok\n" if ready else "draining\n", status=200 if ready else 503)

    async def _post_drain(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._drain)

    async def _post_notice(self, request: web.Request) -> web.Response:
        async def told(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"message": self._notice(wanted)}

        return await self._answer(request, told)

    async def _answer(
        self, request: web.Request, act: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
    ) -> web.Response:
        try:
            wanted = json.loads(await request.text() or "{}")
            if not isinstance(wanted, dict):
                raise ValueError("a JSON object is wanted")
            answer = await act(wanted)
        except (ValueError, ShipperError) as problem:
            return web.json_response({"error": str(problem)}, status=400)
        return web.json_response(dict(answer))


@contextmanager
def short_socket_path(path: str) -> Iterator[str]:
    """A name for a unix socket that fits the kernel's 107 bytes, however deep the state directory lies."""
    if len(os.fsencode(path)) <= 100:
        yield path
        return
    directory = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{os.path.basename(path)}"
    finally:
        os.close(directory)


async def ask(socket: str, method: str, path: str, body: Mapping[str, Any] | None = None, timeout: float = 10.0) -> Any:
    """Ask a running sidecar; the answer is its JSON. Raises StateError when none runs on this socket."""
    if not os.path.exists(socket):
        raise StateError(f"no sidecar runs here: {socket} does not exist (is it another --state-dir?)")
    with short_socket_path(socket) as short:
        try:
            async with ClientSession(connector=UnixConnector(short), timeout=ClientTimeout(total=timeout)) as session:
                async with session.request(method, f"http://shipper{path}", json=body) as answer:
                    content = await answer.json()
        except TimeoutError as problem:
            raise StateError(f"the sidecar on {socket} gave no answer within {timeout:g} s") from problem
        except (ClientError, OSError, ValueError) as problem:  # ValueError: what claims to be JSON is not
            raise StateError(f"the sidecar on {socket} does not answer: {problem}") from problem
    if answer.status != 200:
        said = content.get("error", answer.status) if isinstance(content, dict) else answer.status
        raise StateError(f"the sidecar on {socket} refuses: {said}")
    return content
