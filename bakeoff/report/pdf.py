"""The merged notebook to one PDF with wheels only: HTML, pandoc's tree, Typst. Same cells, same bytes."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

from bakeoff.errors import BakeoffError
from bakeoff.report.fonts import add_installed, copy_fonts
from bakeoff.report.images import FORMATS, LARGEST_SVG, SVG, size_of_drawing
from bakeoff.report.typst_blocks import Cleaner, Node, block, identifiers, literal, wrapped
from bakeoff.store.scratch import scratch_folder

_TEMPLATE = Path(__file__).parent / "template" / "report.typ"
_READ = ("-f", "html+tex_math_dollars-native_spans", "-t", "json")
_WRITE = ("-f", "json", "-t", "typst", "--wrap=none")
_SECONDS = 120
_NOTE = (
    "This file shows what the notebooks found, the networks and the calls that train them. All other code stands in "
    "the executed notebooks, notebooks/<variant>/<stage>.ipynb beside this file."
)
_TAGS = {
    *("a", "b", "blockquote", "br", "code", "del", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6"),
    *(
        "hr",
        "i",
        "img",
        "li",
        "ol",
        "p",
        "pre",
        "s",
        "span",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
    ),
    *("thead", "tr", "u", "ul", "caption"),
}
_UNSEEN = re.compile(r"<(script|style|title)\b.*?</\1\s*>|<!--.*?-->", re.DOTALL | re.IGNORECASE)
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_OVERWRITTEN = re.compile(r"[^\n]*\r(?!\n)")
_WIDEST = 1600  # pixels
_MOST_LINES = 35  # of a listing on the page
# What opens and closes parts of a page, in Typst.
_MARKS = {
    "contents": "#contents()",
    "break": "#pagebreak(weak: true)",
    "next": "], [",
    "end-row": "])",
    "band": "#band[",
    "end-band": "]",
    "end-chapter": "]",
}


class PdfError(BakeoffError):
    """The PDF cannot be made; the HTML is not touched by it."""


@dataclass(frozen=True)
class _Html:
    """A piece of HTML for pandoc; an output's is not trusted."""

    text: str
    trusted: bool
    caption: str = ""
    formulas: bool = True


@dataclass(frozen=True)
class _Typst:
    """A piece of Typst of our own."""

    text: str


def make_pdf(title: str, banner: Sequence[str], cells: Iterable[Node], facts: Mapping[str, Any]) -> bytes:
    """report.pdf's bytes: cover, contents, chapters; the same for the same arguments and packages."""
    shown = list(cells)
    try:
        return _make_pdf(title, banner, shown, facts)
    except PdfError:  # Typst may not take a drawing of an output, which is not trusted: then all are raster images
        drawn = [SVG in output.get("data", {}) for cell in shown for output in cell.get("outputs", [])]
        if not any(drawn):
            raise
        return _make_pdf(title, banner, shown, facts, vector=False)


def _make_pdf(
    title: str, banner: Sequence[str], cells: Iterable[Node], facts: Mapping[str, Any], vector: bool = True
) -> bytes:
    with scratch_folder() as made:
        root, fonts = made / "root", made / "fonts"
        root.mkdir()
        pieces = [piece for cell in cells for piece in _pieces(cell, root, vector)]
        if _Typst(_MARKS["contents"]) not in pieces:
            pieces.insert(0, _Typst(_MARKS["contents"]))
        pieces.append(_Html(_how_it_was_made(facts), True, formulas=False))
        shutil.copyfile(_TEMPLATE, root / _TEMPLATE.name)
        copy_fonts(fonts)
        start = _start(title, banner, facts)
        body, formulas = _to_typst(pieces)
        try:
            return _compile(f"{start}\n\n{body}", root, fonts)
        except PdfError:
            broken = frozenset(tex for tex, node in formulas.items() if not _can_be_set(node, root, fonts))
            if not broken:
                raise
            return _compile(f"{start}\n\n{_to_typst(pieces, broken)[0]}", root, fonts)


def _can_be_set(formula: Node, root: Path, fonts: Path) -> bool:
    """Whether Typst takes a formula as pandoc writes it: one that it does not take costs no more than itself."""
    tree = {**json.loads(_pandoc(_READ, "")), "blocks": [{"t": "Para", "c": [formula]}]}
    try:
        _compile(f"#set document(title: [x])\n{_pandoc(_WRITE, json.dumps(tree))}", root, fonts, None)
        return True
    except PdfError:
        return False


