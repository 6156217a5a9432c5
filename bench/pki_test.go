package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/postern-io/postern/adapters/pki"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/certs/certstest"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// BenchmarkOCSP compares answers with a nonce to bare signatures on the same
// P-256 key: made alone, with the record at hand; and over HTTP, with the record
// in SQLite, beside a bare net/http handler that signs what it read.
func BenchmarkOCSP(b *testing.B) {
	d := newPKIDoor(b)
	leaf, _ := certstest.Issue(b, d.issuer)
	record := certstest.Record(d.issuer, leaf)
	d.insert(b, record)
	request := question(b, d.issuer, leaf)
	asked, err := certs.ParseOCSPRequest(request)
	if err != nil || len(asked.Nonce) != 16 {
		b.Fatalf("got %+v, %v", asked, err)
	}
	sign := func(data []byte) []byte {
		digest := sha256.Sum256(data)
		signature, err := ecdsa.SignASN1(rand.Reader, d.issuer.Key.(*ecdsa.PrivateKey), digest[:])
		if err != nil {
			b.Error(err)
		}
		return signature
	}
	b.Run("made", func(b *testing.B) {
		compare(b, timed(func() {
			asked, err := certs.ParseOCSPRequest(request)
			if err == nil {
				_, err = d.issuer.AnswerOCSP(asked, time.Now(), func(string) (registry.Certificate, error) { return record, nil })
			}
			if err != nil {
				b.Error(err)
			}
		}), timed(func() { sign(request) }))
	})
	b.Run("http", func(b *testing.B) {
		door := httpServer(b, d.Handler())
		bare := httpServer(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				b.Error(err)
			}
			_, _ = w.Write(sign(body)) // what fails here fails the client
		}))
		text := fmt.Sprintf("POST /pki/ocsp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/ocsp-request\r\nContent-Length: %d\r\n\r\n%s", len(request), request)
		compare(b, func(n int) time.Duration { return askLoad(b, door, text, n) },
			func(n int) time.Duration { return askLoad(b, bare, text, n) })
	})
}

// BenchmarkRevocationList measures a list of 100,000 revocations: made and
// signed alone, as the first fetch after a revocation makes it (read from SQLite,
// signed, kept, encoded), fetched when nothing changed, asked for by ETag, and
// parsed by crypto/x509.
func BenchmarkRevocationList(b *testing.B) {
	const lines = 100_000
	d := newPKIDoor(b)
	now := time.Now()
	records, list := make([]registry.Certificate, lines), make([]registry.Revocation, lines)
	for n := range records {
		serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
		if err != nil {
			b.Fatal(err)
		}
		list[n] = registry.Revocation{Serial: certs.SerialText(serial), At: now, Reason: registry.Superseded}
		records[n] = registry.Certificate{
			ID: registry.CertificateID(fmt.Sprintf("%064x", n)), Authority: d.issuer.ID, Serial: list[n].Serial,
			NotBefore: now, NotAfter: now.Add(certs.DeviceLife), DER: []byte{0}, RevokedAt: now, Reason: registry.Superseded,
		}
	}
	d.insert(b, records...)
	handler := d.Handler()
	var etag string
	var body []byte
	get := func(status int, known string) {
		r := httptest.NewRequest("GET", "/pki/crl.pem", nil)
		if known != "" {
			r.Header.Set("If-None-Match", known)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != status {
			b.Fatalf("got %d: %.100s", w.Code, w.Body)
		}
		etag = w.Header().Get("ETag")
		if status == http.StatusOK {
			body = w.Body.Bytes()
		}
	}
	var made, first, again, unchanged, parsed time.Duration
	rounds := 0
	for b.Loop() {
		rounds++
		begin := time.Now()
		l, err := d.issuer.RevocationList(1, list, now)
		if err != nil {
			b.Fatal(err)
		}
		made += time.Since(begin)
		d.touch(b, records[0]) // the next fetch makes a list
		begin = time.Now()
		get(http.StatusOK, "")
		first += time.Since(begin)
		begin = time.Now()
		get(http.StatusOK, "")
		again += time.Since(begin)
		begin = time.Now()
		get(http.StatusNotModified, etag)
		unchanged += time.Since(begin)
		begin = time.Now()
		if p, err := x509.ParseRevocationList(l.DER); err != nil || len(p.RevokedCertificateEntries) != lines {
			b.Fatal(err)
		}
		parsed += time.Since(begin)
	}
	b.ReportMetric(0, "ns/op") // of five things
	for name, took := range map[string]time.Duration{"made-ms": made, "first-fetch-ms": first, "fetch-ms": again, "unchanged-ms": unchanged, "parse-ms": parsed} {
		b.ReportMetric(took.Seconds()*1000/float64(rounds), name)
	}
	b.ReportMetric(float64(len(body))/1e6, "MB")
}

// askLoad sends n requests over 16 connections, reads every answer and returns
// how long that took.
func askLoad(b *testing.B, addr, request string, n int) time.Duration {
	b.Helper()
	var next atomic.Int64
	var work sync.WaitGroup
	begin := time.Now()
	for range 16 {
		work.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			reader := bufio.NewReader(conn)
			for next.Add(1) <= int64(n) {
				if _, err := io.WriteString(conn, request); err != nil {
					b.Error(err)
					return
				}
				answer, err := http.ReadResponse(reader, nil)
				if err == nil {
					_, err = io.Copy(io.Discard, answer.Body)
				}
				if err != nil || answer.StatusCode != http.StatusOK {
					b.Errorf("got %v, %v", answer, err)
					return
				}
			}
		})
	}
	work.Wait()
	return time.Since(begin)
}

