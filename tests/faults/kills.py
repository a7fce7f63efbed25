"""Kill a run at random moments, again and again, and count what was lost or false: `python -m tests.faults.kills`.

Lost: a step that was finished before the kill and is not afterwards, or a report that never comes. False: a step that
counts as finished and whose files are not those of an undisturbed run.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bakeoff.store import Store
from tests.stubs import StubProject, make_stub_project, make_template

VARIANTS = ("stub_0", "stub_1")
_SECONDS = 0.05  # after each file that a stub writes, so that many kills hit half a step
_LONGEST_RUN, _LONGEST_TIMES = 60.0, 6  # seconds, or so many times an undisturbed run where the machine is busy
_MOST_TRIES = 5  # for each kill that is to hit


@dataclass
class Tally:
    """How many kills there were, and what they did."""

    tried: int = 0
    hit: int = 0  # kills that found the victim alive
    lost: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # processes that outlived their run

    def __str__(self) -> str:
        return (
            f"{self.tried} kill points tried, {self.hit} hit; {len(self.lost)} lost, {len(self.false)} false, "
            f"{len(self.left)} processes left"
        )


@dataclass(frozen=True)
class Truth:
    """What an undisturbed run leaves: step -> proof; and the seconds that it takes."""

    proofs: dict[str, str]
    seconds: float


def proofs(folder: Path) -> dict[str, str]:
    """Step -> its proof, of every step that counts as finished and whose digests are right."""
    store, found = Store(folder / "runs"), {}
    for path in (folder / "runs").glob("*/*/step.json"):
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        name = manifest["stage"], manifest["result_key"]
        proof = path.parent / "proof.txt"
        if store.first_bad_file(*name) is None and proof.is_file():
            found["/".join(name)] = proof.read_text()
    return found


def strike(
    project: StubProject,
    folder: Path,
    truth: Truth,
    hit: Callable[..., bool],
    tally: Tally,
    hosts: Sequence[str] = ("",),
) -> None:
    """Start a run a host at once, `hit` the first at a random moment, and look at what is left."""
    before = proofs(folder)
    process, *others = [project.start(folder, VARIANTS, "--no-pdf", host=host) for host in hosts]
    moment, done = time.monotonic() + random.uniform(0.2, truth.seconds), False
    family: list[psutil.Process] = []
    while not done and process.poll() is None:
        time.sleep(max(0.0, min(0.01, moment - time.monotonic())))
        if time.monotonic() >= moment:
            family = _family(process.pid)
            done = hit(process.pid, family)
            moment = time.monotonic() + random.uniform(0.01, 0.5)  # nobody there: look again a little later
    tally.tried += 1
    tally.hit += done
    longest = max(_LONGEST_RUN, _LONGEST_TIMES * truth.seconds)
    process.communicate(timeout=longest)
    for other in others:
        said, _ = other.communicate(timeout=longest * len(hosts))
        if other.returncode:
            tally.lost.append(f"a run beside the one that was killed ended with {other.returncode}: {said[-300:]}")
    tally.left += _outlived(family)
    after = proofs(folder)
    tally.lost += [name for name in before if name not in after]
    tally.false += [name for name, proof in after.items() if truth.proofs.get(name) != proof]


def kernels(_: int, family: list[psutil.Process]) -> bool:
    """Kill one kernel: a process that leads a session of its own below the run, the fork server aside."""
    leaders = [each for each in family if _is_kernel(each)]
    return bool(leaders) and _send(random.choice(leaders), signal.SIGKILL)


def workers(_: int, family: list[psutil.Process]) -> bool:
    """Kill one process that executes notebooks."""
    found = [each for each in family if "spawn_main" in _words(each)]
    return bool(found) and _send(random.choice(found), signal.SIGKILL)


def fork_server(_: int, family: list[psutil.Process]) -> bool:
    """Kill the process that kernels are forked from."""
    found = [each for each in family if "bakeoff.warm.server" in _words(each) and not _is_kernel(each)]
    return bool(found) and _send(found[0], signal.SIGKILL)


def pipeline(pid: int, family: list[psutil.Process]) -> bool:
    """Kill the command itself."""
    return _send(_command(pid, family), signal.SIGKILL)


def ctrl_c(pid: int, family: list[psutil.Process]) -> bool:
    """Ask the command to stop."""
    return _send(_command(pid, family), signal.SIGINT)


def _command(pid: int, family: list[psutil.Process]) -> int | psutil.Process:
    """The command's process, which may have been started through another one."""
    inside = [each for each in family if "pipeline.py" in _words(each)]
    return inside[-1] if inside and "unshare" in _words(psutil.Process(pid)) else pid


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _is_kernel(process: psutil.Process) -> bool:
    try:
        parent = process.parent()
        return parent is not None and "bakeoff.warm.server" in _words(parent)
    except psutil.Error:
        return False


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _send(victim: int | psutil.Process, number: int) -> bool:
    """Send a signal; whether there was a process to take it."""
    try:
        (victim if isinstance(victim, psutil.Process) else psutil.Process(victim)).send_signal(number)
    except psutil.Error:
        return False
    return True


