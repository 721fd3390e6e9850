"""Which source of a generation wins: the strongest that has one, whatever else is there; and it is remembered which."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.labels.detect import detect
from shipper.labels.identity import Identity

DIGEST = "sha256:" + "cd" * 32
HASH = "5d59d67564"

# (name, variables, file, text, the generation it gives); strongest first
Source = tuple[str, dict[str, str], str, str, str]
STATED: list[Source] = [
    ("SHIPPER_LABELS_GENERATION", {"SHIPPER_LABELS_GENERATION": "g0"}, "", "", "g0"),
    ("SHIPPER_GENERATION", {"SHIPPER_GENERATION": "g1"}, "", "", "g1"),
    ("SHIPPER_DEPLOY_ID", {"SHIPPER_DEPLOY_ID": "g2"}, "", "", "g2"),
    (
        "OTEL_RESOURCE_ATTRIBUTES shipper.generation",
        {"OTEL_RESOURCE_ATTRIBUTES": "shipper.generation=g3"},
        "",
        "",
        "g3",
    ),
]
POD: list[Source] = [
    (
        "annotation shipper.generation",
        {},
        "/etc/podinfo/annotations",
        'resource.opentelemetry.io/shipper.generation="g4"',
        "g4",
    ),
    ("K_REVISION", {"K_REVISION": "shop-7"}, "", "", "shop-7"),
    ("pod label pod-template-hash", {}, "/etc/podinfo/labels", 'pod-template-hash="9"', "9"),
    ("pod name (its template's hash)", {"POD_NAME": f"shop-{HASH}-x2x9z"}, "", "", HASH),
]
TASK: list[Source] = [
    ("nomad meta SHIPPER_GENERATION", {"NOMAD_META_SHIPPER_GENERATION": "n"}, "", "", "n"),
]
DERIVED: list[Source] = [
    ("image digest", {"SHIPPER_IMAGE": f"shop@{DIGEST}"}, "", "", DIGEST),
    ("os-release IMAGE_VERSION", {}, "/etc/os-release", "IMAGE_ID=web\nIMAGE_VERSION=2026.11", "2026.11"),
    ("release", {}, "/etc/shipper/release.json", '{"release": "1.4"}', "1.4"),
]


def _with(sources: list[Source], env: dict[str, str]) -> Identity:
    with tempfile.TemporaryDirectory() as root:
        for _, variables, name, text, _ in sources:
            env.update(variables)
            if name:
                path = Path(root) / name.lstrip("/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        return detect(None, env, root)


@pytest.mark.parametrize(
    ("ladder", "around"),
    [
        ([*STATED, *POD, DERIVED[0], DERIVED[2]], {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}),
        ([*STATED, *TASK, *DERIVED], {"NOMAD_ALLOC_ID": "a1"}),
        ([*STATED, *DERIVED], {}),
    ],
)
def test_the_strongest_source_wins_and_is_remembered(ladder: list[Source], around: dict[str, str]) -> None:
    """Explicit, then the platform, then digest, image version, release: for every set of sources, on every kind of host."""

    @settings(max_examples=40, deadline=None)
    @given(st.sets(st.integers(0, len(ladder) - 1)))
    def check(chosen: set[int]) -> None:
        label = _with([ladder[index] for index in chosen], dict(around)).generation
        if not chosen:
            assert (label.value, label.origin) == ("", "not found")
            return
        place, _, _, _, value = ladder[min(chosen)]
        assert (label.value, label.origin) == (value, place)
        tried = {(one.place, one.value) for one in label.tried}
        assert {(ladder[index][0], ladder[index][4]) for index in chosen} <= tried

    check()


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=200))
def test_whatever_a_platform_says_is_an_identity(name: str, value: str, file: str) -> None:
    """Nonsense in variables and files of the downward API neither raises nor becomes more than text."""
    env = {"KUBERNETES_SERVICE_HOST": "1", "POD_NAME": value, "FLY_IMAGE_REF": value, "FLY_MACHINE_ID": name}
    source: Source = ("", env, "/etc/podinfo/labels", f"{file}\n{name}={value}", "")
    try:
        identity = _with([source], {})
    except UnicodeEncodeError:  # not a name or text that a file could hold
        return
    assert all(isinstance(label.value, str) for label in identity.all())
    assert Identity.restore(identity.dump()).values() == identity.values()
