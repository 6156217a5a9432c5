package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// A Config is every setting of the server. The flags below are the one list of
// them: names, defaults, meaning. A flag --mqtt-addr is the environment
// variable POSTERN_MQTT_ADDR; a flag given wins over the environment.
type Config struct {
	DataDir     string
	DatabaseURL string
	PublicURL   string

	MQTTAddr, MQTTSAddr string
	HTTPAddr, HTTPSAddr string
	NATSAddr            string
	OpsAddr             string

	Auth            string
	TLSCert, TLSKey string
	TLSNames        []string
	ClientCA        string
	SecretKey       string
	PKIURL          string
	CAPassphrase    string
	ACME            acmeSettings

	NATSURL        string
	NATSCreds      string
	Sync           string
	StreamReplicas int
	StreamMaxBytes int64
	StreamMaxAge   time.Duration

	MaxPayload      int
	MaxSessions     int
	CacheSize       int
	SourceRate      float64
	SourceBurst     int
	DeviceRate      float64
	DeviceBurst     int
	ShutdownTimeout time.Duration

	OwnerEmail, OwnerUsername, OwnerPassword string
	SelfRegister                             bool
	AccessTTL                                time.Duration
	RefreshIdle, RefreshAbsolute             time.Duration
	AppKey                                   string
	AuditKeep                                time.Duration
	PasswordMinLength                        int
	People                                   people
	Factor                                   factorSettings

	Mail mailSettings

	LogLevel, LogFormat string

	set *pflag.FlagSet // that flags bound; it knows what was given, and how
}

