package header

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxHops bounds the walk over the client address header; no chain of proxies
// is longer.
const maxHops = 32

// trusted tells whether a request comes from a proxy that may speak for people.
func (p *Provider) trusted(r *http.Request) bool {
	if ip, ok := peer(r); ok && p.proxy(ip) {
		return true
	}
	return p.c.ProxyRoots != nil && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 && p.certified(r.TLS.PeerCertificates)
}

// certified verifies the chain here, whatever the listener asked for: it may
// take certificates unseen, or those of devices. That the peer holds the key is
// what the handshake proved.
func (p *Provider) certified(chain []*x509.Certificate) bool {
	leaf, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		Roots: p.c.ProxyRoots, Intermediates: between, CurrentTime: p.c.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return false
	}
	return len(p.c.ProxyNames) == 0 || slices.ContainsFunc(p.c.ProxyNames, func(name string) bool {
		return slices.Contains(leaf.DNSNames, name) || leaf.Subject.CommonName == name
	})
}

// peer returns the address of the other end. A Unix socket has none.
func peer(r *http.Request) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	return bare(ap.Addr()), err == nil
}

func (p *Provider) proxy(ip netip.Addr) bool {
	return slices.ContainsFunc(p.c.TrustedProxies, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// bare leaves out the zone, and the IPv6 dress of an IPv4 address in which a
// listener on both sees it: prefixes match neither.
func bare(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }

// unmapped does to a network what bare does to an address.
func unmapped(n netip.Prefix) netip.Prefix {
	if n.Addr().Is4In6() && n.Bits() >= 96 {
		return netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
	}
	return n
}

// ClientIP returns the address that a request began at, as far as trusted
// proxies vouch for it: the header is read from the right, over trusted proxies
// only, and the walk stops at what is no address. From a peer that is not
// trusted the header counts for nothing, and the peer is the answer; over a
// Unix socket that is "". It is for logs and throttling, and no proof of anything.
func (p *Provider) ClientIP(r *http.Request) string {
	at, _ := peer(r)
	if p.trusted(r) {
		rest := strings.Join(r.Header.Values(p.c.ClientIPHeader), ",")
		for range maxHops {
			comma := strings.LastIndexByte(rest, ',')
			hop, ok := address(strings.TrimSpace(rest[comma+1:]))
			if !ok {
				break
			}
			at = hop
			if comma < 0 || !p.proxy(hop) {
				break
			}
			rest = rest[:comma]
		}
	}
	if !at.IsValid() {
		return ""
	}
	return at.String()
}

// address reads one hop, which may have a port, and brackets (RFC 7239 §6).
func address(s string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		var ap netip.AddrPort
		ap, err = netip.ParseAddrPort(s)
		ip = ap.Addr()
	}
	return bare(ip), err == nil
}
