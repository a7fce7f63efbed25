"""Networks that are built and not trained: `python -m docs.networks` writes them below docs/networks.

Where a source states what its search found, a hypothesis has these values (see `hypothesis_of` in params/base.yaml).
How many parameters such a network has needs no training, so that claims about it are judged without one.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

from bakeoff.claims.evidence import Run
from bakeoff.params import Parameters, load_parameters, variant_names

NETWORKS = Path(__file__).resolve().with_suffix("")
IMAGES, CLASSES = (32, 32, 3), 10  # of CIFAR-10, which every source has
NOT_TRAINED = "built and not trained"


def _of_searches() -> Iterator[Parameters]:
    """The hypotheses about variants that are searched for."""
    every = load_parameters(variant_names(), "full")
    searched = {each.variant for each in every if each.stage["search"] != "none"}
    return (each for each in every if each.run["hypothesis_of"] in searched)


def write(root: Path = NETWORKS) -> None:
    """Build the networks and write what the build stage writes of one, but for Keras' own table."""
    import keras

    from bakeoff.lab import models

    for each in _of_searches():
        arguments = {name: each.stage[name] for name in ("builder", "weights", "image_size", "seed")}
        arguments |= {"options": each.stage["builder_options"], "input_shape": IMAGES, "num_classes": CLASSES}
        folder = root / each.variant
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.clear_session()  # layers are numbered from 0, whatever was built before
        network = models.describe(models.build(**arguments), folder, **arguments)
        (folder / "summary.txt").unlink()
        print(f"{each.variant}: {network.parameters} parameters")


def runs(about: Container[str], root: Path = NETWORKS) -> dict[str, Run]:
    """The networks of hypotheses about these variants, as the audit reads a training that was cut to nothing."""
    found = {}
    for each in _of_searches():
        if each.run["hypothesis_of"] in about:
            folders = {"build": str(root / each.variant)}
            row = {"variant": each.variant, "source": each.run["source"], "status": "ok", "message": ""}
            row |= {"dataset": each.stage["dataset"], "weights": "none", "limited": NOT_TRAINED}
            row |= {"hypothesis_of": each.run["hypothesis_of"]}
            row |= {"parameters": str(Run(row, folders).file("build", "network.json")["parameters"])}
            found[each.variant] = Run(row, folders)
    return found


if __name__ == "__main__":
    write()
