package ldap

import (
	"context"
	"errors"

	"github.com/go-ldap/ldap/v3"

	"github.com/postern-io/postern/authn"
)

// errTLS marks what failed after the connection stood and before anything was
// said on it.
var errTLS = errors.New("TLS")

// Check implements authn.Checker: connection, TLS, the bind of the service
// account, the base. It takes at most Config.Timeout.
func (p *Provider) Check(ctx context.Context) []authn.Step {
	var steps []authn.Step
	say := func(ok bool, says string) { steps = append(steps, authn.Step{OK: ok, Says: says}) }
	c, close, err := p.line(ctx)
	encrypted := map[mode]string{
		modeLDAPS: "TLS stands, and the directory's certificate is trusted.", modeStartTLS: "StartTLS stands, and the directory's certificate is trusted.",
		modePlain: "The connection is not encrypted; it does not leave this machine.",
	}[p.mode]
	switch {
	case errors.Is(err, errTLS):
		say(true, "The directory can be reached.")
		say(false, "No TLS: "+authn.Unreachable(err, "the directory does not offer it there")+".")
		return steps
	case err != nil:
		say(false, "The directory cannot be reached: "+authn.Unreachable(err, "the connection failed")+".")
		return steps
	}
	defer close()
	say(true, "The directory can be reached.")
	say(true, encrypted)
	if err := p.bindService(c); err != nil {
		says := "The directory did not take the service account."
		var refused *ldap.Error
		if errors.As(err, &refused) && refused.ResultCode == ldap.LDAPResultInvalidCredentials {
			says = "The directory refused the service account: its DN or its password is wrong."
		}
		say(false, says)
		return steps
	}
	say(true, "The service account signs in.")
	found, err := c.Search(p.search(ldap.ScopeBaseObject, 1, "(objectClass=*)", noAttributes()))
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject), err == nil && len(found.Entries) != 1:
		say(false, "There is no such base DN, or the service account may not read it.")
	case err != nil:
		say(false, "The base DN cannot be searched.")
	default:
		say(true, "The base DN is there and can be searched.")
	}
	return steps
}
