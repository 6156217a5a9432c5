package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// A Liar is a provider that is honest until a test sets one of its fields. Set
// them before the request that they are to spoil; its methods are safe for
// concurrent use.
type Liar struct {
	*httptest.Server
	Issuer           string // "" is URL
	ClientID, Secret string // what the token endpoint asks for; by Basic, or in the form when Secret is ""
	PostAuth         bool   // Secret is asked for in the form
	Now              func() time.Time

	Key         *ecdsa.PrivateKey // signs, and is published
	RSA         *rsa.PrivateKey   // is published, and signs under RS256; nil for none, it takes long to make
	Alg         jose.SignatureAlgorithm
	SigningKey  any                         // instead of Key
	Header      map[jose.HeaderKey]any      // more of the id_token's header
	Claims      func(claims map[string]any) // changes the id_token's claims
	Token       func(answer map[string]any) // changes the token endpoint's answer
	Userinfo    map[string]any
	Discovery   func(document map[string]any)
	Callback    func(callback url.Values)
	Interrupt   map[string]http.HandlerFunc // by path: answers instead
	UsableTwice bool                        // codes are

	honest http.Handler
	mu     sync.Mutex
	codes  map[string]url.Values // code → the authorization request
	asked  map[string]int        // path → requests
}

// NewLiar starts a provider for a client, and stops it with the test. It
// signs under ES256 by a key of its own.
func NewLiar(t testing.TB, clientID, secret string) *Liar {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := &Liar{
		ClientID: clientID, Secret: secret, Now: time.Now, Key: key, Alg: jose.ES256,
		Userinfo: map[string]any{"sub": "alice", "email": "alice@example.com", "email_verified": true, "groups": []string{"staff"}},
		codes:    map[string]url.Values{}, asked: map[string]int{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", l.discovery)
	mux.HandleFunc("GET /keys", l.keys)
	mux.HandleFunc("POST /token", l.token)
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, r *http.Request) { answer(w, http.StatusOK, l.Userinfo) })
	l.honest = mux
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.asked[r.URL.Path]++
		instead := l.Interrupt[r.URL.Path]
		l.mu.Unlock()
		if instead != nil {
			instead(w, r)
			return
		}
		l.Answer(w, r)
	}))
	t.Cleanup(func() { l.CloseClientConnections(); l.Close() })
	return l
}

// Answer answers a request as it would without Interrupt.
func (l *Liar) Answer(w http.ResponseWriter, r *http.Request) { l.honest.ServeHTTP(w, r) }

// Asked returns how many requests a path had.
func (l *Liar) Asked(path string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[path]
}

// Name returns the issuer.
func (l *Liar) Name() string {
	if l.Issuer != "" {
		return l.Issuer
	}
	return l.URL
}

// Sign has somebody sign in at an authorization URL and returns the callback.
func (l *Liar) Sign(t testing.TB, location string) url.Values {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("response_type") != "code" || q.Get("client_id") != l.ClientID {
		t.Fatalf("the authorization request is %s", location)
	}
	code := rand.Text()
	l.mu.Lock()
	l.codes[code] = q
	l.mu.Unlock()
	callback := url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {l.Name()}}
	if l.Callback != nil {
		l.Callback(callback)
	}
	return callback
}

func (l *Liar) discovery(w http.ResponseWriter, _ *http.Request) {
	document := map[string]any{
		"issuer": l.Name(), "authorization_endpoint": l.URL + "/auth", "token_endpoint": l.URL + "/token",
		"jwks_uri": l.URL + "/keys", "userinfo_endpoint": l.URL + "/userinfo", "end_session_endpoint": l.URL + "/end",
		"id_token_signing_alg_values_supported":          []string{"none", "HS256", "RS256", "ES256"},
		"authorization_response_iss_parameter_supported": true,
	}
	if l.Discovery != nil {
		l.Discovery(document)
	}
	answer(w, http.StatusOK, document)
}

func (l *Liar) keys(w http.ResponseWriter, _ *http.Request) {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: l.Key.Public(), KeyID: "ec", Use: "sig"}}}
	if l.RSA != nil {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: l.RSA.Public(), KeyID: "rsa", Use: "sig"})
	}
	answer(w, http.StatusOK, set)
}

func (l *Liar) token(w http.ResponseWriter, r *http.Request) {
	id, secret, basic := r.BasicAuth()
	if basic { // RFC 6749 §2.3.1
		id, secret = unescape(id), unescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if id != l.ClientID || secret != l.Secret || basic != (l.Secret != "" && !l.PostAuth) {
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	code := r.PostFormValue("code")
	l.mu.Lock()
	request := l.codes[code]
	if !l.UsableTwice {
		delete(l.codes, code)
	}
	l.mu.Unlock()
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if request == nil || request.Get("redirect_uri") != r.PostFormValue("redirect_uri") ||
		request.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(sum[:]) {
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "leaks " + code})
		return
	}
	access := rand.Text()
	half := sha256.Sum256([]byte(access))
	now := l.Now().Unix()
	said := map[string]any{
		"iss": l.Name(), "sub": "alice", "aud": l.ClientID, "iat": now, "exp": now + 300, "auth_time": now - 5,
		"nonce": request.Get("nonce"), "at_hash": base64.RawURLEncoding.EncodeToString(half[:16]),
		"email": "alice@example.com", "email_verified": true, "groups": []string{"staff"},
	}
	if l.Claims != nil {
		l.Claims(said)
	}
	reply := map[string]any{"access_token": access, "token_type": "Bearer", "id_token": l.idToken(said)}
	if l.Token != nil {
		l.Token(reply)
	}
	answer(w, http.StatusOK, reply)
}

// idToken signs claims, or writes them down unsigned when Alg is "none".
func (l *Liar) idToken(said map[string]any) string {
	payload := marshal(said)
	if l.Alg == "none" {
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString(payload) + "."
	}
	key, id := any(l.Key), "ec"
	if l.RSA != nil && l.Alg != jose.ES256 {
		key, id = l.RSA, "rsa"
	}
	if l.SigningKey != nil {
		key = l.SigningKey
	}
	header := map[jose.HeaderKey]any{"kid": id}
	maps.Copy(header, l.Header)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: l.Alg, Key: key}, &jose.SignerOptions{ExtraHeaders: header})
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(marshal(v))
}

func unescape(text string) string {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		return ""
	}
	return plain
}

func marshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}
