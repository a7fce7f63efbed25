from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from bakeoff.lab.models.airbench import whitening_weights
from bakeoff.lab.training.airbench import Lookahead, NesterovSGD, WarmUpLinearDecay
from tests.lab.test_training import Trained
from tests.lab.test_training import train as train_by

ARGUMENTS: dict[str, Any] = {
    "trainer": "airbench",
    "builder": "speedrun_cnn",
    "builder_options": {"widths": [8, 16, 16]},
    "trainer_options": {"last_epoch_share": 0.5},
    "label_smoothing": 0.2,
    "learning_rate": 11.5,
    "optimizer_options": {"momentum": 0.85, "nesterov": True, "weight_decay": 0.0153},
    "epochs": 3,
    "augmentation": {"crop_padding": 2, "alternating_flip": True},
}


def train(made: Any, folder: Path, **changes: Any) -> Trained:
    return train_by(made, folder, **ARGUMENTS | changes)


def test_the_rate_rises_to_its_peak_and_falls() -> None:
    schedule = WarmUpLinearDecay(2.0, 100)
    rates = [float(schedule(step)) for step in range(101)]
    assert rates[0] == pytest.approx(0.4) and rates[23] == pytest.approx(2.0) and rates[100] == pytest.approx(0.14)
    assert max(rates) == rates[23]
    np.testing.assert_allclose(np.diff(rates[:24]), 1.6 / 23, rtol=1e-4)
    np.testing.assert_allclose(np.diff(rates[23:]), -1.86 / 77, rtol=1e-4)


def test_a_training_of_one_step_has_a_rate() -> None:
    assert float(WarmUpLinearDecay(1.0, 1)(0)) == pytest.approx(0.2)


def test_the_optimizer_follows_its_formula() -> None:
    plain, fast = keras.Variable([1.0, -2.0], name="plain"), keras.Variable([0.5, 3.0], name="fast")
    optimizer = NesterovSGD(WarmUpLinearDecay(0.1, 10), peak=0.1, momentum=0.85, decay=0.01, factors={fast.path: 64.0})
    expected = [np.array([1.0, -2.0]), np.array([0.5, 3.0])]
    momentums = [np.zeros(2), np.zeros(2)]
    for step in range(5):
        gradients = [np.array([0.3, -0.1]) * (step + 1), np.array([-0.2, 0.4])]
        rate = float(WarmUpLinearDecay(0.1, 10)(step))
        optimizer.apply([keras.ops.convert_to_tensor(g, "float32") for g in gradients], [plain, fast])
        for number, factor in enumerate((1.0, 64.0)):
            g = gradients[number] + 0.01 / (0.1 * factor) * expected[number]
            momentums[number] = 0.85 * momentums[number] + g
            expected[number] = expected[number] - rate * factor * (g + 0.85 * momentums[number])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(plain), expected[0], rtol=1e-4)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(fast), expected[1], rtol=1e-4)


def test_a_variable_with_an_end_stands_still_from_there_on() -> None:
    short, long = keras.Variable([1.0], name="short"), keras.Variable([1.0], name="long")
    optimizer = NesterovSGD(
        WarmUpLinearDecay(0.1, 10), peak=0.1, momentum=0.85, decay=0.01, factors={}, ends={short.path: 3}
    )
    values = []
    for _ in range(5):
        optimizer.apply([keras.ops.ones(1), keras.ops.ones(1)], [short, long])
        values.append([float(keras.ops.convert_to_numpy(each)[0]) for each in (short, long)])
    shorts, longs = zip(*values, strict=True)
    assert shorts[:3] == longs[:3] and shorts[2:] == (shorts[2],) * 3
    assert len(set(longs)) == 5


def test_weights_are_blended_every_few_steps_and_the_average_is_the_result() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    lookahead = Lookahead(steps=12, every=5)
    lookahead.set_model(model)
    model.set_weights([np.array([[0.0]])])
    lookahead.on_train_begin()
    average = 0.0
    for step in range(1, 13):
        value = float(step)
        model.set_weights([np.array([[value]])])
        model.stop_training = False
        lookahead.on_train_batch_end(step)
        if step in (5, 10):
            decay = 0.95**5 * (step / 12) ** 3
            average = decay * average + (1 - decay) * value
        expected = average if step in (5, 10, 12) else value
        assert model.get_weights()[0].item() == pytest.approx(expected, rel=1e-5)
        assert model.stop_training is (step == 12)


def test_a_training_too_short_to_blend_keeps_its_weights() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    lookahead = Lookahead(steps=2, every=5)
    lookahead.set_model(model)
    lookahead.on_train_begin()
    for step in (1, 2):
        model.set_weights([np.array([[7.0]])])
        lookahead.on_train_batch_end(step)
    assert model.get_weights()[0].item() == 7.0 and model.stop_training


def test_full_batches_are_trained_and_the_last_epoch_ends_early(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(train=170, validation_split=0.2, scaling="standardize")  # 136 images: four batches of 32
    result = train(made, tmp_path)
    model, summary = result.model, result.summary
    assert summary["optimizer_steps"] == 10 and summary["epochs"] == 3  # four, four, and half of four
    assert result.history["validation_accuracy"].notna().all()
    assert result.history["train_loss"].iloc[-1] < result.history["train_loss"].iloc[0]
    kernel, _ = whitening_weights(made.prepared.train.batch(slice(None)))
    np.testing.assert_array_equal(model.get_layer("whitening").kernel, kernel)
    assert result.history["learning_rate"].iloc[-1] < result.history["learning_rate"].max()


def test_the_whitening_bias_is_trained_for_its_epochs_and_no_longer(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(train=100, scaling="standardize", validation="none")  # three batches of 32
    options = {"lookahead_steps": 1000}  # nothing is blended, so that the bias moves by steps alone
    trained = {}
    for last in (0, 1, 3):
        changes = {"trainer_options": options | {"whitening_bias_epochs": last}, "epochs": 3}
        trained[last] = np.asarray(train(made, tmp_path / str(last), **changes).model.get_layer("whitening").bias)
    assert not trained[0].any() and trained[1].any() and trained[3].any()
    assert not np.array_equal(trained[1], trained[3])


def test_the_same_seed_gives_the_same_bits(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(train=100, scaling="standardize")
    one, other = (train(made, tmp_path / name, epochs=2).model for name in "ab")
    for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_tiny_data_set_is_one_batch(stages: Callable[..., Any], tmp_path: Path) -> None:
    made = stages(train=30, scaling="standardize", validation="none")
    summary = train(made, tmp_path, batch_size=1024, epochs=1).summary
    assert summary["optimizer_steps"] == 1 and summary["train_images"] == 30
