"""`--new NAME --like VARIANT`: a variant of one's own, begun as a copy of another: its network and its file."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from bakeoff import options, own_network, rules
from bakeoff.code import PROJECT
from bakeoff.errors import RequestError, nearest, shown
from bakeoff.params import DIRECTORY, load_parameters, own_values, variant_names

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
    files = {DIRECTORY / "variants" / f"{name}.yaml": _variant, options.MODELS / f"{name}.py": _network}
    there = [path for path in files if path.exists()]
    taken = name in known or name in options.builders()
    if there or taken:
        place = there[0].relative_to(PROJECT) if there else f"a variant or network {name}"
        raise RequestError(f"--new: {place} is there already; choose another name")
    _refuse_airbench(like)
    for path, write in files.items():
        path.write_text(write(name, like), encoding="utf-8")
        say(f"Wrote {path.relative_to(PROJECT)}.")
    say(f"Edit the network in bakeoff/lab/models/{name}.py and its schedule in params/variants/{name}.yaml, then run")
    say(f"    python pipeline.py --variants {name},{like}")
    return 0


def _refuse_airbench(like: str) -> None:
    (chosen,) = load_parameters((like,), "full")
    if chosen.stage["trainer"] == "airbench":
        raise RequestError(
            f"--like: {like} has a trainer made for its own network; take a variant whose trainer is fit"
        )


def _variant(name: str, like: str) -> str:
    """The variant's file: what `like` sets, each line with the comment that base.yaml has for it."""
    comments = dict(re.findall(r"^ *(\w+):.*?# (.*)$", (DIRECTORY / "base.yaml").read_text(encoding="utf-8"), re.M))
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


def _network(name: str, like: str) -> str:
    """The network's module: the function of `like` under its new name, with what it needs of its file."""
    (chosen,) = load_parameters((like,), "full")
    path, old = _place(chosen.stage["builder"])
    source = path.read_text(encoding="utf-8-sig")
    needed = list(_needed(ast.parse(source), old))
    used = {each.id for node in needed for each in ast.walk(node) if isinstance(each, ast.Name)}
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


def _needed(tree: ast.Module, name: str) -> Iterator[ast.stmt]:
    """The statements of a file that `name` is made of, in order; `from __future__` always."""
    binders = {bound: node for node in tree.body for bound in _binds(node)}
    waiting, seen = [name], set[str]()
    while waiting:
        wanted = waiting.pop()
        if wanted in binders and wanted not in seen:
            seen.add(wanted)
            waiting += [node.id for node in ast.walk(binders[wanted]) if isinstance(node, ast.Name)]
    for node in tree.body:
        general = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        if general or seen & set(_binds(node)):
            yield node


def _binds(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(each.asname or each.name).partition(".")[0] for each in node.names]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [each.id for target in targets if target for each in ast.walk(target) if isinstance(each, ast.Name)]
