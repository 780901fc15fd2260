"""What a program does wrong is a typed error at once, never a hang or another library's error."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

import saccade
from saccade.bundle import Bundle
from saccade.errors import (
    ConfigError,
    LimitExceeded,
    LocalError,
    NotInFrame,
    QuestionError,
    SaccadeError,
    UnknownWords,
    Unreachable,
)
from saccade_testing.commands import run

QUESTION = "how many vehicles are there ?"
ONE_THREAD = saccade.EncodeOptions(threads=1)
FORKED_S = 20.0  # a child that has not ended by then hangs

Maker = Callable[[], saccade.Vision]


@pytest.fixture(params=["remote", "local"])
def make(request: pytest.FixtureRequest, cloud: str, bundle: Bundle) -> Maker:
    if request.param == "remote":
        return lambda: saccade.connect(cloud, bundle=bundle, encode=ONE_THREAD)
    return lambda: saccade.local(bundle, encode=ONE_THREAD)


def in_child(work: Callable[[], object]) -> str:
    """What ``work`` gives in a forked process, or its error; a child that hangs is killed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = str(work())
        except SaccadeError as error:
            said = f"{error.code}: {error}"
        except BaseException as error:  # noqa: BLE001 - the child must end here, whatever happens
            said = f"unexpected {type(error).__name__}: {error}"
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    ends_s = time.monotonic() + FORKED_S
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > ends_s:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the forked child hangs")
        time.sleep(0.02)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read().decode()


def test_a_client_that_was_used_before_a_fork_refuses_in_the_child(
    make: Maker, picture: Path
) -> None:
    with make() as vision:
        expected = vision.ask(picture, QUESTION).text
        for call in (
            lambda: vision.ask(picture, QUESTION).text,
            lambda: vision.ask_camera("gate", QUESTION),
            vision.cameras,
            lambda: next(iter(vision.watch())),
        ):
            assert in_child(call).startswith("local_protocol: this client was used in process ")
        assert in_child(vision.close) == "None"
        assert vision.ask(picture, QUESTION).text == expected, "the parent goes on"


def test_a_client_is_opened_anew_in_the_child(make: Maker, picture: Path) -> None:
    with make() as vision:
        expected = vision.ask(picture, QUESTION).text

        def again() -> str:
            with make() as own:
                return own.ask(picture, QUESTION).text

        assert in_child(again) == expected


def test_a_client_that_was_never_used_works_in_the_child(make: Maker, picture: Path) -> None:
    with make() as vision:
        told = in_child(lambda: vision.ask(picture, QUESTION).text)
        assert told == vision.ask(picture, QUESTION).text


def test_a_stream_that_was_begun_before_a_fork_refuses_in_the_child(
    make: Maker, picture: Path
) -> None:
    with make() as vision, vision.stream(picture, "describe the scene .") as pieces:
        next(pieces)
        assert in_child(lambda: next(pieces)).startswith("local_protocol: this stream belongs to ")
        assert in_child(pieces.close) == "None"
        assert pieces.answer().text


def test_an_asynchronous_client_that_was_used_before_a_fork_refuses(
    bundle: Bundle, picture: Path
) -> None:
    vision = saccade.local_async(bundle, encode=ONE_THREAD)

    async def ask() -> str:
        return (await vision.ask(picture, QUESTION)).text

    async def close() -> None:
        await vision.close()

    assert asyncio.run(ask())
    assert in_child(lambda: asyncio.run(ask())).startswith("local_protocol: this client was used")
    assert in_child(lambda: asyncio.run(close())) == "None"
    asyncio.run(close())


def test_a_fork_while_another_thread_opens_the_models_is_refused_too(
    bundle: Bundle, picture: Path
) -> None:
    with saccade.local(bundle, encode=ONE_THREAD) as vision:
        begun = Event()

        def first() -> None:
            begun.set()
            vision.ask(picture, QUESTION)

        thread = Thread(target=first)
        thread.start()
        begun.wait()
        time.sleep(0.05)  # inside the call; opening the models takes longer
        told = in_child(lambda: vision.ask(picture, QUESTION).text)
        thread.join()
    assert told.startswith("local_protocol: ")


