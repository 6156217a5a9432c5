package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/mail"
	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authn/factor"
	"github.com/postern-io/postern/authn/password"
	"github.com/postern-io/postern/authn/token"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
	"github.com/postern-io/postern/store"
)

// rootListWarning is how long before its end a start says that a root's list
// needs the root's key.
const rootListWarning = 60 * 24 * time.Hour

// A house is every room of a running server, built from the ground up.
type house struct {
	log      *slog.Logger
	metrics  *prometheus.Registry
	findings *prometheus.GaugeVec // what is the matter with the fleet
	store    *store.Store
	bus      *messaging.Bus
	registry *registry.Registry
	devices  *authn.Devices
	claims   *authn.Claims
	users    *authn.Users
	signIn   *signIn
	factors  *factor.Factors
	people   *authz.People
	gateway  *adapters.Gateway
	nodes    *adapters.Nodes
	persons  *adapters.Persons
	ca       *certs.Authority
	trust    *certs.Trust
	anchors  []*x509.Certificate // of POSTERN_CLIENT_CA
	imports  certs.Imports       // what may be imported beside those
	lists    *lists              // of what imported authorities revoked
	files    *certs.ServerFiles
	shown    serverCertificate
	acme     *acme
	tls      *tls.Config // for HTTPS: asks for a certificate
	mqttTLS  *tls.Config // for MQTTS: requires one with AUTH=x509
	notices  *notices
	mail     *mail.Mailer // nil: no mail is sent
	setUp    *setUp
	proxies  []*x509.Certificate        // whose certificates prove a proxy
	clientIP func(*http.Request) string // behind trusted proxies; nil: the peer
	appKey   string
}

// build opens the store and the bus and wires the rooms; nothing listens yet.
func build(ctx context.Context, c *Config, log *slog.Logger) (h *house, err error) {
	h = &house{log: log, metrics: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close(context.WithoutCancel(ctx)))
		}
	}()
	h.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	h.findings = newFindings(h.metrics)

	key, err := secretKey(c)
	if err != nil {
		return h, err
	}
	if h.appKey, err = c.appKey(key); err != nil {
		return h, err
	}
	hasher, err := registry.NewSecretHasher(key)
	if err != nil {
		return h, err
	}
	if h.store, err = store.Open(ctx, databaseURL(c)); err != nil {
		return h, err
	}
	every, always, err := c.syncEvery()
	if err != nil {
		return h, err
	}
	h.notices = newNotices(h)
	if h.bus, err = messaging.Open(ctx, messaging.Config{
		URL:         c.NATSURL,
		CredsFile:   c.NATSCreds,
		Embedded:    messaging.EmbeddedConfig{DataDir: c.DataDir, Addr: c.NATSAddr, Sync: every, SyncAlways: always},
		Stream:      messaging.StreamConfig{MaxBytes: c.StreamMaxBytes, MaxAge: c.StreamMaxAge, Replicas: c.StreamReplicas},
		MaxPayload:  c.MaxPayload,
		OnReconnect: h.notices.lost,
		OnSlow: func(f messaging.Filter, dropped int) {
			log.Warn("messages lost: this node does not keep up", "filter", f.String(), "times", dropped)
		},
		Log: log,
	}); err != nil {
		return h, err
	}

	h.registry = &registry.Registry{Store: h.store, Hasher: hasher, Now: time.Now, NewID: uuid.NewString}
	if h.ca, err = certs.Open(ctx, certs.Config{
		Dir: c.DataDir, Keeper: h.registry, Key: key, Passphrase: c.CAPassphrase, URL: c.pkiURL(), Now: time.Now,
	}); err != nil {
		return h, err
	}
	if ends := h.ca.RootListsEnd(); time.Until(ends) < rootListWarning {
		log.Warn("the root's revocation list ends soon: start once with its key, ca.key, in the data directory", "ends", ends)
	}
	h.trust = certs.NewTrust(h.store, time.Now)
	if err := errors.Join(h.trust.Load(ctx), h.trust.LoadImported(ctx, h.store)); err != nil {
		return h, err
	}
	h.imports = certs.Imports{Own: h.ownAuthorities, Now: time.Now}
	h.lists = newLists(h)
	if err := h.transport(c); err != nil {
		return h, err
	}
	h.people = &authz.People{Find: h.store}
	keys, err := tokenKeys(c.DataDir, key)
	if err != nil {
		return h, err
	}
	if h.signIn, err = newSignIn(ctx, h, c, key); err != nil {
		return h, err
	}
	providers := h.signIn.now.Load().providers
	if h.factors, err = c.factors(h.store, key); err != nil {
		return h, err
	}
	h.users = authn.NewUsers(authn.UsersConfig{
		Providers: providers, Factors: h.factors, RequireFactor: c.Factor.role(),
		Accounts: h.registry, Arrivals: h.registry, Live: h.registry, Find: h.store, Links: h.store, Store: h.store,
		Flows: h.store, Keys: h.store, Throttles: h.store, Audit: h.store, APIKeys: h.store, KeyRing: h.registry,
		RefreshIdle: c.RefreshIdle, SessionLife: c.RefreshAbsolute,
		Passwords: password.NewHasher(), Policy: password.Policy{MinLength: c.PasswordMinLength}, NewID: uuid.NewString, Now: time.Now, Log: log,
		Tokens: &token.Signer{Issuer: c.publicURL(), Audience: "postern", Life: c.AccessTTL, Now: time.Now, Keys: keys},
	})
	if err := h.post(c); err != nil {
		return h, err
	}
	limits := authn.Limits{SourcePerSecond: c.SourceRate, SourceBurst: c.SourceBurst, DevicePerSecond: c.DeviceRate, DeviceBurst: c.DeviceBurst}
	h.devices = authn.NewDevices(authn.Config{
		Find: h.store, Hasher: hasher, Voucher: h.trust, Imports: h.registry, CacheSize: c.CacheSize, RequireCertificate: c.Auth == "x509", Limits: limits,
	})
	h.claims = authn.NewClaims(authn.ClaimsConfig{Claimer: h.registry, Limits: limits, RequireCertificate: c.Auth == "x509"})
	channels := authz.NewChannels(h.store, 2*c.CacheSize)
	h.persons = &adapters.Persons{Users: h.users, People: h.people, Channels: channels, Bus: h.bus, Now: time.Now}
	h.persons.Measure(h.metrics)
	h.gateway = &adapters.Gateway{
		Devices: h.devices, Channels: channels, Bus: h.bus,
		Log: log, Now: time.Now, MaxSessions: c.MaxSessions,
	}
	h.gateway.Metrics = adapters.NewMetrics(h.metrics, h.gateway)
	h.nodes = &adapters.Nodes{Gateway: h.gateway, Bus: h.bus, Log: log}
	h.registry.OnChange = h.notices.announce
	if err := errors.Join(h.notices.listen(ctx), h.nodes.Join()); err != nil {
		return h, err
	}
	if err := h.signIn.reload(ctx); err != nil { // what changed before we listened
		return h, err
	}
	if err := h.firstOwner(ctx, c); err != nil {
		return h, err
	}
	return h, h.signIn.ownersGetIn(ctx)
}

