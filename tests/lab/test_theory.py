"""The background chapter: the numbers behind its figures, its figures, and the notebook in a real kernel."""

from __future__ import annotations

import itertools
from pathlib import Path

import keras
import nbformat
import numpy as np
import papermill
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from bakeoff.lab import shapes, statistics
from bakeoff.lab.plots import page, theory
from bakeoff.lab.plots import theory_diagrams as diagrams
from bakeoff.lab.plots import theory_figures as figures
from tests.conftest import PROJECT

NOTEBOOK = PROJECT / "notebooks" / "0_background.ipynb"


pytestmark = pytest.mark.usefixtures("figures_without_a_screen")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return shapes.generate("train", 256, 0)[0]


@pytest.fixture(scope="module")
def paths() -> dict[str, np.ndarray]:
    return theory.paths()


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("name", list(theory.KERNELS))
def test_the_convolution_is_keras_own(images: np.ndarray, name: str) -> None:
    image, kernel = theory.gray(images[8]), theory.KERNELS[name]
    layer = keras.layers.Conv2D(1, kernel.shape, use_bias=False, padding="valid")
    layer.build((1, *image.shape, 1))
    layer.set_weights([kernel[:, :, None, None]])
    expected = keras.ops.convert_to_numpy(layer(image[None, ..., None].astype("float32")))[0, ..., 0]
    np.testing.assert_allclose(theory.convolve(image, kernel), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 6), (30, 30), (7, 9)])
def test_pooling_is_keras_own(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    for take, layer in ((np.max, keras.layers.MaxPooling2D), (np.mean, keras.layers.AveragePooling2D)):
        expected = keras.ops.convert_to_numpy(layer(2)(values[None, ..., None].astype("float32")))[0, ..., 0]
        np.testing.assert_allclose(theory.pool(values, take), expected, atol=1e-6)


def test_softmax_gives_probabilities_in_the_order_of_the_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 300, (50, 7))  # e to the power of these overflows
    found = theory.softmax(logits)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found.argmax(axis=1) == logits.argmax(axis=1)).all()
    np.testing.assert_allclose(theory.softmax(np.array([1.0, 0.0]))[0], 1 / (1 + np.exp(-1)))


def test_the_activations_are_what_their_formulas_say() -> None:
    values = np.linspace(-3, 3, 13)
    found = theory.activations(values)
    np.testing.assert_allclose(found["relu"], np.maximum(0, values), atol=1e-6)
    np.testing.assert_allclose(found["sigmoid"], 1 / (1 + np.exp(-values)), atol=1e-6)
    from scipy.stats import norm

    np.testing.assert_allclose(found["gelu"], values * norm.cdf(values), atol=1e-3)


def test_every_optimizer_goes_down_the_valley(paths: dict[str, np.ndarray]) -> None:
    for name, path in paths.items():
        losses = theory.valley(path)
        assert len(path) == 41
        assert losses[-1] < losses[0] / 50, name
    assert (np.diff(theory.valley(paths["SGD"])) < 0).all()


def test_sgd_and_momentum_step_as_the_chapter_writes_them(paths: dict[str, np.ndarray]) -> None:
    for name, rate, share in (("SGD", 0.037, 0.0), ("SGD with momentum", 0.02, 0.8)):
        weights, velocity = np.array(theory.START), np.zeros(2)
        for _ in range(40):
            velocity = share * velocity - rate * theory.STEEPNESS * weights
            weights = weights + velocity
        np.testing.assert_allclose(paths[name][-1], weights, atol=1e-4)


def test_the_drawn_gradient_is_the_slope_of_the_valley() -> None:
    point, step = np.array([-1.3, 0.4]), 1e-6
    slope = [
        (theory.valley(point + step * axis) - theory.valley(point - step * axis)) / (2 * step) for axis in np.eye(2)
    ]
    np.testing.assert_allclose(theory.STEEPNESS * point, slope, rtol=1e-5)


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_keeps_the_mean(rate: float) -> None:
    found = theory.masks((10, 10), rate, 2000)
    assert set(np.unique(found)) == {0.0, 1 / (1 - rate)}
    assert abs(np.mean(found == 0) - rate) < 0.01
    assert abs(found.mean() - 1) < 0.01
    assert (found == theory.masks((10, 10), rate, 2000)).all()


def test_batchnorm_gives_each_unit_mean_0_and_variance_1(images: np.ndarray) -> None:
    sums = theory.layer_sums(images)
    found = theory.normalize(sums)
    assert np.abs(sums.mean(axis=0)).max() > 1  # there is something to remove
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(found.var(axis=0), 1, atol=0.02)  # Keras adds 0.001 to the variance


def test_the_polynomials_overfit() -> None:
    fits = theory.fit_polynomials()
    assert (np.diff(fits.errors["training"]) <= 1e-9).all()
    assert 1 < fits.chosen < len(fits.curves) - 1
    assert fits.errors["validation"][-1] > 5 * fits.errors["validation"][fits.chosen]
    assert fits.errors["test"][-1] > 5 * fits.errors["test"][fits.chosen]
    x, y = fits.points["training"]
    expected = np.mean((np.polyval(np.polyfit(x, y, 3), x) - y) ** 2)
    np.testing.assert_allclose(fits.errors["training"][3], expected)


def test_the_interval_is_the_formula_of_the_chapter() -> None:
    z = 1.959964
    for n in (20, 1000):
        share = 0.8
        middle = share + z**2 / (2 * n)
        spread = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        expected = (middle - spread) / (1 + z**2 / n), (middle + spread) / (1 + z**2 / n)
        np.testing.assert_allclose(statistics.wilson_interval(share * n, n), expected, atol=1e-6)


