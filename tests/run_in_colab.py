"""`make test-colab`: each notebook from its first cell, in a folder with the uploaded zip, as in Google Colab.

`python -m tests.run_in_colab PYTHON FOLDER [NOTEBOOK...]`: PYTHON has Colab's versions. The repository is not on its
path, and the module `google.colab`, by which the first cell knows where it is, is an empty one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from bakeoff.plan.code_digests import PROJECT
from docs import colab

SIDE_BY_SIDE = 2  # notebooks
_STARTUP = "import sys, types\nsys.modules['google.colab'] = types.ModuleType('google.colab')\n"
_RUN = """
import sys, nbformat
from nbclient import NotebookClient
NotebookClient(nbformat.read(sys.argv[1], as_version=4), timeout=1200, kernel_name="python3").execute(cwd=".")
"""


def project_of(folder: Path) -> Path:
    """The project as the zip brings it, with quick schedules and data."""
    project = folder / "project"
    colab.write_zip(PROJECT, folder / colab.ZIP)
    shutil.unpack_archive(folder / colab.ZIP, project)
    params = project / "params"
    shutil.copyfile(params / "profiles" / "smoke.yaml", params / "profiles" / "quick.yaml")  # by hand
    for path in (params / "base.yaml", project / "notebooks" / "1_load.ipynb"):
        path.write_text(path.read_text(encoding="utf-8").replace("cifar10", "shapes10"), encoding="utf-8")
    return project


def content(folder: Path, project: Path) -> Path:
    """A folder as Colab's /content, with the zip; IPython's folder beside it says so to a kernel."""
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "colab.py").write_text(_STARTUP, encoding="utf-8")
    (folder / "content").mkdir()
    shutil.make_archive(str(folder / "content" / "bakeoff"), "zip", project)
    return folder / "content"


def run(python: Path, notebook: Path, places: SimpleQueue[Path]) -> bool:
    """Whether this notebook runs in a folder that is free; what the earlier ones there have made, it finds."""
    place, started = places.get(), time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "KERAS_BACKEND")}
    environment["IPYTHONDIR"] = str(place.parent / "ipython")
    command = [str(python), "-c", _RUN, str(notebook)]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    places.put(place)
    said = f"fails:\n{done.stderr[-3000:]}" if done.returncode else "runs"
    print(f"{notebook.stem} ({time.monotonic() - started:.0f} s) {said}", flush=True)
    return done.returncode == 0


def main(python: str, folder: str, *names: str) -> int:
    """1 where a notebook does not run, else 0; all of them, or those of these names."""
    root = Path(folder).resolve()
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    project, places = project_of(root), SimpleQueue[Path]()
    for number in range(SIDE_BY_SIDE):
        places.put(content(root / str(number), project))
    notebooks = sorted((project / "notebooks").glob("*.ipynb"), reverse=True)  # 7_compare takes the longest
    wanted = [path for path in notebooks if not names or path.stem in names]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        ran = list(pool.map(lambda path: run(Path(python).absolute(), path, places), wanted))
    return int(not all(ran))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
