"""Children die with their parent, see nothing of its environment, and cannot outrun their bounds."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from multav.errors import UndecodableVideo
from multav.sandbox import wire
from multav.sandbox.child import Child, ChildFailed
from multav.video.decode import decode
from multav.video.limits import Limits


def confined(body, *, limits="cpu_seconds=60, memory_bytes=2**30, file_bytes=0", **popen):
    """A python process that confines itself and then runs `body`; and the write end of its lifeline."""
    theirs, ours = os.pipe()
    code = textwrap.dedent(
        f"""
        import os, sys, time, socket
        from multav.sandbox.confinement import Bounds, confine
        confine(Bounds({limits}), lifeline={theirs})
        print("ready", flush=True)
        {textwrap.dedent(body)}
        """
    )
    code = "\n".join(line.strip() if index < 6 else line for index, line in enumerate(code.splitlines()))
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=[theirs],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **popen,
    )
    os.close(theirs)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.stderr.read() if process.stderr else ""
    return process, ours


def outcome(process, lifeline):
    out, err = process.communicate(timeout=30)
    os.close(lifeline)
    return process.returncode, out, err


def gone(pid, seconds=5.0):
    """Whether process `pid` ends (or is a zombie that somebody else reaps) within `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_a_confined_process_dies_when_its_lifeline_is_cut():
    process, lifeline = confined("while True: pass")
    os.close(lifeline)
    assert process.wait(timeout=5) == -signal.SIGIO
    process.communicate()


def test_memory_is_bounded():
    code, _, err = outcome(*confined("bytearray(2**30)"))
    assert code == 1
    assert "MemoryError" in err


def test_processor_time_is_bounded():
    process = confined("while True: pass", limits="cpu_seconds=1, memory_bytes=2**30, file_bytes=0")
    assert outcome(*process)[0] == -signal.SIGXCPU


def test_no_file_can_be_written(tmp_path):
    code, _, err = outcome(*confined(f"open({str(tmp_path / 'x')!r}, 'wb', buffering=0).write(b'x')"))
    assert code == 1
    assert "File too large" in err


def namespaces_are_permitted():
    code = "import ctypes, sys; unshare = ctypes.CDLL(None).unshare; sys.exit(unshare(1 << 30) and unshare(5 << 28))"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_network():
    if not namespaces_are_permitted():
        pytest.skip("the kernel gives this user no network namespace")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code, _, err = outcome(*confined(f"socket.create_connection({server.getsockname()!r}, timeout=3)"))
        assert code == 1
        assert "unreachable" in err
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()


def test_the_decoder_sees_an_empty_environment_and_its_own_session(long_clip, monkeypatch, sandboxed_child):
    monkeypatch.setenv("MULTAV_SECRET", "do not pass on")
    with decode(long_clip) as frames:
        next(iter(frames))
        child = sandboxed_child()
        assert not any(name.startswith(("MULTAV", "PATH", "HOME", "PYTHON")) for name in child.environ())
        assert os.getsid(child.pid) == child.pid
        assert child.cwd() == "/"
        limits = {kind: child.rlimit(kind)[0] for kind in (psutil.RLIMIT_CORE, psutil.RLIMIT_FSIZE)}
        assert set(limits.values()) == {0}
        assert child.rlimit(psutil.RLIMIT_AS)[0] == Limits().memory_bytes
        opened = {os.path.basename(each.path) for each in child.open_files()}
        assert opened == {"long.mp4"}


def test_the_decoder_loads_neither_torch_nor_numpy_nor_pydantic(long_clip, sandboxed_child):
    with decode(long_clip) as frames:
        next(iter(frames))
        child = sandboxed_child()
        mapped = " ".join(each.path for each in child.memory_maps())
    assert "libav" in mapped
    for heavy in ("torch", "numpy", "pydantic"):
        assert f"/{heavy}" not in mapped


@pytest.mark.parametrize("busy", [True, False], ids=["decoding", "waiting"])
def test_the_decoder_dies_with_its_parent(long_clip, busy):
    code = textwrap.dedent(
        f"""
        import psutil, sys, time
        from multav.video.decode import decode
        with decode({str(long_clip)!r}) as frames:
            for index, _ in enumerate(frames):
                if index == 2:
                    print(psutil.Process().children()[0].pid, flush=True)
                if index >= 2 and not {busy}:
                    time.sleep(60)
            time.sleep(60)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert psutil.pid_exists(child)
    parent.kill()
    parent.communicate()
    assert gone(child)


def test_the_encoder_dies_with_its_parent(tmp_path):
    code = textwrap.dedent(
        f"""
        import numpy, psutil, time
        from multav.video.encode import encode
        shape = {{"width": 64, "height": 48, "time_base": "1/25", "frame_rate": 25}}
        with encode({str(tmp_path / "out.mp4")!r}, "h264-mp4", **shape) as writer:
            for index in range(5):
                writer.write(numpy.zeros((48, 64, 3), "uint8"), index)
            print(psutil.Process().children()[0].pid, flush=True)
            time.sleep(60)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    assert gone(child)
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.usefixtures("nothing_left")
def test_a_child_that_lies_is_refused(clip, monkeypatch):
    """A decoder that a file took over may send anything; the parent takes only what it asked for."""
    lies = [
        wire.words(wire.INFO, {"info": {}, "width": 10**6, "height": 10**6, "turns": 0, "mirrored": False}),
        wire.words(wire.INFO, {"width": "x"}),
        wire.HEADER.pack(wire.INFO, 0, 2**31),
        wire.HEADER.pack(wire.INFO, 0, 3) + b"[1]",
        wire.HEADER.pack(wire.INFO, 0, 3) + b"{{{",
        b"?" * 64,
        b"",
    ]
    for lie in lies:
        monkeypatch.setattr("multav.sandbox.child._BOOT", f"import os; os.write(1, {lie!r})")
        with pytest.raises(UndecodableVideo), decode(clip):
            pass


@pytest.mark.usefixtures("nothing_left")
def test_a_child_that_cannot_start_is_noticed():
    with (
        Child("multav.video.no_such_module", {}, limits=Limits(), file_bytes=0, files=[]) as child,
        pytest.raises(ChildFailed, match="exit status 1"),
    ):
        child.read_header()


def test_messages_are_framed():
    message = wire.words(wire.INFO, {"a": 1})
    kind, pts, length = wire.HEADER.unpack(message[: wire.HEADER.size])
    assert (kind, pts, json.loads(message[wire.HEADER.size :])) == (wire.INFO, 0, {"a": 1})
    assert length == len(message) - wire.HEADER.size
