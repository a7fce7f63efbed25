"""Looking at a store without running a plan: --explain, --verify and --clean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bakeoff.params import PROFILES, variant_names
from bakeoff.pipeline import Pipeline, Request
from bakeoff.plan.steps import compare_step
from bakeoff.run.runner import Runner
from bakeoff.store import Store


def explain(pipeline: Pipeline) -> int:
    """Say of each step whether it is done, or what it would run for."""
    from bakeoff.plan.explain import explain as lines

    pipeline.say("\n".join(lines(pipeline.plan(look=False), pipeline.store)))
    return 0


def verify(pipeline: Pipeline, sample: int, seed: int) -> int:
    """Check the plan's steps in the store, and `sample` of them by making them again; 1 when something is off."""
    from bakeoff.store.verify import Verifier

    if sample:
        pipeline.freeze()
    plan, request = pipeline.plan(look=False), pipeline.request

    def runner(scratch: Store) -> Runner:
        return Runner(
            scratch, plan.machine, request.data_dir, lambda _: None, 1, request.cold_kernels, pipeline.code.project
        )

    return Verifier(plan, pipeline.store, pipeline.say).verify(sample, runner, seed)


def clean(request: Request, say: Callable[[str], None], remove: bool) -> int:
    """Say what no plan needs, of the requested variants and profile, or of all of them; with `remove`, remove it."""
    from bakeoff.store.clean import Cleaner

    profiles = (request.profile,) if request.profile else PROFILES
    everything = request.variants is None
    request = replace(request, variants=tuple(variant_names())) if everything else request
    pipelines = [Pipeline(replace(request, profile=profile), say) for profile in profiles]
    plans = [pipeline.plan(look=False) for pipeline in pipelines]
    for profile, plan in zip(profiles, plans, strict=True):
        names = sorted({row.dataset.name for row in plan.rows})
        say(f"{profile}: {len({row.variant for row in plan.rows})} variants on {', '.join(names)}")
    variants = "all variants" if everything else ", ".join(request.variants or ())
    what = f"the plans of {variants} in {', '.join(profiles)}{_with(request.settings)}"
    store = pipelines[0].store
    comparing = compare_step((), {}, pipelines[0].code, store).key_inputs
    return Cleaner(plans, comparing, store, say).clean(what, remove)


def _with(settings: tuple[str, ...]) -> str:
    return f" with {', '.join(settings)}" if settings else ""
