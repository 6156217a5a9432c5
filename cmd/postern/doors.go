package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/adapters/httpd"
	"github.com/postern-io/postern/adapters/mqtt"
	"github.com/postern-io/postern/adapters/pages"
	"github.com/postern-io/postern/adapters/pki"
	"github.com/postern-io/postern/adapters/signin"
	"github.com/postern-io/postern/adapters/ws"
	"github.com/postern-io/postern/certs"
)

// packetRoom is what an MQTT packet has beside its payload: topic and
// properties.
const packetRoom = 128 << 10

// open makes the doors and their listeners. On an error nothing stays open.
func (h *house) open(c *Config) ([]door, error) {
	mqttd := &mqtt.Server{Gateway: h.gateway, Bus: h.bus, Log: h.log, Limits: mqtt.Limits{PacketSize: c.MaxPayload + packetRoom}}
	mqttd.Metrics = mqtt.NewMetrics(h.metrics, mqttd)
	publish := &httpd.Server{Gateway: h.gateway, Log: h.log, People: h.persons, MaxPayload: c.MaxPayload}
	sockets := &ws.Server{Gateway: h.gateway, Log: h.log, MaxPayload: c.MaxPayload}
	manage, oauth := h.api(c)

	questions := &pki.Server{
		Issuers: h.ca.Issuers, Lists: h.registry, Records: h.store, RootLists: h.ca.RootLists, Log: h.log, Now: time.Now,
		Enrol: &pki.Enroller{
			Devices: h.devices, Claims: h.claims, Enrolments: h.registry, Sign: h.ca.IssueDevice, ClientIP: h.clientIP, Log: h.log,
		},
	}
	devices := &web{
		publish: publish, sockets: sockets, mqtt: mqttd, pki: questions.Handler(), est: questions.EST(),
		proxies: certs.Pool(h.proxies),
	}
	var endStreams func()
	devices.rest, endStreams = h.rest(c, manage, oauth)
	people := devices
	if c.Auth == "x509" {
		people = &web{pki: devices.pki, est: devices.est, rest: devices.rest} // plain text is for people alone
	}
	ops := httpServer(h.ops(), h.log)
	plain, secure := httpServer(people, h.log), httpServer(devices, h.log)
	plain.RegisterOnShutdown(endStreams) // a stop waits for answers, and theirs have no end
	secure.RegisterOnShutdown(endStreams)
	if h.acme != nil {
		plain.Handler = h.acme.answering(plain.Handler)
		h.acme.challenged(h.tls)
	}
	var doors []door
	add := func(name, addr string, config *tls.Config, serve func(net.Listener) error, shutdown func(context.Context) error) error {
		if addr == "" {
			return nil
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("open %s: %w", name, err)
		}
		if config != nil {
			l = tls.NewListener(l, config)
		}
		doors = append(doors, door{name, l, serve, shutdown})
		return nil
	}
	// A stop goes down this list: no new work first, the long-lived after.
	err := errors.Join(
		add("http", c.HTTPAddr, nil, plain.Serve, h.closeWeb(plain, publish, sockets)),
		add("https", c.HTTPSAddr, h.tls, secure.Serve, h.closeWeb(secure, publish, sockets)),
		add("mqtt", mqttAddr(c), nil, mqttd.Serve, mqttd.Shutdown),
		add("mqtts", c.MQTTSAddr, h.mqttTLS, mqttd.Serve, mqttd.Shutdown),
		add("ops", c.OpsAddr, nil, ops.Serve, ops.Shutdown),
	)
	if err != nil {
		for _, d := range doors {
			err = errors.Join(err, d.listener.Close())
		}
		return nil, err
	}
	return doors, nil
}

// mqttAddr is where MQTT without TLS opens: nowhere when a certificate is
// necessary.
func mqttAddr(c *Config) string {
	if c.Auth == "x509" {
		return ""
	}
	return c.MQTTAddr
}

// closeWeb ends the handlers that outlive a request's answer, then the server.
func (h *house) closeWeb(s *http.Server, publish *httpd.Server, sockets *ws.Server) func(context.Context) error {
	return func(ctx context.Context) error {
		h.persons.Close()
		return errors.Join(publish.Shutdown(ctx), sockets.Shutdown(ctx), s.Shutdown(ctx))
	}
}

