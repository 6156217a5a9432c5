package oidc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/oidc"
	"github.com/postern-io/postern/authn/oidc/oidctest"
	"github.com/postern-io/postern/registry"
)

const (
	invalid = registry.ReasonAssertionInvalid
	expired = registry.ReasonAssertionExpired
	denied  = registry.ReasonProviderRefused
	fine    = registry.Reason("fine")
)

// newLiar returns a provider and our side of it.
func newLiar(t testing.TB, change func(*oidc.Config)) (*oidctest.Liar, *oidc.Provider) {
	liar := oidctest.NewLiar(t, "us", secret)
	c := oidc.Config{Key: "oidc", Issuer: liar.URL, ClientID: "us", ClientSecret: secret, RedirectURL: here, GroupsClaim: "groups"}
	if change != nil {
		change(&c)
	}
	return liar, newProvider(t, c)
}

func claim(name string, value any) func(*oidctest.Liar) {
	return func(l *oidctest.Liar) { l.Claims = func(c map[string]any) { c[name] = value } }
}

// shifted sets a time to so many seconds from now.
func shifted(name string, seconds int64) func(*oidctest.Liar) {
	return func(l *oidctest.Liar) { l.Claims = func(c map[string]any) { c[name] = l.Now().Unix() + seconds } }
}

func without(names ...string) func(*oidctest.Liar) {
	return func(l *oidctest.Liar) {
		l.Claims = func(c map[string]any) {
			for _, name := range names {
				delete(c, name)
			}
		}
	}
}

func callback(change func(url.Values)) func(*oidctest.Liar) {
	return func(l *oidctest.Liar) { l.Callback = change }
}

func answers(path string, h http.HandlerFunc) func(*oidctest.Liar) {
	return func(l *oidctest.Liar) { l.Interrupt = map[string]http.HandlerFunc{path: h} }
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); io.WriteString(w, "leaks "+secret) }
}

func endless(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"access_token":"a","sub":"alice","keys":[],"padding":"`)
	block := strings.Repeat("x", 64<<10)
	for range 64 {
		if _, err := io.WriteString(w, block); err != nil {
			return
		}
	}
	io.WriteString(w, `"}`)
}

