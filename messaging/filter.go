package messaging

import "strings"

// A Filter names what a subscriber wants to hear within one channel. The zero
// Filter is not valid; ParseFilter returns valid ones. Filters compare with ==.
type Filter struct {
	Group           string // of a shared subscription, or ""
	Domain, Channel string
	Subtopic        string // may hold the MQTT wildcards + and #
}

// ParseFilter reads [$share/<group>/]m/<domain>/c/<channel>[/<subtopic>] with
// wildcards in the subtopic alone, each filling its level, # only as the last
// ([MQTT-4.7.1-1], [MQTT-4.7.1-2]). The error is an *InvalidTopicError.
func ParseFilter(s string) (Filter, error) {
	var f Filter
	if rest, ok := strings.CutPrefix(s, "$share/"); ok {
		group, filter, _ := strings.Cut(rest, "/")
		if group == "" || strings.ContainsAny(group, "+#") { // [MQTT-4.8.2-1]
			return Filter{}, invalid("the share name is empty or holds a wildcard")
		}
		if len(s) > MaxTopic {
			return Filter{}, invalid("longer than %d bytes", MaxTopic)
		}
		f.Group, s = group, filter
		if _, err := split("m/" + group + "/c/c"); err != nil {
			return Filter{}, invalid("the share name is not UTF-8 without NUL")
		}
	}
	t, err := split(s)
	if err != nil {
		return Filter{}, err
	}
	if strings.ContainsAny(t.Domain+t.Channel, "+#") {
		return Filter{}, invalid("a wildcard stands outside of a channel")
	}
	for level := range strings.SplitSeq(t.Subtopic, "/") {
		if len(level) > 1 && strings.ContainsAny(level, "+#") {
			return Filter{}, invalid("a wildcard shares its level")
		}
	}
	if i := strings.IndexByte(t.Subtopic, '#'); i >= 0 && i != len(t.Subtopic)-1 {
		return Filter{}, invalid("# is not the last level")
	}
	f.Domain, f.Channel, f.Subtopic = t.Domain, t.Channel, t.Subtopic
	return f, nil
}

// String returns the filter as MQTT writes it, $share included.
func (f Filter) String() string {
	s := Topic{f.Domain, f.Channel, f.Subtopic}.String()
	if f.Group != "" {
		s = "$share/" + f.Group + "/" + s
	}
	return s
}

// Subjects returns the NATS subjects that together match what f matches: two
// for a filter that ends with #, which also matches the level above it
// ([MQTT-4.7.1-2]), one for any other. No topic matches both.
func (f Filter) Subjects() []string {
	parent, multi := strings.CutSuffix(f.Subtopic, "#")
	b := []byte(Topic{Domain: f.Domain, Channel: f.Channel}.Subject())
	if multi {
		parent = strings.TrimSuffix(parent, "/")
	}
	// Trimming leaves "" both for "#" and for "/#"; only the second has a
	// level, an empty one, above the wildcard.
	if parent != "" || f.Subtopic == "/#" {
		for level := range strings.SplitSeq(parent, "/") {
			b = append(b, '.')
			if level == "+" {
				b = append(b, '*')
			} else {
				b = appendToken(b, level)
			}
		}
	}
	if !multi {
		return []string{string(b)}
	}
	return []string{string(b), string(b) + ".>"}
}

// Matches reports whether a message on t is one that f asks for.
func (f Filter) Matches(t Topic) bool {
	if f.Domain != t.Domain || f.Channel != t.Channel {
		return false
	}
	filter, name := f.Subtopic, t.Subtopic
	filterMore, nameMore := filter != "", name != ""
	for filterMore {
		var want, level string
		want, filter, filterMore = strings.Cut(filter, "/")
		if want == "#" {
			return true
		}
		if !nameMore {
			return false
		}
		level, name, nameMore = strings.Cut(name, "/")
		if want != "+" && want != level {
			return false
		}
	}
	return !nameMore
}
