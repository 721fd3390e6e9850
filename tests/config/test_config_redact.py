"""What `redact` may say, in the file and in the environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.build_destinations import shaping
from shipper.build_redact import make_redaction
from shipper.config import Config, load
from shipper.config.schema_shape import Redact
from shipper.errors import ConfigError
from shipper.shape.redact_patterns import KINDS


def read(tmp_path: Path, text: str, **env: str) -> Config:
    path = tmp_path / "shipper.yaml"
    path.write_text(text)
    return load(str(path), env=env, complete=False).config


def test_kinds_and_patterns_stand_in_one_list(tmp_path: Path) -> None:
    """A kind by its name alone, a pattern with the name that it is counted as."""
    config = read(tmp_path, "redact: [tokens, cards, {name: order-id, pattern: 'ORD-(\\d+)', group: 1}]\n")
    assert list(config.redact) == [
        Redact(kind="tokens"),
        Redact(kind="cards"),
        Redact(name="order-id", pattern=r"ORD-(\d+)", group=1),
    ]


def test_the_environment_names_kinds(tmp_path: Path) -> None:
    """Separated by commas or blanks."""
    config = read(tmp_path, "", SHIPPER_REDACT="tokens, email")
    assert [one.kind for one in config.redact] == ["tokens", "email"]


def test_every_kind_that_is_known_can_be_chosen(tmp_path: Path) -> None:
    """The list in the schema is that of the patterns."""
    assert [one.kind for one in read(tmp_path, f"redact: [{', '.join(KINDS)}]\n").redact] == list(KINDS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("redact: [passwd]", "expected one of tokens, keys, passwords"),
        ("redact: tokens", "expected a list"),
        ("redact: [{name: own}]", "redact[0]: give either a kind, or a name and a pattern"),
        ("redact: [{kind: cards, pattern: x, name: own}]", "redact[0]: give either a kind, or a name and a pattern"),
        ("redact: [{kind: cards, group: 1}]", "redact[0]: cards is known by itself"),
        ("redact: [{pattern: x}]", "redact[0].name: a pattern needs a name"),
        ("redact: [{pattern: x, name: 'My Own'}]", "redact[0].name: a pattern needs a name"),
        ("redact: [{pattern: x, name: own, group: -1}]", "redact[0].group"),
        ("redact: [cards, cards]", "redact[1]: cards stands there twice"),
    ],
)
def test_what_cannot_work_is_named_by_its_place(tmp_path: Path, text: str, problem: str) -> None:
    """With what to write instead."""
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text)
    assert problem in str(raised.value)


def test_what_is_masked_belongs_to_what_decides_about_bytes() -> None:
    """Another redaction is another hash; without one the hash is what it was before there was any."""
    hashes = [
        shaping(Config()),
        shaping(Config(redact=[Redact(kind="cards")])),
        shaping(Config(redact=[Redact(kind="email")])),
        shaping(Config(redact=[Redact(name="own", pattern="a")])),
    ]
    assert len(set(hashes)) == 4
    assert shaping(Config(redact=[])) == hashes[0]


def test_all_who_want_the_same_share_it() -> None:
    """A node agent has a life for each pod, and one set of patterns for all of them."""
    wanted = [Redact(kind="cards"), Redact(name="own", pattern="a")]
    assert make_redaction(wanted) is make_redaction(list(wanted))
    assert make_redaction(wanted) is not make_redaction(wanted[:1])
