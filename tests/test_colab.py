"""What is written for Google Colab: the notebooks' first cells, the project's address, the project as one file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from IPython.core.inputtransformer2 import TransformerManager

from bakeoff.plan.code_digests import NOTEBOOKS, Code, Notebook
from bakeoff.store import Store
from docs import colab
from tests.conftest import PROJECT

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what `make colab` reads and writes."""
    for name in ("Makefile", "pyproject.toml", "LICENSE", "README.md", "pipeline.py"):
        shutil.copyfile(PROJECT / name, tmp_path / name)
    for name in ("notebooks", "params", "bakeoff"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs").mkdir()
    shutil.copyfile(PROJECT / "docs" / "colab.py", tmp_path / "docs" / "colab.py")
    return tmp_path


def make(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("make"):
        pytest.skip("there is no make here")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *words], cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def _keys(checkout: Path) -> list[Notebook]:
    """What of each notebook is in a key."""
    code = Code(Store(checkout / "runs").digests(), checkout)
    return [code.notebook(path.stem) for path in PATHS]


def test_each_notebook_has_the_cells_that_are_written_for_the_address_in_pyproject() -> None:
    address = colab.repository(PROJECT)
    for path in PATHS:
        assert json.loads(path.read_text())["cells"][1:3] == colab.cells(path.name, address), "run `make colab`"


def test_no_file_names_an_address_until_one_is_given(checkout: Path) -> None:
    table = checkout / "pyproject.toml"
    table.write_text(colab._URLS.sub("", table.read_text()))
    assert colab.write(checkout) == ""
    written = "".join((checkout / "notebooks" / path.name).read_text() for path in PATHS)
    assert "colab-badge" not in written and "github.com" not in written and "make colab-zip" in written


def test_one_command_writes_the_address_everywhere_and_it_is_in_no_key(checkout: Path) -> None:
    before = _keys(checkout)
    done = make(checkout, "colab", "REPOSITORY=owner/name")
    assert done.returncode == 0, done.stderr
    assert colab.repository(checkout) == "https://github.com/owner/name"
    for path in PATHS:
        text = (checkout / "notebooks" / path.name).read_text()
        assert f"/github/owner/name/blob/main/notebooks/{path.name}" in text
        assert "--depth 1 https://github.com/owner/name bakeoff" in text and "make colab-zip" not in text
    assert _keys(checkout) == before
    make(checkout, "colab", "REPOSITORY=other/one")
    assert (checkout / "pyproject.toml").read_text().count("[project.urls]") == 1
    assert "owner/name" not in "".join(path.read_text() for path in (checkout / "notebooks").iterdir())


def test_what_is_no_repository_is_refused_in_a_sentence(checkout: Path) -> None:
    before = (checkout / "pyproject.toml").read_text()
    done = make(checkout, "colab", "REPOSITORY=name")
    assert done.returncode == 2 and "REPOSITORY=name is no repository of GitHub" in done.stderr
    assert "Traceback" not in done.stderr and (checkout / "pyproject.toml").read_text() == before


def test_the_first_cell_unpacks_the_zip_and_imports_it(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert make(checkout, "colab-zip").returncode == 0
    content = tmp_path_factory.mktemp("content")
    with zipfile.ZipFile(checkout / colab.ZIP) as archive:
        assert not [name for name in archive.namelist() if "__pycache__" in name or name.startswith("runs")]
    transformed = TransformerManager().transform_cell("".join(colab.cells("5_train.ipynb", "")[1]["source"]))
    program = (
        "import sys; sys.modules['google.colab'] = sys; get_ipython = lambda: None\n"
        f"sys.path[:] = [each for each in sys.path if each != {str(PROJECT)!r}]\n"
        f"{transformed}\nimport bakeoff; print(bakeoff.__file__)"
    )
    command = [sys.executable, "-I", "-c", program]
    refused = subprocess.run(command, cwd=content, capture_output=True, text=True, check=False)
    assert "FileNotFoundError: upload bakeoff.zip first" in refused.stderr
    shutil.copyfile(checkout / colab.ZIP, content / colab.ZIP)
    done = subprocess.run(command, cwd=content, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(content.resolve() / "bakeoff" / "bakeoff" / "__init__.py")
