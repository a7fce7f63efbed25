"""One request from beginning to end: parameters, what the outside decides, plan, run, comparison, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from bakeoff import claims, results
from bakeoff.claims import audit
from bakeoff.claims.evidence import Evidence, Run
from bakeoff.claims.outcomes import NOT_REPRODUCED
from bakeoff.errors import RequestError, nearest
from bakeoff.executors import Executor, Wish, make_executor
from bakeoff.params import DIRECTORY, Parameters, load_parameters, variant_names
from bakeoff.params.own_network import copies
from bakeoff.plan.code_digests import Code
from bakeoff.plan.machine import Machine, package_version
from bakeoff.plan.resolve import NOT_HERE, SYNTHETIC, Resolver
from bakeoff.plan.snapshot import take_snapshot
from bakeoff.plan.steps import (
    BACKGROUND,
    COMPARE,
    DAMAGED,
    NOT_FOUND,
    STAGES,
    Plan,
    Row,
    Step,
    compare_step,
    make_plan,
    stale_reason,
)
from bakeoff.report import Report
from bakeoff.run.progress import title
from bakeoff.run.runner import Runner
from bakeoff.store import NOTEBOOK, Store, digest_file, digest_value
from bakeoff.store.locks import alone
from bakeoff.tracking import mlflow

SMALL_BYTES = 4_000_000
CLAIMS = Path(claims.__file__).parent  # the code that judges


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    variants: tuple[str, ...] | None  # None = all
    profile: str | None  # None = full where a GPU can be computed on, else quick
    settings: tuple[str, ...]
    data_dir: Path
    runs_dir: Path
    reports_dir: Path
    force: tuple[str, ...] = ()
    download: bool = False
    data_asked: bool = False  # for, by name or by folder: then nothing stands in for them
    report_only: bool = False
    strict_claims: bool = False
    report_name: str | None = None
    author: str = ""  # of the report; empty: nobody is named
    jobs: int = 0  # 0 = as many as there are cores
    cold_kernels: bool = False
    pdf: bool = True
    executor: Wish = field(default_factory=Wish)


@dataclass
class Pipeline:
    """A checked request with its store; raises BakeoffError before anything starts when the request is wrong."""

    request: Request
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        for name in self.request.force:
            known = [*STAGES, BACKGROUND.name, COMPARE.name, *variant_names()]
            if name not in known:
                raise RequestError(f"--force: there is no stage or variant {name!r}; {nearest(name, known)}")
        self.store = Store(self.request.runs_dir)
        self.profile = self.request.profile or self._default_profile()
        self.parameters: list[Parameters] = load_parameters(self.request.variants, self.profile, self.request.settings)
        self.code = Code(self.store.digests())
        self._frozen = False

    def plan(self, look: bool) -> Plan:
        """The plan. With `look` hosts are asked and what is missing is downloaded first."""
        resolver = self._resolver(look)
        if look:
            self.freeze()
        resolver.digests = self.code.digests  # one connection: a plan is one transaction
        return make_plan(self.parameters, resolver, self.code, self.store, self.request.force)

    def freeze(self) -> None:
        """From now on plan and execute the code as it is now: see `snapshot`."""
        if not self._frozen:
            own = copies(filter(None, (each.network for each in self.parameters)))
            self.code = Code(self.code.digests, take_snapshot(self.store, self.code.project, own))
            self._frozen = True

    def run(self) -> int:
        """Make what is missing and the report; 0 when every variant is there, 1 when some failed."""
        started, logs = time.perf_counter(), mlflow.wanted()
        self.freeze()
        plan = self.plan(look=False)
        damaged = self._damaged(plan)
        asks = plan.reasons or damaged or any(row.blocked for row in plan.rows) or self.request.download
        if asks and not self.request.report_only:
            plan = self.plan(look=True)
        known = {step.name for step in plan.steps} if damaged else set()
        plan.reasons |= {step.name: plan.reasons.get(step.name, DAMAGED) for step in damaged if step.name in known}
        self.say_what(plan)
        with self.runner(plan) as runner:
            if not self.request.report_only:
                runner.run(plan)
                plan.sort()
            elif plan.background.name in plan.reasons:
                runner.step(plan, plan.background, plan.reasons[plan.background.name])
            report = self._compare(plan, runner)
            with alone(report.folder.with_name(f".{report.folder.name}.lock"), self.say, str(report.folder)):
                built = report.build(self.store, self.say, self.request.pdf)
        if logs:
            mlflow.log_rows(plan.rows, report.table, self.store, report.folder.name, self.say)
        failed = [str(row["variant"]) for row in report.table if row["status"] != "ok"]
        self.say(f"{'Report written' if built else 'Report is up to date'}: {report.folder / 'report.html'}")
        self.say(
            f"{len(report.table) - len(failed)} of {len(report.table)} rows, {time.perf_counter() - started:.1f} s."
        )
        if failed:
            self.say(f"Not finished: {', '.join(failed)}. The report says why.")
        return 1 if failed or runner.failures or self._refused(report.findings) else 0

    def dry_run(self) -> int:
        """Print of each step whether it is done or to run. Raises DataUnavailableError where a run is known to."""
        plan, resolver = self.plan(look=False), self._resolver(look=False)
        for wanted in sorted({row.dataset.name for row in plan.rows if row.dataset.digest == NOT_HERE}):
            resolver.refuse_unreachable(wanted)
            self.say(f"Data: {wanted} is not in {self.request.data_dir}; a run tries to download it.")
        self.say("\n".join(describe_plan(plan)))
        return 0

    def claims(self) -> int:
        """Print the audit of what the store holds; runs nothing. 1 when a claim fails and claims are strict, else 0."""
        plan = self.plan(look=False)
        findings = audit_rows(plan.rows, results.collect(plan.rows, self.store, {}), self.store)
        self.say("\n".join(audit.describe(findings)))
        return 1 if self._refused(lambda: findings) else 0

    def _refused(self, findings: Callable[[], Sequence[audit.Finding]]) -> bool:
        """Whether claims that were not reproduced make the exit code 1."""
        failed = audit.count(findings())[NOT_REPRODUCED] if self.request.strict_claims else 0
        if failed:
            self.say(f"--strict-claims: {failed} not reproduced.")
        return failed > 0

    def _damaged(self, plan: Plan) -> list[Step]:
        """Finished steps whose small files, which table and report are made of, are not as recorded.

        Large files are checked where a step reads them. A file version is read once.
        """
        found, digests = [], self.store.digests()
        for step in plan.steps:
            if step.name in plan.reasons:
                continue
            bad = self.store.first_bad_file(*step.name, largest=SMALL_BYTES, digests=digests)
            if bad:
                what = f"{title(step)}: {bad} is not what was written"
                if self.request.report_only:
                    raise RequestError(f"{what}; run the command without --report-only, which makes the step again")
                self.say(f"{what}; the step reruns.")
                found.append(step)
        return found

    def runner(self, plan: Plan) -> Runner:
        """What executes the plan's steps; use it in a `with` statement."""
        request = self.request
        executor = self._executor
        return Runner(
            self.store,
            plan.machine,
            request.data_dir,
            self.say,
            request.jobs or (0 if executor else plan.machine.cores),
            request.cold_kernels,
            self.code.project,
            on_finished=lambda step: plan.grow(step, self.store),
            executor=executor,
        )

    def _compare(self, plan: Plan, runner: Runner) -> Report:
        """The table of results and the compare notebook over it."""
        table = results.collect(plan.rows, self.store, runner.failures)
        text = results.to_csv(table)
        basis = audit_basis(plan.rows, self.code, self.store)
        step = compare_step(plan.rows, {"results": text, "claims": basis}, self.code, self.store)
        findings = cache(lambda: audit_rows(plan.rows, table, self.store))
        reason = "forced" if "compare" in self.request.force else stale_reason(step, self.store)
        if reason:
            self.say("Comparing ...")
            finished = {row.folder_name: results.stage_folders(row, self.store) for row in plan.rows}
            shown = {
                name: {label: folder for label, folder in folders.items() if label in STAGES}  # no single trial
                for name, folders in finished.items()
                if "evaluate" in folders
            }
            audited = audit.to_csv(findings())
            runner.step(plan, step, reason, {"variants": shown}, {"results.csv": text, "claims.csv": audited})
        folder, author = self._report_folder(), self.request.author
        return Report(folder, self.profile, plan, table, text, step, findings, runner.failures, author)

    def _report_folder(self) -> Path:
        selection = "" if self.request.variants is None else "-selection"
        return self.request.reports_dir / (self.request.report_name or f"{self.profile}{selection}")

    def _resolver(self, look: bool) -> Resolver:
        request = self.request
        return Resolver(
            self.store,
            self.profile,
            request.data_dir,
            self.say,
            look,
            request.download,
            request.data_asked,
            self._on_device,
        )

    def _on_device(self, machine: Machine) -> Machine:
        """The machine with the device that was asked for; RequestError where there is none."""
        wanted = self.request.executor.device
        if wanted == "cpu":
            return replace(machine, gpus=(), gpu="", cudnn="")
        if wanted == "gpu" and self._executor:
            return self._executor.with_gpu(machine)
        if wanted == "gpu" and not machine.gpus:
            raise RequestError(f"--device gpu: {machine.backend} can compute on no GPU of this machine")
        return machine

    @cached_property
    def _executor(self) -> Executor | None:
        request = self.request
        return make_executor(request.executor, request.cold_kernels, request.jobs, self.say)

    def _default_profile(self) -> str:
        resolver = Resolver(self.store, "quick", self.request.data_dir, self.say, device=self._on_device)
        machine = resolver.machine()
        chosen = "full" if machine.device == "gpu" else "quick"
        found = "can compute on a GPU" if machine.device == "gpu" else "has no GPU to compute on"
        self.say(f"Profile {chosen}: Keras on {machine.backend} {found} here. Choose with --profile.")
        return chosen

    def say_what(self, plan: Plan) -> None:
        """Say which data it is, and where weights are random."""
        for name in sorted({row.dataset.name for row in plan.rows}):
            wanted = {row.parameters.stage["dataset"] for row in plan.rows if row.dataset.name == name}
            replaced = ", ".join(sorted(wanted - {name})) if name == SYNTHETIC else ""
            note = f", synthetic images, in place of {replaced}" if replaced else ""
            self.say(f"Data: {name}{note}.")
        random = [row.variant for row in plan.rows if row.weights == "random" and not row.blocked]
        if random:
            self.say(f"ImageNet weights cannot be had: random in their place, and marked so, for {', '.join(random)}.")
        for row in plan.rows:
            if row.blocked:
                self.say(f"{row.variant} cannot be run: {row.blocked}.")
        pending = len(plan.reasons)
        self.say(
            f"{len(plan.steps)} steps, {pending} to run{plan.to_follow()}."
            if pending
            else f"{len(plan.steps)} steps, all done."
        )


