"""`alioth glossary`: a collection's own words, with synonyms, short forms and translations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.state import CollectionOption, JsonOption, print_json, print_table, say, state_of
from core.errors import InputError
from core.types import GlossaryTerm, Role

app = typer.Typer(help="Glossary (术语表) of a collection.", no_args_is_help=True)
TermsArgument = Annotated[list[str], typer.Argument(metavar="TERM...", help="Terms to remove.")]


def _json(term: GlossaryTerm) -> dict[str, object]:
    return {"term": term.term, "others": list(term.others), "both_ways": term.both_ways, "note": term.note}


@app.command()
def add(
    context: typer.Context,
    term: Annotated[str, typer.Argument(metavar="TERM", help="The word, e.g. 年假.")],
    others: Annotated[
        list[str], typer.Argument(metavar="OTHER...", help="Other words for it: synonyms, short forms, translations.")
    ],
    collection: CollectionOption,
    one_way: Annotated[
        bool, typer.Option("--one-way", help="A question with one of the others does not look for the term.")
    ] = False,
    note: Annotated[str, typer.Option("--note", help="What it means, for people.")] = "",
    json: JsonOption = False,
) -> None:
    """Add a term, or replace what the glossary says of it."""
    state = state_of(context)
    target = state.collection(collection, Role.WRITE)
    made = GlossaryTerm(term, tuple(others), not one_way, note)
    state.alioth.glossary.put(target.id, [made])
    state.alioth.audit.record(state.principal.name, "glossary.add", target.name, term=term)
    if json:
        print_json(_json(made))
    else:
        say(f"'{term}' is in the glossary of '{target.name}'.")


@app.command("list")
def list_(context: typer.Context, collection: CollectionOption, json: JsonOption = False) -> None:
    """List the terms of a collection."""
    state = state_of(context)
    target = state.collection(collection)
    terms = state.alioth.glossary.terms([target.id])
    if json:
        print_json([_json(term) for term in terms])
    elif not terms:
        say(f"The glossary of '{target.name}' is empty. Add a term: alioth glossary add TERM OTHER -c '{target.name}'")
    else:
        print_table(
            ("term", "other words", "both ways", "note"),
            ((t.term, "; ".join(t.others), "yes" if t.both_ways else "no", t.note) for t in terms),
        )


@app.command()
def remove(
    context: typer.Context, terms: TermsArgument, collection: CollectionOption, json: JsonOption = False
) -> None:
    """Remove terms."""
    state = state_of(context)
    target = state.collection(collection, Role.WRITE)
    state.alioth.glossary.remove(target.id, terms)
    state.alioth.audit.record(state.principal.name, "glossary.remove", target.name, terms=terms)
    if json:
        print_json({"removed": terms})
    else:
        say(f"Removed from the glossary of '{target.name}': {', '.join(terms)}.")


@app.command("import")
def import_(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with the columns term, others, both_ways, note.")],
    collection: CollectionOption,
    replace: Annotated[bool, typer.Option("--replace", help="Remove the terms that the file does not have.")] = False,
    json: JsonOption = False,
) -> None:
    """Read terms from a CSV file; terms that are there already are replaced."""
    from app.glossary_csv import read_terms

    state = state_of(context)
    target = state.collection(collection, Role.WRITE)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read '{file}': {error.strerror}.", "Give a CSV file.") from error
    terms = read_terms(data, file.name)
    store = state.alioth.glossary
    count = store.replace(target.id, terms) if replace else store.put(target.id, terms)
    state.alioth.audit.record(state.principal.name, "glossary.import", target.name, terms=count)
    if json:
        print_json({"imported": count})
    else:
        say(f"Imported {count} terms into the glossary of '{target.name}'.")


@app.command()
def export(
    context: typer.Context,
    collection: CollectionOption,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to write; stdout without it.")] = None,
) -> None:
    """Write the terms as a CSV file that spreadsheets open, and that `import` reads."""
    from app.glossary_csv import write_terms

    state = state_of(context)
    target = state.collection(collection)
    text = write_terms(state.alioth.glossary.terms([target.id]))
    if file is None:
        typer.echo(text, nl=False)
        return
    try:
        file.write_text(text, encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"Cannot write '{file}': {error.strerror}.", "Give a file in a folder that exists.") from error
    say(f"Wrote '{file}'.")
