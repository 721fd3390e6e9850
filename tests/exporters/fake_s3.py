"""A bucket service on loopback that speaks as much S3 as archives need: put, also on a condition, get, list; misbehaves on demand."""

from __future__ import annotations

import asyncio
import zlib
from xml.sax.saxutils import escape

from aiohttp import web

from shipper.testing.contract import Fault
from shipper.testing.http_server import HttpServer

BUCKET = "logs"
STATUS = {Fault.MISCONFIGURED: 403, Fault.TOO_LARGE: 413}


class FakeS3(HttpServer):
    """``objects`` maps keys to bytes. ``fault`` is what goes wrong from now on."""

    unpacks = True

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.headers: dict[
            str, dict[str, str]
        ] = {}  # of the latest put of each key, or of the request that began its parts
        self.parts: dict[str, dict[int, bytes]] = {}  # of uploads under way, by id
        self.most_parts = 0  # that an upload had
        self.fault: Fault | None = None
        self.status = 0  # answer with this status
        self._gone_on = asyncio.Event()

    @property
    def options(self) -> dict[str, str]:
        """For an archive's ``options``."""
        return {
            "endpoint": self.url,
            "access_key_id": "key",
            "secret_access_key": "secret",
            "region": "nowhere-1",
        }

    async def go_down(self) -> None:
        """See `HttpServer.go_down`; what is held goes on before."""
        self.mend()
        await super().go_down()

    def mend(self) -> None:
        """No fault any more; what was held goes on."""
        self.fault, self.status = None, 0
        self._gone_on.set()
        self._gone_on = asyncio.Event()

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()  # of any size
        fault = self.fault
        if self.status or fault in STATUS:
            return web.Response(status=self.status or STATUS[fault], text="<Error><Code>No</Code></Error>")
        if fault is Fault.BROKEN and request.transport is not None:
            request.transport.abort()
        if fault in (Fault.STUCK, Fault.SLOW):
            await self._gone_on.wait()
        if fault is Fault.STUCK:
            return web.Response(status=503)
        if fault is Fault.STRANGER:
            return web.Response(text="<html>Sign in</html>", content_type="text/html")
        key = request.path.removeprefix(f"/{BUCKET}").lstrip("/")
        if "uploads" in request.query or "uploadId" in request.query:
            return self._in_parts(request, key, body)
        if request.method == "PUT":
            self.headers[key] = {name.lower(): value for name, value in request.headers.items()}
            there = _tag(self.objects[key]) if key in self.objects else ""
            match, none_match = request.headers.get("If-Match", ""), request.headers.get("If-None-Match", "")
            if (match and match != there) or (none_match and there):
                return web.Response(status=412, text="<Error><Code>PreconditionFailed</Code></Error>")
            if fault is not Fault.LYING:
                self.objects[key] = body
                self.puts.append(key)
            return web.Response(headers={"ETag": _tag(body)})
        return self._list(request.query.get("prefix", "")) if not key else self._get(key)

    def _in_parts(self, request: web.BaseRequest, key: str, body: bytes) -> web.Response:
        """CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload."""
        if "uploads" in request.query:
            self.headers[key] = {name.lower(): value for name, value in request.headers.items()}
            self.parts[name := f"upload-{len(self.parts)}"] = {}
            return web.Response(
                text=f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
            )
        upload = request.query["uploadId"]
        if request.method == "PUT":
            self.parts[upload][int(request.query["partNumber"])] = body
            return web.Response(headers={"ETag": _tag(body)})
        parts = self.parts.pop(upload)
        self.most_parts = max(self.most_parts, len(parts))
        if request.method == "DELETE":
            return web.Response(status=204)
        self.objects[key] = b"".join(parts[number] for number in sorted(parts))
        self.puts.append(key)
        tag = _tag(self.objects[key])
        return web.Response(text=f"<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>")

    def _get(self, key: str) -> web.Response:
        if key not in self.objects:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        stamp = {"Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT", "ETag": _tag(self.objects[key])}
        return web.Response(body=self.objects[key], headers=stamp)

    def _list(self, prefix: str) -> web.Response:
        stamp = "<LastModified>2023-11-14T22:13:20.000Z</LastModified><ETag>x</ETag>"
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key>{stamp}<Size>{len(data)}</Size></Contents>"
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return web.Response(text=f"<ListBucketResult><Name>{BUCKET}</Name>{found}</ListBucketResult>")


def _tag(data: bytes) -> str:
    return f'"{zlib.crc32(data):08x}"'
