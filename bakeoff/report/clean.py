"""What comes from notebooks, made harmless: text and tables come through, nothing that runs, loads or restyles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape, unescape

import bleach

FORMULA = "\ue000"  # of private use: begins the mark of a formula, see formulas.py
_INLINE = {"a", "b", "br", "code", "del", "em", "i", "s", "span", "strong", "sub", "sup", "u", "wbr"}
_BLOCKS = {"blockquote", "dd", "dl", "dt", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "ul"}
_TABLES = {"table", "tbody", "td", "tfoot", "th", "thead", "tr"}
_OUTPUT_TAGS = frozenset(_INLINE | _BLOCKS | _TABLES)
_PROSE_TAGS = _OUTPUT_TAGS | {"div", "h2"}
_ATTRIBUTES = {"a": ["href", "title"], "td": ["colspan", "rowspan"], "th": ["colspan", "rowspan", "scope"]}
_PROTOCOLS = ["http", "https", "mailto"]
# Where a link may lead: to a host that it names, into this page, or to a file beside or near it.
_LEADS = re.compile(r"(?:https?://|mailto:|#)[^\x00-\x20]*|[\w.-][\w./%-]*(?:#[\w-]*)?", re.IGNORECASE)
_SPAN = re.compile(r"[1-9][0-9]?", re.ASCII)
# The cleaner drops tags and keeps what they hold; what stands in these is no text.
_NO_TEXT = re.compile(r"<(script|style|template|svg|iframe|object|noscript)\b", re.IGNORECASE)
_SYNTAX_CLASS = re.compile(r"highlight|[a-z]{1,2}[a-z0-9]?")  # those of Pygments

_ERASE = "\x7f"
_ERASE_LINE = re.compile(r"\x1b\[[02]?K")
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")

_TABLE_HEAD = re.compile(r"<thead>.*?</thead>", re.DOTALL)
_EMPTY_HEADER = re.compile(r"<th\b([^>]*)>\s*</th>")
_ASSUMED = re.compile(r'(<span class="c1">[^<]*\bassumed\b[^<]*</span>)')
_NAME = re.compile(r"<(td|code)>([^<]+)</\1>")


def inert(html: str) -> str:
    """HTML from an output without anything that can run, load or restyle, and without ids."""
    return _with_scopes(bleach.clean(_text_only(html), _OUTPUT_TAGS, _harmless, _PROTOCOLS, strip=True))


def prose(html: str, ids: set[str]) -> str:
    """HTML from a Markdown cell, cleaned likewise; a heading keeps an id that is one of `ids`, and takes it out."""

    def allowed(tag: str, name: str, value: str) -> bool:
        if name == "id" and re.fullmatch("h[2-6]", tag) and value in ids:
            ids.remove(value)
            return True
        if name == "class" and tag in ("div", "span"):
            return bool(_SYNTAX_CLASS.fullmatch(value))
        return _harmless(tag, name, value)

    return _with_scopes(bleach.clean(_text_only(html), _PROSE_TAGS, allowed, _PROTOCOLS, strip=True))


def _harmless(tag: str, name: str, value: str) -> bool:
    """Whether an attribute may stay. None holds the mark of a formula: a formula's tags would end the attribute."""
    if name not in _ATTRIBUTES.get(tag, []) or FORMULA in value:
        return False
    if name == "href":
        return bool(_LEADS.fullmatch(unescape(value).strip()))
    return not name.endswith("span") or bool(_SPAN.fullmatch(value))


def _text_only(html: str) -> str:
    """HTML without the elements that hold no text; each name is looked for once where its end is missing."""
    kept, position = [], 0
    endless: set[str] = set()
    for found in _NO_TEXT.finditer(html):
        name = found[1].lower()
        if found.start() < position or name in endless:
            continue
        end = re.compile(rf"</{name}\s*>", re.IGNORECASE).search(html, found.end())
        if end is None:
            endless.add(name)
        else:
            kept.append(html[position : found.start()])
            position = end.end()
    return "".join(kept) + html[position:]


def _with_scopes(html: str) -> str:
    """Each table header says what it heads; one without text heads nothing and becomes an ordinary field."""
    html = _EMPTY_HEADER.sub(lambda found: f"<td{re.sub(' scope=.[a-z]*.', '', found[1])}></td>", html)
    html = _TABLE_HEAD.sub(lambda head: re.sub(r"<th\b(?![^>]*scope=)", '<th scope="col"', head[0]), html)
    return re.sub(r"<th\b(?![^>]*scope=)", '<th scope="row"', html)


def linked(html: str, chapters: Mapping[str, str]) -> str:
    """Cleaned HTML in which each table field or code word that is a variant's name leads to its chapter.

    `chapters`: name -> id on this page, or path of a page of its own, which has a slash.
    """

    def link(found: re.Match[str]) -> str:
        target = chapters.get(unescape(found[2]).strip())
        tag, text = found[1], found[2]
        leads = target if target and "/" in target else f"#{target}"
        return f'<{tag}><a href="{escape(leads)}">{text}</a></{tag}>' if target else found[0]

    return _NAME.sub(link, html)


def assumed(html: str) -> str:
    """Highlighted Python in which each comment that says what a source leaves open is marked."""
    return _ASSUMED.sub(r"<mark>\1</mark>", html)


def terminal(text: str) -> str:
    r"""Text as a terminal would leave it, escaped: `\b` and `\r` move back, colours and other controls go."""
    text = _ESCAPES.sub("", _ERASE_LINE.sub(_ERASE, text.replace(_ERASE, "").replace("\r\n", "\n")))
    return escape(_CONTROLS.sub("", "\n".join(map(_overwritten, text.split("\n")))))


def _overwritten(line: str) -> str:
    if not any(mark in line for mark in ("\b", "\r", _ERASE)):
        return line
    shown: list[str] = []
    position = 0
    for character in line:
        if character == "\b":
            position = max(position - 1, 0)
        elif character == "\r":
            position = 0
        elif character == _ERASE:
            del shown[position:]
        else:
            shown[position : position + 1] = character
            position += 1
    return "".join(shown)
