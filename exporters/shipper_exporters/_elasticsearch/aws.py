"""Requests signed for Amazon OpenSearch Service (Signature Version 4); the only file of the exporter that knows botocore.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html . Credentials come from where every AWS tool
has them from: environment, profile, role of the instance, task or pod; botocore renews them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from yarl import URL

from shipper.errors import MissingExtra, Unusable
from shipper_exporters._http.exchange import excerpt

_SERVICE = "es"


class Signer:
    """Signs for one region. Raises `MissingExtra` without botocore."""

    def __init__(self, region: str) -> None:
        try:
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.exceptions import BotoCoreError
            from botocore.session import Session
        except ImportError:
            raise MissingExtra("aws_region", "aws") from None
        self._auth, self._request, self._error = SigV4Auth, AWSRequest, BotoCoreError
        self._region = region
        self._session = Session()
        self._lock = threading.Lock()  # a session is not made for several threads
        self._credentials: Any = None

    async def sign(self, method: str, url: URL, headers: Mapping[str, str], data: bytes) -> dict[str, str]:
        """The headers with the signature. Raises `Unusable` when there are no credentials."""
        # In a thread: credentials may have to be asked for over the network, and the body is hashed.
        return await asyncio.to_thread(self._sign, method, str(url), dict(headers), data)

    def _sign(self, method: str, url: str, headers: dict[str, str], data: bytes) -> dict[str, str]:
        try:
            with self._lock:
                self._credentials = self._credentials or self._session.get_credentials()
                if self._credentials is None:
                    raise Unusable("no AWS credentials were found to sign requests with")
                frozen = self._credentials.get_frozen_credentials()
            request = self._request(method, url, headers, data)
            self._auth(frozen, _SERVICE, self._region).add_auth(request)
        except self._error as error:
            raise Unusable(f"requests cannot be signed for AWS: {excerpt(str(error))}") from None
        return dict(request.headers.items())


def strict(url: URL) -> URL:
    """The same URL with all of its query encoded, as the receiver encodes it anew to check the signature."""
    pairs = sorted(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in url.query.items())
    return URL(f"{url.with_query(None)}?{'&'.join(pairs)}" if pairs else str(url), encoded=True)
