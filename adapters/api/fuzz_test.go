package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/postern-io/postern/store/postgrestest"
)

// withBody are the operations that take a body, by the document.
func withBody(t testing.TB) []operation {
	return slices.DeleteFunc(operations(t), func(op operation) bool { return op.RequestBody == nil })
}

// FuzzBodies sends any bytes as the body of any operation. Whatever they are,
// the answer is one that the document lists for the operation, or 413.
func FuzzBodies(f *testing.F) {
	ops := withBody(f)
	s := newSite(f)
	for i, op := range ops {
		if good, ok := s.good()[op.id]; ok {
			text, err := json.Marshal(good().body)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), text)
		}
		for _, text := range []string{"", "null", "[]", "{}", `[null]`, `{"metadata":{"a":1e999}}`, `{"tags":["\u0000"]}`, `{"id":"x"}`} {
			f.Add(uint8(i), []byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, body []byte) {
		op := ops[int(n)%len(ops)]
		s := newSite(t)
		r := request{path: op.path}
		if good, ok := s.good()[op.id]; ok {
			r = good()
		}
		w := s.do(op.method, r.path, r.token, string(body))
		if w.Code == http.StatusRequestEntityTooLarge {
			return
		}
		s.check(op, w)
	})
}

var postgres postgrestest.Server

func TestMain(m *testing.M) {
	code := m.Run()
	if err := postgres.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// TestHostileText puts text that PostgreSQL cannot store, and some that it can,
// in every field, query and path. It is always the caller's error.
func TestHostileText(t *testing.T) {
	t.Parallel()
	doc := document(t)
	ops := operations(t)
	for name, url := range map[string]string{"SQLite": "sqlite::memory:", "PostgreSQL": postgres.URL(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSiteOn(t, url)
			for _, op := range ops {
				good, ok := s.good()[op.id]
				if !ok || slices.Contains([]string{"deleteDomain", "freezeDomain", "disableUser", "deleteUser"}, op.id) {
					continue
				}
				r := good()
				for _, evil := range []string{"\x00", "a\x00b", "\u2028", "'; DROP TABLE users; --", "%", "\\", strings.Repeat("ü", 3000), "\xff\xfe"} {
					s.hostile(op, request{r.path, r.token, put(r.body, evil)})
					query := strings.Split(r.path, "?")[0]
					for _, p := range append(op.Parameters, doc.Paths.Find(op.path).Parameters...) {
						text := strings.NewReplacer("\x00", "%00", "%", "%25", "\\", "%5C", "'; DROP TABLE users; --", "x", "\xff\xfe", "%ff%fe", "\u2028", "%e2%80%a8").Replace(evil)
						if p.Value.In == "query" {
							s.hostile(op, request{query + "?" + p.Value.Name + "=" + text, r.token, r.body})
						} else {
							s.hostile(op, request{strings.ReplaceAll(op.path, "{"+p.Value.Name+"}", text), r.token, r.body})
						}
					}
				}
				w := s.do(op.method, r.path, r.token, r.body, set("User-Agent", strings.Repeat("ü", 300)+"\xff"))
				if w.Code >= 500 {
					t.Errorf("%s with an odd user agent: %d", op.id, w.Code)
				}
			}
		})
	}
}

func (s *site) hostile(op operation, r request) {
	s.t.Helper()
	if strings.Contains(r.path, "{") { // another parameter of the same path
		r.path = strings.NewReplacer("{domain}", string(s.domain.ID), "{client}", string(s.client.ID), "{channel}", string(s.channel.ID),
			"{user}", string(s.users["viewer"].ID), "{session}", liveSession).Replace(r.path)
	}
	if w := s.do(op.method, r.path, r.token, r.body); w.Code >= 500 {
		s.t.Errorf("%s %s %.100q: got %d %s\n%s", op.method, r.path, fmt.Sprint(r.body), w.Code, w.Body, lastLine(s.log.String()))
	}
}

func lastLine(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return lines[len(lines)-1]
}

// put returns body with every text in it replaced.
func put(body any, text string) any {
	var v any
	raw, err := json.Marshal(body)
	if err != nil || json.Unmarshal(raw, &v) != nil {
		return body
	}
	var walk func(any) any
	walk = func(v any) any {
		switch v := v.(type) {
		case string:
			return text
		case []any:
			for i := range v {
				v[i] = walk(v[i])
			}
		case map[string]any:
			for k := range v {
				v[k] = walk(v[k])
			}
			v[text] = text
		}
		return v
	}
	return walk(v)
}
