package ldap_test

import (
	"net"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// A directory answers what a test says, for what a real one does not do when
// asked: refuse StartTLS, lock accounts, break the protocol. It is safe for
// concurrent use.
type directory struct {
	url string

	mu    sync.Mutex
	asked []ber.Tag // operations, in order
	heard []byte    // every request
}

// newDirectory answers each request with the operations that reply returns, and
// closes the connection for nil.
func newDirectory(t *testing.T, reply func(n int, op *ber.Packet) []*ber.Packet) *directory {
	t.Helper()
	d := &directory{}
	d.url = "ldap://" + listen(t, func(c net.Conn) {
		for n := 0; ; n++ {
			request, err := ber.ReadPacket(c)
			if err != nil || len(request.Children) < 2 {
				return
			}
			op := request.Children[1]
			d.mu.Lock()
			d.asked = append(d.asked, op.Tag)
			d.heard = append(d.heard, request.Bytes()...)
			d.mu.Unlock()
			answers := reply(n, op)
			if answers == nil {
				return
			}
			for _, a := range answers {
				message := ber.NewSequence("LDAPMessage")
				message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, request.Children[0].Value, "messageID"))
				message.AppendChild(a)
				if _, err := c.Write(message.Bytes()); err != nil {
					return
				}
			}
		}
	})
	return d
}

func (d *directory) operations() []ber.Tag {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]ber.Tag(nil), d.asked...)
}

func (d *directory) transcript() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.heard)
}

// listen hands every connection to serve until the test ends, and returns the
// address. It then waits for all of them.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed below
			}
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// done is an LDAPResult of one of the operations that end a request.
func done(op ber.Tag, code int64, diagnostics string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, op, nil, "result")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, "resultCode"))
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", "matchedDN"))
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, diagnostics, "diagnosticMessage"))
	return p
}

func bound(code int64, diagnostics string) []*ber.Packet {
	return []*ber.Packet{done(ldap.ApplicationBindResponse, code, diagnostics)}
}

// found is a SearchResultEntry.
func found(dn string, attributes map[string][]string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "entry")
	p.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, dn, "objectName"))
	list := ber.NewSequence("attributes")
	for name, values := range attributes {
		a := ber.NewSequence("attribute")
		a.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, name, "type"))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "vals")
		for _, v := range values {
			set.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, v, "value"))
		}
		a.AppendChild(set)
		list.AppendChild(a)
	}
	p.AppendChild(list)
	return p
}

func searched(code int64, entries ...*ber.Packet) []*ber.Packet {
	return append(entries, done(ldap.ApplicationSearchResultDone, code, ""))
}
