"""The audit as the compare page reads and shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bakeoff.lab import claims
from bakeoff.lab.claims import NOT_REPRODUCED, NOT_TESTED, REPRODUCED, UNDECIDED
from bakeoff.lab.plots import claims as pages
from bakeoff.lab.plots.words import percent, points

Row = dict[str, object]
LIMITED = "a: epochs 1 (catalogue: 5)"


pytestmark = pytest.mark.usefixtures("pictures_without_a_screen")


def row(status: str = REPRODUCED, **more: object) -> Row:
    base: Row = dict.fromkeys(claims.COLUMNS, "")
    base |= {"source": "s", "variant": "a", "kind": "number", "where": "table", "metric": "test_accuracy"}
    compared = (
        {"ours": "0.7100", "difference": 0.0129, "low": 0.004, "high": 0.022, "tolerance": 0.03}
        if status != NOT_TESTED
        else {}
    )
    reason = LIMITED if status == NOT_TESTED else "within the tolerance"
    return base | {"claimed": "0.6971", "status": status, "reason": reason} | compared | more


def read(folder: Path, *rows: Row) -> pd.DataFrame:
    pd.DataFrame(list(rows), columns=list(claims.COLUMNS)).to_csv(folder / "claims.csv", index=False)
    return claims.read(folder / "claims.csv")


def log(status: str = REPRODUCED, **more: object) -> Row:
    values = {"metric": "train_accuracy", "where": "training log", "epoch": "3", "log": "1:0.3 2:0.4 3:0.5"}
    return row(status, **values | {"claimed": "0.5"} | more)


def test_a_file_that_is_no_audit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "claims.csv").write_text("source,status\ns,reproduced\n")
    with pytest.raises(ValueError, match="lacks variant"):
        claims.read(tmp_path / "claims.csv")
    with pytest.raises(ValueError, match="'perhaps'"):
        read(tmp_path, row("perhaps"))


COUNTS = [
    ([], "No source makes a claim"),
    (
        [row()],
        "Of the only claim about these variants 1 is reproduced, 0 are not reproduced, 0 are undecided, and 0 are",
    ),
    ([row(), row(NOT_REPRODUCED)], "Of 2 claims about these variants 1 is reproduced, 1 is not reproduced"),
    ([row(NOT_TESTED)] * 2, "2 are not tested.** So this run says nothing for or against any source."),
    ([row(NOT_TESTED)], "1 would need a finished run on the source's data"),
    ([row(NOT_TESTED, reason="it would take the pictures")], "1 can be tested by no run"),
    ([row(NOT_TESTED, reason="b is not part of this run")], "1 would need a variant that is not part of this run"),
    ([row(UNDECIDED)], "1 is undecided, and 0 are not tested.** So this run says nothing for or against any source."),
]


@pytest.mark.parametrize(("rows", "words"), COUNTS)
def test_the_sentence_that_counts(tmp_path: Path, rows: list[Row], words: str) -> None:
    text = pages.counts(read(tmp_path, *rows))
    assert words in text
    assert ("nothing for or against" in text) == bool(
        rows and all(each["status"] in (NOT_TESTED, UNDECIDED) for each in rows)
    )


PARAMETERS = [
    (
        [row(kind="parameters")] * 2 + [row(kind="parameters", source="")],
        "Of 2 numbers of parameters that were compared, all are exactly the source's.",
    ),
    ([row()], "No source prints a number of parameters"),
    ([row(NOT_TESTED, kind="parameters")], "None of the 1 numbers"),
    ([row(kind="parameters")] * 2, "Of 2 numbers of parameters that were compared, all are exactly the source's."),
    (
        [
            row(kind="parameters"),
            row(NOT_REPRODUCED, kind="parameters", ours="7", claimed="8"),
            row(NOT_TESTED, kind="parameters"),
        ],
        "1 are exactly the source's; 1 more are not tested. `a`: 7 here, 8 there.",
    ),
]


@pytest.mark.parametrize(("rows", "words"), PARAMETERS)
def test_the_sentence_on_parameters(tmp_path: Path, rows: list[Row], words: str) -> None:
    assert words in pages.parameter_words(read(tmp_path, *rows))


def test_figures_stand_beside_ours_in_their_units(tmp_path: Path) -> None:
    times = {"metric": "train_hours", "claimed": "1.00 times b", "ours": "0.31", "tolerance": 2.0, "difference": -0.69}
    times |= {"low": "", "high": ""}
    rows = [
        row(),
        row(NOT_REPRODUCED, metric="test_loss", claimed="0.95", ours="1.2000", difference=0.25),
        row(**times),
    ]
    audit = read(tmp_path, *rows, row(NOT_TESTED, ours="0.1000"), row(source="other"))
    table = pages.figures(audit, "s")
    assert claims.sources(audit) == ["s", "other"]
    assert table["source"].tolist() == ["69.7 %", "0.95", "1.00 times b", "69.7 %"]
    assert table["here"].tolist() == ["71.0 %", "1.2000", "0.31 times", "10.0 %"]
    assert table["difference"].tolist() == ["+1.3 points", "+0.25", "", ""]
    assert table["95 % interval"].tolist() == ["+0.4 to +2.2 points", "+0.004 to +0.022", "", ""]
    assert table["allowed"].tolist() == ["3.0 points", "0.03", "a factor of 2", ""]
    assert table["reading"].tolist()[:2] == [REPRODUCED, NOT_REPRODUCED]
    assert table["reading"][3] == "not tested: epochs 1 (catalogue: 5)"


def test_a_difference_is_that_of_the_two_figures_as_printed(tmp_path: Path) -> None:
    """12.64 and 11.86 % are printed as 12.6 and 11.9: 0.7 points, although 0.78 is nearer to 0.8."""
    audit = read(tmp_path, row(ours="0.1264", claimed="0.1186", difference=0.0078))
    assert pages.figures(audit, "s").iloc[0][["source", "here", "difference"]].tolist() == [
        "11.9 %",
        "12.6 %",
        "+0.7 points",
    ]
    assert points(0.1264, 0.1186) == "0.7" and percent(float(np.float32(0.7105))) == percent(0.7105)


def test_undecided_claims_say_so_and_where_a_log_is_farthest(tmp_path: Path) -> None:
    reason = "of 3 epochs farthest at epoch 1, 0.3400 against 0.3: undecided: 4.0 points more here"
    audit = read(tmp_path, row(UNDECIDED), log(UNDECIDED, reason=reason), row(UNDECIDED, kind="ordering"))
    assert pages.figures(audit, "s")["reading"].tolist() == [UNDECIDED, f"{UNDECIDED}: {reason}"]
    assert pages.conclusions(audit).startswith(
        "Of 1 conclusion about these variants, 0 hold here, 0 do not hold, 1 is undecided."
    )
    assert "**These data cannot tell**" in pages.conclusions(audit)


def test_a_long_reason_is_cut_in_the_table(tmp_path: Path) -> None:
    table = pages.figures(read(tmp_path, row(NOT_TESTED, reason="x" * 500)), "s")
    assert len(table["reading"][0]) == pages.LONGEST_REASON and table["reading"][0].endswith("…")


def test_both_values_of_a_contradiction_stand_beside_ours(tmp_path: Path) -> None:
    reason = "ours agrees with 0.8318, not with 0.8600; the source gives both"
    rows = [
        row(kind="contradiction", claimed="0.86", against="0.8318", reason=reason),
        row(NOT_REPRODUCED, kind="contradiction"),
    ]
    table = pages.contradictions(read(tmp_path, *rows, row(NOT_TESTED, kind="contradiction", variant="")))
    assert table.iloc[0][["the source says", "and also", "here"]].tolist() == ["86.0 %", "83.2 %", "71.0 %"]
    assert table["reading"][0] == reason and table["reading"][1].startswith("not reproduced: ")
    assert table["variant"][2] == "(s)"
    assert pages.contradictions(read(tmp_path, row())).empty


def test_conclusions_say_whether_they_hold(tmp_path: Path) -> None:
    ordering = {"kind": "ordering", "metric": "b beats a", "claimed": "b > a"}
    same = row(NOT_TESTED, **ordering)
    own = row(NOT_REPRODUCED, **ordering | {"source": "", "kind": "hypothesis", "note": "ours"})
    text = pages.conclusions(read(tmp_path, row(**ordering), own, same, same))
    assert text.startswith("Of 4 conclusions about these variants, 1 holds here, 1 does not hold, 2 are not tested.")
    items = text.splitlines()[2:]
    assert len(items) == 3  # what is not tested for one reason is one item
    assert items[0].startswith("- `s`, `a`: *b beats a* (`b > a`). **It holds here**")
    assert "own hypothesis" in items[1] and "**It does not hold here**" in items[1] and "Note: ours." in items[1]
    assert "Not tested: epochs 1" in items[2]


def test_conclusions_that_are_few_missing_or_untested(tmp_path: Path) -> None:
    assert pages.conclusions(read(tmp_path, row())) == "No source draws a conclusion about these variants."
    text = pages.conclusions(read(tmp_path, row(NOT_TESTED, kind="argument")))
    assert text.startswith("Of 1 conclusion about these variants, none is tested.")
    text = pages.conclusions(read(tmp_path, row(kind="ordering")))
    assert "1 holds here, 0 do not hold." in text


def test_examples_are_listed_with_their_reason(tmp_path: Path) -> None:
    table = pages.examples(read(tmp_path, row(NOT_TESTED, kind="example", reason="it would take the pictures"), row()))
    assert table["reading"].tolist() == ["not tested: it would take the pictures"]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_sources_logs_are_drawn_under_ours(tmp_path: Path, count: int) -> None:
    rows = [log(REPRODUCED if at else NOT_TESTED, variant=f"v{at}") for at in range(count)]
    validation = log(variant="v0", metric="validation_accuracy", log="1:0.2 3:0.4", status=NOT_TESTED)
    loss = log(variant="w", metric="train_loss")
    audit = read(tmp_path, *rows, validation, loss)
    assert list(pages.drawn_logs(audit)) == [f"v{at}" for at in range(count)]
    history = pd.DataFrame({"epoch": [1, 2], "train_accuracy": [0.3, 0.45], "validation_accuracy": [None, None]})
    figure = pages.log_curves(audit, {"v0": history.astype(float)})
    figure.canvas.draw()
    panel = figure.axes[0]
    assert panel.get_title() == "v0 (not tested)"
    assert [line.get_linestyle() for line in panel.get_lines()] == ["--", "--", "-"]
    words = pages.log_words(audit, {"v0": history.astype(float)})
    assert "v0: the source ends at training 50.0 % and validation 40.0 % after epoch 3" in words
    assert "here after epoch 2 at training 45.0 %, which is not the source's training" in words
    assert ("v1: the source ends at training 50.0 % after epoch 3, there is no training of it here." in words) == (
        count > 1
    )


def test_without_a_log_there_is_no_figure(tmp_path: Path) -> None:
    audit = read(tmp_path, row())
    assert pages.drawn_logs(audit) == {}
    with pytest.raises(ValueError, match="no source prints a training log"):
        pages.log_curves(audit, {})
