"""The commands on drops that are there: their states, what is missing of them, and taking them back."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from virnucpro_assets.cli.app import AsJson, Delete, Drop, Quiet, Replace, app, materialise, print_results
from virnucpro_assets.cli.errors import one_line_errors
from virnucpro_assets.cli.help import examples
from virnucpro_assets.errors import VirnucproError
from virnucpro_assets.reports.terminal import TERMINAL, end_bar, say

if TYPE_CHECKING:
    from virnucpro_assets.reports.drop_state import DropState


@app.command(
    epilog=examples("virnucpro drops", "virnucpro drops --missing", "virnucpro drops --missing --run")
)
def drops(
    missing: Annotated[
        bool, typer.Option("--missing", help="List the drops and deliveries without results, with commands.")
    ] = False,
    run: Annotated[bool, typer.Option("--run", help="With --missing: materialise them, one by one.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the drops with their state and its reason: not begun, unfinished, running, failed, held back or done.

    Deliveries that are no drops follow, as the last scan of the drops folder found them.
    """
    with one_line_errors():
        if missing or run:
            _missing(run=run)
            return
        from virnucpro_assets.defs.drop_states import drop_states, lines_of
        from virnucpro_assets.defs.instance import open_instance
        from virnucpro_assets.intake.open_deliveries import open_delivery_lines
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        with open_instance(settings) as instance:
            states = drop_states(instance, settings)
        if as_json:
            for drop, state in states.items():
                typer.echo(json.dumps({"drop": drop, **asdict(state)}, ensure_ascii=False))
            return
        for line in lines_of(states):
            typer.echo(line)
        if not states:
            say(f"no drop in {settings.data_root.absolute()}; begin with `virnucpro predict`")
        for line in open_delivery_lines(settings):
            typer.echo(line)


