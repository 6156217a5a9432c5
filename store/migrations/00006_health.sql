-- +goose Up

-- When a certificate was last seen in use at two addresses at once.
ALTER TABLE certificates ADD COLUMN shared_at BIGINT NOT NULL DEFAULT 0;
