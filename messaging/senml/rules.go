package senml

import (
	"encoding/base64"
	"math"
	"strings"
)

// A field is a labelled value, decoded to string, float64, bool, []byte or
// something that no rule allows.
type field struct {
	label string
	value any
}

// A kind is the type that section 4.3's table gives a label.
type kind int

const (
	text kind = iota
	number
	boolean
	data // base64url in JSON, bytes in CBOR
)

// labels is the table of section 4.3 with the CBOR labels of section 6.
var labels = []struct {
	name string
	cbor int64
	kind kind
}{
	{"bver", -1, number}, {"bn", -2, text}, {"bt", -3, number}, {"bu", -4, text}, {"bv", -5, number}, {"bs", -6, number},
	{"n", 0, text}, {"u", 1, text}, {"v", 2, number}, {"vs", 3, text}, {"vb", 4, boolean}, {"s", 5, number}, {"t", 6, number},
	{"ut", 7, number}, {"vd", 8, data},
}

func kindOf(label string) (kind, bool) {
	for _, l := range labels {
		if l.name == label {
			return l.kind, true
		}
	}
	return 0, false
}

var expected = map[kind]string{
	text: "must be a string", number: "must be a finite number", boolean: "must be true or false", data: "must be base64url data without padding",
}

// A pack holds what earlier records set for later ones.
type pack struct {
	records  int
	baseName string
	version  float64 // 0: not set
}

// add checks the next record.
func (p *pack) add(fields []field) error {
	i := p.records
	p.records++
	fail := func(label, reason string) error { return &Error{Record: i, Field: label, Reason: reason} }
	seen := make(map[string]bool, len(fields))
	name, values, sum := "", 0, false
	for _, f := range fields {
		kind, known := kindOf(f.label)
		if !known {
			if strings.HasSuffix(f.label, "_") { // section 4.4
				return fail("", "holds a field that must be understood and is not known")
			}
			continue // its label is a stranger's text: it stands in no error
		}
		if seen[f.label] {
			return fail(f.label, "stands there twice")
		}
		seen[f.label] = true
		if !is(kind, f.value) {
			return fail(f.label, expected[kind])
		}
		switch f.label {
		case "bver":
			v := f.value.(float64)
			switch {
			case v < 1 || v > 1<<53 || v != math.Trunc(v):
				return fail("bver", "must be a positive integer")
			case p.version != 0 && p.version != v:
				return fail("bver", "differs from that of an earlier record")
			}
			p.version = v
		case "bn":
			p.baseName = f.value.(string)
		case "n":
			name = f.value.(string)
		case "v", "vs", "vb", "vd":
			values++
		case "s":
			sum = true
		}
	}
	switch {
	case values > 1:
		return fail("", "has more than one value")
	case values == 0 && !sum:
		return fail("", "has neither a value nor a sum")
	}
	if reason := checkName(p.baseName + name); reason != "" {
		return fail("n", reason)
	}
	return nil
}

func is(k kind, v any) bool {
	switch v := v.(type) {
	case string:
		if k == data {
			_, err := base64.RawURLEncoding.Strict().DecodeString(v)
			return err == nil
		}
		return k == text
	case float64:
		return k == number && !math.IsNaN(v) && !math.IsInf(v, 0)
	case bool:
		return k == boolean
	case []byte:
		return k == data
	}
	return false
}

// checkName holds the name, base name included, to section 4.5.1.
func checkName(name string) string {
	if name == "" {
		return "the name, base name included, is empty"
	}
	for i := range len(name) {
		c := name[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		switch {
		case i == 0 && !alphanumeric:
			return "the name, base name included, must begin with a letter or digit"
		case !alphanumeric && !strings.ContainsRune("-:./_", rune(c)):
			return "the name, base name included, may hold letters, digits and - : . / _ only"
		}
	}
	return ""
}
