package store

import (
	"context"

	"github.com/postern-io/postern/registry"
)

const channelColumns = "id, domain, name, route, stored, status, tags, metadata, created_at, updated_by, updated_at"

func scanChannel(r row) (c registry.Channel, err error) {
	err = r.Scan(&c.ID, &c.Domain, &c.Name, &c.Route, &c.Store, &c.Status, tagsOf{&c.Tags}, metadataOf{&c.Metadata},
		timeOf{&c.CreatedAt}, &c.UpdatedBy, timeOf{&c.UpdatedAt})
	return c, err
}

// Channel implements registry.ChannelReader.
func (s reads) Channel(ctx context.Context, id registry.ChannelID) (registry.Channel, error) {
	return one(ctx, s.db, scanChannel, "SELECT "+channelColumns+" FROM channels WHERE id = $1", string(id))
}

// ChannelByRef implements registry.ChannelReader. Two probes of a unique index.
func (s reads) ChannelByRef(ctx context.Context, domain registry.DomainID, ref string) (registry.Channel, error) {
	if ref == "" {
		return registry.Channel{}, registry.ErrNotFound
	}
	return one(ctx, s.db, scanChannel, "SELECT "+channelColumns+` FROM channels
		WHERE domain = $1 AND id = $2 OR domain = $1 AND route = $2 AND route <> ''
		ORDER BY CASE WHEN id = $2 THEN 0 ELSE 1 END LIMIT 1`, string(domain), ref)
}

// Channels implements registry.ChannelReader.
func (s reads) Channels(ctx context.Context, q registry.Query) (registry.List[registry.Channel], error) {
	f := filter{}
	f.add("domain = ?", string(q.Domain))
	f.common(q, channelTags)
	if q.Device != "" || q.Rights != 0 {
		if err := f.linked(ctx, s.db, q, "channels", "channel", "device", string(q.Device)); err != nil {
			return registry.List[registry.Channel]{}, err
		}
	}
	return list(ctx, s.db, q, f, scanChannel, "channels", channelColumns, orders)
}

// InsertChannel implements registry.ChannelWriter.
func (s writes) InsertChannel(ctx context.Context, c registry.Channel) error {
	if err := exec(ctx, s.db, `INSERT INTO channels
		(id, domain, name, search_lc, route, stored, status, tags, metadata, created_at, updated_by, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		string(c.ID), string(c.Domain), c.Name, search(c.Name), c.Route, c.Store, string(c.Status),
		jsonTags(c.Tags), jsonMetadata(c.Metadata), micros(c.CreatedAt), string(c.UpdatedBy), micros(c.UpdatedAt)); err != nil {
		return err
	}
	return channelTags.insert(ctx, s.db, string(c.Domain), string(c.ID), c.Tags)
}

// UpdateChannel implements registry.ChannelWriter.
func (s writes) UpdateChannel(ctx context.Context, c registry.Channel) error {
	if err := exec(ctx, s.db, `UPDATE channels SET name = $2, search_lc = $3, route = $4, stored = $5, status = $6,
		tags = $7, metadata = $8, updated_by = $9, updated_at = $10 WHERE id = $1`,
		string(c.ID), c.Name, search(c.Name), c.Route, c.Store, string(c.Status),
		jsonTags(c.Tags), jsonMetadata(c.Metadata), string(c.UpdatedBy), micros(c.UpdatedAt)); err != nil {
		return err
	}
	return channelTags.replace(ctx, s.db, string(c.Domain), string(c.ID), c.Tags)
}

// DeleteChannel implements registry.ChannelWriter.
func (s writes) DeleteChannel(ctx context.Context, id registry.ChannelID) error {
	return exec(ctx, s.db, "DELETE FROM channels WHERE id = $1", string(id))
}
