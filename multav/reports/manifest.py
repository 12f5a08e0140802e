"""What somebody needs to run an audit again: what was asked, of which models and videos, on which machine."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from multav.audits.request import AuditRequest

PACKAGES: Final = (
    "multav",
    "torch",
    "numpy",
    "scipy",
    "numba",
    "av",
    "pillow",
    "safetensors",
    "pydantic",
    "pyarrow",
)
"""What has a share in the numbers of an audit, from the decoder to the interval."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelIdentity(_Record):
    """One model: its name on the server, and what tells it from every other."""

    name: str
    sha256: str | None = Field(
        None, description="of the checkpoint file; null for a model made by the operator's code"
    )
    card: dict[str, Any] = Field(
        default_factory=dict, description="architecture, classes, preprocessing, parameters"
    )


class DatasetIdentity(_Record):
    """The dataset: where it comes from, and a hash of what was listed and of the videos themselves."""

    name: str
    spec: dict[str, Any] = Field(default_factory=dict, description="as it was registered")
    sha256: str | None = Field(None, description="of the listing: names, labels and groups in order")
    videos: int = Field(description="videos of the subset that the audit looked at")
    clips: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of each video file by name, where known"
    )


class Machine(_Record):
    """Where the numbers were made."""

    system: str
    processor: str
    cores: int
    python: str
    device: str | None = Field(None, description="what computed, such as cpu or the card's name")
    threads: int | None = Field(None, description="threads of one worker's arithmetic")


class Manifest(_Record):
    """An audit to be run again. `request` has every default spelled out, seeds included."""

    request: dict[str, Any]
    models: tuple[ModelIdentity, ...]
    dataset: DatasetIdentity
    packages: dict[str, str]
    machine: Machine
    precision: str = Field(
        description="arithmetic of the attacks' gradients; outcomes are verified in float32"
    )
    torch: dict[str, bool | int | str] = Field(
        default_factory=dict, description="settings that may change rounding"
    )
    outcomes_sha256: str | None = Field(
        None, description="of who predicted what on which clip: equal for a second run with equal outcomes"
    )

    def audit_request(self) -> AuditRequest:
        """The request to send again. Raises `InvalidSpec` where this version takes it no longer."""
        return AuditRequest.parse(self.request)


def collect(
    request: AuditRequest,
    *,
    models: Sequence[ModelIdentity],
    dataset: DatasetIdentity,
    precision: str | None = None,
    device: str | None = None,
    torch: Any = None,
    outcomes_sha256: str | None = None,
    packages: Sequence[str] = PACKAGES,
) -> Manifest:
    """The manifest of an audit on this machine.

    `torch` is the module where it was loaded anyway: its flags are read, and it is never imported here. `precision` is
    what "auto" turned out to be.
    """
    return Manifest(
        request=request.spelled_out().model_dump(mode="json") | {"models": [model.name for model in models]},
        models=tuple(models),
        dataset=dataset,
        packages=_versions(packages),
        machine=Machine(
            system=f"{platform.system()} {platform.release()}",
            processor=_processor(),
            cores=os.cpu_count() or 1,
            python=platform.python_version(),
            device=device,
            threads=None if torch is None else int(torch.get_num_threads()),
        ),
        precision=precision or request.precision,
        torch={} if torch is None else _flags(torch),
        outcomes_sha256=outcomes_sha256,
    )


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found: Mapping[str, str | None] = {name: _version(name) for name in packages}
    return {name: number for name, number in found.items() if number is not None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor by its own name, which `platform` does not know on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _flags(torch: Any) -> dict[str, bool | int | str]:
    return {
        "deterministic_algorithms": bool(torch.are_deterministic_algorithms_enabled()),
        "cudnn_benchmark": bool(torch.backends.cudnn.benchmark),
        "cudnn_deterministic": bool(torch.backends.cudnn.deterministic),
        "float32_matmul_precision": str(torch.get_float32_matmul_precision()),
        "mkldnn": bool(torch.backends.mkldnn.is_available()),
        "cuda": str(torch.version.cuda or ""),
    }
