"""One look for every page: figure style, and figures and tables that carry caption and alternative text."""

from __future__ import annotations

import io
import re
import warnings

import matplotlib
import pandas as pd
from IPython.display import Markdown, display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bakeoff.lab.plots import fonts
from bakeoff.lab.plots.words import plain, text

# Okabe and Ito's colours: told apart by colour-blind readers and in gray print.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8C6D31")
PIXELS_PER_INCH = 110
# Parts of an SVG: what nobody sees, attributes with coordinates, digits behind the second decimal.
_UNSHOWN = re.compile(r"<metadata>.*?</metadata>|<!--.*?-->", re.DOTALL)
_COORDINATES = re.compile(r'(?<=[\s"])(?:d|x|y|transform)="[^"]*"')
_DIGITS = re.compile(r"(\.\d\d)\d+")
_BETWEEN = re.compile(r">\s*\n\s*<")


def use_style() -> None:
    """Set matplotlib's defaults for every figure that follows."""
    matplotlib.rcParams.update(
        {
            "figure.dpi": PIXELS_PER_INCH,
            "figure.figsize": (7.0, 3.6),
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": plt.cycler(color=COLORS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "font.size": 9,
            "legend.frameon": False,
            "image.interpolation": "nearest",
        }
    )


def show(figure: Figure, caption: str, alt: str, vector: bool = False) -> None:
    """Display a figure with its caption; `alt` says in words what a reader who cannot see it must know.

    Both are Markdown, as sentences are; the report reads them, without their marks, from the output's metadata. With
    `vector` a chart is there as SVG, too, which stays sharp at any size; images in it would make that large.
    """
    if not caption.strip() or not alt.strip():
        raise ValueError("every figure needs a caption and an alternative text: show(figure, caption=..., alt=...)")
    caption += _no_font(fonts.fit(figure))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the caption says it, and names no file
        figure.savefig(buffer, format="png", dpi=PIXELS_PER_INCH)
        drawing = {"image/svg+xml": svg(figure)} if vector else {}
    plt.close(figure)
    described, words = plain(alt), plain(caption)
    metadata = {"image/png": {"alt": described}, "bakeoff": {"caption": words, "kind": "figure"}}
    display({"image/png": buffer.getvalue(), "text/plain": described, **drawing}, raw=True, metadata=metadata)
    _caption("Figure", caption)


def svg(figure: Figure) -> str:
    """A figure that was saved before as SVG: text as text, coordinates to a hundredth of a point, no date."""
    buffer = io.StringIO()
    figure.set_layout_engine("none")  # it is laid out; a second saving would begin anew, with the style's engine
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "bakeoff"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    drawn = _UNSHOWN.sub("", drawn[drawn.index("<svg") :])
    return _BETWEEN.sub("><", _COORDINATES.sub(lambda found: " ".join(_DIGITS.sub(r"\1", found[0]).split()), drawn))


def _no_font(signs: str) -> str:
    return f" No installed font has {', '.join(map(text, signs))}: boxes stand for it." if signs else ""


def table(frame: pd.DataFrame, caption: str, digits: int = 4) -> None:
    """Display a table without its index, numbers rounded to `digits` decimals, with its caption."""
    html = frame.to_html(index=False, float_format=lambda x: f"{x:.{digits}f}", na_rep="", border=0)
    metadata = {"bakeoff": {"caption": plain(caption), "kind": "table"}}
    display({"text/html": html, "text/plain": frame.to_string(index=False)}, raw=True, metadata=metadata)
    _caption("Table", caption)


def listing(source: str, caption: str) -> None:
    """Display Python source, highlighted, with its caption."""
    metadata = {"bakeoff": {"caption": caption, "kind": "listing"}}
    display({"text/markdown": f"```python\n{source}\n```", "text/plain": source}, raw=True, metadata=metadata)
    _caption("Listing", caption)


def say(words: str) -> None:
    """Display a sentence that was computed from results, as Markdown; names in it go through `words.text`."""
    display(Markdown(words))


def _caption(kind: str, caption: str) -> None:
    """The caption for readers of the notebook; the report writes its own from the metadata and skips this one."""
    display(Markdown(f"*{kind}: {caption}*"), metadata={"bakeoff": {"kind": "caption"}})
