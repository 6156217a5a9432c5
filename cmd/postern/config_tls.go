package main

import (
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/caddyserver/certmagic"
	"github.com/spf13/pflag"
)

// maxDomains bounds how many certificates one server asks for; an authority such
// as Let's Encrypt has a limit of its own near it.
const maxDomains = 100

// acmeSettings say which names get their certificate from an ACME authority;
// without names none does.
type acmeSettings struct {
	Domains                   []string
	Email, Directory, CARoots string
	Agree                     bool
}

func (a *acmeSettings) flags(f *pflag.FlagSet) {
	f.StringSliceVar(&a.Domains, "acme-domains", nil, "`names` that the server gets certificates for by ACME, the first for clients that name none; empty: no ACME")
	f.StringVar(&a.Email, "acme-email", "", "`e-mail` that the authority may write to; empty: none is given")
	f.StringVar(&a.Directory, "acme-directory", certmagic.LetsEncryptProductionCA, "`URL` of the authority's directory")
	f.StringVar(&a.CARoots, "acme-ca-roots", "", "PEM `file` of the authorities to trust for that URL; empty: the system's")
	f.BoolVar(&a.Agree, "acme-agree", false, "whether you agree to the authority's terms; necessary")
}

// hostName is a name as it stands in a certificate: lower case, IDNs in ASCII.
var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

// validate says which setting will not do, and what would.
func (a *acmeSettings) validate(c *Config, wrong func(flag, format string, args ...any)) {
	if len(a.Domains) == 0 {
		if a.Email != "" || a.CARoots != "" || a.Agree || a.Directory != certmagic.LetsEncryptProductionCA {
			wrong("acme-domains", "is empty; give the names of the server, or no other setting of ACME")
		}
		return
	}
	if len(a.Domains) > maxDomains {
		wrong("acme-domains", "holds %d names; give at most %d", len(a.Domains), maxDomains)
	}
	for _, d := range a.Domains {
		if strings.HasPrefix(d, "*.") {
			wrong("acme-domains", "holds %q; wildcards need a challenge by DNS, which is not supported: name each host", d)
		} else if len(d) > 253 || !hostName.MatchString(d) || net.ParseIP(d) != nil {
			wrong("acme-domains", "holds %q; give host names in lower case, divided by commas", d)
		}
	}
	if u, err := url.Parse(a.Directory); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		wrong("acme-directory", "must be an https:// URL, such as %s", certmagic.LetsEncryptProductionCA)
	}
	if !a.Agree {
		wrong("acme-agree", "must be true: by it you agree to the terms of the authority at %s", a.host())
	}
	if c.TLSCert != "" {
		wrong("acme-domains", "and %s cannot be combined; give one", envName("tls-cert"))
	}
	if c.HTTPAddr == "" && c.HTTPSAddr == "" {
		wrong("acme-domains", "needs %s (for port 443) or %s (for port 80), where the authority looks", envName("https-addr"), envName("http-addr"))
	}
}

// host is the directory's, for messages.
func (a *acmeSettings) host() string {
	if u, err := url.Parse(a.Directory); err == nil && u.Host != "" {
		return u.Host
	}
	return "that URL"
}
