"""Write the generated pages: docs/settings.md from the settings, docs/cli.md from the command tree.

`--check` writes nothing and exits 1 when a page differs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"


def settings_page() -> str:
    """Every setting: variable, default, meaning."""
    from pydantic import BaseModel, SecretStr

    from core.settings import Settings, variable_names

    described = variable_names()

    def rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
        for key, info in model.model_fields.items():
            name = f"{prefix}{key}".upper()
            if name not in described:
                continue
            value = info.get_default(call_default_factory=True, validated_data={})
            shown = value.get_secret_value() if isinstance(value, SecretStr) else value
            yield f"| `{name}` | {f'`{shown}`' if str(shown) else '(empty)'} | {described[name]} |"

    head = "| variable | default | meaning |\n|---|---|---|"
    parts = [
        "# Settings",
        "Written by `make docs` from `core/settings.py`; do not edit.",
        "Every setting is an environment variable. An unknown `ALIOTH_…` variable stops the start with a message, so a "
        "typing error cannot pass silently.",
        "\n".join([head, *rows(Settings, "ALIOTH_")]),
    ]
    for key, info in Settings.model_fields.items():
        group = info.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            parts += [
                f"## {(group.__doc__ or key).strip().rstrip('.')}",
                "\n".join([head, *rows(group, f"ALIOTH_{key}__")]),
            ]
    return "\n\n".join(parts) + "\n"


def cli_page() -> str:
    """Every command with its arguments and options, in the order of `--help`."""
    from typer.main import get_command

    from app.cli.root import app

    root = get_command(app)
    parts = [
        "# Command line",
        "Written by `make docs` from the commands themselves; do not edit.",
        "Every command takes `--json` for machine-readable output on stdout; messages and progress go to stderr. Exit "
        "codes: 0 done (also a refusal or an empty result), 1 an error with a message and a hint, 2 wrong usage, "
        "130 interrupted.",
        _options(root),
    ]
    parts += [_section(path, command) for path, command in _leaves(root, "alioth")]
    return "\n\n".join(part for part in parts if part) + "\n"


def _leaves(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _leaves(child, f"{path} {name}")


def _section(path: str, command: Any) -> str:
    arguments = [p.metavar or p.name.upper() for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([path, *arguments])
    return "\n\n".join(
        part for part in (f"## {path}", (command.help or "").strip(), f"`{usage}`", _options(command)) if part
    )


def _options(command: Any) -> str:
    rows = []
    for parameter in command.params:
        record = parameter.get_help_record(_context(command))
        if record is not None and "--help" not in parameter.opts:
            name, text = record
            rows.append(f"| `{_cell(name)}` | {_cell(text)} |")
    return "\n".join(["| argument or option | meaning |", "|---|---|", *rows]) if rows else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _context(command: Any) -> Any:
    return command.context_class(command)


PAGES = {"settings.md": settings_page, "cli.md": cli_page}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, make in PAGES.items():
        page, path = make(), DOCS / name
        if path.exists() and path.read_text(encoding="utf-8") == page:
            continue
        stale.append(name)
        if not check:
            path.write_text(page, encoding="utf-8")
    print(f"{'Stale' if check else 'Written'}: {', '.join(stale) or 'nothing'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
