"""report.pdf: the same chapters as the page, nothing clipped, nothing run, and never at the page's cost."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import zlib
from html import escape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbformat import v4
from PIL import Image

from bakeoff.report.pdf import make_pdf
from bakeoff.report.typst_blocks import LINE, breakable, wrapped
from tests.stubs import LIGHT, StubProject

NAME = "smoke-selection"
FACTS = {
    "profile": "smoke",
    "datasets": [["shapes10", "0123456789abcdef0123"]],
    "machine": {"device": "cpu", "cores": 2, "backend": "tensorflow"},
    "revision": "5eed",
    "packages": {"keras": "3.15.1"},
}
HOSTILE = (
    '#read("/etc/passwd") #import "@preview/cetz:0.3.0": * #panic("run") #{ panic() } ]] [ } ) ``` `code` $ sum $ '
    "<label> @reference \\ #set page(width: 1pt) // comment /* comment */ \u0000\u0007\ufffe \\u{41} *_"
)


class Reader:
    """A PDF's text by pdftotext, and its plain bytes."""

    def __init__(self, pdf: bytes) -> None:
        self.pdf = pdf

    def text(self, *options: str) -> str:
        if not shutil.which("pdftotext"):
            pytest.skip("pdftotext (poppler-utils) is not installed")
        done = subprocess.run(["pdftotext", *options, "-", "-"], input=self.pdf, capture_output=True, check=True)
        return re.sub("[\u200b\u2060]", "", done.stdout.decode("utf-8"))

    def words(self, *options: str) -> str:
        """The text with single spaces."""
        return " ".join(self.text(*options).split())

    def pages(self) -> list[str]:
        return [" ".join(page.split()) for page in self.text("-layout").split("\f")]

    def source(self) -> bytes:
        """All objects of the PDF, unpacked."""
        packed = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", self.pdf, re.DOTALL)
        parts = [self.pdf]
        for part in packed:
            try:
                parts.append(zlib.decompress(part))
            except zlib.error:  # an image
                continue
        return b"\n".join(parts)


def _read(*cells: Any, banner: tuple[str, ...] = (), title: str = "Model bake-off: shapes10") -> Reader:
    return Reader(make_pdf(title, banner, cells, FACTS))


def _output(data: dict[str, str], **metadata: Any) -> Any:
    return v4.new_code_cell("secret = 1", outputs=[v4.new_output("display_data", data, metadata=metadata)])


