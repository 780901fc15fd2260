"""What a spool is made of: numbers, faults, rows, room and reports, on both sides of each bound."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from saccade.errors import ConfigError
from saccade.turns import asking
from saccade_edge.spool import Asked, Entry, Fate, Identity, SpoolReborn, SpoolReport, SpoolSettings
from saccade_edge.spool.packet_rows import OVERHEAD_BYTES, cost
from saccade_edge.spool.replacing import move_aside
from saccade_edge.spool.sequence_numbers import Numbers
from saccade_edge.spool.spool_faults import at_opening, fault_of
from saccade_edge.spool.spool_file import EXPIRED_AT_ONCE, RESERVE, SpoolFile
from saccade_edge.spool.spool_inspection import Waiting, look_into, report_lines
from saccade_edge.spool.spool_lock import Lock
from saccade_edge.spool.spool_schema import connect, connect_read_only
from saccade_edge.spool.spool_types import refused
from saccade_testing.spools import DIGEST, FRESH, NOW_MS, entry, open_file, settings

HOUR_MS = 3_600_000


def sequences(file: SpoolFile) -> list[int]:
    rows = file.connection.execute("SELECT sequence FROM packet ORDER BY sequence").fetchall()
    return [row[0] for row in rows]


def put(file: SpoolFile, *entries: Entry, hold: bool = False) -> list[Fate | None]:
    with file.transaction():
        fates = [file.put(each, sending=False) for each in entries]
        for each in entries:
            if not hold:
                file.release(each.sequence)
    return fates


class TestNumbers:
    def test_they_go_on_from_the_last_and_are_safe_up_to_the_reserved_one(self) -> None:
        numbers = Numbers(5, 7)
        given = [(numbers.next(), numbers.exhausted) for _ in range(3)]
        assert given == [(6, False), (7, False), (8, True)]
        numbers.free()
        assert not numbers.exhausted
        assert numbers.next() == 9

    @pytest.mark.parametrize("kind", [0, 1])
    def test_more_are_reserved_when_less_than_half_is_left(self, tmp_path: Path, kind: int) -> None:
        file = open_file(tmp_path / "spool")
        half = RESERVE - RESERVE // 2
        for given, reserved in ((half, RESERVE), (half + 1, half + 1 + RESERVE)):
            with file.transaction():
                file.reserve(*(given if n == kind else 0 for n in (0, 1)))
            assert file.reserved[kind] == reserved

    def test_a_run_that_ends_well_wastes_no_numbers(self, tmp_path: Path) -> None:
        file = open_file(tmp_path / "spool")
        with file.transaction():
            file.end(12, 34)
            file.reserve(50_000, 50_000)  # too late
        file.close()
        again = open_file(tmp_path / "spool")
        assert (again.first_sequence, again.first_question) == (12, 34)


class TestFaults:
    @pytest.mark.parametrize(
        ("number", "fate"),
        [
            (errno.ENOSPC, Fate.DISK_FULL),
            (errno.EDQUOT, Fate.DISK_FULL),
            (errno.EROFS, Fate.READ_ONLY),
            (errno.EIO, Fate.IO_ERROR),
            (errno.EACCES, Fate.IO_ERROR),
        ],
    )
    def test_an_errors_number_says_what_is_wrong_with_the_disk(
        self, number: int, fate: Fate
    ) -> None:
        fault = fault_of(OSError(number, os.strerror(number)))
        assert str(fault) == fault.detail
        assert (fault.fate, os.strerror(number) in fault.detail) == (fate, True)

    @pytest.mark.parametrize(
        ("said", "fate"),
        [
            ("database or disk is full", Fate.DISK_FULL),
            ("attempt to write a readonly database", Fate.READ_ONLY),
            ("database is locked", Fate.LOCKED),
            ("database disk image is malformed", Fate.CORRUPT),
            ("file is not a database", Fate.CORRUPT),
            ("disk I/O error", Fate.IO_ERROR),
        ],
    )
    def test_sqlites_words_say_it_too(self, said: str, fate: Fate) -> None:
        assert fault_of(sqlite3.OperationalError(said)).fate is fate

    def test_at_opening_only_a_disk_in_trouble_is_a_fault(self) -> None:
        assert isinstance(at_opening(OSError(errno.EACCES, "no")), ConfigError)
        assert not isinstance(at_opening(OSError(errno.EIO, "no")), ConfigError)

    def test_a_refusal_is_counted_by_its_code(self) -> None:
        assert refused("limit") == "refused:limit"


class TestRows:
    def test_a_row_costs_its_packet_its_questions_and_a_hundred_bytes(self) -> None:
        plain = Entry(1, 0, 0, 0, b"x" * 50)
        asked = Entry(1, 0, 0, 0, b"x" * 50, (Asked(7, asking("wo?")),))
        assert OVERHEAD_BYTES == 100
        assert cost(plain) == 50 + len("[]") + 100
        assert cost(asked) == 50 + len('[[7, "wo?"]]') + 100

    def test_all_of_an_entry_comes_back(self, tmp_path: Path) -> None:
        file = open_file(tmp_path / "spool")
        asked = (Asked(3, asking("w\u00fc?")), Asked(4, asking("", system="Be brief.")))
        full = Entry(9, 0, NOW_MS, NOW_MS + 5, b"\x00\xff", asked)
        put(file, full)
        with file.transaction():
            assert file.page(1, 1000) == [full]

    def test_every_flipped_byte_is_noticed(self, tmp_path: Path) -> None:
        """Whether the checksum becomes larger or smaller."""
        file = open_file(tmp_path / "spool")
        put(file, *(entry(n) for n in range(1, 21)))
        rows = file.connection.execute("SELECT sequence, packet FROM packet").fetchall()
        for sequence, packet in rows:
            damaged = bytes([packet[0] ^ sequence]) + packet[1:]
            change = "UPDATE packet SET packet = ? WHERE sequence = ?"
            file.connection.execute(change, (damaged, sequence))
        with file.transaction():
            assert file.page(20, 1 << 20) == []
        assert file.counts[Fate.DAMAGED.value] == 20

    def test_a_packet_of_another_sequence_is_damaged(self, tmp_path: Path) -> None:
        file = open_file(tmp_path / "spool")
        put(file, entry(1))
        file.connection.execute("UPDATE packet SET sequence = 2")
        with file.transaction():
            assert file.page(1, 1000) == []
        assert file.counts[Fate.DAMAGED.value] == 1


class TestRoom:
    def quota(self, tmp_path: Path, packets: int) -> SpoolFile:
        return open_file(tmp_path / "spool", quota_bytes=packets * cost(entry(1)))

    def test_the_quota_is_filled_to_its_last_byte(self, tmp_path: Path) -> None:
        file = self.quota(tmp_path, 2)
        assert put(file, entry(1), entry(2)) == [None, None]
        assert sequences(file) == [1, 2]
        put(file, entry(3))
        assert (sequences(file), file.counts["quota"]) == ([2, 3], 1)

    def test_a_packet_of_exactly_the_quota_fits_and_of_a_byte_more_does_not(
        self, tmp_path: Path
    ) -> None:
        file = self.quota(tmp_path, 1)
        assert put(file, entry(1)) == [None]
        assert put(file, entry(2, size=101)) == [Fate.QUOTA]
        assert sequences(file) == [1]

    def test_room_that_is_a_byte_short_is_no_room(self, tmp_path: Path) -> None:
        file = self.quota(tmp_path, 2)
        put(file, entry(1), hold=True)
        put(file, entry(2))
        assert put(file, entry(3, size=101)) == [Fate.QUOTA]
        assert put(file, entry(4)) == [None]

    def test_what_is_held_is_not_dropped(self, tmp_path: Path) -> None:
        file = self.quota(tmp_path, 2)
        put(file, entry(1), hold=True)
        put(file, entry(2))
        put(file, entry(3))
        assert sequences(file) == [1, 3]
        with file.transaction():
            file.release(1)
        put(file, entry(4))
        assert sequences(file) == [3, 4]

    def test_as_many_as_needed_are_dropped_and_not_one_more(self, tmp_path: Path) -> None:
        file = self.quota(tmp_path, 4)
        put(file, *(entry(n) for n in (1, 2, 3, 4)))
        twice = entry(5, size=cost(entry(1)) + 90)
        assert cost(entry(1)) < cost(twice) <= 2 * cost(entry(1))
        assert put(file, twice) == [None]
        assert sequences(file) == [3, 4, 5]


class TestPages:
    def test_the_oldest_come_first(self, tmp_path: Path) -> None:
        file = open_file(tmp_path / "spool")
        put(file, *(entry(n) for n in (2, 1, 4, 3)))
        with file.transaction():
            assert [e.sequence for e in file.page(3, 1 << 20)] == [1, 2, 3]
            assert [e.sequence for e in file.page(3, 1 << 20)] == [4]
            assert file.page(3, 1 << 20) == []

    def test_a_page_is_filled_to_its_last_byte(self, tmp_path: Path) -> None:
        file = open_file(tmp_path / "spool")
        put(file, *(entry(n) for n in (1, 2, 3)))
        size = cost(entry(1))
        with file.transaction():
            assert [e.sequence for e in file.page(9, 2 * size)] == [1, 2]

    def test_packets_are_kept_to_the_last_millisecond_of_their_hours(self, tmp_path: Path) -> None:
        file = open_file(tmp_path / "spool", keep_hours=2.0)
        put(file, *(entry(n, captured_unix_ms=NOW_MS + n) for n in (1, 2, 3)))
        with file.transaction():
            assert file.expire(NOW_MS + 2 * HOUR_MS + 2) == 1
            assert file.expire(NOW_MS + 2 * HOUR_MS + 2) == 0
        assert (sequences(file), file.counts["expired"]) == ([2, 3], 1)

    def test_so_many_expire_at_once(self, tmp_path: Path) -> None:
        file = open_file(tmp_path / "spool", keep_hours=1.0)
        put(file, *(entry(n, size=1, captured_unix_ms=0) for n in range(1, EXPIRED_AT_ONCE + 3)))
        with file.transaction():
            assert [file.expire(NOW_MS) for _ in range(3)] == [EXPIRED_AT_ONCE, 2, 0]

    def test_what_is_held_does_not_expire(self, tmp_path: Path) -> None:
        file = open_file(tmp_path / "spool", keep_hours=1.0)
        put(file, entry(1, captured_unix_ms=0), hold=True)
        put(file, entry(2, captured_unix_ms=0))
        with file.transaction():
            assert file.expire(NOW_MS) == 1
        assert sequences(file) == [1]


class TestEnds:
    def test_a_packet_ends_once(self, tmp_path: Path) -> None:
        file = open_file(tmp_path / "spool")
        put(file, entry(1))
        with file.transaction():
            assert file.settle(1, "delivered")
            assert not file.settle(1, "delivered")
        assert file.counts == {"handed": 1, "delivered": 1}

    def test_one_that_was_counted_elsewhere_is_forgotten_without_a_counter(
        self, tmp_path: Path
    ) -> None:
        file = open_file(tmp_path / "spool")
        put(file, entry(1), hold=True)
        with file.transaction():
            file.forget(1)
        assert (sequences(file), file.counts) == ([], {"handed": 1})
        assert file.packets.held == set()

    def test_a_second_try_counts_no_second_time_and_finds_what_is_there(
        self, tmp_path: Path
    ) -> None:
        file = open_file(tmp_path / "spool")
        with file.transaction():
            file.put(entry(1), sending=False)
            assert file.put(entry(1), sending=False, again=True) is None
            assert file.put(entry(2), sending=False, again=True) is None
        assert (sequences(file), file.counts["handed"]) == ([1, 2], 1)

    def test_a_new_boot_has_said_nothing(self, tmp_path: Path) -> None:
        file = open_file(tmp_path / "spool")
        with file.transaction():
            file.put(entry(4), sending=True)
            file.reborn(77)
        assert (file.sent_until, file.identity.boot, file.counts["reborn"]) == (0, 77, 1)
        file.close()
        again = open_file(tmp_path / "spool")
        assert (again.sent_until, again.identity.boot) == (0, 77)

    def test_what_was_said_never_goes_back(self, tmp_path: Path) -> None:
        file = open_file(tmp_path / "spool")
        with file.transaction():
            file.mark_sent(5)
            file.mark_sent(3)
        assert file.sent_until == 5

    def test_in_a_corrupt_ones_place_what_is_in_memory_is_counted_when_it_ends(
        self, tmp_path: Path
    ) -> None:
        corrupt, fresh = open_file(tmp_path / "old"), open_file(tmp_path / "new")
        put(corrupt, entry(1), entry(2), hold=True)
        put(corrupt, entry(3), entry(4), entry(5))
        with fresh.transaction():
            assert fresh.continue_from(corrupt) == 3
        usual = {"handed": 5, "corrupt": 3, "corrupt_files": 1, "reborn": 1}
        assert fresh.counts == usual
        with fresh.transaction():
            assert fresh.settle(1, "delivered")
            assert not fresh.settle(1, "delivered")
            fresh.release(2)
            fresh.release(2)
        assert fresh.counts == {**usual, "delivered": 1, "corrupt": 4}

    def test_notes_are_remembered_and_only_changes_are_written(self, tmp_path: Path) -> None:
        file = open_file(tmp_path / "spool")
        with file.transaction():
            file.note({"day": "1", "cap": "2"})
            file.note({"cap": "3"})
        assert file.notes == {"day": "1", "cap": "3"}
        file.close()
        assert open_file(tmp_path / "spool").notes == {"day": "1", "cap": "3"}


class TestIdentity:
    def test_64_cameras_fit(self, tmp_path: Path) -> None:
        open_file(tmp_path / "spool").close()
        names = tuple(f"c{n}" for n in range(63))
        file = SpoolFile.open(settings(tmp_path / "spool"), DIGEST, Identity("kerb", 1, 2, names))
        assert file.identity.cameras == ("north", *names)

    def test_a_second_lock_is_refused_until_the_first_is_released(self, tmp_path: Path) -> None:
        first = Lock(tmp_path / "spool")
        with pytest.raises(ConfigError, match="is in use by another process"):
            Lock(tmp_path / "spool")
        open_files = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with pytest.raises(ConfigError, match="is in use"):
                Lock(tmp_path / "spool")
        assert len(os.listdir("/proc/self/fd")) == open_files
        first.release()
        Lock(tmp_path / "spool").release()
        assert stat.S_IMODE((tmp_path / "spool.lock").stat().st_mode) == 0o600

    def test_only_its_owner_may_read_it(self, tmp_path: Path) -> None:
        connect(tmp_path / "spool").close()
        assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o600

    def test_all_parts_of_a_corrupt_file_are_moved_aside(self, tmp_path: Path) -> None:
        path = tmp_path / "spool"
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").write_text(suffix)
        aside = move_aside(path)
        assert aside.name.startswith("spool.corrupt-")
        names = sorted(part.name for part in tmp_path.iterdir())
        assert names == sorted(f"{aside.name}{suffix}" for suffix in ("", "-wal", "-shm"))


class TestReports:
    def test_counts_are_added_up(self) -> None:
        counts = {"handed": 9, "delivered": 4, "expired": 2, "corrupt_files": 1, "reborn": 1}
        report = SpoolReport("p", "kerb", "b", ("north",), 3, 300, 1, 1000, counts)
        assert (report.handed, report.delivered, report.ended, report.lost) == (9, 4, 6, 2)
        nothing = SpoolReport("p", "kerb", "b", ("north",), 0, 0, 0, 1000)
        assert (nothing.handed, nothing.delivered, nothing.ended, nothing.lost) == (0, 0, 0, 0)

    def test_a_look_from_outside_groups_by_camera(self, tmp_path: Path) -> None:
        path = tmp_path / "spool"
        file = open_file(path, quota_bytes=5000)
        one = entry(1, captured_unix_ms=NOW_MS)
        two = entry(2, captured_unix_ms=NOW_MS + 2500)
        put(file, one, two, entry(3, captured_unix_ms=NOW_MS))
        report, waiting = look_into(path)
        assert waiting == [
            Waiting("north", 3, 3 * cost(one), NOW_MS, NOW_MS + 2500),
        ]
        assert (report.packets, report.bytes, report.other_bundle) == (3, 3 * cost(one), 0)
        assert (report.device, report.boot) == ("kerb", f"{FRESH.boot:016x}")
        assert (report.cameras, report.quota_bytes) == (("north",), 5000)
        assert report_lines(report, waiting)[1:] == [
            f"waiting: 3 packets, {3 * cost(one)} of 5,000 bytes",
            f"  north: 3 packets, {3 * cost(one)} bytes, captured within 2 s",
            "handed over: 3, delivered: 0",
        ]

    def test_a_file_that_is_not_there_or_no_spool_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="there is no spool at"):
            connect_read_only(tmp_path / "none")
        (tmp_path / "text").write_text("no database" * 100)
        with pytest.raises(ConfigError, match="spool"):
            connect_read_only(tmp_path / "text")

    def test_a_rebirth_loses_nothing_unless_it_says_so(self) -> None:
        assert (SpoolReborn("why").lost, SpoolReborn("why", 3).lost) == (0, 3)

    def test_the_defaults_are_a_gibibyte_and_three_days(self) -> None:
        usual = SpoolSettings(Path("spool"))
        assert (usual.quota_bytes, usual.keep_hours, usual.reserve_bytes) == (1 << 30, 72, 1 << 24)
