"""TensorBoard over a store, of every backend: `python -m bakeoff.tracking.tensorboard RUNS` (or `make tensorboard`).

The curves come from history.csv, which trainings write after each epoch, so that no notebook needs to log them.
"""

from __future__ import annotations

import csv
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from bakeoff.errors import RequestError
from bakeoff.store import Store
from bakeoff.store.last_made import LastMade

HISTORY = "history.csv"
SECONDS = 5.0  # between two looks for new epochs
# Run and tag as Keras' own TensorBoard callback names them -> the column of history.csv.
CURVES = {
    "train": {
        "epoch_accuracy": "train_accuracy",
        "epoch_loss": "train_loss",
        "epoch_learning_rate": "learning_rate",
    },
    "validation": {"epoch_accuracy": "validation_accuracy", "epoch_loss": "validation_loss"},
}


@dataclass
class Logs:
    """The event files of a store's trainings below `folder`; each `update` adds the epochs that are new."""

    store: Store
    folder: Path
    _written: dict[str, int] = field(default_factory=dict)  # a training's name -> the epochs that are logged

    def update(self) -> list[str]:
        """The names of all trainings, finished and running, and of the searches that logged their points."""
        trainings = dict(self._trainings())
        for gone in self._written.keys() - trainings.keys():
            shutil.rmtree(self.folder / gone, ignore_errors=True)
            del self._written[gone]
        for name, path in trainings.items():
            with suppress(OSError):  # it has just been finished, and is elsewhere
                self._add(name, path)
        searches = {f"search/{path.parent.name[:8]}": path for path in self.store.root.glob("search/*/hparams")}
        for name, path in searches.items():
            if not (self.folder / name).exists():
                shutil.copytree(path, self.folder / name)
        return [*trainings, *searches]

    def _trainings(self) -> Iterator[tuple[str, Path]]:
        """Name and history.csv of each."""
        variants = {key[:32]: variant for variant, label, key in LastMade(self.store.root).items() if label == "train"}
        for path in sorted(self.store.root.glob(f"train/*/{HISTORY}")):
            key = path.parent.name
            values = (self.store.read_manifest("train", key) or {}).get("parameters", {})
            variant = variants.get(key) or values.get("builder", "train").replace("/", "_")
            yield f"{variant}/seed-{values.get('seed', 0)}-{key[:8]}", path
        for path in sorted(self.store.root.glob(f"checkpoints/train-*/{HISTORY}")):
            yield f"running/{path.parent.name.removeprefix('train-')[:8]}", path

    def _add(self, name: str, path: Path) -> None:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        if len(rows) < self._written.get(name, 0):  # begun anew
            shutil.rmtree(self.folder / name)
            self._written[name] = 0
        seconds = itertools.accumulate((float(row["seconds"]) for row in reversed(rows)), initial=0.0)
        ends = [path.stat().st_mtime - later for later in seconds][-2::-1]  # when each epoch was over
        new = slice(self._written.get(name, 0), None)
        for run, columns in CURVES.items():
            write_events(self.folder / name / run, columns, rows[new], ends[new])
        self._written[name] = len(rows)


def write_events(
    folder: Path, columns: Mapping[str, str], rows: Sequence[Mapping[str, str]], ends: Sequence[float]
) -> None:
    """Add the values of some epochs to the event file in `folder`; empty cells are left out."""
    # TensorBoard's own messages and records: `tf.summary` needs TensorFlow.
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.summary.writer.record_writer import RecordWriter

    path = folder / "events.out.tfevents.0.v2"
    values = [(end, row, tag, row[name]) for end, row in zip(ends, rows, strict=True) for tag, name in columns.items()]
    events = [
        Event(wall_time=end, step=int(row["epoch"]), summary=scalar_pb(tag, float(value)))
        for end, row, tag, value in values
        if value
    ]
    if events and not path.exists():
        folder.mkdir(parents=True)
        events.insert(0, Event(wall_time=ends[0], file_version="brain.Event:2"))
    if events:
        with path.open("ab") as stream:
            records = RecordWriter(stream)
            for event in events:
                records.write(event.SerializeToString())


def serve(runs: Path, arguments: Sequence[str]) -> int:
    """Run TensorBoard on the store below `runs` until it is stopped, and keep its logs up to date."""
    if not runs.is_dir():
        raise RequestError(f"{runs}: there is no such folder; name the one that --runs-dir named, which is runs")
    with tempfile.TemporaryDirectory(prefix="bakeoff-tensorboard-") as folder:
        logs = Logs(Store(runs), Path(folder))
        print(f"{len(logs.update())} trainings and searches in {runs}; Ctrl-C ends TensorBoard.", flush=True)
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--reload_interval", f"{SECONDS:.0f}"]
        with subprocess.Popen([*command, *arguments]) as server:
            while True:
                try:
                    return server.wait(SECONDS)
                except subprocess.TimeoutExpired:
                    logs.update()
                except KeyboardInterrupt:
                    server.terminate()


def main() -> int:
    """RUNS_DIR, then options for TensorBoard itself, such as --port 6007."""
    runs, *arguments = sys.argv[1:] or ["runs"]
    try:
        return serve(Path(runs), arguments)
    except RequestError as error:
        print(f"bakeoff.tracking.tensorboard: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