// Every lie is one change to a sign-in that succeeds.
func TestLiesAreRefused(t *testing.T) {
	t.Parallel()
	slow, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		lie  func(*oidctest.Liar)
		want registry.Reason
	}{
		{"it takes the truth", func(*oidctest.Liar) {}, fine},
		{"it takes the truth under RS256", func(l *oidctest.Liar) { l.Alg, l.RSA = jose.RS256, slow }, fine},
		{"it takes a provider that wants the secret in the form", func(l *oidctest.Liar) {
			l.PostAuth = true
			l.Discovery = func(d map[string]any) {
				d["token_endpoint_auth_methods_supported"] = []string{"client_secret_post"}
			}
		}, fine},
		{"it takes several audiences for us", func(l *oidctest.Liar) {
			l.Claims = func(c map[string]any) { c["aud"], c["azp"] = []string{"us", "them"}, "us" }
		}, fine},
		{"it takes no at_hash", without("at_hash"), fine},
		{"it takes a small difference of clocks", shifted("iat", 30), fine},
		{"it takes no iss in the callback where none is promised", func(l *oidctest.Liar) {
			l.Discovery = func(d map[string]any) { delete(d, "authorization_response_iss_parameter_supported") }
			l.Callback = func(v url.Values) { v.Del("iss") }
		}, fine},

		// C25, C36, C39: who signed it.
		{"it refuses alg none", func(l *oidctest.Liar) { l.Alg = "none" }, invalid},
		{"it refuses alg none, promised alone", func(l *oidctest.Liar) {
			l.Alg = "none"
			l.Discovery = func(d map[string]any) { d["id_token_signing_alg_values_supported"] = []string{"none", "HS256"} }
		}, ""},
		{"it refuses HS256 with the public key", func(l *oidctest.Liar) {
			der, _ := x509.MarshalPKIXPublicKey(slow.Public())
			l.RSA, l.Alg, l.SigningKey = slow, jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
		}, invalid},
		{"it refuses HS256 with our secret", func(l *oidctest.Liar) { l.Alg, l.SigningKey = jose.HS256, []byte(secret) }, invalid},
		{"it refuses an algorithm that was not promised", func(l *oidctest.Liar) { l.Alg, l.RSA = jose.PS256, slow }, invalid},
		{"it refuses another key", func(l *oidctest.Liar) { l.SigningKey = foreign }, invalid},
		{"it refuses another key under an unknown kid", func(l *oidctest.Liar) {
			l.SigningKey, l.Header = foreign, map[jose.HeaderKey]any{"kid": "new"}
		}, invalid},
		{"it refuses another key that comes along (jwk)", func(l *oidctest.Liar) {
			l.SigningKey, l.Header = foreign, map[jose.HeaderKey]any{"jwk": jose.JSONWebKey{Key: foreign.Public()}}
		}, invalid},
		{"it refuses another key from elsewhere (jku)", func(l *oidctest.Liar) {
			l.SigningKey, l.Header = foreign, map[jose.HeaderKey]any{"jku": l.URL + "/attacker", "x5u": l.URL + "/attacker"}
		}, invalid},
		{"it refuses a changed payload", func(l *oidctest.Liar) {
			l.Token = func(a map[string]any) {
				parts := strings.Split(a["id_token"].(string), ".")
				parts[1] = parts[1][:len(parts[1])-4] + "AAAA"
				a["id_token"] = strings.Join(parts, ".")
			}
		}, invalid},
		{"it refuses no id_token", func(l *oidctest.Liar) { l.Token = func(a map[string]any) { delete(a, "id_token") } }, invalid},
		{"it refuses an id_token that is none", func(l *oidctest.Liar) { l.Token = func(a map[string]any) { a["id_token"] = "x.y.z" } }, invalid},

		// C30–C32: for whom, by whom, in which flow.
		{"it refuses another nonce", claim("nonce", "another"), invalid},
		{"it refuses no nonce", without("nonce"), invalid},
		{"it refuses another audience", claim("aud", "them"), invalid},
		{"it refuses no audience", without("aud"), invalid},
		{"it refuses several audiences with a foreign azp", func(l *oidctest.Liar) {
			l.Claims = func(c map[string]any) { c["aud"], c["azp"] = []string{"us", "them"}, "them" }
		}, invalid},
		{"it refuses several audiences without azp", claim("aud", []string{"us", "them"}), invalid},
		{"it refuses one audience with a foreign azp", claim("azp", "them"), invalid},
		{"it refuses an azp that is no text", claim("azp", []string{"us"}), invalid},
		{"it refuses an issuer with a slash more", func(l *oidctest.Liar) { claim("iss", l.URL+"/")(l) }, invalid},
		{"it refuses an issuer by another name", func(l *oidctest.Liar) {
			claim("iss", strings.Replace(l.URL, "127.0.0.1", "localhost", 1))(l)
		}, invalid},
		{"it refuses Google's short issuer elsewhere", claim("iss", "accounts.google.com"), invalid},
		{"it refuses the hash of another access token", claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), invalid},
		{"it refuses no sub", without("sub"), registry.ReasonSubjectMissing},
		{"it refuses a sub that is no text", claim("sub", 7), invalid},
		{"it refuses a long sub", claim("sub", strings.Repeat("a", 256)), invalid},

		// Times.
		{"it refuses an expired token", shifted("exp", -2), expired},
		{"it refuses no exp", without("exp"), expired},
		{"it refuses no iat", without("iat"), invalid},
		{"it refuses an iat in the future", shifted("iat", 90), expired},
		{"it refuses an old iat", shifted("iat", -700), expired},
		{"it refuses a token of later", shifted("nbf", 900), invalid},

		// C28, C33: the callback.
		{"it refuses another iss in the callback", callback(func(v url.Values) { v.Set("iss", "https://attacker.example") }), invalid},
		{"it refuses an empty iss in the callback", callback(func(v url.Values) { v.Set("iss", "") }), invalid},
		{"it refuses a missing iss where it is promised", callback(func(v url.Values) { v.Del("iss") }), invalid},
		{"it refuses another iss where none is promised", func(l *oidctest.Liar) {
			l.Discovery = func(d map[string]any) { delete(d, "authorization_response_iss_parameter_supported") }
			l.Callback = func(v url.Values) { v.Set("iss", "https://attacker.example") }
		}, invalid},
		{"it asks an error where it is from", callback(func(v url.Values) { v.Del("code"); v.Set("error", "access_denied"); v.Set("iss", "x") }), invalid},
		{"it refuses another state", callback(func(v url.Values) { v.Set("state", "another") }), registry.ReasonFlowUnknown},
		{"it refuses no state", callback(func(v url.Values) { v.Del("state") }), registry.ReasonFlowUnknown},
		{"it refuses two states", callback(func(v url.Values) { v.Add("state", v.Get("state")) }), invalid},
		{"it refuses two codes", callback(func(v url.Values) { v.Add("code", v.Get("code")) }), invalid},
		{"it refuses two iss", callback(func(v url.Values) { v.Add("iss", v.Get("iss")) }), invalid},
		{"it refuses a code without end", callback(func(v url.Values) { v.Set("code", strings.Repeat("a", 5000)) }), invalid},
		{"it refuses no code", callback(func(v url.Values) { v.Del("code") }), invalid},
		{"it refuses a code of nobody's", callback(func(v url.Values) { v.Set("code", "guessed") }), denied},
		{"it refuses access_denied", callback(func(v url.Values) { v.Del("code"); v.Set("error", "access_denied") }), denied},
		{"it refuses an error beside a code", callback(func(v url.Values) { v.Set("error", "access_denied") }), denied},
		{"it tells a refusal from not now", callback(func(v url.Values) { v.Set("error", "temporarily_unavailable") }), ""},

		// Userinfo.
		{"it asks userinfo for the address", without("email", "email_verified"), fine},
		{"it refuses userinfo of somebody else", func(l *oidctest.Liar) { without("email")(l); l.Userinfo["sub"] = "mallory" }, invalid},
		{"it refuses userinfo of nobody", func(l *oidctest.Liar) { without("email")(l); delete(l.Userinfo, "sub") }, invalid},
		{"it refuses when userinfo refuses", func(l *oidctest.Liar) { without("email")(l); answers("/userinfo", status(401))(l) }, denied},
		{"it waits for a userinfo that fails", func(l *oidctest.Liar) { without("email")(l); answers("/userinfo", status(500))(l) }, ""},
		{"it reads no userinfo without end", func(l *oidctest.Liar) { without("email")(l); answers("/userinfo", endless)(l) }, ""},

		// C65: a provider that fails.
		{"it tells a failing token endpoint", answers("/token", status(500)), ""},
		{"it tells a busy token endpoint", answers("/token", status(429)), ""},
		{"it tells a refusing token endpoint", answers("/token", status(400)), denied},
		{"it reads no token answer without end", answers("/token", endless), ""},
		{"it tells nonsense", answers("/token", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }), ""},
		{"it tells failing keys", answers("/keys", status(503)), ""},
		{"it tells missing keys", answers("/keys", status(404)), ""},
		{"it reads no keys without end", answers("/keys", endless), invalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			liar, p := newLiar(t, nil)
			test.lie(liar)
			f := newFlow()
			location, err := p.Begin(t.Context(), f)
			var a authn.Assertion
			if err == nil {
				a, err = p.Complete(t.Context(), f, liar.Sign(t, location))
			}
			if test.want == fine {
				if err != nil || a.Subject != "alice" || !a.EmailVerified {
					t.Errorf("got %+v, %v", a, err)
				}
				return
			}
			wantReason(t, err, test.want)
			if err != nil && (strings.Contains(err.Error(), "leaks") || strings.Contains(err.Error(), secret) || len(err.Error()) > 1000) {
				t.Errorf("the error repeats what it must not: %v", err)
			}
			if n := liar.Asked("/attacker"); n != 0 {
				t.Errorf("a header's URL was asked %d times", n)
			}
		})
	}
}

