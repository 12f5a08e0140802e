"""The command lines of the single parts; the embedded stack and the containers run the same ones."""

import sys

from store.settings import Settings


def worker_command(settings: Settings) -> list[str]:
    """The Celery worker."""
    return [
        *(sys.executable, "-m", "celery", "--quiet", "--app", "worker.app", "worker"),
        *("--pool", "prefork"),
        # Workers learn of nothing from each other: the database knows who lives.
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        *("--loglevel", settings.log_level.lower()),
    ]


def own_model_command(name: str) -> list[str]:
    """Registers one of the operator's own models, then ends."""
    return [sys.executable, "-m", "worker.register_own_models", name]


def sweeper_command() -> list[str]:
    """The sweeper."""
    return [sys.executable, "-m", "worker.sweeper"]


def api_command(settings: Settings) -> list[str]:
    """The HTTP API."""
    return [
        *(sys.executable, "-m", "uvicorn", "service.app:app_from_environment", "--factory"),
        *("--host", settings.host, "--port", str(settings.port)),
        *("--log-level", settings.log_level.lower(), "--no-access-log"),
        *("--timeout-graceful-shutdown", "3"),
    ]
