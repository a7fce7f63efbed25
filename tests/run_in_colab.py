"""`make test-colab`: each notebook from its first cell, in a folder with the uploaded zip alone, as in Google Colab.

`python -m tests.run_in_colab PYTHON FOLDER [NOTEBOOK...]`: PYTHON has Colab's versions. The repository is not on its
path, and the module `google.colab`, by which the first cell knows where it is, is an empty one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from bakeoff.plan.code_digests import PROJECT
from docs import colab

_STARTUP = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('google.colab')\n"
_RUN = """
import sys, nbformat
from nbclient import NotebookClient
NotebookClient(nbformat.read(sys.argv[1], as_version=4), timeout=1200, kernel_name="python3").execute(cwd=".")
"""


def content(folder: Path) -> Path:
    """A folder as Colab's /content, with the zip; IPython's folder beside it says so to a kernel."""
    shutil.rmtree(folder, ignore_errors=True)
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "colab.py").write_text(_STARTUP, encoding="utf-8")
    project = folder / "project"
    colab.write_zip(PROJECT, folder / colab.ZIP)
    shutil.unpack_archive(folder / colab.ZIP, project)
    params = project / "params"
    shutil.copyfile(params / "profiles" / "smoke.yaml", params / "profiles" / "quick.yaml")  # by hand
    for path in (params / "base.yaml", project / "notebooks" / "1_load.ipynb"):
        path.write_text(path.read_text(encoding="utf-8").replace("cifar10", "shapes10"), encoding="utf-8")
    (folder / "content").mkdir()
    shutil.make_archive(str(folder / "content" / "bakeoff"), "zip", project)
    return folder / "content"


def main(python: str, folder: str, *names: str) -> int:
    """1 where a notebook does not run, else 0; all of them, or those of these names."""
    place = content(Path(folder).resolve())
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KERAS_BACKEND")}
    environment["IPYTHONDIR"] = str(place.parent / "ipython")
    failed = 0
    for path in sorted((place.parent / "project" / "notebooks").glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        started = time.monotonic()
        command = [str(Path(python).absolute()), "-c", _RUN, str(path)]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
        failed |= done.returncode != 0
        said = f"fails:\n{done.stderr[-3000:]}" if done.returncode else "runs"
        print(f"{path.stem} ({time.monotonic() - started:.0f} s) {said}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
