"""Lines with times of their own."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.otlp.encode import LineEncoder, log_attribute, resource, scope

LINES = st.lists(
    st.tuples(st.binary(max_size=300).map(bytes.hex), st.integers(0, 2**63), st.booleans()), min_size=1, max_size=300
)


@given(lines=LINES, all_timed=st.booleans())
def test_each_line_has_its_time(lines: list[tuple[str, int, bool]], all_timed: bool) -> None:
    """Times, those of some lines or of all, further fields beside them: each record has what belongs to it."""
    texts = [text.encode() for text, _, _ in lines]
    times = [max(time, 1) if all_timed else time for _, time, _ in lines]
    extra = {index: log_attribute("mark", index) for index, (_, _, marked) in enumerate(lines) if marked}
    payload = LineEncoder(resource({"a": "b"}), scope("s")).encode(texts, 7, extra, times)
    (resource_logs,) = ExportLogsServiceRequest.FromString(payload).resource_logs
    records = resource_logs.scope_logs[0].log_records
    assert [record.body.string_value.encode() for record in records] == texts
    assert [record.time_unix_nano for record in records] == times
    assert {record.observed_time_unix_nano for record in records} == {7}
    assert {i: r.attributes[0].value.int_value for i, r in enumerate(records) if r.attributes} == {i: i for i in extra}
