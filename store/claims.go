package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/postern-io/postern/registry"
)

const claimColumns = "id, batch, domain, hash, device, name, tags, metadata, expires, created_at, created_by, used_at, request"

func scanClaim(r row) (c registry.Claim, err error) {
	var hash []byte
	var device sql.NullString
	if err := r.Scan(&c.ID, &c.Batch, &c.Domain, &hash, &device, &c.Name, tagsOf{&c.Tags}, metadataOf{&c.Metadata},
		timeOf{&c.Expires}, timeOf{&c.CreatedAt}, &c.CreatedBy, timeOf{&c.UsedAt}, &c.Request); err != nil {
		return c, err
	}
	if len(hash) != len(c.Hash) {
		return c, fmt.Errorf("claim %s: hash of %d bytes", c.ID, len(hash))
	}
	c.Hash, c.Device = registry.SecretHash(hash), registry.DeviceID(device.String)
	return c, nil
}

// ClaimByHash implements registry.ClaimReader.
func (s reads) ClaimByHash(ctx context.Context, hash registry.SecretHash) (registry.Claim, error) {
	c, err := one(ctx, s.db, scanClaim, "SELECT "+claimColumns+" FROM claims WHERE hash = $1", hash[:])
	if err != nil {
		return registry.Claim{}, err
	}
	rights, err := s.claimRights(ctx, c)
	c.Rights = rights[c.ID]
	return c, err
}

// Claims implements registry.ClaimReader.
func (s reads) Claims(ctx context.Context, q registry.ClaimQuery) (registry.List[registry.Claim], error) {
	f := filter{}
	f.add("domain = ?", string(q.Domain))
	switch q.Status {
	case "open":
		f.add("used_at = 0 AND expires > ?", micros(q.Now))
	case "used":
		f.add("used_at > 0")
	case "expired":
		f.add("used_at = 0 AND expires <= ?", micros(q.Now))
	}
	page := registry.Query{Offset: q.Offset, Limit: q.Limit, Descending: true}
	found, err := list(ctx, s.db, page, f, scanClaim, "claims", claimColumns, orders)
	if err != nil || len(found.Items) == 0 {
		return found, err
	}
	rights, err := s.claimRights(ctx, found.Items...)
	for i, c := range found.Items {
		found.Items[i].Rights = rights[c.ID]
	}
	return found, err
}

// claimRights returns the rights of each claim, by channel.
func (s reads) claimRights(ctx context.Context, claims ...registry.Claim) (map[registry.ClaimID][]registry.ClaimRights, error) {
	var f filter
	ids := make([]any, len(claims))
	for i, c := range claims {
		ids[i] = string(c.ID)
	}
	f.in("claim", ids...)
	rights := make(map[registry.ClaimID][]registry.ClaimRights, len(claims))
	_, err := collect(ctx, s.db, func(r row) (none struct{}, err error) {
		var claim registry.ClaimID
		var one registry.ClaimRights
		if err := r.Scan(&claim, &one.Channel, &one.Rights); err != nil {
			return none, err
		}
		rights[claim] = append(rights[claim], one)
		return none, nil
	}, "SELECT claim, channel, rights FROM claim_rights"+f.where()+" ORDER BY claim, channel", f.args...)
	return rights, err
}

// InsertClaim implements registry.ClaimWriter.
func (s writes) InsertClaim(ctx context.Context, c registry.Claim) error {
	return exec(ctx, s.db, "INSERT INTO claims ("+claimColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
		string(c.ID), c.Batch, string(c.Domain), c.Hash[:], nullable(string(c.Device)), c.Name, jsonTags(c.Tags), jsonMetadata(c.Metadata),
		micros(c.Expires), micros(c.CreatedAt), string(c.CreatedBy), micros(c.UsedAt), c.Request)
}

func nullable(s string) sql.NullString { return sql.NullString{String: s, Valid: s != ""} }

// InsertClaimRights implements registry.ClaimWriter.
func (s writes) InsertClaimRights(ctx context.Context, batch string, r registry.ClaimRights) error {
	return exec(ctx, s.db, "INSERT INTO claim_rights (claim, domain, channel, rights) SELECT id, domain, CAST($2 AS TEXT), CAST($3 AS INTEGER) FROM claims WHERE batch = $1",
		batch, string(r.Channel), int(r.Rights))
}

// UpdateClaim implements registry.ClaimWriter.
func (s writes) UpdateClaim(ctx context.Context, c registry.Claim) error {
	return exec(ctx, s.db, "UPDATE claims SET device = $2, request = $3, used_at = $4 WHERE id = $1",
		string(c.ID), nullable(string(c.Device)), c.Request, micros(c.UsedAt))
}

// DeleteClaim implements registry.ClaimWriter.
func (s writes) DeleteClaim(ctx context.Context, domain registry.DomainID, id registry.ClaimID) error {
	return exec(ctx, s.db, "DELETE FROM claims WHERE id = $1 AND domain = $2", string(id), string(domain))
}
