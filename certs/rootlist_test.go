package certs

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A root's list lasts a year. A start that finds the root's key signs a new one
// when half of that is gone, and one that does not find it serves the old one.
func TestRootListIsRenewed(t *testing.T) {
	h, dir := newHouse(t), t.TempDir()
	start := func() (list *x509.RevocationList, ends time.Time) {
		t.Helper()
		a, err := Open(t.Context(), h.config(dir))
		if err != nil {
			t.Fatal(err)
		}
		lists := a.RootLists()
		if len(lists) != 1 {
			t.Fatalf("%d lists of one root", len(lists))
		}
		if list, err = x509.ParseRevocationList(lists[0]); err != nil {
			t.Fatal(err)
		}
		if err := list.CheckSignatureFrom(a.Root()); err != nil {
			t.Errorf("the list is not the root's: %v", err)
		}
		return list, a.RootListsEnd()
	}
	first, ends := start()
	if !ends.Equal(first.NextUpdate) || ends.Before(h.now.Add(364*24*time.Hour)) {
		t.Errorf("it ends %s and says %s", first.NextUpdate, ends)
	}
	away := filepath.Join(t.TempDir(), "ca.key")
	for name, test := range map[string]struct {
		after time.Duration
		key   bool
		anew  bool
	}{
		"it stays while it is fresh":         {rootListLife/2 - time.Hour, true, false},
		"it is signed anew at half":          {rootListLife/2 + time.Hour, true, true},
		"it stays when the key is elsewhere": {rootListLife/2 + time.Hour, false, false},
	} {
		h, dir = newHouse(t), t.TempDir()
		before, _ := start()
		if !test.key {
			if err := os.Rename(filepath.Join(dir, "ca.key"), away); err != nil {
				t.Fatal(err)
			}
		}
		h.now = h.now.Add(test.after)
		after, ends := start()
		if anew := after.Number.Cmp(before.Number) > 0; anew != test.anew || !ends.Equal(after.NextUpdate) {
			t.Errorf("%s: anew is %v, it ends %s", name, anew, ends)
		}
	}
}