def test_a_closed_client_says_that_it_is_closed(make: Maker, picture: Path) -> None:
    vision = make()
    assert vision.ask(picture, QUESTION).text
    begun = vision.stream(picture, QUESTION)
    vision.close()
    vision.close()
    calls: tuple[Callable[[], object], ...] = (
        lambda: vision.ask(picture, QUESTION),
        lambda: next(begun),
        lambda: vision.ask_camera("gate", QUESTION),
        vision.cameras,
        lambda: next(iter(vision.watch())),
        lambda: next(iter(vision.history("gate"))),
    )
    for call in calls:
        with pytest.raises(LocalError, match="this client is closed"):
            call()


def test_a_closed_asynchronous_client_says_that_it_is_closed(
    cloud: str, bundle: Bundle, picture: Path
) -> None:
    async def main() -> None:
        for vision in (
            saccade.connect_async(cloud, bundle=bundle, encode=ONE_THREAD),
            saccade.local_async(bundle, encode=ONE_THREAD),
        ):
            await vision.close()
            await vision.close()
            with pytest.raises(LocalError, match="this client is closed"):
                await vision.ask(picture, QUESTION)
            with pytest.raises(LocalError, match="this client is closed"):
                await vision.ask_camera("gate", QUESTION)
            with pytest.raises(LocalError, match="this client is closed"):
                await vision.cameras()

    asyncio.run(main())


def test_closing_ends_a_watch_that_another_thread_waits_in(cloud: str, bundle: Bundle) -> None:
    vision = saccade.connect(cloud, bundle=bundle)
    ended: list[BaseException] = []

    def watch() -> None:
        try:
            for _ in vision.watch():
                pass
        except SaccadeError as error:
            ended.append(error)

    thread = Thread(target=watch)
    thread.start()
    time.sleep(0.5)
    vision.close()
    thread.join(10)
    assert not thread.is_alive()
    assert isinstance(ended[0], LocalError)


def test_closing_ends_an_asynchronous_watch(cloud: str, bundle: Bundle) -> None:
    async def main() -> None:
        vision = saccade.connect_async(cloud, bundle=bundle)

        async def watch() -> None:
            async for _ in vision.watch():
                pass

        watching = asyncio.create_task(watch())
        await asyncio.sleep(0.5)
        await vision.close()
        with pytest.raises(LocalError, match="closed"):
            await asyncio.wait_for(watching, 10)

    asyncio.run(main())


@pytest.mark.parametrize(
    "address",
    [
        *("", "localhost", "localhost:", ":7860", "localhost:0", "localhost:65536"),
        *("localhost:99999", "localhost:-1", "localhost:7860:1", "localhost:x", "local host:7860"),
        *("http://localhost:7860", "https://localhost:7860", "grpc://localhost:7860"),
        *("localhost:7860/", "localhost:7860/v1", "user@localhost:7860", "::1:7860"),
        *(
            "unix:/tmp/socket",
            "dns:///localhost:7860",
            "localhost:\uff17\uff18",
            "localhost\n:7860",
        ),
    ],
)
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    for insecure in (False, True):
        with pytest.raises(ConfigError, match="is no address: give HOST:PORT"):
            saccade.connect(address, insecure=insecure)


@pytest.mark.parametrize("address", [None, 7860, b"localhost:7860", ("localhost", 7860)])
def test_an_address_is_text(address: str) -> None:
    with pytest.raises(ConfigError, match="is no address"):
        saccade.connect(address)


