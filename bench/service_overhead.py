"""What the service adds to the engine: HTTP-to-HTTP time of a job minus the engine's own time.

    python bench/service_overhead.py [--repeats 7] [--video FILE]

Starts the embedded service on a free port, posts the same video several times with `Prefer: wait`, and
compares the time from the first byte sent to the answer with `result.seconds`, which is what the engine
measured of itself (decoding, attack, encoding, verification). The first jobs warm up and are not counted.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import httpx
import numpy as np

WARM_UP = 2


def main() -> None:
    """Print one line per job and the median overhead."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument(
        "--video", type=Path, default=None, help="a file to post (default: 32 frames of 320x240)"
    )
    options.add_argument("--port", type=int, default=8765)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="multav-bench-") as folder:
        video = arguments.video or small_video(Path(folder) / "small.mp4")
        service = subprocess.Popen(
            [sys.executable, "-m", "service", "--port", str(arguments.port), "--data-dir", f"{folder}/data"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            measure(f"http://127.0.0.1:{arguments.port}", video, arguments.repeats)
        finally:
            service.terminate()
            service.wait(30)


def measure(address: str, video: Path, repeats: int) -> None:
    """Post `video` again and again and print the difference of both clocks."""
    overheads = []
    with httpx.Client(base_url=address, timeout=600) as client:
        wait_until_ready(client)
        print(f"{'job':>4} {'HTTP to HTTP':>13} {'engine':>8} {'overhead':>9}   (seconds)")
        for index in range(WARM_UP + repeats):
            # Another seed each time, so that nothing can be answered from an earlier job.
            spec = json.dumps({"seed": index, "output": "h264-mp4"})
            started = time.monotonic()
            answer = client.post(
                "/v1/attacks",
                files={"video": (video.name, video.read_bytes())},
                data={"spec": spec},
                headers={"Prefer": "wait=600"},
            )
            passed = time.monotonic() - started
            job = answer.raise_for_status().json()
            if job["state"] != "succeeded":
                raise SystemExit(f"the job {job['state']}: {job['problem']}")
            engine = job["result"]["seconds"]
            counted = index >= WARM_UP
            if counted:
                overheads.append(passed - engine)
            print(
                f"{index:>4} {passed:>13.3f} {engine:>8.3f} {passed - engine:>9.3f}{'' if counted else '   warm-up'}"
            )
    print(
        f"overhead: median {statistics.median(overheads) * 1000:.0f} ms, largest {max(overheads) * 1000:.0f} ms"
    )


def wait_until_ready(client: httpx.Client) -> None:
    """Return when the service says that it is ready."""
    for _ in range(600):
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("the service did not become ready within a minute")


def small_video(path: Path) -> Path:
    """32 frames of 320x240 moving noise as ordinary H.264."""
    generator = np.random.default_rng(0)
    canvas = generator.integers(0, 256, (30, 60, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index in range(32):
            view = np.ascontiguousarray(canvas[100:340, 4 * index : 4 * index + 320])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
