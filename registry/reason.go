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
	ReasonCertificateTooLong   Reason = "certificate_too_long"  // its life is longer than its imported authority may give
	ReasonListStale            Reason = "revocation_list_stale" // of an imported authority, which refuses then
	ReasonForeignAuthority     Reason = "foreign_authority"     // the device is another imported authority's
	ReasonDevicePending        Reason = "device_pending"        // came with a factory's certificate, waits for approval
	ReasonTooManyPending       Reason = "too_many_pending"      // devices of that authority wait
	ReasonDeviceDisabled       Reason = "device_disabled"
	ReasonDeviceDeleted        Reason = "device_deleted"
	ReasonTooManyAttempts      Reason = "too_many_attempts"
	ReasonSessionEnded         Reason = "session_ended" // by an operator

	// May you become a device?
	ReasonClaimUnknown Reason = "claim_unknown"
	ReasonClaimUsed    Reason = "claim_used"
	ReasonClaimExpired Reason = "claim_expired"

	// Who are you, person?
	ReasonUnknownUser   Reason = "unknown_user"
	ReasonWrongPassword Reason = "wrong_password"
	ReasonUserDisabled  Reason = "user_disabled"
	ReasonSetUpToken    Reason = "setup_token"
	ReasonTokenExpired  Reason = "token_expired"
	ReasonTokenReused   Reason = "token_reused" // a refresh token that was used before: its session ends
	ReasonTokenInvalid  Reason = "token_invalid"

	// What did the provider say?
	ReasonNotProvisioned      Reason = "not_provisioned"       // no account, and none is made by itself
	ReasonNotAuthorized       Reason = "not_authorized"        // the provider says who, not that they may come in
	ReasonNoMappedRole        Reason = "no_mapped_role"        // strict mapping, and no group has a role
	ReasonLinkRequired        Reason = "link_required"         // the e-mail address is another account's
	ReasonEmailMissing        Reason = "email_missing"         // the assertion has no e-mail address
	ReasonSubjectMissing      Reason = "subject_missing"       // the assertion does not say who
	ReasonAssertionInvalid    Reason = "assertion_invalid"     // signature, issuer, audience, nonce, form
	ReasonAssertionExpired    Reason = "assertion_expired"     // too old, or from the future
	ReasonAssertionReplayed   Reason = "assertion_replayed"    // seen before
	ReasonAssertionUnexpected Reason = "assertion_unsolicited" // nobody asked for it in this browser
	ReasonFlowUnknown         Reason = "flow_unknown"          // state is not ours, used, too old, or another browser's
	ReasonProviderRefused     Reason = "provider_refused"      // the provider answered with an error
	ReasonProviderUnavailable Reason = "provider_unavailable"
	ReasonAmbiguousUser       Reason = "ambiguous_user"    // the directory has several entries of that name
	ReasonProxyUntrusted      Reason = "proxy_untrusted"   // identity headers from a peer that is no trusted proxy
	ReasonHeaderMissing       Reason = "header_missing"    // the proxy named nobody
	ReasonHeaderInvalid       Reason = "header_invalid"    // twice, too long, or not text
	ReasonPasswordDisabled    Reason = "password_disabled" // signing in by password is switched off
	ReasonPasswordMustChange  Reason = "password_change"   // only the change of the password is open
	ReasonLoopbackOnly        Reason = "loopback_only"     // a well-known password, from elsewhere
	ReasonSecondFactor        Reason = "second_factor"     // asked for
	ReasonSecondFactorWrong   Reason = "second_factor_wrong"
	ReasonSecondFactorEnrol   Reason = "second_factor_enrol" // only enrolling one is open
	ReasonKeyInvalid          Reason = "key_invalid"         // a recovery, verification, invitation or API key: unknown, used or expired
	ReasonSessionRequired     Reason = "session_required"    // a program with an API key asks for what only a person may
	ReasonReauthenticate      Reason = "reauthenticate"      // the sign-in is too long ago for this

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
