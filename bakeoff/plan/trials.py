"""What follows from a search: a trial for each point that was drawn, and the stages that take the best point's values.

Their keys are known once the draw step or the search has left its file, so the plan grows by them then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bakeoff.store import Store, digest_file, digest_value

if TYPE_CHECKING:
    from bakeoff.plan.steps import Row, Step

POINTS, BEST = "points.json", "best.json"  # what was drawn, and what was found
FOLLOWING = ("build", "train", "evaluate")  # the stages after a search
_CHOSEN = ("builder_options", "optimizer", "learning_rate", "optimizer_options")
# stage -> its parameters that follow from what was drawn or found: none of the rest of a search is in its key
OPEN = {"trial": ("values", "images"), "build": _CHOSEN, "train": _CHOSEN}


def drawn_trials(row: Row, store: Store) -> list[Step]:
    """The trials of a row's search, which reads them all; none before its points are drawn."""
    drawn = _read(row, "draw", POINTS, store)
    try:
        points = [{"values": point, "images": drawn["images"]} for point in drawn["points"]]
    except (KeyError, TypeError):
        return []
    trials = [_filled(row.later["trial"], point, number=number) for number, point in enumerate(points, start=1)]
    row.steps["search"].inputs.update({trial.label: trial.result_key for trial in trials})
    return trials


def following_steps(row: Row, store: Store) -> list[Step]:
    """The steps after a row's search, which take the values that it found; none before it has ended."""
    best = _read(row, "search", BEST, store)
    try:
        found = {"builder_options": best["builder_options"], **best["training"]}
    except (KeyError, TypeError):
        return []
    keys: dict[str, str] = {}
    steps = []
    for stage in FOLLOWING:
        if stage in row.later:
            steps.append(_filled(row.later[stage], found, keys))
            keys[stage] = steps[-1].result_key
    return steps


def asked(stage: str, key_inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a key is made of, all that was asked for before anything was drawn or found."""
    kept = {name: value for name, value in key_inputs.get("parameters", {}).items() if name not in OPEN.get(stage, ())}
    parents = {label: key for label, key in key_inputs.get("parents", {}).items() if label not in FOLLOWING}
    return {**key_inputs, "parameters": kept, "parents": parents}


def _filled(
    template: Step, found: Mapping[str, Any], parents: Mapping[str, str] | None = None, number: int = 0
) -> Step:
    """A step as its template says, with the values that were not known before, and further parents."""
    own = {name: found[name] for name in OPEN.get(template.stage.name, ()) if name in template.parameters}
    further = {label: key for label, key in (parents or {}).items() if label in template.stage.parents}
    key_inputs = {
        **template.key_inputs,
        "parameters": {**template.key_inputs["parameters"], **own},
        "parents": {**template.key_inputs["parents"], **further},
    }
    key = digest_value(key_inputs)
    return replace(
        template,
        parameters={**template.parameters, **own},
        inputs={**template.inputs, **further},
        key_inputs=key_inputs,
        result_key=key,
        page_key=digest_value([key, template.page_key]),
        variants=[],
        number=number,
    )


def _read(row: Row, label: str, name: str, store: Store) -> Any:
    """What a file of a finished step of the row says; None where it is not there, or not as the step left it."""
    step = row.steps.get(label)
    manifest = store.complete_manifest(*step.name) if step else None
    if step is None or manifest is None:
        return None
    path = store.folder(*step.name) / name
    try:
        whole = digest_file(path) == manifest["files"][name][0]
        return json.loads(path.read_text(encoding="utf-8")) if whole else None
    except (OSError, ValueError, KeyError):
        return None
