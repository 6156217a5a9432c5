package registry

import "strings"

// IDs are UUIDs in canonical lower case (RFC 9562 §4). Each noun has a type of
// its own, so that swapping two of them does not compile.
type (
	DomainID  string
	DeviceID  string
	ChannelID string
	UserID    string
	SecretID  string
	SessionID string
	APIKeyID  string
	AuditID   string
)

// ParseID returns s as a canonical UUID. Upper-case hexadecimal digits are
// lowered; every other form (braces, URN, no hyphens) is an *InvalidError.
func ParseID(s string) (string, error) {
	if len(s) != 36 {
		return "", &InvalidError{Field: "id", Reason: "must be a UUID of 36 characters such as 7c0f4c7e-0b3f-4a9e-9d0b-3f6f0c1d2e3a"}
	}
	for i := range len(s) {
		c := s[i]
		hyphen := i == 8 || i == 13 || i == 18 || i == 23
		hex := '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
		if hyphen != (c == '-') || !hyphen && !hex {
			return "", &InvalidError{Field: "id", Reason: "must be a UUID of hexadecimal digits in the form 8-4-4-4-12"}
		}
	}
	return strings.ToLower(s), nil
}
