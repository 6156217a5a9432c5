-- +goose Up

-- What people who sign in bring with them. Of every secret only a hash is kept,
-- but for the secret of a TOTP generator, which is sealed with the server key.

ALTER TABLE users ADD COLUMN role_source TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN attributes JSONB NOT NULL DEFAULT '{}';
ALTER TABLE users ADD COLUMN must_change BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE users ADD COLUMN loopback_only BOOLEAN NOT NULL DEFAULT FALSE;

ALTER TABLE sessions ADD COLUMN authenticated_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN amr TEXT NOT NULL DEFAULT '';

CREATE TABLE identities (
    provider   TEXT NOT NULL,
    subject    TEXT NOT NULL,
    account    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email      TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used  BIGINT NOT NULL,
    PRIMARY KEY (provider, subject)
);
CREATE INDEX identities_account ON identities (account);

CREATE TABLE flows (
    state    BYTEA PRIMARY KEY,
    provider TEXT NOT NULL,
    browser  BYTEA NOT NULL,
    nonce    TEXT NOT NULL,
    verifier TEXT NOT NULL,
    back_to  TEXT NOT NULL,
    account  TEXT NOT NULL,
    expires  BIGINT NOT NULL
);
CREATE INDEX flows_browser ON flows (browser);
CREATE INDEX flows_expires ON flows (expires);

CREATE TABLE seen_assertions (
    hash    BYTEA PRIMARY KEY,
    expires BIGINT NOT NULL
);
CREATE INDEX seen_assertions_expires ON seen_assertions (expires);

CREATE TABLE one_time_keys (
    hash     BYTEA PRIMARY KEY,
    purpose  TEXT NOT NULL,
    account  TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    data     TEXT NOT NULL,
    created  BIGINT NOT NULL,
    expires  BIGINT NOT NULL,
    failures INTEGER NOT NULL,
    used_at  BIGINT NOT NULL
);
CREATE INDEX one_time_keys_account ON one_time_keys (account, purpose);
CREATE INDEX one_time_keys_expires ON one_time_keys (expires);

CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    hash       BYTEA NOT NULL,
    account    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    prefix     TEXT NOT NULL,
    role       INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    expires    BIGINT NOT NULL,
    last_used  BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX api_keys_prefix ON api_keys (prefix);
CREATE INDEX api_keys_account ON api_keys (account, created_at);
CREATE INDEX api_keys_expires ON api_keys (expires);

CREATE TABLE totps (
    account      TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed       BYTEA NOT NULL,
    created_at   BIGINT NOT NULL,
    confirmed_at BIGINT NOT NULL,
    last_step    BIGINT NOT NULL
);

CREATE TABLE recovery_codes (
    account TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash    BYTEA NOT NULL,
    used_at BIGINT NOT NULL,
    PRIMARY KEY (account, hash)
);

CREATE TABLE passkeys (
    id         TEXT PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    credential TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used  BIGINT NOT NULL
);
CREATE INDEX passkeys_account ON passkeys (account, created_at);

CREATE TABLE audit (
    id         TEXT PRIMARY KEY,
    at         BIGINT NOT NULL,
    action     TEXT NOT NULL,
    outcome    TEXT NOT NULL,
    reason     TEXT NOT NULL,
    actor      TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    object     TEXT NOT NULL,
    domain     TEXT NOT NULL,
    provider   TEXT NOT NULL,
    ip         TEXT NOT NULL,
    user_agent TEXT NOT NULL,
    request    TEXT NOT NULL,
    details    JSONB NOT NULL
);
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_actor ON audit (actor, at);
CREATE INDEX audit_object ON audit (object, at);
CREATE INDEX audit_action ON audit (action, at);
CREATE INDEX audit_request ON audit (request);
