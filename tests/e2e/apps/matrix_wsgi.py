"""A WSGI application for the matrix."""

import shipper
from tests.e2e.apps import work


def app(environ, start_response):
    work.request(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


work.start()
if not work.STOCK:
    app = shipper.wsgi(app)
