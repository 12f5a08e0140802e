"""An operator's own code becomes a registered model, or is refused with the reason; and jobs can use it."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from multav.errors import BadOwnModel
from multav.own_models import own_models
from store import models
from store.database import Database
from store.settings import Settings
from store.work_folders import WorkFolders
from worker.model_cache import ModelCache
from worker.register_own_models import register_all

CODE = """
    import os
    import torch
    from torch import nn

    CARD = {"classes": ["a", "b"], "geometry": {
        "frames": 4, "stride": 1, "short_side": 32, "height": 32, "width": 32}}

    def network(seed):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv3d(3, 4, 3), nn.Softplus(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2))

    def good():
        return network(int(os.environ.get("SEED_OF_TEST", "0"))), CARD

    def random():
        return network(torch.seed() % 10**6), CARD

    def detached():
        class Detached(nn.Sequential):
            def forward(self, clips):
                return super().forward(clips.detach().round())
        return Detached(*network(0)), CARD

    def broken():
        raise RuntimeError("no weights here")

    def ends():
        raise SystemExit("a script's end")

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network(0)

    def several():
        class Several(Odd):
            def forward(self, clips):
                return {"logits": self.network(clips)}
        return Several(), CARD

    def raising():
        class Raising(Odd):
            def forward(self, clips):
                raise KeyError("what it did not expect")
        return Raising(), CARD

    def lazy():
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(2)), CARD
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module of the operator's, importable here and in child processes; its name."""
    folder = tmp_path / "code"
    folder.mkdir()
    name = "an_operators_package"
    (folder / f"{name}.py").write_text(textwrap.dedent(CODE))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    yield name
    sys.modules.pop(name, None)


def test_good_ones_are_registered_and_bad_ones_stand_in_nobodys_way(
    code: str, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = ("broken", "random", "detached", "ends", "several", "raising", "lazy")
    names = (*wrong, "good")
    declared = own_models(",".join(f"{name}={code}:{name}" for name in names))
    refused = register_all(database, declared)
    assert {name: type(error) for name, error in refused.items()} == dict.fromkeys(wrong, BadOwnModel)
    assert "no weights here" in refused["broken"].detail
    assert "other weights each time" in refused["random"].detail
    assert "gradient" in refused["detached"].detail
    assert "a script's end" in refused["ends"].detail
    assert "gives a dict, not a tensor" in refused["several"].detail
    assert "KeyError: 'what it did not expect'" in refused["raising"].detail
    assert "uninitialized parameter" in refused["lazy"].detail
    with database.read() as session:
        (model,) = models.listed(session).items
    assert (model.name, model.origin, model.bytes) == ("good", "own", None)
    assert model.card.smoke is not None
    assert model.card.smoke["passed"]
    assert model.card.macs == 4 * 81 * 2 * 30 * 30 + 8
    assert model.card.parameters == 4 * 81 + 4 + 10

    # The same again changes nothing.
    good = {"good": declared["good"]}
    assert not register_all(database, good)
    with database.read() as session:
        assert models.get(session, "good") == model

    # A worker makes the same one; with other weights it is another model, and says so until it is registered.
    changed = settings.model_copy(update={"own_models": f"good={code}:good"})

    def cache() -> ModelCache:
        return ModelCache(database, "cpu", WorkFolders(settings.data_dir / "work"), changed)

    assert not any(parameter.requires_grad for parameter in cache().get("good", model.sha256).parameters())
    monkeypatch.setenv("SEED_OF_TEST", "1")
    with pytest.raises(BadOwnModel, match="another model than the one that is registered"):
        cache().get("good", model.sha256)
    assert not register_all(database, good)
    with database.read() as session:
        second = models.get(session, "good").sha256
    assert second != model.sha256
    cache().get("good", second)


def test_the_command_says_what_it_refuses(code: str, settings: Settings, database: Database) -> None:
    environment = {**os.environ, **settings.environment(), "OMP_NUM_THREADS": "1"}
    environment["MULTAV_OWN_MODELS"] = f"good={code}:good,broken={code}:broken"
    done = subprocess.run(
        [sys.executable, "-m", "worker.register_own_models"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "no weights here" in done.stderr
    assert "model good is registered" in done.stderr
    with database.read() as session:
        assert models.get(session, "good").origin == "own"
    # One alone, as the service asks for each: what hangs keeps no other waiting.
    alone = [sys.executable, "-m", "worker.register_own_models", "nobody"]
    done = subprocess.run(alone, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "no own model is declared as nobody" in done.stderr
