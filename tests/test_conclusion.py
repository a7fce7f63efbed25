"""The conclusion is computed: who leads and how surely, what fell, and no winner where nothing can be compared."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup

from bakeoff.claims import read_claims
from bakeoff.claims.audit import Finding
from bakeoff.claims.outcomes import NOT_TESTED, Outcome
from bakeoff.lab.ranking import HELD_OUT
from bakeoff.params import DIRECTORY, Parameters
from bakeoff.plan.resolve import Source
from bakeoff.plan.steps import Row
from bakeoff.report.conclusion import conclusion, models
from bakeoff.report.merge import Merger
from bakeoff.report.standing import Standing
from bakeoff.report.untested import appendix
from bakeoff.report.variant import Results, _Chapter, chapter, printed_in
from bakeoff.store import Store

RANKED = {
    "a": {"rank": "1", "test accuracy": "61.0 % (60.0 to 62.0)", "group": "a", "training": "3 min"},
    "b": {"rank": "2", "test accuracy": "60.8 % (59.8 to 61.8)", "group": "ab"},
    "c": {"rank": "3", "test accuracy": "50.0 % (49.0 to 51.0)", "group": "c"},
}
FINISHED = {"dataset": "cifar10", "weights": "none", "limited": "", "status": "ok", "replicate": 0}


def _rows(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{**FINISHED, "variant": name, **more} for name in names]


def _text(standing: Standing, table: list[dict[str, Any]]) -> str:
    paragraphs, _ = conclusion(standing, table, [])
    return " ".join(paragraphs)


def test_the_winner_its_interval_and_its_equals_are_named() -> None:
    text = _text(Standing(RANKED), _rows("a", "b", "c"))
    assert "<code>a</code> leads 3 ranked variants" in text and "61.0 % (60.0 to 62.0)" in text
    assert "Not significantly different from it on these images: <code>b</code>." in text
    assert "3 min of training" in text and "Take <code>a</code>" in text and "one seed each" in text


def test_one_table_has_all_models_with_the_pick_and_its_reason() -> None:
    figures = {
        "source": "",
        "test_accuracy": "0.5",
        "train_seconds": "7.2",
        "parameters": "12230010",
        "message": "no disk",
    }
    table = [*_rows("d", "c", "b", "a", **figures), *_rows("e", **figures | {"status": "failed", "test_accuracy": ""})]
    ranked = RANKED | {"c": RANKED["c"] | {"points behind the first": "11.0 (+9.9 to +12.1)"}}
    output = models(Standing(ranked, {"d": "96 images, fewer than 5000; too short"}), table)
    rows = BeautifulSoup(output["data"]["text/html"], "html.parser").select("tbody tr")
    found = {row.th.get_text(): [cell.get_text() for cell in row.find_all("td")] for row in rows if row.th}
    assert list(found) == ["a", "b", "c", "d", "e"]
    assert found["a"][-1] == "picked: the highest accuracy of 3" and found["a"][1:3] == [
        "1",
        RANKED["a"]["test accuracy"],
    ]
    assert (
        found["b"][-1] == "not significantly different from the picked one" and found["c"][-1] == "11.0 points behind"
    )
    assert found["d"] == [
        "this project",
        "",
        "50.0 %",
        "12\u00a0230\u00a0010",
        "7 s",
        "not ranked: 96 images, fewer than 5000",
    ]
    assert found["e"][-1] == "failed"


def test_a_winner_that_differs_from_all_is_said_to() -> None:
    text = _text(Standing({"a": RANKED["a"], "c": RANKED["c"]}), _rows("a", "c"))
    assert "differs significantly from every other" in text and "<code>c</code> follows with 50.0 %" in text


def test_with_fewer_than_two_ranked_there_is_no_winner() -> None:
    text = _text(
        Standing({"a": RANKED["a"]}, {"b": "too short"}), _rows("a", "b", limited="epochs 1", weights="random")
    )
    assert "No winner" in text and "leads" not in text and "Take" not in text
    assert "2 of 2 trainings with overrides" in text and "2 on random weights" in text


def test_a_test_set_held_out_of_the_training_images_cuts_no_training() -> None:
    text = _text(Standing(RANKED), _rows("a", "b", "c", limited=HELD_OUT))
    assert "Take <code>a</code>" in text and "with overrides" not in text


def test_synthetic_images_stand_in_the_first_sentence() -> None:
    assert _text(Standing(RANKED), _rows("a", "b", "c", dataset="shapes10")).startswith("<strong>On synthetic images")


def _row(name: str, builder: str, replicate: int = 0, notes: str = "") -> Row:
    run = {"title": name, "source": "", "assumed": [], "notes": notes}
    return Row(Parameters(name, {"builder": builder}, run, ()), replicate, replicate, Source("x", "x"), "none", {})


def test_a_network_of_several_variants_is_printed_once_and_linked(tmp_path: Path) -> None:
    rows = [_row("first", "shared"), _row("second", "shared"), _row("third", "own")]
    merger, results = Merger(), Results(networks=printed_in(rows))
    for row in rows:
        chapter(merger, [row], results, Store(tmp_path))
    text = "".join(cell.source for cell in merger.cells)
    assert text.count('<a href="#variant-first">that of first</a>') == 1 and "that of second" not in text


def test_a_note_of_several_variants_stands_once_and_is_linked(tmp_path: Path) -> None:
    merger = Merger()
    for name in ("one", "two"):
        chapter(merger, [_row(name, name, notes="The same words.")], Results(), Store(tmp_path))
    text = "".join(cell.source for cell in merger.cells)
    assert text.count("The same words.") == 1
    assert 'The note of <a href="#variant-one">one</a> holds here, too.' in text


def test_of_several_seeds_the_facts_give_the_mean(tmp_path: Path) -> None:
    rows = [_row("a", "x"), _row("a", "x", 1)]
    table = {
        row.folder_name: {"limited": "", "status": "ok", "test_accuracy": accuracy}
        for row, accuracy in zip(rows, (0.5, 0.6), strict=True)
    }
    merger = Merger()
    chapter(merger, rows, Results(table), Store(tmp_path))
    html = "".join(output["data"]["text/html"] for cell in merger.cells for output in cell.get("outputs", []))
    assert "55.0 (mean of 2)" in html
    assert merger.chapters == {"a": "variant-a", "a (seed 1)": "variant-a"}


def test_the_log_shows_the_first_the_best_and_the_last_epoch(tmp_path: Path) -> None:
    history = [{"epoch": str(at), "train_accuracy": "0.5", "validation_accuracy": v} for at, v in enumerate("132", 1)]
    merger = Merger()
    made = _Chapter(merger, [_row("a", "x")], Results(), Store(tmp_path))
    made.log(history)
    html = merger.cells[0].outputs[0]["data"]["text/html"]
    rows = [
        [cell.get_text() for cell in row.find_all(["th", "td"])] for row in BeautifulSoup(html, "html.parser")("tr")
    ]
    assert rows[0] == ["", "epoch", "train accuracy", "validation accuracy"]
    assert [row[:2] for row in rows[1:]] == [["first", "1"], ["best", "2"], ["last", "3"]]
    made.log(history[:1])
    assert len(merger.cells) == 1


def test_untested_claims_stand_in_an_appendix_with_the_tolerances_in_use() -> None:
    claims = [claim for claim in read_claims(DIRECTORY) if claim.variant == "ann"]
    findings = [Finding(claim, Outcome(NOT_TESTED, "ann: epochs 1 (catalogue: 5)")) for claim in claims]
    merger = Merger()
    appendix(merger, findings)
    assert [text for _, _, text in merger.contents][-1].endswith("Tolerances")
    shown = "".join(output["data"]["text/html"] for cell in merger.cells for output in cell.get("outputs", []))
    assert shown.count("epochs 1 (catalogue: 5)") == len({claim.source for claim in claims})
    assert all(escape(name.replace("_", " ")) in shown for claim in claims for _, name in claim.checks)
    appendix(merger := Merger(), [])
    assert not merger.cells
