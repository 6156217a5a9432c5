package registry

import (
	"encoding/json"
	"fmt"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a caller may store. They keep a page of any list below a few
// megabytes and every value inside an index entry.
const (
	MaxName          = 254 // characters
	MaxUsername      = 64
	MaxTags          = 32
	MaxTagLength     = 64
	MaxMetadata      = 16 << 10 // bytes of JSON
	MaxMetadataDepth = 16
	MaxRoute         = 36
	MaxBulk          = 1000 // nouns in one bulk creation, pairs in one connect
	MaxAttributes    = 64
	MaxAttributeKey  = 64   // characters
	MaxAttribute     = 1024 // characters of its value
)

// CheckRoute tells whether s can be a route: a UUID, or a letter followed by
// up to 35 letters, digits, hyphens and underscores.
func CheckRoute(s string) error {
	if _, err := ParseID(s); err == nil {
		return nil
	}
	invalid := &InvalidError{Field: "route", Reason: "must be a UUID, or a letter and up to 35 letters, digits, - or _"}
	if s == "" || len(s) > MaxRoute {
		return invalid
	}
	for i, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '_') {
			return invalid
		}
	}
	return nil
}

// reserved are words that stand where a domain may stand in the paths of the
// REST API; a domain of that name could not be reached by its route.
var reserved = map[string]bool{
	"users": true, "domains": true, "password": true, "setup": true, "openapi": true,
	"clients": true, "channels": true, "explain": true, "sessions": true, "audit": true, "auth": true,
	"claim": true, "settings": true,
}

// canonicalRoute lowers a route that is a UUID, so that it cannot differ from an
// id by case alone.
func canonicalRoute(s string) string {
	if id, err := ParseID(s); err == nil {
		return id
	}
	return s
}

// routeFrom makes a route of a name: "Acme, Inc." becomes "acme-inc". It is
// empty when the name has nothing to make one of.
func routeFrom(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case 'a' <= r && r <= 'z', b.Len() > 0 && '0' <= r && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() == MaxRoute {
			break
		}
	}
	return strings.TrimRight(b.String(), "-")
}

// checkText holds for everything a person may type: valid UTF-8 without
// control characters, which neither a log line nor PostgreSQL (NUL) can bear.
func checkText(field, s string, max int) error {
	switch {
	case !utf8.ValidString(s):
		return &InvalidError{Field: field, Reason: "must be valid UTF-8"}
	case utf8.RuneCountInString(s) > max:
		return &InvalidError{Field: field, Reason: fmt.Sprintf("must have at most %d characters", max)}
	case strings.ContainsFunc(s, unicode.IsControl), strings.ContainsAny(s, "\u2028\u2029"):
		return &InvalidError{Field: field, Reason: "must not contain control characters or line separators"}
	}
	return nil
}

func checkName(name string, required bool) error {
	if required && strings.TrimSpace(name) == "" {
		return &InvalidError{Field: "name", Reason: "must not be empty"}
	}
	return checkText("name", name, MaxName)
}

func checkTags(tags []string) error {
	if len(tags) > MaxTags {
		return &InvalidError{Field: "tags", Reason: fmt.Sprintf("must be at most %d", MaxTags)}
	}
	for _, t := range tags {
		if t == "" {
			return &InvalidError{Field: "tags", Reason: "must not be empty"}
		}
		if err := checkText("tags", t, MaxTagLength); err != nil {
			return err
		}
	}
	return nil
}

// checkMetadata bounds what we keep for the caller and refuses NUL inside,
// which PostgreSQL's jsonb cannot hold.
func checkMetadata(m Metadata) error {
	if m == nil {
		return nil
	}
	if !plain(map[string]any(m), MaxMetadataDepth) {
		return &InvalidError{Field: "metadata", Reason: fmt.Sprintf(
			"must be JSON of at most %d levels, in UTF-8 without NUL", MaxMetadataDepth)}
	}
	text, err := json.Marshal(m)
	if err != nil {
		return &InvalidError{Field: "metadata", Reason: "must be a JSON object"}
	}
	if len(text) > MaxMetadata {
		return &InvalidError{Field: "metadata", Reason: fmt.Sprintf("must be at most %d bytes of JSON", MaxMetadata)}
	}
	return nil
}

// checkAttributes bounds what providers tell of a person.
func checkAttributes(attributes map[string]string) error {
	if len(attributes) > MaxAttributes {
		return &InvalidError{Field: "attributes", Reason: fmt.Sprintf("must be at most %d", MaxAttributes)}
	}
	for key, value := range attributes {
		if err := checkText("attributes", key, MaxAttributeKey); err != nil {
			return err
		}
		if err := checkText("attributes", value, MaxAttribute); err != nil {
			return err
		}
	}
	return nil
}

func plain(v any, depth int) bool {
	if depth == 0 {
		return false
	}
	good := func(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
	switch v := v.(type) {
	case string:
		return good(v)
	case json.Number: // as far as a float64 reaches; PostgreSQL has an end too
		_, err := v.Float64()
		return err == nil
	case map[string]any:
		for k, e := range v {
			if !good(k) || !plain(e, depth-1) {
				return false
			}
		}
	case []any:
		for _, e := range v {
			if !plain(e, depth-1) {
				return false
			}
		}
	}
	return true
}

func checkStatus(s Status, allowed ...Status) error {
	words := make([]string, len(allowed))
	for i, a := range allowed {
		if s == a {
			return nil
		}
		words[i] = string(a)
	}
	return &InvalidError{Field: "status", Reason: "must be " + strings.Join(words, " or ")}
}

// checkUsername keeps user names and e-mail addresses apart, so that a sign-in
// by either finds at most one account.
func checkUsername(s string) error {
	switch {
	case s == "":
		return &InvalidError{Field: "username", Reason: "must not be empty"}
	case strings.TrimSpace(s) != s:
		return &InvalidError{Field: "username", Reason: "must not begin or end with a space"}
	case strings.ContainsRune(s, '@'):
		return &InvalidError{Field: "username", Reason: "must not contain @"}
	}
	return checkText("username", s, MaxUsername)
}

func checkEmail(s string) error {
	if s == "" {
		return nil
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || len(s) > MaxName {
		return &InvalidError{Field: "email", Reason: "must be an address such as ann@example.com"}
	}
	return checkText("email", s, MaxName)
}

// unique drops repeated tags and keeps the order.
func unique(tags []string) []string {
	seen := make(map[string]bool, len(tags))
	out := make([]string, 0, len(tags))
	for _, t := range tags {
		if !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	return out
}
