package messaging

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseFilter(t *testing.T) {
	tests := []struct {
		name, in string
		want     Filter // zero: refused
		subjects []string
	}{
		{"takes a topic", "m/d/c/c/a", Filter{"", "d", "c", "a"}, []string{"m.d.c.c.a"}},
		{"takes a channel alone", "m/d/c/c", Filter{"", "d", "c", ""}, []string{"m.d.c.c"}},
		{"takes # with the level above it", "m/d/c/c/#", Filter{"", "d", "c", "#"}, []string{"m.d.c.c", "m.d.c.c.>"}},
		{"takes # deeper", "m/d/c/c/a/#", Filter{"", "d", "c", "a/#"}, []string{"m.d.c.c.a", "m.d.c.c.a.>"}},
		{"takes # below an empty level", "m/d/c/c//#", Filter{"", "d", "c", "/#"}, []string{"m.d.c.c.%", "m.d.c.c.%.>"}},
		{"takes +", "m/d/c/c/+/b/+", Filter{"", "d", "c", "+/b/+"}, []string{"m.d.c.c.*.b.*"}},
		{"keeps a trailing empty level", "m/d/c/c/a/", Filter{"", "d", "c", "a/"}, []string{"m.d.c.c.a.%"}},
		{"keeps two empty levels", "m/d/c/c//", Filter{"", "d", "c", "/"}, []string{"m.d.c.c.%.%"}},
		{"takes a share", "$share/g/m/d/c/c/#", Filter{"g", "d", "c", "#"}, []string{"m.d.c.c", "m.d.c.c.>"}},
		{"does not take * for a wildcard", "m/d/c/c/*", Filter{"", "d", "c", "*"}, []string{"m.d.c.c.%2A"}},
		{"refuses + for a domain", "m/+/c/c", Filter{}, nil},
		{"refuses + for a channel", "m/d/c/+", Filter{}, nil},
		{"refuses # for a channel", "m/d/c/#", Filter{}, nil},
		{"refuses # for all", "#", Filter{}, nil},
		{"refuses # before the end", "m/d/c/c/#/a", Filter{}, nil},
		{"refuses # within a level", "m/d/c/c/a#", Filter{}, nil},
		{"refuses + within a level", "m/d/c/c/a+", Filter{}, nil},
		{"refuses an empty share", "$share//m/d/c/c", Filter{}, nil},
		{"refuses a share without a filter", "$share/g", Filter{}, nil},
		{"refuses a wildcard share", "$share/+/m/d/c/c", Filter{}, nil},
		{"refuses NUL in a share", "$share/\x00/m/d/c/c", Filter{}, nil},
		{"refuses a share of a share", "$share/g/$share/h/m/d/c/c", Filter{}, nil},
		{"refuses $SYS", "$SYS/#", Filter{}, nil},
	}
	for _, tt := range tests {
		t.Run("it "+tt.name, func(t *testing.T) {
			got, err := ParseFilter(tt.in)
			if got != tt.want || (err == nil) != (tt.want != Filter{}) {
				t.Fatalf("ParseFilter(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
			}
			if err != nil {
				if !errors.Is(err, ErrInvalidTopic) {
					t.Errorf("the error %v is not ErrInvalidTopic", err)
				}
				return
			}
			if got.String() != tt.in || !slices.Equal(got.Subjects(), tt.subjects) {
				t.Errorf("String %q, Subjects %q; want %q, %q", got.String(), got.Subjects(), tt.in, tt.subjects)
			}
		})
	}
}

func TestFilterMatches(t *testing.T) {
	tests := []struct {
		filter, topic string
		want          bool
	}{
		{"m/d/c/c", "m/d/c/c", true},
		{"m/d/c/c", "m/d/c/c/a", false},
		{"m/d/c/c/a", "m/d/c/c", false},
		{"m/d/c/c/#", "m/d/c/c", true},
		{"m/d/c/c/#", "m/d/c/c/a/b", true},
		{"m/d/c/c/#", "m/d/c/x/a", false},
		{"m/d/c/c/#", "m/x/c/c/a", false},
		{"m/d/c/c/a/#", "m/d/c/c/a", true},
		{"m/d/c/c/a/#", "m/d/c/c/ab", false},
		{"m/d/c/c/+", "m/d/c/c", false},
		{"m/d/c/c/+", "m/d/c/c/a", true},
		{"m/d/c/c/+", "m/d/c/c/a/", false},
		{"m/d/c/c/+/+", "m/d/c/c/a/", true},
		{"m/d/c/c/+/b", "m/d/c/c//b", true},
		{"$share/g/m/d/c/c/+", "m/d/c/c/a", true},
	}
	for _, tt := range tests {
		filter, err := ParseFilter(tt.filter)
		if err != nil {
			t.Fatal(err)
		}
		topic, err := ParseTopic(tt.topic)
		if err != nil {
			t.Fatal(err)
		}
		if got := filter.Matches(topic); got != tt.want {
			t.Errorf("%s matches %s: got %v, want %v", tt.filter, tt.topic, got, tt.want)
		}
	}
}

// matchesSubject is NATS's own rule, kept simple.
func matchesSubject(pattern, subject string) bool {
	p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
	for i, token := range p {
		switch {
		case token == ">":
			return len(s) > i
		case i >= len(s) || token != "*" && token != s[i]:
			return false
		}
	}
	return len(p) == len(s)
}

// FuzzFilter holds that what parses prints back the same, and that the door's
// idea of a match is NATS's, each message once.
func FuzzFilter(f *testing.F) {
	f.Add("m/d/c/c/#", "m/d/c/c")
	f.Add("m/d/c/c/+/b", "m/d/c/c/a/b")
	f.Add("$share/g/m/d/c/c//#", "m/d/c/c//")
	f.Add("m/d/c/c/a.b/*/>", "m/d/c/c/a.b/*/>")
	f.Fuzz(func(t *testing.T, s, name string) {
		filter, err := ParseFilter(s)
		if err != nil {
			return
		}
		if filter.String() != s {
			t.Fatalf("%q printed back as %q", s, filter.String())
		}
		topic, err := ParseTopic(name)
		if err != nil {
			return
		}
		times := 0
		for _, subject := range filter.Subjects() {
			if matchesSubject(subject, topic.Subject()) {
				times++
			}
		}
		if got := filter.Matches(topic); times > 1 || got != (times == 1) {
			t.Fatalf("%q matches %q: %v, but %d of %q do", s, name, got, times, filter.Subjects())
		}
	})
}
