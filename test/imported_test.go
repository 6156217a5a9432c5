package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A plant is an authority of somebody else, imported into the domain of a
// ground.
type plant struct {
	*ground
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	path string // of the authority, in the API
}

// newPlant imports an authority and proves it, with what else is said of it.
func (g *ground) newPlant(source string, more map[string]any) *plant {
	g.t.Helper()
	p := &plant{ground: g, key: newKey(g.t)}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "plant"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	p.cert = template
	p.cert = p.sign(template, p.key)
	in := map[string]any{"certificate": inPEM(p.cert), "source": source}
	for k, v := range more {
		in[k] = v
	}
	var made struct{ ID, Nonce string }
	all := "/" + g.domain + "/authorities"
	g.nodes[0].api(g.token, "POST", all, in, &made)
	p.path = all + "/" + made.ID
	proof := p.sign(&x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: made.Nonce}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}, newKey(g.t))
	g.owner("POST", p.path+"/prove", map[string]string{"certificate": inPEM(proof)})
	return p
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (p *plant) sign(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	p.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, p.cert, key.Public(), p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func inPEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// device makes a certificate with that common name.
func (p *plant) device(name string, serial int64) tls.Certificate {
	p.t.Helper()
	key := newKey(p.t)
	c := p.sign(&x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key)
	return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
}

// list is a CRL of these serial numbers, as it is number seconds from now.
func (p *plant) list(number int64, life time.Duration, serials ...int64) []byte {
	p.t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now().Add(time.Duration(number) * time.Second), NextUpdate: time.Now().Add(life)}
	for _, n := range serials {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, p.cert, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	return der
}

// enter opens a session with a certificate over MQTTS.
func (g *ground) enter(at *server, c tls.Certificate) (*live, error) {
	g.t.Helper()
	config := g.trust(at)
	config.Certificates = []tls.Certificate{c}
	l, err := g.mqtt(wire{addr: "127.0.0.1:" + at.mqtts, tls: config}, 5, false)
	if err == nil {
		g.t.Cleanup(l.hang)
	}
	return l, err
}

// entered opens one on each node, as soon as that has heard of what was changed
// at the first, and sees that it may speak.
func (g *ground) entered(c tls.Certificate) (all []*live) {
	g.t.Helper()
	for _, at := range g.nodes {
		var l *live
		at.eventually("the device is let in", func() (err error) {
			l, err = g.enter(at, c)
			return err
		})
		if word := l.speak(); word != "" {
			g.t.Fatalf("may not speak: %s", word)
		}
		all = append(all, l)
	}
	return all
}

// ended sees that sessions end within a second from now, and that no new one
// opens.
func (g *ground) ended(what string, c tls.Certificate, all []*live) {
	g.t.Helper()
	from := time.Now()
	for i, l := range all {
		select {
		case <-l.gone:
			_, at := l.over()
			g.t.Logf("%s, node %d: ended after %v", what, i, max(0, at.Sub(from)).Round(100*time.Microsecond))
		case <-time.After(time.Until(from.Add(revokeWithin))):
			g.t.Errorf("%s, node %d: the session goes on after %v", what, i, revokeWithin)
		}
		if _, err := g.enter(g.nodes[i], c); err == nil {
			g.t.Errorf("%s, node %d: let in again", what, i)
		}
	}
}

// TestImportedAuthorities imports authorities on one node and looks at the
// sessions of both.
func TestImportedAuthorities(t *testing.T) {
	w := newRevocations(t)
	ground := func(t *testing.T) *ground {
		g := w.newDomain(t, t.Name()[strings.LastIndexByte(t.Name(), '/')+1:])
		made := g.create("/"+g.domain+"/clients", map[string]string{"name": "sensor"})
		g.device = device{made.ID, made.Credentials.Secret}
		g.connect(g.device)
		return g
	}

	t.Run("what is taken from an authority is taken from its sessions", func(t *testing.T) {
		g := ground(t)
		p := g.newPlant("cn_id", nil)
		c := p.device(g.device.id, 7)
		sessions := g.entered(c)
		g.owner("POST", p.path+"/disable", nil)
		g.ended("disabled", c, sessions)
		g.owner("POST", p.path+"/enable", nil)

		sessions = g.entered(c)
		g.owner("POST", p.path+"/crl", map[string]string{"crl": base64.StdEncoding.EncodeToString(p.list(1, time.Hour, 7))})
		g.ended("on the list", c, sessions)
		g.owner("POST", p.path+"/crl", map[string]string{"crl": base64.StdEncoding.EncodeToString(p.list(2, time.Hour))})

		sessions = g.entered(c)
		g.owner("DELETE", p.path+"/principals/"+g.device.id, nil)
		g.endedOnce(sessions) // it is the first again, so it may come back

		sessions = g.entered(c)
		g.owner("DELETE", p.path, nil)
		g.ended("deleted", c, sessions)
	})

	t.Run("a list that ends, ends the sessions that rest on it", func(t *testing.T) {
		g := ground(t)
		strict, lax := g.newPlant("cn_id", nil), g.newPlant("name", map[string]any{"stale_list": "warn"})
		g.owner("POST", lax.path+"/principals", map[string]string{"name": "sensor", "client_id": g.device.id})
		c, free := strict.device(g.device.id, 7), lax.device("sensor", 8)
		// The list is handed in with three seconds to live.
		for _, p := range []*plant{strict, lax} {
			g.owner("POST", p.path+"/crl", map[string]string{"crl": base64.StdEncoding.EncodeToString(p.list(0, 3*time.Second))})
		}
		// A principal of two authorities: a person has bound the first.
		g.owner("POST", strict.path+"/principals", map[string]string{"client_id": g.device.id})
		sessions, others := g.entered(c), g.entered(free)
		for _, l := range sessions {
			select {
			case <-l.gone:
			case <-time.After(patience):
				t.Fatal("the session goes on without a list")
			}
		}
		if _, err := g.enter(g.nodes[1], c); err == nil {
			t.Error("let in on a stale list")
		}
		for _, l := range others {
			if word := l.speak(); word != "" {
				t.Errorf("a list that is warned of alone refuses: %s", word)
			}
		}
		g.entered(free)
	})

	t.Run("a list is fetched", func(t *testing.T) {
		g := ground(t)
		var body atomic.Pointer[[]byte]
		source := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if b := body.Load(); b != nil {
				rw.Write(*b)
				return
			}
			http.NotFound(rw, r)
		}))
		t.Cleanup(source.Close)
		p := g.newPlant("cn_id", map[string]any{"crl_url": source.URL + "/ca.crl"})
		good, bad := p.device(g.device.id, 7), p.device(g.device.id, 9)
		if _, err := g.enter(g.nodes[0], good); err == nil {
			t.Fatal("let in before the first list")
		}
		first := p.list(0, time.Hour, 9)
		body.Store(&first)
		g.owner("PATCH", p.path, map[string]string{"crl_url": source.URL + "/other.crl"})
		g.owner("PATCH", p.path, map[string]string{"crl_url": source.URL + "/ca.crl"})
		eventually(t, "a good one is let in", func() error { _, err := g.enter(g.nodes[1], good); return err })
		if _, err := g.enter(g.nodes[0], bad); err == nil {
			t.Error("let in from the list")
		}
		answer, err := http.Get("http://127.0.0.1:" + g.nodes[0].opsP + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil || !strings.Contains(string(text), `postern_authority_list_ends_seconds{authority="`+p.path[strings.LastIndexByte(p.path, '/')+1:]+`"}`) {
			t.Errorf("no measure of the list: %v", err)
		}
	})

	t.Run("a factory brings devices", func(t *testing.T) {
		g := ground(t)
		factory := g.newPlant("name", map[string]any{"arrival": map[string]any{
			"register": true, "approve": "pump-*", "tags": []string{"new"}, "channels": []map[string]any{{"channel_id": g.channel, "types": []string{"publish"}}},
		}})
		twin := g.newPlant("name", map[string]any{"arrival": map[string]any{"register": true}})
		g.entered(factory.device("pump-1", 3)) // the rule, at the very first connection

		c := factory.device("valve-1", 4)
		for _, at := range g.nodes {
			if _, err := g.enter(at, c); err == nil {
				t.Error("let in before a person said so")
			}
		}
		if _, err := g.enter(g.nodes[1], twin.device("valve-1", 4)); err == nil {
			t.Error("let in before a person said so")
		}
		var list struct {
			Clients []struct{ ID, Name, Status string }
		}
		g.nodes[0].api(g.token, "GET", "/"+g.domain+"/clients?status=pending", nil, &list)
		if len(list.Clients) != 2 || list.Clients[0].Name != "valve-1" || list.Clients[1].Name != "valve-1" {
			t.Fatalf("waiting: %+v", list.Clients)
		}
		var bound struct {
			Principals []struct {
				ClientID string `json:"client_id"`
			}
		}
		g.nodes[0].api(g.token, "GET", factory.path+"/principals?client="+list.Clients[0].ID, nil, &bound)
		mine := list.Clients[0].ID
		if len(bound.Principals) == 0 {
			mine = list.Clients[1].ID
		}
		g.connect(device{id: mine})
		g.owner("POST", "/"+g.domain+"/clients/"+mine+"/enable", nil)
		g.entered(c)
		if _, err := g.enter(g.nodes[0], twin.device("valve-1", 5)); err == nil {
			t.Error("one authority's name opened for another's")
		}
	})

	t.Run("an authority names no device of another domain", func(t *testing.T) {
		g, other := ground(t), ground(t)
		p := g.newPlant("cn_id", map[string]any{"longest_life": "2h"})
		for _, at := range g.nodes {
			if _, err := g.enter(at, p.device(other.device.id, 3)); err == nil {
				t.Error("let in to another domain")
			}
		}
		g.entered(p.device(g.device.id, 4))
		g.owner("PATCH", p.path, map[string]string{"longest_life": "119m"})
		eventually(t, "too long a life is refused on both nodes", func() error {
			for _, at := range g.nodes {
				if _, err := g.enter(at, p.device(g.device.id, 5)); err == nil {
					return errors.New("let in")
				}
			}
			return nil
		})
	})
}

// endedOnce sees that sessions end, whoever comes after.
func (g *ground) endedOnce(all []*live) {
	g.t.Helper()
	from := time.Now()
	for i, l := range all {
		select {
		case <-l.gone:
		case <-time.After(time.Until(from.Add(revokeWithin))):
			g.t.Errorf("node %d: the session goes on after %v", i, revokeWithin)
		}
	}
}
