-- +goose Up

-- What health looks for in a domain of 100,000 devices, so that it is found
-- also before the database has counted what is in its tables.
CREATE INDEX device_secrets_age ON device_secrets (domain, created) WHERE expires = 0;
CREATE INDEX device_secrets_ending ON device_secrets (domain, expires) WHERE expires > 0;
CREATE INDEX certificates_good ON certificates (domain, not_after) WHERE revoked_at = 0;
CREATE INDEX certificates_good_of ON certificates (device, not_after) WHERE revoked_at = 0;
CREATE INDEX certificates_unused ON certificates (domain, created_at) WHERE last_used = 0 AND revoked_at = 0;
CREATE INDEX certificates_shared ON certificates (domain, shared_at) WHERE shared_at > 0;
