"""Nothing to do: `python pipeline.py --all` against snakemake on an equal graph of steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.common import NO_NETWORK_SET, Case, in_turn, median, pipeline, run

ROUNDS = 7
_SNAKEMAKE = "snakemake>=9.13"


def measure(folder: Path) -> Case:
    """Seconds to find that everything is there; the graph is that of all variants in smoke."""
    request = ("--all", "--profile", "smoke", "--set", NO_NETWORK_SET)
    pipeline(*request, folder=folder)
    graph = _graph(request)
    snakemake = _install(folder)
    work = folder / "snakemake"
    work.mkdir()
    (work / "Snakefile").write_text(_snakefile(graph), encoding="utf-8")
    command = [str(snakemake), "--cores", "2", "--quiet"]
    run(command, work)
    sides = {
        "python pipeline.py --all": lambda: pipeline(*request, folder=folder),
        "snakemake": lambda: run(command, work),
    }
    seconds = in_turn(sides, ROUNDS)
    ours, theirs = (median(taken) for taken in seconds.values())
    own, ratio = "python pipeline.py --all with nothing to do, in seconds", "that over snakemake"
    return Case(
        "Nothing to do",
        f"All variants, {len(graph)} steps, all done; snakemake on a graph of the same steps and edges, a file each.",
        seconds,
        {own: ours, ratio: ours / theirs},
        {own: 0.7, ratio: 0.2},
    )


def _graph(request: tuple[str, ...]) -> dict[str, list[str]]:
    """Each step of the plan with its parents."""
    from bakeoff.params import load_parameters
    from bakeoff.plan.code_digests import Code
    from bakeoff.plan.resolve import Resolver
    from bakeoff.plan.steps import make_plan
    from bakeoff.store import Store

    store = Store(Path(os.devnull).parent / "no-store")
    resolver = Resolver(store, "smoke", Path("/nowhere"), print)
    plan = make_plan(load_parameters(None, "smoke", (request[-1],)), resolver, Code(store.digests()), store)
    return {"_".join(step.name): ["_".join(parent) for parent in step.inputs.items()] for step in plan.steps}


def _install(folder: Path) -> Path:
    """Snakemake in an environment of its own, for this benchmark only."""
    environment = folder / "environment"
    uv = [str(Path(sys.executable).with_name("uv"))]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys.executable, str(environment)], check=True)
    python = str(environment / "bin" / "python")
    subprocess.run([*uv, "pip", "install", "--quiet", "--system-certs", "--python", python, _SNAKEMAKE], check=True)
    return environment / "bin" / "snakemake"


def _snakefile(graph: dict[str, list[str]]) -> str:
    rules = [f"rule all:\n    input: {_files(graph)}\n"]
    for number, (name, parents) in enumerate(graph.items()):
        inputs = f"    input: {_files(parents)}\n" if parents else ""
        rules.append(f"rule step{number}:\n{inputs}    output: {_files([name])}\n    shell: 'touch {{output}}'\n")
    return "\n".join(rules)


def _files(names: object) -> str:
    return ", ".join(f"'{name}.done'" for name in names)  # type: ignore[attr-defined]
