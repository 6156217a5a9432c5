-- +goose Up

-- Settings that were changed while the server runs. What is secret is sealed with
-- the server key.
CREATE TABLE settings (
    name       TEXT PRIMARY KEY,
    value      TEXT NOT NULL,
    sealed     BOOLEAN NOT NULL,
    updated_by TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- How often they were changed.
CREATE TABLE settings_revision (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    revision   BIGINT NOT NULL,
    updated_by TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
INSERT INTO settings_revision (id, revision, updated_by, updated_at) VALUES (1, 0, '', 0);
