"""Writes params/schema.json and docs/parameters.md from what checks the variant files: `python -m docs.parameters`.

Editors complete and check variant files by the schema: each file names it in its first line
(`# yaml-language-server: $schema=../schema.json`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bakeoff.params import DIRECTORY, explanations, options, rules

SCHEMA = DIRECTORY / "schema.json"
PAGE = Path(__file__).parent / "parameters.md"
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_HEAD = """# Parameters

Every parameter with its default, what it may be, and what it means: what `params/base.yaml` says, written by
`make parameters`. A variant's file sets those in which it differs; `--set name=value` sets one for a run. Names that
begin with `max_` are limits, which profiles set.
"""


def schema() -> dict[str, Any]:
    """What a variant file may hold, in JSON Schema's words (draft 7)."""
    base = _base()
    run = base.pop("run")
    comments = explanations()
    own = {name: _property(name, default, comments) for name, default in base.items()}
    of_run = {name: _property(name, default, comments) for name, default in run.items()}
    nested = {"type": "object", "properties": of_run, "additionalProperties": False}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A model variant of Bakeoff",
        "type": "object",
        "additionalProperties": False,
        "properties": {**own, "run": {"description": "What only the run needs; no notebook sees it.", **nested}},
    }


def page() -> str:
    """docs/parameters.md."""
    lines, comments = [_HEAD], explanations()
    for title, names in _sections().items():
        lines.append(f"## {title}\n\n| parameter | default | may be | what it means |\n|---|---|---|---|")
        lines += [
            f"| `{name}` | {_default(each)} | {_words(name, each)} | {comments[name].replace('|', '/')} |"
            for name, each in names.items()
        ]
        lines.append("")
    for title, kinds in _mappings().items():
        lines.append(f"## {title}\n\n| name | must be |\n|---|---|")
        lines += [f"| `{name}` | {kind.words} |" for name, kind in kinds.items()]
        lines.append("")
    return "\n".join(lines)


def text(content: Mapping[str, Any]) -> str:
    """A schema as its file has it."""
    return json.dumps(content, indent=1) + "\n"


def _base() -> dict[str, Any]:
    return dict(yaml.safe_load((DIRECTORY / "base.yaml").read_text(encoding="utf-8")))


def _sections() -> dict[str, dict[str, Any]]:
    """base.yaml's parts by the comments that head them."""
    base, found, title = _base(), dict[str, dict[str, Any]](), ""
    for line in (DIRECTORY / "base.yaml").read_text(encoding="utf-8").splitlines():
        name = line.partition(":")[0]
        if line.startswith("# ") and not line.startswith(("# Every", "# holds", "# The defaults")):
            title = line[2:]
        elif name in base:
            found.setdefault(title, {})[name] = base[name]
    run = found.popitem()[1]["run"]
    return {**found, "Under `run:`, what only the run needs": run}


def _property(name: str, default: Any, comments: Mapping[str, str]) -> dict[str, Any]:
    """One parameter's schema."""
    found: dict[str, Any] = {"description": comments.get(name, ""), "default": default}
    kind = "number" if default is None and name.endswith("_tflop") else _TYPES.get(type(default), "integer")
    found["type"] = [kind, "null"] if default is None else kind
    if kind in ("integer", "number"):
        low, high = rules.BOUNDS.get(name, (0, rules.LARGEST))
        found |= {"minimum": low, "maximum": high}
    if name in rules.CHOICES:
        found["enum"] = list(rules.CHOICES[name])
    if name == "trainer":
        found["enum"] = list(options.TRAINERS)
    if name in rules.PATTERNS:
        found["pattern"] = f"^({rules.PATTERNS[name][0]})$"
    if name == "builder":
        found["anyOf"] = [{"enum": sorted(options.builders())}, {"pattern": ":"}]
    known = {"augmentation": options.AUGMENTATION, "optimizer_options": _union(options.OPTIMIZER)}
    known["trainer_options"] = _union(options.TRAINERS)
    if name in known:
        found["properties"] = {key: dict(each.schema) for key, each in known[name].items()}
        found["additionalProperties"] = False
    return found


def _mappings() -> dict[str, Mapping[str, options.Kind]]:
    found = {"augmentation": options.AUGMENTATION}
    found |= {f"trainer_options of {name}": kinds for name, kinds in options.TRAINERS.items() if kinds}
    return found | {f"optimizer_options of {name}": kinds for name, kinds in options.OPTIMIZER.items()}


def _union(kinds: Mapping[str, Mapping[str, options.Kind]]) -> dict[str, options.Kind]:
    return {name: kind for each in kinds.values() for name, kind in each.items()}


def _default(value: Any) -> str:
    text = "null" if value is None else yaml.safe_dump([value], default_flow_style=True, width=10_000).strip()[1:-1]
    return f"`{text}`"


def _words(name: str, default: Any) -> str:
    """What a parameter may be, in words."""
    found = _property(name, default, {})
    if "enum" in found:
        return ", ".join(f"`{each}`" for each in found["enum"])
    if name in rules.PATTERNS:
        return rules.PATTERNS[name][1]
    kind = found["type"][0] if isinstance(found["type"], list) else found["type"]
    words = {"boolean": "true or false", "integer": "a whole number", "number": "a number", "string": "text"}
    text = words.get(kind, "a list" if kind == "array" else "a mapping")
    if name in rules.BOUNDS:
        low, high = rules.BOUNDS[name]
        text += f" from {low:g} to {high:g}"
    return f"{text}, or null" if default is None else text


def main() -> None:
    """Write both files."""
    SCHEMA.write_text(text(schema()), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