def _compile(text: str, root: Path, fonts: Path, standard: Literal["ua-1"] | None = "ua-1") -> bytes:
    import typst

    (root / "main.typ").write_text(text, encoding="utf-8")
    more = "\n".join(add_installed(text, fonts))

    try:
        made = typst.compile(
            root / "main.typ",
            root=root,
            font_paths=[fonts],
            ignore_system_fonts=True,
            format="pdf",
            pdf_standards=standard,
            sys_inputs={"fonts": more},
        )
    except typst.TypstError as error:
        raise PdfError(f"Typst says: {error.message}") from error
    if not isinstance(made, bytes):
        raise PdfError("Typst gave no PDF")
    return made


def _start(title: str, banner: Sequence[str], facts: Mapping[str, Any]) -> str:
    """The first lines of the document: the template and what stands on the cover."""
    by = [(name.capitalize(), str(facts[name])) for name in ("author", "date") if facts.get(name)]
    shown = [*by, *_origin(facts), ("Code revision", str(facts["revision"]))]
    pairs = "".join(f"({literal(name)}, {literal(value)}), " for name, value in shown)
    sentences = "".join(f"{literal(sentence)}, " for sentence in banner)
    return (
        f'#import "{_TEMPLATE.name}": *\n#show: report.with(title: {literal(title)}, banner: ({sentences}), '
        f"facts: ({pairs}), note: {literal(_NOTE)})"
    )