@app.command(epilog=examples("virnucpro materialize sample", "virnucpro materialize sample --replace"))
def materialize(drop: Drop, replace: Replace = False, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Materialise every asset of a drop, registered before or copied into the drops folder."""
    with one_line_errors():
        from virnucpro_assets.drops.stage_locks import registration_lock
        from virnucpro_assets.intake.registration import check_arrived, left_aside
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        # Before the orchestrator hears the name: a misspelt one would stay as a partition.
        check_arrived(drop, settings)
        for line in left_aside(drop, settings):
            say(f"note: {line}")
        with registration_lock(drop, settings, say):
            materialise(drop, replace=replace)
        print_results(drop, settings, (), as_json=as_json)


@app.command(epilog=examples("virnucpro retry", "virnucpro retry sample other"))
def retry(
    drops: Annotated[
        list[str] | None,
        typer.Argument(metavar="DROP", help="Drops; by default all of which something failed."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make again what failed and what depends on it: of the embeddings the failed ranks only."""
    with one_line_errors():
        from virnucpro_assets.defs.instance import open_instance
        from virnucpro_assets.defs.runs import retry_drops
        from virnucpro_assets.demo.recognise import demo_line
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        ended: list[str] = []

        def report(line: str) -> None:
            end_bar()
            typer.echo(line)
            ended.append(line)

        with open_instance(settings) as instance:
            errors = retry_drops(instance, settings, drops or [], report)
        if not ended:
            typer.echo("nothing failed")
        is_made = any(line.endswith(": done") for line in ended)
        if is_made and (line := demo_line(settings.model_folders(settings.chunk_length))):
            say(line)
    if errors:
        raise typer.Exit(errors[0].exit_code)


@app.command(epilog=examples("virnucpro report sample"))
def report(drop: Drop, as_json: AsJson = False) -> None:
    """Print the counts of a drop and where its report is; of one that is not done its state and the reason."""
    with one_line_errors():
        from virnucpro_assets.reports.drop_state import require_done
        from virnucpro_assets.settings import load_settings

        require_done(drop, state := _state(drop))
        print_results(drop, load_settings(), (), as_json=as_json)
        if not as_json:
            typer.echo(f"state: done, {state.reason}")


@app.command(epilog=examples("virnucpro checks sample"))
def checks(drop: Drop, as_json: AsJson = False) -> None:
    """Print every check of a drop and write its check report; ends with 0 if it is done, with 5 if it is held back."""
    with one_line_errors():
        from virnucpro_assets.defs.calls import record_check_report
        from virnucpro_assets.defs.instance import open_instance
        from virnucpro_assets.drops.work import DropWork
        from virnucpro_assets.reports.check_pages import check_lines, write_check_report
        from virnucpro_assets.reports.check_report import checks_as_json
        from virnucpro_assets.reports.drop_state import require_done
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        work = DropWork.on(drop, settings, say)
        found = write_check_report(work)
        with open_instance(settings) as instance:
            record_check_report(instance, work, found)
        lines = (
            [checks_as_json(found, indent=None).rstrip()]
            if as_json
            else [*check_lines(found), f"report: {work.folder.check_page.absolute()}"]
        )
        for line in lines:
            typer.echo(line)
        require_done(drop, state := _state(drop))
        if not as_json:
            typer.echo(f"state: done, {state.reason}")


@app.command(epilog=examples("virnucpro cleanup", "virnucpro cleanup sample --delete"))
def cleanup(
    drop: Annotated[
        str | None, typer.Argument(metavar="DROP", help="The drop's name; default: all drops.")
    ] = None,
    delete: Delete = False,
) -> None:
    """List what nobody needs any more, with size and reason: damaged, replaced, unfinished, past its time."""
    with one_line_errors():
        from virnucpro_assets.defs.drop_states import drops_at_work
        from virnucpro_assets.defs.instance import open_instance
        from virnucpro_assets.maintenance.cleanup import clean_up
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        with open_instance(settings) as instance:
            at_work = drops_at_work(instance)
        found = clean_up(settings, keys=[drop] if drop else None, delete=delete, at_work=at_work)
        for line in found.lines():
            typer.echo(line)


@app.command(epilog=examples("virnucpro forget sample", "virnucpro forget sample --delete"))
def forget(
    drop: Drop,
    delete: Delete = False,
) -> None:
    """Take a drop back: remove its partition, its data and its record; files of reads and runs stay."""
    with one_line_errors():
        from virnucpro_assets.defs.instance import open_instance
        from virnucpro_assets.defs.maintenance import forget_drop
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        with open_instance(settings) as instance:
            for line in forget_drop(instance, settings, drop, delete=delete):
                typer.echo(line)


@app.command("settings", epilog=examples("virnucpro settings"))
def show_settings() -> None:
    """Print every setting with its value and meaning; secrets are not shown."""
    with one_line_errors():
        from virnucpro_assets.settings import load_settings
        from virnucpro_assets.settings_names import in_use

        for name, value, meaning in in_use(load_settings()):
            typer.echo(f"{name} = {value}  # {meaning}")


def _missing(*, run: bool) -> None:
    """Show the drops without results or, with `run`, materialise each; the first failure decides the exit code."""
    from virnucpro_assets.defs.drop_states import records_of
    from virnucpro_assets.defs.instance import open_instance
    from virnucpro_assets.drops.stage_locks import registration_lock
    from virnucpro_assets.intake.open_deliveries import refused_lines
    from virnucpro_assets.reports.drop_state import missing_drops
    from virnucpro_assets.settings import load_settings

    failures, settings = [], load_settings()
    with open_instance(settings) as instance:
        records = records_of(instance, settings)
    for drop, state in missing_drops(settings, records).items():
        if state.state == "running" or not run:
            command = f"# {drop} " if state.state == "running" else f"virnucpro materialize {drop}  #"
            typer.echo(f"{command} {state.state}: {state.reason}")
            continue
        try:
            with registration_lock(drop, settings, say):
                materialise(drop, replace=False)
            typer.echo(f"{drop}: done")
        except VirnucproError as error:
            TERMINAL.error(f"{drop}: {error}")
            failures.append(error)
    for line in refused_lines(settings):
        say(line)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _state(drop: str) -> "DropState":
    from virnucpro_assets.defs.drop_states import state_of_drop
    from virnucpro_assets.defs.instance import open_instance
    from virnucpro_assets.settings import load_settings

    settings = load_settings()
    with open_instance(settings) as instance:
        return state_of_drop(instance, settings, drop)
