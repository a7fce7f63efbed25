"""Training on a GPU: settings, ways to feed it, and its own limits; `python -m benchmarks gpu --help` says how.

Each row is measured in a process beside this one and written down at once: where the device fails, hangs or the time is
up, the other rows are there.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bakeoff.errors import BakeoffError, RequestError
from bakeoff.params import load_parameters, variant_names
from bakeoff.plan.machine import BACKEND_PACKAGES, find_backend, package_version
from bakeoff.store import write_atomically
from benchmarks import gpu_page
from benchmarks.common import PROJECT, machine, say
from benchmarks.page import publish

VARIANTS = ("simple_cnn", "batchnorm_cnn", "speedrun_cnn")  # of which every setting is measured
ROW_SECONDS = 75.0  # a row that takes longer is given up, and with it the process that hangs there
_BREAKS = 3  # processes in a row that broke off before a row was measured: then the device is no good
_PACKAGES = ("keras", "numpy", "tensorflow", "jax", "jaxlib", "torch")


@dataclass(frozen=True)
class Row:
    """What to measure. `way`: a method of `gpu_worker.Subject`, or machine or training; `xla`: compiled by XLA or not.

    other_xla: the row is there to show `xla` the other way. on_device: the training gets its images from the device.
    """

    way: str
    variant: str = ""
    precision: str = "float32"
    tf32: bool = True
    xla: bool = False
    steps_per_execution: int = 1
    other_xla: bool = False
    on_device: bool = False


def main(words: Sequence[str]) -> int:
    """Measure, or write the page from what was measured elsewhere; the exit code."""
    options = _parser().parse_args(words)
    try:
        if options.render:
            publish("gpu", json.loads(Path(options.render).read_text(encoding="utf-8")))
            return 0
        return _measure(options)
    except (BakeoffError, OSError, json.JSONDecodeError) as error:
        say(f"{error}")
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9.0, help="it ends by then, with the rows that it has (9)")
    parser.add_argument("--seconds", type=float, default=1.0, help="that each row is measured, besides compiling (1)")
    parser.add_argument("--images", type=int, default=50_000, help="synthetic training images (50 000)")
    parser.add_argument("--variants", nargs="+", help="only these variants, the first three with every setting")
    parser.add_argument("--rows", type=int, help="only the first rows; the most important are the first")
    parser.add_argument("--data-dir", help="arrays of real images, .npz or .npy: the speedrun is trained on them")
    parser.add_argument("--output", help="a folder for gpu.json and gpu.md; without it docs/benchmarks.md is written")
    parser.add_argument(
        "--render", metavar="FILE", help="write docs/benchmarks.md from the gpu.json of another machine"
    )
    return parser


# ---------------------------------------------------------------- what to measure


def plan(backend: str, variants: Sequence[str] | None, real_data: bool) -> list[Row]:
    """The rows, the most important first; rows of one network and setting stand together, as it is compiled once."""
    from_scratch = [name for name in variant_names() if _is_from_scratch(name)]
    chosen = list(variants) if variants else [*VARIANTS, *(name for name in from_scratch if name not in VARIANTS)]
    jax = backend == "jax"
    one_call = ("one_call",) if jax else ()
    rows = [Row("machine")]
    for name in chosen[:3]:
        rows += _rows(Row("", name, xla=jax), "ours", "bare", "device_batches", *one_call, "host_batches")
    for name in chosen[:3]:
        rows += _rows(Row("", name, "mixed_bfloat16", xla=jax), "ours", "device_batches", *one_call)
    speedrun = next((name for name in chosen[:3] if _stage(name)["trainer"] == "airbench"), None)
    if real_data and speedrun:
        on_device = Row("training", speedrun, xla=True, on_device=True)
        rows += [replace(on_device, precision="mixed_bfloat16"), on_device] if jax else []
        rows += [Row("training", speedrun, xla=jax)]
    for name in chosen[:3]:
        rows += _rows(Row("", name, xla=jax, steps_per_execution=50), "ours", "device_batches")
        rows += _rows(Row("", name, xla=jax, steps_per_execution=10), "ours")
        rows += _rows(Row("", name, "mixed_float16", xla=jax), "ours", "device_batches")
        rows += _rows(Row("", name, tf32=False, xla=jax), "ours", "device_batches")
    for name in chosen[3:]:
        rows += _rows(Row("", name, xla=jax), "ours", "bare", *one_call)
    return [*rows, *(row for name in chosen[:3] for row in _rows(Row("", name, xla=not jax, other_xla=True), "ours"))]


def _rows(row: Row, *ways: str) -> list[Row]:
    return [replace(row, way=way) for way in ways]


def _stage(name: str) -> Mapping[str, Any]:
    return load_parameters((name,), "full")[0].stage


def _is_from_scratch(name: str) -> bool:
    stage = _stage(name)
    return stage["trainer"] in ("fit", "airbench") and stage["weights"] == "none"


# ---------------------------------------------------------------- measuring


def _measure(options: argparse.Namespace) -> int:
    ends = time.monotonic() + options.minutes * 60
    for name in options.variants or ():
        _stage(name)  # or a sentence with the nearest name
    data = Path(options.data_dir).resolve() if options.data_dir else None
    if data is not None and not data.exists():
        raise RequestError(f"--data-dir: there is no {data}; name a file or a folder of arrays")
    backend = _backend()
    rows = plan(backend, options.variants, data is not None)[: options.rows]
    log = Path(options.output or PROJECT / "docs") / "gpu.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "driver": _driver(),
        "backend": backend,
        "versions": {"Python": sys.version.split()[0], **_versions()},
        "images": options.images,
        "minutes": options.minutes,
        "planned": len(rows),
        "rows": [],
    }
    say(f"{len(rows)} rows with {backend}, {options.minutes:g} minutes at most.")
    task = {"seconds": options.seconds, "images": options.images, "data": str(data) if data else None}
    try:
        with TemporaryDirectory(prefix="bakeoff-bench-") as folder:
            _run(rows, {**task, "environment": _environment(backend, folder)}, ends, log, record, options.output)
    finally:
        if options.output is None:
            log.unlink(missing_ok=True)
    if options.output is None:
        publish("gpu", record)
    say("\n".join(gpu_page.lines(record)))
    return 0


def _run(
    rows: list[Row],
    task: Mapping[str, Any],
    ends: float,
    log: Path,
    record: dict[str, Any],
    output: str | None,
) -> None:
    """Measure rows until they or the time are at an end; after a failure that ends the process, those that are left."""
    begun, left, broken = time.monotonic(), list(rows), 0
    while left and time.monotonic() < ends and broken < _BREAKS:
        broken += 1
        for row, found in _in_a_process(tuple(left), task, ends, log):
            left.remove(row)
            record["rows"].append({**asdict(row), **found})
            broken = broken if "failure" in found else 0
            say(f"{time.monotonic() - begun:6.1f} s  {gpu_page.words(asdict(row))}: {gpu_page.result(found)}")
            _check_device(record, output)
            if output is not None:
                write_atomically(Path(output) / "gpu.json", json.dumps(record, indent=1) + "\n")
                write_atomically(Path(output) / "gpu.md", "\n".join(gpu_page.lines(record)))


def _check_device(record: Mapping[str, Any], output: str | None) -> None:
    """Figures of a processor are none of docs/benchmarks.md's GPU part."""
    (first, *more) = record["rows"]
    if output is None and not more and first.get("device", {}).get("device") != "gpu":
        raise RequestError(
            f"{record['backend']} finds no GPU here; name a folder by --output to measure the processor instead"
        )


