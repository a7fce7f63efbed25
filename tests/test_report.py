"""The HTML form of the report: its parts, that nothing in it can act, and that a finished one holds together."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import re
import sys
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from bakeoff.report.clean import assumed, inert, linked, prose, terminal
from bakeoff.report.facts import banner
from bakeoff.report.formulas import Formulas
from bakeoff.report.html import to_html
from bakeoff.report.images import LARGEST_SVG, EmbeddedImage, EmbeddedImages
from bakeoff.report.merge import Merger

ATTACKS = {
    "script": "<script>window.acted = 1</script>",
    "handler": "<img src=x onerror='window.acted = 1'>",
    "link": "<a href='javascript:window.acted=1'>here</a> [there](javascript:window.acted=1)",
    "drawing": "<svg onload='window.acted = 1'><a href='javascript:1'><text>x</text></a></svg>",
    "style": "<style>body { display: none }</style><p style='position:fixed' class='skip'>x</p>",
    "frame": "<iframe srcdoc='<script>parent.acted = 1</script>'></iframe><object data='x'></object><embed src='x'>",
    "refresh": "<meta http-equiv=refresh content='0;url=https://example.org'><base href='https://example.org'>",
    "form": "<form action='https://example.org'><input autofocus onfocus='window.acted=1'><button>x</button></form>",
    "ids": "<h2 id='main'>x</h2><p id='ranking'>x</p>",
    "end": "</pre></p></figcaption></main></title></style><script>window.acted = 1</script>",
    "attribute": '" onerror="window.acted = 1" x=\'" onload=\'window.acted = 1',
    "formula": r"$\href{javascript:window.acted=1}{x}$ $\text{<img src=x onerror=window.acted=1>}$",
}
HOSTILE = "\n\n".join(ATTACKS.values())
FACTS = {
    "profile": HOSTILE,
    "datasets": [(HOSTILE, "0" * 64)],
    "machine": {"device": HOSTILE, "cores": 2, "backend": HOSTILE},
    "revision": HOSTILE,
    "packages": {HOSTILE: HOSTILE},
}


def _png(color: tuple[int, ...] = (255, 0, 0), size: tuple[int, int] = (40, 20)) -> str:
    buffer = io.BytesIO()
    Image.new("RGBA" if len(color) == 4 else "RGB", size, color).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _output(data: dict[str, str], **metadata: object) -> nbformat.NotebookNode:
    return nbformat.v4.new_output("display_data", data, metadata=metadata)


def hostile_page() -> str:
    """A report in which every place that a notebook, a parameter file or a program can fill is hostile."""
    merged = Merger()
    merged.heading(2, HOSTILE)
    merged.heading(3, HOSTILE, "variant-x")
    merged.markdown(HOSTILE)
    outputs = [_output({kind: HOSTILE}) for kind in ("text/html", "text/markdown", "text/plain", "text/latex")]
    drawing = f'<svg width="9" height="9" xmlns="http://www.w3.org/2000/svg">{HOSTILE}</svg>'
    captions = {"bakeoff": {"caption": HOSTILE, "kind": "figure"}}
    outputs += [
        _output({"image/png": _png(), "text/plain": HOSTILE}, **{"image/png": {"alt": HOSTILE}}, **captions),
        _output({"image/svg+xml": drawing}, **{"image/svg+xml": {"alt": HOSTILE}}, **captions),
        _output({"image/png": HOSTILE, "text/plain": HOSTILE}),
        _output({"text/html": f"<table><tr><td>{HOSTILE}</td></tr></table>"}, **captions),
        _output({"application/javascript": "window.acted = 1", "text/plain": HOSTILE}),
        _output({"text/html": "<p>x</p>"}, bakeoff=HOSTILE),
        nbformat.v4.new_output("stream", name="stdout", text=HOSTILE),
        nbformat.v4.new_output("stream", name="stderr", text=HOSTILE),
        nbformat.v4.new_output("error", ename=HOSTILE, evalue=HOSTILE, traceback=[HOSTILE]),
        nbformat.v4.new_output("execute_result", {"text/plain": HOSTILE}, execution_count=1),
    ]
    merged.cells.append(nbformat.v4.new_code_cell(HOSTILE, outputs=outputs))
    return to_html(merged, HOSTILE, [HOSTILE], FACTS)


def test_nothing_hostile_can_act_wherever_it_stands() -> None:
    page = BeautifulSoup(hostile_page(), "html.parser")
    assert [len(page.find_all(name)) for name in ("script", "style", "h1", "title", "main", "nav")] == [1] * 6
    assert not page.find_all(["iframe", "object", "embed", "svg", "form", "base", "link", "template", "video"])
    assert {meta.get("http-equiv") for meta in page.find_all("meta")} == {None, "Content-Security-Policy"}
    assert len(page.find_all("input")) == 0
    for tag in page.find_all(True):
        assert not [name for name in tag.attrs if name.startswith("on") or name in ("style", "srcdoc", "autofocus")]
        for address in (tag.get("href"), tag.get("src")):
            assert not address or re.match(r"#|https?:|mailto:|data:image/(webp|svg\+xml);base64,|[\w.-]+$", address)
    assert "skip" not in [name for tag in page.find("main").find_all(True) for name in tag.get("class", [])]
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_stays_text_in_captions_and_alternative_texts(attack: str) -> None:
    merged = Merger()
    text = ATTACKS[attack]
    output = _output({"image/png": _png()}, **{"image/png": {"alt": text}}, bakeoff={"caption": text})
    merged.cells.append(nbformat.v4.new_code_cell("", outputs=[output]))
    page = BeautifulSoup(to_html(merged, "x", [], FACTS), "html.parser")
    assert page.figure.img["alt"] == text
    assert page.figure.figcaption.get_text() == f"Figure 1. {text}"


def test_the_policy_allows_this_script_and_this_style_alone() -> None:
    page = BeautifulSoup(to_html(Merger(), "x", [], FACTS), "html.parser")
    policy = page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"]
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.find(name).string.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy


def test_what_stands_in_a_script_is_no_text() -> None:
    assert inert("a<script>b</script><STYLE>c</STYLE >d") == "ad"


def test_each_header_says_what_it_heads_and_none_is_empty() -> None:
    html = inert(
        "<table><thead><tr><th></th><th>a</th></tr></thead><tbody><tr><th>b</th><td>1</td></tr></tbody></table>"
    )
    assert '<td></td><th scope="col">a</th>' in html
    assert '<th scope="row">b</th>' in html


def test_a_heading_keeps_an_id_of_the_report_once() -> None:
    ids = {"known"}
    source = '<h3 id="known">a</h3><h3 id="known">b</h3><h3 id="other">c</h3><p id="known">d</p>'
    assert prose(source, ids) == '<h3 id="known">a</h3><h3>b</h3><h3>c</h3><p>d</p>'
    assert not ids


def test_a_variant_s_name_leads_to_its_chapter() -> None:
    html = linked("<td>ann</td><td>annex</td><code>ann</code><p>ann</p>", {"ann": "variant-ann"})
    link = '<a href="#variant-ann">ann</a>'
    assert html == f"<td>{link}</td><td>annex</td><code>{link}</code><p>ann</p>"


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("1/9\b\b\b2/9\b\b\b9/9 done\n", "9/9 done\n"),
        ("long line\rshort", "shortline"),
        ("long line\r\x1b[Kshort", "short"),
        ("a\r\nb", "a\nb"),
        ("\b\ba", "a"),
        ("\x1b[31mred\x1b[0m \x1b[38;5;9mx\x1b[m", "red x"),
        ("\x1b]8;;https://example.org\x07link\x1b]8;;\x07", "link"),
        ("<b>\x00\x07&", "&lt;b&gt;&amp;"),
    ],
)
def test_text_is_left_as_a_terminal_leaves_it(printed: str, shown: str) -> None:
    assert terminal(printed) == shown


def _formulas(text: str) -> str:
    formulas = Formulas()
    return formulas.fill(formulas.html(text))


def test_formulas_become_mathml() -> None:
    html = _formulas("Share $\\hat{p} = \\frac{k}{n}$.\n\n$$\n\\sum_i x_i^2  % a comment\n+ 1\n$$\n\nEnd.")
    assert html.count("<math ") == 2 and html.count('display="block"') == 1
    assert "<mfrac><mi>k</mi><mi>n</mi></mfrac>" in html
    assert "comment" not in html
    assert "<p>End.</p>" in html


@pytest.mark.parametrize(
    "text",
    ["costs $5 or $6", "US$20 and 30$", "`code $x$ here` and `$y$`", "```\n$x$\n```", "    $x$", "\\$x\\$", "$ x $"],
)
def test_prices_and_code_keep_their_dollars(text: str) -> None:
    html = _formulas(text)
    assert "<math" not in html
    assert BeautifulSoup(html, "html.parser").get_text().count("$") == text.count("$")


def test_a_formula_that_cannot_be_read_is_shown_as_written() -> None:
    assert _formulas("$\\frac{$ and $\\nonsense{<b>}$") == (
        "<p><code>\\frac{</code> and <code>\\nonsense{&lt;b&gt;}</code></p>\n"
    )


def test_without_pandoc_formulas_are_shown_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the code before, a run on a machine without it ended in a traceback, and without a report."""
    monkeypatch.setitem(sys.modules, "pypandoc", None)
    assert _formulas("$a < b$") == "<p><code>a &lt; b</code></p>\n"


