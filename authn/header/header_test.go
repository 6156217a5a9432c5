package header

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

func prefixes(text ...string) (p []netip.Prefix) {
	for _, t := range text {
		p = append(p, netip.MustParsePrefix(t))
	}
	return p
}

func newProvider(t testing.TB, c Config) *Provider {
	t.Helper()
	if c.TrustedProxies == nil && c.ProxyRoots == nil {
		c.TrustedProxies = prefixes("10.0.0.0/8", "fd00::/8", "fe80::/10")
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// reason returns why an error refuses, "" without one.
func reason(t testing.TB, err error) registry.Reason {
	t.Helper()
	if err == nil {
		return ""
	}
	var refused *authn.RefusedError
	if !errors.As(err, &refused) || !errors.Is(err, authn.ErrUnauthenticated) {
		t.Fatalf("got %v, want a refusal", err)
	}
	return refused.Reason
}

func request(peer string, h http.Header) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr, r.Header = peer, h
	return r
}

func TestNew(t *testing.T) {
	t.Parallel()
	here := prefixes("127.0.0.1/32")
	for name, tt := range map[string]struct {
		c  Config
		ok bool
	}{
		"it takes an address":                    {Config{TrustedProxies: here}, true},
		"it takes a CA":                          {Config{ProxyRoots: x509.NewCertPool()}, true},
		"it takes names of one's own":            {Config{TrustedProxies: here, PrincipalHeader: "X-Auth-User", GroupHeader: "x-auth-groups", EmailHeader: "Remote-Email", NameHeader: "Remote-Name", ClientIPHeader: "X-Real-IP"}, true},
		"it refuses to trust nobody":             {Config{}, false},
		"it refuses to trust everybody":          {Config{TrustedProxies: prefixes("0.0.0.0/0")}, false},
		"it refuses to trust all of IPv6":        {Config{TrustedProxies: prefixes("::/0")}, false},
		"it refuses all of IPv4 in IPv6":         {Config{TrustedProxies: prefixes("::ffff:0.0.0.0/96")}, false},
		"it refuses an empty network":            {Config{TrustedProxies: []netip.Prefix{{}}}, false},
		"it refuses names without a CA":          {Config{TrustedProxies: here, ProxyNames: []string{"proxy"}}, false},
		"it refuses Authorization":               {Config{TrustedProxies: here, PrincipalHeader: "authorization"}, false},
		"it refuses Cookie":                      {Config{TrustedProxies: here, GroupHeader: "Cookie"}, false},
		"it refuses Host":                        {Config{TrustedProxies: here, PrincipalHeader: "host"}, false},
		"it refuses an underscore":               {Config{TrustedProxies: here, PrincipalHeader: "Remote_User"}, false},
		"it refuses a space":                     {Config{TrustedProxies: here, PrincipalHeader: "Remote User"}, false},
		"it refuses a colon":                     {Config{TrustedProxies: here, PrincipalHeader: "Remote-User:"}, false},
		"it refuses a line break":                {Config{TrustedProxies: here, ClientIPHeader: "X\r\nY"}, false},
		"it refuses one header for two purposes": {Config{TrustedProxies: here, PrincipalHeader: "x-user", GroupHeader: "X-User"}, false},
		"it refuses the default for another":     {Config{TrustedProxies: here, EmailHeader: "remote-user"}, false},
	} {
		if _, err := New(tt.c); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// C57: what a proxy may say, how, and who else may not.
func TestFromRequest(t *testing.T) {
	t.Parallel()
	const proxy, stranger = "10.1.2.3:4711", "192.0.2.7:4711"
	h := func(pairs ...string) http.Header {
		out := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			out.Add(pairs[i], pairs[i+1])
		}
		return out
	}
	type want struct {
		subject         string // "" is not present
		reason, failing registry.Reason
	}
	missing := want{failing: registry.ReasonHeaderMissing}
	untrusted := want{failing: registry.ReasonProxyUntrusted}
	invalid := want{reason: registry.ReasonHeaderInvalid, failing: registry.ReasonHeaderInvalid}
	for name, tt := range map[string]struct {
		peer   string
		header http.Header
		want   want
	}{
		"it takes the principal":                 {proxy, h("remote-user", "header-user"), want{subject: "header-user"}},
		"it takes it in any case of the name":    {proxy, h("REMOTE-USER", "header-user"), want{subject: "header-user"}},
		"it keeps the principal's case":          {proxy, h("Remote-User", "Jane"), want{subject: "Jane"}},
		"it keeps a domain":                      {proxy, h("Remote-User", `LAB\jane doe`), want{subject: `LAB\jane doe`}},
		"it trims":                               {proxy, h("Remote-User", " jane\t"), want{subject: "jane"}},
		"it takes 254 bytes":                     {proxy, h("Remote-User", strings.Repeat("x", 254)), want{subject: strings.Repeat("x", 254)}},
		"it knows IPv4 in IPv6":                  {"[::ffff:10.1.2.3]:1", h("Remote-User", "jane"), want{subject: "jane"}},
		"it knows IPv6":                          {"[fd00::1]:1", h("Remote-User", "jane"), want{subject: "jane"}},
		"it knows IPv6 with a zone":              {"[fe80::1%eth0]:1", h("Remote-User", "jane"), want{subject: "jane"}},
		"it says nothing without a header":       {proxy, h(), missing},
		"it says nothing for an empty one":       {proxy, h("Remote-User", ""), missing},
		"it says nothing for spaces":             {proxy, h("Remote-User", "  "), missing},
		"it says nothing for Apache's (null)":    {proxy, h("Remote-User", "(null)"), missing},
		"it says nothing for groups alone":       {proxy, h("Remote-Groups", "administrator"), missing},
		"it refuses two":                         {proxy, h("Remote-User", "jane", "Remote-User", "root"), invalid},
		"it refuses the same twice":              {proxy, h("Remote-User", "jane", "Remote-User", "jane"), invalid},
		"it refuses one beside an empty one":     {proxy, h("Remote-User", "", "Remote-User", "root"), invalid},
		"it refuses two in one line":             {proxy, h("Remote-User", "jane, root"), invalid},
		"it refuses an underscore":               {proxy, h("Remote_User", "root"), invalid},
		"it refuses an underscore beside":        {proxy, h("Remote-User", "jane", "remote_user", "root"), invalid},
		"it refuses a dot":                       {proxy, h("Remote-User", "jane", "Remote.User", "root"), invalid},
		"it refuses groups by underscore":        {proxy, h("Remote-User", "jane", "Remote_Groups", "administrator"), invalid},
		"it refuses 255 bytes":                   {proxy, h("Remote-User", strings.Repeat("x", 255)), invalid},
		"it refuses a control character":         {proxy, h("Remote-User", "ja\x00ne"), invalid},
		"it refuses a line break":                {proxy, h("Remote-User", "jane\r\nx"), invalid},
		"it refuses DEL":                         {proxy, h("Remote-User", "jane\x7f"), invalid},
		"it refuses UTF-8":                       {proxy, h("Remote-User", "jané"), invalid},
		"it refuses a Cyrillic look-alike":       {proxy, h("Remote-User", "r\u043e\u043et"), invalid},
		"it refuses Latin-1":                     {proxy, h("Remote-User", "jan\xe9"), invalid},
		"it refuses a group of control":          {proxy, h("Remote-User", "jane", "Remote-Groups", "a\x01"), invalid},
		"it refuses a long group":                {proxy, h("Remote-User", "jane", "Remote-Groups", "a,"+strings.Repeat("x", 255)), invalid},
		"it refuses 1001 groups":                 {proxy, h("Remote-User", "jane", "Remote-Groups", strings.Repeat("a,", 1001)), invalid},
		"it refuses two addresses":               {proxy, h("Remote-User", "jane", "Remote-Email", "a@b.c", "Remote-Email", "d@e.f"), invalid},
		"it refuses an address of other letters": {proxy, h("Remote-User", "jane", "Remote-Email", "\u0430@b.c"), invalid},
		"it refuses two names":                   {proxy, h("Remote-User", "jane", "Remote-Name", "a", "Remote-Name", "b"), invalid},

		"it ignores a stranger's principal":      {stranger, h("Remote-User", "root"), untrusted},
		"it ignores a stranger's groups":         {stranger, h("Remote-Groups", "administrator"), untrusted},
		"it ignores a stranger's underscore":     {stranger, h("Remote_User", "root"), untrusted},
		"it ignores a stranger's empty one":      {stranger, h("Remote-User", ""), untrusted},
		"it ignores a stranger who says nothing": {stranger, h(), missing},
		"it ignores a stranger's claim to be near": {stranger, h("Remote-User", "root", "X-Forwarded-For", "10.1.2.3"),
			untrusted},
		"it ignores a Unix socket":           {"@", h("Remote-User", "root"), untrusted},
		"it ignores a peer without a name":   {"", h("Remote-User", "root"), untrusted},
		"it ignores an address without port": {"10.1.2.3", h("Remote-User", "root"), untrusted},
	} {
		for _, fail := range []bool{false, true} {
			p := newProvider(t, Config{FailIfMissing: fail, EmailHeader: "Remote-Email", NameHeader: "Remote-Name"})
			a, present, err := p.FromRequest(request(tt.peer, tt.header))
			wanted := tt.want.reason
			if fail {
				wanted = tt.want.failing
			}
			if got := reason(t, err); got != wanted || present != (tt.want.subject != "") || present && (a.Subject != tt.want.subject || a.Login != a.Subject) {
				t.Errorf("%s (fail if missing: %v): got %q, %v, %q (%v), want %q, %q", name, fail, a.Subject, present, got, err, tt.want.subject, wanted)
			}
		}
	}
}

func TestAssertion(t *testing.T) {
	t.Parallel()
	p := newProvider(t, Config{EmailHeader: "Remote-Email", NameHeader: "Remote-Name"})
	got, present, err := p.FromRequest(request("10.0.0.1:1", http.Header{
		"Remote-User": {"jane"}, "Remote-Groups": {"administrator , Büro,", ",x"}, "Remote-Email": {"jane@example.com"}, "Remote-Name": {"Jané Doe"},
	}))
	if err != nil || !present || got.Claims == nil {
		t.Fatalf("got %+v, %v, %v", got, present, err)
	}
	got.Claims = nil
	want := authn.Assertion{
		Provider: "header", Subject: "jane", Login: "jane", Email: "jane@example.com", FirstName: "Jané Doe",
		Groups: &[]string{"administrator", "Büro", "x"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	thousand := make([]string, maxGroups)
	for i := range thousand {
		thousand[i] = strconv.Itoa(i)
	}
	for name, tt := range map[string]struct {
		lines []string
		want  *[]string
	}{
		"it says nothing without the header":   {nil, nil},
		"it says none for an empty one":        {[]string{""}, &[]string{}},
		"it says none for commas":              {[]string{" , ,"}, &[]string{}},
		"it says none for Apache's (null)":     {[]string{"(null)"}, &[]string{}},
		"it reads one":                         {[]string{"administrator"}, &[]string{"administrator"}},
		"it reads commas":                      {[]string{"a,b , c"}, &[]string{"a", "b", "c"}},
		"it reads lines":                       {[]string{"a", "b,c"}, &[]string{"a", "b", "c"}},
		"it keeps the case, for the mapping":   {[]string{"Administrator"}, &[]string{"Administrator"}},
		"it reads a thousand":                  {[]string{strings.Join(thousand, ",")}, &thousand},
		"it does not take a semicolon for one": {[]string{"a;b"}, &[]string{"a;b"}},
	} {
		header := http.Header{"Remote-User": {"jane"}}
		if tt.lines != nil {
			header["Remote-Groups"] = tt.lines
		}
		a, _, err := newProvider(t, Config{}).FromRequest(request("10.0.0.1:1", header))
		if err != nil || !reflect.DeepEqual(a.Groups, tt.want) {
			t.Errorf("%s: got %v, %v, want %v", name, a.Groups, err, tt.want)
		}
	}
}

// C57: the address is read from the right, over trusted proxies only.
func TestClientIP(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		peer  string
		lines []string
		want  string
	}{
		"it is the peer":                       {"192.0.2.7:1", nil, "192.0.2.7"},
		"it is the peer that is no proxy":      {"192.0.2.7:1", []string{"198.51.100.1"}, "192.0.2.7"},
		"it is the proxy that says nothing":    {"10.0.0.1:1", nil, "10.0.0.1"},
		"it is whom the proxy saw":             {"10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		"it is not what the client wrote":      {"10.0.0.1:1", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"},
		"it goes over a chain of proxies":      {"10.0.0.1:1", []string{"203.0.113.9, 198.51.100.1, 10.0.0.3,10.0.0.2"}, "198.51.100.1"},
		"it goes over lines, the last first":   {"10.0.0.1:1", []string{"203.0.113.9", "198.51.100.1", "10.0.0.2"}, "198.51.100.1"},
		"it is the first when all are proxies": {"10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"it stops at what is no address":       {"10.0.0.1:1", []string{"198.51.100.1, unknown, 10.0.0.2"}, "10.0.0.2"},
		"it stops at once":                     {"10.0.0.1:1", []string{"198.51.100.1, <script>"}, "10.0.0.1"},
		"it stops at an empty one":             {"10.0.0.1:1", []string{"198.51.100.1, "}, "10.0.0.1"},
		"it reads a port":                      {"10.0.0.1:1", []string{"198.51.100.1:443"}, "198.51.100.1"},
		"it reads IPv6":                        {"[fd00::1]:1", []string{"2001:db8::1"}, "2001:db8::1"},
		"it reads IPv6 in brackets":            {"[fd00::1]:1", []string{"[2001:db8::1]"}, "2001:db8::1"},
		"it reads IPv6 with a port":            {"[fd00::1]:1", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		"it leaves out a zone":                 {"[fe80::1%eth0]:1", []string{"fe80::2%<b>, fd00::2"}, "fe80::2"},
		"it undresses IPv4":                    {"[::ffff:10.0.0.1]:1", []string{"::ffff:198.51.100.1, ::ffff:10.0.0.2"}, "198.51.100.1"},
		"it is nothing over a Unix socket":     {"@", []string{"198.51.100.1"}, ""},
		"it ends, however long the chain":      {"10.0.0.1:1", []string{"198.51.100.1" + strings.Repeat(",10.0.0.2", 10_000)}, "10.0.0.2"},
		"it does not take a number for one":    {"10.0.0.1:1", []string{"3232235777"}, "10.0.0.1"},
	} {
		r := request(tt.peer, http.Header{"X-Forwarded-For": tt.lines})
		if got := newProvider(t, Config{}).ClientIP(r); got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// A network written as IPv4 in IPv6 is the IPv4 network.
func TestMappedNetwork(t *testing.T) {
	t.Parallel()
	p := newProvider(t, Config{TrustedProxies: prefixes("::ffff:10.0.0.0/104")})
	for peer, want := range map[string]bool{"10.9.9.9:1": true, "[::ffff:10.9.9.9]:1": true, "11.0.0.1:1": false} {
		if _, present, err := p.FromRequest(request(peer, http.Header{"Remote-User": {"jane"}})); present != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", peer, present, err, want)
		}
	}
}

// Whatever is sent, who is let in has a plain name, and a stranger never is.
func FuzzFromRequest(f *testing.F) {
	f.Add("Remote-User", "jane", "a,b", "10.0.0.1")
	f.Add("Remote_User", "ro\x00ot", "", "10.0.0.1, x")
	f.Add("X", "jan\xe9", ",,", "[::1]:1")
	p := newProvider(f, Config{})
	f.Fuzz(func(t *testing.T, name, principal, groups, chain string) {
		h := http.Header{"Remote-Groups": {groups}, "X-Forwarded-For": {chain}}
		h.Add(name, principal)
		a, present, err := p.FromRequest(request("10.0.0.1:1", h))
		if present != (a.Subject != "") && err == nil || present && err != nil {
			t.Errorf("got %+v, %v, %v", a, present, err)
		}
		if present && (http.CanonicalHeaderKey(name) != "Remote-User" || len(a.Subject) > maxValue || strings.ContainsFunc(a.Subject, func(r rune) bool { return r < 0x20 || r > 0x7e })) {
			t.Errorf("%q: %q was taken", name, a.Subject)
		}
		if _, err := netip.ParseAddr(p.ClientIP(request("10.0.0.1:1", h))); err != nil {
			t.Error(err)
		}
		if a, present, err := p.FromRequest(request("192.0.2.1:1", h)); present || a.Subject != "" || err != nil {
			t.Errorf("a stranger: got %+v, %v, %v", a, present, err)
		}
	})
}
