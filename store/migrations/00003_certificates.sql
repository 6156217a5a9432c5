-- +goose Up

INSERT INTO locks (name, uses) VALUES ('authority', 0), ('lists', 0);

CREATE TABLE authorities (
    id         TEXT PRIMARY KEY,
    der        BYTEA NOT NULL,
    root       BYTEA NOT NULL,
    root_list  BYTEA NOT NULL,
    sealed_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT NOT NULL,
    revision   BIGINT NOT NULL
);

CREATE TABLE revocation_lists (
    authority   TEXT PRIMARY KEY REFERENCES authorities (id),
    number      BIGINT NOT NULL,
    revision    BIGINT NOT NULL,
    this_update BIGINT NOT NULL,
    next_update BIGINT NOT NULL,
    der         BYTEA NOT NULL
);

-- Domain and device are not referenced: a certificate outlives both, in the
-- lists of what was revoked.
CREATE TABLE certificates (
    id         TEXT PRIMARY KEY,
    authority  TEXT NOT NULL REFERENCES authorities (id),
    serial     TEXT NOT NULL,
    domain     TEXT NOT NULL,
    device     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    key_kind   TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after  BIGINT NOT NULL,
    der        BYTEA NOT NULL,
    request    TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    replaces   TEXT NOT NULL,
    last_used  BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL,
    reason     INTEGER NOT NULL
);
CREATE UNIQUE INDEX certificates_serial ON certificates (authority, serial);
CREATE INDEX certificates_created ON certificates (domain, created_at, id);
CREATE INDEX certificates_device ON certificates (device, created_at, id);
CREATE INDEX certificates_request ON certificates (device, request);
CREATE INDEX certificates_ends ON certificates (not_after);
CREATE INDEX certificates_revoked ON certificates (not_after, id) WHERE revoked_at > 0;
