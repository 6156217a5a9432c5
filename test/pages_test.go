package test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/postern-io/postern/adapters/pages"
)

// A site is a server with people of every role.
type site struct {
	*server
	token string // the owner's
}

func newSite(t *testing.T, env ...string) *site {
	t.Helper()
	s := &site{server: newServer(t, append(env, "POSTERN_OWNER_EMAIL=owner@example.com", "POSTERN_OWNER_PASSWORD="+ownerPassword, "POSTERN_LOG_LEVEL=warn")...)}
	s.token = s.signIn("owner", ownerPassword)
	for _, role := range []string{"viewer", "editor", "admin"} {
		s.want(201, "POST", "/users", s.token, map[string]any{
			"credentials": map[string]string{"username": role, "secret": ownerPassword}, "email": role + "@example.com", "role": role,
		})
	}
	return s
}

// browse tells a story of the directory browser in Debian's Chromium. With
// POSTERN_TEST_SHOTS set, pictures of the pages are left there.
func (s *site) browse(t *testing.T, name string, env ...string) {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		need(t, err)
	}
	people := map[string]string{"owner": ownerPassword, "viewer": ownerPassword, "editor": ownerPassword, "admin": ownerPassword}
	text, err := json.Marshal(people)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join("browser", name+".mjs"))
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "NODE_PATH=" + nodeModules(t), "CHROMIUM=" + chromium,
		"BASE=https://localhost:" + s.https, "PEOPLE=" + string(text), "SHOTS=" + os.Getenv("POSTERN_TEST_SHOTS"),
	}, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the story %s: %v\n%s", name, err, out)
	}
}

// evil is a name that becomes something else wherever it is not taken for text.
const evil = `"'></title></textarea><script>window.ran=1</script><img src=x onerror=window.ran=1>{{.}}`

// TestEveryPage follows every link as every role, on a site all of whose names
// are attacks, and asks of each page what all of them promise: it is painted
// without a script and light, a name stays text, and nothing is out of reach.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	type m = map[string]any
	var d, device, channel struct{ ID string }
	create := func(path string, in m, out any) {
		t.Helper()
		s.api(s.token, "POST", path, in, out)
	}
	create("/domains", m{"name": evil, "route": "works", "tags": []string{evil[:60]}, "metadata": m{evil: evil}}, &d)
	create("/"+d.ID+"/channels", m{"name": evil, "route": "readings", "tags": []string{evil[:60]}, "metadata": m{evil: evil}}, &channel)
	create("/"+d.ID+"/clients", m{"name": evil, "tags": []string{evil[:60]}, "metadata": m{evil: evil}, "credentials": m{"identity": evil}}, &device)
	create("/"+d.ID+"/channels/connect", m{"client_ids": []string{device.ID}, "channel_ids": []string{channel.ID}, "types": []string{"publish", "subscribe"}}, nil)
	create("/"+d.ID+"/clients/"+device.ID+"/certs", nil, nil)
	create("/"+d.ID+"/claims", m{"name": evil, "tags": []string{evil[:60]}, "metadata": m{evil: evil}, "channels": []m{{"channel_id": channel.ID, "types": []string{"publish"}}}}, nil)
	for i, name := range []string{evil, "x" + evil} {
		key := newKey(t)
		own := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
		der, err := x509.CreateCertificate(rand.Reader, own, own, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		var made struct{ ID string }
		create("/"+d.ID+"/authorities", m{"certificate": inPEM(&x509.Certificate{Raw: der}), "source": "name", "arrival": m{
			"register": true, "approve": evil[:40], "tags": []string{evil[:60]}, "channels": []m{{"channel_id": channel.ID, "types": []string{"publish"}}},
		}}, &made)
		if at := "/" + d.ID + "/authorities/" + made.ID; i == 0 { // the other waits for its proof
			create(at+"/override", m{"reason": evil}, nil)
			create(at+"/principals", m{"name": evil, "client_id": device.ID}, nil)
		}
	}
	create("/users", m{"credentials": m{"username": evil[:40], "secret": ownerPassword}, "email": "evil@example.com", "first_name": evil, "last_name": evil, "tags": []string{evil[:60]}}, nil)
	create("/users/keys", m{"name": evil, "role": "viewer"}, nil)
	info, err := json.Marshal(map[string]any{"patterns": pages.Patterns(), "domain": evil, "skip": notFollowed})
	if err != nil {
		t.Fatal(err)
	}
	s.browse(t, "crawl", "PAGES="+string(info))
}

// notFollowed are the addresses that are no page to look at, or that no link of
// somebody who is signed in leads to, with the reason.
var notFollowed = map[string]string{
	"/assets/{name}":                                         "a file",
	"/domains/{domain}/devices/export":                       "a file",
	"/domains/{domain}/devices/{device}/certs/{certificate}": "a file",
	"/domains/{domain}/live":                                 "a stream",
	"/domains/{domain}/devices/{device}/live":                "a stream",
	"/recover":      "of a letter",
	"/invite":       "of a letter",
	"/verify-email": "of a letter",
	"/setup":        "of the first start",
	"/settings":     "leads on to the first of them",
}

// TestPages drives the pages as viewer, editor, admin and owner.
func TestPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, story := range []string{"channels", "devices", "live", "matrix", "members", "trust", "keyboard"} {
		t.Run(story, func(t *testing.T) { s.browse(t, story) })
	}
}
