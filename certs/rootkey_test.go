package certs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The root's key leaves the machine, and makes a new issuing authority from
// where it went, without coming back.
func TestRootKeyOnAStick(t *testing.T) {
	h, dir, stick := newHouse(t), t.TempDir(), filepath.Join(t.TempDir(), "root.key")
	a, err := Open(t.Context(), h.config(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := MoveRootKey(dir, "", stick, ""); err == nil {
		t.Error("a key left without a passphrase")
	}
	if err := MoveRootKey(dir, "", stick, "on the stick"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(a.path("ca.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ca.key is still there: %v", err)
	}
	if encrypted, err := KeyEncrypted(stick); err != nil || !encrypted {
		t.Errorf("the copy lies open: %v", err)
	}
	if err := MoveRootKey(dir, "", filepath.Join(t.TempDir(), "again"), "x"); !errors.Is(err, ErrRootAway) {
		t.Errorf("moved twice: %v", err)
	}
	if err := a.Rotate(t.Context()); !errors.Is(err, ErrRootAway) {
		t.Errorf("rotated without the key: %v", err)
	}

	config := h.config(dir)
	config.RootKey, config.RootPassphrase = stick, "wrong"
	if b, err := Open(t.Context(), config); err != nil {
		t.Fatal(err)
	} else if err := b.Rotate(t.Context()); err == nil {
		t.Error("rotated with a wrong passphrase")
	}
	config.RootPassphrase = "on the stick"
	b, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	before := b.issuer().ID
	if err := b.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := b.issuer(); now.ID == before || now.Certificate.CheckSignatureFrom(a.Root()) != nil {
		t.Error("the new issuing authority is not below the root")
	}
	if _, err := os.Stat(a.path("ca.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key came back: %v", err)
	}
	config.RootKey = filepath.Join(t.TempDir(), "none")
	if c, err := Open(t.Context(), config); err != nil {
		t.Fatal(err)
	} else if err := c.Rotate(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("rotated from a file that is not there: %v", err)
	}
}

func TestRootKeyStays(t *testing.T) {
	for name, test := range map[string]struct {
		before func(t *testing.T, dir, to string)
		want   string // in the error
	}{
		"it is not written over another file": {func(t *testing.T, _, to string) { write(t, to, "mine", 0o600) }, "exist"},
		"it is not written where there is no directory": {func(t *testing.T, _, to string) {
			if err := os.Remove(filepath.Dir(to)); err != nil {
				t.Fatal(err)
			}
		}, "no such file"},
		"it is refused when others may read it": {func(t *testing.T, dir, _ string) {
			if err := os.Chmod(filepath.Join(dir, "ca.key"), 0o640); err != nil {
				t.Fatal(err)
			}
		}, "chmod 600"},
		"it is refused when it is another root's": {func(t *testing.T, dir, _ string) {
			write(t, filepath.Join(dir, "ca.crt"), string(EncodePEM(newAuthority(t).Root())), 0o644)
		}, "is not the key of"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, to := t.TempDir(), filepath.Join(t.TempDir(), "root.key")
			if _, err := Open(t.Context(), newHouse(t).config(dir)); err != nil {
				t.Fatal(err)
			}
			test.before(t, dir, to)
			if err := MoveRootKey(dir, "", to, "on the stick"); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if _, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil {
				t.Errorf("the key is gone: %v", err)
			}
			if data, err := os.ReadFile(to); err == nil && string(data) != "mine" {
				t.Error("a copy was left behind")
			}
		})
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}