def _origin(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    machine = facts["machine"]
    return [
        ("Profile", str(facts["profile"])),
        *(("Data", name if digest == name else f"{name} (digest {digest[:16]})") for name, digest in facts["datasets"]),
        ("Computed on", f"{machine['device']}, {machine['cores']} cores, Keras on {machine['backend']}"),
    ]


def _how_it_was_made(facts: Mapping[str, Any]) -> str:
    """The last chapter, as the HTML has it."""
    rows = [*_origin(facts), ("Code revision", facts["revision"]), *facts["packages"].items()]
    body = "".join(f"<tr><td>{escape(str(name))}</td><td>{escape(str(value))}</td></tr>" for name, value in rows)
    return (
        '<h2 id="how-it-was-made">How it was made</h2><table><thead><tr><th>What</th><th>Value</th></tr></thead>'
        f"<tbody>{body}</tbody></table><p>Every parameter, key, digest and duration is in "
        '<a href="provenance.json">provenance.json</a>, the table of results in '
        '<a href="results.csv">results.csv</a>.</p>'
    )


def _pieces(cell: Node, root: Path, vector: bool) -> Iterable[_Html | _Typst]:
    """What a cell shows: its Markdown, or its outputs; never its code."""
    own = cell["metadata"].get("bakeoff", {})
    if own.get("only") == "html":
        return
    if cell["cell_type"] == "markdown":
        formulas, mark = own.get("formulas", True), own.get("mark", "")
        if mark == "row":
            widths = ", ".join(f"{width}fr" for width in own["widths"])
            yield _Typst(f"#grid(columns: ({widths}), column-gutter: 4mm, [")
        elif mark == "chapter":
            yield _Typst(f"{'' if own.get('first') else _MARKS['break']}\n#[#show: variant-page")
        elif mark:
            yield _Typst(_MARKS[mark])
        yield _Html(_from_markdown(cell["source"]), True, formulas=formulas)
    for output in cell.get("outputs", []):
        yield from _output(output, root, vector)


def _output(output: Node, root: Path, vector: bool) -> Iterable[_Html | _Typst]:
    if output["output_type"] == "stream":
        yield _text(output["text"])
        return
    if output["output_type"] == "error":
        yield _text("\n".join(output["traceback"]))
        return
    own = (output.get("metadata") or {}).get("bakeoff", {})
    if own.get("kind") == "caption":
        return
    data, caption = output["data"], str(own.get("caption", ""))
    raster = next((kind for kind in data if kind.startswith("image/") and "svg" not in kind), None)
    if own.get("kind") == "listing" and "text/plain" in data:
        yield _listing(data["text/plain"], caption)
    elif "text/html" in data:
        yield _Html(data["text/html"], False, caption)
    elif "text/markdown" in data:
        yield _Html(_from_markdown(data["text/markdown"]), False)
    elif raster:
        alt = (output["metadata"].get(raster) or {}).get("alt") or caption or "An image without a description."
        drawn = _drawing(data.get(SVG, ""), str(alt), caption, root) if vector else None
        yield drawn or _image(data[raster], str(alt), caption, root)
    elif "text/plain" in data:
        yield _text(data["text/plain"])


def _text(text: str) -> _Typst:
    shown = _OVERWRITTEN.sub("", _ANSI.sub("", text)).rstrip("\n")
    return _Typst(f"#pre({literal(wrapped(shown))})" if shown.strip() else "")


def _listing(source: str, caption: str) -> _Typst:
    """The first lines of Python source; the page and the executed notebook have all of it."""
    lines = source.strip("\n").splitlines()
    cut = [f"# ... {len(lines) - _MOST_LINES} more lines: see report.html"] if len(lines) > _MOST_LINES else []
    return _Typst(f"#listing({literal(chr(10).join([*lines[:_MOST_LINES], *cut]))}, {literal(caption)})")


def _from_markdown(source: str) -> str:
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    return markdown2html_mistune(source)


def _drawing(content: str, alt: str, caption: str, root: Path) -> _Typst | None:
    """A small SVG as a file of the document; None where it is none, or a large one."""
    try:
        size = size_of_drawing(content) if len(content) < LARGEST_SVG else None
    except ValueError:
        size = None
    if size is None:
        return None
    name = f"{len(list(root.iterdir()))}.svg"
    (root / name).write_text(content, encoding="utf-8")
    width, height = (round(side * 110 / 96) for side in size)  # 110 pixels an inch, as raster images have them
    return _illustration(name, (width, height), alt, caption)


def _illustration(name: str, size: tuple[int, int], alt: str, caption: str) -> _Typst:
    shape = f"{literal(name)}, {size[0]}, {size[1]}"
    return _Typst(f"#illustration({shape}, alt: {literal(alt)}, caption: {literal(caption)})")


def _image(encoded: str, alt: str, caption: str, root: Path) -> _Typst:
    """The image as a file of the document: lossless where that is not much larger than JPEG."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(base64.b64decode(encoded)), formats=FORMATS) as opened:
            image = opened.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow calls a broken PNG a syntax
        return _text(f"[The image “{caption or alt}” cannot be read.]")
    size = image.size
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    canvas.thumbnail((_WIDEST, _WIDEST * 2))
    photo = io.BytesIO()
    canvas.save(photo, "JPEG", quality=88, subsampling=0, optimize=True)
    number = len(list(root.iterdir()))
    # Typst keeps a JPEG as it is and packs the pixels of a PNG anew, without PNG's row filters.
    if len(zlib.compress(canvas.tobytes(), 6)) > 1.5 * photo.tell():
        name = f"{number}.jpg"
        (root / name).write_bytes(photo.getvalue())
    else:
        name = f"{number}.png"
        canvas.save(root / name, compress_level=1)
    return _illustration(name, size, alt, caption)


def _to_typst(pieces: Sequence[_Html | _Typst], broken: frozenset[str] = frozenset()) -> tuple[str, Mapping[str, Node]]:
    """All pieces in order as one Typst text, and its formulas by their TeX; pandoc reads and writes once."""
    html = [piece for piece in pieces if isinstance(piece, _Html)]
    tree = json.loads(_pandoc(_READ, "".join(f"<div>{_balanced(piece.text)}</div>\n" for piece in html)))
    if [node["t"] for node in tree["blocks"]] != ["Div"] * len(html):
        raise PdfError("pandoc read other pieces than it was given")
    divs = {id(piece): node["c"][1] for piece, node in zip(html, tree["blocks"], strict=True)}
    targets = identifiers([divs[id(piece)] for piece in html if piece.trusted])
    cleaner = Cleaner(frozenset(targets) - {""}, broken)
    blocks: list[Node] = []
    for piece in pieces:
        if isinstance(piece, _Typst):
            blocks += [block(piece.text)] if piece.text else []
        else:
            cleaner.formulas = piece.trusted and piece.formulas
            blocks += cleaner.blocks(divs[id(piece)], piece.trusted, piece.caption)
    return _pandoc(_WRITE, json.dumps({**tree, "meta": {}, "blocks": blocks})), cleaner.set_formulas


def _balanced(html: str) -> str:
    """Each tag closed and nothing but text, lists and tables: a piece cannot reach out of its own."""
    import bleach

    shown = _UNSEEN.sub("", html)
    return bleach.clean(shown, tags=_TAGS, attributes=_attribute, protocols=["http", "https", "mailto"], strip=True)


def _attribute(tag: str, name: str, value: str) -> bool:
    if name in ("colspan", "rowspan"):
        return value.isdecimal() and 0 < int(value[:9]) <= 100
    return (tag, name) in (("a", "href"), ("img", "alt"), ("img", "src")) or (name == "id" and tag[0] == "h")


def _pandoc(arguments: Sequence[str], text: str) -> str:
    """The wheel's pandoc, shut off from files and network."""
    import pypandoc

    own = Path(pypandoc.__file__).parent / "files"
    program = shutil.which("pandoc", path=str(own)) or pypandoc.get_pandoc_path()
    done = subprocess.run(
        [program, "--sandbox", *arguments], input=text.encode("utf-8", "replace"), capture_output=True, timeout=_SECONDS
    )
    if done.returncode:
        raise PdfError(f"pandoc says: {done.stderr.decode('utf-8', 'replace').strip()[:300]}")
    return done.stdout.decode("utf-8")
