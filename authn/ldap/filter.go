package ldap

import (
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// A template is a filter with a placeholder where values stand. Whatever is
// filled in stays one value: it cannot become a wildcard, an attribute or
// another condition (C59).
type template struct{ text, placeholder string }

// newTemplate compiles text once with a sample value, so that a mistake stops
// the start and not the first sign-in.
func newTemplate(field, text, placeholder string) (template, error) {
	t := template{text, placeholder}
	count := strings.Count(text, placeholder)
	if count == 0 {
		return template{}, invalid(field, "must hold %s", placeholder)
	}
	if rest := strings.ReplaceAll(text, placeholder, ""); strings.ContainsAny(rest, "{}") {
		return template{}, invalid(field, `knows no placeholder but %s; write \7b and \7d for braces`, placeholder)
	}
	// In the place of an attribute's name escaping does not help.
	const sample = "sample"
	compiled, err := ldap.CompileFilter(t.with(sample))
	if err != nil {
		return template{}, invalid(field, "must be an RFC 4515 filter such as (cn=%s): %v", placeholder, err)
	}
	doubled, err := ldap.CompileFilter(t.with(sample + sample))
	if err != nil {
		return template{}, invalid(field, "must be an RFC 4515 filter such as (cn=%s): %v", placeholder, err)
	}
	if names(compiled) != names(doubled) {
		return template{}, invalid(field, "must have %s where a value stands, as in (cn=%s)", placeholder, placeholder)
	}
	return t, nil
}

// with returns the filter for one value.
func (t template) with(value string) string {
	return strings.ReplaceAll(t.text, t.placeholder, ldap.EscapeFilter(value))
}

// names writes down everything of a compiled filter but the values: the
// conditions, how they nest, attributes and matching rules.
func names(p *ber.Packet) string {
	var b strings.Builder
	write := func(q *ber.Packet) { b.WriteString(q.Data.String()) }
	b.WriteString(ldap.FilterMap[uint64(p.Tag)] + "(")
	switch p.Tag {
	case ldap.FilterAnd, ldap.FilterOr, ldap.FilterNot:
		for _, child := range p.Children {
			b.WriteString(names(child))
		}
	case ldap.FilterPresent:
		write(p)
	case ldap.FilterSubstrings:
		write(p.Children[0])
		for _, part := range p.Children[1].Children {
			b.WriteString(" " + ldap.FilterSubstringsMap[uint64(part.Tag)])
		}
	case ldap.FilterExtensibleMatch:
		for _, child := range p.Children {
			b.WriteString(" " + ldap.MatchingRuleAssertionMap[uint64(child.Tag)] + " ")
			if child.Tag != ldap.MatchingRuleAssertionMatchValue {
				write(child)
			}
		}
	default:
		write(p.Children[0])
	}
	b.WriteByte(')')
	return b.String()
}