def _png(width: int = 40, height: int = 20) -> str:
    buffer = io.BytesIO()
    Image.new("RGBA", (width, height), (200, 30, 30, 128)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _heading(level: int, text: str, identifier: str) -> Any:
    return v4.new_markdown_cell(f'\n<h{level} id="{identifier}">{escape(text)}</h{level}>\n')


@pytest.fixture(scope="module")
def made(stub_run: tuple[StubProject, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[StubProject, Path]:
    """A project and a finished run, to write more reports of."""
    folder = tmp_path_factory.mktemp("pdf") / "made"
    return stub_run[0], Path(shutil.copytree(stub_run[1], folder))


def _again(made: tuple[StubProject, Path], name: str, *arguments: str, **more: str) -> tuple[str, Path]:
    """What the command says that makes the report of that name, and its folder."""
    project, folder = made
    command = project.command(folder, ["stub_0", "stub_1"], "--report-only", "--report-name", name, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | LIGHT | more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, folder / "reports" / name


@pytest.fixture(scope="module")
def report(small_report: Path) -> Reader:
    return Reader((small_report / "report.pdf").read_bytes())


def test_the_same_store_gives_the_same_bytes(made: tuple[StubProject, Path]) -> None:
    _, elsewhere = _again(made, "pdf-elsewhere")
    for name in ("report.html", "report.pdf", "results.csv"):
        assert (elsewhere / name).read_bytes() == (made[1] / "reports" / NAME / name).read_bytes()


def test_a_second_call_has_nothing_to_do(made: tuple[StubProject, Path]) -> None:
    before = (made[1] / "reports" / NAME / "report.pdf").stat().st_mtime_ns
    said, folder = _again(made, NAME)
    assert "Report is up to date" in said and (folder / "report.pdf").stat().st_mtime_ns == before


def test_the_contents_name_every_chapter_of_the_page_with_its_page_number(small_report: Path, report: Reader) -> None:
    page = (small_report / "report.html").read_text()
    headings = re.findall(r'<h[23] id="[^"]+">(.*?)</h[23]>', page)
    assert len(headings) > 10
    pages = report.pages()
    first = next(number for number, text in enumerate(pages) if text.startswith("Contents"))
    contents = " ".join(pages[first : first + 2])
    for heading in headings:
        found = re.search(re.escape(" ".join(heading.split())) + r"[ .]* (\d+)", contents)
        assert found, heading
        assert " ".join(heading.split()) in pages[int(found[1]) - 1], heading


def test_the_cover_says_what_the_numbers_are_not(report: Reader) -> None:
    cover = report.pages()[0]
    assert "Model bake-off: shapes10" in cover and "Read this first." in cover
    assert "synthetic fallback data set" in cover and "overrides of the published schedule" in cover
    assert "smoke" in cover and "Code revision" in cover and "executed notebooks" in cover


def test_each_later_page_has_a_running_head_and_its_number(report: Reader) -> None:
    pages = [page for page in report.pages() if page]
    for number, page in enumerate(pages[2:], start=3):
        assert page.endswith(f"{number} of {len(pages)}")
    assert pages[2].startswith("2 The ranking")


def test_it_is_tagged_and_every_image_has_its_alternative_text(small_report: Path, report: Reader) -> None:
    source = report.source().replace(b"\\", b"")
    assert b"<pdfuaid:part>1</pdfuaid:part>" in source and b"/StructTreeRoot" in source
    notebooks = sorted((small_report / "notebooks").rglob("train.ipynb"))
    cells = [cell for path in notebooks for cell in json.loads(path.read_text())["cells"]]
    shown = [cell for cell in cells if "report" in cell["metadata"].get("tags", [])]
    metadata = [output.get("metadata", {}) for cell in shown for output in cell.get("outputs", [])]
    alts = [entry["image/png"]["alt"] for entry in metadata if "image/png" in entry]
    assert len(alts) == 3  # each variant's curves
    for alt in alts:
        # A PDF holds ASCII as it is, and all else as UTF-16; unbalanced parentheses carry a backslash.
        kinds = (alt.encode("utf-8"), alt.encode("utf-16-be"), alt.encode("utf-16-be").hex().upper().encode())
        assert any(kind in source for kind in kinds), alt


def test_a_wide_table_is_cut_into_columns_and_loses_none() -> None:
    head = "".join(f"<th>head{column:02d}</th>" for column in range(24))
    rows = ["".join(f"<td>row{row:02d}x{column:02d}</td>" for column in range(24)) for row in range(70)]
    html = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"
    reader = _read(_heading(2, "One", "one"), _output({"text/html": html}, bakeoff={"caption": "A wide table."}))
    words = reader.words("-layout").split()
    assert {f"head{column:02d}" for column in range(24)} <= set(words)
    assert {f"row{row:02d}x{column:02d}" for row in range(70) for column in range(24)} <= set(words)
    groups = words.count("Columns")
    assert groups > 1 and words.count("row05x00") == groups  # the first column again in each group
    pages = [page for page in reader.pages() if re.search(r"row\d\dx", page)]
    assert len(pages) > 2 and all("head00" in page for page in pages)  # the header row again on each page
    assert "Table 1: A wide table." in reader.words()


def test_what_spans_columns_and_rows_stands_in_each() -> None:
    html = (
        "<table><thead><tr><th colspan='2'>both</th><th>last</th></tr></thead><tbody>"
        "<tr><td rowspan='2'>tall</td><td>1.5</td><td>2</td></tr><tr><td>3</td><td>4</td></tr></tbody></table>"
    )
    text = _read(_output({"text/html": html})).text("-layout")
    lines = [line.split() for line in text.splitlines()]
    assert ["both", "both", "last"] in lines and ["tall", "1.5", "2"] in lines and ["tall", "3", "4"] in lines


def test_a_long_word_in_a_table_breaks_and_keeps_its_letters() -> None:
    word = "".join(f"{number:03d}" for number in range(100))
    html = f"<table><tr><th>name</th><th>digest</th></tr><tr><td>a</td><td>{word}</td></tr></table>"
    assert word in "".join(_read(_output({"text/html": html})).text().split())


def test_long_lines_are_wrapped_not_clipped() -> None:
    line = "".join(f"{number:04d}" for number in range(400))
    code = f"```\n{line}\n```"
    stream = v4.new_code_cell("", outputs=[v4.new_output("stream", text=f"old\rnew\n\x1b[31m{line}\x1b[0m\n")])
    reader = _read(_heading(2, "One", "one"), v4.new_markdown_cell(code), stream)
    assert "".join(reader.text("-raw").split()).count(line) == 2
    pieces = [piece for piece in reader.text("-raw").splitlines() if piece.strip() and piece.strip() in line]
    assert len(pieces) >= 2 * len(line) // LINE and max(map(len, pieces)) <= LINE
    assert "new" in reader.words() and "old" not in reader.words() and "[31m" not in reader.words()


def test_lines_break_between_words_and_count_wide_letters_twice() -> None:
    assert wrapped("word " * 30) == "word " * 20 + "\n" + "word " * 10
    assert [len(piece) for piece in wrapped("字" * 120).split("\n")] == [LINE // 2, LINE // 2, 20]
    assert wrapped("a\n\n  b\n") == "a\n\n  b"
    assert breakable("short_name", 14) == "short_name"
    assert breakable("a_rather_long_name", 14) == "a_\u200brather_\u200blong_\u200bname"


def test_nothing_from_an_output_is_run_and_its_text_is_shown() -> None:
    html = f"<p>{escape(HOSTILE)}</p><table><tr><td>{escape(HOSTILE)}</td><td>cell</td></tr></table>"
    escapes = (
        "</div></div></table><h1>Forged chapter</h1><iframe src='/etc/passwd'></iframe><img src='/etc/passwd'>"
        "<span typst:text:fill='panic()' data-typst:text:size='1pt'>span</span><script>alert(1)</script>"
        "<style>p { color: red }</style><table><tr><td colspan='999999999'>spans</td></tr>"
    )
    markdown = f"{HOSTILE}\n\n# Forged heading\n\n```{{=typst}}\n#panic()\n```\n\n`#panic()`{{=typst}} [go](#one)"
    outputs = [
        v4.new_output("stream", text=HOSTILE),
        v4.new_output("display_data", {"text/html": html}, metadata={"bakeoff": {"caption": HOSTILE}}),
        v4.new_output("display_data", {"text/html": escapes}),
        v4.new_output("display_data", {"text/markdown": markdown}),
        v4.new_output("display_data", {"image/png": _png()}, metadata={"image/png": {"alt": HOSTILE}}),
        v4.new_output("error", ename="E", evalue="x", traceback=[HOSTILE]),
    ]
    about = v4.new_markdown_cell(f"**Failed:** {escape(HOSTILE)}")
    cells = [_heading(2, "One", "one"), about, v4.new_code_cell("secret = 1", outputs=outputs)]
    cells.append(_heading(3, HOSTILE, "two"))
    reader = _read(*cells, banner=(HOSTILE,), title=HOSTILE)
    text = reader.words()
    assert text.count('read("/etc/passwd")') >= 9
    assert text.count('#panic("run")') >= 9
    assert "root:" not in text and "secret" not in text and "alert" not in text and "color: red" not in text
    contents = next(page for page in reader.pages() if page.startswith("Contents"))
    assert "One" in contents and "Forged" not in contents
    assert "Forged chapter" in text and "Forged heading" in text and "spans" in text
    assert b"/etc/passwd'" not in reader.source()


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.text(max_size=80), min_size=1, max_size=8))
def test_any_text_of_an_output_gives_a_pdf(texts: list[str]) -> None:
    outputs = []
    for text in texts:
        outputs.append(v4.new_output("stream", text=text))
        outputs.append(v4.new_output("display_data", {"text/markdown": text}))
        outputs.append(v4.new_output("display_data", {"text/html": text}))
        cell = f"<table><tr><td>{escape(text)}</td></tr></table>"
        outputs.append(v4.new_output("display_data", {"text/html": cell}, metadata={"bakeoff": {"caption": text}}))
    assert make_pdf("Any", texts, [v4.new_code_cell("", outputs=outputs)], FACTS).startswith(b"%PDF")


def test_formulas_lists_and_links() -> None:
    text = (
        "An energy $E = mc^2$, a sum\n\n$$\\sum_{i=1}^n x_i$$\n\n- point\n\n1. first\n\n"
        "[inside](#two), [dangling](#nowhere), [outside](https://example.org/a), [file](notebooks/a/build.ipynb), "
        "[script](javascript:alert), [up](../x), ![an image elsewhere](https://example.org/p.png)"
    )
    reader = _read(_heading(2, "One", "one"), v4.new_markdown_cell(text), _heading(4, "Two", "two"))
    source, words = reader.source(), reader.words()
    assert "point" in words and "inside, dangling, outside, file, script, up, an image elsewhere" in words
    assert b"E = mc^2" in source  # the alternative text of the formula
    for address, there in (
        (b"https://example.org/a", True),
        (b"notebooks/a/build.ipynb", True),
        (b"javascript", False),
    ):
        assert (address in source) == there
    assert b"p.png" not in source and b"../x" not in source


def test_headings_that_skip_a_level_repeat_an_id_or_are_empty_are_mended() -> None:
    reader = _read(_heading(2, "One", "same"), _heading(6, "Deep", "same"), v4.new_markdown_cell("#\n\n[to](#same)"))
    assert "Deep" in reader.words()


def test_a_small_drawing_stays_one_and_one_that_typst_refuses_costs_itself_alone() -> None:
    drawing = '<svg xmlns="http://www.w3.org/2000/svg" width="60pt" height="40pt"><text x="5" y="20">axis</text></svg>'
    images = {"image/png": _png(), "image/svg+xml": drawing}
    vector = _read(_output(images))
    assert "axis" in vector.words() and b"/Subtype /Image" not in vector.source().replace(b"/Subtype/", b"/Subtype /")
    for broken in (drawing.replace("</svg>", "<g"), '<svg viewBox="0 0 a b">', "<svg"):
        reader = _read(_output(images | {"image/svg+xml": broken}), v4.new_markdown_cell("the rest"))
        assert "the rest" in reader.words() and "axis" not in reader.words()


def test_a_large_image_is_packed_and_a_tall_one_fits_the_page() -> None:
    noise = Image.effect_noise((2400, 1800), 90).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    large = _output({"image/png": base64.b64encode(buffer.getvalue()).decode()})
    reader = _read(large, _output({"image/png": _png(100, 4000)}))
    assert len(reader.pdf) < 0.5 * len(buffer.getvalue())
    placed = re.findall(rb"([\d.]+) 0 0 -?([\d.]+) [\d.-]+ [\d.-]+ cm\s*/\w+ Do", reader.source())
    sizes = [(float(width), float(height)) for width, height in placed]
    assert len(sizes) == 2
    assert all(0 < width < 483 and 0 < height < 582 for width, height in sizes)  # points: the text's width and height


def test_a_failure_leaves_the_page_and_the_next_call_tries_again(
    made: tuple[StubProject, Path], tmp_path: Path
) -> None:
    (tmp_path / "typst.py").write_text("raise ImportError('this Typst is for another system')")
    said, folder = _again(made, "pdf-broken", PYTHONPATH=str(tmp_path))
    (sentence,) = [line for line in said.splitlines() if "could not be made" in line]
    assert sentence == "report.pdf could not be made: this Typst is for another system; report.html is complete."
    assert (folder / "report.html").read_text().rstrip().endswith("</html>")
    assert not (folder / "report.pdf").exists() and not list(folder.glob(".report.pdf*"))
    page = (folder / "report.html").stat().st_mtime_ns
    said, _ = _again(made, "pdf-broken")
    assert "Report written" in said and "could not" not in said
    assert (folder / "report.pdf").is_file() and (folder / "report.html").stat().st_mtime_ns == page


def test_no_pdf_leaves_it_out_and_an_earlier_one_goes_when_it_no_longer_belongs(
    made: tuple[StubProject, Path],
) -> None:
    _, folder = _again(made, "pdf-left-out", "--no-pdf")
    assert (folder / "report.html").is_file() and not (folder / "report.pdf").exists()
    (folder / "report.pdf").write_bytes(b"%PDF of another run")
    said, _ = _again(made, "pdf-left-out", "--no-pdf")
    assert "Report is up to date" in said and not (folder / "report.pdf").exists()
    said, _ = _again(made, "pdf-left-out")
    assert "Report written" in said and (folder / "report.pdf").is_file()
    # It belongs to this page, so a call that makes none leaves it.
    _again(made, "pdf-left-out", "--no-pdf")
    assert (folder / "report.pdf").is_file()
