package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestCheckRoute(t *testing.T) {
	t.Parallel()
	for route, good := range map[string]bool{
		"a": true, "Z9-_": true, strings.Repeat("a", 36): true, "7c0f4c7e-0b3f-4a9e-9d0b-3f6f0c1d2e3a": true, "7C0F4C7E-0B3F-4A9E-9D0B-3F6F0C1D2E3A": true,
		"": false, "9a": false, "-a": false, "_a": false, "a b": false, "a/b": false, "a.b": false, "a+": false, "a#": false, "ä": false,
		strings.Repeat("a", 37): false, "a\x00": false, "$SYS": false,
	} {
		if err := CheckRoute(route); (err == nil) != good {
			t.Errorf("%q: got %v, want good: %v", route, err, good)
		}
	}
}

func FuzzRouteFrom(f *testing.F) {
	for _, s := range []string{"Acme, Inc.", "42", "ÄÖÜ", "--a--", strings.Repeat("x-", 40), "a\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if route := routeFrom(name); route != "" && CheckRoute(route) != nil {
			t.Errorf("%q makes the route %q, which is none", name, route)
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add("7C0F4C7E-0B3F-4A9E-9D0B-3F6F0C1D2E3A")
	f.Add("{7c0f4c7e-0b3f-4a9e-9d0b-3f6f0c1d2e3a}")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		if again, err := ParseID(id); err != nil || again != id || !strings.EqualFold(id, s) {
			t.Errorf("%q parses to %q and that to %q, %v", s, id, again, err)
		}
	})
}

func TestText(t *testing.T) {
	t.Parallel()
	deep := map[string]any{}
	for range MaxMetadataDepth {
		deep = map[string]any{"a": deep}
	}
	for _, c := range []struct {
		name string
		err  error
		good bool
	}{
		{"takes a name", checkName("Pump № 1", true), true},
		{"refuses a blank name", checkName("  ", true), false},
		{"takes no name where none is needed", checkName("", false), true},
		{"refuses a long name", checkName(strings.Repeat("ü", MaxName+1), false), false},
		{"takes a name of as many characters, not bytes", checkName(strings.Repeat("ü", MaxName), false), true},
		{"refuses NUL", checkName("a\x00", false), false},
		{"refuses a line break, which would forge a log line", checkName("a\nb", false), false},
		{"refuses a line separator", checkName("a\u2028b", false), false},
		{"refuses what is not UTF-8", checkName("a\xff", false), false},
		{"refuses an empty tag", checkTags([]string{""}), false},
		{"refuses too many tags", checkTags(make([]string, MaxTags+1)), false},
		{"takes metadata", checkMetadata(Metadata{"a": []any{1.5, nil, true, json.Number("12345678901234567890")}}), true},
		{"refuses metadata with NUL inside", checkMetadata(Metadata{"a": []any{map[string]any{"b": "\x00"}}}), false},
		{"refuses metadata with NUL in a key", checkMetadata(Metadata{"a\x00": 1}), false},
		{"refuses deep metadata", checkMetadata(Metadata(deep)), false},
		{"refuses much metadata", checkMetadata(Metadata{"a": strings.Repeat("x", MaxMetadata)}), false},
		{"refuses a number that no database holds", checkMetadata(Metadata{"a": json.Number("1e999")}), false},
		{"takes a username", checkUsername("ann.b-1"), true},
		{"takes a username beyond ASCII", checkUsername("Ünal O'Neil"), true},
		{"refuses a username that could be an address", checkUsername("ann@example.com"), false},
		{"refuses a username with a space at an end", checkUsername("ann "), false},
		{"takes an address", checkEmail("ann@example.com"), true},
		{"takes no address", checkEmail(""), true},
		{"refuses an address with a name", checkEmail("Ann <ann@example.com>"), false},
		{"refuses two addresses", checkEmail("a@example.com, b@example.com"), false},
		{"refuses a header in an address", checkEmail("a@example.com\r\nBcc: b@example.com"), false},
	} {
		var invalid *InvalidError
		if (c.err == nil) != c.good || c.err != nil && !errors.As(c.err, &invalid) {
			t.Errorf("it %s: got %v", c.name, c.err)
		}
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	t.Parallel()
	s := SecretOf("canary-canary-canary")
	text, err := json.Marshal(map[string]any{"s": s, "d": NewDevice{Secret: s}})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", s, "device", NewDevice{Secret: s})
	for _, out := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s, s, s),
		fmt.Sprintf("%v %+v %#v", NewDevice{Secret: s}, &NewDevice{Secret: s}, NewDevice{Secret: s}), string(text), log.String()} {
		if strings.Contains(out, "canary") || strings.Contains(out, "63616e617279") {
			t.Errorf("printed as %s", out)
		}
	}
}

// TestNewSecret is C66 for device secrets.
func TestNewSecret(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		s := NewSecret()
		if len(s.Reveal()) != 43 || s.Check() != nil || seen[s.Reveal()] {
			t.Fatalf("a secret of %d characters, or one seen before", len(s.Reveal()))
		}
		seen[s.Reveal()] = true
	}
	if _, err := NewSecretHasher(make([]byte, 31)); err == nil {
		t.Error("took a short key")
	}
}

func TestSecretValid(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		expires time.Time
		want    bool
	}{{time.Time{}, true}, {now.Add(1), true}, {now, false}, {now.Add(-1), false}} {
		if got := (DeviceSecret{Expires: c.expires}).Valid(now); got != c.want {
			t.Errorf("expires %v: got %v", c.expires, got)
		}
	}
}
