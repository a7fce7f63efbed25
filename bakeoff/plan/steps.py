"""Variants x stages -> steps with keys, before anything runs; and what must run, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bakeoff.errors import RequestError, shown
from bakeoff.params import Parameters
from bakeoff.plan.code_digests import Code
from bakeoff.plan.machine import BACKEND_PACKAGES, Machine, package_version
from bakeoff.plan.prepared import near_or_all
from bakeoff.plan.resolve import Resolver, Source
from bakeoff.plan.trials import FOLLOWING, OPEN, drawn_trials, following_steps
from bakeoff.store import NOTEBOOK, Store, digest_value
from bakeoff.store.last_made import LastMade

OLDER_LAYOUT = "its last result is of an older layout, whose keys were made of less; it is not used"
Name = tuple[str, str]  # stage and result key
DAMAGED = "damaged"  # the reason for a step whose files are not the recorded ones
NOT_FOUND = "to run or done, by what its search finds"  # of a step whose key is not known yet
PAGE_PACKAGES = ("matplotlib", "seaborn", "pandas")  # they draw figures and write tables
GPU_FEEDERS = 4  # CPU threads of a step that computes on a whole GPU; on a share of one, its share of them


@dataclass(frozen=True)
class Stage:
    """One notebook of the chain: what it needs, what it must leave behind, which packages decide its numbers."""

    name: str
    notebook: str
    parents: tuple[str, ...]
    outputs: tuple[str, ...]
    packages: tuple[str, ...]
    computes: bool = False  # on the backend: threads, device and precision belong to its key
    shares: bool = False  # gets the folder `inputs["shared"]` for what steps can use in common
    resumes: bool = False  # gets the folder `inputs["checkpoint"]`, from which it goes on when it was cut short
    light: bool = False  # little arithmetic: one thread is enough, so that it runs beside others
    many: bool = False  # a row has several, which run side by side: one thread each, unless run.threads says more


STAGES: Mapping[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage(
            "load",
            "1_load",
            (),
            ("dataset.json", "train_images.npy", "test_images.npy"),
            ("numpy",),  # and what the data set is read with
        ),
        Stage("preprocess", "2_preprocess", ("load",), ("preprocess.json", "splits.npz"), ("numpy",)),
        Stage("draw", "3_draw", ("load", "preprocess"), ("points.json",), ("numpy", "keras", "keras-tuner")),
        # One step for each point that was drawn: see `Plan.grow`.
        Stage(
            "trial",
            "3_trial",
            ("load", "preprocess"),
            ("trial.json",),
            ("numpy", "keras"),
            computes=True,
            resumes=True,
            many=True,
        ),
        Stage(
            "search",
            "3_search",
            ("load", "preprocess", "draw"),
            ("best.json", "trials.csv"),
            ("numpy", "keras", "keras-tuner"),
        ),
        Stage(
            "build",
            "4_build",
            ("load", "preprocess"),
            ("network.json", "summary.txt"),
            ("numpy", "keras"),
            computes=True,
            light=True,
        ),
        Stage(
            "train",
            "5_train",
            ("load", "preprocess", "build"),
            ("training.json", "history.csv"),
            ("numpy", "keras"),
            computes=True,
            shares=True,
            resumes=True,
        ),
        Stage(
            "evaluate",
            "6_evaluate",
            ("load", "preprocess", "build", "train"),
            ("metrics.json", "predictions.npz"),
            ("numpy", "keras", "scikit-learn", "scipy", "statsmodels"),
            computes=True,
        ),
    )
}
# trainer -> the notebook of the stage train; `none` trains nothing, so it has none
TRAINING_NOTEBOOKS = {
    "fit": "5_train",
    "feature_extraction": "5_train_feature_extraction",
    "fine_tune": "5_train_fine_tune",
    "airbench": "5_train_airbench",
}
BACKGROUND = Stage("background", "0_background", (), (), ("numpy", "keras"))
COMPARE = Stage("compare", "7_compare", (), (), ("numpy",))


SEARCHING = ("draw", "trial", "search")  # the stages of a search
# stage -> the parameter whose value none leaves it out
_CHOSEN_BY = dict.fromkeys(SEARCHING, "search") | {"train": "trainer"}


@dataclass(frozen=True, eq=False)
class Step:
    """One notebook execution: its parameters, its parents' keys and its own two keys.

    Steps are compared by identity: a plan has one object for each step.
    """

    stage: Stage
    parameters: Mapping[str, Any]
    inputs: dict[str, str]  # label of an earlier step -> its result key
    key_inputs: Mapping[str, Any]  # what the result key is made of
    result_key: str
    page_key: str
    threads: int = 1
    gpu_share: float = 0.0  # of one GPU; 0: computes on the CPU
    timeout_seconds: int = 86400
    variants: list[str] = field(default_factory=list)  # the variants that need it, in order
    images: str = ""  # where images of one's own lie, for the stage that loads them: no key holds a path
    number: int = 0  # of a step of which its row has several, from 1 on; 0: the only one of its stage

    @property
    def name(self) -> Name:
        """What tells this step from all others: stage and result key."""
        return self.stage.name, self.result_key

    @property
    def label(self) -> str:
        """What tells this step from all others of its row: the stage, or "stage-number"."""
        return f"{self.stage.name}-{self.number}" if self.number else self.stage.name

    @property
    def title(self) -> str:
        """The stage, and the number where there is one, for people: "train", "trial 3"."""
        return f"{self.stage.name} {self.number}" if self.number else self.stage.name

    @property
    def parents(self) -> tuple[Name, ...]:
        """The names of the steps that it reads."""
        return tuple(map(parent_name, self.inputs.items()))


def parent_name(item: tuple[str, str]) -> Name:
    """A step's name from what a child's `inputs` say of it: (label, result key)."""
    label, key = item
    return label.partition("-")[0], key


@dataclass(frozen=True, eq=False)
class Row:
    """One variant and replicate: its parameters, and its steps by label (none when blocked)."""

    parameters: Parameters
    replicate: int
    seed: int
    dataset: Source
    weights: str  # none, imagenet or random
    steps: dict[str, Step]
    blocked: str = ""  # why it cannot be run, in one sentence
    weights_file: str = ""  # the file of ImageNet weights that is read, if one is
    refused: str = ""  # why it is blocked, where its own parameters are the cause
    # Of a search, by stage: how its trials and the steps after it are made, which become known as it goes on.
    later: Mapping[str, Step] = field(default_factory=dict)

    @property
    def variant(self) -> str:
        """The variant's name."""
        return self.parameters.variant

    @property
    def unknown(self) -> list[str]:
        """The stages after its search of which nobody knows yet with what values they are made."""
        return [stage for stage in FOLLOWING if stage in self.later and stage not in self.steps]

    @property
    def folder_name(self) -> str:
        """The folder of its notebooks beside a report: the variant, and the replicate when it is not the first."""
        return self.variant if self.replicate == 0 else f"{self.variant}-{self.replicate}"


