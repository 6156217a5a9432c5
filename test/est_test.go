package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An enrolment is a server with a device, and its owner's token.
type enrolment struct {
	*server
	token, domain, client, secret string
}

func newEnrolment(t *testing.T, env ...string) *enrolment {
	t.Helper()
	e := &enrolment{server: reserve(t)}
	e.up(append(env, "POSTERN_OWNER_EMAIL=owner@example.com", "POSTERN_OWNER_PASSWORD="+ownerPassword)...)
	e.token = e.signIn("owner", ownerPassword)
	e.domain = e.want(201, "POST", "/domains", e.token, map[string]string{"name": "home"})["id"].(string)
	made := e.want(201, "POST", "/"+e.domain+"/clients", e.token, map[string]string{})
	e.client, e.secret = made["id"].(string), made["credentials"].(map[string]any)["secret"].(string)
	e.does("cp data/ca.crt ca.crt", "")
	return e
}

// does runs a command and finds the word in what it says.
func (e *enrolment) does(command, want string) {
	e.t.Helper()
	if out, err := e.run(command); !strings.Contains(out, want) || want == "" && err != nil {
		e.t.Errorf("%s:\n%s%v\nwant %q", command, out, err, want)
	}
}

// claim makes a claim token.
func (e *enrolment) claim(as map[string]any) string {
	e.t.Helper()
	made := e.want(201, "POST", "/"+e.domain+"/claims", e.token, as)["claims"].([]any)
	return made[0].(map[string]any)["token"].(string)
}

// publishes shows the certificate to the HTTP door, on a channel that is not
// there: 403 says that the device is known, 401 or an alert that it is not.
func (e *enrolment) publishes(cert, key, want string) {
	e.t.Helper()
	e.does("curl -sS --cacert ca.crt --cert "+cert+" --key "+key+" -d x -o /dev/null -w '%{http_code}' https://localhost:"+e.https+"/http/m/"+e.domain+"/c/none", want)
}

// certificates returns how many there are of a client, by status.
func (e *enrolment) certificates(client string) []map[string]any {
	e.t.Helper()
	var all []map[string]any
	for _, c := range e.want(200, "GET", "/"+e.domain+"/certs?client="+client, e.token, nil)["certs"].([]any) {
		all = append(all, c.(map[string]any))
	}
	return all
}

// TestStrongSwanEnrols gets a certificate by strongSwan's pki, and the next one
// by the first.
func TestStrongSwanEnrols(t *testing.T) {
	t.Parallel()
	_, err := exec.LookPath("pki")
	need(t, err)
	e := newEnrolment(t)
	pki := func(args, want string) {
		t.Helper()
		e.does("pki "+args+" 2>pki.log; code=$?; cat pki.log; echo exit $code", want)
	}
	url := " --url https://localhost:" + e.https + " --cacert ca.crt "
	pki("--estca"+url+"--caout cas.pem --outform pem", "exit 0")
	e.does("openssl x509 -in cas.pem -noout -subject", "Postern CA")

	enrol := func(name, user string) {
		t.Helper()
		pki("--gen --type ecdsa --size 256 --outform pem >"+name+".key", "exit 0")
		pki("--req --type priv --in "+name+".key --dn 'CN=any name' --outform pem >"+name+".csr", "exit 0")
		pki("--est"+url+"--in "+name+".csr --userpass '"+user+"' --outform pem >"+name+".crt", "exit 0")
	}
	enrol("first", e.client+":"+e.secret)
	e.does("openssl x509 -in first.crt -noout -subject", e.client)
	e.does("test $(grep -c BEGIN first.crt) = 1", "")
	e.publishes("first.crt", "first.key", "403")

	enrol("claimed", ":"+e.claim(map[string]any{"name": "by strongSwan"}))
	e.publishes("claimed.crt", "claimed.key", "403")
	pki("--est"+url+"--in first.csr --userpass '"+e.client+":wrong-wrong-wrong' --outform pem >none.crt", "exit 1")

	// Renewing sends what the old certificate says, with a new key.
	pki("--gen --type ecdsa --size 256 --outform pem >second.key", "exit 0")
	pki("--req --oldreq --type priv --in second.key --dn 'CN="+e.client+"' --outform pem >second.csr || pki --req --type priv --in second.key --dn 'CN="+e.client+"' --outform pem >second.csr", "exit 0")
	pki("--est"+url+"--cacert cas.pem --in second.csr --cert first.crt --key first.key --outform pem >second.crt", "exit 0")
	e.publishes("second.crt", "second.key", "403")
	e.publishes("first.crt", "first.key", "403") // until its end
	all := e.certificates(e.client)
	if len(all) != 2 {
		t.Fatalf("certificates: %v", all)
	}
	pki("--req --type priv --in second.key --dn 'CN=somebody else' --outform pem >third.csr", "exit 0")
	pki("--est"+url+"--cacert cas.pem --in third.csr --cert second.crt --key second.key --outform pem >third.crt", "exit 1")
	if strings.Contains(e.logged(), e.secret) {
		t.Error("the log tells the secret")
	}
}

