package sso

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// C40: the times, the issuer and the audience.
func TestClaimRules(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	strict := func(c *Config) { c.Strict, c.Issuer, c.Audience = true, "idp", "postern" }
	lax := func(c *Config) { c.LaxClaims = true }
	full := func(change jwt.MapClaims) jwt.MapClaims {
		c := jwt.MapClaims{"iat": at(0), "iss": "idp", "aud": "postern"}
		maps.Copy(c, change)
		return c
	}
	for name, tt := range map[string]struct {
		claims jwt.MapClaims
		config func(*Config)
		want   registry.Reason
	}{
		"it takes exp alone, as the seed's sample": {jwt.MapClaims{"exp": at(600 * time.Second)}, nil, ""},
		"it takes fractions":                       {jwt.MapClaims{"exp": float64(at(time.Minute)) + 0.5}, nil, ""},
		"it refuses no exp":                        {jwt.MapClaims{"exp": nil}, nil, registry.ReasonAssertionInvalid},
		"it refuses no exp though iat is there":    {jwt.MapClaims{"exp": nil, "iat": at(0)}, nil, registry.ReasonAssertionInvalid},
		"it refuses exp that has passed":           {jwt.MapClaims{"exp": at(0)}, nil, registry.ReasonAssertionExpired},
		"it refuses exp 0":                         {jwt.MapClaims{"exp": 0}, nil, registry.ReasonAssertionExpired},
		"it refuses exp too far":                   {jwt.MapClaims{"exp": at(601 * time.Second)}, nil, registry.ReasonAssertionInvalid},
		"it refuses exp too far though iat is new": {jwt.MapClaims{"exp": at(time.Hour), "iat": at(0)}, nil, registry.ReasonAssertionInvalid},
		"it refuses exp beyond time":               {jwt.MapClaims{"exp": json.Number("1e300")}, nil, registry.ReasonAssertionInvalid},
		"it refuses exp as text":                   {jwt.MapClaims{"exp": "soon"}, nil, registry.ReasonAssertionInvalid},
		"it refuses a negative exp":                {jwt.MapClaims{"exp": -1}, nil, registry.ReasonAssertionInvalid},
		"it refuses exp null":                      {jwt.MapClaims{"exp": json.RawMessage("null")}, nil, registry.ReasonAssertionInvalid},
		"it takes an age of 180 s":                 {jwt.MapClaims{"iat": at(-180 * time.Second)}, nil, ""},
		"it refuses an age of 181 s":               {jwt.MapClaims{"iat": at(-181 * time.Second)}, nil, registry.ReasonAssertionExpired},
		"it takes iat 30 s ahead":                  {jwt.MapClaims{"iat": at(30 * time.Second)}, nil, ""},
		"it refuses iat 31 s ahead":                {jwt.MapClaims{"iat": at(31 * time.Second)}, nil, registry.ReasonAssertionExpired},
		"it refuses iat 0":                         {jwt.MapClaims{"iat": 0}, nil, registry.ReasonAssertionExpired},
		"it refuses iat as text":                   {jwt.MapClaims{"iat": "now"}, nil, registry.ReasonAssertionInvalid},
		"it takes nbf that has come":               {jwt.MapClaims{"nbf": at(0)}, nil, ""},
		"it refuses nbf ahead":                     {jwt.MapClaims{"nbf": at(31 * time.Second)}, nil, registry.ReasonAssertionExpired},
		"it takes any issuer when none is set":     {jwt.MapClaims{"iss": "x", "aud": "y"}, nil, ""},

		"it takes the issuer":                   {full(nil), func(c *Config) { c.Issuer = "idp" }, ""},
		"it refuses another issuer":             {full(jwt.MapClaims{"iss": "idp/"}), func(c *Config) { c.Issuer = "idp" }, registry.ReasonAssertionInvalid},
		"it refuses no issuer":                  {full(jwt.MapClaims{"iss": nil}), func(c *Config) { c.Issuer = "idp" }, registry.ReasonAssertionInvalid},
		"it takes the audience":                 {full(nil), func(c *Config) { c.Audience = "postern" }, ""},
		"it takes the audience among others":    {full(jwt.MapClaims{"aud": []string{"x", "postern"}}), func(c *Config) { c.Audience = "postern" }, ""},
		"it refuses another audience":           {full(jwt.MapClaims{"aud": "postern2"}), func(c *Config) { c.Audience = "postern" }, registry.ReasonAssertionInvalid},
		"it refuses no audience":                {full(jwt.MapClaims{"aud": nil}), func(c *Config) { c.Audience = "postern" }, registry.ReasonAssertionInvalid},
		"it refuses an audience of numbers":     {full(jwt.MapClaims{"aud": []any{"postern", 1}}), func(c *Config) { c.Audience = "postern" }, registry.ReasonAssertionInvalid},
		"it takes a strict token":               {full(nil), strict, ""},
		"it refuses a strict token without iat": {full(jwt.MapClaims{"iat": nil}), strict, registry.ReasonAssertionInvalid},
		"it refuses a strict token without iss": {full(jwt.MapClaims{"iss": nil}), strict, registry.ReasonAssertionInvalid},
		"it refuses a strict token without aud": {full(jwt.MapClaims{"aud": nil}), strict, registry.ReasonAssertionInvalid},

		"it takes iat alone when lax":                     {jwt.MapClaims{"exp": nil, "iat": at(-180 * time.Second)}, lax, ""},
		"it refuses an old iat when lax":                  {jwt.MapClaims{"exp": nil, "iat": at(-181 * time.Second)}, lax, registry.ReasonAssertionExpired},
		"it refuses neither when lax":                     {jwt.MapClaims{"exp": nil}, lax, registry.ReasonAssertionInvalid},
		"it takes exp a day ahead when lax":               {jwt.MapClaims{"exp": at(24 * time.Hour)}, lax, ""},
		"it refuses exp later than that when lax":         {jwt.MapClaims{"exp": at(24*time.Hour + time.Second)}, lax, registry.ReasonAssertionInvalid},
		"it takes any exp beside iat when lax":            {jwt.MapClaims{"exp": at(8760 * time.Hour), "iat": at(0)}, lax, ""},
		"it refuses exp that has passed beside iat (lax)": {jwt.MapClaims{"exp": at(-time.Second), "iat": at(0)}, lax, registry.ReasonAssertionExpired},

		"it refuses no e-mail":                {jwt.MapClaims{"email": nil}, nil, registry.ReasonEmailMissing},
		"it refuses an empty e-mail":          {jwt.MapClaims{"email": ""}, nil, registry.ReasonEmailMissing},
		"it refuses a number for an e-mail":   {jwt.MapClaims{"email": 7}, nil, registry.ReasonEmailMissing},
		"it refuses a list for an e-mail":     {jwt.MapClaims{"email": []string{"a@b.c"}}, nil, registry.ReasonEmailMissing},
		"it refuses a name for an e-mail":     {jwt.MapClaims{"email": "jane"}, nil, registry.ReasonAssertionInvalid},
		"it refuses two e-mail addresses":     {jwt.MapClaims{"email": "a@b.c,d@e.f"}, nil, registry.ReasonAssertionInvalid},
		"it refuses an address with its name": {jwt.MapClaims{"email": "Jane <a@b.c>"}, nil, registry.ReasonAssertionInvalid},
		"it refuses an empty sub":             {jwt.MapClaims{"sub": ""}, nil, registry.ReasonSubjectMissing},
		"it refuses a number for sub":         {jwt.MapClaims{"sub": 7}, nil, registry.ReasonSubjectMissing},
		"it refuses a long sub":               {jwt.MapClaims{"sub": strings.Repeat("x", 256)}, nil, registry.ReasonSubjectMissing},
	} {
		t.Run(name, func(t *testing.T) {
			memory := &memory{}
			p := newProvider(t, func(c *Config) {
				if tt.config != nil {
					tt.config(c)
				}
				c.Seen = memory
			})
			a, err := p.Assert(t.Context(), sign(t, secret, claims(tt.claims)))
			if got := reason(t, err); got != tt.want {
				t.Fatalf("got %q (%v), want %q", got, err, tt.want)
			}
			if a.Claims == nil {
				t.Error("the claims are not there for the audit trail")
			}
			if tt.want != "" && len(memory.seen) != 0 {
				t.Error("a refused token was used up")
			}
		})
	}
}

