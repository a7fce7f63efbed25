"""pandoc's tree to one that is safe and fits a page: every text a Typst string, every table rows of one length."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Node = dict[str, Any]
NOTHING = ["", [], []]
REPLACED = "\ufffd"  # stands where no character can
LINE = 100  # columns of the monospaced font that fit the page
_IN_CELL, _IN_TEXT = 14, 40  # letters of a word that fit a narrow column, and a line
# What pandoc may write as it is: words and numbers that mean nothing to Typst. All else becomes a string.
_HARMLESS = re.compile(r"[^\W\d_]+[,.;:]?|\d+")
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+[A-Za-z0-9-]*")
_LINK = re.compile(r"(?:https?://|mailto:)\S+|(?!/)[\w./-]+")
_NUMBER = re.compile(r"[-−+]?\.?\d(?:[ \u202f.,]?\d)*(?:[eE][-+]?\d+)?\s*[%×x]?")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")


def literal(text: str) -> str:
    """Text as a Typst string: nothing in it is read as Typst."""
    text = CONTROL.sub("", text)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def settable(tex: str) -> bool:
    """Whether a formula is text: no control characters and no halves of characters in it, as nobody writes them."""
    return not CONTROL.search(tex) and REPLACED not in tex


def unset(tex: str) -> str:
    """What stands in the place of a formula that cannot be set."""
    return f"[A formula that cannot be set: {CONTROL.sub(REPLACED, tex)}]"


def breakable(text: str, longest: int) -> str:
    """Text in which words of more than `longest` letters may be broken without a hyphen: at a joint, else anywhere."""

    def cut(word: re.Match[str]) -> str:
        jointed = re.sub(r"([_/.,:;=\\-])(?=[^\W_])", "\\1\u200b", word[0])
        return re.sub(rf"[^\u200b]{{{longest}}}(?=[^\u200b]{{3}})", "\\g<0>\u200b", jointed)

    return re.sub(rf"\S{{{longest + 1},}}", cut, text)


def wrapped(text: str) -> str:
    """Lines cut at the width of the page, between words where a word ends in the second half of the line."""
    return "\n".join(piece for line in text.expandtabs(8).splitlines() for piece in _pieces(line))


def _pieces(line: str) -> Iterable[str]:
    while True:
        end, width = 0, 0
        while end < len(line):
            width += 2 if unicodedata.east_asian_width(line[end]) in "WF" else 1
            if width > LINE:
                break
            end += 1
        if end == len(line):
            yield line
            return
        space = line.rfind(" ", end // 2, end)
        end = space + 1 if space > 0 else end
        yield line[:end]
        line = line[end:]


def block(typst: str) -> Node:
    """A block of Typst of our own."""
    return {"t": "RawBlock", "c": ["typst", typst]}


def _inline(typst: str) -> Node:
    return {"t": "RawInline", "c": ["typst", typst]}


def plain(nodes: Any) -> str:
    """The text in a tree, without its markup."""
    if isinstance(nodes, list):
        return "".join(map(plain, nodes))
    if not isinstance(nodes, dict):
        return ""
    kind, content = nodes["t"], nodes.get("c", [])
    if kind in ("Space", "SoftBreak", "LineBreak"):
        return " "
    if kind == "Str":
        return content
    if kind in ("Code", "Math"):
        return content[1]
    return plain(content)


def identifiers(nodes: Any) -> Iterable[str]:
    """The ids of all headings."""
    if isinstance(nodes, list):
        for node in nodes:
            yield from identifiers(node)
    elif isinstance(nodes, dict):
        if nodes["t"] == "Header":
            yield nodes["c"][1][0]
        yield from identifiers(nodes.get("c"))


@dataclass
class Cleaner:
    """Rewrites trees node by node; what it does not know is left out, what is in it is kept.

    `targets` are the ids that a link may lead to. Output trees (`trusted` False) have no headings of the report and no
    links within the report. Where there are no `formulas`, dollars are dollars; a formula that is one of `broken`
    cannot be set and is shown as written.
    """

    targets: frozenset[str]
    broken: frozenset[str] = frozenset()
    formulas: bool = True
    set_formulas: dict[str, Node] = field(default_factory=dict)  # TeX -> node of each formula that was written
    _level: int = 0
    _used: set[str] = field(default_factory=set)

    def blocks(self, nodes: Sequence[Node], trusted: bool, caption: str = "") -> list[Node]:
        """The safe form of blocks; `caption` goes to each table in them."""
        result: list[Node] = []
        for node in nodes:
            result += self._block(node, trusted, caption)
        return result

    def _block(self, node: Node, trusted: bool, caption: str) -> list[Node]:
        kind, content = node["t"], node.get("c", [])

        def inside(nodes: Sequence[Node]) -> list[Node]:
            return self.blocks(nodes, trusted, caption)

        if kind in ("Plain", "Para"):
            return [{"t": kind, "c": self.inlines(content, trusted)}]
        if kind == "Header":
            return self._header(content, trusted)
        if kind == "Table":
            return self._table(content, trusted, caption)
        if kind == "CodeBlock":
            return [block(f"#pre({literal(wrapped(content[1]))})")]
        if kind in ("Div", "Figure"):
            return inside(content[-1])
        if kind == "BlockQuote":
            return [{"t": kind, "c": inside(content)}]
        if kind == "BulletList":
            return [{"t": kind, "c": [inside(item) for item in content]}]
        if kind == "OrderedList":
            return [{"t": kind, "c": [content[0], [inside(item) for item in content[1]]]}]
        return [node] if kind == "HorizontalRule" else []

    def _header(self, content: list[Any], trusted: bool) -> list[Node]:
        level, (identifier, _, _), inlines = content
        shown = self.inlines(inlines, trusted)
        if not plain(inlines).strip("¶ "):
            return []
        if not trusted:
            return [{"t": "Para", "c": [{"t": "Strong", "c": shown}]}]
        # The report's chapters are H2s; and a tagged PDF may not skip a level.
        self._level = min(max(level - 1, 1), self._level + 1)
        known = identifier in self.targets and identifier not in self._used
        self._used.add(identifier)
        return [{"t": "Header", "c": [self._level, [identifier if known else "", [], []], shown]}]

    def inlines(self, nodes: Sequence[Node], trusted: bool) -> list[Node]:
        """The safe form of inline nodes."""
        return [clean for node in nodes for clean in self._inline(node, trusted)]

    def _inline(self, node: Node, trusted: bool) -> list[Node]:
        kind, content = node["t"], node.get("c", [])
        if kind in ("Space", "SoftBreak", "LineBreak"):
            return [node]
        if kind == "Str":
            known = _HARMLESS.fullmatch(content) and len(content) <= _IN_TEXT
            return [node if known else _inline(f"#{literal(breakable(content, _IN_TEXT))};")]
        if kind == "Code":
            return [_inline(f"#mono({literal(breakable(content[1], _IN_TEXT))});")]
        if kind == "Math":
            return self._math(node)
        if kind in ("Emph", "Strong", "Underline", "Strikeout", "Superscript", "Subscript", "SmallCaps"):
            return [{"t": kind, "c": self.inlines(content, trusted)}]
        if kind == "Link":
            return self._link(content, trusted)
        if kind in ("Span", "Image", "Quoted"):
            return self.inlines(content[1], trusted)
        return []

    def _math(self, node: Node) -> list[Node]:
        kind, tex = node["c"]
        if not self.formulas:  # An amount of money, a name, or a formula that nobody has looked at.
            mark = "$" if kind["t"] == "InlineMath" else "$$"
            return [_inline(f"#{literal(breakable(mark + tex + mark, _IN_TEXT))};")]
        if tex in self.broken or not settable(tex):
            return [_inline(f"#mono({literal(breakable(unset(tex), _IN_TEXT))});")]
        self.set_formulas[tex] = node
        return [_inline(f"#formula({literal(tex)})["), node, _inline("];")]

    def _link(self, content: list[Any], trusted: bool) -> list[Node]:
        _, inlines, (url, _) = content
        shown = self.inlines(inlines, trusted)
        if url.startswith("#"):
            leads = trusted and url[1:] in self.targets
            target = f"label({literal(url[1:])})"
        else:
            leads = bool(_LINK.fullmatch(url)) and ".." not in url and (trusted or "://" in url)
            target = literal(url)
        if not leads or not plain(inlines).strip("¶ "):
            return [] if plain(inlines).strip() == "¶" else shown
        return [_inline(f"#link({target})["), *shown, _inline("];")]

    def _table(self, content: list[Any], trusted: bool, caption: str) -> list[Node]:
        _, (_, own), specs, (_, head), bodies, (_, foot) = content
        body = [row for _, _, inner, rows in bodies for row in [*inner, *rows]] + list(foot)
        if not head and body:
            head, body = [], body
        width = len(specs)
        grid = _grid([*head, *body], width)
        if not grid or not width:
            return []
        align = ", ".join("right" if _numeric(column[len(head) :]) else "left" for column in zip(*grid, strict=True))
        words = caption or plain([node.get("c") for node in own])
        start = f"#data-table(caption: {literal(words)}, align: ({align},), header: {len(head)}, (\n"
        return [*_joined([start, *self._cells(grid, trusted), "))"])]

    def _cells(self, grid: Sequence[Sequence[list[Node]]], trusted: bool) -> Iterable[str | list[Node]]:
        for row in grid:
            for blocks in row:
                if _is_text(blocks):
                    yield f"{literal(breakable(plain(blocks), _IN_CELL))}, "
                else:
                    yield "["
                    yield self.blocks(blocks, trusted)
                    yield "], "
            yield "\n"


def _joined(parts: Iterable[str | list[Node]]) -> Iterable[Node]:
    """Typst and blocks in turn, neighbouring pieces of Typst as one."""
    typst = ""
    for part in parts:
        if isinstance(part, str):
            typst += part
            continue
        yield block(typst)
        yield from part
        typst = ""
    yield block(typst)


def _is_text(blocks: Sequence[Node]) -> bool:
    simple = {"Str", "Space", "SoftBreak"}
    return all(node["t"] == "Plain" and all(inner["t"] in simple for inner in node["c"]) for node in blocks)


def _grid(rows: Sequence[Any], width: int) -> list[list[list[Node]]]:
    """Rows of equal length: what spans several columns or rows stands in each of them, so that columns can be cut."""
    grid: list[list[list[Node]]] = []
    held: dict[int, tuple[int, list[Node]]] = {}
    for _, cells in rows:
        row: list[list[Node]] = []
        queue = iter(cells)
        while len(row) < width:
            column = len(row)
            left, blocks = held.pop(column, (0, []))
            if left:
                held |= {column: (left - 1, blocks)} if left > 1 else {}
                row.append(blocks)
                continue
            cell = next(queue, None)
            if cell is None:
                row.append([])
                continue
            _, _, rowspan, colspan, blocks = cell
            for offset in range(min(colspan, width - column)):
                held |= {column + offset: (rowspan - 1, blocks)} if rowspan > 1 else {}
                row.append(blocks)
        grid.append(row)
    return grid


def _numeric(column: Sequence[list[Node]]) -> bool:
    texts = [text for text in map(plain, column) if text.strip()]
    return bool(texts) and all(_NUMBER.fullmatch(text.strip()) for text in texts)