def test_the_curve_of_intervals_is_that_of_statistics() -> None:
    counts = (20, 100, 1000)
    intervals = [statistics.wilson_interval(0.8 * n, n) for n in counts]
    figure = figures.judging(counts, 0.8, intervals)
    (band,) = figure.axes[0].collections
    corners = {tuple(np.round(corner, 9)) for corner in band.get_paths()[0].vertices}
    for n, (low, high) in zip(counts, intervals, strict=True):
        assert {(n, round(low, 9)), (n, round(high, 9))} <= corners


# ---------------------------------------------------------------- sentences and figures


def test_the_sentences_say_the_numbers(images: np.ndarray, paths: dict[str, np.ndarray]) -> None:
    star = theory.gray(images[8])
    response = theory.convolve(star, theory.KERNELS["vertical edges"])
    words = figures.convolution_words(star, "vertical edges")
    assert f"= {response[figures.MARKED]:.2f}." in words and "30 × 30" in words
    assert "(2.0)" in figures.pooling_words(np.array([[2.0, 0.0], [0.0, 0.0]]))
    assert "makes 0.5" in figures.pooling_words(np.array([[2.0, 0.0], [0.0, 0.0]]))
    assert "A has the logit 0 and gets 0.500, b has" in figures.softmax_words(("a", "b"), np.zeros(2))
    assert all(f"{name} {theory.valley(path[-1]):.2g}" in figures.descent_words(paths) for name, path in paths.items())
    sums = np.array([[1.0, -2.0], [3.0, -2.0]])
    assert "means go from -2.00 to 2.00 and the standard deviations from 0.00 to 1.00" in figures.normalization_words(
        sums, sums
    )
    fits = theory.fit_polynomials()
    assert f"choose degree {fits.chosen};" in figures.overfitting_words(fits)
    words = figures.interval_words((10, 100), 0.5, [(0.25, 0.75), (0.4, 0.6)])
    assert words.endswith(
        "50 % the interval goes from 25.0 to 75.0 % on 10 images and from 40.0 to 60.0 % on 100 images."
    )


def _texts(figure: Figure) -> list[Text]:
    """The texts that are drawn: those with words, without the labels of ticks beyond the ends of an axis."""
    figure.canvas.draw()
    beyond = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        beyond |= {label for tick in ticks if not low <= tick.get_loc() <= high for label in (tick.label1, tick.label2)}
    found = figure.findobj(Text)
    return [text for text in found if text.get_text().strip() and text.get_visible() and text not in beyond]


def _overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that cover each other."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in _texts(figure)]
    return [(one, other) for (one, a), (other, b) in itertools.combinations(boxes, 2) if a.overlaps(b) and a.height]


def test_no_text_covers_another_and_all_can_be_read(images: np.ndarray, paths: dict[str, np.ndarray]) -> None:
    star = theory.gray(images[8])
    sums = theory.layer_sums(images)
    drawn = [
        figures.classes(images[:10], shapes.CLASS_NAMES),
        figures.convolution(star, theory.KERNELS),
        figures.pooling(np.random.default_rng(0).random((6, 6))),
        figures.activation_and_softmax(("star", "cross"), np.array([4.0, -1.0])),
        figures.dropout(star, theory.masks(star.shape, 0.5, 10)),
        figures.normalization(sums, theory.normalize(sums)),
        figures.descent(paths),
        figures.overfitting(theory.fit_polynomials()),
        figures.copies(images[17], {"turned": images[:3].astype("float32")}),
        figures.judging((20, 10000), 0.8, [(0.58, 0.92), (0.79, 0.81)]),
        diagrams.search_loop(),
        diagrams.transfer(),
    ]
    for figure in drawn:
        assert not _overlaps(figure)
        width = figure.get_figwidth() * page.PIXELS_PER_INCH
        sizes = [text.get_fontsize() for text in _texts(figure)]
        assert min(sizes) * page.PIXELS_PER_INCH / 72 * min(1, 700 / width) >= 10  # pixels, on a page 700 wide


# ---------------------------------------------------------------- the notebook


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The notebook as Run All in Jupyter leaves it: nothing injected, in its own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(PROJECT))
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        target: Path = tmp_path_factory.mktemp("background") / "executed.ipynb"
        return papermill.execute_notebook(
            NOTEBOOK, target, kernel_name="python3", progress_bar=False, cwd=str(NOTEBOOK.parent)
        )


def test_it_runs_by_itself(executed: nbformat.NotebookNode) -> None:
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    shown = [cell for cell in code if "report" in cell.metadata.tags]
    assert not [o for cell in shown for o in cell.outputs if o.output_type in ("error", "stream")]


def test_every_section_has_a_figure_with_caption_and_alternative_text(executed: nbformat.NotebookNode) -> None:
    shown = [cell for cell in executed.cells if cell.cell_type == "code" and "report" in cell.metadata.tags]
    assert len(shown) >= 12
    captions = []
    for cell in shown:
        (figure,) = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        assert len(figure.metadata["image/png"]["alt"]) > 30
        captions.append(figure.metadata["bakeoff"]["caption"])
    assert len(set(captions)) == len(captions) and all(captions)


def test_every_section_is_told_before_it_is_shown() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    tagged = [cell for cell in cells if cell.cell_type == "markdown" and cell.metadata.get("tags")]
    sections = [cell.source for cell in tagged if cell.metadata["tags"] != ["colab"]]
    assert sections and all(source.startswith("## ") and len(source) > 300 for source in sections)
    assert sections[0].startswith("## Introduction")
