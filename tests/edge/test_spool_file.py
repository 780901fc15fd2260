from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from saccade.errors import ConfigError
from saccade_edge.spool import Entry, Fate, Identity, SpoolSettings
from saccade_edge.spool.packet_rows import cost
from saccade_edge.spool.spool_faults import fault_of
from saccade_edge.spool.spool_file import RESERVE, SpoolFile
from saccade_testing.spools import DIGEST, FRESH, NOW_MS, entry, open_file, settings

HOUR_MS = 3_600_000
QUOTA = 2_000
DELIVERED = Fate.DELIVERED.value
# Power cuts here are copies of the files: nothing depends on the disk.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class PowerCut(Exception):
    pass


@dataclass
class Model:
    """What the spool promises, in plain Python."""

    rows: dict[int, Entry]
    held: set[int]
    counts: Counter[str]

    def copy(self) -> Model:
        return Model(dict(self.rows), set(self.held), Counter(self.counts))

    def put(self, new: Entry) -> None:
        over = sum(map(cost, self.rows.values())) + cost(new) - QUOTA
        for old in sorted(self.rows.values(), key=lambda e: e.sequence):
            if over > 0 and old.sequence not in self.held:
                over -= cost(old)
                self.end(old.sequence, Fate.QUOTA.value)
        if over <= 0:
            self.counts["handed"] += 1
            self.rows[new.sequence] = new
            self.held.add(new.sequence)

    def end(self, sequence: int, counter: str) -> None:
        self.held.discard(sequence)
        if self.rows.pop(sequence, None):
            self.counts[counter] += 1

    def page(self, rows: int) -> list[Entry]:
        free = [e for e in self.rows.values() if e.sequence not in self.held]
        chosen = sorted(free, key=lambda e: e.sequence)[:rows]
        self.held |= {e.sequence for e in chosen}
        return chosen

    def expire(self, now_ms: int) -> None:
        for old in list(self.rows.values()):
            if old.captured_unix_ms < now_ms - HOUR_MS and old.sequence not in self.held:
                self.end(old.sequence, Fate.EXPIRED.value)