// C30, C31: what was right in one flow, or for one client, is wrong in another.
func TestTokensDoNotMove(t *testing.T) {
	t.Parallel()
	liar, p := newLiar(t, nil)
	var taken string
	liar.Token = func(a map[string]any) { taken = a["id_token"].(string) }
	f := newFlow()
	if _, err := p.Complete(t.Context(), f, liar.Sign(t, begin(t, p, f))); err != nil {
		t.Fatal(err)
	}
	liar.Token = func(a map[string]any) { a["id_token"] = taken }
	f = newFlow()
	_, err := p.Complete(t.Context(), f, liar.Sign(t, begin(t, p, f)))
	wantReason(t, err, invalid)

	// A code is redeemed once even by a provider that would do it twice, as long
	// as the pipeline uses a flow once: here it is the provider that refuses.
	liar.Token = nil
	f = newFlow()
	answer := liar.Sign(t, begin(t, p, f))
	if _, err := p.Complete(t.Context(), f, answer); err != nil {
		t.Fatal(err)
	}
	_, err = p.Complete(t.Context(), f, answer)
	wantReason(t, err, denied)
}

// C65: a provider that does not answer costs no more than the timeout, at
// whichever endpoint, and a redirect is not followed to anywhere.
func TestHangingAndRedirectingProvider(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/.well-known/openid-configuration", "/token", "/keys", "/userinfo"} {
		t.Run("it does not wait for "+path, func(t *testing.T) {
			t.Parallel()
			liar, p := newLiar(t, func(c *oidc.Config) { c.Timeout = 300 * time.Millisecond })
			without("email")(liar)
			answers(path, func(_ http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body) // or the server does not see that we left
				<-r.Context().Done()
			})(liar)
			start := time.Now()
			wantReason(t, attempt(t, liar, p), "")
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
		})
		t.Run("it does not follow "+path, func(t *testing.T) {
			t.Parallel()
			liar, p := newLiar(t, nil)
			without("email")(liar)
			answers(path, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			})(liar)
			wantReason(t, attempt(t, liar, p), "")
			if n := liar.Asked("/elsewhere"); n != 0 {
				t.Errorf("it followed %d times", n)
			}
		})
	}
}

