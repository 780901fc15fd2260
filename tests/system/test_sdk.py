"""One interface, four implementations: the same picture and question have the same answer."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from PIL import Image

import saccade
from saccade.bundle import Bundle
from saccade.errors import (
    ConfigError,
    LocalError,
    QuestionError,
    SourceError,
    Unreachable,
)
from saccade_edge.source.picture_files import read_picture
from saccade_testing.commands import cloud_process, run, start

QUESTIONS = ("how many vehicles are there ?", "what is vehicle 1 ?", "describe the scene .")
ONE_THREAD = saccade.EncodeOptions(threads=1)
NOBODY = "127.0.0.1:9"
EDGE = ["source", "detect", "views", "encode", "select", "code"]
CLOUD = ["receive", "decode", "reconstruct", "queue", "prefill", "decode_tokens"]

Maker = Callable[[], saccade.Vision]
AsyncMaker = Callable[[], saccade.AsyncVision]


@pytest.fixture(params=["remote", "local"])
def make(request: pytest.FixtureRequest, cloud: str, bundle: Bundle) -> Maker:
    if request.param == "remote":
        return lambda: saccade.connect(cloud, bundle=bundle, encode=ONE_THREAD)
    return lambda: saccade.local(bundle, encode=ONE_THREAD)


@pytest.fixture(params=["remote", "local"])
def make_async(request: pytest.FixtureRequest, cloud: str, bundle: Bundle) -> AsyncMaker:
    if request.param == "remote":
        return lambda: saccade.connect_async(cloud, bundle=bundle, encode=ONE_THREAD)
    return lambda: saccade.local_async(bundle, encode=ONE_THREAD)


@pytest.fixture(scope="module")
def expected(bundle: Bundle, picture: Path) -> dict[str, str]:
    with saccade.local(bundle, encode=ONE_THREAD) as vision:
        return {question: vision.ask(picture, question).text for question in QUESTIONS}


def test_answers_are_the_same_everywhere(
    make: Maker, picture: Path, expected: dict[str, str]
) -> None:
    with make() as vision:
        assert {q: vision.ask(picture, q).text for q in QUESTIONS} == expected


def test_answers_are_the_same_in_asyncio(
    make_async: AsyncMaker, picture: Path, expected: dict[str, str]
) -> None:
    async def main() -> dict[str, str]:
        async with make_async() as vision:
            answers = await asyncio.gather(*(vision.ask(picture, q) for q in QUESTIONS))
            return {q: answer.text for q, answer in zip(QUESTIONS, answers, strict=True)}

    assert asyncio.run(main()) == expected


def test_a_picture_may_be_a_path_an_array_or_a_pil_image(make: Maker, picture: Path) -> None:
    with make() as vision, Image.open(picture) as image:
        forms = (picture, str(picture), read_picture(picture), image)
        assert len({vision.ask(form, QUESTIONS[2]).text for form in forms}) == 1


def test_pieces_joined_are_the_answer(make: Maker, picture: Path) -> None:
    with make() as vision, vision.stream(picture, QUESTIONS[2]) as stream:
        pieces = list(stream)
        answer = stream.answer()
    assert len(pieces) > 1
    assert "".join(pieces) == answer.text


def test_pieces_joined_are_the_answer_in_asyncio(make_async: AsyncMaker, picture: Path) -> None:
    async def main() -> None:
        async with make_async() as vision, vision.stream(picture, QUESTIONS[2]) as stream:
            pieces = [piece async for piece in stream]
            assert len(pieces) > 1
            assert "".join(pieces) == (await stream.answer()).text

    asyncio.run(main())


def test_a_stream_left_early_harms_nothing(make: Maker, picture: Path) -> None:
    with make() as vision:
        with vision.stream(picture, QUESTIONS[2]) as stream:
            next(stream)
        with pytest.raises(LocalError, match="closed before its answer was whole"):
            stream.answer()
        assert vision.ask(picture, QUESTIONS[0]).text


def test_a_stream_left_early_harms_nothing_in_asyncio(
    make_async: AsyncMaker, picture: Path
) -> None:
    async def main() -> None:
        async with make_async() as vision:
            async with vision.stream(picture, QUESTIONS[2]) as stream:
                await anext(stream)
            assert (await vision.ask(picture, QUESTIONS[0])).text

    asyncio.run(main())


def test_threads_may_ask_at_once(make: Maker, picture: Path, expected: dict[str, str]) -> None:
    with make() as vision, ThreadPoolExecutor(6) as threads:
        answers = threads.map(lambda q: (q, vision.ask(picture, q).text), QUESTIONS * 4)
        assert set(answers) == set(expected.items())


def test_an_answer_tells_bytes_and_the_time_of_every_stage(
    cloud: str, bundle: Bundle, picture: Path
) -> None:
    with saccade.connect(cloud, bundle=bundle) as vision:
        far = vision.ask(picture, QUESTIONS[0])
    with saccade.local(bundle) as vision:
        here = vision.ask(picture, QUESTIONS[0])
    assert list(far.timing.stages) == [*EDGE, "link", *CLOUD]
    assert list(here.timing.stages) == [*EDGE, *CLOUD[1:]]
    assert far.bytes_sent == here.bytes_sent > 60


def test_options_reach_the_encoder(make: Maker, bundle: Bundle, picture: Path) -> None:
    few = saccade.EncodeOptions(tokens_per_view=4, threads=1)
    with saccade.local(bundle, encode=few) as vision, make() as usual:
        question = QUESTIONS[0]
        assert vision.ask(picture, question).bytes_sent < usual.ask(picture, question).bytes_sent
    wrong = saccade.EncodeOptions(tokens_per_view=65)
    with saccade.local(bundle, encode=wrong) as vision, pytest.raises(ConfigError, match="1 to 64"):
        vision.ask(picture, QUESTIONS[0])


def test_what_cannot_be_asked_is_a_typed_error(make: Maker, picture: Path) -> None:
    with make() as vision:
        with pytest.raises(QuestionError, match="empty"):
            vision.ask(picture, "")
        with pytest.raises(SourceError, match="no such file"):
            vision.ask("/nowhere.png", QUESTIONS[0])
        with pytest.raises(SourceError, match="neither PNG, JPEG nor WebP"):
            vision.ask(__file__, QUESTIONS[0])
        assert vision.ask(picture, QUESTIONS[0]).text


def test_a_cloud_that_is_not_there_is_unreachable(bundle: Bundle, picture: Path) -> None:
    with saccade.connect(NOBODY, bundle=bundle) as vision:
        for call in (
            lambda: vision.ask(picture, QUESTIONS[0]),
            vision.cameras,
            lambda: vision.ask_camera("gate", QUESTIONS[0]),
            lambda: next(vision.watch()),
        ):
            with pytest.raises(Unreachable, match=f"the cloud at {NOBODY} does not answer"):
                call()


def test_a_deadline_is_kept(cloud: str, bundle: Bundle, picture: Path) -> None:
    with (
        saccade.connect(cloud, bundle=bundle, timeout_s=1e-3) as vision,
        pytest.raises(Unreachable, match="deadline"),
    ):
        vision.ask(picture, QUESTIONS[0])


def test_plain_text_does_not_leave_this_machine() -> None:
    with pytest.raises(ConfigError, match="192.0.2.1:7860 is another machine"):
        saccade.connect("192.0.2.1:7860")


def test_one_process_has_no_cameras(bundle: Bundle) -> None:
    with saccade.local(bundle) as vision:
        assert vision.cameras() == ()
        with pytest.raises(QuestionError, match="no cameras"):
            vision.ask_camera("gate", "how many ?")
        with pytest.raises(QuestionError, match="no cameras"):
            vision.watch()
        with pytest.raises(QuestionError, match="no cameras"):
            vision.history("gate")


def test_a_client_without_the_edge_half_says_what_to_install(cloud: str) -> None:
    """And asks cameras all the same."""
    script = (
        "import sys\n"
        "for name in ('onnxruntime', 'cv2', 'av', 'tokenizers'): sys.modules[name] = None\n"
        "import saccade\n"
        f"vision = saccade.connect({cloud!r}, bundle='crossing')\n"
        "vision.cameras()\n"
        "try: vision.ask('picture.png', 'how many ?')\n"
        "except saccade.SaccadeError as error: print(error.code, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("config encoding a picture needs the package ")
    assert done.stdout.endswith("which is not installed: pip install 'saccade-vlm[edge]'\n")


def test_applications_follow_an_edge(cloud: str, bundle: Bundle, clip: Path) -> None:
    question = QUESTIONS[0]
    words = ("--cloud", cloud, "--bundle", str(bundle.folder), "--device", "kerb", "--fps", "1")
    with saccade.connect(cloud, bundle=bundle) as vision, ThreadPoolExecutor(1) as thread:
        watching = thread.submit(lambda: list(vision.watch(for_s=12)))
        with start("edge", "run", str(clip), *words, "--camera", "gate", "--ask", question) as edge:
            assert edge.wait(60) == 0
        (camera,) = [each for each in vision.cameras() if each.device == "kerb"]
        answer = vision.ask_camera("kerb/gate", "describe the scene .")
        watched = [each for each in watching.result(30) if each.question == question]
    assert (camera.path, camera.connected, camera.frames) == ("kerb/gate", False, len(watched))
    assert answer.sequence == camera.sequence == watched[-1].sequence
    assert all(each.text and each.bytes_sent > 40 for each in watched)
    assert camera.bytes == sum(each.bytes_sent for each in watched)
    assert camera.captured_ns == watched[-1].captured_ns


def test_asking_an_unknown_camera_names_those_that_are_known(cloud: str, bundle: Bundle) -> None:
    async def main() -> None:
        async with saccade.connect_async(cloud, bundle=bundle) as vision:
            await vision.cameras()
            with pytest.raises(QuestionError, match="there is no camera 'west', known: "):
                await vision.ask_camera("west", "how many ?")
            with pytest.raises(QuestionError, match="there is no camera 'west', known: "):
                await anext(aiter(vision.watch("west")))
            assert [each async for each in vision.watch(for_s=0.2)] == []

    asyncio.run(main())


def test_applications_read_what_an_edge_observed_before_they_came(
    bundle: Bundle, picture: Path, tmp_path: Path
) -> None:
    words = ("--bundle", str(bundle.folder), "--device", "kerb", "--camera", "gate")
    asked = [word for question in QUESTIONS[:2] for word in ("--ask", question)]
    began = datetime.now(timezone.utc) - timedelta(minutes=1)
    store = ("--store", str(tmp_path / "store.db"))
    with cloud_process(bundle.folder, *store) as (_, cloud):
        done = run("edge", "run", str(picture), "--cloud", cloud, *words, *asked)
        assert done.returncode == 0, done.stderr
    with cloud_process(bundle.folder, *store) as (_, cloud):
        with saccade.connect(cloud, bundle=bundle) as vision:
            assert vision.cameras() == ()
            found = list(vision.history("kerb/gate", since=began))
            assert list(vision.history("kerb/gate", until=began)) == []
            assert list(vision.history("kerb/gate", limit=1)) == found[:1]
            with pytest.raises(QuestionError, match="has no time zone"):
                next(vision.history("kerb/gate", since=datetime(2026, 1, 1)))

        async def read() -> list[saccade.WatchedAnswer]:
            async with saccade.connect_async(cloud, bundle=bundle) as vision:
                return [each async for each in vision.history("kerb/gate", since=began)]

        assert asyncio.run(read()) == found
    assert sorted(each.question for each in found) == sorted(QUESTIONS[:2])
    assert all(each.text and each.bytes_sent > 60 for each in found)


def test_a_cloud_without_a_store_says_that_it_keeps_no_history(cloud: str, bundle: Bundle) -> None:
    with (
        saccade.connect(cloud, bundle=bundle) as vision,
        pytest.raises(QuestionError, match="keeps no history"),
    ):
        next(vision.history("kerb/gate"))