def _outlived(family: list[psutil.Process]) -> list[str]:
    """Processes of a run that are there five seconds after its end."""
    _, alive = psutil.wait_procs(family, timeout=5)
    return [str(each) for each in alive]


def undisturbed(project: StubProject, folder: Path) -> Truth:
    """A run that nobody kills."""
    begun = time.monotonic()
    code, said = project.run(folder, VARIANTS, "--no-pdf")
    if code:
        raise RuntimeError(said)
    return Truth(proofs(folder), time.monotonic() - begun)


def campaign(
    project: StubProject,
    place: Path,
    truth: Truth,
    points: int,
    hits: Sequence[Callable[..., bool]],
    hosts: Sequence[str] = ("",),
) -> Tally:
    """Use `hits` in turn until `points` of them found a victim; a store that is complete gives way to an empty one.

    A moment with nothing to kill counts as tried, not as hit. A run at the end must succeed.
    """
    tally = Tally()
    while tally.hit < points and tally.tried < _MOST_TRIES * points:
        strike(project, place, truth, hits[tally.tried % len(hits)], tally, hosts)
        if len(proofs(place)) >= len(truth.proofs):
            shutil.rmtree(place)
        if tally.tried % 20 == 0:
            print(f"    {tally}", flush=True)
    code, said = project.run(place, VARIANTS, "--no-pdf")
    if code or proofs(place) != truth.proofs:
        tally.lost.append(f"the last run ended with {code}: {said[-500:]}")
    tally.left += [str(each) for each in (place / "runs" / ".staging").iterdir()]
    return tally


VICTIMS = {each.__name__: each for each in (pipeline, kernels, workers, fork_server, ctrl_c)}


def main() -> int:
    """Run both campaigns; 1 when anything was lost, false or left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200, help="kills that hit, for each victim")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--victims", nargs="*", choices=sorted(VICTIMS), default=["pipeline", "kernels", "workers", "fork_server"]
    )
    parser.add_argument("--runs", type=int, default=1, help="runs at once on one store; the first is killed")
    parser.add_argument("--hosts", action="store_true", help="each on a host of its own (Linux namespaces, as root)")
    options = parser.parse_args()
    hosts = [f"host-{number}" if options.hosts else "" for number in range(options.runs)]
    print(
        f"seed {options.seed}, {len(hosts)} runs at once{', each on its own host' if options.hosts else ''}", flush=True
    )
    random.seed(options.seed)
    bad = False
    with tempfile.TemporaryDirectory(prefix="bakeoff-faults-") as name:
        make_template(Path(name) / "template")
        project = make_stub_project(Path(name), Path(name) / "template", len(VARIANTS), _SECONDS)
        truth = undisturbed(project, Path(name) / "truth")
        for victim in (VICTIMS[each] for each in options.victims):
            tally = campaign(project, Path(name) / victim.__name__, truth, options.points, [victim], hosts)
            print(f"{victim.__name__}: {tally}", flush=True)
            for line in [*tally.lost, *tally.false, *tally.left]:
                print(f"    {line}")
            bad |= bool(tally.lost or tally.false or tally.left)
    return int(bad)


if __name__ == "__main__":
    raise SystemExit(main())