def _image(data: dict[str, str]) -> EmbeddedImage | None:
    return EmbeddedImages([data])(data)


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 0, 255, 100)])
def test_a_flat_image_becomes_webp_without_loss(color: tuple[int, ...]) -> None:
    found = _image({"image/png": _png(color)})
    assert found is not None and (found.width, found.height) == (40, 20)
    assert found.source.startswith("data:image/webp;base64,")
    with Image.open(io.BytesIO(base64.b64decode(found.source.split(",")[1]))) as image:
        assert image.size == (40, 20)
        assert image.getpixel((3, 3)) == color


def test_a_photograph_is_kept_small() -> None:
    buffer = io.BytesIO()
    Image.effect_noise((60, 60), 90).resize((300, 300), Image.Resampling.BICUBIC).convert("RGB").save(buffer, "PNG")
    found = _image({"image/png": base64.b64encode(buffer.getvalue()).decode()})
    assert found is not None
    content = base64.b64decode(found.source.split(",")[1])
    assert content[12:16] == b"VP8 "  # lossy
    assert len(content) < len(buffer.getvalue()) / 3


@pytest.mark.parametrize(
    ("root", "size"),
    [
        ('width="72pt" height="36pt"', (96, 48)),
        ('width="100%" height="50%" viewBox="0 0 300 150"', (300, 150)),
        ('width="20" height="10px"', (20, 10)),
    ],
)
def test_a_small_drawing_stays_a_drawing(root: str, size: tuple[int, int]) -> None:
    found = _image({"image/svg+xml": f"<svg {root}></svg>", "image/png": _png()})
    assert found is not None and found.source.startswith("data:image/svg+xml;base64,")
    assert (found.width, found.height) == size