@pytest.mark.parametrize(
    "address", ["127.0.0.1:9", "[::1]:9", "localhost:9", "no-such-host.invalid:7860"]
)
def test_an_address_where_nobody_is_fails_soon(address: str, bundle: Bundle, picture: Path) -> None:
    began_s = time.monotonic()
    with (
        saccade.connect(address, bundle=bundle, insecure=True, timeout_s=5) as vision,
        pytest.raises(Unreachable, match="does not answer"),
    ):
        vision.cameras()
    assert time.monotonic() - began_s < 10


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf"), "5", None, True])
def test_a_timeout_is_a_number_of_seconds(timeout_s: float) -> None:
    with pytest.raises(ConfigError, match="timeout_s is"):
        saccade.connect("localhost:7860", timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("max_tokens", "kind"),
    [
        (-1, QuestionError),
        (1.5, QuestionError),
        ("4", QuestionError),
        (None, QuestionError),
        (True, QuestionError),
        (25, LimitExceeded),
        (1 << 32, LimitExceeded),
        (10**30, LimitExceeded),
    ],
)
def test_max_tokens_that_cannot_be_meant_are_refused(
    make: Maker, picture: Path, max_tokens: int, kind: type[SaccadeError]
) -> None:
    with make() as vision:
        with pytest.raises(kind, match=r"max_tokens|engine gives 1\.\.24"):
            vision.ask(picture, QUESTION, max_tokens=max_tokens)
        assert vision.ask(picture, QUESTION, max_tokens=1).text


@pytest.mark.parametrize(
    "question", ["", "  ", None, 7, b"how many ?", "two\nlines", "\ud800", "how" * 100]
)
def test_what_is_no_question_is_refused(make: Maker, picture: Path, question: str) -> None:
    with make() as vision, pytest.raises(QuestionError, match="question"):
        vision.ask(picture, question)


def test_a_camera_is_asked_with_the_same_care(cloud: str, bundle: Bundle) -> None:
    with saccade.connect(cloud, bundle=bundle) as vision:
        wrong: list[tuple[str, dict[str, object]]] = [
            ("question", {"question": ""}),
            ("question", {"question": None}),
            ("max_tokens", {"max_tokens": -1}),
            ("max_age_s", {"max_age_s": -1}),
            ("max_age_s", {"max_age_s": float("nan")}),
            ("max_age_s", {"max_age_s": "10"}),
            ("names no camera", {"camera": ""}),
            ("names no camera", {"camera": None}),
            ("names no camera", {"camera": "\ud800"}),
        ]
        for says, fields in wrong:
            usual: dict[str, object] = {"camera": "gate", "question": QUESTION}
            with pytest.raises(QuestionError, match=says):
                vision.ask_camera(**usual | fields)  # type: ignore[arg-type]  # that is the point


def test_a_picture_without_that_vehicle_is_told_by_its_labels(
    make: Maker, bundle: Bundle, picture: Path
) -> None:
    with make() as vision:
        with pytest.raises(NotInFrame, match=r"no vehicle 9 .*: it has vehicle 1 \(\w+\)"):
            vision.ask(picture, "What is vehicle 9?")
        assert vision.ask(picture, "What is vehicle 1?").text in bundle.manifest.detector.crops  # type: ignore[union-attr]  # it has a detector


def test_words_that_the_model_does_not_know_are_named(make: Maker, picture: Path) -> None:
    with (
        make() as vision,
        pytest.raises(UnknownWords, match=r"'color' \(did you mean 'colour'\?\)"),
    ):
        vision.ask(picture, "what color is vehicle 1 ?")


def test_capitals_spaces_and_a_missing_mark_change_no_answer(make: Maker, picture: Path) -> None:
    with make() as vision:
        for question in (QUESTION, "what is the weather ?", "describe the scene ."):
            expected = vision.ask(picture, question).text
            bare = question.rstrip(" ?.")
            for form in (
                question.upper(),
                bare,
                f" {bare}  ?",
                f"{bare.capitalize()}{question[-1]}",
            ):
                assert vision.ask(picture, form).text == expected, form


def test_a_cameras_question_of_a_command_line_needs_a_cloud(picture: Path) -> None:
    done = run("ask", "gate", QUESTION, "--camera")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "--camera needs --cloud" in done.stderr
