"""What the comparison says of each variant, read from its executed tables: ranked with a row, or not, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bakeoff.report.cells import Executed


@dataclass(frozen=True)
class Standing:
    """`ranked`: variant -> its row of the ranking, best first; `unranked`: label of a row -> why it is not ranked."""

    ranked: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unranked: Mapping[str, str] = field(default_factory=dict)

    def of(self, variant: str) -> Mapping[str, str]:
        """The variant's row of the ranking; empty where it has none."""
        return self.ranked.get(variant, {})


def read_standing(compare: Executed) -> Standing:
    """The standing by the tables `ranking` and `unranked`; empty where the notebook has neither."""
    ranked = {row["variant"]: row for row in _rows(compare, "ranking") if "variant" in row}
    unranked = [(row.get("variant", ""), list(row.values())) for row in _rows(compare, "unranked")]
    return Standing(ranked, {label: values[-1] for label, values in unranked if values})


def _rows(notebook: Executed, *ids: str) -> list[dict[str, str]]:
    """The rows of a cell's first table, by the names of its head."""
    from bs4 import BeautifulSoup

    for output in notebook.outputs(*ids, kind="text/html"):
        found = BeautifulSoup(output["data"]["text/html"], "html.parser").select("table tr")
        rows = [[" ".join(each.get_text().split()) for each in row.find_all(["th", "td"])] for row in found]
        if rows:
            return [dict(zip(rows[0], row, strict=False)) for row in rows[1:]]
    return []
