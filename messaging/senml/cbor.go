package senml

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// decoder refuses what a pack has no use for; the counts are bounded by the
// payload itself.
var decoder = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  8,
		MaxArrayElements: 1 << 20,
		MaxMapPairs:      1 << 10,
		UTF8:             cbor.UTF8RejectInvalid,
		BignumTag:        cbor.BignumTagForbidden,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return mode
}()

// CheckCBOR returns an *Error when payload is not a SenML pack in CBOR
// (section 6).
func CheckCBOR(payload []byte) error {
	var records []cbor.RawMessage
	if err := decoder.Unmarshal(payload, &records); err != nil {
		return &Error{Record: -1, Reason: "not one CBOR array"}
	}
	if len(records) == 0 {
		return &Error{Record: -1, Reason: "no record"}
	}
	var p pack
	for i, raw := range records {
		var m map[any]any
		if err := decoder.Unmarshal(raw, &m); err != nil || m == nil {
			return &Error{Record: i, Reason: "not a CBOR map with each field once"}
		}
		fields := make([]field, 0, len(m))
		for key, value := range m {
			label, err := cborLabel(i, key)
			if err != nil {
				return err
			}
			fields = append(fields, field{label, cborValue(label, value)})
		}
		if err := p.add(fields); err != nil {
			return err
		}
	}
	return nil
}

func cborLabel(record int, key any) (string, error) {
	switch key := key.(type) {
	case string:
		if _, known := kindOf(key); known {
			return "", &Error{Record: record, Field: key, Reason: "must have its integer label in CBOR"}
		}
		return key, nil
	case int64:
		return integerLabel(key), nil
	case uint64:
		return integerLabel(int64(min(key, math.MaxInt64))), nil
	}
	return "", &Error{Record: record, Reason: "a label is neither an integer nor a string"}
}

// integerLabel returns "" for a label that the table does not hold.
func integerLabel(key int64) string {
	for _, l := range labels {
		if l.cbor == key {
			return l.name
		}
	}
	return ""
}

// cborValue brings a value to the types of field. Text where bytes belong
// must not pass for base64.
func cborValue(label string, value any) any {
	switch v := value.(type) {
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case cbor.Tag:
		return decimalFraction(v)
	case string:
		if k, _ := kindOf(label); k == data || !utf8.ValidString(v) {
			return nil
		}
		return strings.Clone(v)
	}
	return value
}

// decimalFraction reads tag 4, [exponent, mantissa] (RFC 8949 section 3.4.4),
// as a number; the value itself is of no interest here.
func decimalFraction(t cbor.Tag) any {
	pair, ok := t.Content.([]any)
	if t.Number != 4 || !ok || len(pair) != 2 {
		return nil
	}
	for _, part := range pair {
		switch part.(type) {
		case int64, uint64:
		default:
			return nil
		}
	}
	return 0.0
}