func databaseURL(c *Config) string {
	if c.DatabaseURL != "" {
		return c.DatabaseURL
	}
	return "sqlite:" + filepath.Join(c.DataDir, "postern.db") // a path as it stands, not a URL's
}

// transport loads or makes the server's certificate and says whose device
// certificates are taken.
func (h *house) transport(c *Config) error {
	if err := h.serverCertificate(c); err != nil {
		return err
	}
	var err error
	if c.ClientCA != "" {
		if h.anchors, err = certs.ReadCertificates(c.ClientCA); err != nil {
			return err
		}
	}
	if err := h.trustOurs(); err != nil {
		return err
	}
	if c.People.Header.ProxyCA != "" {
		if h.proxies, err = certs.ReadCertificates(c.People.Header.ProxyCA); err != nil {
			return err
		}
		for _, p := range h.proxies {
			if slices.ContainsFunc(h.trust.Anchors(), p.Equal) {
				return &usageError{fmt.Errorf("%s must not hold an authority of device certificates: every device would be a proxy", envName("auth-header-proxy-client-ca"))}
			}
		}
	}
	refused := func(via string) func(*certs.UntrustedError) {
		return func(err *certs.UntrustedError) {
			h.gateway.Metrics.RefusedFor(via, err.Reason)
			h.log.Info("certificate refused", "adapter", via, "reason", err.Reason, "err", err.Err)
		}
	}
	h.tls = certs.TLS{GetCertificate: h.shown.Certificate, Trust: h.trust, Proxies: h.proxies, Refused: refused("http")}.Config()
	h.tls.NextProtos = []string{"http/1.1"}
	// Go begins a connection with records of one packet; strongSwan's pki takes
	// the answer of EST in two reads at most.
	h.tls.DynamicRecordSizingDisabled = true
	h.mqttTLS = certs.TLS{GetCertificate: h.shown.Certificate, Trust: h.trust, Require: c.Auth == "x509", Refused: refused("mqtt")}.Config()
	return nil
}

// trustOurs takes certificates of our authorities as they are now, and of those
// in POSTERN_CLIENT_CA. The imported ones stay as they are.
func (h *house) trustOurs() error {
	anchors, err := h.ca.Anchors()
	if err != nil {
		return err
	}
	h.trust.SetAnchors(append(anchors, h.anchors...))
	return nil
}

// ownAuthorities are those that nobody may import.
func (h *house) ownAuthorities() []*x509.Certificate { return slices.Concat(h.trust.Own(), h.proxies) }

// close ends what build began, the store last.
func (h *house) close(ctx context.Context) error {
	var errs []error
	if h.notices != nil {
		h.notices.close()
	}
	if h.bus != nil {
		errs = append(errs, h.bus.Close(ctx))
	}
	if h.acme != nil {
		h.acme.close()
	}
	if h.devices != nil && h.store != nil {
		errs = append(errs, h.flushUse(ctx))
	}
	if h.store != nil {
		errs = append(errs, h.store.Close())
	}
	return errors.Join(errs...)
}
