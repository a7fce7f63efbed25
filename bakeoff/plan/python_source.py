"""Python source as keys see it: tokens without comments and docstrings, the same under every Python Bakeoff runs on."""

from __future__ import annotations

import ast
import io
import re
import symtable
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bakeoff.store import digest_value

_LAYOUT = {tokenize.NEWLINE: "\n", tokenize.INDENT: "\t+", tokenize.DEDENT: "\t-"}  # their texts are a matter of style
_DROPPED = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)
_LINE = re.compile(r"[^\r\n]*(?:\r\n|[\r\n])|[^\r\n]+")  # what ends a line for Python, and nothing else
_MAGIC = re.compile(r"^([ \t]*)([%!].*)$", re.MULTILINE)
_WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Statement:
    """One statement at the top of a file or cell: what it binds, what it reads, and what it imports."""

    digest: str  # of its tokens
    text: str  # digest of its text, comments and docstrings included
    assigns: tuple[str, ...]
    reads: tuple[str, ...]
    imports: tuple[str, ...]  # "module" or "module:name"
    called: str = ""  # of a bare call, the name that it begins with: `page` of page.show(...)

    def record(self) -> dict[str, Any]:
        """What a cache keeps of it."""
        return asdict(self)


def tokens(source: str) -> list[str]:
    """The tokens that decide what `source` does.

    Python 3.12 and later take an f-string apart where 3.11 has one token: here its text is one token. Comments, blank
    lines, docstrings, and how far a block is indented make no difference.
    """
    docstrings = _docstrings(source)
    lines = list(io.StringIO(source))
    found: list[str] = []
    begun: list[tuple[int, int]] = []  # where the f-strings that are open began
    in_docstring = False
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = tokenize.tok_name[token.type]
        if kind.endswith("STRING_START"):
            begun.append(token.start)
        elif kind.endswith("STRING_END"):
            start = begun.pop()
            if not begun:
                found.append(_between(lines, start, token.end))
        elif begun or token.type in _DROPPED:
            continue
        elif token.type == tokenize.STRING and (in_docstring or token.start in docstrings):
            in_docstring = True
        elif in_docstring and (token.type == tokenize.NEWLINE or token.string == ";"):
            in_docstring = False
        else:
            found.append(_LAYOUT.get(token.type, token.string))
    return found


def statements(source: str, module: str = "", package: bool = False) -> list[Statement]:
    """The statements of a file or cell, an import as one statement for each name that it binds.

    `module` and `package` (whether the file is an __init__.py) say what a relative import begins from.
    Raises SyntaxError when the source is no Python.
    """
    source = source.replace("\r\n", "\n")
    lines = _LINE.findall(source)
    found: list[Statement] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += _imported(node, module, package)
        elif not _is_text(node):
            found.append(_statement(node, _segment(lines, node), module, package))
    return found


def without_magics(source: str) -> str:
    """A cell's source with IPython's lines (%magic, !command) as calls that Python can parse."""
    return _MAGIC.sub(lambda match: f"{match[1]}get_ipython({match[2]!r})", source)


def _statement(node: ast.stmt, text: str, module: str, package: bool) -> Statement:
    assigns, reads = names(text)
    return Statement(
        digest_value(tokens(text)),
        digest_value(text),
        tuple(sorted(assigns)),
        tuple(sorted(reads)),
        tuple(sorted({each for found in ast.walk(node) for _, each in _targets(found, module, package)})),
        _called(node),
    )


def _imported(node: ast.Import | ast.ImportFrom, module: str, package: bool) -> Iterator[Statement]:
    for name, target in _targets(node, module, package):
        text = f"{name} = import {target}"
        yield Statement(digest_value(text), digest_value(text), (name,), (), (target,))


def names(source: str) -> tuple[set[str], set[str]]:
    """The names that `source` binds at its top, and those that it reads there or in a function of its own."""
    assigned: set[str] = set()
    read: set[str] = set()
    plain = ast.unparse(_AsGenerators().visit(ast.parse(source)))
    waiting = [symtable.symtable(plain, "source", "exec")]
    while waiting:
        table = waiting.pop()
        for symbol in table.get_symbols():
            name = symbol.get_name()
            here = table.get_type() == "module" or symbol.is_global()
            if here and (symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()):
                assigned.add(name)
            if here and symbol.is_referenced():
                read.add(name)
        waiting += table.get_children()
    return assigned, read


class _AsGenerators(ast.NodeTransformer):
    """Comprehensions as generators: from Python 3.12 on, the names of a comprehension count as those around it."""

    def visit(self, node: ast.AST) -> ast.AST:
        """A comprehension as a generator; everything else as it is."""
        self.generic_visit(node)
        if isinstance(node, ast.ListComp | ast.SetComp):
            return ast.GeneratorExp(node.elt, node.generators)
        if isinstance(node, ast.DictComp):
            return ast.GeneratorExp(ast.Tuple([node.key, node.value], ast.Load()), node.generators)
        return node


def _targets(node: ast.AST, module: str, package: bool) -> list[tuple[str, str]]:
    """(bound name, what is imported) for each name of an import statement; nothing for another node."""
    if isinstance(node, ast.Import):
        return [(each.asname or each.name.partition(".")[0], each.name) for each in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    origin = node.module or ""
    if node.level:  # from . import a, from ..b import c
        parents = module.split(".")[: None if package else -1]
        parents = parents[: len(parents) - node.level + 1]
        origin = ".".join([*parents, *filter(None, [node.module])])
    return [(each.asname or each.name, f"{origin}:{each.name}") for each in node.names]


def _called(node: ast.stmt) -> str:
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return ""
    called: ast.expr = node.value.func
    while isinstance(called, ast.Attribute):
        called = called.value
    return called.id if isinstance(called, ast.Name) else ""


def _segment(lines: Sequence[str], node: ast.stmt) -> str:
    """The text of a statement, decorators included; ast.get_source_segment would split the whole source each time."""
    decorators = getattr(node, "decorator_list", [])
    before = lines[decorators[0].lineno - 1 : node.lineno - 1] if decorators else ()
    own = [line.encode() for line in lines[node.lineno - 1 : node.end_lineno]]  # columns count bytes
    own[-1] = own[-1][: node.end_col_offset]
    own[0] = own[0][node.col_offset :]
    return "".join(before) + b"".join(own).decode()


def _docstrings(source: str) -> set[tuple[int, int]]:
    """Where docstrings begin: line and column. Nothing but blanks stands before one, so bytes are characters."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, _WITH_DOCSTRING) and node.body and _is_text(node.body[0]):
            found.add((node.body[0].lineno, node.body[0].col_offset))
    return found


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is a string alone, which computes nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _between(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    (first, left), (last, right) = start, end
    if first == last:
        return lines[first - 1][left:right]
    return "".join([lines[first - 1][left:], *lines[first : last - 1], lines[last - 1][:right]])
