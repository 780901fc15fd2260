"""What the demo takes for true is what the model was taught."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

from saccade_demo.standing_questions import STANDING, Truth, judge
from saccade_drawn_world.crossing.question_makers import look
from saccade_drawn_world.crossing.scene import Scene
from saccade_drawn_world.crossing.scene_questions import ask

CLIP = Path(__file__).resolve().parents[2] / "export" / "saccade_crossing" / "clip.mp4"


def scenes() -> list[Scene]:
    frames = json.loads(CLIP.with_suffix(".json").read_text())["frames"]
    return [Scene.from_json(frame) for frame in frames]


def test_the_truth_is_that_of_the_worlds_own_questions() -> None:
    compared: Counter[str] = Counter()
    for number, scene in enumerate(scenes()):
        boxes = [vehicle.box for vehicle in scene.vehicles[:4]]
        view = look(scene, boxes)
        for question in ask(scene, boxes, random.Random(number), per_kind=12):
            if any(question.text == each.text for each in STANDING):
                verdict = judge(question.text, view)
                assert (verdict.kind, verdict.truth) == (question.kind, question.answer)
                compared[question.text] += 1
    assert min(compared[each.text] for each in STANDING) >= 10


def test_a_first_region_that_is_no_vehicle_leaves_its_questions_open() -> None:
    scene = next(each for each in scenes() if each.vehicles)
    view = look(scene, [(0.0, 0.0, 9.0, 9.0)])
    assert judge("what is vehicle 1 ?", view).truth is None
    assert judge("how many vehicles are there ?", view).truth == str(len(scene.vehicles))


def test_a_plate_is_asked_where_it_can_be_read() -> None:
    truth = Truth.beside(CLIP)
    judged = [
        (judge("what is the plate of vehicle 1 ?", truth.of(n, [vehicle.box])).truth, vehicle.plate)
        for n, scene in enumerate(scenes(), 1)
        for vehicle in scene.vehicles[:1]
    ]
    assert [said for said, _ in judged] == [plate for _, plate in judged]
    assert {bool(plate) for _, plate in judged} == {True, False}


def test_where_nobody_knows_nothing_is_judged(tmp_path: Path) -> None:
    truth = Truth.beside(tmp_path / "own.mp4")
    assert not truth.known
    assert truth.of(1, []) is None
    assert judge("how many vehicles are there ?", None).truth is None
    assert judge("is it mine ?", look(scenes()[0], [])).kind == "other"
