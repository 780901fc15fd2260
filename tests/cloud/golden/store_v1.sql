-- A store as schema 1 left it: one session, one packet, no observations.
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
CREATE TABLE schema_version (version BIGINT NOT NULL, applied_unix_ms BIGINT NOT NULL);
INSERT INTO schema_version VALUES (1, 1795258000000);
CREATE TABLE session (
    key BLOB NOT NULL PRIMARY KEY,
    device TEXT NOT NULL,
    boot BIGINT NOT NULL,
    epoch_unix_ms BIGINT NOT NULL,
    cameras TEXT NOT NULL,
    bundle_digest BLOB NOT NULL,
    software TEXT NOT NULL,
    seen_ns BIGINT NOT NULL
);
CREATE TABLE packet (
    device TEXT NOT NULL,
    boot BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    session BLOB NOT NULL,
    camera TEXT NOT NULL,
    captured_ns BIGINT NOT NULL,
    received_ns BIGINT NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (device, boot, sequence)
);
CREATE INDEX packet_by_age ON packet (received_ns);
CREATE TABLE total (
    id INTEGER NOT NULL PRIMARY KEY,
    bytes BIGINT NOT NULL,
    conflicts BIGINT NOT NULL
);
INSERT INTO total (id, bytes, conflicts) VALUES (1, 135, 3);
INSERT INTO session VALUES (
    x'000102030405060708090a0b0c0d0e0f', 'kerb', 1, 1700000000000, '["north"]', x'07', '',
    1795258000000000000
);
INSERT INTO packet VALUES (
    'kerb', 1, 7, x'000102030405060708090a0b0c0d0e0f', 'north', 1700000007000000000,
    1795258000000000000, x'736576656e'
);
