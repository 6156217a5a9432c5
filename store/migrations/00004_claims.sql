-- +goose Up

-- The device is NULL until there is one; the claim goes with it.
CREATE TABLE claims (
    id         TEXT PRIMARY KEY,
    batch      TEXT NOT NULL,
    domain     TEXT NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    hash       BYTEA NOT NULL,
    device     TEXT,
    name       TEXT NOT NULL,
    tags       JSONB NOT NULL,
    metadata   JSONB NOT NULL,
    expires    BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    used_at    BIGINT NOT NULL,
    request    TEXT NOT NULL,
    FOREIGN KEY (domain, device) REFERENCES devices (domain, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX claims_hash ON claims (hash);
CREATE INDEX claims_batch ON claims (batch);
CREATE INDEX claims_created ON claims (domain, created_at, id);
CREATE INDEX claims_device ON claims (domain, device);
CREATE INDEX claims_expires ON claims (expires);

-- With the channel goes what was promised on it: its id may come back, as
-- another channel.
CREATE TABLE claim_rights (
    claim   TEXT NOT NULL REFERENCES claims (id) ON DELETE CASCADE,
    domain  TEXT NOT NULL,
    channel TEXT NOT NULL,
    rights  INTEGER NOT NULL,
    PRIMARY KEY (claim, channel),
    FOREIGN KEY (domain, channel) REFERENCES channels (domain, id) ON DELETE CASCADE
);
CREATE INDEX claim_rights_channel ON claim_rights (domain, channel);
