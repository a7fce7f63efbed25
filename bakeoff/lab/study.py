"""What all trials of a search share: images, network, recipe; and how one trial is trained and measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from bakeoff.lab import models, splits
from bakeoff.lab.fitting import Recipe, compile_model, needs_one_hot
from bakeoff.lab.input_pipeline import Batches
from bakeoff.lab.models.flops import forward_gflop
from bakeoff.lab.search_space import OF_TRAINING, Values, cells, costliest
from bakeoff.lab.training import Checkpoint, History, is_short, within_budget

if TYPE_CHECKING:
    from bakeoff.lab.preprocessing import Prepared, View

KERAS_RATES = {"adam": 0.001, "adamw": 0.001, "sgd": 0.01, "rmsprop": 0.001}  # Keras' own default learning rates


@dataclass(frozen=True)
class Study:
    """What all trials share."""

    folder: Path
    train: View
    validation: View
    test: View | None  # scored too, never chosen by
    input_shape: tuple[int, int, int]
    num_outputs: int
    space: Mapping[str, Sequence[Any]]
    network: Mapping[str, Any]  # arguments of models.build besides the options
    builder_options: Mapping[str, Any]
    recipe: Recipe
    precision: str = "float32"

    def cells(self, values: Values) -> Values:
        """A point as tables hold it."""
        return {name: cells(self.space[name])[self.space[name].index(value)] for name, value in values.items()}

    def point(self, row: Mapping[Any, Any]) -> Values:
        """The point of a row of cells."""
        return {name: values[cells(values).index(row[name])] for name, values in self.space.items()}

    def options(self, values: Values) -> dict[str, Any]:
        """The builder's options at a point of the space."""
        return dict(self.builder_options) | {name: v for name, v in values.items() if name not in OF_TRAINING}

    def training(self, values: Values) -> dict[str, Any]:
        """Optimizer, its options and learning rate at a point; an optimizer that is searched brings Keras' rate."""
        optimizer = values.get("optimizer", self.recipe.optimizer)
        own_rate = KERAS_RATES.get(optimizer, self.recipe.learning_rate)
        rate = values.get("learning_rate", own_rate if "optimizer" in values else self.recipe.learning_rate)
        options = self.recipe.optimizer_options if optimizer == self.recipe.optimizer else {}
        return {"optimizer": optimizer, "learning_rate": rate, "optimizer_options": dict(options)}

    def build(self, values: Values) -> keras.Model:
        """The untrained network at a point, in a fresh session of Keras."""
        keras.backend.clear_session()
        keras.config.set_dtype_policy(self.precision)  # a session begins with float32
        return models.build(
            input_shape=self.input_shape,
            num_classes=self.num_outputs,
            options=self.options(values),
            **self.network,
        )

    def score(self, values: Values) -> dict[str, Any]:
        """Train the network of a point and measure it: a row of trials.csv without its number.

        Where that cannot be done, or the training diverges, the row has a `problem` in place of accuracies.
        """
        begun = time.perf_counter()
        try:
            row = self._measured(values)
        except Exception as error:  # whatever it is, the other points are tried
            row = {"problem": (str(error).strip() or type(error).__name__).splitlines()[0]}
        return self.cells(values) | row | {"seconds": time.perf_counter() - begun}

    def _measured(self, values: Values) -> dict[str, Any]:
        model, recipe = self.build(values), replace(self.recipe, **self.training(values))
        train = self._batches(self.train, shuffle=True, augmentation=recipe.augmentation)
        validation, history = self._batches(self.validation), History(None)
        compile_model(model, recipe, self.num_outputs)
        model.run_eagerly = is_short(len(train) * recipe.epochs, recipe.jit_compile)
        Checkpoint({}, self.folder).restore(model, last_epoch=recipe.epochs)
        model.fit(
            train.dataset(),
            steps_per_epoch=len(train),
            epochs=recipe.epochs,
            validation_data=validation.dataset(),
            validation_steps=len(validation),
            shuffle=False,
            callbacks=[history],
            verbose=0,
        )
        if history.diverged_epoch:
            return {"parameters": model.count_params(), "problem": f"diverged at epoch {history.diverged_epoch}"}
        last = history.frame.iloc[-1]
        return {
            "validation_accuracy": last["validation_accuracy"],
            "test_accuracy": self._test_accuracy(model),
            "train_accuracy": last["train_accuracy"],
            "parameters": model.count_params(),
        }

    def _batches(self, view: View, **settings: Any) -> Batches:
        one_hot = needs_one_hot(self.recipe, self.num_outputs)
        common: dict[str, Any] = {"num_outputs": self.num_outputs, "one_hot": one_hot, "seed": self.recipe.seed}
        return Batches(view, self.recipe.batch_size, **common, **settings)

    def _test_accuracy(self, model: keras.Model) -> float | None:
        if self.test is None:
            return None
        batches = self._batches(self.test)
        return float(model.evaluate(batches.dataset(), steps=len(batches), verbose=0, return_dict=True)["accuracy"])


def views_to_choose_by(prepared: Prepared, share: float) -> tuple[View, View]:
    """Images to train the trials on, and images to choose by: never the test set."""
    train = prepared.train
    if prepared.validation_source == "split" and prepared.validation is not None:
        return train, prepared.validation
    kept = len(train) - max(1, round(len(train) * share))
    if prepared.validation_sampling == "last":
        return train.first(kept), replace(train, indices=train.indices[kept:])
    chosen, others = (train.indices[at] for at in splits.stratified(train.labels, kept))
    return replace(train, indices=chosen), replace(train, indices=others)


def study_within_budget(study: Study, budget_tflop: float | None, trials: int) -> Study:
    """The study on as many images as half of the budget pays for, if every trial had the costliest network."""
    if budget_tflop is None:
        return study

    def cost(values: Values) -> float:
        try:
            return forward_gflop(study.build(values))
        except ValueError:  # the trial will say why
            return 0.0

    gflop = costliest(study.space, cost)
    if not gflop:
        return study
    epochs = study.recipe.epochs
    train, validation = within_budget(
        study.train,
        study.validation,
        gflop,
        budget_tflop / 2 / trials,
        passes=3 * epochs,
        batch_size=study.recipe.batch_size,
    )
    test = study.test
    if test is not None and len(train) < len(study.train):
        test = test.first(max(1, round(len(test) * len(train) / len(study.train))))
    return replace(study, train=train, validation=validation or study.validation, test=test)
