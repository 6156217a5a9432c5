package senml

import (
	"bytes"
	"encoding/json"
	"io"
	"unicode/utf8"
)

// CheckJSON returns an *Error when payload is not a SenML pack in JSON
// (section 5).
func CheckJSON(payload []byte) error {
	if !utf8.Valid(payload) {
		return &Error{Record: -1, Reason: "not UTF-8"}
	}
	// The decoder bounds nesting itself, at 10,000.
	d := json.NewDecoder(bytes.NewReader(payload))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return &Error{Record: -1, Reason: "not a JSON array"}
	}
	var p pack
	for d.More() {
		fields, err := jsonRecord(d)
		if err != nil {
			return &Error{Record: p.records, Reason: "not a JSON object"}
		}
		if err := p.add(fields); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return &Error{Record: -1, Reason: "the JSON array does not end"}
	}
	if _, err := d.Token(); err != io.EOF {
		return &Error{Record: -1, Reason: "something follows the JSON array"}
	}
	if p.records == 0 {
		return &Error{Record: -1, Reason: "no record"}
	}
	return nil
}

// jsonRecord reads an object by its tokens, because a map would hide that a
// field stands there twice.
func jsonRecord(d *json.Decoder) ([]field, error) {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, io.ErrUnexpectedEOF
	}
	var fields []field
	for d.More() {
		label, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		name, _ := label.(string) // the decoder lets only strings through
		fields = append(fields, field{name, value})
	}
	_, err := d.Token()
	return fields, err
}