@dataclass
class Plan:
    """All rows, all steps in an order that puts parents first, and for each step that must run the reason.

    A plan can grow while it runs: see `add` and `grow`.
    """

    rows: Sequence[Row]
    steps: list[Step]
    reasons: dict[Name, str]
    machine: Machine
    background: Step  # one of `steps`, of no variant: the chapter that explains
    force: frozenset[str] = frozenset()  # stages and variants that rerun
    waiting_longer: list[Step] = field(default_factory=list)  # steps that read what was added since the run looked
    _known: dict[Name, Step] = field(default_factory=dict)
    _searching: dict[Step, list[Row]] = field(default_factory=dict)  # draw or search -> the rows that it is of

    def pending(self) -> list[Step]:
        """The steps that must run."""
        return [step for step in self.steps if step.name in self.reasons]

    def to_follow(self) -> str:
        """In words, what the plan will grow by; empty where every step is known."""
        draws = {row.steps["draw"] for row in self.rows if "draw" in row.steps and "trial-1" not in row.steps}
        searches = {row.steps["search"] for row in self.rows if row.unknown}
        said = [f"the trials of {len(draws)} search{'es' * (len(draws) > 1)}"] if draws else []
        said += [f"what follows from {len(searches)} search{'es' * (len(searches) > 1)}"] if searches else []
        return f", and then {' and '.join(said)}" if said else ""

    def add(self, steps: Iterable[Step], store: Store, row: Row | None = None, reader: Step | None = None) -> None:
        """Add steps that were not known when the plan was made, parents first, of `row` if they are of one.

        A run that is going on takes them up. A step that is in the plan already is not added twice. `reader`, a later
        step of the row, reads them all.
        """
        before = len(self.steps)
        self._known |= {step.name: step for step in self.steps[len(self._known) :]}
        for each in steps:
            step = self._known.setdefault(each.name, each)
            if row is not None and row.steps.get(each.label) is not step:
                row.steps[each.label] = step
                _need(step, row.variant)
            if step is each:
                self.steps.append(step)
        self.reasons |= _reasons(self.steps[before:], store, self.force)
        if reader is not None:
            self.waiting_longer.append(reader)

    def grow(self, made: Step, store: Store) -> None:
        """Add what follows from a step of a search: the trials of what it drew, or the stages after what it found."""
        if not self._searching:
            for row in self.rows:
                for stage in {"draw", "search"} & row.steps.keys():
                    self._searching.setdefault(row.steps[stage], []).append(row)
        for row in self._searching.get(made, ()):
            if made.stage.name == "draw":
                self.add(drawn_trials(row, store), store, row, row.steps["search"])
            else:
                self.add(following_steps(row, store), store, row)

    def sort(self) -> None:
        """Put the steps in the order of a plan that knew all of them from the start; not while it runs."""
        for row in self.rows:
            _sort(row)
        first = _stage_by_stage(self.rows)
        self.steps[:] = [*first.values(), *(step for step in self.steps if step.name not in first)]


