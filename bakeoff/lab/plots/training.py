"""Figures, tables and sentences of the train page: what is trained, how it went, and what to make of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bakeoff.lab import overfitting as rule
from bakeoff.lab.plots import page
from bakeoff.lab.plots.page import COLORS
from bakeoff.lab.plots.words import count, duration, percent, points, whole

if TYPE_CHECKING:
    from bakeoff.lab.training import Training

TRAINING_COLOR, VALIDATION_COLOR = COLORS[0], COLORS[1]
# what a source may print -> the name in training.json
PUBLISHED = {
    "train_accuracy": "training accuracy, last epoch",
    "train_loss": "training loss, last epoch",
    "validation_accuracy": "validation accuracy, last epoch",
    "validation_loss": "validation loss, last epoch",
    "train_seconds": "seconds of training",
}


def images_used(training: Training) -> str:
    """How many images the network was trained on and validated with, and where the latter come from."""
    summary = training.summary
    if not summary["epochs"]:
        return "No image is trained on, and none is held out to validate."
    used, there = summary["train_images"], summary["train_images_available"]
    text = f"The network was trained on {count(used, 'image')}"
    if used < there:
        text += f", **the first of {there}: the compute budget pays for no more**"
    text += f", in {count(summary['optimizer_steps'], 'step')} of up to {count(summary['batch_size'], 'image')}. "
    text += _left_out(summary) + _validation_words(summary)
    if summary["optimizer_steps"] < rule.MINIMUM_STEPS:
        text += f" Fewer than {rule.MINIMUM_STEPS} steps say little about what this network can learn."
    return text


def images_seen(summary: Mapping[str, Any]) -> int:
    """How many images the steps were made on, each counted as often as it was used; about, where a base gives features.

    A step of a batch that is not full counts as what was left of its epoch.
    """
    return min(summary["optimizer_steps"] * summary["batch_size"], summary["train_images"] * summary["epochs"])


def _left_out(summary: Mapping[str, Any]) -> str:
    """What the epochs left out, where they are no whole passes over the images."""
    seen, whole_passes = images_seen(summary), summary["train_images"] * summary["epochs"]
    if seen == whole_passes:
        return ""
    text = f"These {count(summary['epochs'], 'epoch')} are no whole passes: only full batches are used"
    share = summary.get("last_epoch_share", 1.0)
    text += f" and the last epoch is cut to {percent(share, 0)}" if share < 1 else ""
    return f"{text}, so the steps saw {whole(seen)} images rather than {whole(whole_passes)}. "


def _validation_words(summary: Mapping[str, Any]) -> str:
    images = count(summary["validation_images"], "image")
    if summary["validation_source"] == "split":
        return f"After each epoch it was validated on {images} held out from training."
    if summary["validation_source"] == "test":
        return (
            f"After each epoch it was validated on {images} **of the test set**: a leak, kept because the source did"
            " so. Nothing is chosen by it here."
        )
    return "No images were held out, so nothing here shows how it does on images that it has not seen."


def curves(training: Training) -> Figure:
    """Loss and accuracy by epoch, of training and validation images; the learning rate too, where it changes."""
    history = training.history
    if history.empty:
        return _nothing("Nothing was trained, so there are no curves.")
    rate_changes = bool(history["learning_rate"].nunique() > 1)
    figure, axes = plt.subplots(1, 3 if rate_changes else 2, figsize=(9.5 if rate_changes else 7.0, 3.0))
    _curve(axes[0], history, "loss", "loss")
    _curve(axes[1], history, "accuracy", "accuracy")
    best = training.summary["best_epoch"]
    kind = "validation" if history["validation_accuracy"].notna().any() else "train"
    value = float(history.loc[history["epoch"] == best, f"{kind}_accuracy"].iloc[0]) if best else np.nan
    if np.isfinite(value):
        color = VALIDATION_COLOR if kind == "validation" else TRAINING_COLOR
        axes[1].plot(best, value, "o", ms=10, mfc="none", color=color, label="best epoch")
    axes[1].legend(loc="best")
    if rate_changes:
        axes[2].plot(history["epoch"], history["learning_rate"], "o-", ms=3, color=COLORS[2])
        _label(axes[2], "learning rate at the epoch's end")
        axes[2].set_ylim(bottom=0)
    return figure


def _curve(axes: Axes, history: pd.DataFrame, column: str, label: str) -> None:
    axes.plot(history["epoch"], history[f"train_{column}"], "o-", ms=3, color=TRAINING_COLOR, label="training")
    validation = pd.to_numeric(history[f"validation_{column}"])
    if validation.notna().any():
        axes.plot(history["epoch"], validation, "s--", ms=3, color=VALIDATION_COLOR, label="validation")
    _label(axes, label)


def _label(axes: Axes, label: str) -> None:
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _nothing(text: str) -> Figure:
    figure, axes = plt.subplots(figsize=(7.0, 1.0))
    axes.text(0.5, 0.5, text, ha="center", va="center")
    axes.axis("off")
    return figure


def describe_curves(training: Training) -> str:
    """The curves in words, for readers who cannot see them."""
    history = training.history
    if history.empty:
        return "No curves: nothing was trained."
    if training.summary["diverged_epoch"]:
        return f"The curves end at epoch {training.summary['diverged_epoch']}, in which the training diverged."
    first, last = history.iloc[0], history.iloc[-1]
    epochs = len(history)
    text = f"Training accuracy {_course(first['train_accuracy'], last['train_accuracy'], epochs)}, "
    text += f"training loss {_course(first['train_loss'], last['train_loss'], epochs, share=False)}"
    if pd.notna(last["validation_accuracy"]):
        text += f"; validation accuracy {_course(first['validation_accuracy'], last['validation_accuracy'], epochs)}"
    return text + "."


def _course(first: float, last: float, epochs: int, share: bool = True) -> str:
    words = [percent(value) if share else f"{value:.3f}" for value in (first, last)]
    return f"{words[1]} in the only epoch" if epochs == 1 else f"from {words[0]} to {words[1]} in {epochs} epochs"


def outcome(training: Training) -> str:
    """How it ended, which epoch was the best, and how long it took."""
    summary, history = training.summary, training.history
    if history.empty:
        return "Nothing was trained: there is no accuracy of training, no best epoch and no time to report."
    if summary["diverged_epoch"]:
        return (
            f"**The training diverged** at epoch {summary['diverged_epoch']} of {summary['epochs_planned']} and ended"
            " there: loss or weights are no longer numbers, and neither are the network's predictions. A smaller"
            " learning rate is the first thing to try."
        )
    text = f"The last epoch ended at a **training accuracy of {percent(summary['train_accuracy'])}**"
    validated = summary["validation_accuracy"] is not None
    if validated:
        text += f" and a **validation accuracy of {percent(summary['validation_accuracy'])}**"
    return text + ". " + _best_words(training, validated) + " " + _time_words(summary)


def _best_words(training: Training, validated: bool) -> str:
    history, best = training.history, training.summary["best_epoch"]
    if len(history) == 1:
        return "There was one epoch only."
    name = "validation" if validated else "training"
    column = f"{'validation' if validated else 'train'}_accuracy"
    value = percent(float(history.loc[history["epoch"] == best, column].iloc[0]))
    if best < len(history) and history[column].iloc[-1] == history[column].max():
        return f"By {name} accuracy, none of its {len(history)} epochs was better than the last."
    if best == len(history):
        return f"It was the best of its {len(history)} epochs by {name} accuracy, so more epochs might still help."
    return (
        f"By {name} accuracy, epoch {best} of {len(history)} was the best, with {value}; the network that goes on to"
        " the evaluation is that of the last epoch."
    )


def _time_words(summary: Mapping[str, Any]) -> str:
    text = f"It took {duration(summary['train_seconds'])}"
    if summary.get("feature_seconds") is not None:
        return f"{text}, of which {duration(summary['feature_seconds'])} for the features."
    rate = images_seen(summary) / summary["train_seconds"] if summary["train_seconds"] else math.nan
    return text + ("." if math.isnan(rate) else f": {rate:.0f} training images a second, all told.")


def overfitting(training: Training) -> str:
    """How far training and validation accuracy are apart at the end, and what that means."""
    summary, history = training.summary, training.history
    if summary["diverged_epoch"]:
        return "The training diverged: there is nothing to compare between seen and unseen images."
    if history.empty or summary["validation_accuracy"] is None or not np.isfinite(summary["validation_accuracy"]):
        return "Without validation images the gap between seen and unseen images shows only in the evaluation."
    if summary.get("unseen_classes"):
        return (
            "The validation or test images show classes of which the training images have none, so the gap between "
            "training and validation accuracy says nothing about overfitting."
        )
    train, validation = summary["train_accuracy"], summary["validation_accuracy"]
    apart = f"{points(train, validation)} points"
    if train < validation:
        text = f"The validation accuracy is {apart} **above** the training accuracy. The training figure is a mean"
        return f"{text} over the epoch, of a network still learning, with its dropout and augmentation at work."
    verdict = rule.overfits(train, validation, summary["optimizer_steps"])
    text = f"The training accuracy is {apart} above the validation accuracy"
    if verdict is None:
        return f"{text}: after fewer than {rule.MINIMUM_STEPS} steps that says nothing about overfitting."
    if not verdict:
        return f"{text}: the network does not overfit, which here means a gap of more than {100 * rule.GAP:.0f} points."
    return f"{text}: {_since(history)}."


def _since(history: pd.DataFrame) -> str:
    """From which epoch on the validation loss only grew."""
    losses = pd.to_numeric(history["validation_loss"])
    lowest = int(history["epoch"].iloc[int(losses.argmin())])
    if lowest == int(history["epoch"].iloc[-1]):
        return "the network overfits, though its validation loss was still falling"
    return f"the network overfits, and since epoch {lowest} its validation loss has not been lower"


def beside_published(training: Training, published: Mapping[str, Any]) -> pd.DataFrame:
    """What the source prints of its training beside our figures; empty where it prints nothing of it.

    No differences: whether the two can be compared at all is for the audit of the claims to say.
    """
    rows = [
        {"figure": label, "source": float(published[name]), "here": training.summary.get(name)}
        for name, label in PUBLISHED.items()
        if isinstance(published.get(name), int | float)
    ]
    frame = pd.DataFrame(rows, columns=["figure", "source", "here"])
    frame["here"] = pd.to_numeric(frame["here"])
    return frame


def table_unless_empty(frame: pd.DataFrame, caption: str) -> None:
    """Display a table, or nothing when it has no rows."""
    if len(frame):
        page.table(frame, caption)


def compare_with_published(training: Training, published: Mapping[str, Any]) -> str:
    """Whether there is anything to compare with, and where that is done."""
    figures = len(beside_published(training, published))
    if not figures:
        return "The source prints no figure of this training to compare with, or there is no source."
    text = f"The source prints {count(figures, 'figure')} of its training. Whether ours can be compared with"
    return f"{text} {'it' if figures == 1 else 'them'}, and with what result, stands in the comparison of all variants."


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_word(item)}" for name, item in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
