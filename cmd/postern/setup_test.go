package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/authn"
)

// C11 and C12: a new server knows nobody's password, and the token that makes
// the first owner is good once and for a day.
func TestFirstOwner(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	c := quiet(t)
	ran := false
	err := serve(ctx, c, slog.New(slog.DiscardHandler), func(h *house) {
		defer stop()
		ran = true
		for _, known := range [][2]string{
			{"admin", "admin"}, {"admin@admin.com", "admin"}, {"admin@example.com", "12345678"}, {"admin", "12345678"},
		} {
			if _, err := h.users.Issue(ctx, known[0], known[1], authn.Client{IP: "192.0.2.1"}); !errors.Is(err, authn.ErrUnauthenticated) {
				t.Errorf("C11: %s with %s: got %v", known[0], known[1], err)
			}
		}
		text, err := os.ReadFile(h.setUp.path)
		if err != nil {
			t.Error(err)
			return
		}
		token := strings.TrimSpace(string(text))
		owner := authn.NewUser{Username: "ann", Password: "seven quiet lamps above the harbour"}
		complete := func(token string) error {
			_, err := h.setUp.Complete(ctx, token, owner)
			return err
		}
		for _, wrong := range []string{"", token + "x", token[:len(token)-1]} {
			if err := complete(wrong); !errors.Is(err, authn.ErrUnauthenticated) {
				t.Errorf("C12: a wrong token: got %v", err)
			}
		}
		h.setUp.now = func() time.Time { return time.Now().Add(24*time.Hour + time.Second) }
		if err := complete(token); !errors.Is(err, authn.ErrUnauthenticated) {
			t.Errorf("C12: a token of yesterday: got %v", err)
		}
		h.setUp.now = time.Now
		if err := complete(token); err != nil {
			t.Errorf("C12: the token: got %v", err)
		}
		if _, err := os.Stat(h.setUp.path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("C12: the token's file is still there: %v", err)
		}
		if err := complete(token); !errors.Is(err, authn.ErrUnauthenticated) {
			t.Errorf("C12: the token a second time: got %v", err)
		}
	})
	if err != nil || !ran {
		t.Fatal(err)
	}
}
