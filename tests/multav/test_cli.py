"""The `multav` command: what it sends, what it prints, how it refuses; the service is a few lines here."""

import argparse
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from multav import cli
from multav.attack_request import AttackRequest
from multav.cli_options import parser
from multav.client import service_url
from multav.job_display import show_result
from multav.terminal import terminal

LONG = "the first half of a refusal that is longer than eighty columns [0, 1], and its second half with a [b] in it"


class _Answers(BaseHTTPRequestHandler):
    """Answers every POST with a refusal and the lists with one entry; keeps what it was sent."""

    def do_GET(self) -> None:
        kind = {
            "kind": "a",
            "meaning": "m",
            "equation": "x^{t+1} = Clip( " + "x * s " * 30 + ":x: )",
            "source": "s",
            "defaults": {},
        }
        self._answer(200, {"items": [kind]})

    def do_POST(self) -> None:
        self.server.sent = self.rfile.read(int(self.headers["Content-Length"]))  # type: ignore[attr-defined]
        self._answer(422, {"detail": LONG})

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), _Answers) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def address(server: HTTPServer) -> str:
    """Without a scheme, as people type it."""
    return f"127.0.0.1:{server.server_port}"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"film")
    return path


def sent_spec(server: HTTPServer) -> Any:
    """The `spec` part of what was posted."""
    part = server.sent.split(b'name="spec"')[1]  # type: ignore[attr-defined]
    return json.loads(part.split(b"\r\n\r\n", 1)[1].split(b"\r\n--")[0])


@pytest.mark.parametrize(
    ("given", "sent"), [("0", 0), ("07", 7), ("pan left", "pan left"), ("-1", "-1"), ("²", "²")]
)
def test_a_label_of_digits_is_an_index(
    server: HTTPServer, address: str, video: Path, given: str, sent: object
) -> None:
    assert cli.main(["attack", str(video), f"--label={given}", "--server", address]) == 1
    assert sent_spec(server) == {"label": sent}


def test_a_deep_output_reaches_the_request(server: HTTPServer, address: str, video: Path) -> None:
    options = ["--output", "ffv1-mkv", "--bits", "16", "--server", address]
    assert cli.main(["attack", str(video), *options]) == 1
    assert sent_spec(server) == {"output": "ffv1-mkv", "bits": 16}
    AttackRequest.parse(sent_spec(server))


def test_every_option_reaches_the_request(server: HTTPServer, address: str, video: Path) -> None:
    options = (
        "--kind pgd-linf --epsilon .1 --step-size .01 --steps 3 --random-start --targeted --label 2 --model m"
    )
    options += (
        " --domain source --coverage clip --output h264-mp4 --crf 9 --seed 4 --precision float32 --tensor"
        " --channel codec --channel-crf 18,28 --bits 8 --features layer1,layer4"
        " --set momentum=0.5 --set loss=dlr"
    )
    assert cli.main(["--server", address, "attack", str(video), *options.split()]) == 1
    spec = sent_spec(server)
    assert spec["attack"] == {
        "kind": "pgd-linf",
        "epsilon": 0.1,
        "step_size": 0.01,
        "steps": 3,
        "random_start": True,
        "targeted": True,
        "momentum": 0.5,
        "loss": "dlr",
    }
    assert spec["precision"] == "float32"
    assert spec["tensor"] is True
    assert spec["features"] == ["layer1", "layer4"]
    AttackRequest.parse(spec)
    # A field that is added to the request needs an option too (a checksum is nothing to type).
    assert set(spec) == set(AttackRequest.model_fields) - {"model_sha256"}


@pytest.mark.parametrize("given", ["steps", "=3", ""])
def test_a_setting_is_a_name_and_a_value(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["attack", "clip.mp4", "--set", given])
    assert "NAME=VALUE" in capsys.readouterr().err


def test_what_is_piped_is_whole(address: str, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--server", address, "kinds"])
    assert f"x^{{t+1}} = Clip( {'x * s ' * 30}:x: )" in capsys.readouterr().out.splitlines()[1]
    assert cli.main(["--server", address, "attack", str(video)]) == 1
    assert capsys.readouterr().err == f"refused: {LONG}\n"


def test_every_option_explains_itself() -> None:
    whole = parser()
    (commands,) = (each for each in whole._actions if isinstance(each, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        assert command.description, name
        for action in command._actions:
            assert action.help, (name, action.dest)
            if action.option_strings and action.dest not in ("help", "epsilon", "step_size"):
                assert "default" in action.help, (name, action.dest)
        command.format_help()  # a stray % would raise


def every_parser(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from every_parser(command)


def test_every_help_says_what_exit_codes_mean() -> None:
    parsers = list(every_parser(parser()))
    assert len(parsers) > 15
    for each in parsers:
        said = " ".join(each.format_help().split())
        assert "exit codes: 0 " in said, each.prog
        assert "130 broken off (Ctrl-C)" in said, each.prog


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("multav 0.")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("localhost:8000", "http://localhost:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("https://host/multav", "https://host/multav"),
    ],
)
def test_an_address_without_a_scheme_is_http(given: str, url: str) -> None:
    assert service_url(given) == url


@pytest.mark.parametrize(
    "given", ["", "http:/host", "http://", "ftp://host", "host:80x", "host:99999", "a b"]
)
def test_a_malformed_address_is_refused_as_one(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--server", given, "kinds"])
    assert end.value.code == 2
    assert repr(given) in capsys.readouterr().err.splitlines()[-1]


def test_paths_are_checked_before_anything_is_sent(
    tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, words in (
        ([str(tmp_path)], "is a folder"),
        ([str(tmp_path / "no[/]pe.mp4")], "no[/]pe.mp4"),
        ([str(video), "--to", str(video)], "is a file"),
    ):
        assert cli.main(["attack", *arguments, "--server", "127.0.0.1:9"]) == 2
        refusal = capsys.readouterr().err
        assert words in refusal
        assert refusal.count("\n") == 1


@pytest.mark.parametrize(
    ("lossless", "respected", "words"),
    [
        (True, True, "bound respected, measured on the file, which is lossless"),
        (False, True, "bound respected, measured on the file, although"),
        (False, False, "exceeded on some pixels, measured on the file: lossy compression adds"),
    ],
)
def test_the_summary_tells_the_crafted_frames_from_the_file(
    lossless: bool, respected: bool, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = {"label": "pan [left]", "confidence": 0.5}
    result = {
        **dict.fromkeys(("clean", "adversarial", "delivered"), said),
        "success": True,
        "success_delivered": True,
        "perturbation": {
            "bound_respected": True,
            "linf": 10 / 255,
            "ratio_max": 1.04,
            "psnr_db": 40.0,
            "ssim": 1.0,
        },
        "delivery": {
            "lossless": lossless,
            "bound_respected": respected,
            "codec": "h264",
            "bytes": 1,
            "tried": [],
            "audio": {"copied": False, "reason": None},
        },
    }
    show_result(result, terminal())
    rows = capsys.readouterr().out.splitlines()
    assert any(
        row.startswith("bound, crafted frames") and "bound respected on every pixel" in row for row in rows
    )
    assert any(row.startswith("bound, delivered file") and words in row for row in rows)
    assert "pan [left] (50%)" in rows[0]