class SpoolMachine(RuleBasedStateMachine):
    """Operations and power cuts; every packet that was ever kept is here or in one counter."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.file = self.open()
        self.model = Model({}, set(), Counter())
        self.given = 0

    def open(self) -> SpoolFile:
        return open_file(self.folder / "spool", quota_bytes=QUOTA, keep_hours=1)

    def teardown(self) -> None:
        self.file.close()
        shutil.rmtree(self.folder)

    def step(self, do: Callable[[SpoolFile], object], then: Callable[[Model], None]) -> None:
        with self.file.transaction():
            do(self.file)
        then(self.model)

    @rule(
        size=st.integers(0, 1500),
        age_ms=st.integers(0, HOUR_MS),
        asked=st.booleans(),
    )
    def put(self, size: int, age_ms: int, asked: bool) -> None:
        self.given += 1
        questions = ("what is it?",) if asked else ()
        new = entry(
            self.given,
            *questions,
            size=size,
            captured_unix_ms=NOW_MS - age_ms,
        )
        self.step(lambda f: f.put(new, sending=False), lambda m: m.put(new))

    @precondition(lambda self: self.given)
    @rule(data=st.data(), counter=st.sampled_from([DELIVERED, "refused:limit"]))
    def settle(self, data: st.DataObject, counter: str) -> None:
        sequence = data.draw(st.integers(1, self.given))
        self.step(lambda f: f.settle(sequence, counter), lambda m: m.end(sequence, counter))

    @precondition(lambda self: self.given)
    @rule(data=st.data())
    def settle_unasked(self, data: st.DataObject) -> None:
        sequence = data.draw(st.integers(1, self.given))

        def then(model: Model) -> None:
            if sequence not in model.rows or not model.rows[sequence].questions:
                model.end(sequence, DELIVERED)

        self.step(lambda f: f.settle(sequence, DELIVERED, unasked_only=True), then)

    @precondition(lambda self: self.model.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(sorted(self.model.held)))
        self.step(lambda f: f.release(sequence), lambda m: m.held.discard(sequence))

    @rule(rows=st.integers(1, 4))
    def page(self, rows: int) -> None:
        with self.file.transaction():
            page = self.file.page(rows, 1 << 20)
        assert page == self.model.page(rows)

    @rule(later_ms=st.integers(0, 2 * HOUR_MS))
    def expire(self, later_ms: int) -> None:
        now_ms = NOW_MS + later_ms
        self.step(lambda f: f.expire(now_ms), lambda m: m.expire(now_ms))

    @rule()
    def power_cut_within_a_transaction(self) -> None:
        new = entry(self.given + 1)

        def all_of_it() -> None:
            with self.file.transaction():
                self.file.put(new, sending=True)
                for sequence in list(self.model.rows):
                    self.file.settle(sequence, DELIVERED)
                raise PowerCut

        with pytest.raises(PowerCut):
            all_of_it()

    @rule()
    def power_cut_and_restart(self) -> None:
        """Only what is on disk at this moment is left: the files are copied while they are open."""
        after = Path(tempfile.mkdtemp(dir=MEMORY))
        for name in ("spool", "spool-wal"):
            shutil.copy(self.folder / name, after / name)
        self.file.close()
        shutil.rmtree(self.folder)
        self.folder = after
        self.file = self.open()
        self.model.held.clear()
        assert self.file.first_sequence >= self.given  # no number comes twice
        self.given = self.file.first_sequence

    @rule()
    def restart(self) -> None:
        with self.file.transaction():
            self.file.end(self.given, self.given * 10 + 1)
        self.file.close()
        self.file = self.open()
        self.model.held.clear()
        assert self.file.first_sequence == self.given

    @invariant()
    def it_is_as_promised(self) -> None:
        rows, counts = self.model.rows, self.model.counts
        packets = self.file.packets
        assert self.file.counts == counts
        assert (packets.rows, packets.bytes) == (len(rows), sum(map(cost, rows.values())))
        assert packets.held == self.model.held
        stored = self.file.connection.execute("SELECT sequence FROM packet ORDER BY sequence")
        assert [row[0] for row in stored] == sorted(rows)
        ended = sum(n for name, n in counts.items() if name != "handed")
        assert counts["handed"] == ended + len(rows)
        assert packets.bytes <= QUOTA


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = hypothesis.settings(stateful_step_count=30)


@pytest.fixture
def file(tmp_path: Path) -> SpoolFile:
    return open_file(tmp_path / "spool")


def test_a_page_ends_at_its_bytes_and_has_at_least_one(file: SpoolFile) -> None:
    with file.transaction():
        for sequence in range(1, 5):
            file.put(entry(sequence, size=1000), sending=False)
            file.release(sequence)
        assert [e.sequence for e in file.page(10, 2500)] == [1, 2]
        assert [e.sequence for e in file.page(10, 1)] == [3]


def test_what_may_have_been_said_is_written_down(file: SpoolFile, tmp_path: Path) -> None:
    with file.transaction():
        file.put(entry(1), sending=True)
        file.put(entry(2), sending=False)
        file.put(entry(3), sending=False)
        file.release(2)
    assert file.sent_until == 1
    with file.transaction():
        assert [e.sequence for e in file.page(8, 1 << 20)] == [2]
    file.close()
    assert open_file(tmp_path / "spool").sent_until == 2


def test_a_damaged_row_is_counted_and_the_others_come(file: SpoolFile) -> None:
    with file.transaction():
        for sequence in (1, 2, 3):
            file.put(entry(sequence, "what is it?"), sending=False)
            file.release(sequence)
    file.connection.execute("UPDATE packet SET packet = zeroblob(100) WHERE sequence = 1")
    file.connection.execute("UPDATE packet SET questions = '[]' WHERE sequence = 2")
    with file.transaction():
        assert [e.sequence for e in file.page(8, 1 << 20)] == [3]
    assert file.counts == {"handed": 3, Fate.DAMAGED.value: 2}
    assert file.packets.rows == 1


def test_packets_of_another_bundle_wait_for_theirs(file: SpoolFile, tmp_path: Path) -> None:
    with file.transaction():
        file.put(entry(1), sending=False)
    file.close()
    other = SpoolFile.open(settings(tmp_path / "spool"), bytes(32), FRESH)
    with other.transaction():
        assert other.page(8, 1 << 20) == []
    assert (other.packets.rows, other.packets.others) == (1, 1)
    other.close()
    again = open_file(tmp_path / "spool")
    with again.transaction():
        assert [e.sequence for e in again.page(8, 1 << 20)] == [1]


def test_identity_lasts_and_cameras_are_only_added(tmp_path: Path) -> None:
    first = open_file(tmp_path / "spool")
    first.close()
    later = Identity("kerb", 1, 2, ("south", "north"))
    second = SpoolFile.open(settings(tmp_path / "spool"), DIGEST, later)
    assert second.identity == Identity("kerb", FRESH.boot, NOW_MS, ("north", "south"))
    second.close()


@pytest.mark.parametrize(
    ("fresh", "message"),
    [
        (Identity("mast", 1, 2, ("north",)), "belongs to device 'kerb', this one is 'mast'"),
        (Identity("kerb", 1, 2, tuple(f"c{i}" for i in range(64))), "65 cameras, the limit is 64"),
    ],
)
def test_what_a_spool_cannot_be_used_for_is_said(
    tmp_path: Path, fresh: Identity, message: str
) -> None:
    open_file(tmp_path / "spool").close()
    with pytest.raises(ConfigError, match=message):
        SpoolFile.open(settings(tmp_path / "spool"), DIGEST, fresh)


def test_another_formats_spool_is_left_alone(tmp_path: Path) -> None:
    file = open_file(tmp_path / "spool")
    file.connection.execute("UPDATE meta SET value = '9' WHERE key = 'version'")
    file.close()
    with pytest.raises(ConfigError, match="has format 9, this edge writes 1"):
        open_file(tmp_path / "spool")


def test_a_commit_is_synchronised(file: SpoolFile) -> None:
    """WAL and synchronous=FULL (2): https://sqlite.org/pragma.html#pragma_synchronous."""
    assert file.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert file.connection.execute("PRAGMA synchronous").fetchone() == (2,)


