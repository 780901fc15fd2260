"""The demo runs from start to end, and its words, numbers and page agree."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from saccade.bundle import Bundle
from saccade_demo.page import MOST_FRAMES, PLACEHOLDER, TEMPLATE, Album, write_page
from saccade_demo.standing_questions import STANDING, judge
from saccade_demo.tally import Tally
from saccade_testing.commands import marked, run


def demo(out: Path, *words: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """What it printed, its summary.json, and the data in its page."""
    mark = uuid.uuid4().hex
    done = run("demo", "--out", str(out), *words, timeout_s=100, mark=mark)
    assert (done.returncode, done.stderr) == (0, "")
    assert marked(mark) == []
    page = (out / "demo.html").read_text()
    found = re.search(r"^const DATA = (.*);$", page, re.MULTILINE)
    assert found
    return done.stdout, json.loads((out / "summary.json").read_text()), json.loads(found[1])


@pytest.fixture(scope="module")
def shown(
    bundle: Bundle, clip: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    out = tmp_path_factory.mktemp("demo")
    return demo(out, "--bundle", str(bundle.folder), "--source", str(clip), "--fps", "2")


def test_its_summary_adds_up(
    shown: tuple[str, dict[str, Any], dict[str, Any]], bundle: Bundle
) -> None:
    text, summary, _ = shown
    judged = sum(score["judged"] for score in summary["by_kind"].values())
    right = sum(score["right"] for score in summary["by_kind"].values())
    assert summary["score"] == {"right": right, "judged": judged}
    said = f"{summary['answers']} answers"
    if summary["not_in_frame"]:
        said += f", {summary['not_in_frame']} about what a frame does not show"
    assert f"{said}; {right} of {judged} answers right" in text
    assert f"trained for {bundle.manifest.domain}\n" in text
    assert summary["frames"] == 48
    assert summary["refused"] == summary["not_in_frame"]
    asked = summary["answers"] + summary["not_in_frame"]
    assert asked == summary["sent"] * len(summary["questions"])
    assert len(re.findall(r"^frame +\d+ ", text, re.MULTILINE)) == summary["sent"]
    assert set(summary["by_kind"]) >= {"class", "colour", "heading", "count_kind", "light", "exist"}


def test_it_sends_less_than_the_pictures_that_it_is_shown_beside(
    shown: tuple[str, dict[str, Any], dict[str, Any]],
) -> None:
    _, summary, _ = shown
    pictures = summary["pictures_bytes"]
    assert set(pictures) == {"jpeg", "webp", "avif", "frame_jpeg", "frame_raw"}
    assert 0 < summary["packet_bytes"] < min(pictures.values())
    assert pictures["frame_raw"] == 640 * 384 * 3


def test_its_page_shows_what_was_kept(
    shown: tuple[str, dict[str, Any], dict[str, Any]],
) -> None:
    _, summary, page = shown
    assert 1 <= len(page["frames"]) <= MOST_FRAMES
    assert page["totals"]["score"] == summary["score"]
    assert page["domain"] == summary["domain"]
    for frame in page["frames"]:
        assert sum(len(view["ids"]) for view in frame["views"]) == frame["tokens"]
        assert frame["views"][0]["window"] == [0, 0, 640, 384]
        assert [asked[0] for asked in frame["asked"]] == summary["questions"]


def test_the_page_needs_nothing_but_itself() -> None:
    text = TEMPLATE.read_text()
    assert text.count(PLACEHOLDER) == 1
    assert not re.search(r"""(src|href)=["']""", text)
    assert set(re.findall(r"https?://[^\s\"']+", text)) == {"http://www.w3.org/2000/svg"}


def test_it_takes_a_clip_and_a_question_of_ones_own(
    bundle: Bundle, picture: Path, tmp_path: Path
) -> None:
    question = "What is Vehicle 1?"
    words = ("--bundle", str(bundle.folder), "--source", str(picture), "--ask", question)
    _, summary, page = demo(tmp_path, *words)
    assert (summary["frames"], summary["answers"]) == (1, 1)
    (asked,) = page["frames"][0]["asked"]
    assert (asked[0], asked[2]) == (question, None)


def test_without_a_truth_it_shows_bytes_and_claims_no_ratio(
    bundle: Bundle, picture: Path, tmp_path: Path
) -> None:
    words = ("--bundle", str(bundle.folder), "--source", str(picture))
    text, summary, page = demo(tmp_path, *words)
    assert "nobody knows what is right in this source" in text
    assert summary["score"] is None
    assert page["totals"]["score"] is None
    for claim in ("times ours", "answers right", "%"):
        assert claim not in text
    assert f"{summary['packet_bytes']:,.0f}" in text
    assert "the same views as JPEG" in text


def test_what_the_page_says_cannot_end_its_script(tmp_path: Path) -> None:
    nothing = Tally().totals(0)
    write_page(tmp_path / "demo.html", Album(), nothing, "</script>.mp4", "</script> & more")
    page = (tmp_path / "demo.html").read_text()
    assert page.count("</script>") == TEMPLATE.read_text().count("</script>")


def test_the_demos_own_questions_are_known_however_they_are_written() -> None:
    for each in STANDING:
        written = each.text.upper().replace(" ?", "?").replace(" .", "  .")
        assert judge(written, None).kind == each.kind


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--source", "/nowhere.mp4"), "no such file or folder: /nowhere.mp4"),
        (("--source", "rtsp://a:b@nowhere/1"), "shows recordings, rtsp://nowhere/1 is none"),
        (("--bundle", "/nowhere"), "no bundle at /nowhere"),
        (("--tokens", "65"), "the edge: 65 tokens per view: the bundle allows 1 to 64"),
    ],
)
def test_what_it_cannot_show_is_one_line(
    words: tuple[str, str], says: str, bundle: Bundle, clip: Path, tmp_path: Path
) -> None:
    usual = {"--bundle": str(bundle.folder), "--source": str(clip), "--out": str(tmp_path)}
    chosen = usual | dict([words])
    done = run("demo", *(word for pair in chosen.items() for word in pair))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
