"""Does the checker see what it is there for? Every promise is broken once by hand."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from saccade.bundle import Bundle
from saccade_testing.fault_scene import Scene, packets_of, play

STORED, WAITING = 20, 10


def examined(scene: Scene) -> tuple[int, int, int]:
    figures = scene.examine("", scene.plan(""))
    return figures.captured, figures.stored, figures.in_spool


def run(database: Path, words: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        assert connection.execute(words).rowcount == 1
        connection.execute("COMMIT")


@pytest.fixture(scope="module")
def untouched(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """An edge that has ended; the cloud has some of its packets, the spool the others."""
    folder = tmp_path_factory.mktemp("settled")
    scene = Scene(folder, bundle, packets_of(folder, 2, 3), lambda line: None)

    async def story() -> None:
        with scene.cloud() as (_, address):
            plan = scene.plan(address)
            async with plan.start() as edge:
                await edge.send(STORED)
                await edge.end("drain")
        async with plan.start() as edge:
            await edge.send(WAITING)
            await edge.end("stop")

    play(story)
    return scene


@pytest.fixture
def settled(untouched: Scene, tmp_path: Path) -> Scene:
    """A copy, to do something to."""
    folder = tmp_path / "settled"
    shutil.copytree(untouched.folder, folder)
    return replace(untouched, folder=folder)


FIRST = "(SELECT MIN(sequence) FROM packet)"


@pytest.mark.parametrize(
    ("where", "words", "says"),
    [
        ("store", f"DELETE FROM packet WHERE sequence = {FIRST}", "1 missing"),
        ("store", f"UPDATE packet SET payload = x'00' WHERE sequence = {FIRST}", "as it was capt"),
        ("store", f"UPDATE packet SET boot = boot + 1 WHERE sequence = {FIRST}", "never captured"),
        (
            "store",
            "INSERT INTO packet SELECT device, boot, sequence + 1000, session, camera, "
            f"captured_ns, received_ns, payload FROM packet WHERE sequence = {FIRST}",
            "two identities",
        ),
        ("store", "UPDATE total SET conflicts = 1", "another's identity"),
        ("spool", f"DELETE FROM packet WHERE sequence = {FIRST}", "SpoolReport"),
        ("spool", f"UPDATE packet SET packet = x'00' WHERE sequence = {FIRST}", "as it was capt"),
        ("spool", "UPDATE counter SET packets = 19 WHERE name = 'delivered'", "SpoolReport"),
        ("spool", "INSERT INTO counter VALUES ('expired', 1)", "SpoolReport"),
    ],
)
def test_a_packet_that_is_lost_changed_or_made_up_is_seen(
    settled: Scene, where: str, words: str, says: str
) -> None:
    assert examined(settled) == (STORED + WAITING, STORED, WAITING)
    run(settled.store if where == "store" else settled.plan("").spool, words)
    with pytest.raises(AssertionError, match=says):
        examined(settled)
