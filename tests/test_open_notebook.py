"""--open: a notebook of a variant to change by hand, and a store that does not notice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest

from bakeoff.plan.steps import STAGES
from bakeoff.store import digest_folder
from tests.conftest import Workplace

SETTINGS = ("--profile", "smoke", "--set", "dataset=shapes10")


def _digests(runs: Path) -> dict[str, object]:
    return {stage: digest_folder(runs / stage) for stage in STAGES if (runs / stage).is_dir()}


def test_a_copy_runs_in_a_kernel_and_the_store_stays(workplace: Workplace, stub_template: Path) -> None:
    shutil.copytree(stub_template / "runs", workplace.runs)
    shutil.rmtree(workplace.runs / "build")
    shutil.rmtree(workplace.runs / "evaluate")
    done = workplace.run("--open", "simple_cnn", "train", "--editor", "none", *SETTINGS)
    assert done.returncode == 0, done.stderr
    folder = workplace.root / "open" / "simple_cnn"
    copy = folder / "5_train.ipynb"
    assert f"-m jupyterlab {copy}" in done.stdout
    assert list((workplace.runs / "build").iterdir()), "the earlier stages are made"
    assert not (workplace.runs / "evaluate").exists(), "later ones are not"
    before = _digests(workplace.runs)

    notebook = nbformat.read(copy, as_version=4)
    nbformat.validate(notebook)
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    assert tags.index("injected-parameters") == tags.index("parameters") + 1
    setup = next(cell.source for cell in notebook.cells if "resolve_inputs(" in cell.source)
    changed = "learning_rate = 0.125\nprint('inputs', sorted(inputs))"
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in (changed, setup, "print(learning_rate)")]
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}).execute()
    assert "'build', 'load', 'outputs', 'preprocess'" in notebook.cells[-3].outputs[0].text
    assert notebook.cells[-1].outputs[0].text == "0.125\n"
    made, fresh = sorted((folder / "outputs").iterdir(), key=lambda each: not any(each.iterdir()))
    assert (made / "training.json").is_file() and not list(fresh.iterdir()), "each set-up has a folder of its own"
    assert _digests(workplace.runs) == before

    mine = copy.read_bytes()
    editor = workplace.root / "code"
    editor.write_text('#!/bin/sh\necho "$1 on $KERAS_BACKEND" > "$0.said"\nexit 3\n')
    editor.chmod(0o755)
    path = os.pathsep.join([str(workplace.root), os.environ["PATH"]])
    done = workplace.run("--open", "simple_cnn", "train", "--editor", "code", *SETTINGS, PATH=path)
    assert done.returncode == 3, done.stderr
    assert (workplace.root / "code.said").read_text() == f"{copy.with_stem('5_train-2')} on tensorflow\n"
    assert copy.read_bytes() == mine, "an earlier copy is kept"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("simple_cnn", "trian"), "--open: simple_cnn has no stage 'trian'; did you mean 'train'?"),
        (("simple_cn", "train"), "there is no variant 'simple_cn'; did you mean 'simple_cnn'?"),
        (("simple_cnn", "train", "--all"), "--open names its variant itself; leave out --all and --variants"),
        (("simple_cnn", "train", "--editor", "code"), "there is no command `code` on the path"),
    ],
)
def test_what_cannot_be_opened_is_a_sentence(workplace: Workplace, arguments: tuple[str, ...], sentence: str) -> None:
    done = workplace.run("--open", *arguments, *SETTINGS, PATH="/usr/bin:/bin")
    assert done.returncode == 2 and sentence in done.stderr
    assert not (workplace.root / "open").exists()
