"""The command: `python pipeline.py --all`. Parses, calls bakeoff, prints; imports nothing heavy."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if sys.platform not in ("linux", "darwin"):
    sys.exit("Bakeoff runs on Linux, macOS, and Windows through WSL2: install WSL2 and run the command there.")
for _stream in (sys.stdout, sys.stderr):
    if isinstance(_stream, io.TextIOWrapper):
        _stream.reconfigure(errors="replace")  # a terminal that has no sign for a letter shows another one

_ENVIRONMENT = Path(__file__).resolve().parent / ".venv" / "bin" / "python"
if find_spec("papermill") is None or find_spec("click") is None:
    if not _ENVIRONMENT.exists() or Path(sys.executable) == _ENVIRONMENT:
        sys.exit("Bakeoff's packages are not installed for this Python; run `make setup` once.")
    # `make setup` made an environment: use it, so that plain `python pipeline.py` works.
    os.execv(_ENVIRONMENT, [str(_ENVIRONMENT), *sys.argv])

import click  # noqa: E402

from bakeoff import fast_imports  # noqa: E402
from bakeoff.errors import BakeoffError, RequestError  # noqa: E402
from bakeoff.executors import EXECUTORS, Wish  # noqa: E402
from bakeoff.params import DIRECTORY, PROFILES, load_parameters, variant_names  # noqa: E402
from bakeoff.pipeline import Pipeline, Request  # noqa: E402
from bakeoff.plan.resolve import default_data_dir  # noqa: E402
from bakeoff.report import refuse_unless_plain  # noqa: E402

HERE = Path(__file__).resolve().parent


# What the command does in place of a run; one at a time.
LOOKS = (
    "show_list",
    "new",
    "open",
    "dry_run",
    "claims",
    "explain",
    "verify",
    "clean",
    "check_report",
    "compare",
    "check_claims",
    "export",
    "predict",
)
# Options that say something to another one only.
OF_ONE = {"sample": "verify", "seed": "sample", "yes": "clean", "like": "new", "editor": "open"}
OF_ONE |= {"format": "export", "to": "export", "as_json": "predict"}

OF_EXECUTORS = ("executor", "ray_address", "transfer", "slurm", "device")  # in the order of Wish's fields


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--all", "everything", is_flag=True, help="Every variant in params/variants.")
@click.option("--variants", metavar="A,B", help="These variants only.")
@click.option("--profile", type=click.Choice(PROFILES), help="Limits; default: full on a GPU, else quick.")
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="Set a parameter; may be repeated.")
@click.option("--list", "show_list", is_flag=True, help="List the variants: source, parameters, what they need.")
@click.option("--new", metavar="NAME", help="Begin a variant of your own: its file and its network.")
@click.option("--like", metavar="VARIANT", help="With --new: the variant to begin from; default: simple_cnn.")
@click.option("--open", metavar="VARIANT STAGE", nargs=2, help="Open a stage's notebook, filled in, in JupyterLab.")
@click.option(
    "--editor", type=click.Choice(("jupyter", "code", "none")), help="With --open; none: write the copy only."
)
@click.option("--dry-run", is_flag=True, help="Say of each step whether it is done or to run, and why.")
@click.option("--explain", metavar="VARIANT", help="Say of each step of a variant what changed: old and new values.")
@click.option("--verify", is_flag=True, help="Check every stored file against its digest; default: --all.")
@click.option("--sample", metavar="N", type=click.IntRange(min=0), help="With --verify: rerun N steps and compare.")
@click.option("--seed", metavar="N", type=int, help="With --sample: which steps are drawn; default: 0.")
@click.option("--clean", is_flag=True, help="List what no plan needs; default: of all variants and profiles.")
@click.option("--yes", is_flag=True, help="With --clean: remove it.")
@click.option(
    "--check-report", metavar="FOLDER", type=click.Path(path_type=Path), help="Check a report by its digests."
)
@click.option(
    "--compare",
    metavar="A B",
    nargs=2,
    type=click.Path(path_type=Path),
    help="What changed between two reports' folders.",
)
@click.option("--export", metavar="VARIANT", help="Write a finished variant's network, labels and model card.")
@click.option(
    "--format",
    type=click.Choice(("keras", "savedmodel", "onnx", "litert")),
    help="With --export: the file's format; default: keras.",
)
@click.option(
    "--to", metavar="FOLDER", type=click.Path(path_type=Path), help="With --export; default: exports/VARIANT."
)
@click.option("--predict", metavar="VARIANT", help="Say which classes a finished variant sees in IMAGES.")
@click.option("--json", "as_json", is_flag=True, help="With --predict: all classes, as JSON.")
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@click.option("--force", metavar="STAGE|VARIANT", multiple=True, help="Rerun these steps.")
@click.option("--report-only", is_flag=True, help="Rebuild the report of what is there; run nothing.")
@click.option("--claims", is_flag=True, help="Audit what the sources claim against what is there; run nothing.")
@click.option("--check-claims", is_flag=True, help="Say which rows of params/claims.csv cannot be judged, and why.")
@click.option("--strict-claims", is_flag=True, help="Exit code 1 when a claim that was tested does not hold.")
@click.option("--report-name", metavar="NAME", help="Folder below --reports-dir; default: the profile's name.")
@click.option("--author", metavar="NAME", help="Who made the report, for its first page; default: nobody is named.")
@click.option("--no-pdf", is_flag=True, help="Leave out report.pdf.")
@click.option("--download", is_flag=True, help="Ask the hosts of data and weights anew.")
@click.option("--jobs", type=click.IntRange(min=1), help="Steps side by side; default: as many as there are cores.")
@click.option("--executor", type=click.Choice(EXECUTORS), default="local", help="Who executes steps; default: local.")
@click.option(
    "--device", type=click.Choice(("cpu", "gpu")), help="What steps compute on; default: a GPU if there is one."
)
@click.option("--ray-address", metavar="ADDRESS", help="With --executor ray: a cluster; default: one on this machine.")
@click.option("--transfer", is_flag=True, help="With --executor ray: send contents; the nodes share no folder.")
@click.option("--slurm", metavar="NAME=VALUE", multiple=True, help="With --executor slurm: an option of sbatch.")
@click.option("--cold-kernels", is_flag=True, help="Start each kernel the ordinary way; same results, slower.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Prepared TFDS data; default: TFDS_DATA_DIR.")
@click.option("--runs-dir", type=click.Path(path_type=Path), default=HERE / "runs", help="Where steps are kept.")
@click.option("--reports-dir", type=click.Path(path_type=Path), default=HERE / "reports", help="Where reports go.")
@click.pass_context
def main(context: click.Context, **options: Any) -> None:
    """Run the model bake-off: every variant from its notebooks to one report.

    Exit code 0: all well. 1: some variant failed (the report names it), some claim with
    --strict-claims, or --verify or --check-report found something off. 2: the request was
    wrong; nothing started.
    """
    fast_imports()
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup has it ignored
        signal.signal(signal.SIGHUP, _terminate)  # the terminal was closed
    try:
        context.exit(_act(options))
    except BakeoffError as error:
        click.echo(f"pipeline.py: {error}", err=True)
        context.exit(error.exit_code)
    except BrokenPipeError:  # whoever read this, as head does, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        context.exit(128 + signal.SIGPIPE)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        reason = f"{error.strerror or error}{place}; what is finished is kept: mend that and run the same command again"
        click.echo(f"pipeline.py: {reason}", err=True)
        context.exit(1)
    except KeyboardInterrupt as stop:
        with suppress(OSError):  # the terminal may be gone
            click.echo("Stopped. What is finished is kept; the same command goes on from there.", err=True)
        context.exit(128 + (stop.args[0] if isinstance(stop, _TerminatedError) else signal.SIGINT))


def _act(options: Mapping[str, Any]) -> int:
    """Do what the options ask for; the exit code."""
    listed = options["variants"]
    chosen = tuple(name.strip() for name in listed.split(",") if name.strip()) if listed is not None else None
    _refuse(options, chosen)
    if options["show_list"]:
        return _print_list(chosen)
    if options["new"]:
        from bakeoff.params.new_variant import new_variant

        return new_variant(options["new"], options["like"] or "simple_cnn", click.echo)
    if options["check_report"]:
        from bakeoff.report.check import check_report

        return check_report(options["check_report"], click.echo)
    if options["check_claims"]:
        from bakeoff.claims.judgeable import check_claims

        return check_claims(DIRECTORY, variant_names(), click.echo)
    if options["compare"]:
        from bakeoff.report.compare import compare_reports

        first, second = options["compare"]
        return compare_reports(first, second, click.echo)
    named = options["explain"] or options["export"] or options["predict"] or (options["open"] or ("",))[0]
    request = _request(options, (named,) if named else chosen)
    if options["clean"]:
        from bakeoff.inspection import clean

        return clean(request, click.echo, options["yes"])
    if options["export"] or options["predict"]:
        return _leave(request, options)
    pipeline = Pipeline(request, click.echo)
    if options["open"]:
        from bakeoff.open_notebook import open_notebook

        return open_notebook(pipeline, options["open"][1], options["editor"] or "jupyter")
    if options["dry_run"]:
        return pipeline.dry_run()
    if options["explain"] or options["verify"]:
        from bakeoff import inspection as inspect

        return inspect.explain(pipeline) if options["explain"] else _verify(pipeline, options)
    return pipeline.claims() if options["claims"] else pipeline.run()


def _leave(request: Request, options: Mapping[str, Any]) -> int:
    """Export a network, or predict; a result on the standard output, what is said besides on the other."""
    from bakeoff import export

    pipeline = Pipeline(request, partial(click.echo, err=bool(options["predict"])))
    if options["predict"]:
        return export.predict(pipeline, options["images"], options["as_json"])
    folder = options["to"] or HERE / "exports" / options["export"]
    return export.export(pipeline, options["format"] or "keras", folder.expanduser().resolve())


def _verify(pipeline: Pipeline, options: Mapping[str, Any]) -> int:
    from bakeoff.inspection import verify

    return verify(pipeline, options["sample"] or 0, options["seed"] or 0)


def _refuse(options: Mapping[str, Any], chosen: tuple[str, ...] | None) -> None:
    """Raise RequestError for options that do not go together."""
    looks = [f"--{name.removeprefix('show_').replace('_', '-')}" for name in LOOKS if options[name]]
    if len(looks) > 1:
        raise RequestError(f"{' and '.join(looks)}: ask for one at a time")
    for name, what in OF_ONE.items():
        if options[name] is not None and options[name] is not False and not options[what]:
            raise RequestError(f"--{name.removeprefix('as_')} says something to --{what} only")
    if bool(options["images"]) != bool(options["predict"]):
        raise RequestError("--predict VARIANT IMAGE... names a variant and image files; nothing else takes files")
    for name, executor in (("ray_address", "ray"), ("transfer", "ray"), ("slurm", "slurm")):
        if options[name] and options["executor"] != executor:
            raise RequestError(f"--{name.replace('_', '-')} says something to --executor {executor} only")
    for name in ("explain", "open", "export", "predict"):
        if options[name] and (options["everything"] or chosen is not None):
            raise RequestError(f"--{name} names its variant itself; leave out --all and --variants")
    if options["everything"] and chosen is not None:
        raise RequestError("say what to run: --all, or --variants with names from --list (not both)")
    if not (looks and not options["claims"]) and not options["everything"] and chosen is None:
        raise RequestError("say what to run: --all, or --variants with names from --list (not both)")
    if options["author"] is not None and looks:
        raise RequestError(f"--author names who made a report; {looks[0]} writes none")
    if options["author"] is not None and not options["author"].strip():
        raise RequestError("--author: the name is empty; give one or leave the option out")
    if options["report_name"]:
        refuse_unless_plain(options["report_name"])


def _request(options: Mapping[str, Any], variants: tuple[str, ...] | None) -> Request:
    data_dir = options["data_dir"]
    same = ("profile", "settings", "force", "download", "report_only", "strict_claims", "report_name", "cold_kernels")
    return Request(
        variants=variants,
        **{name: options[name] for name in same},
        pdf=not options["no_pdf"],
        jobs=options["jobs"] or 0,
        author=" ".join((options["author"] or "").split()),
        executor=Wish(*(options[name] for name in OF_EXECUTORS)),
        data_asked=bool(data_dir or os.environ.get("TFDS_DATA_DIR"))
        or any(setting.partition("=")[0].strip() == "dataset" for setting in options["settings"]),
        data_dir=data_dir.expanduser().resolve() if data_dir else default_data_dir(),
        runs_dir=options["runs_dir"].expanduser().resolve(),
        reports_dir=options["reports_dir"].expanduser().resolve(),
    )


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM, or a terminal that was closed, ends a run as Ctrl-C does; its argument is the signal's number."""


def _terminate(number: int, _: object) -> None:
    raise _TerminatedError(number)


def _print_list(chosen: tuple[str, ...] | None) -> int:
    wrong: list[BakeoffError] = []
    for parameters in load_parameters(chosen or variant_names(), "full", refused=wrong.append):
        run, stage = parameters.run, parameters.stage
        size = stage["published"].get("parameters")
        needs = [f"weights {run['weights_file']}"] if run["weights_file"] else []
        needs += [f"search of {stage['search_trials']} trials"] if stage["search"] != "none" else []
        about = f"; a hypothesis about {run['hypothesis_of']}, run by name alone" if run["hypothesis_of"] else ""
        click.echo(f"{parameters.variant}: {run['title']}")
        click.echo(f"    source {run['source'] or 'none (beyond the sources)'}; family {run['family']}{about}")
        click.echo(
            f"    {f'{size:,} parameters; ' if size else ''}{stage['epochs']} epochs, batch {stage['batch_size']}"
        )
        click.echo(f"    needs: {stage['dataset']}{''.join(f', {need}' for need in needs)}")
    for error in wrong:
        click.echo(f"pipeline.py: {error}", err=True)
    return max((error.exit_code for error in wrong), default=0)


if __name__ == "__main__":
    main()