def make_plan(
    parameters: Iterable[Parameters], resolver: Resolver, code: Code, store: Store, force: Sequence[str] = ()
) -> Plan:
    """Resolve, key and order every step of `parameters`; `force` names stages and variants to make anew."""
    maker = _Maker(resolver, code, resolver.machine())
    rows = [row for each in parameters for row in maker.rows(each)]
    if rows and all(row.refused for row in rows):
        raise RequestError(f"{rows[0].variant} cannot be run: {rows[0].refused}.")
    forced = frozenset([*force, *(SEARCHING if "search" in force else ())])
    for row in rows:
        if row.later and forced.isdisjoint([row.variant, *SEARCHING]):  # else it is searched anew
            row.steps.update({step.label: step for step in [*drawn_trials(row, store), *following_steps(row, store)]})
            _sort(row)
    steps = _stage_by_stage(rows)
    for row in rows:
        for step in row.steps.values():
            _need(step, row.variant)
    background = background_step(code)
    steps[background.name] = background
    reasons = _reasons(steps.values(), store, forced)
    return Plan(rows, list(steps.values()), reasons, maker.machine, background, forced)


def _stage_by_stage(rows: Sequence[Row]) -> dict[Name, Step]:
    """Every step once, so that parents stand before their children; rows then share the steps that are equal."""
    steps: dict[Name, Step] = {}
    for name in STAGES:
        for row in rows:
            for label in [each for each, step in row.steps.items() if step.stage.name == name]:
                row.steps[label] = steps.setdefault(row.steps[label].name, row.steps[label])
    return steps


def _sort(row: Row) -> None:
    """Put the steps of a row in the order of their stages; trials come in that of their numbers."""
    order = list(STAGES)
    ordered = sorted(row.steps.items(), key=lambda item: (order.index(item[1].stage.name), item[1].number))
    row.steps.clear()
    row.steps.update(ordered)


def _need(step: Step, variant: str) -> None:
    """Note that a variant needs a step; all replicates of a variant come one after the other."""
    if step.variants[-1:] != [variant]:
        step.variants.append(variant)