def test_a_large_drawing_gives_way_to_its_image() -> None:
    drawing = f'<svg width="9" height="9">{" " * LARGEST_SVG}</svg>'
    found = _image({"image/svg+xml": drawing, "image/png": _png()})
    assert found is not None and found.source.startswith("data:image/webp")


@pytest.mark.parametrize("content", ["", "no base64 at all!", base64.b64encode(b"no image").decode()])
def test_what_is_no_image_is_shown_in_words(content: str) -> None:
    assert _image({"image/png": content}) is None
    assert _image({"image/svg+xml": content}) is None


def test_a_row_that_could_not_be_run_has_no_number_to_warn_of() -> None:
    blocked = {"dataset": "cifar10", "weights": "random", "limited": "epochs 1 (catalogue: 5)", "status": "blocked"}
    assert banner([blocked]) == ["1 of 1 rows: not finished: they failed or could not be run."]
    assert len(banner([blocked | {"status": "ok"}])) == 2


@pytest.fixture(scope="module")
def page(small_report: Path) -> BeautifulSoup:
    return BeautifulSoup((small_report / "report.html").read_text(encoding="utf-8"), "html.parser")


def test_every_figure_has_a_number_a_caption_and_its_size(page: BeautifulSoup) -> None:
    images = page.find_all("img")
    assert len(images) > 15
    for number, image in enumerate(images, start=1):
        assert image.parent.name == "figure"
        assert len(image["alt"].split()) > 3
        assert int(image["width"]) > 50 and int(image["height"]) > 50
        assert re.match(rf"Figure {number}\. \w.+", image.parent.figcaption.get_text())
        assert image["src"].startswith(("data:image/webp;base64,", "data:image/svg+xml;base64,"))


def test_every_table_has_a_caption_and_headers(page: BeautifulSoup) -> None:
    tables = page.select("figure.table")
    for number, table in enumerate(tables, start=1):
        assert table.figcaption.get_text().startswith(f"Table {number}. ")
    assert len(tables) > 5
    headers = page.find_all("th")
    assert all(header.get("scope") in ("col", "row") and header.get_text(strip=True) for header in headers)


