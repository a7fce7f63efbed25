"""Sentences and what stands beside them: computed from the same rows, and names in them are text."""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import cbook, font_manager
from matplotlib import pyplot as plt
from matplotlib.text import Text
from sklearn.metrics import confusion_matrix

from bakeoff.lab import evaluation as scoring
from bakeoff.lab import files, results
from bakeoff.lab.plots import evaluation as figures
from bakeoff.lab.plots import fonts, images, page, predictions, words
from tests.lab.cells import run_cells
from tests.lab.made import measure
from tests.lab.test_results import read, row

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
ODD = ["Füchse & Bären", "<b>bold</b>", "$x_1^2$ & $5", "*a* `b` [c](d)", "קוף קטן", "a|b~c\\d"]


@pytest.fixture(autouse=True)
def closed_figures() -> Iterator[None]:
    yield
    plt.close("all")


def _cells(path: Path) -> Iterator[ast.Module]:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "page.show(" in source:
            yield ast.parse(source)


def _described(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The first argument of each describer whose sentence is a figure's alternative text, and what draws it.

    That is the figure's call, or the whole cell without the describer where the cell itself draws.
    """
    made = {
        node.targets[0].id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "page.show"):
            continue
        figure = node.args[0]
        figure = figure.value if isinstance(figure, ast.Attribute) else figure  # axes.figure
        figure = made.get(figure.id, figure) if isinstance(figure, ast.Name) else figure
        (alt,) = [keyword.value for keyword in node.keywords if keyword.arg == "alt"]
        for name in {part.id for part in ast.walk(alt) if isinstance(part, ast.Name)}:
            describer = made.get(name)
            if isinstance(describer, ast.Call) and "words" in ast.unparse(describer.func):
                drawn = ast.unparse(figure)
                if drawn.isidentifier() or drawn.startswith("gallery("):  # the cell itself draws
                    inside = [id(part) for part in ast.walk(describer)]
                    drawn = "; ".join(
                        part.id for part in ast.walk(tree) if isinstance(part, ast.Name) and id(part) not in inside
                    )
                yield ast.unparse(describer.args[0]), drawn


PAIRS = [(path.stem, rows, figure) for path in NOTEBOOKS for tree in _cells(path) for rows, figure in _described(tree)]


def test_there_are_pairs_of_a_figure_and_its_sentence() -> None:
    assert len(PAIRS) >= 10


@pytest.mark.parametrize(("notebook", "rows", "figure"), PAIRS)
def test_a_figure_and_its_sentence_get_the_same_rows(notebook: str, rows: str, figure: str) -> None:
    root = ast.parse(rows, mode="eval").body
    while isinstance(root, ast.Attribute | ast.Subscript):
        root = root.value
    assert isinstance(root, ast.Name), f"{notebook}: the sentence is computed from {rows}, the figure is {figure}"
    assert root.id in {each.id for each in ast.walk(ast.parse(figure)) if isinstance(each, ast.Name)}, notebook


def _balance_page(folder: Path, class_names: list[str], labels: np.ndarray) -> dict[str, Any]:
    """All of the load notebook on images with these classes; its names, and the figures as they were shown."""
    parameters = {"dataset": "shapes10", "max_train_examples": len(labels), "max_test_examples": 5}
    parameters |= {"inputs": {}, "output": str(folder)}
    run_cells("1_load", parameters)
    files.write_json(folder / "dataset.json", files.read_json(folder / "dataset.json") | {"class_names": class_names})
    files.write_npy(folder / "train_labels.npy", labels)
    files.write_npy(folder / "test_labels.npy", labels[:5])
    return run_cells("1_load", parameters, _keep_figure, pages=True)


def _keep_figure(source: str) -> str:
    return f"{source}\nkept = [*globals().get('kept', []), figure]" if "plt.subplots(" in source else source


def test_every_class_of_which_a_sentence_speaks_has_its_bar(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(100), np.arange(100, 0, -1))
    names = [f"class {at}" for at in range(100)]
    assert "class 99 the fewest (1)" in images.balance_words(labels, names)
    axes = _balance_page(tmp_path, names, labels)["kept"][0].axes[0]
    bars = [bar.get_width() for bar in axes.containers[0]]
    assert bars == list(range(100, 0, -1))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == names[::5]


@pytest.mark.parametrize("name", ODD)
def test_a_name_is_text_in_markdown_and_comes_back_plain(name: str) -> None:
    from bakeoff.report.formulas import Formulas

    renderer = Formulas()
    html = renderer.fill(renderer.html(f"Of **{words.text(name)}** there are 5."))
    assert html.strip() == f"<p>Of <strong>{_escaped(name)}</strong> there are 5.</p>"
    assert words.plain(words.text(name)) == name


def _escaped(name: str) -> str:
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _odd_scores() -> scoring.Evaluation:
    labels = np.arange(60) % 6
    probabilities = np.eye(6, dtype=np.float32)[(labels + (np.arange(60) % 4 == 0)) % 6] * 0.94 + 0.01
    metrics = measure(probabilities, labels, ODD)
    facts = {
        "task": "classes",
        "class_names": ODD,
        "dataset": "odd",
        "weights": "none",
        "test_images_available": 60,
        "test_images": 60,
    }
    return scoring.Evaluation(np.array([f"t{at}" for at in range(60)]), labels, probabilities, metrics | facts)


def test_names_of_classes_are_text_in_sentences() -> None:
    scores = _odd_scores()
    labels = np.repeat(np.arange(6), [9, 1, 5, 5, 5, 0])
    matrix = confusion_matrix(scores.labels, scores.predicted)
    confusion = figures.confusion_words(matrix, ODD)
    shown = predictions.examples_words(scores, range(8))
    for sentence in (figures.class_words(scores), confusion, shown, images.balance_words(labels, ODD)):
        for name in ODD:
            if name in words.plain(sentence):
                assert words.text(name) in sentence
        assert "$x_1^2$" not in sentence and "<b>" not in sentence.replace("\\<b", "")


def test_no_tick_or_title_of_a_figure_is_read_as_a_formula(tmp_path: Path) -> None:
    first = next(at for at, name in enumerate(ODD) if "$" in name)
    names = _balance_page(tmp_path, ODD, (np.arange(12) + first) % 6)
    examples = predictions.examples(_odd_scores(), np.arange(8), np.zeros((8, 8, 8, 3), np.uint8))
    for figure in (examples, *names["kept"][:2]):
        texts = [text.get_text() for text in figure.findobj(Text)]
        assert any("$" in text for text in texts)
        assert not [text for text in texts if "$" in text and cbook.is_math_text(text)]


RARE = "\U000f1a55"  # of private use: no font of any system has it


@pytest.fixture
def installed_font(tmp_path: Path) -> Iterator[str]:
    """The name of a font that has the rare sign, installed after matplotlib wrote its list."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(point)
    pen.closePath()
    glyph = pen.glyph()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "rare"])
    builder.setupCharacterMap({ord(RARE): "rare"})
    builder.setupGlyf({".notdef": glyph, "rare": glyph})
    builder.setupHorizontalMetrics({".notdef": (800, 0), "rare": (800, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Rare Sans", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "rare.ttf")
    before = list(font_manager.fontManager.ttflist)
    font_manager.fontManager.addfont(tmp_path / "rare.ttf")
    _forget()
    yield "Rare Sans"
    font_manager.fontManager.ttflist[:] = before
    _forget()


def _forget() -> None:
    for remembered in (fonts._family_with, fonts._signs, fonts._add_new_fonts):
        remembered.cache_clear()


def test_a_chart_as_svg_keeps_the_layout_that_it_was_saved_with() -> None:
    """Its axes moved under the columns beside them: a second saving began with the style's layout engine."""
    page.use_style()
    figure, axes = plt.subplots(figsize=(7.2, 2.0), layout="none")
    figure.subplots_adjust(left=0.25, right=0.5)
    axes.set_xlabel("test accuracy")
    figure.savefig(io.BytesIO(), format="png")
    drawn = page.svg(figure)
    plt.close(figure)
    assert drawn.startswith("<svg") and ">test accuracy</text>" in drawn and "<metadata" not in drawn
    assert re.search(r'id="patch_2"><path d="M 129\.6 [\d.]+ L 259\.2 ', drawn)  # a quarter and a half of 518.4 points


def _shown(name: str, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> str:
    figure, axes = plt.subplots()
    axes.set_yticks([0, 1], [name, "b"])
    page.show(figure, caption="Images of each class.", alt="Bars.")
    assert not recwarn.list, "no warning stands on a page, with or without a path"
    return capsys.readouterr().out


def test_a_sign_that_the_own_font_lacks_comes_from_an_installed_one(
    installed_font: str, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    assert "No installed font" not in _shown(f"a {RARE}", capsys, recwarn)
    figure, axes = plt.subplots()
    axes.set_title(f"a {RARE}")
    assert fonts.fit(figure) == ""
    assert axes.title.get_fontfamily()[-1] == installed_font
    assert axes.xaxis.label.get_fontfamily() == axes.yaxis.label.get_fontfamily()
    assert installed_font not in axes.xaxis.label.get_fontfamily(), "others stay as they are"


def test_a_sign_that_no_font_has_is_said_to_be_a_box(
    capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    _forget()
    figure, axes = plt.subplots()
    axes.set_title("a \U000f1a56")
    assert fonts.fit(figure) == "\U000f1a56"
    _shown("a \U000f1a56", capsys, recwarn)
    assert "boxes stand for it" in page._no_font("\U000f1a56")


@pytest.mark.parametrize(("share", "printed"), [(0.7105, "71.1 %"), (np.float32(0.7105), "71.1 %"), (0.0625, "6.3 %")])
def test_one_number_is_rounded_to_one_percentage_everywhere(share: float, printed: str) -> None:
    assert words.percent(share) == printed


def test_nothing_that_was_done_took_no_milliseconds(tmp_path: Path) -> None:
    from bakeoff.lab.plots import comparison

    found: results.Results = read(tmp_path, row("imagenet", 0.1, task="labels_only", train_seconds=0.0))
    assert comparison.unranked(found)["training"].tolist() == ["none"]