@dataclass
class _Maker:
    resolver: Resolver
    code: Code
    machine: Machine

    def rows(self, parameters: Parameters) -> list[Row]:
        """A row for each replicate."""
        dataset = self.resolver.dataset(parameters.stage["dataset"], parameters.stage["skip_broken"])
        parameters = parameters.of_few_images(dataset.train_images)
        wanted = parameters.stage["weights"] == "imagenet"
        file = self.resolver.weights(parameters.run["weights_file"]) if wanted else None
        weights = ("imagenet" if file else "random") if wanted else "none"
        blocked = ""
        if weights == "random" and self.resolver.profile == "full":
            blocked = (
                f"the ImageNet weights {parameters.run['weights_file'].split('/')[-1]} are not in Keras' folder and "
                "could not be downloaded; connect to the internet and add --download, or put the file into "
                "$KERAS_HOME/models"
            )
        refused = _missing_class(parameters.stage, dataset)
        blocked = refused or blocked
        resolved = {"dataset": dataset.digest, "weights": file.digest if file else weights}
        rows = []
        for replicate in range(parameters.run["replicates"]):
            seed = parameters.stage["seed"] + replicate
            values = {**parameters.stage, "dataset": dataset.in_notebooks, "weights": weights, "seed": seed}
            if weights == "random":
                _limit_compute(values, parameters.run["max_random_tflop"])
            steps, later = ({}, {}) if blocked else self._steps(values, parameters, resolved, dataset)
            file_name = file.name if file else ""
            rows.append(Row(parameters, replicate, seed, dataset, weights, steps, blocked, file_name, refused, later))
        return rows

    def _steps(
        self, values: Mapping[str, Any], chosen: Parameters, resolved: Mapping[str, str], dataset: Source
    ) -> tuple[dict[str, Step], dict[str, Step]]:
        """Label -> step, and of a search stage -> how the steps are made that follow from what it draws and finds."""
        steps: dict[str, Step] = {}
        later: dict[str, Step] = {}
        searched = values["search"] != "none"
        values = {**values, **dict.fromkeys(OPEN["trial"])}
        for stage in STAGES.values():
            if stage.name in _CHOSEN_BY and values[_CHOSEN_BY[stage.name]] == "none":
                continue
            if stage.name == "train":
                stage = replace(stage, notebook=TRAINING_NOTEBOOKS[values["trainer"]])
                if searched and values["max_training_tflop"]:  # half of it is the search's
                    values["max_training_tflop"] /= 2
            parents = {name: steps[name].result_key for name in stage.parents if name in steps}
            if stage.name == "load":
                stage = replace(stage, packages=stage.packages + dataset.packages)
            # Which trials a search reads follows from what was drawn, and how they are made.
            made_by = {"trial": later["trial"].result_key} if stage.name == "search" else {}
            known = steps if not searched or stage.name not in ("trial", *FOLLOWING) else later
            unknown = () if known is steps else OPEN.get(stage.name, ())
            step = self._step(stage, values, chosen, parents, resolved, made_by, unknown)
            known[stage.name] = replace(step, images=dataset.location) if stage.name == "load" else step
        return steps, later

    def _step(
        self,
        stage: Stage,
        values: Mapping[str, Any],
        chosen: Parameters,
        parents: dict[str, str],
        resolved: Mapping[str, str],
        made_by: Mapping[str, str],
        unknown: Sequence[str],
    ) -> Step:
        """A step; or, where values are `unknown`, how it will be made once they are known."""
        notebook, run, network = self.code.notebook(stage.notebook), chosen.run, chosen.network
        subset = {name: values[name] for name in notebook.parameters}
        heavy = stage.computes and not stage.light
        on_gpu = heavy and self.machine.device == "gpu"
        every = 1 if stage.many else self.machine.threads or self.machine.cores
        threads = (run["threads"] or every) if heavy else 1
        if on_gpu:  # it needs its host's cores to be fed, not to compute
            threads = min(self.machine.cores, max(1, round(GPU_FEEDERS * run["gpu_share"])))
        settings = self.machine.key_settings(on_gpu, threads) if stage.computes else {}
        if on_gpu:
            settings["deterministic"] = run["deterministic"]
        key_inputs: dict[str, Any] = {
            "stage": stage.name,
            "parameters": {name: value for name, value in subset.items() if name not in ("published", *unknown)},
            "parents": {**parents, **made_by},
            "resolved": {name: digest for name, digest in resolved.items() if name in subset},
            "code": {"notebook": notebook.computing, **self.code.computing(notebook, subset, network)},
            "versions": _versions(self._packages(stage)),
            "settings": settings,
        }
        key = digest_value(key_inputs)
        shown = [
            key,
            _versions(PAGE_PACKAGES),
            notebook.showing,
            self.code.showing(notebook, subset, network),
            values["published"] if "published" in subset else {},
        ]
        return Step(
            stage,
            subset,
            parents,
            key_inputs,
            key,
            digest_value(shown),
            threads=threads,
            gpu_share=run["gpu_share"] if on_gpu else 0.0,
            timeout_seconds=run["stage_timeout_seconds"],
        )

    def _packages(self, stage: Stage) -> list[str]:
        return [*stage.packages, *(BACKEND_PACKAGES[self.machine.backend] if stage.computes else [])]


