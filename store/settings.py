"""Every setting of the service, with type, default and meaning. Nothing else reads the environment."""

import logging
import os
from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from multav.own_models import in_setting
from multav.video.limits import Limits

PREFIX = "MULTAV_"
_log = logging.getLogger(__name__)


class Settings(BaseSettings):
    """Read from environment variables `MULTAV_<NAME>`; arguments win over the environment."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data_dir: Path = Field(
        Path("multav-data"), description="database, queue and temporary files of the embedded stack"
    )
    database_url: str = Field("", description="SQLAlchemy URL; empty: SQLite in data_dir")
    broker_url: SecretStr = Field(
        SecretStr(""), description="redis:// URL of the queue; the embedded stack sets it"
    )
    artifacts_url: str = Field("database", description="where bytes are kept; only `database` is known")
    host: str = Field("127.0.0.1", description="address that the API listens on")
    port: int = Field(8000, ge=0, le=65535, description="port that the API listens on")
    host_address: str = Field(
        "",
        description="name or address under which other workers reach this worker's machine, for trainings on several "
        "hosts; empty: its host name, or 127.0.0.1 where that stands for nothing",
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")

    default_model: str = Field("camera-motion-r3d18", description="model of a request that names none")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N; auto takes CUDA when it is there")
    concurrency: int = Field(0, ge=0, description="worker processes; 0: one per GPU, or one on a CPU")
    loaded_models: int = Field(2, ge=1, description="models that a worker process keeps in memory at most")
    loaded_models_bytes: int = Field(
        4 * 2**30,
        gt=0,
        description="memory that the models of a worker process may take together; one is always kept",
    )
    models_dir: Path | None = Field(
        None,
        description="folder of native checkpoints (.safetensors) that are registered at the start; empty: none",
    )
    own_models: str = Field(
        "",
        description="models from code of your own: name=package.module:factory, more behind commas; the workers import "
        "and run that code",
    )

    datasets_dir: Path | None = Field(
        None,
        description="folder below which datasets lie that may be registered by their path; every worker must see it "
        "there; empty: no dataset may be registered by a path",
    )
    max_dataset_bytes: int = Field(
        64 * 2**30, gt=0, description="what an uploaded archive of videos may take when it is unpacked"
    )
    max_dataset_files: int = Field(
        1_000_000, gt=0, description="how many files an uploaded archive of videos may hold"
    )
    clip_cache_bytes: int = Field(
        8 * 2**30, ge=0, description="decoded clips that a machine keeps in data_dir; 0: none"
    )
    decoders: int = Field(2, ge=1, le=64, description="videos that a worker process decodes at the same time")

    max_upload_bytes: int = Field(2 * 2**30, gt=0, description="largest request body")
    max_checkpoint_bytes: int = Field(2**30, gt=0, description="largest checkpoint that may be uploaded")
    max_output_bytes: int = Field(8 * 2**30, gt=0, description="largest file that a job may make")
    max_pixels: int = Field(4096 * 2304, gt=0, description="largest width times height of a video")
    max_frames: int = Field(36_000, gt=0, description="largest number of frames of a video")
    max_seconds: float = Field(1800.0, gt=0, description="longest video")
    decoder_memory_bytes: int = Field(
        4 * 2**30, gt=0, description="address space of a decoding child process"
    )
    probes_at_once: int = Field(4, gt=0, description="videos that are probed at the door at the same time")
    check_in_memory_bytes: int = Field(
        8 * 2**30, gt=0, description="address space of the child process that reads and tries a checkpoint"
    )
    check_in_seconds: float = Field(
        300.0, gt=0, description="how long that child process may take for a checkpoint"
    )
    check_ins_at_once: int = Field(
        1, gt=0, description="checkpoints that are read and tried at the same time"
    )

    max_queued_jobs: int = Field(
        1000, gt=0, description="queued jobs beyond which requests are refused (429)"
    )
    max_attempts: int = Field(
        3, ge=1, description="how often a job may be started before it fails as worker_lost"
    )
    lease_seconds: float = Field(
        30.0, gt=0, description="a running job without a heartbeat for so long is run again"
    )
    heartbeat_seconds: float = Field(5.0, gt=0, description="time between two heartbeats of a running job")
    sweep_seconds: float = Field(3.0, gt=0, description="time between two sweeps")
    nudge_seconds: float = Field(10.0, gt=0, description="a queued job is published again after so long")
    job_time_limit_seconds: float = Field(6 * 3600.0, gt=0, description="a job that runs longer fails")
    worker_stall_seconds: float = Field(
        90.0, gt=0, description="an idle worker ignoring a queued job so long restarts"
    )
    shutdown_seconds: float = Field(
        15.0, gt=0, description="how long a stopping worker may take to release its job"
    )
    blob_grace_seconds: float = Field(
        3600.0, gt=0, description="bytes that nothing refers to are kept so long"
    )

    @field_validator("models_dir", "datasets_dir", mode="before")
    @classmethod
    def _no_folder(cls, value: object) -> object:
        """An empty variable is no folder, and above all not the working directory."""
        return None if value == "" else value

    @field_validator("own_models")
    @classmethod
    def _readable(cls, setting: str) -> str:
        """Refuse at the start what no worker could follow."""
        in_setting(setting)
        return setting

    @field_validator("database_url")
    @classmethod
    def _psycopg(cls, url: str) -> str:
        """postgres:// and postgresql:// mean psycopg 3."""
        for scheme in ("postgres://", "postgresql://"):
            if url.startswith(scheme):
                return "postgresql+psycopg://" + url.removeprefix(scheme)
        if url and not url.startswith(("postgresql+psycopg://", "sqlite:///")):
            raise ValueError("not a database that is known: write postgresql://... or sqlite:///...")
        return url

    @cached_property
    def database(self) -> str:
        """The database's URL, SQLite in `data_dir` when none is set."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'multav.db').absolute()}"

    def video_limits(self) -> Limits:
        """What one video may cost."""
        return Limits(
            max_bytes=self.max_upload_bytes,
            max_pixels=self.max_pixels,
            max_frames=self.max_frames,
            max_seconds=self.max_seconds,
            memory_bytes=self.decoder_memory_bytes,
        )

    def environment(self) -> dict[str, str]:
        """The variables that give a child process these same settings."""
        variables = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            variables[PREFIX + name.upper()] = "" if plain is None else str(plain)
        return variables


def unknown_variables() -> list[str]:
    """Environment variables that look like settings and are none; a misspelt one would be ignored in silence."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    return sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)


def load_settings() -> Settings:
    """The settings in the environment, with a warning for every unknown `MULTAV_` variable."""
    for name in unknown_variables():
        _log.warning("%s is not a setting and has no effect", name)
    return Settings()