// flags binds c to a flag set and fills in the defaults.
func (c *Config) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.set = f
	f.SortFlags = false
	f.StringVar(&c.DataDir, "data-dir", "./data", "`directory` of SQLite, JetStream, keys and certificates; made when missing")
	f.StringVar(&c.DatabaseURL, "database-url", "", "postgres://… for PostgreSQL; empty: SQLite in the data directory")
	f.StringVar(&c.PublicURL, "public-url", "", "the `URL` that people and devices reach this server by, the only base for links; empty: https://localhost and the HTTPS port")

	f.StringVar(&c.MQTTAddr, "mqtt-addr", ":1883", "`address` of MQTT; empty: closed")
	f.StringVar(&c.MQTTSAddr, "mqtts-addr", ":8883", "`address` of MQTT over TLS; empty: closed")
	f.StringVar(&c.HTTPAddr, "http-addr", ":8080", "`address` of HTTP and WebSocket; empty: closed")
	f.StringVar(&c.HTTPSAddr, "https-addr", ":8443", "`address` of HTTPS and secure WebSocket; empty: closed")
	f.StringVar(&c.NATSAddr, "nats-addr", "127.0.0.1:4222", "`address` of the embedded NATS for services; plain TCP, so keep it on loopback; empty: closed")
	f.StringVar(&c.OpsAddr, "ops-addr", "127.0.0.1:9090", "`address` of /metrics, /health/live, /health/ready and /debug/pprof; empty: closed")

	f.StringVar(&c.Auth, "auth", "secret", "how devices prove who they are: `mode` secret (a certificate is verified when shown) or x509 (a certificate is required, plain-text device doors stay closed)")
	f.StringVar(&c.TLSCert, "tls-cert", "", "PEM `file` of the server's certificate and its chain; empty: one signed by Postern's own CA")
	f.StringVar(&c.TLSKey, "tls-key", "", "PEM `file` of its key")
	f.StringSliceVar(&c.TLSNames, "tls-names", nil, "`names` and addresses, beside localhost and the host name, in the certificate that Postern makes")
	c.ACME.flags(f)
	f.StringVar(&c.ClientCA, "client-ca", "", "PEM `file` of authorities whose device certificates are taken beside those of Postern's own CA")
	f.StringVar(&c.PKIURL, "pki-url", "", "base `URL` in device certificates, where others ask at /pki/ what is revoked, by custom over http; empty: public-url")
	f.StringVar(&c.CAPassphrase, "ca-passphrase", "", "`passphrase` that seals the keys of Postern's own CA, from its first start on, the same on every node; empty: secret-key alone seals them")
	f.StringVar(&c.SecretKey, "secret-key", "", "`key` for the hashes of device secrets, 64 hexadecimal digits, the same on every node; empty: secret.key in the data directory")

	f.StringVar(&c.NATSURL, "nats-url", "", "`URL` of a NATS with JetStream; empty: the embedded one")
	f.StringVar(&c.NATSCreds, "nats-creds", "", "credentials `file` for it")
	f.StringVar(&c.Sync, "sync", "1s", "`when` stored messages are forced to the disk: always, or at most this long after; kill -9 loses nothing at any setting, loss of power only at always")
	f.IntVar(&c.StreamReplicas, "stream-replicas", 1, "copies of the stream in a NATS cluster (3 for a cluster of three)")
	f.Int64Var(&c.StreamMaxBytes, "stream-max-bytes", 0, "size of the stream in `bytes`, beyond which messages are refused; 0: what the disk gives")
	f.DurationVar(&c.StreamMaxAge, "stream-max-age", 0, "age at which stored messages are dropped; 0: never")

	f.IntVar(&c.MaxPayload, "max-payload", 1<<20, "largest message in `bytes`")
	f.IntVar(&c.MaxSessions, "max-sessions", 1000, "open sessions of one device")
	f.IntVar(&c.CacheSize, "cache-size", 100_000, "devices kept in memory")
	f.Float64Var(&c.SourceRate, "limit-source-rate", 20, "wrong device credentials a `second` from one address; 0: no limit")
	f.IntVar(&c.SourceBurst, "limit-source-burst", 200, "wrong device credentials at once from one address")
	f.Float64Var(&c.DeviceRate, "limit-device-rate", 1, "wrong credentials a `second` for one device id; 0: no limit")
	f.IntVar(&c.DeviceBurst, "limit-device-burst", 20, "wrong credentials at once for one device id")
	f.DurationVar(&c.ShutdownTimeout, "shutdown-timeout", 20*time.Second, "how long a stop may take")

	f.StringVar(&c.OwnerEmail, "owner-email", "", "`e-mail` of the first owner, made at a start that finds none")
	f.StringVar(&c.OwnerUsername, "owner-username", "", "`name` of the first owner; empty: the e-mail's part before the @")
	f.StringVar(&c.OwnerPassword, "owner-password", "", "`password` of the first owner; empty: the start leaves a one-time set-up token in the data directory")
	f.BoolVar(&c.SelfRegister, "auth-local-self-register", false, "whether strangers may make themselves an account")
	c.sessionFlags(f)
	f.IntVar(&c.PasswordMinLength, "auth-local-password-min-length", 15, "least characters of a password, at least 8")

	c.People.flags(f)
	c.Mail.flags(f)
	c.Factor.flags(f)

	f.StringVar(&c.LogLevel, "log-level", "info", "`level` of the log: debug, info, warn, error")
	f.StringVar(&c.LogFormat, "log-format", "text", "`format` of the log: text or json")
	return f
}

// aliases are names that other products gave to the same settings.
var aliases = map[string]string{
	"AUTH":                         "auth",
	"MG_USERS_ALLOW_SELF_REGISTER": "auth-local-self-register",

	"MAGE_ACCESS_TOKEN_EXPIRY_TIME":  "auth-session-access-ttl",
	"MG_AUTH_ACCESS_TOKEN_DURATION":  "auth-session-access-ttl",
	"MG_AUTH_REFRESH_TOKEN_DURATION": "auth-session-refresh-idle",
	"DEFAULT_OWNER_EMAIL":            "owner-email",
	"DEFAULT_OWNER_USERNAME":         "owner-username",
	"DEFAULT_OWNER_PASSWORD":         "owner-password",
	"MG_USERS_ADMIN_EMAIL":           "owner-email",
	"MG_USERS_ADMIN_USERNAME":        "owner-username",
	"MG_USERS_ADMIN_PASSWORD":        "owner-password",
}

