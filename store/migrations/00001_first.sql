-- +goose Up

-- One text for SQLite and PostgreSQL. Times are microseconds since 1970, 0 for
-- none. JSONB is a real type on PostgreSQL and text on SQLite. The columns that
-- end in _lc hold what is searched without case, lowered by us, because the
-- two databases disagree on what lower() does beyond ASCII.

CREATE TABLE locks (
    name TEXT PRIMARY KEY,
    uses BIGINT NOT NULL
);
INSERT INTO locks (name, uses) VALUES ('owners', 0), ('routes', 0);

CREATE TABLE users (
    id              TEXT PRIMARY KEY,
    username        TEXT NOT NULL,
    username_lc     TEXT NOT NULL,
    email           TEXT NOT NULL,
    email_lc        TEXT NOT NULL,
    email_verified  BOOLEAN NOT NULL,
    first_name      TEXT NOT NULL,
    last_name       TEXT NOT NULL,
    search_lc       TEXT NOT NULL,
    role            INTEGER NOT NULL,
    status          TEXT NOT NULL,
    tags            JSONB NOT NULL,
    metadata        JSONB NOT NULL,
    profile_picture TEXT NOT NULL,
    provider        TEXT NOT NULL,
    password_hash   TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    updated_by      TEXT NOT NULL,
    updated_at      BIGINT NOT NULL,
    deleted_at      BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_username ON users (username_lc);
CREATE UNIQUE INDEX users_email ON users (email_lc) WHERE email_lc <> '';
CREATE INDEX users_created ON users (created_at, id, status);
CREATE INDEX users_updated ON users (updated_at, id, status);
CREATE INDEX users_status ON users (status);
CREATE INDEX users_role ON users (role, status);

CREATE TABLE domains (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    search_lc  TEXT NOT NULL,
    route      TEXT NOT NULL,
    status     TEXT NOT NULL,
    tags       JSONB NOT NULL,
    metadata   JSONB NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_by TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX domains_route ON domains (route);
CREATE INDEX domains_created ON domains (created_at, id, status);
CREATE INDEX domains_updated ON domains (updated_at, id, status);
CREATE INDEX domains_name ON domains (name, id, status);
CREATE INDEX domains_status ON domains (status);

CREATE TABLE memberships (
    domain  TEXT NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    account TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role    INTEGER NOT NULL,
    PRIMARY KEY (domain, account)
);
CREATE INDEX memberships_account ON memberships (account, domain);

CREATE TABLE devices (
    id         TEXT PRIMARY KEY,
    domain     TEXT NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    search_lc  TEXT NOT NULL,
    ident      TEXT NOT NULL,
    status     TEXT NOT NULL,
    tags       JSONB NOT NULL,
    metadata   JSONB NOT NULL,
    created_at BIGINT NOT NULL,
    updated_by TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
-- The status stands in the indexes so that skipping to a page reads no rows.
CREATE UNIQUE INDEX devices_domain ON devices (domain, id);
CREATE INDEX devices_created ON devices (domain, created_at, id, status);
CREATE INDEX devices_updated ON devices (domain, updated_at, id, status);
CREATE INDEX devices_name ON devices (domain, name, id, status);
CREATE INDEX devices_status ON devices (domain, status);

CREATE TABLE device_secrets (
    id        TEXT PRIMARY KEY,
    domain    TEXT NOT NULL,
    device    TEXT NOT NULL,
    hash      BYTEA NOT NULL,
    created   BIGINT NOT NULL,
    last_used BIGINT NOT NULL,
    expires   BIGINT NOT NULL,
    FOREIGN KEY (domain, device) REFERENCES devices (domain, id) ON DELETE CASCADE
);
-- Led by the hash: a credential that is a secret alone is one probe, and the
-- same index keeps it unique: a secret alone names one device.
CREATE UNIQUE INDEX device_secrets_hash ON device_secrets (hash);
CREATE INDEX device_secrets_device ON device_secrets (domain, device);
CREATE INDEX device_secrets_of ON device_secrets (device);
CREATE INDEX device_secrets_expires ON device_secrets (expires) WHERE expires > 0;

CREATE TABLE channels (
    id         TEXT PRIMARY KEY,
    domain     TEXT NOT NULL REFERENCES domains (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    search_lc  TEXT NOT NULL,
    route      TEXT NOT NULL,
    stored     BOOLEAN NOT NULL,
    status     TEXT NOT NULL,
    tags       JSONB NOT NULL,
    metadata   JSONB NOT NULL,
    created_at BIGINT NOT NULL,
    updated_by TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX channels_domain ON channels (domain, id);
CREATE UNIQUE INDEX channels_route ON channels (domain, route) WHERE route <> '';
CREATE INDEX channels_created ON channels (domain, created_at, id, status);
CREATE INDEX channels_updated ON channels (domain, updated_at, id, status);
CREATE INDEX channels_name ON channels (domain, name, id, status);
CREATE INDEX channels_status ON channels (domain, status);

-- Both ends are referenced together with the domain: a connection across
-- domains cannot be stored.
CREATE TABLE connections (
    domain  TEXT NOT NULL,
    device  TEXT NOT NULL,
    channel TEXT NOT NULL,
    rights  INTEGER NOT NULL,
    PRIMARY KEY (device, channel),
    FOREIGN KEY (domain, device) REFERENCES devices (domain, id) ON DELETE CASCADE,
    FOREIGN KEY (domain, channel) REFERENCES channels (domain, id) ON DELETE CASCADE
);
CREATE INDEX connections_channel ON connections (channel, device, rights);
CREATE INDEX connections_domain_device ON connections (domain, device);
CREATE INDEX connections_domain_channel ON connections (domain, channel);

CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    provider   TEXT NOT NULL,
    kind       TEXT NOT NULL,
    ip         TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    expires    BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL
);
CREATE INDEX sessions_account ON sessions (account, created_at);
CREATE INDEX sessions_expires ON sessions (expires);

CREATE TABLE refresh_tokens (
    hash    BYTEA PRIMARY KEY,
    session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    parent  BYTEA NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    used_at BIGINT NOT NULL
);
CREATE INDEX refresh_tokens_session ON refresh_tokens (session);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires);

CREATE TABLE throttles (
    name          TEXT PRIMARY KEY,
    failures      BIGINT NOT NULL,
    since         BIGINT NOT NULL,
    blocked_until BIGINT NOT NULL
);
CREATE INDEX throttles_since ON throttles (since);
