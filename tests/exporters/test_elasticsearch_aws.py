"""Requests to Amazon OpenSearch Service are signed; the signature is worked out anew here, as AWS describes it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import sys
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext
from shipper.errors import MissingExtra, Unusable
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.elasticsearch import ElasticsearchExporter, ElasticsearchSettings
from tests.exporters.fake_elastic import OPENSEARCH_2, Bulk, FakeElastic

KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1"


def signature(bulk: Bulk) -> str:
    """The ``Authorization`` that this request must have (Signature Version 4, IAM user guide)."""
    headers = {name.lower(): " ".join(value.split()) for name, value in bulk.headers.items()}
    names = parameters(headers["authorization"])["SignedHeaders"]
    path, _, query = bulk.url.partition("?")
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in parse_qsl(query))
    canonical = "\n".join(
        [
            "POST",
            quote(path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in pairs),
            *[f"{name}:{headers[name]}" for name in names.split(";")],
            "",
            names,
            hashlib.sha256(bulk.wire).hexdigest(),
        ]
    )
    now = headers["x-amz-date"]
    scope = f"{now[:8]}/{REGION}/es/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{SECRET}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signed = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={names}, Signature={signed}"


def parameters(authorization: str) -> Mapping[str, str]:
    return dict(part.strip().split("=", 1) for part in authorization.partition(" ")[2].split(","))


def exporter_of(url: str) -> ElasticsearchExporter:
    settings = ElasticsearchSettings(endpoint=url, aws_region=REGION, pipeline="my pipe/line")
    return ElasticsearchExporter("aws", settings, ExporterContext(FakeClock(), LIFE, 1, "Shipper/1.2"))


@pytest.mark.parametrize("token", ["", "session/token=="])
def test_signature(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """The signature covers host, path, query, time and body, and the session's token where there is one."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("ELASTIC_API_KEY", "not for AWS")
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    else:
        monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)

    async def scenario() -> None:
        async with FakeElastic(OPENSEARCH_2) as node:
            exporter = exporter_of(node.url)
            await exporter.start()
            try:
                prepared = exporter.prepare(log_request(log_batch(["one", "two"])))
                assert await exporter.send(prepared, Deadline.after(exporter._context.clock, 600)) == Accepted()
            finally:
                await exporter.aclose()
            (bulk,) = node.kept
            assert bulk.headers["Authorization"] == signature(bulk)
            assert bulk.headers.get("X-Amz-Security-Token", "") == token
            signed = parameters(bulk.headers["Authorization"])["SignedHeaders"].split(";")
            assert {"host", "x-amz-date"} <= set(signed)
            assert ("x-amz-security-token" in signed) is bool(token)
            assert bulk.query["pipeline"] == "my pipe/line"

    asyncio.run(scenario())


def test_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials everything is held, and it is said."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")

    async def scenario() -> None:
        async with FakeElastic(OPENSEARCH_2) as node:
            exporter = exporter_of(node.url)
            await exporter.start()
            try:
                prepared = exporter.prepare(log_request(log_batch(["one"])))
                with pytest.raises(Unusable, match="no AWS credentials"):
                    await exporter.send(prepared, Deadline.after(exporter._context.clock, 600))
                assert not node.seen
            finally:
                await exporter.aclose()

    asyncio.run(scenario())


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without botocore it is one sentence, with the option that wants it and the command that installs it."""
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    with pytest.raises(MissingExtra, match=r"^aws_region needs .*pip install 'ephemeral-shipper\[aws\]'"):
        exporter_of("https://domain.eu-central-1.es.amazonaws.com")
