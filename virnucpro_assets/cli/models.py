"""The commands on models: what is installed, fetching, importing, verifying."""

from pathlib import Path
from typing import Annotated

import typer

from virnucpro_assets.cli.errors import one_line_errors
from virnucpro_assets.cli.help import Commands, examples
from virnucpro_assets.files.user_paths import user_path
from virnucpro_assets.reports.terminal import say

models = typer.Typer(
    cls=Commands,
    help="List, fetch, import and verify the models: encoders and classifiers.",
    epilog=examples("virnucpro models list", "virnucpro models fetch DNABERT-S"),
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name in the registry.")]
NewName = Annotated[
    str | None, typer.Option("--name", help="Name in the registry; default: the published name.")
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace a model of this name; the former is kept under another.")
]


@models.command("list", epilog=examples("virnucpro models list", "virnucpro models list --published"))
def list_models(
    published: Annotated[
        bool, typer.Option("--published", help="List what can be fetched, how large it is, and its licence.")
    ] = False,
    no_demo: Annotated[
        bool, typer.Option("--no-demo", help="End with 2 if a demo model is in use, or one is missing.")
    ] = False,
) -> None:
    """List the models in use and those in the registry."""
    with one_line_errors():
        from virnucpro_assets.reports.model_pages import (
            installed_lines,
            published_lines,
            require_real_models,
        )
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        for line in published_lines() if published else installed_lines(settings):
            typer.echo(line)
        if no_demo:
            require_real_models(settings)


@models.command(epilog=examples("virnucpro models show esm2_t36_3B_UR50D"))
def show(name: Name) -> None:
    """Print what a model is, where it comes from, what it needs, and how to use it."""
    with one_line_errors():
        from virnucpro_assets.reports.model_pages import model_lines
        from virnucpro_assets.settings import load_settings

        for line in model_lines(load_settings(), name):
            typer.echo(line)


@models.command(
    epilog=examples(
        "virnucpro models fetch esm2_t36_3B_UR50D",
        "virnucpro models fetch DNABERT-S",
        "HF_ENDPOINT=https://mirror.example virnucpro models fetch owner/name --revision COMMIT",
    )
)
def fetch(
    what: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A name of `models list --published`, or a repository OWNER/NAME."
        ),
    ],
    revision: Annotated[
        str | None, typer.Option("--revision", help="Commit, 40 digits; default: the one of the list.")
    ] = None,
    name: NewName = None,
    replace: Replace = False,
) -> None:
    """Fetch an encoder from the Hugging Face hub or a mirror, verify it, and install it.

    What was interrupted goes on where it was.
    """
    with one_line_errors():
        from virnucpro_assets.models.fetching import fetch_encoder
        from virnucpro_assets.models.registry import Registry
        from virnucpro_assets.reports.model_pages import how_to_use
        from virnucpro_assets.settings import load_settings

        settings = load_settings()
        token = settings.hub_token
        model, was_there = fetch_encoder(
            Registry(settings.models),
            what,
            name,
            endpoint=settings.hub,
            token=token.get_secret_value() if token else None,
            revision=revision,
            replace=replace,
            report=say,
        )
        typer.echo(f"{model.path}: {'is installed already, and whole' if was_there else 'installed'}")
        for line in how_to_use(model):
            say(line)


@models.command(
    "import",
    epilog=examples(
        "virnucpro models import esm2_t36_3B_UR50D.pt",
        "virnucpro models import DNABERT-S/",
        "virnucpro models import 500_model.pth --chunk-length 500 --esm2 esm2_t36_3B_UR50D --dnabert-s DNABERT-S",
    ),
)
def import_model(
    path: Annotated[
        Path,
        typer.Argument(
            parser=user_path,
            metavar="PATH",
            help="A .pt file of fair-esm, a Hugging Face folder, or a classifier of the authors, .pth.",
        ),
    ],
    name: NewName = None,
    chunk_length: Annotated[
        int | None,
        typer.Option(
            "--chunk-length", min=1, help="For a classifier: bases of the chunks it was trained on."
        ),
    ] = None,
    esm2: Annotated[
        str | None,
        typer.Option("--esm2", help="For a classifier: the installed ESM-2 that it was trained with."),
    ] = None,
    dnabert_s: Annotated[
        str | None,
        typer.Option(
            "--dnabert-s", help="For a classifier: the installed DNABERT-S that it was trained with."
        ),
    ] = None,
    replace: Replace = False,
) -> None:
    """Install published files as they are on this machine: read without running anything, and converted once."""
    with one_line_errors():
        from virnucpro_assets.models.classifier_imports import import_classifier
        from virnucpro_assets.models.encoder_imports import import_encoder
        from virnucpro_assets.models.registry import Registry
        from virnucpro_assets.reports.model_pages import how_to_use
        from virnucpro_assets.settings import load_settings
        from virnucpro_assets.vocabulary import EncoderKind

        registry = Registry(load_settings().models)
        if chunk_length is None:
            model = import_encoder(registry, path, name, replace=replace)
        else:
            named: list[tuple[EncoderKind, str | None]] = [("dnabert_s", dnabert_s), ("esm2", esm2)]
            encoders = {kind: registry.model(encoder).path for kind, encoder in named if encoder}
            model = import_classifier(registry, path, chunk_length, name, encoders=encoders, replace=replace)
        typer.echo(f"{model.path}: installed")
        for line in how_to_use(model):
            say(line)


@models.command(
    epilog=examples(
        "virnucpro models verify",
        "virnucpro models verify esm2_t36_3B_UR50D --precision float16 --device cuda:0",
    )
)
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Installed encoders; by default those that the settings name."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="float32, bfloat16 or float16; default: that of the settings."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu or cuda:N; default: the first GPU, else the CPU.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Store the reference figures beside the model, for the next time.")
    ] = False,
) -> None:
    """Compare encoders with their references on fixed sequences; ends with 5 if one differs.

    The reference is fair-esm for ESM-2 and a plain float32 computation for DNABERT-S, on the CPU, or
    the figures that were stored with --keep. It needs the memory of the weights in float32.
    """
    with one_line_errors():
        from virnucpro_assets.maintenance.verify_models import verify_models
        from virnucpro_assets.settings import load_settings

        verify_models(
            load_settings(),
            names or [],
            typer.echo,
            warn=say,
            precision=precision,
            device=device,
            keep=keep,
        )