def _in_a_process(
    rows: Sequence[Row], task: Mapping[str, Any], ends: float, log: Path
) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Each row with what was found, as they come; the last one with a failure where the process broke off."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu_worker"],
            cwd=PROJECT,
            env=os.environ | task["environment"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            start_new_session=True,
        )
    lines: queue.Queue[str] = queue.Queue()
    talk = threading.Thread(target=_talk, args=(process, {**task, "rows": [*map(asdict, rows)]}, lines))
    talk.start()
    try:
        for row in rows:
            found = _answer(process, row, lines, ends)
            if found is None:  # the time is up
                return
            yield row, found
            if process.poll() is not None or "given up" in found.get("failure", ""):
                return
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        talk.join()


def _talk(process: subprocess.Popen[str], task: Mapping[str, Any], lines: queue.Queue[str]) -> None:
    """Hand over the task, and put what the process says into a queue; an empty line is its end."""
    assert process.stdin is not None and process.stdout is not None
    with suppress(OSError), process.stdin:
        json.dump(task, process.stdin)
    with process.stdout:
        for line in process.stdout:
            lines.put(line)
    lines.put("")


def _answer(process: subprocess.Popen[str], row: Row, lines: queue.Queue[str], ends: float) -> dict[str, Any] | None:
    """What was found for a row, a failure where the process ended or hung; None where the time is up."""
    patience = time.monotonic() + ROW_SECONDS * (2 if row.way in ("machine", "training") else 1)
    while True:
        try:
            line = lines.get(timeout=max(0.0, min(patience, ends) - time.monotonic()))
        except queue.Empty:
            return None if time.monotonic() >= ends else {"failure": "took too long and was given up"}
        if not line:
            process.wait()
            return {"failure": f"the process ended with {process.returncode}; see gpu.log"}
        with suppress(json.JSONDecodeError):
            said = json.loads(line)
            if said.get("row") == asdict(row):
                return dict(said["found"])


# ---------------------------------------------------------------- where


def _backend() -> str:
    """Keras' backend: as set, else the first that is installed."""
    if os.environ.get("KERAS_BACKEND"):
        return find_backend()
    there = [name for name in (find_backend(), *BACKEND_PACKAGES) if find_spec(name)]
    if not there:
        raise RequestError("there is no TensorFlow, JAX or PyTorch here; install one of them")
    return there[0]


def _environment(backend: str, folder: str) -> dict[str, str]:
    """What the measuring process gets. JAX keeps what it has compiled: it compiles the same steps for several rows."""
    cache = {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", **(cache if backend == "jax" else {})}


def _versions() -> dict[str, str]:
    found = {name: package_version(name) for name in _PACKAGES}
    return {name: version for name, version in found.items() if version != "missing"}


def _driver() -> str:
    """The version of NVIDIA's driver, empty where there is none."""
    with suppress(OSError, subprocess.SubprocessError):
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, encoding="utf-8", timeout=30, check=True).stdout.split()[0]
    return ""