def audit_rows(rows: Sequence[Row], table: Sequence[Mapping[str, Any]], store: Store) -> list[audit.Finding]:
    """Every claim about these rows, beside what the store holds of them; `table` is their table of results."""
    runs: dict[str, list[Run]] = {}
    for row, measured in zip(rows, table, strict=True):
        runs.setdefault(row.variant, []).append(Run(measured, results.stage_folders(row, store)))
    return audit.audit(Evidence(runs, claims.read_claims(DIRECTORY), claims.read_tolerances(DIRECTORY)))


def audit_basis(rows: Sequence[Row], code: Code, store: Store) -> str:
    """A digest of what the audit of these rows follows from beside their table: with both the same, so is the audit."""
    judges = [*sorted(CLAIMS.glob("*.py")), *(DIRECTORY / name for name in claims.FILES)]
    manifests = [store.complete_manifest(*step.name) for row in rows for step in row.steps.values()]
    return digest_value(
        {
            "judges": {
                path.name: code.digests.recall(path, "sha256", digest_file) for path in judges if path.is_file()
            },
            "lab": code.modules("bakeoff.lab.tested", "bakeoff.lab.overfitting"),
            "versions": {name: package_version(name) for name in ("numpy", "scipy", "statsmodels")},
            "steps": [_judged(manifest) for manifest in manifests if manifest],
        }
    )


def _judged(manifest: Mapping[str, Any]) -> list[Any]:
    """What of a finished step a claim may be judged by: all but its page."""
    files = {name: digest for name, (digest, _) in manifest["files"].items() if name != NOTEBOOK}
    return [manifest["result_key"], manifest.get("machine"), manifest.get("ran_alone"), files]


def describe_plan(plan: Plan) -> Sequence[str]:
    """A line a step for --dry-run: done or to run, and the reason."""
    lines = []
    for row in plan.rows:
        replicate = f" (seed {row.seed})" if row.replicate else ""
        if row.blocked:
            lines.append(f"{row.variant}{replicate}: blocked, {row.blocked}")
        for name, step in row.steps.items():
            reason = plan.reasons.get(step.name)
            lines.append(f"{row.variant}{replicate} {name}: {f'to run, {reason}' if reason else 'done'}")
        lines += [f"{row.variant}{replicate} {stage}: {NOT_FOUND}" for stage in row.unknown]
    reason = plan.reasons.get(plan.background.name)
    lines.append(f"{plan.background.stage.name}: {f'to run, {reason}' if reason else 'done'}")
    lines.append(f"{len(plan.steps)} steps, {len(plan.pending())} to run{plan.to_follow()}.")
    return lines
