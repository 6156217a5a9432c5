// Package senml checks that a payload is a SenML pack (RFC 8428) in JSON or
// CBOR. It reads nothing out of it: what devices measured is theirs.
//
//	payload ─> JSON / CBOR decoder ─> records of fields ─> the rules of section 4
package senml

import (
	"fmt"
	"mime"
	"strings"
)

// An Error names the first record that breaks a rule.
type Error struct {
	Record int    // index in the pack, from 0; -1 when it is no array of records
	Field  string // label as JSON spells it; "" when it is about the whole record
	Reason string
}

func (e *Error) Error() string {
	switch {
	case e.Record < 0:
		return "SenML: " + e.Reason
	case e.Field == "":
		return fmt.Sprintf("SenML record %d: %s", e.Record, e.Reason)
	}
	return fmt.Sprintf("SenML record %d, field %s: %s", e.Record, e.Field, e.Reason)
}

// Check returns an *Error when contentType says application/senml+json or
// application/senml+cbor and payload is not that. It has no opinion on other
// types and returns nil.
func Check(contentType string, payload []byte) error {
	if !strings.Contains(strings.ToLower(contentType), "senml") {
		return nil
	}
	// A parameter that does not parse leaves the type itself readable.
	media, _, _ := mime.ParseMediaType(contentType)
	switch media {
	case "application/senml+json":
		return CheckJSON(payload)
	case "application/senml+cbor":
		return CheckCBOR(payload)
	}
	return nil
}