// The seed's sample: exp only, HS256, names and groups.
func TestSeedSampleToken(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *Config) { c.GroupSync = true })
	text := `{"email":"rasta@example.com","first_name":"Rasta","last_name":"Toucan","groups":["extHR"],"plan":"pro","exp":` + fmt.Sprint(now.Add(10*time.Minute).Unix()) + `}`
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(text))
	mac, err := jwt.SigningMethodHS256.Sign(head, []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Assert(t.Context(), head+"."+base64.RawURLEncoding.EncodeToString(mac))
	if err != nil {
		t.Fatal(err)
	}
	got.Claims = nil
	want := authn.Assertion{
		Provider: "jwt", Subject: "rasta@example.com", Email: "rasta@example.com", FirstName: "Rasta", LastName: "Toucan",
		Groups: &[]string{"extHR"}, Attributes: map[string]string{"plan": "pro"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestSubjectAndEmail(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claims   jwt.MapClaims
		config   func(*Config)
		subject  string
		verified bool
	}{
		"it is sub":                                {jwt.MapClaims{"sub": "Jane-7"}, nil, "Jane-7", false},
		"it is the address in lower case else":     {nil, nil, "jane@example.com", false},
		"it folds ASCII alone":                     {jwt.MapClaims{"email": "\u212Aim@example.com"}, nil, "\u212Aim@example.com", false},
		"it is verified when the token says so":    {jwt.MapClaims{"email_verified": true}, nil, "jane@example.com", true},
		"it is not verified by a word":             {jwt.MapClaims{"email_verified": "true"}, nil, "jane@example.com", false},
		"it is not verified when the token denies": {jwt.MapClaims{"email_verified": false}, nil, "jane@example.com", false},
		"it is not verified by another claim's": {jwt.MapClaims{"email_verified": true, "mail": "jane@example.com"},
			func(c *Config) { c.EmailAttribute = "mail" }, "jane@example.com", false},
	} {
		a, err := newProvider(t, tt.config).Assert(t.Context(), sign(t, secret, claims(tt.claims)))
		if err != nil || a.Subject != tt.subject || a.EmailVerified != tt.verified {
			t.Errorf("%s: got %q, %v, %v, want %q, %v", name, a.Subject, a.EmailVerified, err, tt.subject, tt.verified)
		}
	}
}

// C44, B9: what is said of groups.
func TestGroups(t *testing.T) {
	t.Parallel()
	sync := func(c *Config) { c.GroupSync = true }
	many := make([]string, 1001)
	for name, tt := range map[string]struct {
		claim  any
		config func(*Config)
		want   *[]string
		reason registry.Reason
	}{
		"it says nothing without the claim":     {nil, sync, nil, ""},
		"it says nothing for null":              {json.RawMessage("null"), sync, nil, ""},
		"it says nothing while sync is off":     {[]string{"a"}, nil, nil, ""},
		"it does not look while sync is off":    {7, nil, nil, ""},
		"it says none for an empty list":        {[]string{}, sync, &[]string{}, ""},
		"it says none for an empty text":        {"", sync, &[]string{}, ""},
		"it reads a list":                       {[]string{"a", "b c"}, sync, &[]string{"a", "b c"}, ""},
		"it reads one name":                     {"a,b", sync, &[]string{"a,b"}, ""},
		"it refuses a number":                   {7, sync, nil, registry.ReasonAssertionInvalid},
		"it refuses a map":                      {map[string]any{"a": true}, sync, nil, registry.ReasonAssertionInvalid},
		"it refuses a list with something else": {[]any{"a", nil}, sync, nil, registry.ReasonAssertionInvalid},
		"it refuses more than a thousand":       {many, sync, nil, registry.ReasonAssertionInvalid},
	} {
		a, err := newProvider(t, tt.config).Assert(t.Context(), sign(t, secret, claims(jwt.MapClaims{"groups": tt.claim})))
		if got := reason(t, err); got != tt.reason || !reflect.DeepEqual(a.Groups, tt.want) {
			t.Errorf("%s: got %v, %q, want %v, %q", name, a.Groups, got, tt.want, tt.reason)
		}
	}
}

// B8: what becomes an attribute, and how it is written.
func TestAttributes(t *testing.T) {
	t.Parallel()
	at := now.Unix()
	many := func(n int) jwt.MapClaims {
		c := jwt.MapClaims{}
		for i := range n {
			c[fmt.Sprint("k", i)] = ""
		}
		return c
	}
	for name, tt := range map[string]struct {
		claims jwt.MapClaims
		want   map[string]string
		reason registry.Reason
	}{
		"it has none":      {nil, map[string]string{}, ""},
		"it keeps text":    {jwt.MapClaims{"plan": "pro", "empty": ""}, map[string]string{"plan": "pro", "empty": ""}, ""},
		"it keeps numbers": {jwt.MapClaims{"a": json.Number("1.50"), "b": json.Number("12345678901234567890"), "c": json.Number("1E3")}, map[string]string{"a": "1.50", "b": "12345678901234567890", "c": "1E3"}, ""},
		"it keeps truth":   {jwt.MapClaims{"a": true, "b": false}, map[string]string{"a": "true", "b": "false"}, ""},
		"it drops maps, lists, null": {jwt.MapClaims{"a": map[string]any{"x": 1}, "b": []string{"x"}, "c": json.RawMessage("null")},
			map[string]string{}, ""},
		"it drops what is reserved": {jwt.MapClaims{"@tenant": "x", "@": "y"}, map[string]string{}, ""},
		"it drops what has a meaning": {jwt.MapClaims{"iss": "i", "iat": at, "sub": "s", "aud": "a", "nbf": at, "jti": "j",
			"first_name": "f", "last_name": "l", "groups": "g"}, map[string]string{}, ""},
		"it keeps 64":                  {many(64), nil, ""},
		"it refuses 65":                {many(65), nil, registry.ReasonAssertionInvalid},
		"it keeps a name of 64 bytes":  {jwt.MapClaims{strings.Repeat("k", 64): ""}, map[string]string{strings.Repeat("k", 64): ""}, ""},
		"it refuses one of 65 bytes":   {jwt.MapClaims{strings.Repeat("k", 65): ""}, nil, registry.ReasonAssertionInvalid},
		"it keeps a value of 1024":     {jwt.MapClaims{"v": strings.Repeat("v", 1024)}, map[string]string{"v": strings.Repeat("v", 1024)}, ""},
		"it refuses one of 1025 bytes": {jwt.MapClaims{"v": strings.Repeat("v", 1025)}, nil, registry.ReasonAssertionInvalid},
	} {
		a, err := newProvider(t, nil).Assert(t.Context(), sign(t, secret, claims(tt.claims)))
		if got := reason(t, err); got != tt.reason {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, tt.reason)
		}
		if tt.want != nil && !reflect.DeepEqual(a.Attributes, tt.want) {
			t.Errorf("%s: got %v, want %v", name, a.Attributes, tt.want)
		}
		if tt.reason == "" && a.Attributes == nil {
			t.Errorf("%s: got nil, which would leave the old ones", name)
		}
	}
}

// C41: a token counts once, on every node that shares what was seen, and what
// was seen is kept until nobody would take the token any more.
func TestReplay(t *testing.T) {
	t.Parallel()
	shared := &memory{}
	one := newProvider(t, func(c *Config) { c.Seen = shared })
	two := newProvider(t, func(c *Config) { c.Seen = shared; c.PreviousSecret = previous })
	token := sign(t, secret, claims(jwt.MapClaims{"n": 1}))
	if _, err := one.Assert(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	for hash, until := range shared.seen {
		if until.Before(now.Add(time.Minute)) {
			t.Errorf("%x is kept until %v, want the token's end at least", hash, until)
		}
	}
	for name, p := range map[string]*Provider{"the same node": one, "another node": two} {
		if _, err := p.Assert(t.Context(), token); reason(t, err) != registry.ReasonAssertionReplayed {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := one.Assert(t.Context(), sign(t, secret, claims(jwt.MapClaims{"n": 2}))); err != nil {
		t.Errorf("another token of the same person: %v", err)
	}
	first := sign(t, secret, claims(jwt.MapClaims{"jti": "7", "n": 1}))
	if _, err := one.Assert(t.Context(), first); err != nil {
		t.Error(err)
	}
	if _, err := one.Assert(t.Context(), sign(t, secret, claims(jwt.MapClaims{"jti": "7", "n": 2}))); reason(t, err) != registry.ReasonAssertionReplayed {
		t.Errorf("another token with the same jti: got %v", err)
	}
	if _, err := one.Assert(t.Context(), sign(t, secret, claims(jwt.MapClaims{"jti": "7", "iss": "other"}))); err != nil {
		t.Errorf("the same jti of another issuer: %v", err)
	}
}

func TestReplayRace(t *testing.T) {
	t.Parallel()
	p, token := newProvider(t, nil), sign(t, secret, claims(nil))
	var taken, replayed int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := p.Assert(t.Context(), token)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				taken++
			case errors.Is(err, authn.ErrUnauthenticated):
				replayed++
			}
		})
	}
	wg.Wait()
	if taken != 1 || replayed != 19 {
		t.Errorf("%d were taken and %d refused, want 1 and 19", taken, replayed)
	}
}

