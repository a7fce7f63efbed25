"""Tables and sentences of the build page: counts beside the source's, options, and the cost of an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from bakeoff.lab.plots.network import costly_blocks, percent, plain

if TYPE_CHECKING:
    from bakeoff.lab.models import Network
    from bakeoff.lab.preprocessing import Prepared

STATISTICS = (
    "BatchNormalization",
    "Normalization",
)  # have fixed numbers in any network


def where_sentence(network: Network) -> str:
    """Which part has most of the parameters, and which takes most of the FLOPs."""
    found = costly_blocks(network)
    heavy = max(found, key=lambda box: box.parameters)
    busy = max(found, key=lambda box: box.gflop)
    share = percent(heavy.parameters / max(network.parameters, 1))
    flops = percent(busy.gflop / max(network.forward_gflop, 1e-12))
    if heavy == busy:
        return f"One part, {plain(heavy)}, holds {share} of the parameters and takes {flops} of the FLOPs."
    words = f"{plain(heavy)} holds {share} of the parameters; {plain(busy)} takes {flops} of the FLOPs."
    return words[0].upper() + words[1:]


def cost_sentence(network: Network, trained: bool = True) -> str:
    """What one image costs, and what that means for training, where it is `trained` at all."""
    text = f"One image takes **{_flop(network.forward_gflop)}** (floating point operations) on its way through the"
    if not trained:
        return f"{text} network. Nothing is trained."
    if any(row.parameters and not row.trainable_parameters and row.kind not in STATISTICS for row in network.layers):
        return (
            f"{text} network. A training step takes less than three times that: only"
            f" {_number(network.trainable_parameters)} of its {_number(network.parameters)} parameters are trained, and"
            " no gradient goes further back than the first of them."
        )
    cost = _flop(3000 * network.forward_gflop)
    return f"{text} network. A training step takes about three times that: {cost} for every 1 000 images."


def pixels_words(prepared: Prepared, builder: str, weights: str) -> str:
    """Whether the network gets its pixels as its pretrained weights got them when they were trained."""
    from bakeoff.lab.models.pretrained import SCALINGS
    from bakeoff.lab.transform import is_scaled

    wanted = SCALINGS.get(builder)
    if weights != "imagenet" or wanted is None:
        return "No pretrained weights are used, so the pixels need not be scaled in any one way."
    if is_scaled(prepared.test.transform, prepared.train.images.shape[-1], wanted):
        return f"The pixels are scaled as those were that the pretrained weights come from (`{wanted}`)."
    return (
        "**The pixels are not scaled as those were that the pretrained weights come from**: these want the scaling"
        f" `{wanted}`. The network has to unlearn the difference, and may do worse for it."
    )


def options_table(network: Network, published: Mapping[str, Any]) -> pd.DataFrame:
    """What the network was built with, beside the source's best values where it searched for them."""
    best = published.get("best", {})
    settings = {**network.options, "weights": network.weights, "image_size": network.image_size or "as the images are"}
    columns = {"option": list(settings), "built with": [_value(value) for value in settings.values()]}
    if best:
        columns["the source's best"] = [_value(best[name]) if name in best else "" for name in settings]
    return pd.DataFrame(columns)


def parameter_table(network: Network, published: Mapping[str, Any]) -> pd.DataFrame:
    """Parameters all told, trainable and fixed, beside those that the source prints."""
    printed = {"all": published.get("parameters"), "trainable": published.get("trainable")}
    fixed = None if None in printed.values() else published["parameters"] - published["trainable"]
    ours = (network.parameters, network.trainable_parameters, network.non_trainable_parameters)
    theirs = (printed["all"], printed["trainable"], fixed)
    return pd.DataFrame(
        {
            "parameters": ["all", "trainable", "fixed"],
            "this network": [_number(number) for number in ours],
            "the source": ["not printed" if number is None else _number(number) for number in theirs],
        }
    )


def parameter_sentence(network: Network, published: Mapping[str, Any]) -> str:
    """Whether the network has as many parameters as the source prints."""
    ours, theirs = network.parameters, published.get("parameters")
    if theirs is None:
        return f"**{_number(ours)} parameters.** There is no printed count to compare this with."
    if ours == theirs:
        return f"**{_number(ours)} parameters, exactly as many as the source prints.**"
    return (
        f"**{_number(ours)} parameters, where the source prints {_number(theirs)}.** The two can only agree where the"
        " images' size and channels, the number of classes and every option are the source's."
    )


def _number(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _flop(gflop: float) -> str:
    """Floating point operations with the unit that keeps the number readable."""
    for unit, size in (("TFLOP", 1e3), ("GFLOP", 1.0), ("MFLOP", 1e-3)):
        if gflop >= size:
            return f"{gflop / size:.3g} {unit}"
    return f"{gflop * 1e6:.3g} kFLOP"


def _value(value: Any) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