// The timeout is that of a person's wait, however many calls it takes.
func TestSlowProvider(t *testing.T) {
	t.Parallel()
	liar, p := newLiar(t, func(c *oidc.Config) { c.Timeout = time.Second })
	without("email")(liar)
	f := newFlow()
	location := begin(t, p, f)
	slow := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(600 * time.Millisecond):
		case <-r.Context().Done():
		}
		liar.Answer(w, r)
	}
	liar.Interrupt = map[string]http.HandlerFunc{"/keys": slow, "/userinfo": slow}
	_, err := p.Complete(t.Context(), f, liar.Sign(t, location))
	wantReason(t, err, "")
	if liar.Asked("/userinfo") != 1 {
		t.Error("each call alone should have been in time")
	}
}

// attempt signs in as far as it goes.
func attempt(t testing.TB, liar *oidctest.Liar, p *oidc.Provider) error {
	t.Helper()
	f := newFlow()
	location, err := p.Begin(t.Context(), f)
	if err != nil {
		return err
	}
	_, err = p.Complete(t.Context(), f, liar.Sign(t, location))
	return err
}

// G7: Google writes its issuer in two ways, and knows whose domain it is.
func TestGoogle(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, iss, hd string
		want          registry.Reason
	}{
		{"it takes the issuer", "https://accounts.google.com", "example.com", fine},
		{"it takes the issuer without scheme", "accounts.google.com", "example.com", fine},
		{"it refuses another issuer", "https://accounts.google.com/", "example.com", invalid},
		{"it refuses another domain", "https://accounts.google.com", "else.example", registry.ReasonNotAuthorized},
		{"it refuses an account without a domain", "https://accounts.google.com", "", registry.ReasonNotAuthorized},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			liar := oidctest.NewLiar(t, "us", secret)
			liar.Issuer = "https://accounts.google.com"
			liar.Claims = func(c map[string]any) { c["iss"], c["hd"] = test.iss, test.hd }
			c := oidc.Google("us", secret, here)
			c.AuthURL, c.TokenURL, c.JWKSURL, c.HostedDomain = liar.URL+"/auth", liar.URL+"/token", liar.URL+"/keys", "example.com"
			p := newProvider(t, c)
			f := newFlow()
			a, err := p.Complete(t.Context(), f, liar.Sign(t, begin(t, p, f)))
			if test.want != fine {
				wantReason(t, err, test.want)
			} else if err != nil || a.Provider != "google" || a.Login != "alice" {
				t.Errorf("got %+v, %v", a, err)
			}
			if n := liar.Asked("/.well-known/openid-configuration"); n != 0 {
				t.Errorf("discovery was asked %d times with all URLs given", n)
			}
		})
	}
}

func FuzzComplete(f *testing.F) {
	liar, p := newLiar(f, nil)
	flow := newFlow()
	f.Add("state=" + flow.State + "&code=x&iss=" + url.QueryEscape(liar.URL))
	f.Add("state=" + flow.State + "&error=access_denied&error_description=%00%ff%0a&iss=" + url.QueryEscape(liar.URL))
	f.Add("state=" + flow.State + "&state=&code=&iss=%zz;")
	f.Add("code=1&code=2&id_token=e30.e30.&access_token=x")
	f.Fuzz(func(t *testing.T, query string) {
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		a, err := p.Complete(t.Context(), flow, v)
		if err == nil || a.Subject != "" {
			t.Fatalf("%q let %q in", query, a.Subject)
		}
		if strings.ContainsAny(err.Error(), "\n\r\x00") {
			t.Fatalf("%q breaks the log: %q", query, err)
		}
	})
}
