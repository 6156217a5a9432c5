package store

import (
	"context"
	"strings"
	"time"

	"github.com/postern-io/postern/registry"
)

const auditColumns = "id, at, action, outcome, reason, actor, actor_name, object, domain, provider, ip, user_agent, request, details"

func scanAudit(r row) (e registry.AuditEvent, err error) {
	err = r.Scan(&e.ID, timeOf{&e.At}, &e.Action, &e.Outcome, &e.Reason, &e.Actor, &e.ActorName, &e.Object, &e.Domain,
		&e.Provider, &e.IP, &e.UserAgent, &e.Request, metadataOf{&e.Details})
	return e, err
}

// InsertAudit adds a line to the audit trail.
func (s signIns) InsertAudit(ctx context.Context, e registry.AuditEvent) error {
	return exec(ctx, s.db, "INSERT INTO audit ("+auditColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
		string(e.ID), micros(e.At), e.Action, e.Outcome, string(e.Reason), string(e.Actor), e.ActorName, e.Object, string(e.Domain),
		e.Provider, e.IP, e.UserAgent, e.Request, jsonMetadata(e.Details))
}

// Audit lists the audit trail, the newest first.
func (s reads) Audit(ctx context.Context, q registry.AuditQuery) (registry.List[registry.AuditEvent], error) {
	f := filter{}
	for _, c := range []struct{ column, value string }{
		{"id", string(q.ID)}, {"outcome", q.Outcome}, {"actor", string(q.Actor)}, {"object", q.Object}, {"domain", string(q.Domain)},
		{"provider", q.Provider}, {"ip", q.IP}, {"request", q.Request},
	} {
		if c.value != "" {
			f.add(c.column+" = ?", c.value)
		}
	}
	switch {
	case strings.HasSuffix(q.Action, "."):
		f.add(`action LIKE ? ESCAPE '\'`, strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(q.Action)+"%")
	case q.Action != "":
		f.add("action = ?", q.Action)
	}
	if !q.From.IsZero() {
		f.add("at >= ?", micros(q.From))
	}
	if !q.To.IsZero() {
		f.add("at < ?", micros(q.To))
	}
	page := registry.Query{Offset: q.Offset, Limit: q.Limit, Descending: true}
	return list(ctx, s.db, page, f, scanAudit, "audit", auditColumns, map[registry.Order]string{registry.ByCreated: "at, id"})
}

// PurgeAudit implements registry.Purger.
func (s writes) PurgeAudit(ctx context.Context, before time.Time) error {
	return run(ctx, s.db, "DELETE FROM audit WHERE at < $1", micros(before))
}
