"""Text from parameters, names and machines is text: in report.html, in report.pdf and in the notebooks beside them."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from nbformat import v4
from PIL import Image

from bakeoff.params import Parameters
from bakeoff.plan.resolve import Source
from bakeoff.plan.steps import Row
from bakeoff.report.check import check_report
from bakeoff.report.html import to_html
from bakeoff.report.masks import Mask, masked_notebook
from bakeoff.report.merge import Merger
from bakeoff.report.pdf import make_pdf
from bakeoff.report.variant import Results, chapter
from bakeoff.store import Store
from tests.stubs import StubProject

FACTS = {
    "profile": "smoke",
    "datasets": [],
    "machine": {"device": "cpu", "cores": 2, "backend": "tensorflow"},
    "revision": "5eed",
    "packages": {},
    "reproducible": "",
}
TITLE = (
    "<b>Fett</b> & $\\frac{a}{b}$ #let x = 1; |pipe| `code` *star* _a_b_ [link](javascript:alert(1)) \\end{document}"
)
ASSUMED = ["costs $5 to $10", "a | b", "</td><td>", "<script>alert(1)</script>"]
NOTES = (
    "A note with $x_1$ and $$\\int_0^1$$, an <img src=x onerror=alert(1)>, 5 < 6, a line\nbreak, # heading\n\n"
    "## Heading two\n\n- item\n\n    code block\n\n```\nfence never closed"
)
AFTER = "What comes after"


def _headed(page: BeautifulSoup, title: str) -> bool:
    """Whether a chapter has this title, after its number."""
    return any(heading.get_text().endswith(title) for heading in page.find_all("h3"))


def _merged(folder: Path, *cells: Any, **run: Any) -> Merger:
    """A chapter of a variant with these texts, then a notebook of these cells, and a last heading."""
    merger = Merger(folder / "runs")
    run = {"title": "x", "source": "", "assumed": [], "notes": "", **run}
    row = Row(Parameters("odd", {}, run, ()), 0, 0, Source("x", "x"), "none", {})
    results = Results({"odd": {"limited": "", "status": "ok", "message": ""}})
    chapter(merger, [row], results, Store(folder / "runs"))
    path = folder / "notebook.ipynb"
    path.write_text(json.dumps(v4.new_notebook(cells=list(cells), metadata={"papermill": {}})))
    merger.notebook(path, "x", 3)
    merger.heading(3, AFTER)
    return merger


def _page(merger: Merger) -> BeautifulSoup:
    return BeautifulSoup(to_html(merger, "A report", [], FACTS), "html.parser")


def _pdf(merger: Merger) -> str:
    """The text of the PDF with single spaces."""
    if not shutil.which("pdftotext"):
        pytest.skip("pdftotext (poppler-utils) is not installed")
    pdf = make_pdf("A report", [], merger.cells, FACTS)
    done = subprocess.run(["pdftotext", "-", "-"], input=pdf, capture_output=True, check=True)
    return " ".join(done.stdout.decode("utf-8").replace("\u200b", "").split())


def _output(data: dict[str, str], **metadata: Any) -> Any:
    return v4.new_output("display_data", data, metadata=metadata)


def _code(*outputs: Any) -> Any:
    return v4.new_code_cell("1", outputs=list(outputs), execution_count=1, metadata={"tags": ["report"]})


def _prose(text: str) -> Any:
    return v4.new_markdown_cell(text, metadata={"tags": ["report"]})


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _wanted() -> Sequence[str]:
    return [TITLE, *ASSUMED, *NOTES.split("\n")]


def test_a_chapter_s_texts_are_shown_as_they_are_written(tmp_path: Path) -> None:
    merger = _merged(tmp_path, title=TITLE, assumed=ASSUMED, notes=NOTES)
    page = _page(merger)
    shown = _squeezed(page.main.get_text())
    for text in _wanted():
        assert _squeezed(text) in shown, text
    assert not page.main.select("math, pre, script, img, .text code"), "nothing of it is a formula, code or a tag"
    assert _headed(page, f"odd: {TITLE}")
    assert _headed(page, AFTER), "what follows stands for itself"


def test_a_chapter_s_texts_are_shown_as_they_are_written_in_the_pdf(tmp_path: Path) -> None:
    shown = _squeezed(_pdf(_merged(tmp_path, title=TITLE, assumed=ASSUMED, notes=NOTES)))
    for text in _wanted():
        assert _squeezed(text) in shown, text


FORMULAS = {"control": "a \x01 b", "surrogate": "a \ud800 b"}


@pytest.mark.parametrize("tex", FORMULAS.values(), ids=FORMULAS)
def test_a_formula_that_is_no_text_costs_itself_alone(tmp_path: Path, tex: str) -> None:
    merger = _merged(tmp_path, _prose(f"Before ${tex}$ and $c^2$."))
    page = _page(merger)
    assert "A formula that cannot be set" in page.main.get_text()
    assert len(page.find_all("math")) == 1
    assert _headed(page, AFTER)
    text = _pdf(merger)
    assert "A formula that cannot be set" in text
    assert AFTER in text


def test_a_formula_that_typst_does_not_take_costs_itself_alone(tmp_path: Path) -> None:
    text = _pdf(_merged(tmp_path, _prose("Before $\\frac{}{}$ and $c^2$.")))
    assert "[A formula that cannot be set: \\frac{}{}]" in text
    assert "c^2" not in text, "the other one is set"
    assert AFTER in text


def test_an_image_that_cannot_be_read_costs_itself_alone(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(buffer, "PNG")
    whole = buffer.getvalue()
    broken = {"text": b"no image", "cut": whole[: len(whole) // 2], "flipped": whole[:40] + b"\xff" * 8 + whole[48:]}
    outputs = [
        _output({"image/png": base64.b64encode(content).decode()}, bakeoff={"caption": f"The image {name}"})
        for name, content in broken.items()
    ]
    text = _pdf(_merged(tmp_path, _code(*outputs)))
    for name in broken:
        assert f"[The image “The image {name}” cannot be read.]" in text
    assert AFTER in text


def test_the_machine_s_folders_are_in_no_notebook_beside_a_report(stub_run: tuple[StubProject, Path]) -> None:
    project, folder = stub_run
    report = folder / "reports" / "smoke-selection"
    copies = sorted(report.glob("notebooks/*/*.ipynb"))
    assert copies
    for path in copies:
        text = path.read_text(encoding="utf-8")
        for place in (folder, project.root, Path.home(), Path(sys.executable).parent):
            assert f"{place}/" not in text, path.name
        nbformat.validate(json.loads(text))
    train = next(path for path in copies if path.stem == "train").read_text(encoding="utf-8")
    assert '\\"runs/build/' in train, "what lies in the store is named by its place in it"
    assert check_report(report, print) == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("{store}/load/0a", "runs/load/0a"),
        ("{'load': '{store}/load/0a'}", "{'load': 'runs/load/0a'}"),
        ("{store}-other/x", "<tmp>/bakeoff/runs-other/x"),
        ("/home/ada/bakeoff/x.py:3: UserWarning", "~/bakeoff/x.py:3: UserWarning"),
        ("C:\\Users\\Ada\\x.py", "~\\x.py"),
        ("a /homeless b, a/home/b", "a /homeless b, a/home/b"),
        ("/usr/share/fonts", "/usr/share/fonts"),
        ("/srv/lab/runs/train/1f and /srv/lab/notebooks", "runs/train/1f and ./notebooks"),
    ],
)
def test_what_a_mask_covers(text: str, shown: str) -> None:
    store = Path(tempfile.gettempdir(), "bakeoff", "runs")
    made_there = {
        "output_path": "/srv/lab/runs/load/0a/notebook.ipynb",
        "input_path": "/srv/lab/notebooks/1_load.ipynb",
    }
    assert Mask(store, made_there)(text.replace("{store}", str(store))) == shown


def test_an_image_keeps_its_letters() -> None:
    encoded = "/home/ada/" * 4
    output = _output({"image/png": encoded, "text/plain": "/home/ada/x"})
    masked = json.loads(masked_notebook(json.dumps(v4.new_notebook(cells=[_code(output)])), Path("runs")))
    assert masked["cells"][0]["outputs"][0]["data"] == {"image/png": encoded, "text/plain": "~/x"}


def test_a_sign_of_another_script_has_an_installed_font_in_the_pdf(tmp_path: Path) -> None:
    if not any("猫" in _signs_of(path) for path in font_manager.findSystemFonts()):
        pytest.skip("no font of this system has Chinese signs")
    pdf = make_pdf("A report", [], _merged(tmp_path, title="猫").cells, FACTS)
    assert re.search(rb"/BaseFont/[A-Z]{6}\+(?!Libertinus|DejaVu|LastResort|NewCM)", _unpacked(pdf))
    assert b"LastResort" not in _unpacked(pdf)


def _signs_of(path: str) -> str:
    try:
        return "".join(map(chr, FT2Font(path).get_charmap()))
    except (OSError, RuntimeError):
        return ""


def _unpacked(pdf: bytes) -> bytes:
    """The bytes of a PDF with those of its objects that are packed."""
    packed = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    parts = [pdf]
    for part in packed:
        with suppress(zlib.error):
            parts.append(zlib.decompress(part))
    return b"\n".join(parts).replace(b"/BaseFont /", b"/BaseFont/")
