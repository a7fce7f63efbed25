"""Markdown to HTML, its TeX to MathML: pandoc is called once for all formulas of a report."""

from __future__ import annotations

import json
import re
import secrets
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath, MathBlockParser, MathInlineParser

from bakeoff.report.clean import FORMULA
from bakeoff.report.typst_blocks import settable, unset

if TYPE_CHECKING:
    from mistune import BlockState

# Characters of private use mark the places of formulas until pandoc has made them.
_OPEN, _CLOSE = FORMULA, "\ue001"
_STRAY = re.compile(f"[{_OPEN}{_CLOSE}]")
_ACTING = re.compile(r'\s(?:style|href|xlink:href|class|id|on\w+)="[^"]*"')
_ENVIRONMENT = r"\\begin\{(?P<math_env_name>[a-z]*\*?)\}(?s:.*?)\\end\{(?P=math_env_name)\}"


class _Inline(MathInlineParser):
    """Formulas within a line by pandoc's rule: no blank inside the dollars, no digit after them; so prices stay."""

    SPECIFICATION: ClassVar[dict[str, str]] = {
        **MathInlineParser.SPECIFICATION,
        "block_math_tex": r"(?<![\w$\\])\$\$(?=\S)(?P<math_block_tex>[^$`]+?)(?<![\s\\])\$\$(?!\d)",
        "inline_math_tex": r"(?<![\w$\\])\$(?=\S)(?P<math_inline_tex>(?:\\.|[^$`\\])+?)(?<=\S)\$(?![\d$])",
    }


class _Blocks(MathBlockParser):
    """Displayed formulas begin a line and end one."""

    SPECIFICATION: ClassVar[dict[str, str]] = {
        **MathBlockParser.SPECIFICATION,
        "multiline_math": rf"^ {{0,3}}(?:\$\$[^$`]+?(?<!\\)\$\$|{_ENVIRONMENT})[ \t]*$",
    }

    def parse_multiline_math(self, m: re.Match[str], state: BlockState) -> int:
        """A paragraph of its own, without the blanks inside its dollars."""
        state.add_paragraph(re.sub(r"^\$\$\s*|\s*\$\$$", "$$", m[0].strip()))
        return m.end()


class Formulas(IPythonRenderer):
    """Renders Markdown and keeps its formulas; `fill` puts them where they belong when all text is there."""

    def __init__(self) -> None:
        super().__init__(escape=False, exclude_anchor_links=True)
        self._found: list[tuple[str, str]] = []
        self._secret = secrets.token_hex(8)  # no text that a program printed can pass for a mark
        self._reader = MarkdownWithMath(self, _Blocks(), _Inline(hard_wrap=False))

    def html(self, markdown: str) -> str:
        """The HTML of a Markdown text; formulas are marks that no cleaning touches."""
        return str(self._reader.render(_STRAY.sub("", markdown)))

    def fill(self, html: str) -> str:
        """The text with MathML in place of the marks."""
        # A wide formula scrolls by itself, which a keyboard must be able to do as well.
        made = [
            math.replace('<math display="block"', '<math display="block" tabindex="0"', 1)
            for math in _mathml(self._found)
        ]
        return re.sub(f"{_OPEN}{self._secret}-([0-9]+){_CLOSE}", lambda mark: made[int(mark[1])], html)

    def inline_math(self, body: str) -> str:
        """A formula within a line."""
        return self._mark("InlineMath", body)

    def block_math(self, body: str) -> str:
        """A formula by itself."""
        return self._mark("DisplayMath", body)

    def latex_environment(self, name: str, body: str) -> str:
        """A formula that LaTeX would number or align."""
        return self._mark("DisplayMath", f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """The alternative text alone: the report shows the images that notebooks computed, and loads none."""
        return escape(text)

    def block_mermaidjs(self, code: str) -> str:
        """A diagram's source as it stands: there is no script to draw it."""
        return f"<pre>{escape(code)}</pre>"

    def _mark(self, kind: str, tex: str) -> str:
        self._found.append((kind, " ".join(re.sub(r"(?<!\\)%.*", "", tex).split())))
        return f"{_OPEN}{self._secret}-{len(self._found) - 1}{_CLOSE}"


def _mathml(formulas: list[tuple[str, str]]) -> list[str]:
    """MathML of each formula; its TeX as code where pandoc cannot make it, a sentence where it is no text."""
    made = iter(_converted([formula for formula in formulas if settable(formula[1])]))
    return [next(made) if settable(tex) else f"<code>{escape(unset(tex))}</code>" for _, tex in formulas]


def _converted(formulas: list[tuple[str, str]]) -> list[str]:
    if not formulas or find_spec("pypandoc") is None:
        return [f"<code>{escape(tex)}</code>" for _, tex in formulas]
    import pypandoc

    # Pandoc's own notation: no formula can end its quotes.
    quoted = (f"Para [Math {kind} {json.dumps(tex, ensure_ascii=False)}]" for kind, tex in formulas)
    made = pypandoc.convert_text(
        f"[{', '.join(quoted)}]", "html", format="native", extra_args=["--mathml", "--wrap=none", "--quiet"]
    )
    paragraphs: list[Any] = re.findall(r"<p>(.*?)</p>", made, re.DOTALL)
    return [
        _ACTING.sub("", text) if text.startswith("<math") else f"<code>{escape(tex)}</code>"
        for (_, tex), text in zip(formulas, paragraphs, strict=True)
    ]
