"""The page: safe whatever the names are, and whole in one file."""

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from multav.audits.request import AuditRequest
from multav.reports.curve_chart import curve_chart
from multav.reports.distribution_chart import distribution_chart
from multav.reports.example_clip import ExampleClip, data_uri
from multav.reports.heat_map import heat_map
from multav.reports.manifest import Manifest
from multav.reports.page import page
from multav.reports.summarise import summarise
from multav.reports.svg import standing_alone
from tests.multav.reports.conftest import MODELS, Reported
from tests.multav.reports.made_audit import made_audit

MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(20)
VOID = {"meta", "img", "br", "link", "input", "wbr", "rect", "line", "circle", "path"}


class Seen(HTMLParser):
    """Tags, attributes and text of a page; tells where a tag is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def html(reported: Reported) -> str:
    """The page of the made audit, with an example."""
    clip = ExampleClip(
        "v <b>.avi", "<script>", "a, 93 %", "b, 88 %", MP4, MP4, b"\x89PNG\r\n\x1a\n" + bytes(8)
    )
    return page(reported.summary, title="Audit of <made> & co", examples={MODELS[0]: [clip]})


def test_nothing_of_a_name_becomes_markup(html: str, reported: Reported) -> None:
    seen = Seen(html)
    tags = {tag for tag, _ in seen.tags}
    assert not tags & {"script", "iframe", "object", "embed", "link", "form", "base", "i", "x"}
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    assert seen.open == []
    words = "".join(seen.words)
    for name in (
        *reported.audit.classes,
        *MODELS,
        "Not robust to <i>x</i>.",
        "Any <b>zeros</b>?",
        "v <b>.avi",
    ):
        assert name in words or f"{name[:23]}…" in words


def test_nothing_is_loaded(html: str) -> None:
    seen = Seen(html)
    policy = next(a["content"] for t, a in seen.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:")
    for _, attributes in seen.tags:
        for name in ("src", "href", "data", "poster", "srcset"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    addresses = set(re.findall(r"https?://[^\"'\s<]+", html))
    assert addresses == {"http://www.w3.org/2000/svg"}


def test_every_link_of_the_page_leads_somewhere(html: str) -> None:
    seen = Seen(html)
    ids = [attributes["id"] for _, attributes in seen.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    targets = {
        (a.get("href") or "")[1:] for t, a in seen.tags if t == "a" and (a.get("href") or "").startswith("#")
    }
    assert targets <= set(ids)
    assert {
        "accuracy",
        "curves",
        "comparisons",
        "transfer",
        "smallest",
        "examples",
        "problems",
        "manifest",
    } <= targets


def test_the_verdict_comes_first(html: str) -> None:
    words = "".join(Seen(html[html.index("<body>") : html.index("</html>")]).words)
    order = [
        "Not robust to",
        "1 passed, 1 failed, 1 open",
        "Before you believe",
        "Accuracy, clean",
        "Run it again",
    ]
    places = [words.index(each) for each in order]
    assert places == sorted(places)


def test_numbers_stand_with_their_counts(html: str, reported: Reported) -> None:
    words = " ".join("".join(Seen(html).words).split())
    for model in reported.summary.models:
        for rate in [
            model.clean,
            *(cell.robust for cell in model.cells),
            *(each.robust for each in model.worst),
        ]:
            assert f"{rate.count} of {rate.of}" in words
            assert f"[{100 * (rate.low or 0):.1f} to {100 * (rate.high or 0):.1f}]" in words
    assert words.count(" *") >= sum(each.significant for each in reported.summary.comparisons)
    assert "v_0238.avi" in words
    assert "the video has no frames" in words


def test_the_manifest_can_be_taken_along(html: str, reported: Reported) -> None:
    link = next(a for t, a in Seen(html).tags if t == "a" and "download" in a)
    kind, _, content = (link["href"] or "").partition(",")
    assert kind == "data:application/json;base64"
    assert Manifest.model_validate(json.loads(base64.b64decode(content))) == reported.summary.manifest


def test_examples_are_in_the_page(html: str) -> None:
    videos = [attributes for tag, attributes in Seen(html).tags if tag == "video"]
    assert len(videos) == 2
    for each in videos:
        assert {"controls", "loop", "muted"} <= set(each)
        assert base64.b64decode((each["src"] or "").partition(",")[2]) == MP4


def test_examples_are_what_their_bytes_are(tmp_path: Path) -> None:
    assert data_uri(None) is None
    file = tmp_path / "named.html"
    file.write_bytes(MP4)
    found = data_uri(file)
    assert found is not None
    assert found[0] == "video/mp4"
    with pytest.raises(ValueError, match="neither"):
        data_uri(b"<html><script>")


def test_pictures_are_xml_with_words(reported: Reported) -> None:
    models = reported.summary.models
    pictures = [
        curve_chart([(each.name, each.curves[0]) for each in models]),
        distribution_chart([(each.name, each.minimum_epsilons[0]) for each in models]),
        heat_map(["<r&>"], ['c"'], [[(1, 2)]], title="t<", description="d&"),
        heat_map([], [], [], title="none", description="none"),
    ]
    space = "{http://www.w3.org/2000/svg}"
    for each in pictures:
        root = ElementTree.fromstring(standing_alone(each))
        assert root.find(f"{space}title") is not None
        assert root.find(f"{space}desc") is not None
        assert "NaN" not in each
        assert "script" not in {element.tag.removeprefix(space) for element in root.iter()}


def test_marks_of_a_curve_lie_where_its_numbers_are(reported: Reported) -> None:
    each = reported.summary.models[0].curves[0]
    root = ElementTree.fromstring(curve_chart([("net", each)]))
    circles = list(root.iter("{http://www.w3.org/2000/svg}circle"))
    heights = [float(circle.attrib["cy"]) for circle in circles]
    shares = [point.accuracy.value or 0 for point in each.curve.points]
    # The plot is 178 high, from 58 down to 236.
    assert heights == pytest.approx([236 - 178 * share for share in shares], abs=0.06)


def test_an_audit_without_anything_still_has_a_page() -> None:
    request = AuditRequest.parse({"models": ["net"], "epsilons": {"multav-linf": [1.02, 1.04]}})
    audit = made_audit(request, classes=3, clips=4, groups=4)
    nothing = page(summarise(request, classes=audit.classes, videos=audit.videos, outcomes=[]))
    assert "No video has an outcome yet" in nothing
    assert Seen(nothing).open == []
    few = page(summarise(request, classes=audit.classes, videos=audit.videos, outcomes=audit.outcomes))
    assert Seen(few).open == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_shows_it_without_a_scroll_bar_below(html: str, tmp_path: Path) -> None:
    """At a phone's width the page is no wider than its window."""
    probe = (
        "<script>parent.postMessage(document.documentElement.scrollWidth + '/' + innerWidth, '*')</script>"
    )
    inner = html.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    (tmp_path / "inner.html").write_text(inner.replace("</body>", f"{probe}</body>"), encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(
        '<iframe src="inner.html" style="width:390px;height:800px;border:0"></iframe><pre id="o"></pre>'
        "<script>onmessage = e => document.getElementById('o').textContent = 'width ' + e.data</script>",
        encoding="utf-8",
    )
    command = [
        "chromium",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path}/profile",
    ]
    command += ["--allow-file-access-from-files", "--virtual-time-budget=4000", "--dump-dom", frame.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    found = re.search(r"width (\d+)/(\d+)", shown)
    if found is None:
        pytest.skip("the browser does not start here")
    assert int(found[1]) <= int(found[2]) == 390
