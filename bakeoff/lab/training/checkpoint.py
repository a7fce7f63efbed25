"""The checkpoint: from which epoch a training goes on, bit for bit as if it had not been cut short."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from bakeoff.lab.files import read_npz_if_whole, write_npz
from bakeoff.lab.models.size import require_memory

MODEL, SUMMARY = "model.keras", "training.json"  # of a finished training
STATE = "unfinished.npz"  # in the checkpoint's folder, until the training is over
_GENERATOR = "generator_"  # in names of arrays, before the device
_SLOTS = {"adam": 2, "adamw": 2}  # numbers that an optimizer keeps for each weight; the others one, or none
# Between two savings, so that short epochs do not wait for the disk.
_SECONDS = float(os.environ.get("BAKEOFF_RESUME_SECONDS", "20"))


class Stateful(Protocol):
    """A callback with a state of its own that a training cannot do without."""

    def state(self) -> dict[str, np.ndarray]:
        """Arrays by name."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave."""
        ...


class Checkpoint(keras.callbacks.Callback):
    """Saves after an epoch: all variables of network and optimizer, the state of `callbacks`, PyTorch's generators.

    What a batch holds depends on seed, epoch and step alone, so this is all that the rest of a training depends on. The
    pipeline names the folder in `inputs["checkpoint"]`; the step's key vouches for what lies there and for a finished
    training in `output`. By hand there is none: nothing is saved between epochs, and nothing restored.
    """

    def __init__(self, inputs: Mapping[str, Any], output: str | Path, *callbacks: Stateful) -> None:
        super().__init__()
        folder = inputs.get("checkpoint")
        self.path = Path(folder) / STATE if folder else None
        self.output = Path(output)
        self.callbacks = callbacks
        self._saved = time.monotonic()
        self._generators: Mapping[str, np.ndarray] = {}

    @property
    def finished(self) -> bool:
        """Whether `output` holds the training that the pipeline asks for, so that only its page is rebuilt."""
        return self.path is not None and (self.output / SUMMARY).is_file()

    def restore(self, model: keras.Model, *, first_epoch: int = 0, last_epoch: int) -> int:
        """Set a compiled network to what was saved between two epochs, and return the epoch from which `fit` goes on.

        Without a checkpoint that is `first_epoch`; with one of a later phase of the training, or of a training that is
        over or has diverged, `last_epoch`, so that `fit` returns at once. A damaged file counts as none.
        """
        build_optimizer(model)
        if self.finished:
            model.set_weights(keras.models.load_model(self.output / MODEL, compile=False).get_weights())
            return last_epoch
        state = read_npz_if_whole(self.path) if self.path else {}
        done = int(state["epoch"]) if state else first_epoch
        if not first_epoch < done <= last_epoch:
            return last_epoch if done > last_epoch else first_epoch
        self._assign(_variables(model), state)
        self._generators = state
        for number, callback in enumerate(self.callbacks):
            prefix = f"callback_{number}_"
            callback.restore({name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)})
        return last_epoch if any(getattr(each, "diverged_epoch", None) for each in self.callbacks) else done

    def _assign(self, variables: list[keras.Variable], state: Mapping[str, np.ndarray]) -> None:
        """Raises ValueError where network or optimizer are not those that were saved."""
        saved = [state[f"variable_{number}"] for number in range(sum(name.startswith("variable_") for name in state))]
        if [tuple(variable.shape) for variable in variables] != [array.shape for array in saved]:
            raise ValueError(
                f"{self.path} was saved by another network or optimizer ({len(saved)} variables, here "
                f"{len(variables)}, or other shapes); remove it, and the training begins anew."
            )
        for variable, array in zip(variables, saved, strict=True):
            variable.assign(array)

    def _restore_generators(self) -> None:
        _set_generators(self._generators)
        self._generators = {}

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """The generators only now: `fit` draws from them on its way to the first batch."""
        self._restore_generators()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Where nothing was left to train, the next phase finds them as the undisturbed one left them."""
        self._restore_generators()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save, if the last time is long enough ago."""
        if self.path is None or time.monotonic() - self._saved < _SECONDS:
            return
        if hasattr(self.model, "jax_state_sync"):  # on JAX, fit holds the variables until they are asked for
            self.model.jax_state_sync()
        arrays = {f"variable_{number}": _value(each) for number, each in enumerate(_variables(self.model))}
        for number, callback in enumerate(self.callbacks):
            arrays |= {f"callback_{number}_{name}": value for name, value in callback.state().items()}
        write_npz(self.path, epoch=np.array(epoch + 1), **arrays, **_generators())
        self._saved = time.monotonic()


def build_optimizer(model: keras.Model) -> None:
    """Make the variables of a compiled network's optimizer.

    TensorFlow traces a step that makes variables twice; with the optimizer's there before, once: half the wait.

    Raises ValueError where memory cannot hold the weights, their gradients, and what the optimizer keeps of each.
    """
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # of mixed_float16, which scales the loss
    slots = _SLOTS.get(inner.name.lower(), 1)
    require_memory(sum(math.prod(weight.shape) for weight in model.trainable_weights), 2 + slots, "to train a network")
    model.optimizer.build(model.trainable_variables)


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Of the network, the states of its random layers among them, and of its optimizer."""
    return [*model.variables, *model.optimizer.variables]


def _generators() -> dict[str, np.ndarray]:
    """The states of PyTorch's own generators, by device: there dropout draws from them, not from a variable."""
    if keras.backend.backend() != "torch":
        return {}
    torch: Any = sys.modules["torch"]
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda:{number}": each for number, each in enumerate(torch.cuda.get_rng_state_all())}
    return {f"{_GENERATOR}{device}": each.numpy() for device, each in states.items()}


def _set_generators(state: Mapping[str, np.ndarray]) -> None:
    """Take up what `_generators` gave."""
    for name in (name for name in state if name.startswith(_GENERATOR)):
        torch: Any = sys.modules["torch"]
        device, array = name.removeprefix(_GENERATOR), torch.from_numpy(state[name])
        torch.set_rng_state(array) if device == "cpu" else torch.cuda.set_rng_state(array, device)


def _value(variable: keras.Variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable.value)
