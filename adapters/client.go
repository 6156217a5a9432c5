package adapters

import (
	"net"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postern-io/postern/authn"
)

const maxUserAgent = 256 // bytes

// ClientOf tells authn where a sign-in comes from. What a stranger says of
// himself is cut to text that a database takes. ip is who stands behind trusted
// proxies; "" takes the peer.
func ClientOf(r *http.Request, ip, kind, request string) authn.Client {
	agent := strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return -1
		}
		return r
	}, r.UserAgent())
	for len(agent) > maxUserAgent {
		_, size := utf8.DecodeLastRuneInString(agent)
		agent = agent[:len(agent)-size]
	}
	if ip == "" {
		ip = PeerIP(r)
	}
	return authn.Client{IP: ip, UserAgent: agent, Kind: kind, Request: request}
}

// PeerIP returns the address at the other end of the connection.
func PeerIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
