package senml

import (
	"errors"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

func TestCheckJSON(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"takes one value", `[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]`, ""},
		{"takes base values", `[{"bn":"some-base-name:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2}]`, ""},
		{"takes all value types", `[{"bn":"a","v":1},{"vs":"x"},{"vb":false},{"vd":"aGkgCg"},{"s":1},{"s":1,"v":2}]`, ""},
		{"takes unknown fields", `[{"n":"a","v":1,"ct":"60","x":{"y":[1]}}]`, ""},
		{"refuses an object", `{"n":"a","v":1}`, "SenML: not a JSON array"},
		{"refuses an empty pack", `[]`, "SenML: no record"},
		{"refuses text", `hello`, "SenML: not a JSON array"},
		{"refuses nothing", ``, "SenML: not a JSON array"},
		{"refuses a pack that is cut", `[{"n":"a","v":1}`, "SenML: the JSON array does not end"},
		{"refuses a record that is cut", `[{"n":"a","v":1`, "SenML record 0: not a JSON object"},
		{"refuses what follows", `[{"n":"a","v":1}] x`, "SenML: something follows the JSON array"},
		{"refuses a record that is no object", `[{"n":"a","v":1},7]`, "SenML record 1: not a JSON object"},
		{"refuses a record without a value", `[{"n":"a","v":1},{"n":"b"}]`, "SenML record 1: has neither a value nor a sum"},
		{"refuses two values", `[{"n":"a","v":1,"vs":"x"}]`, "SenML record 0: has more than one value"},
		{"refuses a repeated field", `[{"n":"a","v":1,"v":2}]`, "SenML record 0, field v: stands there twice"},
		{"refuses a value of another type", `[{"n":"a","v":"1"}]`, "SenML record 0, field v: must be a finite number"},
		{"refuses null", `[{"n":"a","v":null}]`, "SenML record 0, field v: must be a finite number"},
		{"refuses a number for a boolean", `[{"n":"a","vb":0}]`, "SenML record 0, field vb: must be true or false"},
		{"refuses a number for a name", `[{"n":1,"v":1}]`, "SenML record 0, field n: must be a string"},
		{"refuses padded data", `[{"n":"a","vd":"aGkgCg=="}]`, "SenML record 0, field vd: must be base64url data without padding"},
		{"refuses no name", `[{"v":1}]`, "SenML record 0, field n: the name, base name included, is empty"},
		{"refuses an odd beginning", `[{"n":"-a","v":1}]`, "SenML record 0, field n: the name, base name included, must begin with a letter or digit"},
		{"refuses an odd character", `[{"bn":"a ","n":"b","v":1}]`, "SenML record 0, field n: the name, base name included, may hold letters, digits and - : . / _ only"},
		{"refuses version 0", `[{"bver":0,"n":"a","v":1}]`, "SenML record 0, field bver: must be a positive integer"},
		{"refuses two versions", `[{"bver":5,"n":"a","v":1},{"bver":10,"n":"a","v":1}]`, "SenML record 1, field bver: differs from that of an earlier record"},
		{"refuses what must be understood", `[{"n":"a","v":1,"x_":1}]`, "SenML record 0: holds a field that must be understood and is not known"},
		{"refuses a number beyond float64", `[{"n":"a","v":1e999}]`, "SenML record 0: not a JSON object"},
		{"refuses invalid UTF-8", "[{\"n\":\"a\",\"vs\":\"\xff\"}]", "SenML: not UTF-8"},
	}
	for _, tt := range tests {
		t.Run("it "+tt.name, func(t *testing.T) {
			got := ""
			if err := Check("application/senml+json; charset=utf-8", []byte(tt.in)); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCheckCBOR(t *testing.T) {
	type m = map[any]any
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"takes one value", []m{{0: "a", 2: 23.1}}, ""},
		{"takes base values and all types", []m{{-2: "a", -1: 5, -3: 1.5, 2: 1}, {3: "x"}, {4: true}, {8: []byte{1}}, {5: 7}}, ""},
		{"takes a decimal fraction", []m{{0: "a", 2: cbor.Tag{Number: 4, Content: []int{-2, 2731}}}}, ""},
		{"takes unknown labels", []m{{0: "a", 2: 1, 99: 1, -99: 2, "x": 3}}, ""},
		{"refuses a map", m{0: "a", 2: 1}, "SenML: not one CBOR array"},
		{"refuses an empty pack", []m{}, "SenML: no record"},
		{"refuses a record that is no map", []any{m{0: "a", 2: 1}, 7}, "SenML record 1: not a CBOR map with each field once"},
		{"refuses a null record", []any{nil}, "SenML record 0: not a CBOR map with each field once"},
		{"refuses JSON's labels", []m{{"n": "a", 2: 1}}, "SenML record 0, field n: must have its integer label in CBOR"},
		{"refuses text for data", []m{{0: "a", 8: "aGkgCg"}}, "SenML record 0, field vd: must be base64url data without padding"},
		{"refuses an odd label", []m{{0: "a", 2: 1, true: 1}}, "SenML record 0: a label is neither an integer nor a string"},
		{"refuses another tag", []m{{0: "a", 2: cbor.Tag{Number: 5, Content: []int{1, 2}}}}, "SenML record 0, field v: must be a finite number"},
		{"refuses what must be understood", []m{{0: "a", 2: 1, "x_": 1}}, "SenML record 0: holds a field that must be understood and is not known"},
	}
	for _, tt := range tests {
		t.Run("it "+tt.name, func(t *testing.T) {
			payload, err := cbor.Marshal(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := Check("application/senml+cbor", payload); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	raw := map[string]string{
		"refuses NaN":              "\x81\xa2\x00\x61a\x02\xf9\x7e\x00",
		"refuses infinity":         "\x81\xa2\x00\x61a\x02\xf9\x7c\x00",
		"refuses a repeated label": "\x81\xa3\x00\x61a\x02\x01\x02\x02",
		"refuses what is cut":      "\x81\xa2\x00\x61a\x02",
		"refuses what follows":     "\x81\xa2\x00\x61a\x02\x01\x00",
		"refuses an endless claim": "\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
		"refuses nothing":          "",
		"refuses text bytes":       "hello",
	}
	for name, in := range raw {
		t.Run("it "+name, func(t *testing.T) {
			if err := CheckCBOR([]byte(in)); err == nil {
				t.Error("it took it")
			}
		})
	}
}

func TestCheckLeavesOtherTypes(t *testing.T) {
	for _, contentType := range []string{"", "application/json", "text/senml", "application/sensml+json"} {
		if err := Check(contentType, []byte("hello")); err != nil {
			t.Errorf("%q: %v", contentType, err)
		}
	}
	if err := Check(`APPLICATION/SenML+JSON; x="`, []byte("hello")); err == nil {
		t.Error("a broken parameter hid the type")
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(`[{"bn":"a","n":"b","v":1},{"vs":"x"}]`))
	f.Add([]byte("\x81\xa2\x00\x61a\x02\xf9\x7e\x00"))
	f.Add([]byte("\x81\xa2\x00\x61a\x02\xc4\x82\x21\x19\x0a\xab"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		for _, err := range []error{CheckJSON(payload), CheckCBOR(payload)} {
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.Reason == "" || len(err.Error()) > 200 || strings.ContainsAny(err.Error(), "\r\n")) {
				t.Fatalf("the error %q is none for a stranger", err)
			}
		}
	})
}
