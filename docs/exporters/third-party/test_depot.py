"""The depot exporter passes the suite that every exporter has to pass."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web
from depot_exporter import DepotExporter, DepotSettings

from shipper.testing.contract import Destination, ExporterContract, Fault, Held

STATUS = {Fault.BUSY: 429, Fault.MISCONFIGURED: 401, Fault.STRANGER: 200, Fault.TOO_LARGE: 413, Fault.REFUSING: 422}


class Depot(Destination):
    """A depot on a real socket; a fault decides what it does with the next batches."""

    def __init__(self, port):
        self.port, self.fault, self.batches, self.open = port, None, [], asyncio.Event()

    def exporter(self, context):
        return DepotExporter("depot", DepotSettings(endpoint=f"http://127.0.0.1:{self.port}"), context)

    async def healthy(self):
        self.fault = None
        self.open.set()

    async def failing(self, fault):
        self.fault = fault
        self.open.clear()

    async def stored(self):
        return [Held(name, tuple(line["text"] for line in lines)) for name, lines in self.batches]

    async def put(self, request):
        name, body = request.match_info["id"], await request.read()
        if self.fault is Fault.STUCK:
            await self.open.wait()
        if self.fault is Fault.BROKEN:
            request.transport.abort()
        elif self.fault in STATUS:
            return web.Response(status=STATUS[self.fault], text="no", headers={"Retry-After": "7"})
        if self.fault is not Fault.LYING:
            self.batches.append((name, msgspec.json.decode(body)))
        if self.fault is Fault.SLOW:
            await self.open.wait()
        return web.Response(status=201, text="stored")


class TestDepot(ExporterContract):
    """The suite, against a real socket."""

    faults = ExporterContract.faults - {Fault.DOWN}  # this depot cannot be taken off its port

    @asynccontextmanager
    async def destination(self, clock):
        app = web.Application(client_max_size=8 << 20)
        runner = web.AppRunner(app, shutdown_timeout=0)
        depot = Depot(0)
        app.router.add_put("/batches/{id}", depot.put)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        depot.port = runner.addresses[0][1]
        try:
            yield depot
        finally:
            depot.open.set()
            await runner.cleanup()
