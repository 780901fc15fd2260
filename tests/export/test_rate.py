"""What the rate benchmark's figures are made of: curves, ratios, pictures as messages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from bench.pixels import codecs, cut, decode, mosaic
from bench.rate.arms import all_arms
from bench.rate.curve import Family, bytes_for, interval
from bench.rate.report import OURS, families, summary
from bench.rate.results import Result, read, scores

from saccade.bundle import Bundle
from saccade_drawn_world.crossing.render import render

FRAMES = 200


def results(arm: str, size: int, right: int, *, plates: int = 10) -> list[Result]:
    """Ten questions of each of ``FRAMES`` frames, ``right`` of them answered; ten of "plate"."""
    kinds = [("class", i < right) for i in range(10)] + [("plate", i < plates) for i in range(10)]
    return [Result(arm, frame, size, size - 5, tuple(kinds)) for frame in range(FRAMES)]


def family(name: str, points: Sequence[tuple[int, int]]) -> Family:
    """``points``: bytes and right answers of ten."""
    every = [r for i, (size, right) in enumerate(points) for r in results(f"{i}", size, right)]
    found = scores([*every, *results("whole", 9999, 10)])
    return Family(name, tuple(found[f"{i}"] for i in range(len(points))), found["whole"])


def test_bytes_are_read_off_a_line_in_their_logarithm() -> None:
    tokens = family("a", [(100, 6), (400, 8)])
    # Half of the questions are plates, all right: 6 of 10 is 80 %, 8 of 10 is 90 %.
    assert bytes_for(tokens, "all", 20) == 100
    assert bytes_for(tokens, "all", 15) == pytest.approx(200)
    assert bytes_for(tokens, "class", 30) == pytest.approx(200)
    assert bytes_for(tokens, "macro", 10) == pytest.approx(400)
    assert bytes_for(tokens, "all", 15, payload=True) == pytest.approx(math.sqrt(95 * 395))


def test_nothing_is_extrapolated() -> None:
    tokens = family("a", [(100, 6), (400, 8)])
    assert bytes_for(tokens, "all", 5) == math.inf
    assert bytes_for(tokens, "all", 50) == 100
    assert bytes_for(tokens, "plate", 3) == 100


def test_a_larger_point_that_is_worse_does_not_count() -> None:
    bumpy = family("a", [(100, 6), (200, 5), (400, 8)])
    assert bytes_for(bumpy, "all", 15) == pytest.approx(200)  # as if the middle were not there


def test_a_ratio_has_an_interval_around_it() -> None:
    rng = np.random.default_rng(0)
    noisy = []
    for arm, size, share in (("x", 100, 0.6), ("y", 400, 0.9), ("whole", 999, 1.0)):
        for frame in range(FRAMES):
            kinds = tuple(("class", bool(hit)) for hit in rng.random(10) < share)
            noisy.append(Result(arm, frame, size, size, kinds))
    found = scores(noisy)
    ours = Family("ours", (found["x"], found["y"]), found["whole"])
    low, high = interval(ours, family("theirs", [(1000, 10)]), "all", 20)
    assert low < 1000 / bytes_for(ours, "all", 20) < high
    assert high / low < 1.5


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    wanted = results("a", 7, 3)
    path = tmp_path / "results.jsonl"
    path.write_text("".join(f"{result.to_line()}\n" for result in wanted))
    assert list(read(path)) == wanted
    assert list(read(tmp_path / "none")) == []


def test_arms_with_other_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="arm 'b' has 199 frames, others 200"):
        scores([*results("a", 7, 3), *results("b", 7, 3)[1:]])


def test_the_last_line_compares_each_with_its_own_uncompressed_accuracy() -> None:
    """Their clean pictures are answered worse: only what coding takes away counts."""
    arms = {
        "ours: uncompressed": ("w", 10, 9000), OURS: ("p", 10, 100),
        "pixels: uncompressed": ("v", 8, 9000), "AVIF mosaic": ("m", 8, 2000),
        "AVIF frame": ("f", 8, 6000),
    }  # fmt: skip
    every = [r for name, right, size in arms.values() for r in results(name, size, right)]
    found = scores(every)
    whole = {"ours": found["w"], "pixels": found["v"]}
    known = {
        name: Family(name, (found[arm],), whole["ours" if "ours" in name else "pixels"])
        for name, (arm, _, _) in arms.items()
    }
    line = summary(known)
    assert (line["ratio_1pt"], line["ratio_1pt_frame"], line["best_codec"]) == (
        20.0, 60.0, "AVIF mosaic",
    )  # fmt: skip
    assert line["raw_fraction"] == pytest.approx(100 / (640 * 384 * 3), abs=1e-6)


def test_who_never_gets_there_has_no_ratio() -> None:
    found = scores([*results("w", 9000, 10), *results("p", 100, 5), *results("m", 2000, 10)])
    known = {
        OURS: Family(OURS, (found["p"],), found["w"]),
        "AVIF mosaic": Family("AVIF mosaic", (found["m"],), found["w"]),
    }
    line = summary(known)
    assert (line["ratio_1pt"], line["bytes_1pt"]) == (0.0, 0.0)


def test_every_arm_has_a_name_and_a_family_of_its_own() -> None:
    manifest = Bundle.open("crossing").manifest
    arms = all_arms(dict.fromkeys(("ours", "pixels", "cls"), manifest), ["uniform", "random"])
    assert len({arm.name for arm in arms}) == len(arms)
    found = scores([r for arm in arms for r in results(arm.name, 100, 10)])
    assert {"AVIF mosaic", "HEIF frame at 0.5", "CLS vectors, f32"} <= set(families(arms, found))


@pytest.mark.parametrize("count", range(1, 10))
def test_a_mosaic_is_cut_into_what_it_was_made_of(count: int) -> None:
    rng = np.random.default_rng(count)
    views = [rng.integers(0, 256, (96, 160, 3), np.uint8) for _ in range(count)]
    sheet = mosaic(views)
    assert sheet.shape[0] * sheet.shape[1] <= (count + 2) * 96 * 160
    for view, back in zip(views, cut(sheet, count, (96, 160)), strict=True):
        np.testing.assert_array_equal(view, back)


@pytest.mark.parametrize("name", ["JPEG", "WEBP", "AVIF", "HEIF"])
def test_codecs_give_whole_files_and_say_what_is_picture(name: str) -> None:
    codec, picture = codecs()[name], render(3).picture
    coarse, fine = (codec.encode(picture, q) for q in (codec.qualities[1], codec.qualities[-1]))
    assert len(coarse) < len(fine)
    assert 0 < codec.payload(coarse) < len(coarse)
    assert len(fine) - codec.payload(fine) < 700
    shown = decode(fine)
    assert shown.shape == picture.shape
    assert np.abs(shown.astype(int) - picture).mean() < 8
