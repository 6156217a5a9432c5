-- +goose Up

-- The tags once more, by tag: to find those of one among 100,000 devices, no
-- other is read. What is shown comes from the rows themselves.
CREATE TABLE device_tags (
    domain TEXT NOT NULL,
    tag    TEXT NOT NULL,
    device TEXT NOT NULL,
    PRIMARY KEY (domain, tag, device),
    FOREIGN KEY (domain, device) REFERENCES devices (domain, id) ON DELETE CASCADE
);
CREATE INDEX device_tags_of ON device_tags (domain, device);

CREATE TABLE channel_tags (
    domain  TEXT NOT NULL,
    tag     TEXT NOT NULL,
    channel TEXT NOT NULL,
    PRIMARY KEY (domain, tag, channel),
    FOREIGN KEY (domain, channel) REFERENCES channels (domain, id) ON DELETE CASCADE
);
CREATE INDEX channel_tags_of ON channel_tags (domain, channel);

-- A noun has at most 32 tags.
INSERT INTO device_tags (domain, tag, device)
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 31)
SELECT domain, tags ->> i, id FROM devices CROSS JOIN n WHERE tags ->> i IS NOT NULL
ON CONFLICT DO NOTHING;

INSERT INTO channel_tags (domain, tag, channel)
WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 31)
SELECT domain, tags ->> i, id FROM channels CROSS JOIN n WHERE tags ->> i IS NOT NULL
ON CONFLICT DO NOTHING;
