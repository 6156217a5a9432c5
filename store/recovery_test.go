package store_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// TestUpdatePasswordEndsKeys and the second factors of MakeOwner: only the
// account's own are touched, and only when asked.
func TestUpdatePasswordEndsKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "postern.db")
	s, err := store.Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	ctx, r := t.Context(), newRegistry(t, s)
	ids := map[string]registry.UserID{}
	for _, name := range []string{"ann", "bob"} {
		ids[name] = must[registry.User](t)(r.CreateUser(ctx, "", registry.User{Username: name, Role: registry.Owner})).ID
		for _, statement := range []string{
			"INSERT INTO api_keys VALUES ($1 || 'k', x'00', $1, 'n', $1 || 'p', 1, 1, 0, 0, 0)",
			"INSERT INTO totps VALUES ($1, x'00', 1, 1, 0)",
			"INSERT INTO recovery_codes VALUES ($1, x'00', 0)",
			"INSERT INTO passkeys VALUES ($1 || 'w', $1, 'n', '{}', 1, 0)",
		} {
			if _, err := db.ExecContext(ctx, statement, string(ids[name])); err != nil {
				t.Fatal(err)
			}
		}
	}
	count := func(what string, who registry.UserID) (n int) {
		t.Helper()
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+what+" AND account = $1", string(who)).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const live = "api_keys WHERE revoked_at = 0"
	nothing := func(*registry.User) error { return nil }
	if _, err := r.UpdatePassword(ctx, "", ids["ann"], "", false, nothing); err != nil || count(live, ids["ann"]) != 1 {
		t.Errorf("without keys: %v, %d live", err, count(live, ids["ann"]))
	}
	if _, err := r.UpdatePassword(ctx, "", ids["ann"], "", true, nothing); err != nil || count(live, ids["ann"]) != 0 || count(live, ids["bob"]) != 1 {
		t.Errorf("with keys: %v, %d live, and %d of another", err, count(live, ids["ann"]), count(live, ids["bob"]))
	}
	for _, drop := range []bool{false, true} {
		if _, err := r.MakeOwner(ctx, ids["ann"], drop); err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"totps", "recovery_codes", "passkeys"} {
			want := 1
			if drop {
				want = 0
			}
			if got, other := count(table+" WHERE TRUE", ids["ann"]), count(table+" WHERE TRUE", ids["bob"]); got != want || other != 1 {
				t.Errorf("%s after dropping (%v): %d, and %d of another", table, drop, got, other)
			}
		}
	}
}
