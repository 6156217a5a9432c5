-- +goose Up

INSERT INTO locks (name, uses) VALUES ('foreign', 0);

CREATE TABLE imported_authorities (
    id            TEXT NOT NULL,
    domain        TEXT NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    name          TEXT NOT NULL,
    der           BYTEA NOT NULL,
    key_hash      TEXT NOT NULL,
    status        TEXT NOT NULL,
    source        TEXT NOT NULL,
    arrival       TEXT NOT NULL,
    longest_life  BIGINT NOT NULL,
    list_url      TEXT NOT NULL,
    stale_list    TEXT NOT NULL,
    nonce         TEXT NOT NULL,
    proved_at     BIGINT NOT NULL,
    override_by   TEXT NOT NULL,
    override_why  TEXT NOT NULL,
    created_by    TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_by    TEXT NOT NULL,
    updated_at    BIGINT NOT NULL,
    PRIMARY KEY (domain, id)
);
-- One key vouches in one domain. What is unproved claims nothing.
CREATE UNIQUE INDEX imported_authorities_key ON imported_authorities (key_hash) WHERE status <> 'unproved';

CREATE TABLE principals (
    authority  TEXT NOT NULL,
    name       TEXT NOT NULL,
    domain     TEXT NOT NULL,
    device     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (authority, name),
    FOREIGN KEY (domain, authority) REFERENCES imported_authorities (domain, id) ON DELETE CASCADE,
    FOREIGN KEY (domain, device) REFERENCES devices (domain, id) ON DELETE CASCADE
);
CREATE INDEX principals_device ON principals (device);
CREATE INDEX principals_domain_authority ON principals (domain, authority);
CREATE INDEX principals_domain_device ON principals (domain, device);
CREATE INDEX devices_pending ON devices (id) WHERE status = 'pending';

CREATE TABLE foreign_lists (
    authority   TEXT PRIMARY KEY,
    domain      TEXT NOT NULL,
    number      TEXT NOT NULL,
    this_update BIGINT NOT NULL,
    next_update BIGINT NOT NULL,
    line_count  BIGINT NOT NULL,
    fetched_at  BIGINT NOT NULL,
    sum         TEXT NOT NULL,
    der         BYTEA NOT NULL,
    FOREIGN KEY (domain, authority) REFERENCES imported_authorities (domain, id) ON DELETE CASCADE
);
