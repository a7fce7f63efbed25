"""`--new NAME --like VARIANT`: a variant of one's own, begun as a copy of another: its network and its file."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from bakeoff.errors import RequestError, nearest, shown
from bakeoff.params import (
    DIRECTORY,
    explanations,
    load_parameters,
    options,
    own_network,
    own_values,
    rules,
    variant_names,
)
from bakeoff.plan.code_digests import PROJECT
from bakeoff.plan.python_source import names

_OF_THE_SOURCE = ("title", "source", "notes", "assumed")  # what a file says of its own origin
_WIDTH = 118
_IMPORTS = (ast.Import, ast.ImportFrom)
_HEAD = '''"""The network {name}, begun as a copy of {old}.

Images (n, height, width, channels) -> probabilities (n, num_classes). Change its layers, add some or take some away:
the build notebook and the report print this function, and only what depends on it runs again. Arguments after the
first two are options: the variant's file sets them by builder_options, or has them searched by search_space.
"""

'''


def new_variant(name: str, like: str, say: Callable[[str], None]) -> int:
    """Write params/variants/<name>.yaml and bakeoff/lab/models/<name>.py, and say what to do next."""
    known = variant_names()
    if like not in known:
        raise RequestError(f"--like: there is no variant {shown(like)}; {nearest(like, known)}")
    if not rules.is_name(name):
        raise RequestError(f"--new: {shown(name)} cannot be a variant's name; use letters, digits and _")
    files = (DIRECTORY / "variants" / f"{name}.yaml", options.MODELS / f"{name}.py")
    there = [path for path in files if path.exists()]
    taken = name in known or name in options.builders()
    if there or taken:
        place = there[0].relative_to(PROJECT) if there else f"a variant or network {name}"
        raise RequestError(f"--new: {place} is there already; choose another name")
    (chosen,) = load_parameters((like,), "full")
    if chosen.stage["trainer"] == "airbench":
        raise RequestError(
            f"--like: {like} has a trainer made for its own network; take a variant whose trainer is fit"
        )
    texts = (_variant(name, like), _network(name, chosen.stage["builder"]))
    for path, text in zip(files, texts, strict=True):
        path.write_text(text, encoding="utf-8")
        say(f"Wrote {path.relative_to(PROJECT)}.")
    say(f"Edit the network in bakeoff/lab/models/{name}.py and its schedule in params/variants/{name}.yaml, then run")
    say(f"    python pipeline.py --variants {name},{like}")
    return 0


def _variant(name: str, like: str) -> str:
    """The variant's file: what `like` sets, each line with the comment that base.yaml has for it."""
    comments = explanations()
    content, run = own_values(like)
    run = {key: value for key, value in sorted(run.items()) if key not in _OF_THE_SOURCE}
    content.pop("published", None)
    content = {"builder": name} | {key: value for key, value in content.items() if key != "builder"}
    lines = [
        "# yaml-language-server: $schema=../schema.json",
        f"# {name}: begun as a copy of {like}. The network is the function {name} in bakeoff/lab/models/{name}.py.",
        "# Every parameter that is not named here has the value of params/base.yaml.",
        *(_line(key, value, comments) for key, value in content.items()),
        "run:",
        f"  title: {name}, after {like}  # the heading in the report",
        *(f"  {_line(key, value, comments)}" for key, value in run.items()),
    ]
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any, comments: dict[str, str]) -> str:
    listed = yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=10_000)
    text = f"{key}: {listed.strip()[1:-1]}"
    comment = f"{text}  # {comments[key]}" if key in comments else text
    return comment if len(comment) <= _WIDTH else text


def _network(name: str, builder: str) -> str:
    """The network's module: the function of `builder` under its new name, with what it needs of its file."""
    path, old = _place(builder)
    source = path.read_text(encoding="utf-8-sig")
    needed, used = _needed(source, old)
    body = [ast.get_source_segment(source, node) or "" for node in needed if not isinstance(node, _IMPORTS)]
    text = "\n\n\n".join([_imports(needed, used), *body])
    text = re.sub(r'\n\n +Source: [^\n]*\n +"""', '"""', text)  # the copy has none
    return _HEAD.format(name=name, old=old) + re.sub(rf"\b{old}\b", name, text) + "\n"


def _imports(needed: Sequence[ast.stmt], used: set[str]) -> str:
    """The import statements with the names that are used, those of the package last."""
    lines = []
    for node in needed:
        if isinstance(node, _IMPORTS):
            kept = [each for each in node.names if (each.asname or each.name).partition(".")[0] in used]
            future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
            node.names = node.names if future else kept
            lines += [ast.unparse(node) + ("\n" if future else "")] if node.names else []
    own = [line for line in lines if line.startswith("from bakeoff")]
    return "\n".join([*(line for line in lines if line not in own), *([""] if own else []), *own])


def _place(builder: str) -> tuple[Path, str]:
    """The file of a network's function, and the function's name."""
    if own_network.is_own(builder):
        found = own_network.find(builder)
        return found.path, found.function.name
    return options.MODELS / f"{options.builders()[builder]}.py", builder


def _needed(source: str, name: str) -> tuple[list[ast.stmt], set[str]]:
    """The statements of a file that `name` is made of, in order, and the names that they read; and its `__future__`."""
    found = [(node, *names(ast.get_source_segment(source, node) or "")) for node in ast.parse(source).body]
    waiting, used = [name], set[str]()
    while waiting:
        wanted = waiting.pop()
        if wanted not in used:
            used.add(wanted)
            waiting += [read for _, assigned, reads in found if wanted in assigned for read in reads]
    general = [node for node, *_ in found if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    return [node for node, assigned, _ in found if node in general or assigned & used], used
