"""Images a second that a training takes: `python -m benchmarks.fit_speed VARIANT SECONDS [NAME=VALUE ...]`.

Through Bakeoff's own batches and trainer setup, on drawn pictures; the thread count is that of the environment.
"""

from __future__ import annotations

import sys
import tempfile
import time

import keras

from bakeoff.lab import data, models, preprocessing
from bakeoff.lab.fitting import Recipe, compile_model, needs_one_hot
from bakeoff.lab.input_pipeline import Batches
from bakeoff.lab.models.flops import forward_gflop
from bakeoff.params import load_parameters

_IMAGES = 8192  # more batches of any variant than are trained without a graph


def main(variant: str, seconds: float, settings: list[str]) -> None:
    """Print images a second and GFLOP an image and step, after one epoch that compiles and warms up."""
    values = dict(load_parameters((variant,), "full", settings)[0].stage)
    keras.config.set_dtype_policy(values["precision"])
    with tempfile.TemporaryDirectory() as folder:
        loaded = data.load("shapes10", folder, max_train_examples=_IMAGES, max_test_examples=100, seed=0)
        names = ("task", "color", "gray_weights", "scaling", "validation_preprocessing", "positive_class")
        chosen = {name: values[name] for name in names}
        prepared = preprocessing.prepare(
            loaded, folder, validation="none", validation_split=0.1, examples_per_side=0, **chosen
        )
        keras.utils.set_random_seed(0)
        model = models.build(
            values["builder"], prepared.input_shape, prepared.num_outputs, options=values["builder_options"]
        )
        fields = (
            "loss",
            "label_smoothing",
            "optimizer",
            "learning_rate",
            "optimizer_options",
            "batch_size",
            "jit_compile",
            "steps_per_execution",
        )
        values |= {"optimizer_options": {}} if values["trainer"] == "airbench" else {}
        recipe = Recipe(epochs=1, augmentation=values["augmentation"], **{name: values[name] for name in fields})
        compile_model(model, recipe, prepared.num_outputs)
        batches = Batches(
            prepared.train,
            recipe.batch_size,
            num_outputs=prepared.num_outputs,
            one_hot=needs_one_hot(recipe, prepared.num_outputs),
            shuffle=True,
            augmentation=recipe.augmentation,
        )
        dataset, once = batches.dataset(), {"steps_per_epoch": len(batches), "shuffle": False, "verbose": 0}
        model.fit(dataset, **once)
        begun, images = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            model.fit(dataset, **once)
            images += len(prepared.train)
        print(images / (time.perf_counter() - begun), 3 * forward_gflop(model))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