const envPrefix = "POSTERN_"

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// applyEnv sets from the environment what the command line did not. It refuses
// POSTERN_ variables that are no setting, and two spellings of one setting with
// different values.
func applyEnv(f *pflag.FlagSet, environ []string) error {
	type given struct{ name, value string }
	byFlag := map[string]given{}
	names := map[string]string{}
	f.VisitAll(func(flag *pflag.Flag) { names[envName(flag.Name)] = flag.Name })
	maps.Copy(names, aliases)
	maps.Copy(names, providerAliases)
	maps.Copy(names, mailAliases)
	var problems []error
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		flags, known := names[name]
		if !known && strings.HasPrefix(name, envPrefix) && !clientVariables[name] {
			problems = append(problems, fmt.Errorf("%s is no setting; see postern config docs", name))
		}
		for flag := range strings.FieldsSeq(flags) { // a name may stand for several
			if other, twice := byFlag[flag]; twice && other.value != value {
				problems = append(problems, fmt.Errorf("%s and %s are the same setting with different values; give one", other.name, name))
			}
			byFlag[flag] = given{name, value}
		}
	}
	for flag, g := range byFlag {
		if f.Changed(flag) {
			continue
		}
		if err := f.Set(flag, g.value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %q will not do: %w", g.name, shown(flag, g.value), errors.Unwrap(err)))
		}
		f.Lookup(flag).Annotations = map[string][]string{byVariable: {g.name}}
	}
	return errors.Join(problems...)
}

// byVariable is the annotation of a flag that names the variable which set it.
const byVariable = "variable"

// givenBy says what set a flag when the server started; "" for nothing.
func givenBy(f *pflag.Flag) string {
	switch names := f.Annotations[byVariable]; {
	case len(names) > 0:
		return names[0] + " in the environment"
	case f.Changed || f.Value.String() != f.DefValue:
		return "--" + f.Name + " of the command line"
	}
	return ""
}

// secretFlags are never shown.
var secretFlags = map[string]bool{"secret-key": true, "ca-passphrase": true, "owner-password": true, "database-url": true, "nats-url": true, "mail-password": true}

func shown(flag, value string) string {
	if secretFlags[flag] || slices.Contains(providerSecrets, flag) {
		return "[redacted]"
	}
	return value
}

// Validate says which setting will not do, and what would.
func (c *Config) Validate() error {
	var problems []error
	wrong := func(flag, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s %s", envName(flag), fmt.Sprintf(format, args...)))
	}
	for flag, addr := range map[string]string{
		"mqtt-addr": c.MQTTAddr, "mqtts-addr": c.MQTTSAddr, "http-addr": c.HTTPAddr,
		"https-addr": c.HTTPSAddr, "nats-addr": c.NATSAddr, "ops-addr": c.OpsAddr,
	} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			wrong(flag, "is %q; give host:port or :port, or nothing to close the listener", addr)
		}
	}
	if c.DataDir == "" {
		wrong("data-dir", "is empty; give a directory")
	}
	if u := c.DatabaseURL; u != "" && !strings.HasPrefix(u, "postgres://") && !strings.HasPrefix(u, "postgresql://") {
		wrong("database-url", "must begin with postgres://; for SQLite leave it empty and set %s", envName("data-dir"))
	}
	for flag, base := range map[string]string{"public-url": c.PublicURL, "pki-url": c.PKIURL} {
		if u, err := url.Parse(base); base != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "") {
			wrong(flag, "is %q; give a base such as https://postern.example.com", base)
		}
	}
	for text := range strings.SplitSeq(c.NATSURL, ",") {
		if u, err := url.Parse(strings.TrimSpace(text)); text != "" && (err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls"}, u.Scheme)) {
			wrong("nats-url", "holds no URL of NATS; give nats://host:4222 or tls://host:4222, several divided by commas")
		}
	}
	if c.Auth != "secret" && c.Auth != "x509" {
		wrong("auth", "is %q; give secret or x509", c.Auth)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		wrong("tls-cert", "and %s belong together; give both or neither", envName("tls-key"))
	}
	if _, _, err := c.syncEvery(); err != nil {
		wrong("sync", "is %q; give always or a duration such as 1s", c.Sync)
	}
	if k := c.SecretKey; k != "" {
		if _, err := parseSecretKey(k); err != nil {
			wrong("secret-key", "must be 64 hexadecimal digits, as openssl rand -hex 32 prints")
		}
	}
	atLeast := func(flag string, value, least int64) {
		if value < least {
			wrong(flag, "is %d; give %d or more", value, least)
		}
	}
	atLeast("stream-replicas", int64(c.StreamReplicas), 1)
	atLeast("stream-max-bytes", c.StreamMaxBytes, 0)
	atLeast("max-payload", int64(c.MaxPayload), 1024)
	atLeast("max-sessions", int64(c.MaxSessions), 1)
	atLeast("cache-size", int64(c.CacheSize), 100)
	atLeast("limit-source-burst", int64(c.SourceBurst), 1)
	atLeast("limit-device-burst", int64(c.DeviceBurst), 1)
	atLeast("auth-local-password-min-length", int64(c.PasswordMinLength), 8)
	if c.MaxPayload > 8<<20 {
		wrong("max-payload", "is %d; NATS carries at most %d", c.MaxPayload, 8<<20)
	}
	if c.SourceRate < 0 || c.DeviceRate < 0 {
		wrong("limit-source-rate", "and %s must not be negative", envName("limit-device-rate"))
	}
	c.validateSession(wrong)
	if c.ShutdownTimeout <= 0 || c.StreamMaxAge < 0 {
		wrong("shutdown-timeout", "and %s must be positive", envName("stream-max-age"))
	}
	if (c.OwnerEmail == "") != (c.OwnerPassword == "") {
		wrong("owner-email", "and %s belong together; give both or neither", envName("owner-password"))
	}
	c.People.validate(c, wrong)
	c.Mail.validate(wrong)
	c.Factor.validate(wrong)
	c.ACME.validate(c, wrong)
	if _, err := c.logLevel(); err != nil {
		wrong("log-level", "is %q; give debug, info, warn or error", c.LogLevel)
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		wrong("log-format", "is %q; give text or json", c.LogFormat)
	}
	return errors.Join(problems...)
}

