package pages

import "github.com/postern-io/postern/registry"

// whys say, for a person, why a device was refused and what to do next.
var whys = map[registry.Reason]string{
	registry.ReasonNoCredential:         "It showed neither a secret nor a certificate. Configure one of them.",
	registry.ReasonUnknownDevice:        "No device has the id that it named. Compare it with the list.",
	registry.ReasonWrongSecret:          "Its secret is not the right one. Give it the present one, or make a new one.",
	registry.ReasonSecretExpired:        "Its old secret has ended. Give it the new one.",
	registry.ReasonSecretRevoked:        "Its secret was replaced. Give it the new one.",
	registry.ReasonConflictingEvidence:  "What it showed names different devices. Let it show one identity.",
	registry.ReasonAmbiguousCredential:  "What it showed fits several devices. Give each its own.",
	registry.ReasonUnknownCertificate:   "Its certificate names no device here. Issue one to it.",
	registry.ReasonCertificateExpired:   "Its certificate has ended. Renew it.",
	registry.ReasonCertificateRevoked:   "Its certificate was revoked. Issue a new one if it may come back.",
	registry.ReasonCertificateUntrusted: "Nobody trusted here vouches for its certificate. Import the authority, or issue one here.",
	registry.ReasonCertificateRequired:  "This server wants a certificate. Issue one to it.",
	registry.ReasonCertificateTooLong:   "Its certificate lives longer than its authority may give here. Have a shorter one issued.",
	registry.ReasonListStale:            "The revocation list of its authority is too old. Bring a new list.",
	registry.ReasonForeignAuthority:     "It belongs to another imported authority. Bind it to the one it uses.",
	registry.ReasonDevicePending:        "It waits for approval. Enable it if it is yours.",
	registry.ReasonTooManyPending:       "Too many devices of its authority wait for approval. Decide about those first.",
	registry.ReasonDeviceDisabled:       "The device is disabled. Enable it to let it in.",
	registry.ReasonDeviceDeleted:        "The device was deleted.",
	registry.ReasonTooManyAttempts:      "It tried too often with something wrong. It may try again in a while.",
	registry.ReasonSessionEnded:         "Somebody disconnected it. It may come back.",
	registry.ReasonClaimUnknown:         "Its claim token is unknown. Make a new one.",
	registry.ReasonClaimUsed:            "Its claim token was used before. Make a new one.",
	registry.ReasonClaimExpired:         "Its claim token has ended. Make a new one.",
	registry.ReasonDomainUnknown:        "The topic names a domain that there is not. Correct the topic.",
	registry.ReasonDomainDisabled:       "The domain is disabled. Enable it to go on.",
	registry.ReasonDomainFrozen:         "The domain is frozen. An administrator of the platform can thaw it.",
	registry.ReasonForeignDomain:        "The topic is in another domain. A device stays in its own.",
	registry.ReasonChannelUnknown:       "The topic names a channel that there is not. Correct the topic, or create the channel.",
	registry.ReasonChannelDisabled:      "The channel is disabled. Enable it to go on.",
	registry.ReasonNotConnected:         "The device is not connected to that channel. Connect it.",
	registry.ReasonRightMissing:         "It is connected to that channel without this right. Give it the right.",
	registry.ReasonRole:                 "The role is too low for this.",
	registry.ReasonInvalidTopic:         "That is no topic here. Topics look like m/DOMAIN/c/CHANNEL, without wildcards when publishing.",
	registry.ReasonInvalidContent:       "The message is not what its content type says. Correct the program on the device.",
	registry.ReasonTooLarge:             "The message is too large. Send less at once.",
	registry.ReasonMalformed:            "It does not speak the protocol as it should. Correct the program on the device.",
	registry.ReasonLimited:              "It does too much at once: sessions, or messages that it does not read. Slow it down.",
	registry.ReasonUnavailable:          "The database or the bus was away. It may try again.",
	registry.ReasonInternal:             "Something went wrong here. The log has more.",
}

// why is a reason in words, or the reason itself.
func why(reason string) string {
	if text := whys[registry.Reason(reason)]; text != "" {
		return text
	}
	return reason
}