func TestSeenThatIsDown(t *testing.T) {
	t.Parallel()
	p := newProvider(t, func(c *Config) { c.Seen = &memory{err: registry.ErrUnavailable} })
	if _, err := p.Assert(t.Context(), sign(t, secret, claims(nil))); !errors.Is(err, registry.ErrUnavailable) || errors.Is(err, authn.ErrUnauthenticated) {
		t.Errorf("got %v, want the store's error and no refusal", err)
	}
}

func FuzzAssert(f *testing.F) {
	p := newProvider(f, func(c *Config) { c.GroupSync, c.PreviousSecret = true, previous })
	good := sign(f, secret, claims(jwt.MapClaims{"groups": "g", "n": 1}))
	f.Add(good)
	f.Add("a.b.c")
	f.Add(sign(f, "another key that is long enough, too", claims(nil)))
	f.Fuzz(func(t *testing.T, token string) {
		if a, err := p.Assert(t.Context(), token); err == nil && token != good {
			t.Errorf("%q was taken as %+v", token, a)
		}
	})
}

// FuzzClaims signs what a careless identity provider might: nothing panics, and
// what is taken says who, by which address, and ends.
func FuzzClaims(f *testing.F) {
	p := newProvider(f, func(c *Config) { c.GroupSync = true })
	f.Add(`{"email":"a@b.c","exp":1795348860}`)
	f.Add(`{"email":"a@b.c","exp":1795348860,"groups":["x"],"sub":"s","aud":["a"],"n":1e400}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(text))
		mac, err := jwt.SigningMethodHS256.Sign(head, []byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		a, err := p.Assert(t.Context(), head+"."+base64.RawURLEncoding.EncodeToString(mac))
		if err == nil && (a.Subject == "" || !strings.Contains(a.Email, "@") || a.Attributes == nil || len(a.Attributes) > 64) {
			t.Errorf("%s was taken as %+v", text, a)
		}
	})
}
