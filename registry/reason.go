package registry

// A Reason says why somebody or something was refused. The list is closed: the
// same words stand in the log, the metrics, the audit trail and `postern
// explain`. A stranger at a door never sees one.
type Reason string

const (
	// Who are you?
	ReasonNoCredential         Reason = "no_credential"
	ReasonUnknownDevice        Reason = "unknown_device"
	ReasonWrongSecret          Reason = "wrong_secret"
	ReasonSecretExpired        Reason = "secret_expired"
	ReasonSecretRevoked        Reason = "secret_revoked"
	ReasonConflictingEvidence  Reason = "conflicting_evidence"
	ReasonAmbiguousCredential  Reason = "ambiguous_credential"
	ReasonUnknownCertificate   Reason = "unknown_certificate"
	ReasonCertificateExpired   Reason = "certificate_expired"
	ReasonCertificateRevoked   Reason = "certificate_revoked"
	ReasonCertificateUntrusted Reason = "certificate_untrusted"
	ReasonCertificateRequired  Reason = "certificate_required"
	ReasonDeviceDisabled       Reason = "device_disabled"
	ReasonDeviceDeleted        Reason = "device_deleted"
	ReasonTooManyAttempts      Reason = "too_many_attempts"
	ReasonSessionEnded         Reason = "session_ended" // by an operator

	// Who are you, person?
	ReasonUnknownUser   Reason = "unknown_user"
	ReasonWrongPassword Reason = "wrong_password"
	ReasonUserDisabled  Reason = "user_disabled"
	ReasonSetUpToken    Reason = "setup_token"
	ReasonTokenExpired  Reason = "token_expired"
	ReasonTokenInvalid  Reason = "token_invalid"

	// May you?
	ReasonDomainUnknown   Reason = "domain_unknown"
	ReasonDomainDisabled  Reason = "domain_disabled"
	ReasonDomainFrozen    Reason = "domain_frozen"
	ReasonForeignDomain   Reason = "foreign_domain"
	ReasonChannelUnknown  Reason = "channel_unknown"
	ReasonChannelDisabled Reason = "channel_disabled"
	ReasonNotConnected    Reason = "not_connected"
	ReasonRightMissing    Reason = "right_missing"
	ReasonRole            Reason = "role_too_low"

	// Can it be carried?
	ReasonInvalidTopic   Reason = "invalid_topic"
	ReasonInvalidContent Reason = "invalid_content"
	ReasonTooLarge       Reason = "too_large"
	ReasonMalformed      Reason = "malformed"
	ReasonLimited        Reason = "limited"
	ReasonUnavailable    Reason = "unavailable"
	ReasonInternal       Reason = "internal"
)
