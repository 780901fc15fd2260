from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from saccade.bundle import Bundle
from saccade.errors import EngineError, QuestionError
from saccade.turns import asking
from saccade_cloud.local_cloud import LocalCloud
from saccade_testing.tokens import usual_frame

FRAME = usual_frame()
QUESTIONS = [f"what color is vehicle {1 + i % 4} {'red' * i}" for i in range(6)]


def test_an_answer_names_its_frame_and_its_stages(bundle: Bundle) -> None:
    with LocalCloud(bundle) as cloud:
        answer = cloud.ask(replace(FRAME, sequence=5), "how many")
    assert answer.text
    assert (answer.sequence, answer.camera) == (5, FRAME.camera)
    assert list(answer.timing.stages) == ["reconstruct", "queue", "prefill", "decode_tokens"]


def test_chunks_joined_are_the_answer(bundle: Bundle) -> None:
    with LocalCloud(bundle) as cloud:
        chunks = list(cloud.stream({0: FRAME}, asking("how many")))
        assert "".join(chunk.text for chunk in chunks) == cloud.ask(FRAME, "how many").text
    assert len(chunks) > 1


def test_a_stream_left_early_ends(bundle: Bundle) -> None:
    with LocalCloud(bundle) as cloud:
        for _ in cloud.stream({0: FRAME}, asking("how many")):
            break
        assert cloud.ask(FRAME, "how many").text


def test_threads_may_ask_at_once(bundle: Bundle) -> None:
    with LocalCloud(bundle) as cloud, ThreadPoolExecutor(6) as threads:
        alone = [cloud.ask(FRAME, question).text for question in QUESTIONS]
        together = threads.map(lambda question: cloud.ask(FRAME, question).text, QUESTIONS)
        assert list(together) == alone


def test_a_bad_question_is_refused(bundle: Bundle) -> None:
    with LocalCloud(bundle) as cloud, pytest.raises(QuestionError, match="empty"):
        cloud.ask(FRAME, "")


def test_a_closed_cloud_refuses(bundle: Bundle) -> None:
    cloud = LocalCloud(bundle)
    cloud.close()
    cloud.close()
    with pytest.raises(EngineError, match="closed"):
        cloud.ask(FRAME, "how many")
