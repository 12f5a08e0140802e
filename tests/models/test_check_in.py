"""From a file to a checkpoint of ours through the bounded child, and what becomes of files that are none."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from models.check_in import check_in
from models.check_in_limits import CheckInLimits
from models.checkpoints import load
from multav.errors import BadCheckpoint, InvalidSpec, UploadTooLarge
from multav.model_card import read_card
from multav.model_upload import ModelUpload
from tests.models.small_networks import GEOMETRY, SAID, hara_2018, normalised, on_the_gpu, pickled, tiny

torch.set_num_threads(1)
UPLOAD = ModelUpload.parse(SAID)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path


def source(folder: Path, data: bytes | None = None) -> Path:
    path = folder / "resnet-10.pth"
    path.write_bytes(on_the_gpu(pickled(hara_2018(tiny("A")), legacy=True)) if data is None else data)
    return path


def nothing_written(folder: Path) -> bool:
    return os.listdir(folder / "out") == []


def test_a_file_of_2018_becomes_one_of_ours(folder: Path) -> None:
    path, made = source(folder), folder / "out" / "made.safetensors"
    made.write_bytes(b"what was there before")
    checked = check_in(path, made, UPLOAD)
    assert os.listdir(made.parent) == ["made.safetensors"]
    assert checked.sha256 == hashlib.sha256(made.read_bytes()).hexdigest()
    assert checked.source_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checked.bytes == made.stat().st_size
    assert checked.card == read_card(made)
    assert checked.card.source_sha256 == checked.source_sha256
    assert checked.smoke["passed"] is True
    assert any("read from the tensors: resnet3d" in each for each in checked.assumed)
    clips = torch.rand(2, 3, 4, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(load(made)(clips), tiny("A")(normalised(clips)), rtol=1e-4, atol=1e-5)


def test_what_is_missing_is_asked_for(folder: Path) -> None:
    with pytest.raises(InvalidSpec) as caught:
        check_in(source(folder), folder / "out" / "made", ModelUpload())
    assert [each["pointer"] for each in caught.value.errors] == [
        "/classes",
        "/geometry/mean",
        "/geometry/std",
    ]
    assert nothing_written(folder)


def test_a_malicious_file_is_refused_and_its_code_does_not_run(folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {folder / 'marker'}",)

    with pytest.raises(BadCheckpoint, match=r"asks for 'posix\.system'.*nothing of it was run"):
        check_in(source(folder, pickled({"state_dict": Evil()})), folder / "out" / "made", UPLOAD)
    assert not (folder / "marker").exists()
    assert nothing_written(folder)


def test_files_that_need_no_child(folder: Path) -> None:
    made = folder / "out" / "made"
    with pytest.raises(BadCheckpoint, match="empty"):
        check_in(source(folder, b""), made, UPLOAD)
    with pytest.raises(UploadTooLarge, match="without the optimiser's state"):
        check_in(source(folder), made, UPLOAD, CheckInLimits(max_bytes=1000))
    with pytest.raises(BadCheckpoint, match="is not a file"):
        check_in(folder, made, UPLOAD)
    os.mkfifo(folder / "pipe")
    with pytest.raises(BadCheckpoint, match="is not a file"):
        check_in(folder / "pipe", made, UPLOAD)
    assert nothing_written(folder)


def test_too_little_memory_is_said(folder: Path) -> None:
    large = {"frames": 64, "short_side": 512, "height": 512, "width": 512}
    upload = ModelUpload.parse(SAID | {"geometry": GEOMETRY | large})
    with pytest.raises(BadCheckpoint, match=r"needs more than the 1200 MiB of memory allowed"):
        check_in(source(folder), folder / "out" / "made", upload, CheckInLimits(memory_bytes=1200 * 2**20))
    assert nothing_written(folder)


def test_a_child_that_takes_too_long_is_given_up(folder: Path) -> None:
    started, before = time.monotonic(), set(psutil.Process().children())
    with pytest.raises(BadCheckpoint, match="the reader gave no sign for"):
        check_in(source(folder), folder / "out" / "made", UPLOAD, CheckInLimits(wall_seconds=0.3))
    assert time.monotonic() - started < 5
    assert nothing_written(folder)
    assert set(psutil.Process().children()) <= before


def test_a_child_that_is_killed_says_something_of_its_file(folder: Path) -> None:
    code = f"""
        import sys, threading, time
        from pathlib import Path
        import psutil
        from models.check_in import check_in
        from multav.errors import BadCheckpoint
        from multav.model_upload import ModelUpload

        def kill():
            while not (found := psutil.Process().children()):
                time.sleep(0.01)
            found[0].send_signal({int(signal.SIGSEGV)})

        threading.Thread(target=kill).start()
        try:
            check_in(Path({str(source(folder))!r}), Path({str(folder / "out" / "made")!r}), ModelUpload())
        except BadCheckpoint as refused:
            print(refused.detail)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "the reader crashed (SIGSEGV)" in ran.stdout
    assert nothing_written(folder)


def test_the_child_is_confined(folder: Path) -> None:
    """It has no environment, no network where the kernel allows, few libraries, and bounded memory."""
    code = f"""
        import threading, time, json
        from pathlib import Path
        import os, psutil
        from models.check_in import check_in
        from multav.model_upload import ModelUpload
        seen = {{}}

        def look():
            while not (found := psutil.Process().children()):
                time.sleep(0.001)
            child = found[0]
            while not child.memory_maps() or not any("torch" in each.path for each in child.memory_maps()):
                time.sleep(0.01)
            seen["environment"] = sorted(child.environ())
            seen["memory"] = child.rlimit(psutil.RLIMIT_AS)[0]
            seen["network"] = os.readlink(f"/proc/{{child.pid}}/ns/net") != os.readlink("/proc/self/ns/net")
            seen["files"] = [each.path for each in child.open_files() if {str(folder)!r} in each.path]

        thread = threading.Thread(target=look)
        thread.start()
        check_in(Path({str(source(folder))!r}), Path({str(folder / "out" / "made")!r}), ModelUpload.parse({SAID!r}))
        thread.join()
        print(json.dumps(seen))
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | {"MULTAV_SECRET": "x"},
    )
    seen = json.loads(ran.stdout)
    assert not any(name.startswith(("MULTAV", "HOME", "PATH", "PYTHON")) for name in seen["environment"])
    assert 3 * 2**30 < seen["memory"] < 3.1 * 2**30
    assert len(seen["files"]) == 2
    if namespaces():
        assert seen["network"]


def namespaces() -> bool:
    code = "import ctypes, sys; unshare = ctypes.CDLL(None).unshare; sys.exit(unshare(1 << 30) and unshare(5 << 28))"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
