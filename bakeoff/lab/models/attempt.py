"""A network of the user's own, built before any image is loaded: what is wrong with it is said at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bakeoff.lab import models
from bakeoff.lab.search.space import OF_TRAINING, list_space
from bakeoff.lab.transform import choose_channels


def attempt(image_shape: Sequence[int], classes: int, parameters: Mapping[str, Any]) -> None:
    """Build the network of a variant's `parameters` for images of this shape (height, width, channels).

    Options that are searched have the first of their values. Raises ValueError, in a sentence, where the network
    cannot be built or does not answer with a probability for each class.
    """
    wanted = {name: parameters[name] for name in ("color", "gray_weights", "scaling")}
    images = choose_channels(image_shape[-1], **wanted).channels(np.zeros((1, *image_shape), np.uint8))
    outputs = 1 if parameters["task"] == "binary" else classes
    space = list_space(parameters["search_space"]) if parameters["search"] != "none" else {}
    first = {name: values[0] for name, values in space.items() if name not in OF_TRAINING}
    model = models.build(
        parameters["builder"],
        images.shape[1:],
        outputs,
        options={**parameters["builder_options"], **first},
        weights=parameters["weights"],
        image_size=parameters["image_size"],
        seed=parameters["seed"],
    )
    if parameters["task"] != "labels_only":  # that one is asked about classes of its own
        models.check_output(models.find_network(parameters["builder"]), model, outputs)
    if parameters["trainer"] == "feature_extraction":
        models.split_base(model)
