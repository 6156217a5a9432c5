// Package sampleidp is the smallest identity provider that signs people in to
// Postern with a JWT. It shows what to write in your own application, and the
// end-to-end tests sign in with it. It is no place for real people: passwords
// are compared as they are, and nothing is throttled.
//
//	settings of Postern          flow A               flow B (PKCE)
//	auth.jwt.idp_uri             https://this/        https://this/
//	auth.jwt.shared_secret       secret               secret
//	auth.jwt.token_uri                                https://this/token
//	auth.jwt.client_id                                any
package sampleidp

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A Person is somebody who can sign in, and what the token says of them: email
// and, as it pleases you, sub, first_name, last_name, groups and attributes.
type Person struct {
	Password string
	Claims   map[string]any
}

var page = template.Must(template.New("").Parse(`<!doctype html><title>Sign in</title><form method="post">
<input name="name" autocomplete="username"><input name="password" type="password" autocomplete="current-password">
{{range $k, $v := .}}<input type="hidden" name="{{$k}}" value="{{index $v 0}}">{{end}}<button>Sign in</button></form>`))

// Handler is an identity provider for people by name. postern is Postern's
// public URL, where every sign-in ends: an address in the request is not
// believed.
func Handler(secret, postern string, people map[string]Person) http.Handler {
	var codes sync.Map // code → the form it was asked for with
	sign := func(name string) (string, error) {
		claims := jwt.MapClaims{"exp": time.Now().Add(time.Minute).Unix(), "jti": rand.Text()}
		for k, v := range people[name].Claims {
			claims[k] = v
		}
		return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(secret))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { page.Execute(w, r.URL.Query()) })
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		name, back := r.PostFormValue("name"), url.Values{}
		if p, ok := people[name]; !ok || p.Password != r.PostFormValue("password") {
			http.Error(w, "wrong name or password", http.StatusUnauthorized)
			return
		}
		r.PostForm.Del("password")
		for _, k := range []string{"return_to", "state"} { // state is how Postern knows its browser again
			if r.PostForm.Has(k) {
				back.Set(k, r.PostForm.Get(k))
			}
		}
		if r.PostForm.Get("response_type") == "code" {
			back.Set("code", rand.Text())
			codes.Store(back.Get("code"), r.PostForm)
		} else {
			token, err := sign(name)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			back.Set("jwt", token)
		}
		http.Redirect(w, r, postern+"/auth/sso?"+back.Encode(), http.StatusSeeOther)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		asked, ok := codes.LoadAndDelete(r.PostFormValue("code")) // a code counts once
		form, _ := asked.(url.Values)
		challenge := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if !ok || form.Get("code_challenge") != base64.RawURLEncoding.EncodeToString(challenge[:]) ||
			form.Get("client_id") != r.PostFormValue("client_id") || form.Get("redirect_uri") != r.PostFormValue("redirect_uri") {
			http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
			return
		}
		token, err := sign(form.Get("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"jwt": token})
	})
	return mux
}
