package store

import (
	"context"
	"strings"
	"time"

	"github.com/postern-io/postern/registry"
)

const userColumns = `id, username, email, email_verified, first_name, last_name, role, status, tags, metadata,
	profile_picture, provider, password_hash, created_at, updated_by, updated_at, deleted_at,
	role_source, attributes, must_change, loopback_only`

func userFields(u *registry.User) []any {
	return []any{&u.ID, &u.Username, &u.Email, &u.EmailVerified, &u.FirstName, &u.LastName, &u.Role, &u.Status,
		tagsOf{&u.Tags}, metadataOf{&u.Metadata}, &u.ProfilePicture, &u.Provider, &u.PasswordHash,
		timeOf{&u.CreatedAt}, &u.UpdatedBy, timeOf{&u.UpdatedAt}, timeOf{&u.DeletedAt},
		&u.RoleSource, attributesOf{&u.Attributes}, &u.MustChange, &u.LoopbackOnly}
}

func scanUser(r row) (u registry.User, err error) {
	err = r.Scan(userFields(&u)...)
	return u, err
}

// User implements registry.UserReader.
func (s reads) User(ctx context.Context, id registry.UserID) (registry.User, error) {
	return one(ctx, s.db, scanUser, "SELECT "+userColumns+" FROM users WHERE id = $1", string(id))
}

// UserByLogin implements registry.UserReader. Only e-mail addresses have an @
// (registry's rule), so it is one probe.
func (s reads) UserByLogin(ctx context.Context, login string) (registry.User, error) {
	column := "username_lc"
	if strings.Contains(login, "@") {
		column = "email_lc"
	}
	if login == "" {
		return registry.User{}, registry.ErrNotFound
	}
	return one(ctx, s.db, scanUser, "SELECT "+userColumns+" FROM users WHERE "+column+" = $1 AND "+column+" <> ''",
		strings.ToLower(login))
}

// Users implements registry.UserReader.
func (s reads) Users(ctx context.Context, q registry.Query) (registry.List[registry.User], error) {
	f := filter{}
	f.common(q, tagged{})
	if q.MinRole != registry.NoRole {
		f.add("role >= ?", int(q.MinRole))
	}
	return list(ctx, s.db, q, f, scanUser, "users", userColumns, map[registry.Order]string{
		registry.ByCreated: "created_at, id",
		registry.ByUpdated: "updated_at, id",
		registry.ByName:    "username_lc",
	})
}

// LockUser implements registry.UserWriter.
func (s writes) LockUser(ctx context.Context, id registry.UserID) (registry.User, error) {
	return one(ctx, s.db, scanUser,
		"UPDATE users SET updated_at = updated_at WHERE id = $1 RETURNING "+userColumns, string(id))
}

// InsertUser implements registry.UserWriter.
func (s writes) InsertUser(ctx context.Context, u registry.User) error {
	return exec(ctx, s.db, `INSERT INTO users (`+userColumns+`, username_lc, email_lc, search_lc)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)`,
		userValues(u)...)
}

// UpdateUser implements registry.UserWriter.
func (s writes) UpdateUser(ctx context.Context, u registry.User) error {
	return exec(ctx, s.db, `UPDATE users SET username = $2, email = $3, email_verified = $4, first_name = $5,
		last_name = $6, role = $7, status = $8, tags = $9, metadata = $10, profile_picture = $11, provider = $12,
		password_hash = $13, created_at = $14, updated_by = $15, updated_at = $16, deleted_at = $17,
		role_source = $18, attributes = $19, must_change = $20, loopback_only = $21,
		username_lc = $22, email_lc = $23, search_lc = $24 WHERE id = $1`, userValues(u)...)
}

func userValues(u registry.User) []any {
	return []any{string(u.ID), u.Username, u.Email, u.EmailVerified, u.FirstName, u.LastName, int(u.Role), string(u.Status),
		jsonTags(u.Tags), jsonMetadata(u.Metadata), u.ProfilePicture, u.Provider, u.PasswordHash,
		micros(u.CreatedAt), string(u.UpdatedBy), micros(u.UpdatedAt), micros(u.DeletedAt),
		u.RoleSource, jsonAttributes(u.Attributes), u.MustChange, u.LoopbackOnly,
		strings.ToLower(u.Username), strings.ToLower(u.Email), search(u.Username, u.FirstName, u.LastName, u.Email)}
}

// PurgeUsers implements registry.Purger.
func (s writes) PurgeUsers(ctx context.Context, deletedBefore time.Time) error {
	return run(ctx, s.db, "DELETE FROM users WHERE status = 'deleted' AND deleted_at < $1", micros(deletedBefore))
}

// Membership implements registry.MembershipReader.
func (s reads) Membership(ctx context.Context, domain registry.DomainID, user registry.UserID) (registry.Membership, error) {
	return one(ctx, s.db, func(r row) (m registry.Membership, err error) {
		err = r.Scan(&m.Domain, &m.User, &m.Role)
		return m, err
	}, "SELECT domain, account, role FROM memberships WHERE domain = $1 AND account = $2", string(domain), string(user))
}

// Members implements registry.MembershipReader.
func (s reads) Members(ctx context.Context, q registry.Query) (registry.List[registry.Member], error) {
	f := filter{}
	f.add("m.domain = ?", string(q.Domain))
	return list(ctx, s.db, q, f, func(r row) (m registry.Member, err error) {
		err = r.Scan(append(userFields(&m.User), &m.Role)...)
		return m, err
	}, "memberships m JOIN users u ON u.id = m.account", prefixed("u.", userColumns)+", m.role",
		map[registry.Order]string{registry.ByCreated: "m.role, u.username_lc"})
}

func prefixed(prefix, columns string) string {
	names := strings.Split(columns, ",")
	for i, n := range names {
		names[i] = prefix + strings.TrimSpace(n)
	}
	return strings.Join(names, ", ")
}

// InsertMembership implements registry.MembershipWriter.
func (s writes) InsertMembership(ctx context.Context, m registry.Membership) error {
	return exec(ctx, s.db, "INSERT INTO memberships (domain, account, role) VALUES ($1, $2, $3)",
		string(m.Domain), string(m.User), int(m.Role))
}

// UpdateMembership implements registry.MembershipWriter.
func (s writes) UpdateMembership(ctx context.Context, m registry.Membership) error {
	return exec(ctx, s.db, "UPDATE memberships SET role = $3 WHERE domain = $1 AND account = $2",
		string(m.Domain), string(m.User), int(m.Role))
}

// DeleteMembership implements registry.MembershipWriter.
func (s writes) DeleteMembership(ctx context.Context, domain registry.DomainID, user registry.UserID) error {
	return exec(ctx, s.db, "DELETE FROM memberships WHERE domain = $1 AND account = $2", string(domain), string(user))
}
