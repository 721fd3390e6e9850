"""What is left out is left out for a reason, is counted, and is the same whenever it is asked again."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from shipper.handoff.frame import Frame
from shipper.shape.settings import Condition, ShapeSettings
from shipper.shape.shaping import PLAIN
from shipper.shape.understood import UnderstoodShape, make_shape
from shipper.sources.services.sampling import Sampling
from tests.shape.shapekit import OBSERVED, records, shaped

LINES = [
    b'{"level":"debug","http":{"path":"/healthz","status":200},"msg":"probe"}',
    b'{"level":"info","http":{"path":"/buy","status":200},"msg":"sold"}',
    b'{"level":"error","http":{"path":"/buy","status":500},"msg":"broken"}',
    b'{"msg":"no level","odd":[1,{"x":null}]}',
    b"plain WARN line",
]


def pattern(text: str) -> re.Pattern[bytes]:
    return re.compile(text.encode())


def left(**rules: Any) -> list[int]:
    """The indexes of the lines that are shipped."""
    made = records(ShapeSettings("auto", **rules), LINES)
    return [LINES.index(found.body.string_value.encode()) for found in made]


@pytest.mark.parametrize(
    ("condition", "held"),
    [
        (Condition(pattern("sold|WARN")), [1, 4]),
        (Condition(pattern("^/health"), field="http.path"), [0]),
        (Condition(pattern("^200$"), field="http.status"), [0, 1]),
        (Condition(pattern(r'^\[1, \{"x": null\}\]$'), field="odd"), [3]),
        (Condition(field="http.path"), [0, 1, 2]),
        (Condition(field="http"), []),
        (Condition(pattern("debug"), field="level"), [0]),
        (Condition(pattern("."), field="nope"), []),
        (Condition(at_least=13), [2, 4]),
        (Condition(below=13), [0, 1]),
        (Condition(at_least=9, below=17), [1, 4]),
        (Condition(pattern("/buy"), at_least=17), [2]),
        (Condition(pattern("/buy"), field="http.path", below=17), [1]),
        (Condition(), [0, 1, 2, 3, 4]),
    ],
)
def test_a_condition_holds_for_what_it_describes(condition: Condition, held: list[int]) -> None:
    """`drop` leaves out what it holds for, `keep` everything else; an unknown severity is within no border."""
    others = [index for index in range(len(LINES)) if index not in held]
    assert left(drop=(condition,)) == others
    assert left(keep=(condition,)) == held
    made = shaped(ShapeSettings("auto", keep=(condition,)), LINES)
    assert (made.records, made.filtered, made.sampled) == (len(held), len(others), 0)


def test_several_conditions_add_up() -> None:
    """One is enough to be left out, one is enough to be kept; what is both is left out."""
    assert left(drop=(Condition(pattern("sold")), Condition(pattern("probe")))) == [2, 3, 4]
    assert left(keep=(Condition(pattern("sold")), Condition(pattern("probe")))) == [0, 1]
    assert left(keep=(Condition(at_least=9),), drop=(Condition(pattern("sold")),)) == [2, 4]


def test_rules_work_on_plain_texts() -> None:
    """Nothing needs to be parsed for them, and severities are known where a rule asks for them."""
    made = records(ShapeSettings("plain", drop=(Condition(below=13),)), [b"INFO a", b"ERROR b", b"c"])
    assert [one.body.string_value for one in made] == ["ERROR b", "c"]
    made = records(ShapeSettings("plain", drop=(Condition(pattern("a$")),)), [b"INFO a", b"ERROR b"])
    assert [(one.body.string_value, one.severity_number) for one in made] == [("ERROR b", 0)]


def test_a_share_is_a_share_and_errors_are_kept() -> None:
    """About as many as asked for, the same ones each time; nothing of severity ERROR and worse is left to chance."""
    texts = [f"{i} INFO request {i * 7919}".encode() for i in range(4000)] + [
        f"{i} ERROR x".encode() for i in range(100)
    ]
    made = shaped(ShapeSettings("auto", sample=0.25), texts)
    assert made.filtered == 0
    assert 850 <= made.records - 100 <= 1150
    assert made.sampled == 4100 - made.records
    kept = {one.body.string_value for one in records(ShapeSettings("auto", sample=0.25), texts)}
    assert {text.decode() for text in texts[4000:]} <= kept
    assert kept == {
        one.body.string_value for text in texts for one in records(ShapeSettings("auto", sample=0.25), [text])
    }
    assert shaped(ShapeSettings("auto", sample=0.0), texts).records == 100


def test_the_logs_of_a_trace_stay_with_its_spans() -> None:
    """Of a share of the traces and the same share of the logs, the same traces are kept."""
    traces = [(i * 0x9E3779B97F4A7C15F39CC0605CEDC835 + 1) % (1 << 128) for i in range(1, 400)]
    frames = [Frame(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, trace & (1 << 64) - 1, b"") for trace in traces]
    spans = {frame.trace for frame in Sampling(keep=0.3).choose(frames)}
    texts = [json.dumps({"trace_id": f"{trace:032x}", "n": i}).encode() for trace in traces for i in range(2)]
    found = records(ShapeSettings("json", sample=0.3), texts)
    assert {int.from_bytes(one.trace_id[8:], "big") for one in found} == spans
    assert len(found) == 2 * len(spans)


def test_where_nothing_is_asked_for_nothing_is_done() -> None:
    """The shape of settings that say nothing is the plain one."""
    assert make_shape(ShapeSettings()) is PLAIN
    assert make_shape(ShapeSettings("plain", fields=None)) is not PLAIN


def test_a_chunk_of_which_nothing_is_left_has_no_payload() -> None:
    """All of it is counted."""
    made = UnderstoodShape(ShapeSettings("auto", drop=(Condition(),))).shape(b"", b"", LINES, OBSERVED)
    assert (made.payload, made.records, made.filtered) == (b"", 0, len(LINES))
