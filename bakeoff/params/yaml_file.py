"""YAML with the place of every value: plain values alone, read as people mean them. Nothing else reads YAML."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bakeoff.errors import ParameterError, RequestError, one_line, shown
from bakeoff.params.rules import is_name

_DEEPEST = 20  # lists and mappings in each other; what the notebooks get must be short enough for Python's parser
# YAML 1.1 reads 1e-3 and 08 as text, 010 as 8 and 1:30 as 90; people mean numbers, and a text.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
_WHOLE = re.compile(r"[-+]?\d+")
_TEXT, _INT, _FLOAT = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float"))
_MOST_DIGITS = 4000  # Python reads no number of more
_COLLECTIONS = {"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_SCALARS = {"null", "bool", "int", "float", "str"}


@dataclass(frozen=True)
class Entry:
    """A value with the place it came from."""

    value: Any
    where: str


def read(path: Path) -> dict[str, Entry]:
    """The file's names, those under `run:` beside the others, each with its place."""
    place = _shown(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(
            f"{one_line(place)}: cannot be read ({error.strerror}); restore it from the repository"
        ) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ParameterError(
            f"{place}:{line}", "YAML", "is not written in UTF-8 here; save the file as UTF-8"
        ) from None
    node = _compose(text, place)
    entries: dict[str, Entry] = {}
    for name, (value, line) in _items(node, place).items():
        if name == "run":
            nested = _items(value, place)
            entries |= {key: Entry(_value(v, place), f"run {place}:{n}") for key, (v, n) in nested.items()}
        else:
            entries[name] = Entry(_value(value, place), f"{place}:{line}")
    return entries


def parse(text: str, place: str) -> Any:
    """The plain value that a text of YAML has; ParameterError, with the place, where it has none."""
    return _value(_compose(text, place), place)


def _shown(path: Path) -> str:
    return "/".join(path.parts[-3:] if path.parent.name in ("variants", "profiles") else path.parts[-2:])


def _compose(text: str, place: str) -> yaml.Node | None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_shape(yaml.parse(text, Loader=loader), place)
        return yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        number = error.problem_mark.line if error.problem_mark else 0
        line = f":{number + 1}" if error.problem_mark else ""
        if "\t" in "".join(text.splitlines()[number : number + 1]):
            raise ParameterError(f"{place}{line}", "YAML", "has a tab here; write spaces in its place") from None
        raise ParameterError(f"{place}{line}", "YAML", f"cannot be read here: {error.problem}") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise ParameterError(place, "YAML", f"cannot be read: {str(error).splitlines()[0]}") from None


def _check_shape(events: Iterable[yaml.Event], place: str) -> None:
    """Refuse aliases and deep nesting before they are followed: a few letters could fill the memory or the stack."""
    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise ParameterError(place, "*", "refers to another place in the file; write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            line = f":{event.start_mark.line + 1}" if event.start_mark else ""
            raise ParameterError(f"{place}{line}", "YAML", f"is nested more than {_DEEPEST} deep here")


def _items(node: yaml.Node | None, place: str) -> dict[str, tuple[yaml.Node, int]]:
    """A mapping node's names -> (value node, line). Refuses doubled names and names that are no identifiers."""
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        raise ParameterError(f"{place}:{node.start_mark.line + 1}", "YAML", "must be lines of `name: value` here")
    items: dict[str, tuple[yaml.Node, int]] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = key.value if isinstance(key, yaml.ScalarNode) else "?"
        if not is_name(name):
            raise ParameterError(f"{place}:{line}", name, "cannot be a name; use letters, digits and _")
        if name in items:
            raise ParameterError(f"{place}:{line}", name, f"stands here twice, first in line {items[name][1]}")
        items[name] = (value, line)
    return items


def _value(node: yaml.Node | None, place: str) -> Any:
    """A node's plain value: numbers, text, booleans, lists, mappings; no tags, no aliases of aliases."""
    if node is None:
        return None
    if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTIONS:
        raise ParameterError(f"{place}:{node.start_mark.line + 1}", node.tag, "is a tag; only plain values are allowed")
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, place) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {name: _value(value, place) for name, (value, _) in _items(node, place).items()}
    plain = not getattr(node, "style", None)  # not in quotes
    if plain and node.tag == _TEXT and _NUMBER.fullmatch(node.value):
        return float(node.value)
    if plain and node.tag in (_TEXT, _INT) and _WHOLE.fullmatch(node.value) and len(node.value) <= _MOST_DIGITS:
        return int(node.value)
    if plain and node.tag in (_INT, _FLOAT) and ":" in node.value:
        return node.value
    return _scalar(node, place)


def _scalar(node: yaml.Node, place: str) -> Any:
    kind = node.tag.removeprefix("tag:yaml.org,2002:")
    if kind not in _SCALARS:
        if kind == "timestamp":
            return node.value
        raise ParameterError(
            f"{place}:{node.start_mark.line + 1}", str(node.value), f"has the tag {shown(node.tag)}; not allowed"
        )
    try:
        return getattr(yaml.constructor.SafeConstructor(), f"construct_yaml_{kind}")(node)
    except (ValueError, LookupError):  # what it raises depends on the kind
        place = f"{place}:{node.start_mark.line + 1}"
        raise ParameterError(place, str(node.value), f"cannot be read as the kind {kind} that it has") from None
