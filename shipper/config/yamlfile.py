"""Reading the YAML file: every way in which it can be unfit is one sentence, with line and column where there is one.

The document is read as a node graph, not straight into data, for two reasons: the graph knows on which line each value
stands (for `shipper config show`), and it shows a key given twice, of which YAML would silently keep the last.
"""

from __future__ import annotations

import os
import stat
from typing import Any

import yaml

from shipper.config.convert import Path, dotted
from shipper.config.layers import Document
from shipper.errors import ConfigError

MAX_BYTES = 1 << 20
MAX_NODES = 50_000  # also what aliases may blow the document up to
MAX_DEPTH = 32


def read_document(path: str) -> Document:
    """Read a configuration file. Raises `ConfigError` for whatever is wrong with it as a file or as YAML."""
    text = _read_text(path)
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return Document(path)
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(path, "must hold a mapping of settings, such as 'files:', at its top level")
        document = Document(path)
        document.data = _Builder(loader, document).mapping(root, (), 0)
        return document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
        raise ConfigError(place, f"not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:  # characters YAML does not allow
        raise ConfigError(path, f"not valid YAML: {' '.join(str(error).split())}") from error
    except (ValueError, OverflowError) as error:  # e.g. 2024-99-99, which looks like a date and is none
        raise ConfigError(path, f"not valid YAML: {error}") from error


def _read_text(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not block us
    except FileNotFoundError:
        raise ConfigError(path, "no such file") from None
    except OSError as error:
        raise ConfigError(path, f"cannot be read: {error.strerror}") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise ConfigError(path, "is a directory" if stat.S_ISDIR(mode) else "is not a regular file")
    with open(descriptor, "rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ConfigError(path, f"is larger than {MAX_BYTES >> 20} MiB, which no configuration is")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}", "is not UTF-8 text") from error


class _Builder:
    """Turns nodes into data, noting lines, refusing doubled keys and endless aliases."""

    def __init__(self, loader: yaml.SafeLoader, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._nodes = 0

    def _value(self, node: yaml.Node, path: Path, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ConfigError(
                f"{self._document.name}: {dotted(path)}", "is nested too deep or repeats itself too often"
            )
        if path:
            self._document.lines[path] = node.start_mark.line + 1
        if not isinstance(node, yaml.ScalarNode) and not node.tag.startswith(
            ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
        ):
            place = f"{self._document.name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
            raise ConfigError(place, f"the tag {node.tag} means nothing here")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        return self._loader.construct_object(node)

    def mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        """A mapping node as a dict with text keys."""
        own = [(key, value) for key, value in node.value if key.tag != "tag:yaml.org,2002:merge"]
        self._refuse_doubles(own, path)
        if len(own) < len(node.value):
            self._loader.flatten_mapping(node)
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:  # merged keys come first, own ones override them
            key = self._key(key_node, path)
            data[key] = self._value(value_node, (*path, key), depth + 1)
        return data

    def _refuse_doubles(self, pairs: list[tuple[yaml.Node, yaml.Node]], path: Path) -> None:
        seen: set[str] = set()
        for key_node, _ in pairs:
            key = self._key(key_node, path)
            if key in seen:
                place = f"{self._document.name}: {dotted((*path, key))}"
                raise ConfigError(place, f"is given twice, again on line {key_node.start_mark.line + 1}")
            seen.add(key)

    def _key(self, node: yaml.Node, path: Path) -> str:
        if not isinstance(node, yaml.ScalarNode):
            place = f"{self._document.name}:{node.start_mark.line + 1}"
            raise ConfigError(place, "a key must be plain text")
        return str(node.value)
