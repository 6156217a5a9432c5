package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestForeignersCheck asks what stands in a device's certificate with openssl and
// curl, before and after it is revoked.
func TestForeignersCheck(t *testing.T) {
	t.Parallel()
	s := reserve(t)
	s.up("POSTERN_PKI_URL=http://127.0.0.1:"+s.http, "POSTERN_OWNER_EMAIL=owner@example.com", "POSTERN_OWNER_PASSWORD="+ownerPassword)
	token := s.signIn("owner", ownerPassword)
	domain := s.want(201, "POST", "/domains", token, map[string]string{"name": "home"})["id"].(string)
	client := s.want(201, "POST", "/"+domain+"/clients", token, map[string]string{})["id"].(string)
	issued := s.want(201, "POST", "/"+domain+"/clients/"+client+"/certs", token, map[string]string{})
	for name, field := range map[string]string{"leaf.crt": "certificate", "leaf.key": "private_key"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(issued[field].(string)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(command, want string) {
		t.Helper()
		if out, err := s.run(command); !strings.Contains(out, want) {
			t.Errorf("%s:\n%s%v\nwant %q", command, out, err, want)
		}
	}
	fetch := func() {
		t.Helper()
		s.openssl("x509 -in leaf.crt -out leaf.pem")
		for _, name := range []string{"ca.crt", "chain.pem", "crls.pem"} {
			ask("curl -sSf -o "+name+" -w '%{http_code}' http://127.0.0.1:"+s.http+"/pki/"+name, "200")
		}
		// The list that the certificate itself names.
		ask(`curl -sSf -o leaf.crl -w '%{http_code}' "$(openssl x509 -in leaf.pem -noout -ext crlDistributionPoints | sed -n 's/.*URI://p')"`, "200")
		s.openssl("crl -inform DER -in leaf.crl -out leaf.crl.pem")
	}
	ocsp := `openssl ocsp -issuer chain.pem -cert leaf.pem -CAfile ca.crt -url "$(openssl x509 -in leaf.pem -noout -ocsp_uri)" `
	fetch()
	ask(ocsp, "leaf.pem: good")
	ask("openssl verify -CAfile ca.crt -untrusted chain.pem -crl_check -CRLfile leaf.crl.pem leaf.pem", "leaf.pem: OK")
	ask("openssl verify -CAfile ca.crt -untrusted chain.pem -crl_check_all -CRLfile crls.pem leaf.pem", "leaf.pem: OK")
	ask("curl -sS --cacert ca.crt --crlfile crls.pem -o /dev/null -w '%{http_code}' https://localhost:"+s.https+"/pki/ca.crt", "200")
	ask("curl -sSf --cacert ca.crt https://localhost:"+s.https+"/.well-known/est/cacerts | openssl base64 -d -A | openssl pkcs7 -inform DER -print_certs -noout", "Postern CA")

	s.want(200, "POST", "/"+domain+"/certs/"+issued["id"].(string)+"/revoke", token, map[string]string{"reason": "keyCompromise"})
	fetch()
	ask(ocsp, "leaf.pem: revoked")
	ask(ocsp, "Reason: keyCompromise")
	ask("openssl verify -CAfile ca.crt -untrusted chain.pem -crl_check -CRLfile leaf.crl.pem leaf.pem", "certificate revoked")
	ask("openssl verify -CAfile ca.crt -untrusted chain.pem -crl_check_all -CRLfile crls.pem leaf.pem", "certificate revoked")
	ask("curl -sS --cacert ca.crt --cert leaf.crt --key leaf.key https://localhost:"+s.https+"/pki/ca.crt", "alert")
}