def _limit_compute(values: dict[str, Any], most: float | None) -> None:
    """Cap the compute of training and evaluation: a network on random weights need only show that it runs."""
    for name in ("max_training_tflop", "max_evaluation_tflop") if most is not None else ():
        values[name] = most if values[name] is None else min(values[name], most)


def _missing_class(values: Mapping[str, Any], dataset: Source) -> str:
    """Why a binary task cannot be asked of these data, as far as their metadata tell; empty where it can."""
    positive, names = values["positive_class"], dataset.class_names
    if values["task"] != "binary" or not positive or not names or positive in names:
        return ""
    return f"positive_class {shown(positive)} is no class of {dataset.in_tables}; {near_or_all(positive, names)}"


def compare_step(rows: Sequence[Row], texts: Mapping[str, str], code: Code, store: Store) -> Step:
    """The step that compares: its key covers the texts it reads (results, claims) and every evaluation shown."""
    rows = [row for row in rows if "evaluate" in row.steps]
    evaluated = {f"{row.variant}/{row.replicate}": row.steps["evaluate"].result_key for row in rows}
    finished = {name: key for name, key in evaluated.items() if store.complete_manifest("evaluate", key)}
    return _report_step(COMPARE, finished, {name: digest_value(text) for name, text in texts.items()}, code)


def background_step(code: Code) -> Step:
    """The step that explains the ideas behind the report: it reads nothing, so its key covers its code alone."""
    return _report_step(BACKGROUND, {}, {}, code)


def _report_step(stage: Stage, parents: Mapping[str, str], resolved: Mapping[str, str], code: Code) -> Step:
    """A step that is made once for a report and has no parameters."""
    notebook = code.notebook(stage.notebook)
    key_inputs = {
        "stage": stage.name,
        "parameters": {},
        "parents": parents,
        "resolved": resolved,
        "code": {"notebook": notebook.computing, **code.computing(notebook, {})},
        "versions": _versions(stage.packages),
        "settings": {},
    }
    key = digest_value(key_inputs)
    shown = [key, _versions(PAGE_PACKAGES), notebook.showing, code.showing(notebook, {})]
    return Step(stage, {}, {}, key_inputs, key, digest_value(shown))


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions that are installed of Python and of these packages."""
    return {package: package_version(package) for package in ("python", *packages)}


def stale_reason(step: Step, store: Store) -> str | None:
    """Why a single step must run again; None when it and its page are as they should be."""
    manifest = store.complete_manifest(*step.name)
    if manifest is None:
        return "new"
    if manifest["page_key"] != step.page_key or not (store.folder(*step.name) / NOTEBOOK).is_file():
        return "page: its text, figures or style changed"
    return None


def key_diff(step: Step, store: Store, last_made: LastMade) -> str:
    """What of a step's key differs from the last one that its variant made: parameters, code, input or software."""
    last = last_made.key(step.variants[0], step.label) if step.variants else None
    manifest = store.complete_manifest(step.stage.name, last) if last and last != step.result_key else None
    if manifest is None:
        return "new"
    if "key_inputs" not in manifest:
        return OLDER_LAYOUT
    words = {"parameters": "parameters", "parents": "input", "resolved": "input", "code": "code"}
    found = []
    for part, then in manifest["key_inputs"].items():
        now = step.key_inputs.get(part, {})
        if now != then:
            names = sorted(name for name in {*now, *then} if now.get(name) != then.get(name))
            found.append(f"{words.get(part, 'software')} ({', '.join(names)})")
    return "; ".join(found) or "new"


def _reasons(steps: Iterable[Step], store: Store, forced: frozenset[str]) -> dict[Name, str]:
    last_made = LastMade(store.root)
    reasons: dict[Name, str] = {}
    for step in steps:
        wanted = step.stage.name in forced or not forced.isdisjoint(step.variants)
        reason = "forced" if wanted else stale_reason(step, store)
        if reason == "new":
            reason = key_diff(step, store, last_made)
        if reason:
            reasons[step.name] = reason
    return reasons
