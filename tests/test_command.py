"""The command: wrong requests, and terminals of all kinds (other encodings, closed pipes, a closed terminal)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bakeoff.params import variant_names
from tests.conftest import PROJECT, Workplace

PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def project(project_copy: Callable[[], Path]) -> Path:
    """A copy of the project in which variants and a network have signs beyond ASCII."""
    root = project_copy()
    shutil.copyfile(PROJECT / "pipeline.py", root / "pipeline.py")
    for path in (root / "params" / "variants").glob("*.yaml"):
        path.unlink()
    for name, title in (("one", "“Größe” – 猫"), ("two", "Zwei")):
        text = f"# {title}\nrun: {{title: {title}}}\n"
        (root / "params" / "variants" / f"{name}.yaml").write_text(text, encoding="utf-8")
    shutil.copyfile(
        PROJECT / "params" / "variants" / "speedrun_cnn.yaml", root / "params" / "variants" / "speedrun_cnn.yaml"
    )
    return root


def command(project: Path, arguments: Sequence[str], **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, str(project / "pipeline.py"), *arguments],
        capture_output=True,
        timeout=300,
        check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONIOENCODING"} | more,
    )


@pytest.mark.parametrize("settings", [PLAIN, {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}])
def test_every_terminal_gets_the_list(project: Path, settings: dict[str, str]) -> None:
    done = command(project, ["--list"], **settings)
    assert done.returncode == 0, done.stderr
    assert b"two: Zwei" in done.stdout


def test_plans_are_made_in_a_plain_locale(project: Path, tmp_path: Path) -> None:
    arguments = ["--all", "--profile", "smoke", "--dry-run", "--runs-dir", str(tmp_path / "runs")]
    done = command(project, arguments, **PLAIN)
    assert done.returncode == 0, done.stderr


def test_one_bad_file_does_not_keep_the_others_from_the_list(project: Path) -> None:
    (project / "params" / "variants" / "bad.yaml").write_bytes(b"epochs: 3\nrun: {title: Gr\xf6\xdfe}\n")
    (project / "params" / "variants" / "worse.yaml").write_text("search: grid\n", encoding="utf-8")
    done = command(project, ["--list"])
    assert done.returncode == 2
    assert b"one:" in done.stdout and b"two: Zwei" in done.stdout
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("pipeline.py: params/variants/bad.yaml:2: ") and "UTF-8" in lines[0]
    assert "worse.yaml" in lines[1]


def test_a_reader_that_has_read_enough_hears_nothing(project: Path) -> None:
    pipe = f"'{sys.executable}' '{project / 'pipeline.py'}' --list | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "141")  # 0: all was written before the reader was gone
    with subprocess.Popen(
        [sys.executable, str(project / "pipeline.py"), "--list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as listing:
        assert listing.stdout is not None and listing.stderr is not None
        listing.stdout.close()
        assert listing.stderr.read() == b""
    assert listing.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize("platform", ["win32", "freebsd14", "cygwin"])
def test_other_systems_are_refused_in_one_sentence(platform: str) -> None:
    code = f"import sys, runpy; sys.platform = {platform!r}; runpy.run_path({str(PROJECT / 'pipeline.py')!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "Bakeoff runs on Linux, macOS, and Windows through WSL2: install WSL2 and run the command there."
    )


@pytest.mark.parametrize(("arguments", "words"), [(["--list"], "--list writes none"), (["--all"], "the name is empty")])
def test_an_author_is_named_where_a_report_is_made(project: Path, arguments: list[str], words: str) -> None:
    done = command(project, ["--author", " ", *arguments])
    assert done.returncode == 2 and words in done.stderr.decode() and not done.stdout


def test_a_report_says_why_where_every_notebook_failed(project: Path, tmp_path: Path) -> None:
    """As with too few open files: nothing is there of which a report is made, but the reason."""
    for path in (project / "notebooks").glob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
                cell["source"] = "raise OSError(24, 'Too many open files')"
        path.write_text(json.dumps(notebook), encoding="utf-8")
    shutil.copyfile(project / "params" / "variants" / "two.yaml", project / "params" / "variants" / "My__Net.yaml")
    seeds = ["--set", "replicates=2", "--set", "max_replicates=2"]
    places = ["--runs-dir", str(tmp_path / "runs"), "--reports-dir", str(tmp_path / "reports")]
    author = ["--author", "A. <b>Student</b>"]
    done = command(
        project,
        [
            "--variants",
            "one,My__Net",
            "--profile",
            "smoke",
            "--set",
            "dataset=shapes10",
            "--no-pdf",
            *seeds,
            *places,
            *author,
        ],
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 1
    assert "Traceback" not in said
    page = (tmp_path / "reports" / "smoke-selection" / "report.html").read_text(encoding="utf-8")
    assert "Too many open files" in page and '<p class="by">A. &lt;b&gt;Student&lt;/b&gt;</p>' in page
    assert '"name": "A. <b>Student</b>"' in (tmp_path / "reports" / "smoke-selection" / "provenance.json").read_text()
    checked = command(project, ["--check-report", str(tmp_path / "reports" / "smoke-selection")])
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say what to run"),
        (("--all", "--variants", "ann"), "say what to run"),
        (("--variants", "annn"), "did you mean 'ann'?"),
        (("--all", "--force", "trains"), "did you mean 'train'?"),
        (("--all", "--report-name", "../x"), "no plain folder name"),
        (("--all", "--profile", "quik"), "quik"),
        (("--al",), "--al"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_exit_code_2(
    workplace: Workplace, arguments: tuple[str, ...], words: str
) -> None:
    done = workplace.run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(workplace.root.glob("reports*"))


def test_the_list_names_every_variant(workplace: Workplace) -> None:
    done = workplace.run("--list")
    assert done.returncode == 0
    assert all(f"{name}: " in done.stdout for name in variant_names())
