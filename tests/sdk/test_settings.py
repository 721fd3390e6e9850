"""Settings of `shipper.init` and the choice of the hand-off, without a process."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from shipper.sdk.settings import Settings, resolve
from shipper.sdk.ways.handoff_choice import choose
from shipper.sdk.ways.otlp_exporters import Exporters
from shipper.sdk.zero.post_instrument import meant
from tests.sdk.initkit import spool

OTLP = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://collector:4318/v1/logs"}


@pytest.mark.parametrize(
    ("arguments", "env", "handoff"),
    [
        ({}, {}, "auto"),
        ({"handoff": "auto"}, {"SHIPPER_HANDOFF": "Forward "}, "forward"),
        ({"handoff": "otlp"}, {"SHIPPER_HANDOFF": "spool"}, "otlp"),
        ({"handoff": "otlp"}, {"SHIPPER_HANDOFF": "off"}, "off"),
        ({}, {"SHIPPER_HANDOFF": "pigeon"}, "auto"),
    ],
)
def test_arguments_are_stronger_than_variables_but_off_is_off(
    arguments: dict[str, Any], env: dict[str, str], handoff: str
) -> None:
    """``auto`` in code leaves the choice to who runs the service, and only they can silence it altogether."""
    assert resolve(arguments, env)[0].handoff == handoff


@pytest.mark.parametrize(
    ("given", "level"),
    [("warning", logging.WARNING), (35, 35), ("17", 17), (None, logging.NOTSET), (True, 0), ("loud", 0), (-1, 0)],
)
def test_levels_by_name_or_number(given: object, level: int) -> None:
    """Names and numbers of `logging` are understood; anything else is said and every record is taken."""
    settings, problems = resolve({"level": given}, {})
    assert settings.level == level
    assert len(problems) == (given in (True, "loud", -1))


def test_a_value_that_cannot_even_be_shown_is_survived() -> None:
    """A setting whose ``repr`` raises is left out like any other wrong one."""

    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    _, problems = resolve({"service": Odd(), "attributes": [Odd()], "redact": 3}, {})
    assert len(problems) == 3


def test_settings_say_where_they_differ() -> None:
    """A second call names the settings that it would have had differently, stated labels included."""
    first, _ = resolve({"service": "a", "level": "INFO", "attributes": {"x": 1}}, {})
    second, _ = resolve({"service": "b", "level": "INFO", "attributes": {"x": 2}, "logs": "off"}, {})
    assert first.differences(second) == ["service", "attributes", "logs"]
    assert first.differences(first) == []


@pytest.mark.parametrize(
    ("handoff", "there", "env", "kind", "waiting"),
    [
        ("auto", True, {}, "spool", False),
        ("auto", True, OTLP, "spool", False),
        ("auto", False, OTLP, "otlp", False),
        ("auto", False, {}, "spool", True),
        ("spool", False, OTLP, "spool", True),
        ("otlp", True, {}, "otlp", False),
        ("forward", True, OTLP, "forward", False),
        ("off", True, OTLP, "off", False),
        ("spool", True, {"OTEL_SDK_DISABLED": "true"}, "off", False),
    ],
)
def test_the_choice_of_the_handoff(
    tmp_path: Path, handoff: str, there: bool, env: dict[str, str], kind: str, waiting: bool
) -> None:
    """Spool where there is one, else OTLP where somebody said where to, else waiting for a spool; never a guessed address."""
    root = str(spool(tmp_path)) if there else str(tmp_path / "nothing")
    choice = choose(Settings(handoff=handoff), {"SHIPPER_SPOOL_DIR": root, **env})
    assert (choice.kind, choice.waiting) == (kind, waiting)
    assert choice.why


def test_the_hook_acts_only_where_it_was_meant(tmp_path: Path) -> None:
    """A variable of ours means it; so does a spool that is there, unless an endpoint, a file or the SDK's switch says else."""
    state = tmp_path / "state"
    state.mkdir()
    root = str(spool(state))
    there = {"SHIPPER_STATE_DIR": str(state)}
    assert meant(there)
    assert not meant({"SHIPPER_STATE_DIR": str(tmp_path / "other")})
    assert not meant({**there, **OTLP})
    assert not meant({**there, "OTEL_CONFIG_FILE": "otel.yaml"})
    assert meant({"SHIPPER_SPOOL_DIR": root, **OTLP})
    assert meant({"SHIPPER_HANDOFF": "otlp", "OTEL_CONFIG_FILE": "otel.yaml"})
    assert not meant({"SHIPPER_SPOOL_DIR": root, "SHIPPER_HANDOFF": "off"})
    assert not meant({"SHIPPER_SPOOL_DIR": root, "OTEL_SDK_DISABLED": "true"})


def test_the_protocol_of_a_signal() -> None:
    """Its own variable, the common one, else HTTP; what Shipper cannot send is said and HTTP is used."""
    assert Exporters("", {}).protocol("traces") == "http/protobuf"
    both = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf"}
    assert Exporters("", both).protocol("traces") == "grpc"
    assert Exporters("", both).protocol("logs") == "http/protobuf"
    assert Exporters("", {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}).protocol("traces") == "http/protobuf"
