"""The trials of a search as steps: one for each point that its draw step has written down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bakeoff.store import Store, digest_value

if TYPE_CHECKING:
    from bakeoff.plan.steps import Row, Step

POINTS = "points.json"  # what was drawn
OF_A_TRIAL = ("values", "images")  # the parameters of a trial that follow from it


def drawn_trials(row: Row, store: Store) -> list[Step]:
    """The trials of a row's search, which reads them all; none before its points are drawn."""
    draw = row.steps.get("draw")
    if draw is None or row.trial is None or store.complete_manifest(*draw.name) is None:
        return []
    try:
        drawn = json.loads((store.folder(*draw.name) / POINTS).read_text(encoding="utf-8"))
        trials = [_trial(row.trial, n, point, drawn["images"]) for n, point in enumerate(drawn["points"], start=1)]
    except (OSError, ValueError, KeyError, TypeError):  # a damaged file, which is found where it is looked for
        return []
    inputs = row.steps["search"].inputs
    inputs.update({trial.label: trial.result_key for trial in trials})
    return trials


def _trial(template: Step, number: int, values: Mapping[str, Any], images: Mapping[str, int]) -> Step:
    """The trial of one point."""
    own = dict(zip(OF_A_TRIAL, (values, images), strict=True))
    key_inputs = {**template.key_inputs, "parameters": {**template.key_inputs["parameters"], **own}}
    key = digest_value(key_inputs)
    page_key = digest_value([key, template.page_key])
    parameters = {**template.parameters, **own}
    return replace(
        template,
        parameters=parameters,
        inputs=dict(template.inputs),
        key_inputs=key_inputs,
        result_key=key,
        page_key=page_key,
        variants=[],
        number=number,
    )
