"""Taking up a training after its last finished epoch, bit for bit as if it had not been cut short."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np

from bakeoff.lab.files import read_npz_if_whole, write_npz

STATE = "unfinished.npz"  # in the stage's folder, from the first epochs until the training is over
# Between two savings, so that short epochs do not wait for the disk.
_SECONDS = float(os.environ.get("BAKEOFF_RESUME_SECONDS", "20"))


class Keeper(Protocol):
    """A callback with a state of its own that a training cannot do without."""

    def state(self) -> dict[str, np.ndarray]:
        """Arrays by name."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave."""
        ...


class Resume(keras.callbacks.Callback):
    """Saves after an epoch: all variables of network and optimizer, and what `keepers` hold.

    What a batch holds depends on seed, epoch and step alone, so this is all that the rest of a training depends on.
    """

    def __init__(self, folder: Path | None, keepers: Sequence[Keeper]) -> None:
        """`folder` None saves nothing."""
        super().__init__()
        self.path = folder / STATE if folder else None
        self.keepers = list(keepers)
        self._saved = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Save, if the last time is long enough ago."""
        if self.path is None or time.monotonic() - self._saved < _SECONDS:
            return
        if hasattr(self.model, "jax_state_sync"):  # on JAX, fit holds the variables until they are asked for
            self.model.jax_state_sync()
        arrays = {f"variable_{number}": _value(each) for number, each in enumerate(_variables(self.model))}
        for number, keeper in enumerate(self.keepers):
            arrays |= {f"keeper_{number}_{name}": value for name, value in keeper.state().items()}
        write_npz(self.path, epoch=np.array(epoch + 1), **arrays)
        self._saved = time.monotonic()

    def restore(self, model: keras.Model, first_epoch: int, last_epoch: int) -> int:
        """Set a compiled network to what was saved between two epochs; the epochs that are done (`first_epoch`: none).

        A state of a later stage of the training than this one leaves nothing to do here: `last_epoch`. A damaged
        file counts as none.
        """
        state = read_npz_if_whole(self.path) if self.path else {}
        done = int(state["epoch"]) if state else first_epoch
        if not first_epoch < done <= last_epoch:
            return last_epoch if done > last_epoch else first_epoch
        model.optimizer.build(model.trainable_variables)
        for number, variable in enumerate(_variables(model)):
            variable.assign(state[f"variable_{number}"])
        for number, keeper in enumerate(self.keepers):
            prefix = f"keeper_{number}_"
            keeper.restore({name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)})
        return done


def forget(folder: Path) -> None:
    """The training is over: its state between epochs is of no more use."""
    (folder / STATE).unlink(missing_ok=True)


def _variables(model: keras.Model) -> list[keras.Variable]:
    """Of the network, the states of its random layers among them, and of its optimizer."""
    return [*model.variables, *model.optimizer.variables]


def _value(variable: keras.Variable) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable.value)


def as_array(rows: Any) -> np.ndarray:
    """JSON in an array, for a state."""
    return np.frombuffer(json.dumps(rows).encode(), np.uint8)


def from_array(array: np.ndarray) -> Any:
    """What `as_array` was given."""
    return json.loads(array.tobytes())
