"""Snapshots of metrics that are too large for one request are cut, at metrics or at data points, and nothing is left out."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.sdk.ways.metric_pieces import MOST_BYTES, pieces


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 60), min_size=1, max_size=12), most=st.integers(1, 4000))
def test_pieces_hold_every_data_point_once_in_its_metric(sizes: list[int], most: int) -> None:
    """Whatever the bound: no piece is larger, unless it is a single data point; resource, scope, unit and kind stay."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add(schema_url="r")
    resource.resource.attributes.add(key="k").value.string_value = "v"
    scope = resource.scope_metrics.add(schema_url="s")
    scope.scope.name = "lib"
    for number, size in enumerate(sizes):
        metric = scope.metrics.add(name=f"m{number}", unit="By")
        metric.sum.is_monotonic = True
        for value in range(size):
            metric.sum.data_points.add(as_int=value)
    found: list[tuple[str, int]] = []
    for piece in pieces(request, most):
        (one,) = piece.resource_metrics
        (two,) = one.scope_metrics
        assert (one.schema_url, two.schema_url, two.scope.name) == ("r", "s", "lib")
        assert one.resource == resource.resource
        assert all(metric.unit == "By" and metric.sum.is_monotonic for metric in two.metrics)
        assert piece.ByteSize() <= most or sum(len(metric.sum.data_points) or 1 for metric in two.metrics) == 1
        found += [(metric.name, point.as_int) for metric in two.metrics for point in metric.sum.data_points]
    assert found == [(f"m{number}", value) for number, size in enumerate(sizes) for value in range(size)]


def test_an_ordinary_snapshot_is_one_piece() -> None:
    """What fits is handed over as it is."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    request = ExportMetricsServiceRequest()
    assert [piece is request for piece in pieces(request, MOST_BYTES)] == [True]
