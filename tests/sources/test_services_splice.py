"""Batches are what the protobuf library would make of the same records; sampling and halving only choose among them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.contracts import Signal
from shipper.handoff.frame import ERROR, Frame, Kind
from shipper.otlp.decode import records
from shipper.sources.services.merging import Merging
from shipper.sources.services.place import Place
from shipper.sources.services.process import Process
from shipper.sources.services.sampling import Sampling
from shipper.sources.services.stream import ServiceStream
from tests.sources.services_kit import HOST, LIFE, Service, attributes


def stream_of(service: Service, signal: Signal, sampling: Sampling | None = None) -> ServiceStream:
    """A stream over what the service wrote so far."""
    place = Place.at(str(service.directory.parent), service.directory.name)
    process = Process(place, "owner", Merging(HOST), lambda kind, message: None, lambda process, series: None)
    process.look(0.0)
    return ServiceStream(
        "s", "s", process.series[signal], life=LIFE, sampling=sampling or Sampling(), moved=lambda s: None
    )


def frame(trace: int, *, error: bool = False, duration_ns: int = 1) -> Frame:
    return Frame(0, 0, Kind.SPAN, ERROR if error else 0, 0, 0, 0, 0, 0, 0, 1, duration_ns, trace, b"")


@settings(max_examples=25, deadline=None)
@given(
    made=st.lists(st.tuples(st.integers(1, 3), st.text(max_size=300)), min_size=1, max_size=40),
    limit=st.integers(100, 5000),
)
def test_a_stream_cut_anyhow_holds_each_record_once_under_its_resource(made: list[tuple[int, str]], limit: int) -> None:
    """Whatever the limit: batches follow each other without a gap, are the same when read again, and hold every record."""
    with TemporaryDirectory() as directory:
        service = Service(Path(directory), lives=False)
        for resource, body in made:
            service.log(body, resource=resource)
        stream = stream_of(service, Signal.LOGS)
        at, found = 0, []
        while (batch := stream.cut(at, at, limit, 7)) is not None:
            assert batch.cut.start == at
            assert stream.reread(batch.cut) == batch
            message = ExportLogsServiceRequest.FromString(batch.payload)
            for resource in message.resource_logs:
                keys = [attribute.key for attribute in resource.resource.attributes]
                assert len(keys) == len(set(keys))
            here = [str(record.body) for record in records(Signal.LOGS, batch.payload)]
            assert len(here) == batch.cut.records
            halves = stream.halve(batch.cut)
            assert (halves is None) == (batch.cut.records < 2)
            if halves is not None:
                first, second = halves
                assert (first.start, first.end, second.end) == (batch.cut.start, second.start, batch.cut.end)
                assert first.records + second.records == batch.cut.records
                both = [str(r.body) for half in halves for r in records(Signal.LOGS, stream.reread(half).payload)]
                assert sorted(both) == sorted(here)
            found += here
            at = batch.cut.end
        assert at == stream.frontier()
        assert sorted(found) == sorted(body for _, body in made)


def test_merging_leaves_what_the_service_stated_and_fills_in_the_rest() -> None:
    """Each key once; ours always ours; a host that knows no service name does not take a guessed one away."""
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    def merged(host: dict[str, str], stated: bytes, guessed: bytes) -> dict[str, str]:
        message = Resource.FromString(Merging(host).merge(stated, guessed, "alice"))
        assert len({attribute.key for attribute in message.attributes}) == len(message.attributes)
        return {attribute.key: attribute.value.string_value for attribute in message.attributes}

    host = {"service.name": "unknown_service", "service.version": "2", "shipper.life.id": "life"}
    stated = attributes(service_version="1", process_owner="root", shipper_life_id="other")
    assert merged(host, stated, attributes(service_name="guess", service_version="3")) == {
        "service.version": "1",
        "service.name": "guess",
        "shipper.life.id": "life",
        "process.owner": "alice",
    }
    assert merged(host, b"", b"")["service.name"] == "unknown_service"
    assert merged({**host, "service.name": "shop"}, b"", attributes(service_name="guess"))["service.name"] == "shop"


def test_sampling_keeps_whole_traces_with_an_error_or_a_slow_span() -> None:
    """Of the others the wanted share, the same ones whatever batch they are in."""
    frames = [frame(1), frame(2, error=True), frame(3), frame(2), frame(3, duration_ns=2_000_000_000), frame(1)]
    assert [f.trace for f in Sampling(0.0, 1_000_000_000).choose(frames)] == [2, 3, 2, 3]
    assert [f.trace for f in Sampling(0.0, 0).choose(frames)] == [2, 2]
    assert Sampling(1.0, 0).choose(frames) is frames
    many = [frame(trace * 0x1_0000_0001) for trace in range(1, 4001)]
    kept = Sampling(0.25, 0).choose(many)
    assert 850 < len(kept) < 1150
    assert [f for f in many[:100] if f in kept] == list(Sampling(0.25, 0).choose(many[:100]))


def test_what_a_service_sampled_by_trace_id_is_sampled_independently() -> None:
    """A service that keeps the lowest tenth of all trace ids does not have all or none of that kept here."""
    lowest = [frame(number * ((1 << 64) // 20_000)) for number in range(1, 2001)]
    assert 800 < len(Sampling(0.5, 0).choose(lowest)) < 1200
