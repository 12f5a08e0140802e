"""POST a video, get its adversarial version: the whole path through every real part."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from multav.video.decode import decode
from multav.video.limits import Limits

pytestmark = pytest.mark.xdist_group("end_to_end")


def pictures(path: Path) -> np.ndarray:
    """(T, H, W, 3) uint8: every frame of the file."""
    with decode(path, Limits()) as frames:
        return np.stack([frame.rgb for frame in frames])


def test_a_posted_video_comes_back_adversarial_within_its_bound(
    stack: Any, video: Path, tmp_path: Path
) -> None:
    job = stack.finished(stack.post(video))
    stack.assert_delivered_once(job, attempt=1)
    result = job["result"]
    assert result["success_delivered"]
    assert result["delivered"]["label"] != result["clean"]["label"]
    assert result["perturbation"]["bound_respected"]
    assert result["delivery"]["lossless"]
    assert result["delivery"]["bound_respected"]
    made = {artifact["role"]: artifact for artifact in stack.client.artifacts(job["id"])}
    delivered = tmp_path / "delivered.mkv"
    stack.client.download(made["adversarial-video"]["id"], delivered)
    clean, adversarial = pictures(video).astype(float), pictures(delivered).astype(float)
    assert adversarial.shape == clean.shape
    assert (adversarial != clean).any()
    # The ratio bound, on every value of every stored pixel.
    assert (adversarial <= clean * 1.3 + 1e-6).all()
    assert (adversarial >= clean / 1.3 - 1e-6).all()

    # What the service said of the file it delivered, it says again of the file that was downloaded.
    again = stack.finished(stack.post(delivered, steps=1))["result"]["clean"]
    assert again["label"] == result["delivered"]["label"]
    assert again["confidence"] == pytest.approx(result["delivered"]["confidence"], abs=1e-4)


def test_the_video_itself_is_the_answer_when_asked_for(stack: Any, video: Path) -> None:
    with video.open("rb") as file:
        answer = httpx.post(
            f"{stack.address}/v1/attacks",
            files={"video": ("plane.mp4", file)},
            data={"spec": '{"attack": {"kind": "pgd-linf", "steps": 1}, "output": "ffv1-mkv"}'},
            headers={"Prefer": "wait=60", "Accept": "video/*"},
            timeout=90,
        )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "video/x-matroska"
    assert answer.content[:4] == b"\x1aE\xdf\xa3"


def test_bad_input_is_refused_and_the_service_goes_on(stack: Any, video: Path) -> None:
    whole = video.read_bytes()
    bad = {
        "text.mp4": b"this is no video\n" * 100,
        "playlist.mp4": b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
        "concat.mp4": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "cut.mp4": whole[: len(whole) // 3],
        "empty.mp4": b"",
    }
    for name, content in bad.items():
        answer = httpx.post(f"{stack.address}/v1/attacks", files={"video": (name, content)}, timeout=30)
        assert 400 <= answer.status_code < 500, (name, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert b"root:" not in answer.content
    for spec in ('{"attack": {"kind": "multav-linf", "epsilon": 0}}', '{"model": "nobody"}', '{"what": 1}'):
        answer = httpx.post(
            f"{stack.address}/v1/attacks",
            files={"video": ("plane.mp4", whole)},
            data={"spec": spec},
            timeout=30,
        )
        assert answer.status_code == 422, (spec, answer.text)
        assert answer.json()["errors"][0]["pointer"].startswith("/")
    stack.assert_delivered_once(stack.finished(stack.post(video, steps=1)), attempt=1)


def test_a_video_that_breaks_behind_the_door_fails_its_job_and_no_other(
    stack: Any, video: Path, tmp_path: Path
) -> None:
    # The header and the first pictures are right, the rest of the pictures is noise.
    content = bytearray(video.read_bytes())
    start = content.find(b"mdat") + 4 + 2000
    content[start : start + 20_000] = np.random.default_rng(0).bytes(min(20_000, len(content) - start))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(bytes(content))
    answer = httpx.post(
        f"{stack.address}/v1/attacks", files={"video": ("broken.mp4", broken.read_bytes())}, timeout=30
    )
    assert answer.status_code in (202, 422), answer.text
    if answer.status_code == 202:
        job = stack.finished(answer.json()["id"])
        assert job["state"] in ("failed", "succeeded")
        if job["state"] == "failed":
            assert job["problem"]["status"] == 422
            assert job["problem"]["detail"]
    stack.assert_delivered_once(stack.finished(stack.post(video, steps=1)), attempt=1)