// timed runs a thing n times, one after the other.
func timed(do func()) func(n int) time.Duration {
	return func(n int) time.Duration {
		begin := time.Now()
		for range n {
			do()
		}
		return time.Since(begin)
	}
}

// A pkiDoor is the door of pki on a SQLite registry of one issuer.
type pkiDoor struct {
	*pki.Server
	store  *store.Store
	issuer *certs.Issuer
}

func newPKIDoor(b *testing.B) pkiDoor {
	b.Helper()
	s, err := store.Open(b.Context(), "sqlite:"+b.TempDir()+"/postern.db")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	i := certstest.NewIssuer(b, nil)
	r := &registry.Registry{Store: s, Now: time.Now}
	if _, err := r.EstablishAuthority(b.Context(), func() (registry.Authority, error) {
		return registry.Authority{ID: i.ID, DER: i.Certificate.Raw, Root: i.Root.Raw, RootList: []byte{}, Key: []byte("sealed")}, nil
	}); err != nil {
		b.Fatal(err)
	}
	return pkiDoor{&pki.Server{
		Issuers: func() []*certs.Issuer { return []*certs.Issuer{i} }, Lists: r, Records: s, Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}, s, i}
}

func (d pkiDoor) update(b *testing.B, do func(context.Context, registry.Tx) error) {
	b.Helper()
	if err := d.store.Update(b.Context(), func(tx registry.Tx) error { return do(b.Context(), tx) }); err != nil {
		b.Fatal(err)
	}
}

func (d pkiDoor) insert(b *testing.B, all ...registry.Certificate) {
	b.Helper()
	d.update(b, func(ctx context.Context, tx registry.Tx) error {
		for _, c := range all {
			if err := tx.InsertCertificate(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// touch writes a revocation once more, which counts as one.
func (d pkiDoor) touch(b *testing.B, c registry.Certificate) {
	b.Helper()
	d.update(b, func(ctx context.Context, tx registry.Tx) error { return tx.UpdateRevocation(ctx, c) })
}

// question is an OCSP request with a nonce of 16 bytes.
func question(b *testing.B, i *certs.Issuer, leaf *x509.Certificate) []byte {
	b.Helper()
	plain, err := ocsp.CreateRequest(leaf, i.Certificate, nil)
	if err != nil {
		b.Fatal(err)
	}
	var r struct{ TBS struct{ List asn1.RawValue } }
	if _, err := asn1.Unmarshal(plain, &r); err != nil {
		b.Fatal(err)
	}
	type extension struct {
		ID    asn1.ObjectIdentifier
		Value []byte
	}
	type tbs struct {
		List       asn1.RawValue
		Extensions []extension `asn1:"explicit,tag:2"`
	}
	nonce := extension{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}, append([]byte{4, 16}, bytes.Repeat([]byte{7}, 16)...)}
	out, err := asn1.Marshal(struct{ TBS tbs }{tbs{r.TBS.List, []extension{nonce}}})
	if err != nil {
		b.Fatal(err)
	}
	return out
}