// web divides the paths. The device doors come before the mux, which would
// clean their paths: every level of a topic is the device's own.
type web struct {
	publish, sockets, mqtt http.Handler // nil: closed here
	pki, est               http.Handler // paths as they stand too: base64 of a question has slashes
	rest                   http.Handler
	proxies                *x509.CertPool
}

func (w *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case strings.HasPrefix(path, httpd.Prefix):
		w.serve(rw, r, w.publish)
	case strings.HasPrefix(path, ws.Prefix):
		w.serve(rw, r, w.sockets)
	case path == "/mqtt":
		w.serve(rw, r, w.mqtt)
	case strings.HasPrefix(path, pki.Prefix):
		w.pki.ServeHTTP(rw, r)
	case strings.HasPrefix(path, pki.ESTPrefix):
		w.est.ServeHTTP(rw, w.withoutProxy(r))
	default:
		w.rest.ServeHTTP(rw, r)
	}
}

func (w *web) serve(rw http.ResponseWriter, r *http.Request, to http.Handler) {
	if to == nil {
		http.Error(rw, "this door opens over TLS, with a client certificate", http.StatusForbidden)
		return
	}
	to.ServeHTTP(rw, w.withoutProxy(r))
}

// withoutProxy hides a proxy's certificate from the doors of devices: its
// authority vouches for proxies alone.
func (w *web) withoutProxy(r *http.Request) *http.Request {
	if r.TLS == nil || !certs.Signed(r.TLS.PeerCertificates, w.proxies, time.Now()) {
		return r
	}
	bare, state := *r, *r.TLS
	state.PeerCertificates, state.VerifiedChains = nil, nil
	bare.TLS = &state
	return &bare
}

// rest is everything that is no device door, and what ends the answers of it
// that go on by themselves.
func (h *house) rest(c *Config, manage, oauth http.Handler) (_ http.Handler, endStreams func()) {
	mux := http.NewServeMux()
	mux.Handle("/api/", manage)
	mux.Handle("/oauth2/token", oauth)
	shown := &pages.Server{
		API: manage, Roles: h.people, Resumable: h.cookies(c).Resumable(), Log: h.log, NewID: uuid.NewString,
		MQTT: mqttAddr(c), MQTTS: c.MQTTSAddr,
	}
	forPeople := shown.Handler()
	for _, pattern := range pages.Patterns() {
		mux.Handle(pattern, forPeople)
	}
	browsers := &signin.Server{
		Users: h.users, Cookies: h.cookies(c), Log: h.log, NewID: uuid.NewString,
		UI: c.People.UI, ErrorUI: cmp.Or(c.People.ErrorUI, c.People.UI), Asset: shown.Asset, ClientIP: h.clientIP,
	}
	door := browsers.Handler()
	for _, pattern := range signin.Patterns() {
		mux.Handle(pattern, door)
	}
	mux.HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "public, max-age=300")
		if err := json.NewEncoder(w).Encode(map[string]any{"keys": h.users.Tokens.JWKS()}); err != nil {
			h.log.Debug("keys not sent", "err", err)
		}
	})
	return mux, shown.EndStreams
}

// cookies are those of the site that people reach.
func (h *house) cookies(c *Config) signin.Cookies {
	return signin.Cookies{Secure: strings.HasPrefix(c.publicURL(), "https:")}
}

// api is the management API, and the token endpoint beside it.
func (h *house) api(c *Config) (manage, oauth http.Handler) {
	requests := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "postern_api_seconds", Help: "Time of API requests, by route and status.", Buckets: prometheus.DefBuckets,
	}, []string{"route", "status"})
	h.metrics.MustRegister(requests)
	s := &api.Server{
		Registry: h.registry, Users: h.users, People: h.people, Live: h.nodes, Traffic: h.nodes, Messages: h.persons, Explain: h.gateway,
		Certs: h.ca, Imports: h.imports, Claims: h.claims, SetUp: h.setUp, Factors: h.factors, SignIn: h.signIn, Audit: h.store, AppKey: h.appKey,
		Log: h.log, NewID: uuid.NewString, SelfRegister: c.SelfRegister,
		Cookie: h.cookies(c).Access(), ClientIP: h.clientIP, Open: !c.People.Required,
		Observe: func(route string, status int, took time.Duration) {
			requests.WithLabelValues(route, strconv.Itoa(status)).Observe(took.Seconds())
		},
	}
	return s.Handler(), s.OAuth()
}
