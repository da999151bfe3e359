"""`alioth models pull|import|remove`: files of models on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.cli.state import JsonOption, print_json, say, state_of

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="An id of `alioth models list`.")]


def pull(context: typer.Context, model: ModelArgument, json: JsonOption = False) -> None:
    """Download a model of the catalogue, check it against the hub's record and pin it. Nothing else ever downloads."""
    from models.files.pull import pull

    settings = state_of(context).alioth.settings
    done = pull(model, settings.home, settings.models.endpoint, show_progress=sys.stderr.isatty() and not json)
    if json:
        print_json(
            {
                "id": done.id,
                "path": str(done.path),
                "revision": done.revision,
                "bytes": done.size_bytes,
                "resumed_bytes": done.resumed_bytes,
                "sha256": dict(done.sha256),
            }
        )
        return
    if done.resumed_bytes:
        say(f"{done.resumed_bytes / 1e6:.0f} MB were here from an earlier try.")
    say(f"{done.id} is at {done.path}, {done.size_bytes / 1e6:.0f} MB, checked and pinned.")


def import_(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A .gguf file, or a folder with safetensors.")],
    model_id: Annotated[str | None, typer.Option("--id", help="Id in the catalogue; default: by the name.")] = None,
    languages: Annotated[str, typer.Option(help="ISO codes it reads well, with commas.")] = "en",
    licence: Annotated[str, typer.Option(help="Its licence, for the list.")] = "not stated",
    template: Annotated[
        str | None, typer.Option(help="How prompts are written: chatml, llama3, gemma, glm4; default: by the file.")
    ] = None,
    query_prefix: Annotated[str, typer.Option(help="Text an embedder wants before a question.")] = "",
    document_prefix: Annotated[str, typer.Option(help="Text an embedder wants before a passage.")] = "",
    sha256: Annotated[str, typer.Option(help="Hash the file, or model.safetensors, must have.")] = "",
    json: JsonOption = False,
) -> None:
    """Take a model from a file or folder, for machines without a network: checked, hashed, copied, pinned."""
    from core.errors import InputError
    from models.chatml import TEMPLATES
    from models.files.store import Wanted, import_model

    settings = state_of(context).alioth.settings
    codes = tuple(code.strip().lower() for code in languages.split(",") if code.strip())
    if template is not None and template not in TEMPLATES:
        raise InputError(f"Unknown template {template!r}.", f"Templates are {', '.join(TEMPLATES)}.")
    wanted = Wanted(model_id, codes or ("en",), licence, template, query_prefix, document_prefix, sha256)
    found = import_model(path, settings.home, wanted)
    if json:
        print_json({"id": found.id, "role": found.role, "window": found.window, "languages": list(found.languages)})
    else:
        say(f"{found.id} ({found.role}) is in, window {found.window} tokens. `alioth models use {found.id}` takes it.")


def remove(context: typer.Context, model: ModelArgument, json: JsonOption = False) -> None:
    """Delete a model's files, pins and own entry; refuses what is in use."""
    from app.model_choice import remove_model

    freed = remove_model(state_of(context).alioth, model)
    if json:
        print_json({"id": model, "freed_bytes": freed})
    else:
        say(f"{model} is gone; {freed / 1e6:.0f} MB are free again.")
