"""Remote writes into Grafana Mimir itself, by 1.0 and by 2.0: what it has, and what it says of samples it does not take.

``MIMIR_BINARY`` names a Mimir (it builds from the Go module ``github.com/grafana/mimir``, package ``cmd/mimir``).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, ExporterContext, Request
from shipper.errors import Retryable, TooLarge, Unusable
from shipper_exporters.prometheus import PrometheusExporter, PrometheusSettings
from tests.e2e.kit import free_port, until
from tests.exporters.metrickit import LIFE, counter, gauge, payload, request

MIMIR = os.environ.get("MIMIR_BINARY", "")
pytestmark = [pytest.mark.peer, pytest.mark.skipif(not MIMIR, reason="MIMIR_BINARY names no Mimir")]
CLOCK = SystemClock()
SLOW, LATE, SMALL = "slow", "late", "small"
HOUR = 3_600_000


class Mimir:
    """A Mimir of several tenants, all parts in one process, with its data in a directory of its own."""

    def __init__(self, root: Path) -> None:
        port, memory = free_port(), {"kvstore": {"store": "inmemory"}, "instance_addr": "127.0.0.1"}
        self._api = f"http://127.0.0.1:{port}"
        self.write_url = f"{self._api}/api/v1/push"
        tenants: dict[str, dict[str, Any]] = {
            SLOW: {"ingestion_rate": 10, "ingestion_burst_size": 20},
            LATE: {"out_of_order_time_window": "2h"},
            SMALL: {"max_global_series_per_user": 5, "max_label_value_length": 100},
        }
        (root / "overrides.json").write_text(json.dumps({"overrides": tenants}))
        config = {
            "multitenancy_enabled": True,
            "usage_stats": {"enabled": False},
            "server": {
                "http_listen_address": "127.0.0.1",
                "http_listen_port": port,
                "grpc_listen_address": "127.0.0.1",
                "grpc_listen_port": free_port(),
                "log_level": "error",
            },
            "common": {"storage": {"backend": "filesystem"}},
            "blocks_storage": {
                "filesystem": {"dir": f"{root}/blocks"},
                "tsdb": {"dir": f"{root}/tsdb"},
                "bucket_store": {"sync_dir": f"{root}/sync"},
            },
            "ruler_storage": {"filesystem": {"dir": f"{root}/rules"}},
            "ruler": {"rule_path": f"{root}/rulings"},
            "alertmanager_storage": {"filesystem": {"dir": f"{root}/alertmanager"}},
            "alertmanager": {"data_dir": f"{root}/alerts"},
            "compactor": {"data_dir": f"{root}/compactor"},
            "memberlist": {"bind_addr": ["127.0.0.1"], "bind_port": free_port(), "advertise_addr": "127.0.0.1"},
            "ingester": {"ring": {**memory, "replication_factor": 1, "min_ready_duration": "0s", "final_sleep": "0s"}},
            "distributor": {"ring": memory},
            "frontend": {"address": "127.0.0.1"},
            "store_gateway": {"sharding_ring": {**memory, "replication_factor": 1}},
            "runtime_config": {"file": f"{root}/overrides.json"},
        }
        (root / "mimir.json").write_text(json.dumps(config))
        with open(root / "output", "wb") as output:
            self._process = subprocess.Popen(
                [MIMIR, f"-config.file={root}/mimir.json"], cwd=root, stdout=output, stderr=output
            )

    def ready(self) -> bool:
        """Whether it says that it takes and finds."""
        try:
            return bool(self._get("/ready", "any"))
        except OSError:
            return False

    def samples(self, tenant: str, selector: str) -> dict[str, list[tuple[float, float]]]:
        """Times and values of the last day, by the name of each series and its label ``n``."""
        asked = urllib.parse.urlencode({"query": f"{selector}[11h]", "time": time.time() + 1})
        answer = json.loads(self._get(f"/prometheus/api/v1/query?{asked}", tenant))
        return {
            f"{one['metric']['__name__']} {one['metric'].get('n', '')}".strip(): [
                (at, float(v)) for at, v in one["values"]
            ]
            for one in answer["data"]["result"]
        }

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _get(self, path: str, tenant: str) -> bytes:
        asked = urllib.request.Request(self._api + path, headers={"X-Scope-OrgID": tenant})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return bytes(answer.read())


@pytest.fixture(scope="module")
def mimir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mimir]:
    node = Mimir(tmp_path_factory.mktemp("mimir"))
    try:
        asyncio.run(until(node.ready, "Mimir is ready"))
        yield node
    finally:
        node.close()


@asynccontextmanager
async def exporting(mimir: Mimir, tenant: str, **settings: Any) -> AsyncIterator[PrometheusExporter]:
    made = PrometheusSettings(endpoint=mimir.write_url, headers={"X-Scope-OrgID": tenant}, **settings)
    exporter = PrometheusExporter("mimir", made, ExporterContext(CLOCK, LIFE, 1, "Shipper/test"))
    await exporter.start()
    try:
        yield exporter
    finally:
        await exporter.aclose()


def sent(mimir: Mimir, tenant: str, *requests: Request, **settings: Any) -> list[Accepted]:
    """What is answered to these, by one exporter."""

    async def run() -> list[Accepted]:
        async with exporting(mimir, tenant, **settings) as exporter:
            return [await exporter.send(exporter.prepare(one), Deadline.after(CLOCK, 60)) for one in requests]

    return asyncio.run(run())


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.mark.parametrize("protocol", ["1.0", "2.0"])
def test_every_sample_is_there_once(mimir: Mimir, protocol: str) -> None:
    """What is sent is there with its time and value; sent again, by a sidecar that does not know, it is still there once."""
    start, tenant = now_ms() - 300_000, f"whole-{protocol[0]}"
    pushes = [
        request(payload(*(counter("c", 10 * n + at, start + 1000 * at, n=str(n)) for n in range(50))))
        for at in range(20)
    ]
    assert sent(mimir, tenant, *pushes, protocol=protocol) == [Accepted()] * 20
    again = sent(mimir, tenant, pushes[-1], protocol=protocol)
    assert again == [Accepted()]
    found = mimir.samples(tenant, "c_total")
    assert found == {f"c_total {n}": [(start / 1000 + at, 10 * n + at) for at in range(20)] for n in range(50)}


@pytest.mark.parametrize("protocol", ["1.0", "2.0"])
def test_what_is_refused_is_counted_and_the_rest_is_there(mimir: Mimir, protocol: str) -> None:
    """Mimir takes the others of a request and names one that it refused; by 2.0 it says of all that it wrote them."""
    now, tenant = now_ms(), f"some-{protocol[0]}"
    first = request(payload(gauge("g", 1.0, now - 60_000, n="0")))
    refused = {
        "err-mimir-sample-duplicate-timestamp": gauge("g", 2.0, now - 60_000, n="0"),
        "err-mimir-sample-out-of-order": gauge("g", 2.0, now - 90_000, n="0"),
        "err-mimir-sample-timestamp-too-old": gauge("g", 2.0, now - 10 * HOUR, n="9"),
        "err-mimir-too-far-in-future": gauge("g", 2.0, now + HOUR, n="9"),
    }
    assert sent(mimir, tenant, first, protocol=protocol) == [Accepted()]
    for at, (why, bad) in enumerate(refused.items()):
        good = gauge("g", 3.0, now - 1000 * at, n=f"good {at}")
        (answer,) = sent(mimir, tenant, request(payload(bad, good)), protocol=protocol)
        assert (answer.rejected, why in answer.message or "timestamp" in answer.message) == (1, True)
    found = mimir.samples(tenant, "g")
    assert found == {
        "g 0": [(now / 1000 - 60, 1.0)],
        **{f"g good {at}": [(now / 1000 - at, 3.0)] for at in range(len(refused))},
    }


def test_late_samples_within_the_window(mimir: Mimir) -> None:
    """With ``out_of_order_time_window`` a tenant takes what comes late, up to it."""
    now = now_ms()
    pushes = [request(payload(gauge("g", float(at), now - at * HOUR))) for at in (0, 1, 3)]
    assert [answer.rejected for answer in sent(mimir, LATE, *pushes)] == [0, 0, 1]
    assert mimir.samples(LATE, "g") == {"g": [(now / 1000 - 3600, 1.0), (now / 1000, 0.0)]}


def test_limits_of_a_tenant(mimir: Mimir) -> None:
    """Too many series and too long labels cost themselves only; too much at once is cut, too much a second waits."""
    now = now_ms()
    many = request(payload(*(gauge("g", 1.0, now, n=str(n)) for n in range(9))))
    long = request(payload(gauge("g", 1.0, now + 5, n="x" * 200), gauge("g", 2.0, now + 5, n="0")))
    assert [answer.rejected for answer in sent(mimir, SMALL, many, long)] == [1, 1]
    found = mimir.samples(SMALL, "g")
    assert len(found) == 5
    assert [value for _, value in found["g 0"]] == [1.0, 2.0]
    with pytest.raises(TooLarge, match="burst size limit"):
        sent(mimir, SLOW, request(payload(*(gauge("g", 1.0, now, n=str(n)) for n in range(50)))))
    fit = [request(payload(*(gauge("g", 1.0, now + at, n=str(n)) for n in range(12)))) for at in range(2)]
    with pytest.raises(Retryable, match="ingestion rate limit") as caught:
        sent(mimir, SLOW, *fit)
    assert caught.value.wait
    with pytest.raises(Unusable, match="no org id"):
        sent(mimir, "", many)
