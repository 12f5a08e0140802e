"""`python -m service`: the service and its parts from the command line."""

import argparse
import logging
import os
import sys
from pathlib import Path

from pydantic import ValidationError

from service.commands import api_command, sweeper_command
from service.instance import CannotStart
from store.settings import PREFIX, Settings, load_settings

_EPILOG = """\
parts:
  (none)      everything on this machine: SQLite, Valkey, worker, sweeper, API; Ctrl-C stops it
  migrate     bring the database's schema up to date and register the models of the code and of
              MULTAV_MODELS_DIR, then end
  api         the HTTP API alone
  worker      a worker alone, started again when it dies or takes no work
  sweeper     the sweeper alone
              (these three need MULTAV_BROKER_URL, and a database that was migrated: MULTAV_DATABASE_URL, or
              SQLite in the data folder)
  settings    list every setting with its value and meaning, then end

Every setting is an environment variable MULTAV_<NAME>.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a part; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description="Attack video models over HTTP.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "part", nargs="?", choices=["all", "migrate", "api", "worker", "sweeper", "settings"], default="all"
    )
    parser.add_argument("--host", help="address that the API listens on (default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port that the API listens on (default 8000)")
    parser.add_argument(
        "--data-dir", type=Path, help="folder of everything that is kept (default ./multav-data)"
    )
    options = parser.parse_args(arguments)
    for name in ("host", "port", "data_dir"):
        value = getattr(options, name)
        if value is not None:
            os.environ[PREFIX + name.upper()] = str(value)
    try:
        settings = load_settings()
    except ValidationError as error:
        for finding in error.errors(include_url=False):
            name = PREFIX + "_".join(str(part) for part in finding["loc"]).upper()
            print(f"{name}: {finding['msg']} (got {finding['input']!r})", file=sys.stderr)
        return 2
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        return _run(options.part, settings)
    except CannotStart as reason:
        print(f"multav cannot start: {reason}", file=sys.stderr)
        return 1


def _run(part: str, settings: Settings) -> int:
    from service import embedded

    if part == "all":
        return embedded.serve(settings)
    if part == "settings":
        _list_settings(settings)
        return 0
    if part == "migrate":
        embedded.prepare(settings)
        return 0
    embedded.require_parts(settings)
    if part == "worker":
        return embedded.serve_worker(settings)
    command = api_command(settings) if part == "api" else sweeper_command()
    # The part takes this process's place, so that signals reach it directly.
    return os.execvpe(command[0], command, {**os.environ, **settings.environment()})


def _list_settings(settings: Settings) -> None:
    for name, field in Settings.model_fields.items():
        print(f"{PREFIX}{name.upper()}={getattr(settings, name)}\n    {field.description}")


if __name__ == "__main__":
    sys.exit(main())
