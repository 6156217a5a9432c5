package api

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/token"
)

// The token endpoint of OAuth 2.0 (RFC 6749 §3.2). People sign in elsewhere:
// there is no password grant (RFC 9700 §2.4).

// An oauthProblem is an error of RFC 6749 §5.2.
type oauthProblem struct{ word, text string }

func (e *oauthProblem) Error() string { return e.word + ": " + e.text }

// OAuth returns the handler of POST /oauth2/token. It is safe for concurrent use.
func (s *Server) OAuth() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(oauthRoute.method+" "+oauthRoute.pattern, s.serve(oauthRoute))
	return mux
}

func (s *Server) oauthToken(ctx context.Context, c *call) (answer, error) {
	in, err := oauthForms(c.request)
	if err != nil {
		return answer{}, err
	}
	id, secret, err := oauthClient(c.request, in)
	if err != nil {
		return answer{}, err
	}
	var t authn.Tokens
	switch grant := in.Get("grant_type"); {
	case grant == "":
		return answer{}, &oauthProblem{"invalid_request", "grant_type is missing"}
	case in.Get("scope") != "":
		return answer{}, &oauthProblem{"invalid_scope", "there are no scopes; the role of the key says what it may"}
	case grant == "refresh_token":
		if id != "" && id != s.AppKey {
			return answer{}, &oauthProblem{"invalid_client", "no such client"}
		}
		if in.Get("refresh_token") == "" {
			return answer{}, &oauthProblem{"invalid_request", "refresh_token is missing"}
		}
		t, err = s.Users.Refresh(ctx, in.Get("refresh_token"), c.where())
		if errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrExpired) {
			err = errors.Join(&oauthProblem{"invalid_grant", "the refresh token is not valid, was used, or has expired"}, err)
		}
	case grant == "client_credentials":
		t, err = s.Users.KeyToken(ctx, id, secret, c.where())
		if errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrExpired) {
			err = errors.Join(&oauthProblem{"invalid_client", "the API key is wrong, revoked or expired"}, err)
		}
	default:
		return answer{}, &oauthProblem{"unsupported_grant_type", "give refresh_token or client_credentials"}
	}
	if err != nil {
		return answer{}, err
	}
	return ok(OAuthTokens{AccessToken: t.Access, TokenType: "Bearer", ExpiresIn: int(t.ExpiresIn.Seconds()), RefreshToken: t.Refresh})
}

// oauthForms reads the body. A parameter in the URL would end up in logs, one
// given twice is anybody's guess (RFC 6749 §3.2, §2.3.1).
func oauthForms(r *http.Request) (url.Values, error) {
	if r.URL.RawQuery != "" {
		return nil, &oauthProblem{"invalid_request", "parameters go into the body, not into the URL"}
	}
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, &oauthProblem{"invalid_request", "send the body as application/x-www-form-urlencoded"}
	}
	if err := r.ParseForm(); err != nil {
		if errors.As(err, new(*http.MaxBytesError)) {
			return nil, err
		}
		return nil, &oauthProblem{"invalid_request", "the body is no form"}
	}
	for _, values := range r.PostForm {
		if len(values) > 1 {
			return nil, &oauthProblem{"invalid_request", "a parameter is given twice"}
		}
	}
	return r.PostForm, nil
}

// oauthClient returns how the client names itself and what it shows, by Basic or
// in the body, not both. In Basic both are form-encoded (RFC 6749 §2.3.1).
func oauthClient(r *http.Request, in url.Values) (id, secret string, err error) {
	if r.Header.Get("Authorization") == "" {
		return in.Get("client_id"), in.Get("client_secret"), nil
	}
	user, pass, basic := r.BasicAuth()
	id, err1 := url.QueryUnescape(user)
	secret, err2 := url.QueryUnescape(pass)
	switch {
	case !basic || err1 != nil || err2 != nil:
		return "", "", &oauthProblem{"invalid_client", "the Authorization header is not Basic"}
	case in.Has("client_secret"), in.Has("client_id") && in.Get("client_id") != id:
		return "", "", &oauthProblem{"invalid_request", "the client authenticates in two ways"}
	}
	return id, secret, nil
}

// oauthError is an error as RFC 6749 §5.2 has it. Beyond its words are those of
// a server that cannot answer now.
func oauthError(w http.ResponseWriter, p problem, err error) (int, OAuthError) {
	w.Header().Set("Pragma", "no-cache")
	w.Header().Del("WWW-Authenticate")
	var refused *oauthProblem
	switch {
	case errors.As(err, &refused) && refused.word == "invalid_client":
		w.Header().Set("WWW-Authenticate", `Basic realm="postern"`)
		return http.StatusUnauthorized, OAuthError{refused.word, refused.text}
	case errors.As(err, &refused):
		return http.StatusBadRequest, OAuthError{refused.word, refused.text}
	case errors.Is(err, errAppKey), errors.Is(err, errCrossOrigin):
		return http.StatusBadRequest, OAuthError{"invalid_request", strings.TrimSuffix(p.message, ".")}
	case p.status == http.StatusTooManyRequests, p.status == http.StatusServiceUnavailable:
		return p.status, OAuthError{"temporarily_unavailable", strings.TrimSuffix(p.message, ".")}
	case p.status < 500:
		return p.status, OAuthError{"invalid_request", strings.TrimSuffix(p.message, ".")}
	}
	return p.status, OAuthError{"server_error", strings.TrimSuffix(p.message, ".")}
}
