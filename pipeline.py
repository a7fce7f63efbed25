"""The command: `python pipeline.py --all`. Parses, calls bakeoff, prints; imports nothing heavy."""

from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

_ENVIRONMENT = Path(__file__).resolve().parent / ".venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
if find_spec("papermill") is None or find_spec("click") is None:
    if not _ENVIRONMENT.exists() or Path(sys.executable) == _ENVIRONMENT:
        sys.exit("Bakeoff's packages are not installed for this Python; run `make setup` once.")
    # `make setup` made an environment: use it, so that plain `python pipeline.py` works.
    os.execv(_ENVIRONMENT, [str(_ENVIRONMENT), *sys.argv])

import click  # noqa: E402

from bakeoff.errors import BakeoffError, RequestError  # noqa: E402
from bakeoff.params import PROFILES, load_parameters, variant_names  # noqa: E402
from bakeoff.pipeline import Pipeline, Request, describe_plan  # noqa: E402
from bakeoff.resolve import default_data_dir  # noqa: E402

HERE = Path(__file__).resolve().parent


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--all", "everything", is_flag=True, help="Every variant in params/variants.")
@click.option("--variants", metavar="A,B", help="These variants only.")
@click.option("--profile", type=click.Choice(PROFILES), help="Limits; default: full on a GPU, else quick.")
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="Set a parameter; may be repeated.")
@click.option("--list", "show_list", is_flag=True, help="List the variants: source, parameters, what they need.")
@click.option("--dry-run", is_flag=True, help="Say of each step whether it is done or to run, and why.")
@click.option("--force", metavar="STAGE|VARIANT", multiple=True, help="Make these steps anew.")
@click.option("--report-only", is_flag=True, help="Rebuild the report of what is there; run nothing.")
@click.option("--claims", is_flag=True, help="Audit what the sources claim against what is there; run nothing.")
@click.option("--strict-claims", is_flag=True, help="Exit code 1 when a claim that was tested does not hold.")
@click.option("--report-name", metavar="NAME", help="Folder below --reports-dir; default: the profile's name.")
@click.option("--no-pdf", is_flag=True, help="Leave out report.pdf.")
@click.option("--download", is_flag=True, help="Ask the hosts of data and weights anew.")
@click.option("--jobs", type=click.IntRange(min=1), help="Steps side by side; default: as many as there are cores.")
@click.option("--cold-kernels", is_flag=True, help="Start each kernel the ordinary way; same results, slower.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Prepared TFDS data; default: TFDS_DATA_DIR.")
@click.option("--runs-dir", type=click.Path(path_type=Path), default=HERE / "runs", help="Where steps are kept.")
@click.option("--reports-dir", type=click.Path(path_type=Path), default=HERE / "reports", help="Where reports go.")
@click.pass_context
def main(
    context: click.Context,
    everything: bool,
    variants: str | None,
    profile: str | None,
    settings: tuple[str, ...],
    show_list: bool,
    dry_run: bool,
    force: tuple[str, ...],
    report_only: bool,
    claims: bool,
    strict_claims: bool,
    report_name: str | None,
    no_pdf: bool,
    download: bool,
    jobs: int | None,
    cold_kernels: bool,
    data_dir: Path | None,
    runs_dir: Path,
    reports_dir: Path,
) -> None:
    """Run the model bake-off: every variant from its notebooks to one report.

    Exit code 0: all well. 1: some variant failed (the report names it), or some claim with
    --strict-claims. 2: the request was wrong; nothing started.
    """
    signal.signal(signal.SIGTERM, _terminate)
    chosen = tuple(name.strip() for name in variants.split(",") if name.strip()) if variants is not None else None
    try:
        if show_list:
            _print_list(chosen)
            return
        if everything == (chosen is not None) and not dry_run:
            raise RequestError("say what to run: --all, or --variants with names from --list (not both)")
        if report_name and Path(report_name).name != report_name:
            raise RequestError(f"--report-name: {report_name!r} is no plain folder name; leave out slashes and dots")
        request = Request(
            variants=chosen,
            profile=profile,
            settings=settings,
            force=force,
            download=download,
            report_only=report_only,
            strict_claims=strict_claims,
            report_name=report_name,
            pdf=not no_pdf,
            jobs=jobs or 0,
            cold_kernels=cold_kernels,
            data_dir=data_dir.expanduser().resolve() if data_dir else default_data_dir(),
            runs_dir=runs_dir.expanduser().resolve(),
            reports_dir=reports_dir.expanduser().resolve(),
        )
        pipeline = Pipeline(request, click.echo)
        if dry_run:
            click.echo("\n".join(describe_plan(pipeline.plan(look=False))))
        elif claims:
            context.exit(pipeline.claims())
        else:
            context.exit(pipeline.run())
    except BakeoffError as error:
        click.echo(f"pipeline.py: {error}", err=True)
        context.exit(error.exit_code)
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        reason = f"{error.strerror or error}{place}; what is finished is kept: mend that and run the same command again"
        click.echo(f"pipeline.py: {reason}", err=True)
        context.exit(1)
    except KeyboardInterrupt as stop:
        click.echo("Stopped. What is finished is kept; the same command goes on from there.", err=True)
        context.exit(143 if isinstance(stop, _TerminatedError) else 130)


class _TerminatedError(KeyboardInterrupt):
    """SIGTERM ends a run as Ctrl-C does."""


def _terminate(*_: object) -> None:
    raise _TerminatedError


def _print_list(chosen: tuple[str, ...] | None) -> None:
    for parameters in load_parameters(chosen or variant_names(), "full"):
        run, stage = parameters.run, parameters.stage
        size = stage["published"].get("parameters")
        needs = [f"weights {run['weights_file']}"] if run["weights_file"] else []
        needs += [f"search of {stage['search_trials']} trials"] if stage["search"] != "none" else []
        click.echo(f"{parameters.variant}: {run['title']}")
        click.echo(f"    source {run['source'] or 'none (beyond the sources)'}; family {run['family']}")
        click.echo(
            f"    {f'{size:,} parameters; ' if size else ''}{stage['epochs']} epochs, batch {stage['batch_size']}"
        )
        click.echo(f"    needs: {stage['dataset']}{''.join(f', {need}' for need in needs)}")


if __name__ == "__main__":
    main()