def test_every_link_inside_leads_somewhere(page: BeautifulSoup, small_report: Path) -> None:
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    links = [link["href"] for link in page.find_all("a")]
    inside = {link[1:] for link in links if link.startswith("#")}
    files = {link for link in links if not re.match(r"#|https?:|mailto:", link)}
    assert inside and inside <= set(ids)
    assert {"results.csv", "notebooks/ann/train.ipynb"} <= files
    assert all((small_report / unquote(link)).is_file() for link in files)


def test_the_ranking_leads_to_the_chapters_and_they_lead_back(page: BeautifulSoup) -> None:
    table = page.find(id="ranking").table
    found = {link.get_text(): link["href"] for link in table.find_all("a")}
    assert found == {name: f"#variant-{name.replace('_', '-')}" for name in ("ann", "simple_cnn", "gray_cnn")}
    assert len(page.find_all("a", href="#ranking")) == 3


def test_headings_go_down_one_level_at_a_time(page: BeautifulSoup) -> None:
    levels = [int(heading.name[1]) for heading in page.find_all(re.compile("^h[1-6]$"))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_no_escape_or_backspace_is_left(page: BeautifulSoup) -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f]", page.get_text())


def test_no_paragraph_of_prose_stands_twice(page: BeautifulSoup) -> None:
    texts = [" ".join(each.get_text().split()) for each in page.main.find_all(["p", "li"])]
    assert len(texts) > 50
    long = [text for text in texts if len(text.split()) > 20]
    assert sorted(text for text in set(long) if long.count(text) > 1) == []


def _chapter(page: BeautifulSoup, variant: str) -> BeautifulSoup:
    found = page.find(id=f"variant-{variant}").find_parent("details")
    assert found is not None
    return found


def test_a_chapter_shows_the_network_and_how_it_was_trained(page: BeautifulSoup) -> None:
    text = " ".join(_chapter(page, "simple-cnn").get_text().split())
    for layer in ("Conv2D(", "MaxPooling2D(", "Flatten(", "Dense("):
        assert layer in text, layer
    for parameter in (
        'optimizer = "adam"',
        'loss = "sparse_categorical_crossentropy"',
        "batch_size = 32",
        "epochs = 2",
    ):
        assert parameter in text, parameter
    assert "model.compile( optimizer=optimizers[optimizer](learning_rate=learning_rate" in text
    assert "loss=losses[loss]" in text and "model.fit( train_batches.dataset(first_epoch)" in text
    assert "inputs =" not in text and "output =" not in text


def test_a_chapter_shows_facts_curves_and_confusions(page: BeautifulSoup) -> None:
    for name in ("ann", "simple-cnn", "gray-cnn"):
        chapter = _chapter(page, name)
        facts = {row.th.get_text(): row.td.get_text() for row in chapter.find("table").select("tbody tr")}
        assert (
            facts["optimizer"] == ("sgd" if name == "ann" else "adam")
            and facts["epochs"] == "2"
            and facts["training images"]
        ), facts
        alts = [image["alt"] for image in chapter.find_all("img")]
        assert any("Heat map" in alt for alt in alts) and len(alts) >= 3
        captions = " ".join(caption.get_text() for caption in chapter.find_all("figcaption"))
        assert "Predicted probabilities of the first test images." in captions
        leads = page.find(id="ranking").table.find("a").get_text() == name.replace("-", "_")
        assert ("The first test images: true class, then the predicted one." in captions) == leads
        assert chapter.find("a", href=f"notebooks/{name.replace('-', '_')}/train.ipynb")


def test_the_page_has_its_date_the_problem_and_one_table_of_all_models(page: BeautifulSoup) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", page.find("p", class_="by").get_text())
    assert "predict which one of 10 classes it shows" in page.get_text()
    assert "handwritten digits (scikit-learn's digits, since MNIST is not at hand)" in page.get_text()
    (models,) = [table for table in page.select("figure.table") if "All models" in table.figcaption.get_text()]
    assert models.select_one("tbody tr td:last-child").get_text().startswith("picked: ")


def test_what_is_assumed_is_marked_in_a_listing() -> None:
    html = '<span class="c1"># rate assumed</span> <span class="c1"># as in the source</span>'
    assert (
        assumed(html)
        == '<mark><span class="c1"># rate assumed</span></mark> <span class="c1"># as in the source</span>'
    )
