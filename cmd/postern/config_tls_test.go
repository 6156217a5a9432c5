package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/certmagic"
)

func TestACMESettings(t *testing.T) {
	const agreed = "POSTERN_ACME_AGREE=true "
	for name, test := range map[string]struct{ env, says string }{
		"it needs nothing":                       {"", ""},
		"it takes names":                         {agreed + "POSTERN_ACME_DOMAINS=iot.example.com,mqtt.example.com POSTERN_ACME_EMAIL=ops@example.com", ""},
		"it takes another authority":             {agreed + "POSTERN_ACME_DOMAINS=iot POSTERN_ACME_DIRECTORY=https://ca.example.com:9000/acme/acme/directory POSTERN_ACME_CA_ROOTS=/x.crt", ""},
		"it takes the HTTP door alone":           {agreed + "POSTERN_ACME_DOMAINS=iot.example.com POSTERN_HTTPS_ADDR=", ""},
		"it wants the terms agreed to":           {"POSTERN_ACME_DOMAINS=iot.example.com", "POSTERN_ACME_AGREE must be true: by it you agree to the terms of the authority at acme-v02.api.letsencrypt.org"},
		"it wants names beside the agreement":    {agreed, "POSTERN_ACME_DOMAINS is empty"},
		"it wants names beside an address":       {"POSTERN_ACME_EMAIL=ops@example.com", "POSTERN_ACME_DOMAINS is empty"},
		"it wants names beside a directory":      {"POSTERN_ACME_DIRECTORY=https://ca.example.com/dir", "POSTERN_ACME_DOMAINS is empty"},
		"it wants names beside roots":            {"POSTERN_ACME_CA_ROOTS=/x.crt", "POSTERN_ACME_DOMAINS is empty"},
		"it does not go with files":              {agreed + "POSTERN_ACME_DOMAINS=iot.example.com POSTERN_TLS_CERT=/x.crt POSTERN_TLS_KEY=/x.key", "POSTERN_TLS_CERT cannot be combined"},
		"it refuses a wildcard":                  {agreed + "POSTERN_ACME_DOMAINS=*.example.com", "wildcards"},
		"it refuses an address":                  {agreed + "POSTERN_ACME_DOMAINS=192.0.2.1", "host names"},
		"it refuses an IPv6 address":             {agreed + "POSTERN_ACME_DOMAINS=2001:db8::1", "host names"},
		"it refuses a port":                      {agreed + "POSTERN_ACME_DOMAINS=iot.example.com:443", "host names"},
		"it refuses a URL":                       {agreed + "POSTERN_ACME_DOMAINS=https://iot.example.com", "host names"},
		"it refuses a path":                      {agreed + "POSTERN_ACME_DOMAINS=../../etc", "host names"},
		"it refuses capitals":                    {agreed + "POSTERN_ACME_DOMAINS=IoT.example.com", "lower case"},
		"it refuses an empty name":               {agreed + "POSTERN_ACME_DOMAINS=iot.example.com,", "host names"},
		"it refuses a long label":                {agreed + "POSTERN_ACME_DOMAINS=" + strings.Repeat("a", 64) + ".example.com", "host names"},
		"it refuses a long name":                 {agreed + "POSTERN_ACME_DOMAINS=" + strings.Repeat("abcdefg.", 32) + "com", "host names"},
		"it refuses too many names":              {agreed + "POSTERN_ACME_DOMAINS=" + strings.TrimSuffix(strings.Repeat("a.example.com,", 101), ","), "at most 100"},
		"it refuses plain HTTP":                  {agreed + "POSTERN_ACME_DOMAINS=iot.example.com POSTERN_ACME_DIRECTORY=http://ca.example.com/dir", "https://"},
		"it refuses a secret in the directory":   {agreed + "POSTERN_ACME_DOMAINS=iot.example.com POSTERN_ACME_DIRECTORY=https://a:hidden@ca.example.com/dir", "https://"},
		"it needs a door for the authority":      {agreed + "POSTERN_ACME_DOMAINS=iot.example.com POSTERN_HTTP_ADDR= POSTERN_HTTPS_ADDR=", "POSTERN_HTTPS_ADDR (for port 443)"},
		"it refuses an agreement by other words": {"POSTERN_ACME_DOMAINS=iot.example.com POSTERN_ACME_AGREE=perhaps", "POSTERN_ACME_AGREE"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := configured(t, strings.Fields(test.env))
			if test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("got %v, want %q", err, test.says)
			}
			if err != nil && strings.Contains(err.Error(), "hidden") {
				t.Error("the error shows a password")
			}
			if err == nil && !strings.Contains(test.env, "DIRECTORY") && c.ACME.Directory != certmagic.LetsEncryptProductionCA {
				t.Errorf("the directory is %q", c.ACME.Directory)
			}
		})
	}
}

// Until the authority has answered, our own certificate stands in for its names.
func TestOwnCertificateHasTheACMENames(t *testing.T) {
	c, err := configured(t, []string{"POSTERN_ACME_AGREE=true", "POSTERN_ACME_DOMAINS=iot.example.com,mqtt.example.com", "POSTERN_TLS_NAMES=10.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"localhost", "iot.example.com", "mqtt.example.com", "10.0.0.1"} {
		if names := c.serverNames(); !slices.Contains(names, want) {
			t.Errorf("%v lacks %s", names, want)
		}
	}
}
