package header

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

const (
	maxValue  = 254 // bytes of a principal, an address, a name or a group
	maxGroups = 1000
)

// FromRequest returns who the proxy says it is. Errors are a
// *authn.RefusedError, found with errors.As, with the reason
//
//	ReasonHeaderMissing    FailIfMissing, and nobody is named
//	ReasonProxyUntrusted   FailIfMissing, and a peer that is no proxy names somebody
//	ReasonHeaderInvalid    a proxy sends a header twice, under another name,
//	                       too long, or with what is no plain text
//
// The subject is the principal as it stands. Ann and ann are two people: what is
// one name to the proxy should come in one spelling, whereas folding could give
// somebody another's account. A comma in it is refused, because that is what
// two headers look like once a proxy has joined them (RFC 9110 §5.3).
//
// The e-mail address does not count as verified, and the name is all first
// name, since nobody can tell where it would split. What was seen stands in the
// Assertion beside an error too.
//
// Groups are separated by commas or in lines of their own, and trimmed. Without
// the header they are nil, which leaves roles as they are.
func (p *Provider) FromRequest(r *http.Request) (a authn.Assertion, present bool, err error) {
	a.Provider = Key
	named, variant := p.sent(r.Header)
	if !p.trusted(r) {
		switch {
		case !p.c.FailIfMissing:
			return a, false, nil
		case named || variant != "":
			return a, false, refuse(registry.ReasonProxyUntrusted, "identity headers from %q, which is no trusted proxy", r.RemoteAddr)
		}
		return a, false, refuse(registry.ReasonHeaderMissing, "no header %s, and no trusted proxy", p.c.PrincipalHeader)
	}
	if variant != "" {
		return a, false, refuse(registry.ReasonHeaderInvalid, "header %q could be taken for another", variant)
	}
	principal, err := single(r.Header, p.c.PrincipalHeader, plain)
	switch {
	case err != nil:
		return a, false, err
	case strings.Contains(principal, ","):
		return a, false, refuse(registry.ReasonHeaderInvalid, "a comma in header %s", p.c.PrincipalHeader)
	case principal == "" && p.c.FailIfMissing:
		return a, false, refuse(registry.ReasonHeaderMissing, "no header %s from proxy %q", p.c.PrincipalHeader, r.RemoteAddr)
	case principal == "":
		return a, false, nil
	}
	a.Subject, a.Login = principal, principal
	if a.Email, err = single(r.Header, p.c.EmailHeader, plain); err != nil {
		return a, false, err
	}
	if a.FirstName, err = single(r.Header, p.c.NameHeader, text); err != nil {
		return a, false, err
	}
	if a.Groups, err = groups(r.Header, p.c.GroupHeader); err != nil {
		return a, false, err
	}
	a.Claims = map[string]any{"principal": principal, "email": a.Email, "name": a.FirstName, "peer": r.RemoteAddr}
	if a.Groups != nil {
		a.Claims["groups"] = *a.Groups
	}
	return a, true, nil
}

// sent tells whether a request has an identity header, and the first one in
// order whose name could be taken for one. Go keeps Remote_User as Remote_user,
// apart from Remote-User; what a proxy before us made of it is another matter.
func (p *Provider) sent(h http.Header) (named bool, variant string) {
	for name := range h {
		if slices.Contains(p.identity, name) {
			named = true
			continue
		}
		folded := fold(name)
		if slices.ContainsFunc(p.identity, func(i string) bool { return fold(i) == folded }) && (variant == "" || name < variant) {
			variant = name
		}
	}
	return named, variant
}

// single returns the value of a header that may come once. "" is missing, and so
// is what Apache sends for a variable that is not set (mod_headers).
func single(h http.Header, name string, allowed func(rune) bool) (string, error) {
	if name == "" {
		return "", nil
	}
	values := h.Values(name)
	switch len(values) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", refuse(registry.ReasonHeaderInvalid, "%d headers %s", len(values), name)
	}
	value := strings.TrimSpace(values[0])
	if value == "(null)" {
		return "", nil
	}
	return value, checkValue(name, value, allowed)
}

func groups(h http.Header, name string) (*[]string, error) {
	lines := h.Values(name)
	if len(lines) == 0 {
		return nil, nil
	}
	out := []string{}
	for group := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		if group = strings.TrimSpace(group); group == "" || group == "(null)" {
			continue
		}
		if err := checkValue(name, group, text); err != nil {
			return nil, err
		}
		if out = append(out, group); len(out) > maxGroups {
			return nil, refuse(registry.ReasonHeaderInvalid, "more than %d groups in header %s", maxGroups, name)
		}
	}
	return &out, nil
}

// plain is printable ASCII, for what somebody is known by: headers have no
// character set, so two spellings of one letter would be two people.
func plain(r rune) bool { return 0x20 <= r && r < 0x7f }

// text is what can be shown, for names and groups.
func text(r rune) bool { return unicode.IsPrint(r) }

func checkValue(name, value string, allowed func(rune) bool) error {
	other := func(r rune) bool { return !allowed(r) }
	if len(value) > maxValue || !utf8.ValidString(value) || strings.ContainsFunc(value, other) {
		return refuse(registry.ReasonHeaderInvalid, "header %s must have plain text of at most %d bytes", name, maxValue)
	}
	return nil
}

// refuse returns a *authn.RefusedError with what the operator should know.
func refuse(reason registry.Reason, format string, args ...any) error {
	return fmt.Errorf("header: %s: %w", fmt.Sprintf(format, args...), &authn.RefusedError{Reason: reason})
}
