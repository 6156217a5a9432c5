package pages

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/postern-io/postern/adapters/api"
)

// A reason is why a certificate is revoked (RFC 5280 §5.3.1).
type reason struct{ Word, Title string }

var reasons = []reason{
	{string(api.Unspecified), "no reason given"},
	{string(api.KeyCompromise), "its key may be known to others"},
	{string(api.Superseded), "another one takes its place"},
	{string(api.CessationOfOperation), "the device is out of service"},
	{string(api.AffiliationChanged), "the device belongs to somebody else now"},
	{string(api.PrivilegeWithdrawn), "the device may no longer"},
	{string(api.CertificateHold), "hold: for now, can be released again"},
}

// A shownCertificate is a certificate just issued, and the one sight of its key.
type shownCertificate struct {
	api.Certificate
	Kind string // of the file to save: "pem", "p12"
	File string // base64 when Kind is "p12"
	Line string // how to use it with mosquitto_pub; "": no TLS door
}

// Name is that of the file to save.
func (c shownCertificate) Name() string { return "device-" + c.ClientID }

func issueCertificate(v *visit, d deviceRecord) error {
	in := map[string]string{}
	for _, name := range []string{"csr", "password"} {
		if text := strings.TrimSpace(v.r.PostForm.Get(name)); text != "" {
			in[name] = text
		}
	}
	var made api.Certificate
	err := v.device(http.MethodPost, d.ID, "/certs", in, &made)
	v.r.PostForm.Del("password") // the form does not show it again
	if err != nil {
		return v.deviceAfter(d, err, "")
	}
	shown := &shownCertificate{Certificate: made, Kind: "pem", File: made.PrivateKey + made.Certificate}
	if made.Pkcs12 != "" {
		shown.Kind, shown.File = "p12", made.Pkcs12
	}
	return v.deviceWith(d, func(view *deviceView) { view.Issued = shown })
}

// certificate asks for the certificate of the path, which must be this
// device's.
func (v *visit) certificate(d deviceRecord) (api.Certificate, error) {
	var c api.Certificate
	err := v.ask(http.MethodGet, v.inDomain("/certs/"+url.PathEscape(v.r.PathValue("certificate"))), nil, &c)
	if err == nil && c.ClientID != d.ID {
		err = &Refusal{Status: http.StatusNotFound, Word: "record_not_found", Message: "There is no such certificate of this device."}
	}
	return c, err
}

// downloadCertificate sends a certificate with the authority that issued it, or
// with ?root the root above.
func downloadCertificate(v *visit, d deviceRecord) error {
	c, err := v.certificate(d)
	if err != nil {
		return err
	}
	name, text := "device-"+d.ID, c.Certificate
	if v.r.URL.Query().Has("root") {
		name, text = "root", c.Ca
	}
	v.w.Header().Set("Content-Type", kinds["pem"])
	v.w.Header().Set("Content-Disposition", `attachment; filename="`+name+`.pem"`)
	v.w.Write([]byte(text)) // who went away misses it
	return nil
}

func revokeCertificate(v *visit, d deviceRecord) error {
	c, err := v.certificate(d)
	if err == nil {
		err = v.ask(http.MethodPost, v.inDomain("/certs/"+c.ID+"/revoke"), map[string]string{"reason": v.r.PostForm.Get("reason")}, nil)
	}
	return v.deviceAfter(d, err, "saved")
}

func releaseCertificate(v *visit, d deviceRecord) error {
	c, err := v.certificate(d)
	if err == nil {
		err = v.ask(http.MethodPost, v.inDomain("/certs/"+c.ID+"/release"), nil, nil)
	}
	return v.deviceAfter(d, err, "saved")
}
