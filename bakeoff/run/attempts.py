"""Networks of the user's own are built once before the first step runs: what is wrong with one is said at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bakeoff.errors import RequestError, StepError
from bakeoff.params import options
from bakeoff.plan.steps import Plan, Row

if TYPE_CHECKING:
    from bakeoff.run.runner import Runner

_CODE = "from bakeoff.lab.models.attempt import attempt\n\nattempt(image_shape, num_classes, parameters)"


def attempt_networks(plan: Plan, runner: Runner) -> None:
    """Build each network of the user's own that the plan is to build, for the images that it is to have.

    Raises RequestError, in a sentence, for one that cannot be built. Of images whose size is known only when they are
    loaded the build stage says so.
    """
    asked: list[dict[str, Any]] = []
    for row in plan.rows:
        builder = row.steps.get("draw") or row.steps.get("build")  # the first step that builds the network
        if builder is None or builder.name not in plan.reasons or not _is_known(row):
            continue
        if (question := _question(row)) not in asked:
            asked.append(question)
            try:
                runner.execute_code(builder, _CODE, question)
            except StepError as error:
                raise RequestError(f"{row.variant} cannot be run: {error.reason}") from None


def _is_known(row: Row) -> bool:
    """Whether the network is the user's, and the shape of its images known."""
    return bool(row.dataset.image_shape) and options.is_users(row.parameters.stage["builder"])


def _question(row: Row) -> dict[str, Any]:
    """What `attempt` is asked; replicates ask the same."""
    parameters = {**row.parameters.stage, "weights": row.weights, "published": {}}
    shape, classes = list(row.dataset.image_shape), row.dataset.num_classes
    return {"image_shape": shape, "num_classes": classes, "parameters": parameters}
