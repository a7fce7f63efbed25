"""A Bakeoff whose notebooks copy files in place of computing: whole runs in seconds, for faults and for benchmarks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bakeoff.store import Store, digest_folder, write_manifest

PROJECT = Path(__file__).resolve().parent.parent
STAGES = ("1_load", "2_preprocess", "4_build", "5_train", "6_evaluate")
SETTINGS = ("--profile", "smoke", "--set", "dataset=shapes10")
# The fork server imports only what stubs need.
LIGHT = {"BAKEOFF_WARM_IMPORTS": "ipykernel.kernelapp,ipykernel.ipkernel,threadpoolctl,numpy"}
HALF_WRITTEN = shutil.ignore_patterns("*.pyc.*")  # bytecode, by a process beside this one
# Each step proves what it was made from: the digest of its parents' proofs and its own name.
_STUB = """import hashlib, shutil, time
from pathlib import Path
from typing import Any
for name in {files}:
    shutil.copyfile(Path({template!r}, name), Path(output, name))
    time.sleep({seconds})
parents = sorted((inputs or {{}}).items())
proofs = [Path(folder, "proof.txt").read_text() for name, folder in parents if name not in ("shared", "checkpoint")]
Path(output, "proof.txt").write_text(hashlib.sha256("".join([{stage!r}, *proofs]).encode()).hexdigest())
"""


@dataclass(frozen=True)
class StubProject:
    """The copy, and the command in it."""

    root: Path

    def command(self, folder: Path, variants: Sequence[str], *more: str) -> list[str]:
        """`python pipeline.py` for these variants, with runs and reports below `folder`."""
        places = ["--runs-dir", str(folder / "runs"), "--reports-dir", str(folder / "reports")]
        return [
            sys.executable,
            str(self.root / "pipeline.py"),
            "--variants",
            ",".join(variants),
            *SETTINGS,
            *places,
            *more,
        ]

    def start(self, folder: Path, variants: Sequence[str], *more: str, host: str = "") -> subprocess.Popen[str]:
        """The command in the background; `host`: as on a machine of this name with process numbers of its own."""
        return subprocess.Popen(
            [*(on_host(host) if host else ()), *self.command(folder, variants, *more)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.root,
            env=os.environ | LIGHT,
        )

    def run(self, folder: Path, variants: Sequence[str], *more: str) -> tuple[int, str]:
        """The command to its end: exit code and what it said."""
        with self.start(folder, variants, *more) as process:
            said, _ = process.communicate(timeout=600)
            return process.returncode, said


def on_host(name: str) -> list[str]:
    """What to put before a command that is to run in namespaces of its own, for processes and the host's name."""
    spaces = ["unshare", "--pid", "--uts", "--mount", "--fork", "--mount-proc", "--kill-child"]
    return [*spaces, "sh", "-c", 'hostname "$0" && exec "$@"', name]


def commit(store: Store, stage: str, key: str, content: Mapping[str, Any]) -> None:
    """Have what lies in a step's folder count as this step."""
    folder = store.folder(stage, key)
    write_manifest(folder, {**content, "stage": stage, "result_key": key, "files": digest_folder(folder)})


def make_template(folder: Path) -> None:
    """What the stubs copy: the store of one real run below `folder`."""
    real = StubProject(PROJECT).command(folder, ["simple_cnn"], "--no-pdf")
    subprocess.run(real, cwd=PROJECT, check=True, capture_output=True, timeout=600)


def make_stub_project(
    folder: Path, template: Path, variants: int = 2, seconds: float = 0.0, real_comparison: bool = False
) -> StubProject:
    """A copy of the project below `folder` with `variants` variants stub_0, stub_1, ... that share no step.

    The stubs copy the files of `template` (see make_template); `seconds` pass after each. The background keeps its
    words and no figure; so does the comparison, unless it is to be the real one.
    """
    root = folder / "project"
    for name in ("bakeoff", "notebooks", "params"):
        shutil.copytree(PROJECT / name, root / name, ignore=HALF_WRITTEN)
    shutil.copyfile(PROJECT / "pipeline.py", root / "pipeline.py")
    for stage in STAGES:
        _stub(root / "notebooks" / f"{stage}.ipynb", template / "runs" / stage.split("_")[1], seconds)
    for name in ("0_background", *(() if real_comparison else ("7_compare",))):
        replace_code(root / "notebooks" / f"{name}.ipynb")
    catalogue = root / "params" / "variants"
    text = (catalogue / "simple_cnn.yaml").read_text(encoding="utf-8")
    for path in catalogue.glob("*.yaml"):
        path.unlink()
    for number in range(variants):
        (catalogue / f"stub_{number}.yaml").write_text(f"data_seed: {number}\nseed: {number}\n{text}", encoding="utf-8")
    return StubProject(root)


def _stub(path: Path, made: Path, seconds: float) -> None:
    """A notebook with all its code replaced by a cell that copies the files of the step in `made`."""
    (manifest,) = made.glob("*/step.json")
    files = [name for name in json.loads(manifest.read_text(encoding="utf-8"))["files"] if not name.endswith(".ipynb")]
    source = _STUB.format(files=files, template=str(manifest.parent), seconds=seconds, stage=path.stem)
    replace_code(path, source)


def replace_code(path: Path, *sources: str) -> None:
    """Replace a notebook's code by `sources`; its parameters and prose stay."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook["cells"]
    kept = [
        each for each in cells if each["cell_type"] == "markdown" or "parameters" in each["metadata"].get("tags", [])
    ]
    stub: dict[str, Any] = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    added = [{**stub, "id": f"stub-{number}", "source": source} for number, source in enumerate(sources)]
    path.write_text(json.dumps({**notebook, "cells": [*kept, *added]}), encoding="utf-8")
