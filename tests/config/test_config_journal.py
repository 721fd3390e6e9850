"""The settings of journals: one or several, and what cannot work is said with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.build_journal import journal_settings
from shipper.config import Config, load
from shipper.config.schema_sources import Journal
from shipper.errors import ConfigError


def loaded(tmp_path: Path, text: str, **env: str) -> Config:
    path = tmp_path / "shipper.yaml"
    path.write_text(text)
    return load(str(path), env=env, complete=False).config


def test_a_journal_may_be_given_alone_or_in_a_list(tmp_path: Path) -> None:
    """A mapping, an empty one, a directory, a list, and a variable all make journals."""
    assert loaded(tmp_path, "journal: {}\n").journal == [Journal()]
    assert loaded(tmp_path, "journal: {units: [web]}\n").journal == [Journal(units=["web"])]
    assert loaded(tmp_path, "journal: /host/journal\n").journal == [Journal(directory="/host/journal")]
    both = loaded(tmp_path, "journal: [{}, {name: app, namespace: app}]\n").journal
    assert both == [Journal(), Journal(name="app", namespace="app")]
    assert loaded(tmp_path, "", SHIPPER_JOURNAL="/host/journal").journal == [Journal(directory="/host/journal")]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[{}, {}]", "journal[1].name", "another journal is called 'journal'"),
        ("{name: a/b}", "journal[0].name", "must be letters"),
        ("{directory: var/log}", "journal[0].directory", "must be an absolute path"),
        ("{directory: /a, namespace: b}", "journal[0].namespace", "cannot stand beside directory"),
        ("{namespace: ../x}", "journal[0].namespace", "is no name of a namespace"),
        ("{files: ['']}", "journal[0].files[0]", "a glob must not be empty"),
        ("{max_message: 1k}", "journal[0].max_message", "at least 65536 bytes"),
        ("{fields: [all, ORDER]}", "journal[0].fields", "all stands alone"),
        ("{priority: 3}", "journal[0].priority", "expected one of emerg"),
        ("{unit: web}", "journal[0].unit", "did you mean 'units'?"),
        ("{shape: {parse: regex}}", "journal[0].shape.pattern", "is required"),
    ],
)
def test_what_cannot_work_is_said_with_its_place(tmp_path: Path, text: str, where: str, what: str) -> None:
    """Each mistake is one sentence behind the path of its setting."""
    with pytest.raises(ConfigError, match="journal") as caught:
        loaded(tmp_path, f"journal: {text}\n")
    assert where in str(caught.value)
    assert what in str(caught.value)


def test_settings_say_what_is_read(tmp_path: Path) -> None:
    """The present boot, this machine's directories, and the kernel's messages unless something is named."""
    boot = "01234567-89ab-cdef-0123-456789abcdef"
    plain = journal_settings(Journal(), 0, {"host.name": "h"}, boot)
    assert plain.choice.boot.hex() == boot.replace("-", "")
    assert plain.choice.kernel
    assert [path.rpartition("/")[0] for path in plain.directories] == ["/var/log/journal", "/run/log/journal"]
    assert plain.attributes == {"host.name": "h"}
    named = journal_settings(
        Journal(units=["web"], priority="warning", boot="all", namespace="x", fields=["all"]), 0, {}, boot
    )
    assert (named.choice.priority, named.choice.kernel, named.choice.boot) == (4, False, b"")
    assert named.directories[0].endswith(".x")
    assert named.fields is None
    assert named.each_boot