def fails(work: Callable[[], None]) -> Fate | None:
    """How it went."""
    try:
        work()
    except sqlite3.Error as error:
        return fault_of(error).fate
    return None


def test_a_full_file_takes_deletes_and_then_packets_again(file: SpoolFile) -> None:
    """As on a full disk, without one."""
    pages = file.connection.execute("PRAGMA page_count").fetchone()[0]
    file.connection.execute(f"PRAGMA max_page_count = {pages + 20}")

    def put(sequence: int) -> None:
        with file.transaction():
            file.put(entry(sequence, size=3000), sending=False)

    kept = next(n for n in range(1000) if fails(partial(put, n + 1)) is Fate.DISK_FULL)
    assert 5 < kept < 100
    assert (file.packets.rows, file.counts["handed"]) == (kept, kept)
    for sequence in range(1, kept + 1):
        with file.transaction():
            file.settle(sequence, DELIVERED)
    with file.transaction():
        assert file.put(entry(kept + 1, size=3000), sending=False) is None


def test_on_a_short_disk_the_oldest_makes_room(tmp_path: Path) -> None:
    """``reserve_bytes`` beyond any disk: it is always short."""
    short = SpoolSettings(tmp_path / "spool", reserve_bytes=1 << 60)
    file = SpoolFile.open(short, DIGEST, FRESH)
    with file.transaction():
        assert file.put(entry(1), sending=False) is Fate.DISK_FULL
    file.close()
    file = open_file(tmp_path / "spool")
    with file.transaction():
        for sequence in range(1, 9):
            file.put(entry(sequence), sending=False)
            file.release(sequence)
    file.close()
    file = SpoolFile.open(short, DIGEST, FRESH)
    with file.transaction():
        assert file.put(entry(9), sending=False) is None
    assert file.counts[Fate.DISK_FULL.value] == 1
    held = [row[0] for row in file.connection.execute("SELECT sequence FROM packet")]
    assert held == [2, 3, 4, 5, 6, 7, 8, 9]


def test_numbers_are_reserved_ahead(tmp_path: Path) -> None:
    file = open_file(tmp_path / "spool")
    assert file.reserved == (RESERVE, RESERVE)
    with file.transaction():
        file.reserve(RESERVE, 3)
    assert file.reserved == (2 * RESERVE, RESERVE + 3)
    file.close()
    assert open_file(tmp_path / "spool").first_sequence == 2 * RESERVE
