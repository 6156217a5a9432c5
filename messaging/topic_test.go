package messaging

import (
	"errors"
	"strings"
	"testing"
)

func TestParseTopic(t *testing.T) {
	tests := []struct {
		name, in string
		want     Topic // zero: refused
		subject  string
	}{
		{"takes a channel", "m/d/c/c", Topic{"d", "c", ""}, "m.d.c.c"},
		{"takes a subtopic", "m/d/c/c/a/b", Topic{"d", "c", "a/b"}, "m.d.c.c.a.b"},
		{"tells a.b from a/b", "m/d/c/c/a.b", Topic{"d", "c", "a.b"}, "m.d.c.c.a%2Eb"},
		{"encodes what NATS reserves", "m/d/c/c/* >%\t\x7f", Topic{"d", "c", "* >%\t\x7f"}, "m.d.c.c.%2A%20%3E%25%09%7F"},
		{"encodes domain and channel", "m/d.e/c/*", Topic{"d.e", "*", ""}, "m.d%2Ee.c.%2A"},
		{"takes empty levels", "m/d/c/c//a/", Topic{"d", "c", "/a/"}, "m.d.c.c.%.a.%"},
		{"takes UTF-8", "m/d/c/c/küche", Topic{"d", "c", "küche"}, "m.d.c.c.küche"},
		{"takes the longest", "m/d/c/" + strings.Repeat("x", MaxTopic-6), Topic{"d", strings.Repeat("x", MaxTopic-6), ""}, "m.d.c." + strings.Repeat("x", MaxTopic-6)},
		{"refuses a longer one", "m/d/c/" + strings.Repeat("x", MaxTopic-5), Topic{}, ""},
		{"refuses too many levels", "m/d/c/c" + strings.Repeat("/", MaxLevels), Topic{}, ""},
		{"refuses +", "m/d/c/c/+", Topic{}, ""},
		{"refuses # inside a level", "m/d/c/c/a#", Topic{}, ""},
		{"refuses NUL", "m/d/c/c/\x00", Topic{}, ""},
		{"refuses invalid UTF-8", "m/d/c/c/\xff", Topic{}, ""},
		{"refuses a surrogate", "m/d/c/c/\xed\xa0\x80", Topic{}, ""},
		{"refuses an empty domain", "m//c/c", Topic{}, ""},
		{"refuses an empty channel", "m/d/c/", Topic{}, ""},
		{"refuses an empty channel with a subtopic", "m/d/c//a", Topic{}, ""},
		{"refuses a lone trailing slash", "m/d/c/c/", Topic{}, ""},
		{"refuses a missing channel", "m/d/c", Topic{}, ""},
		{"refuses a missing c", "m/d/x/c", Topic{}, ""},
		{"refuses a leading slash", "/m/d/c/c", Topic{}, ""},
		{"refuses another tree", "$SYS/broker", Topic{}, ""},
		{"refuses the empty topic", "", Topic{}, ""},
	}
	for _, tt := range tests {
		t.Run("it "+tt.name, func(t *testing.T) {
			got, err := ParseTopic(tt.in)
			if got != tt.want || (err == nil) != (tt.want != Topic{}) {
				t.Fatalf("ParseTopic(%q) = %+v, %v; want %+v", tt.in, got, err, tt.want)
			}
			if err != nil {
				var invalid *InvalidTopicError
				if !errors.Is(err, ErrInvalidTopic) || !errors.As(err, &invalid) || invalid.Reason == "" {
					t.Errorf("the error %v is no *InvalidTopicError with a reason", err)
				}
				return
			}
			if got.String() != tt.in || got.Subject() != tt.subject {
				t.Errorf("String %q, Subject %q; want %q, %q", got.String(), got.Subject(), tt.in, tt.subject)
			}
		})
	}
}

func TestParseSubjectRefuses(t *testing.T) {
	for _, s := range []string{
		"", "m", "m.d.c", "m.d.c.", "m.d.c.c.", "m.d.c.c..a", "m.d.c.c.%", "m.d.c.c.*", "m.d.c.c.>", "m.d.c.c.a/b",
		"m.d.c.c.%2e", "m.d.c.c.%41", "m.d.c.c.%2", "m.d.c.c.a%", "m.d.c.c.%00", "m.%.c.c", "in.m.d.c.c", "m.d.c.c.a b",
	} {
		if got, err := ParseSubject(s); !errors.Is(err, ErrInvalidTopic) {
			t.Errorf("ParseSubject(%q) = %+v, %v; want it refused", s, got, err)
		}
	}
}

// FuzzTopic holds that what parses prints back the same, on both sides.
func FuzzTopic(f *testing.F) {
	for _, s := range []string{"m/d/c/c", "m/d/c/c/a.b//%", "m/a b/c/*/>", "m.d.c.c.%.%2A", "m.d.c.c.a", "m/d/c/c/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if topic, err := ParseTopic(s); err == nil {
			if topic.String() != s {
				t.Fatalf("%q printed back as %q", s, topic.String())
			}
			subject := topic.Subject()
			if strings.ContainsAny(subject, " *>\t\r\n\x00") || strings.Contains(subject, "..") {
				t.Fatalf("%q became the subject %q", s, subject)
			}
			if back, err := ParseSubject(subject); err != nil || back != topic {
				t.Fatalf("%q became %q, which parses to %+v, %v", s, subject, back, err)
			}
			if filter, err := ParseFilter(s); err != nil || !filter.Matches(topic) {
				t.Fatalf("%q as a filter: %+v, %v; it does not match itself", s, filter, err)
			}
		}
		if topic, err := ParseSubject(s); err == nil && topic.Subject() != s {
			t.Fatalf("subject %q printed back as %q", s, topic.Subject())
		}
	})
}