// TestCurlEnrols is how a device does it that has only curl and openssl.
func TestCurlEnrols(t *testing.T) {
	t.Parallel()
	e := newEnrolment(t)
	e.does("openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout device.key -subj / -outform DER 2>/dev/null | openssl base64 >device.b64", "")
	est := "https://localhost:" + e.https + "/.well-known/est/"
	post := "curl -sS --cacert ca.crt -H 'Content-Type: application/pkcs10' --data-binary @device.b64 "
	unwrap := " | openssl base64 -d -A | openssl pkcs7 -inform DER -print_certs -out "
	e.does(post+"-f -u "+e.client+":"+e.secret+" "+est+"simpleenroll"+unwrap+"device.crt", "")
	e.publishes("device.crt", "device.key", "403")
	e.does(post+"-f --cert device.crt --key device.key "+est+"simplereenroll"+unwrap+"next.crt", "")
	e.does("cmp -s device.crt next.crt || openssl x509 -in next.crt -noout -subject", e.client)
	e.publishes("next.crt", "device.key", "403")
	e.does(post+"-f -u :"+e.claim(map[string]any{})+" "+est+"simpleenroll"+unwrap+"claimed.crt", "")
	e.publishes("claimed.crt", "device.key", "403")

	status := "-o /dev/null -w '%{http_code}' "
	e.does(post+status+est+"simpleenroll", "401")
	e.does(post+status+"-u "+e.client+":wrong-wrong-wrong "+est+"simpleenroll", "401")
	e.does(post+status+"-u "+e.client+":"+e.secret+" "+est+"simplereenroll", "403")
	e.does(post+status+"-u "+e.client+":"+e.secret+" http://127.0.0.1:"+e.http+"/.well-known/est/simpleenroll", "403")

	all := e.certificates(e.client)
	if len(all) != 2 {
		t.Fatalf("certificates: %v", all)
	}
	first := all[1]["id"].(string)
	e.want(200, "POST", "/"+e.domain+"/certs/"+first+"/revoke", e.token, map[string]string{"reason": "keyCompromise"})
	e.does(post+"--cert device.crt --key device.key "+est+"simplereenroll", "alert")
}

// TestEnrolmentWhereCertificatesAreRequired: with AUTH=x509 a secret gets no
// certificate, a claim token does.
func TestEnrolmentWhereCertificatesAreRequired(t *testing.T) {
	t.Parallel()
	e := newEnrolment(t, "POSTERN_AUTH=x509")
	e.does("openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout device.key -subj / -outform DER 2>/dev/null | openssl base64 >device.b64", "")
	est := "https://localhost:" + e.https + "/.well-known/est/"
	post := "curl -sS --cacert ca.crt -H 'Content-Type: application/pkcs10' --data-binary @device.b64 "
	e.does(post+"-o /dev/null -w '%{http_code}' -u "+e.client+":"+e.secret+" "+est+"simpleenroll", "401")
	e.does(post+"-f -u :"+e.claim(map[string]any{"client_id": e.client})+" "+est+"simpleenroll | openssl base64 -d -A | openssl pkcs7 -inform DER -print_certs -out device.crt", "")
	e.publishes("device.crt", "device.key", "403")
	status, _ := e.rest("POST", "/claim", "", map[string]string{"token": e.claim(map[string]any{})})
	if status != 400 {
		t.Errorf("a claim for a secret that opens nothing: %d", status)
	}
}

// TestRenewCommand renews a pair in place.
func TestRenewCommand(t *testing.T) {
	t.Parallel()
	e := newEnrolment(t)
	e.ca = filepath.Join(e.dir, "ca.crt")
	issued := e.want(201, "POST", "/"+e.domain+"/clients/"+e.client+"/certs", e.token, map[string]string{})
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(e.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("device.crt", issued["certificate"].(string))
	write("device.key", issued["private_key"].(string))
	old := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(e.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	renew := func(args ...string) string {
		t.Helper()
		return e.postern(append([]string{"certs", "renew", "--cert", "device.crt", "--key", "device.key"}, args...)...)
	}
	cert, key := old("device.crt"), old("device.key")
	if out := renew(); !strings.Contains(out, "not yet") || old("device.crt") != cert {
		t.Errorf("a young one: %s", out)
	}
	if out := renew("--force"); !strings.Contains(out, "renewed") || old("device.crt") == cert || old("device.key") != key {
		t.Errorf("with its key: %s", out)
	}
	e.publishes("device.crt", "device.key", "403")
	e.does("openssl verify -CAfile ca.crt -untrusted device.crt device.crt", "device.crt: OK") // the chain is in it
	cert = old("device.crt")
	if out := renew("--force", "--new-key"); !strings.Contains(out, "new key") || old("device.crt") == cert || old("device.key") == key {
		t.Errorf("with a new key: %s", out)
	}
	e.publishes("device.crt", "device.key", "403")
	if info, err := os.Stat(filepath.Join(e.dir, "device.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(e.dir, "*.next")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}

	// Cut off between the two files: the key is new, the certificate waits.
	write("device.crt.next", old("device.crt"))
	write("device.crt", cert)
	if out := renew(); !strings.Contains(out, "not yet") || old("device.crt") == cert {
		t.Errorf("after a cut: %s", out)
	}
	e.publishes("device.crt", "device.key", "403")

	// A pair that does not fit is left alone, as is one that is refused.
	write("device.crt", cert)
	if out, err := e.try("certs", "renew", "--force", "--cert", "device.crt", "--key", "device.key"); err == nil || old("device.crt") != cert {
		t.Errorf("a key of another: %s", out)
	}
	e.want(200, "POST", "/"+e.domain+"/clients/"+e.client+"/disable", e.token, nil)
	write("device.key", key)
	before := old("device.crt")
	if out, err := e.try("certs", "renew", "--force", "--new-key", "--cert", "device.crt", "--key", "device.key"); err == nil || old("device.crt") != before || old("device.key") != key {
		t.Errorf("a disabled device: %s", out)
	}
}
