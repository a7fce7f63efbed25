"""Where networks differ and how sure they are: calibration, agreement, and the pictures that divide them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bakeoff.lab import statistics
from bakeoff.lab.answers import Answers, Panel
from bakeoff.lab.plots.comparison_figures import styles
from bakeoff.lab.plots.gallery import gallery, in_rows
from bakeoff.lab.plots.pair_figures import half_matrix
from bakeoff.lab.plots.words import count, percent, short, whole
from bakeoff.lab.results import Results

SURE = 0.9  # a wrong answer of more likelihood is a confident mistake
BINS = 10
COLUMNS = 6
SHOWN = 6  # pictures of a kind


def calibration(results: Results, answers: Mapping[str, Answers]) -> pd.DataFrame:
    """Accuracy, mean likelihood and expected calibration error of each ranked variant, and its confident mistakes."""
    ranked = results.ranked.set_index("variant").loc[list(answers)]
    wrong = [each.confidence[~each.correct] for each in answers.values()]
    return pd.DataFrame(
        {
            "variant": list(answers),
            "accuracy": [percent(share) for share in ranked["test_accuracy"]],
            "mean likelihood": [percent(float(each.confidence.mean())) for each in answers.values()],
            "calibration error": [
                "not measured" if math.isnan(error) else f"{error:.3f}"
                for error in ranked["expected_calibration_error"]
            ],
            f"wrong answers above {percent(SURE, 0)}": [
                percent(float((each > SURE).mean()) if each.size else 0.0) for each in wrong
            ],
            "surest wrong answer": [percent(float(each.max())) if each.size else "none" for each in wrong],
        }
    )


def calibration_words(results: Results, answers: Mapping[str, Answers]) -> str:
    """The best and the worst calibrated variant, and how many are surer than they are right."""
    errors = results.ranked.set_index("variant")["expected_calibration_error"].dropna()
    errors = errors[errors.index.isin(list(answers))]
    if errors.empty:
        return "No ranked variant has an expected calibration error."
    text = f"Best calibrated: `{errors.idxmin()}`, expected calibration error {errors.min():.3f}"
    if len(errors) > 1:
        text += f"; worst: `{errors.idxmax()}`, {errors.max():.3f}"
    sure = sum(bool(answers[name].confidence.mean() > answers[name].correct.mean() + 0.01) for name in errors.index)
    return (
        f"{text}. {sure} of {count(len(errors), 'variant')} {'is' if sure == 1 else 'are'} surer than right on average."
    )


def reliability(results: Results, answers: Mapping[str, Answers]) -> Figure:
    """Accuracy against stated likelihood, a panel a variant, all its trainings together; larger dot, more images."""
    lines = max(1, math.ceil(len(answers) / COLUMNS))
    columns = min(COLUMNS, max(1, len(answers)))
    size = (max(3.0, 1.45 * columns + 0.4), 1.65 * lines + 0.5)
    figure, grid = plt.subplots(lines, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    look = styles(results)
    for axes, (name, each) in zip(grid.flat, answers.items(), strict=False):
        found = statistics.binned(each.confidence.ravel(), each.correct.ravel(), BINS)
        filled = found.counts > 0
        axes.plot([0, 1], [0, 1], "--", color="#777777", linewidth=0.8)
        axes.plot(found.confidence[filled], found.accuracy[filled], color=look[name][0], linewidth=1)
        sizes = 4 + 60 * found.counts[filled] / found.counts.sum()
        axes.scatter(
            found.confidence[filled], found.accuracy[filled], s=sizes, color=look[name][0], marker=look[name][1]
        )
        axes.set_title(name, fontsize=6.5)
        axes.set(xlim=(0, 1.04), ylim=(0, 1.04), xticks=(0, 0.5, 1), yticks=(0, 0.5, 1), aspect="equal")
        axes.tick_params(labelsize=7)
    for axes in grid.flat[len(answers) :]:
        axes.axis("off")
    for axes in grid.flat[max(0, len(answers) - columns) : len(answers)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("likelihood of the answer", fontsize=8)
    figure.supylabel("accuracy", fontsize=8)
    return figure


def agreement(panel: Panel) -> pd.DataFrame:
    """Share of the test images on which two networks give the same answer, right or wrong."""
    from scipy.spatial.distance import pdist, squareform

    shares = 1 - squareform(pdist(panel.said, "hamming")) if len(panel.names) > 1 else np.ones((len(panel.names),) * 2)
    return pd.DataFrame(shares, index=panel.names, columns=panel.names)


def agreement_map(shares: pd.DataFrame) -> Figure:
    """The shares of equal answers as a half matrix, in percent."""
    values = shares.to_numpy()
    texts = [[f"{100 * share:.0f}" for share in row] for row in values]
    apart = values[np.tri(len(values), k=-1) > 0]
    return half_matrix(values, texts, list(shares.index), cmap="Greens", vmin=apart.min() - 0.1, vmax=apart.max() + 0.1)


def agreement_words(panel: Panel, results: Results) -> str:
    """How many images all networks got right, none, or only one; which two agree most; who could not be set beside."""
    left = [f"`{name}`" for name in results.ranked["variant"] if name not in panel.names]
    without = f" Without stored answers on the same images: {', '.join(left)}." if left else ""
    if len(panel.names) < 2:
        return f"Image by image, there are no two ranked variants to compare.{without}"
    hits, networks = panel.correct.sum(axis=0), len(panel.names)
    text = f"Of {count(len(hits), 'test image')}, {whole((hits == networks).sum())} were predicted right by all "
    text += f"{networks} variants, {whole((hits == 0).sum())} by none, "
    alone = panel.correct[:, hits == 1].sum(axis=1)
    if not alone.any():
        text += "and none by one alone."
    else:
        most = panel.names[int(alone.argmax())]
        text += f"and {whole(alone.sum())} by one alone, most of them by `{most}` ({whole(alone.max())})."
    pairs = agreement(panel).where(np.tri(networks, k=-1) > 0).stack().dropna()
    (one, other), (first, second) = pairs.idxmax()[::-1], pairs.idxmin()[::-1]
    text += f" The most alike are `{one}` and `{other}`, with {percent(pairs.max())} equal answers"
    text += f"; the least, `{first}` and `{second}`, {percent(pairs.min())}." if len(pairs) > 1 else "."
    return text + without


def telling(panel: Panel) -> dict[str, tuple[str, np.ndarray]]:
    """The kinds of telling pictures, each with its caption and the places of a few."""
    networks = len(panel.names)
    if not networks:
        return {}
    kinds = {
        "missed": (f"Images that all {networks} networks miss, with their most frequent answers.", panel.missed),
        "alone": ("Images that one network alone gets right, with what the others say.", panel.alone),
        "mistaken": ("The wrong answers that were given with most likelihood, one an image.", panel.mistaken),
    }
    used = kinds if networks > 1 else {"mistaken": kinds["mistaken"]}
    return {kind: (caption, places[:SHOWN]) for kind, (caption, places) in used.items() if len(places)}


def said_of(panel: Panel, at: int, names: Sequence[str]) -> list[str]:
    """What the networks that are wrong about an image say, the most frequent answers first."""
    wrong = Counter(panel.said[~panel.correct[:, at], at].tolist()).most_common(2)
    return [
        f"{votes} × {short(names[label])}" if len(panel.names) > 1 else short(names[label]) for label, votes in wrong
    ]


def surest_wrong(panel: Panel, at: int, names: Sequence[str]) -> list[str]:
    """The network that was surest of a wrong answer about an image, and that answer."""
    network = int(np.where(panel.correct[:, at], -1, panel.confidence[:, at]).argmax())
    return [
        panel.names[network],
        f"{short(names[panel.said[network, at]])} {percent(float(panel.confidence[network, at]))}",
    ]


def titles(panel: Panel, places: np.ndarray, names: Sequence[str], kind: str) -> list[str]:
    """The words above each picture: its true class, and what was answered; `kind` is missed, alone or mistaken."""
    lines = []
    for at in places.tolist():
        said = surest_wrong(panel, at, names) if kind == "mistaken" else said_of(panel, at, names)
        if kind == "alone":
            said = [f"✓ {panel.names[int(panel.correct[:, at].argmax())]}", *said]
        lines.append("\n".join([f"true: {short(names[panel.labels[at]])}", *said]))
    return lines


def pictures(images: np.ndarray, titles: Sequence[str]) -> Figure:
    """Pictures (n, h, w, c) in rows, each below its title."""
    return gallery(in_rows(images, COLUMNS), in_rows(titles, COLUMNS), side=1.45, size=6)