func (c *Config) syncEvery() (every time.Duration, always bool, err error) {
	if c.Sync == "always" {
		return 0, true, nil
	}
	every, err = time.ParseDuration(c.Sync)
	if err == nil && every <= 0 {
		err = errors.New("not positive")
	}
	return every, false, err
}

func (c *Config) logLevel() (slog.Level, error) {
	var l slog.Level
	err := l.UnmarshalText([]byte(c.LogLevel))
	return l, err
}

// logger writes what the operator reads at three in the morning.
func (c *Config) logger(w io.Writer) *slog.Logger {
	level, _ := c.logLevel() // validated
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// publicURL is the base of every link we make.
func (c *Config) publicURL() string {
	if c.PublicURL != "" {
		return strings.TrimSuffix(c.PublicURL, "/")
	}
	for _, l := range []struct{ scheme, addr, port string }{{"https", c.HTTPSAddr, "443"}, {"http", c.HTTPAddr, "80"}} {
		if _, port, err := net.SplitHostPort(l.addr); err == nil {
			if port == l.port {
				return l.scheme + "://localhost"
			}
			return l.scheme + "://localhost:" + port
		}
	}
	return "https://localhost"
}

// pkiURL is the base of what device certificates say about where to ask.
func (c *Config) pkiURL() string {
	return cmp.Or(strings.TrimSuffix(c.PKIURL, "/"), c.publicURL())
}

// serverNames are the names in the certificate that Postern makes for itself.
func (c *Config) serverNames() []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil && host != "" && host != "localhost" {
		names = append(names, host)
	}
	if u, err := url.Parse(c.PublicURL); err == nil && u.Hostname() != "" && u.Hostname() != "localhost" {
		names = append(names, u.Hostname())
	}
	return slices.Concat(names, c.ACME.Domains, c.TLSNames)
}

// writeDocs writes the table of settings as the README has it.
func writeDocs(w io.Writer) {
	var c Config
	fmt.Fprintln(w, "| variable | default | meaning |\n|---|---|---|")
	c.flags().VisitAll(func(f *pflag.Flag) {
		_, usage := pflag.UnquoteUsage(f)
		value := f.DefValue
		if value == "" || value == "[]" {
			value = "(empty)"
		} else {
			value = "`" + value + "`"
		}
		fmt.Fprintf(w, "| `%s` | %s | %s |\n", envName(f.Name), value, strings.ReplaceAll(usage, "|", `\|`))
	})
}
