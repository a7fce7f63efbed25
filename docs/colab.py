"""Writes the notebooks' first cells for Google Colab and the project's address: `python -m docs.colab [OWNER/NAME]`.

The address stands in one place, `[project.urls]` of pyproject.toml, once it is given; until then no notebook has a
badge, and their first cells ask for the project as one file (`python -m docs.colab --zip`).
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from bakeoff.errors import RequestError

TAG = "colab"
ZIP = "bakeoff.zip"
_HOST = "https://github.com/"
_COLAB = "https://colab.research.google.com"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?/[A-Za-z0-9._-]+")
_IN_ZIP = ("bakeoff", "notebooks", "params", "LICENSE", "README.md", "pipeline.py", "pyproject.toml")
_URLS = re.compile(r'^\[project\.urls\]\nRepository = ".*"\n\n', re.M)
_NEXT_TABLE = "[tool.setuptools.packages.find]"
# What Colab has not, with what these need; what it has is left alone.
_PACKAGES = ("papermill", "entrypoints", "tenacity", "keras-tuner", "importlib-resources")
_CELL = """import os
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import unpack_archive

if "google.colab" in sys.modules:  # elsewhere `make setup` has done this
    if Path.cwd().name != "notebooks":
        if Path("{zip}").is_file():
            unpack_archive("{zip}", "bakeoff")
        else:
            {otherwise}
        os.chdir("bakeoff/notebooks")
        sys.path.insert(0, str(Path.cwd().parent))
    packages = {packages}
    missing = " ".join(each for each in packages if find_spec(each.replace("-", "_")) is None)
    if missing:
        %pip install --quiet --no-deps {{missing}}"""  # --no-deps: Colab's own versions stay as they are
_CLONE = "!git clone --quiet --depth 1 {repository} bakeoff"
_ASK = 'raise FileNotFoundError("upload {zip} first (folder symbol at the left), then run this cell again")'
_TEXT = (
    "In Google Colab, upload the project as one file before you run the next cell: `make colab-zip` writes "
    f"`{ZIP}`, and the folder symbol at the left takes it. Elsewhere the cell does nothing."
)


def repository(project: Path) -> str:
    """The project's address; empty where nothing says it."""
    urls = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("urls", {})
    return str(urls.get("Repository", ""))


def cells(notebook: str, address: str) -> list[dict[str, Any]]:
    """The two cells for Colab: how it is opened there, and what makes it run there."""
    place = f"{_COLAB}/github/{address.removeprefix(_HOST)}/blob/main/notebooks/{notebook}"
    text = f"[![Open in Colab]({_COLAB}/assets/colab-badge.svg)]({place})" if address else _TEXT
    otherwise = (_CLONE.format(repository=address) if address else _ASK).format(zip=ZIP)
    code = _CELL.format(zip=ZIP, otherwise=otherwise, packages=json.dumps(_PACKAGES))
    tags = {"tags": [TAG]}
    return [
        {"cell_type": "markdown", "id": "colab-text", "metadata": tags, "source": text.splitlines(True)},
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "colab",
            "metadata": tags,
            "outputs": [],
            "source": code.splitlines(True),
        },
    ]


def write(project: Path, name: str = "") -> str:
    """Write all notebooks' cells for Colab and, where `name` (OWNER/NAME) is given, the address; the address."""
    if name:
        _write_address(project / "pyproject.toml", name)
    address = repository(project)
    for path in sorted((project / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        others = [cell for cell in notebook["cells"] if TAG not in cell["metadata"].get("tags", [])]
        notebook["cells"] = [others[0], *cells(path.name, address), *others[1:]]
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return address


def _write_address(path: Path, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise RequestError(f"REPOSITORY={name} is no repository of GitHub: write it as OWNER/NAME")
    rest = _URLS.sub("", path.read_text(encoding="utf-8"))
    table = f'[project.urls]\nRepository = "{_HOST}{name}"\n\n'
    path.write_text(rest.replace(_NEXT_TABLE, table + _NEXT_TABLE), encoding="utf-8")


def write_zip(project: Path, target: Path) -> None:
    """The project as one file: what its notebooks need, without what was computed."""
    places = [project / name for name in _IN_ZIP]
    files = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*")))]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            if path.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts):
                archive.write(path, path.relative_to(project))


def main(arguments: list[str]) -> None:
    """Write the cells, or the zip."""
    project = Path(__file__).resolve().parent.parent
    if arguments == ["--zip"]:
        write_zip(project, project / ZIP)
        print(f"Wrote {ZIP}.")
        return
    address = write(project, *arguments[:1])
    print(f"The notebooks' cells for Colab name {address or 'no repository: they ask for a zip'}.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RequestError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
