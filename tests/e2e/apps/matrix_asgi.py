"""An ASGI application for the matrix."""

import shipper
from tests.e2e.apps import work


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError
    work.request(scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


work.start()
if not work.STOCK:
    app = shipper.asgi(app)
