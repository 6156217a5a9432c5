package adaptertest

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"strings"
	"testing"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/registry"
)

const both = registry.Publish | registry.Subscribe

// cut stands for "the connection is refused without a word".
const cut adapters.Kind = -1

// An attempt is what one client shows, and where it publishes to.
type attempt struct {
	Evidence
	cert  *tls.Certificate
	topic string // default: the stored channel
}

// A story tells of one publish. Stories with a certificate happen on TLS
// alone, the others on both wires.
type story struct {
	name  string
	want  adapters.Kind
	cert  bool
	needs func(Forms) bool // nil: any door
	tell  func(t *testing.T, w *World) attempt
}

func secretAlone(f Forms) bool { return f.SecretAlone }
func sendsQuery(f Forms) bool  { return f.Query }
func takesQuery(f Forms) bool  { return f.QueryTaken }
func barsQuery(f Forms) bool   { return f.Query && !f.QueryTaken }

func (d Device) shown() Evidence { return Evidence{DeviceID: string(d.ID), Secret: d.Secret} }

// stories are those of AUTH=secret.
var stories = []story{
	{name: "a device is let in by id and secret", want: adapters.OK, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: w.NewDevice(t, both).shown()}
	}},
	{name: "a device is let in by its secret alone", want: adapters.OK, needs: secretAlone, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: Evidence{Secret: w.NewDevice(t, both).Secret}}
	}},
	{name: "a device is let in by a secret in the query", want: adapters.OK, needs: takesQuery, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: Evidence{Query: w.NewDevice(t, both).Secret}}
	}},
	{name: "a device that may only publish publishes", want: adapters.OK, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: w.NewDevice(t, registry.Publish).shown()}
	}},
	{name: "a device publishes to a live channel", want: adapters.OK, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: w.NewDevice(t, both).shown(), topic: Topic(w.Live, "a/b")}
	}},
	{name: "a device names domain and channel by route", want: adapters.OK, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: w.NewDevice(t, both).shown(), topic: "m/home/c/stored/a.b/ü c"}
	}},
	{name: "both secrets are good during a rotation: the old one", want: adapters.OK, tell: func(t *testing.T, w *World) attempt {
		old := w.NewDevice(t, both)
		w.Rotate(t, old, time.Hour)
		return attempt{Evidence: old.shown()}
	}},
	{name: "both secrets are good during a rotation: the new one", want: adapters.OK, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: w.Rotate(t, w.NewDevice(t, both), time.Hour).shown()}
	}},

	{name: "nothing is shown", want: adapters.Unauthenticated, tell: func(*testing.T, *World) attempt {
		return attempt{}
	}},
	{name: "the secret is wrong", want: adapters.Unauthenticated, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: Evidence{string(w.NewDevice(t, both).ID), registry.NewSecret().Reveal(), ""}}
	}},
	{name: "the secret is another device's", want: adapters.Unauthenticated, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: Evidence{string(w.NewDevice(t, both).ID), w.NewDevice(t, both).Secret, ""}}
	}},
	{name: "the secret is cut short", want: adapters.Unauthenticated, tell: func(t *testing.T, w *World) attempt {
		e := w.NewDevice(t, both).shown()
		e.Secret = e.Secret[:len(e.Secret)-1]
		return attempt{Evidence: e}
	}},
	{name: "the secret is unknown, with no id", want: adapters.Unauthenticated, needs: secretAlone, tell: func(*testing.T, *World) attempt {
		return attempt{Evidence: Evidence{Secret: registry.NewSecret().Reveal()}}
	}},
	{name: "the id is unknown", want: adapters.Unauthenticated, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: Evidence{"0198c0de-0000-7000-8000-00000000dead", w.NewDevice(t, both).Secret, ""}}
	}},
	{name: "the device is disabled", want: adapters.Unauthenticated, tell: func(t *testing.T, w *World) attempt {
		d := w.NewDevice(t, both)
		w.Disable(t, d)
		return attempt{Evidence: d.shown()}
	}},
	{name: "the secret was rotated without overlap", want: adapters.Unauthenticated, tell: func(t *testing.T, w *World) attempt {
		old := w.NewDevice(t, both)
		w.Rotate(t, old, 0)
		return attempt{Evidence: old.shown()}
	}},
	{name: "the overlap of a rotation is over", want: adapters.Unauthenticated, tell: func(t *testing.T, w *World) attempt {
		old := w.NewDevice(t, both)
		w.Rotate(t, old, time.Minute)
		w.Clock.Advance(2 * time.Minute)
		return attempt{Evidence: old.shown()}
	}},
	{name: "header and query are of two devices", want: adapters.Unauthenticated, needs: sendsQuery, tell: func(t *testing.T, w *World) attempt {
		e := w.NewDevice(t, both).shown()
		e.Query = w.NewDevice(t, both).Secret
		return attempt{Evidence: e}
	}},
	{name: "a secret is in the query where none belongs", want: adapters.Unauthenticated, needs: barsQuery, tell: func(t *testing.T, w *World) attempt {
		e := w.NewDevice(t, both).shown()
		e.Query = e.Secret
		return attempt{Evidence: e}
	}},

	{name: "the device is not connected", want: adapters.Denied, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: w.NewDevice(t, 0).shown()}
	}},
	{name: "the device may only subscribe", want: adapters.Denied, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: w.NewDevice(t, registry.Subscribe).shown()}
	}},
	{name: "the channel is another domain's", want: adapters.Denied, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: w.NewDevice(t, both).shown(), topic: Topic(w.Foreign, "")}
	}},
	{name: "the channel is another domain's, named in one's own", want: adapters.Denied, tell: func(t *testing.T, w *World) attempt {
		foreign := w.Foreign
		foreign.Domain = w.Domain.ID
		return attempt{Evidence: w.NewDevice(t, both).shown(), topic: Topic(foreign, "")}
	}},
	{name: "the channel does not exist", want: adapters.Denied, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: w.NewDevice(t, both).shown(), topic: "m/home/c/nothing"}
	}},
	{name: "the channel is disabled", want: adapters.Denied, tell: func(t *testing.T, w *World) attempt {
		d := w.NewDevice(t, both)
		c := w.NewChannel(t, w.Domain, registry.Channel{Name: "off", Store: true, Status: registry.Disabled})
		must(t, w.Registry.Connect(t.Context(), w.Domain.ID, []registry.DeviceID{d.ID}, []registry.ChannelID{c.ID}, both))
		return attempt{Evidence: d.shown(), topic: Topic(c, "")}
	}},
	{name: "the connection was taken away", want: adapters.Denied, tell: func(t *testing.T, w *World) attempt {
		d := w.NewDevice(t, both)
		must(t, w.Registry.Disconnect(t.Context(), w.Domain.ID, []registry.DeviceID{d.ID}, []registry.ChannelID{w.Channel.ID}, registry.Publish))
		return attempt{Evidence: d.shown()}
	}},
	{name: "the topic holds a wildcard", want: adapters.InvalidTopic, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: w.NewDevice(t, both).shown(), topic: Topic(w.Channel, "a/+")}
	}},
	{name: "the topic names no channel", want: adapters.InvalidTopic, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: w.NewDevice(t, both).shown(), topic: "m/home"}
	}},

	{name: "a device is let in by a certificate with its secret", want: adapters.OK, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Named(t, w.NewDevice(t, both).Secret)}
	}},
	{name: "a device is let in by a certificate with its id", want: adapters.OK, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Named(t, string(w.NewDevice(t, both).ID))}
	}},
	{name: "a device is let in by a certificate with its URN", want: adapters.OK, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.URN(t, w.NewDevice(t, both))}
	}},
	{name: "a certificate with the secret, id and password agree", want: adapters.OK, cert: true, tell: func(t *testing.T, w *World) attempt {
		d := w.NewDevice(t, both)
		return attempt{cert: w.PKI.Named(t, d.Secret), Evidence: d.shown()}
	}},
	{name: "a certificate with the id, id and password agree", want: adapters.OK, cert: true, tell: func(t *testing.T, w *World) attempt {
		d := w.NewDevice(t, both)
		return attempt{cert: w.PKI.Named(t, string(d.ID)), Evidence: d.shown()}
	}},

	{name: "the certificate is one device's and the password another's", want: adapters.Unauthenticated, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Named(t, string(w.NewDevice(t, both).ID)), Evidence: w.NewDevice(t, both).shown()}
	}},
	{name: "the certificate's secret is one device's and the password another's", want: adapters.Unauthenticated, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Named(t, w.NewDevice(t, both).Secret), Evidence: w.NewDevice(t, both).shown()}
	}},
	{name: "the certificate is good and the password wrong", want: adapters.Unauthenticated, cert: true, tell: func(t *testing.T, w *World) attempt {
		d := w.NewDevice(t, both)
		return attempt{cert: w.PKI.Named(t, string(d.ID)), Evidence: Evidence{string(d.ID), registry.NewSecret().Reveal(), ""}}
	}},
	{name: "the certificate is one device's and the query another's", want: adapters.Unauthenticated, cert: true, needs: sendsQuery, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.URN(t, w.NewDevice(t, both)), Evidence: Evidence{Query: w.NewDevice(t, both).Secret}}
	}},
	{name: "the common name is the beginning of a secret", want: adapters.Unauthenticated, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Named(t, w.NewDevice(t, both).Secret[:20])}
	}},
	{name: "the common name is the end of a secret", want: adapters.Unauthenticated, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Named(t, w.NewDevice(t, both).Secret[20:])}
	}},
	{name: "the common name is a secret and more", want: adapters.Unauthenticated, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Named(t, w.NewDevice(t, both).Secret+"x")}
	}},
	{name: "the organization reads like a common name", want: adapters.Unauthenticated, cert: true, tell: func(t *testing.T, w *World) attempt {
		victim := w.NewDevice(t, both)
		return attempt{cert: w.PKI.Issue(t, &x509.Certificate{Subject: pkix.Name{Organization: []string{"x,CN=" + victim.Secret}, CommonName: "nobody"}})}
	}},
	{name: "the organization alone reads like a common name", want: adapters.Unauthenticated, cert: true, tell: func(t *testing.T, w *World) attempt {
		victim := w.NewDevice(t, both)
		return attempt{cert: w.PKI.Issue(t, &x509.Certificate{Subject: pkix.Name{Organization: []string{"x,CN=" + string(victim.ID)}}})}
	}},
	{name: "the certificate names two devices", want: adapters.Unauthenticated, cert: true, tell: func(t *testing.T, w *World) attempt {
		a, b := w.NewDevice(t, both), w.NewDevice(t, both)
		c := &x509.Certificate{Subject: pkix.Name{CommonName: string(a.ID)}}
		c.URIs = append(c.URIs, urn(b))
		return attempt{cert: w.PKI.Issue(t, c)}
	}},
	{name: "the certificate's device is disabled", want: adapters.Unauthenticated, cert: true, tell: func(t *testing.T, w *World) attempt {
		d := w.NewDevice(t, both)
		w.Disable(t, d)
		return attempt{cert: w.PKI.URN(t, d)}
	}},
	{name: "the certificate has expired", want: cut, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Issue(t, &x509.Certificate{
			Subject: pkix.Name{CommonName: w.NewDevice(t, both).Secret}, NotAfter: time.Now().Add(-time.Minute),
		})}
	}},
	{name: "the certificate is not yet valid", want: cut, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Issue(t, &x509.Certificate{
			Subject: pkix.Name{CommonName: w.NewDevice(t, both).Secret}, NotBefore: w.Clock.Now().Add(time.Hour),
		})}
	}},
	{name: "the certificate is for servers", want: cut, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Issue(t, &x509.Certificate{
			Subject: pkix.Name{CommonName: w.NewDevice(t, both).Secret}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})}
	}},
	{name: "the certificate is by another authority", want: cut, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Strange(t, w.NewDevice(t, both).Secret)}
	}},
	{name: "the certificate is by another authority and the password is good", want: cut, cert: true, tell: func(t *testing.T, w *World) attempt {
		d := w.NewDevice(t, both)
		return attempt{cert: w.PKI.Strange(t, d.Secret), Evidence: d.shown()}
	}},
}

// x509Stories are those of AUTH=x509, on TLS.
var x509Stories = []story{
	{name: "a device is let in by its certificate", want: adapters.OK, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Named(t, w.NewDevice(t, both).Secret)}
	}},
	{name: "a secret without a certificate is not enough", want: cut, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{Evidence: w.NewDevice(t, both).shown()}
	}},
	{name: "a certificate by another authority is not enough", want: cut, cert: true, tell: func(t *testing.T, w *World) attempt {
		return attempt{cert: w.PKI.Strange(t, w.NewDevice(t, both).Secret)}
	}},
}

// subtopic makes a subtest's own.
func subtopic(t *testing.T) string {
	return strings.ToLower(t.Name()[strings.LastIndexByte(t.Name(), '/')+1:])
}
