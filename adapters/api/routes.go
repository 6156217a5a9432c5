package api

import (
	"context"

	"github.com/postern-io/postern/authz"
)

// What a route needs beside the actions of authz.
const (
	anybody  authz.Action = "anybody"   // no token
	signedIn authz.Action = "signed in" // any token; the handler looks further
)

// A route is one operation of the API.
type route struct {
	method, pattern string
	need            authz.Action
	do              func(*Server, context.Context, *call) (answer, error)
	rules           rule
}

// A rule is what is special about who may use a route.
type rule uint8

const (
	orSelf         rule = 1 << iota // {user} is the caller: allowed whatever the role
	fresh                           // only a short time after signing in (C52)
	beforePassword                  // open though the password must be changed first
	beforeFactor                    // open though a second factor must be enrolled first
	seedForm                        // errors look as the seed's clients know them, and the key of the application is asked for
	oauthForm                       // errors look as RFC 6749 §5.2 has them
)

// routes is all of the API. openapi.yaml describes the same.
var routes = []route{
	{"GET", "/openapi.yaml", anybody, (*Server).viewSpecification, 0},

	{"POST", "/users", anybody, (*Server).registerUser, 0}, // strangers when SelfRegister is on
	{"GET", "/users", authz.UserList, (*Server).listUsers, 0},
	{"GET", "/users/profile", signedIn, (*Server).viewProfile, beforePassword | beforeFactor},
	{"GET", "/users/search", signedIn, (*Server).searchUsers, 0},
	{"PATCH", "/users/secret", signedIn, (*Server).changePassword, beforePassword | beforeFactor},
	{"GET", "/users/sessions", signedIn, (*Server).listSessions, 0},
	{"DELETE", "/users/sessions/{session}", signedIn, (*Server).endSession, 0},
	{"GET", "/users/identities", signedIn, (*Server).listIdentities, 0},
	{"POST", "/users/identities/unlink", signedIn, (*Server).unlinkIdentity, fresh},
	{"DELETE", "/users/sessions", signedIn, (*Server).endSessions, beforePassword | beforeFactor},
	{"POST", "/users/keys", signedIn, (*Server).createAPIKey, fresh},
	{"GET", "/users/keys", signedIn, (*Server).listAPIKeys, 0},
	{"DELETE", "/users/keys/{key}", signedIn, (*Server).revokeAPIKey, 0},
	{"GET", "/audit", authz.AuditView, (*Server).listAudit, 0},
	{"GET", "/audit/{event}", authz.AuditView, (*Server).viewAudit, 0},
	{"GET", "/config", anybody, (*Server).viewConfig, 0},
	{"GET", "/settings/authentication", authz.SettingsView, (*Server).viewAuthentication, 0},
	{"PATCH", "/settings/authentication", authz.SettingsChange, (*Server).changeAuthentication, fresh},
	{"POST", "/settings/authentication/test", authz.SettingsChange, (*Server).testAuthentication, fresh},
	{"POST", "/sessions", anybody, (*Server).createSeedSession, seedForm},
	{"GET", "/sessions/{session}", signedIn, (*Server).viewSeedSession, seedForm | beforePassword | beforeFactor},
	{"PUT", "/sessions/{session}", signedIn, (*Server).leaveSeedSession, seedForm | beforePassword | beforeFactor},
	{"DELETE", "/sessions/{session}", signedIn, (*Server).leaveSeedSession, seedForm | beforePassword | beforeFactor},
	{"POST", "/users/tokens/issue", anybody, (*Server).issueToken, 0},
	{"POST", "/users/tokens/refresh", anybody, (*Server).refreshToken, 0},
	{"POST", "/users/tokens/revoke", anybody, (*Server).revokeToken, 0},
	{"POST", "/users/tokens/second-factor", anybody, (*Server).showFactor, 0}, // the ticket says who
	{"POST", "/users/tokens/second-factor/passkey", anybody, (*Server).challengePasskey, 0},
	{"GET", "/users/factors", signedIn, (*Server).listFactors, beforeFactor},
	{"POST", "/users/factors/totp", signedIn, (*Server).beginTOTP, fresh | beforeFactor},
	{"POST", "/users/factors/totp/confirm", signedIn, (*Server).confirmTOTP, fresh | beforeFactor},
	{"DELETE", "/users/factors/totp", signedIn, (*Server).deleteTOTP, fresh | beforeFactor},
	{"POST", "/users/factors/recovery-codes", signedIn, (*Server).renewRecoveryCodes, fresh | beforeFactor},
	{"POST", "/users/factors/passkeys", signedIn, (*Server).beginPasskey, fresh | beforeFactor},
	{"POST", "/users/factors/passkeys/confirm", signedIn, (*Server).confirmPasskey, fresh | beforeFactor},
	{"DELETE", "/users/factors/passkeys/{passkey}", signedIn, (*Server).deletePasskey, fresh | beforeFactor},
	{"POST", "/users/{user}/factors/reset", authz.UserState, (*Server).resetFactors, fresh},
	{"GET", "/users/{user}", authz.UserView, (*Server).viewUser, orSelf},
	{"PATCH", "/users/{user}", authz.UserUpdate, (*Server).updateUser, orSelf},
	{"PATCH", "/users/{user}/username", authz.UserUpdate, (*Server).updateUsername, orSelf},
	{"PATCH", "/users/{user}/email", authz.UserUpdate, (*Server).updateEmail, orSelf | fresh},
	{"PATCH", "/users/{user}/tags", authz.UserUpdate, (*Server).updateUserTags, orSelf},
	{"PATCH", "/users/{user}/picture", authz.UserUpdate, (*Server).updatePicture, orSelf},
	{"PATCH", "/users/{user}/role", authz.UserRole, (*Server).updateUserRole, 0},
	{"POST", "/users/{user}/enable", authz.UserState, (*Server).enableUser, 0},
	{"POST", "/users/{user}/disable", authz.UserState, (*Server).disableUser, 0},
	{"DELETE", "/users/{user}", authz.UserDelete, (*Server).deleteUser, 0},
	{"POST", "/setup", anybody, (*Server).setUp, 0}, // the token says who
	{"POST", "/password/reset-request", anybody, (*Server).requestPasswordReset, 0},
	{"PUT", "/password/reset", anybody, (*Server).resetPassword, 0},               // the key says who
	{"POST", "/users/verify-email", anybody, (*Server).verifyEmail, 0},            // the same
	{"POST", "/users/invitations/accept", anybody, (*Server).acceptInvitation, 0}, // the same
	{"POST", "/users/tokens/recover", anybody, (*Server).recoverToken, 0},         // the same
	{"POST", "/users/{user}/invite", authz.UserUpdate, (*Server).inviteUser, 0},
	{"PATCH", "/users/{user}/secret", authz.UserUpdate, (*Server).setPassword, fresh},

	{"POST", "/domains", authz.DomainCreate, (*Server).createDomain, 0},
	{"GET", "/domains", signedIn, (*Server).listDomains, 0}, // the caller's
	{"GET", "/domains/{domain}", authz.DomainView, (*Server).viewDomain, 0},
	{"PATCH", "/domains/{domain}", authz.DomainUpdate, (*Server).updateDomain, 0},
	{"DELETE", "/domains/{domain}", authz.DomainDelete, (*Server).deleteDomain, 0},
	{"POST", "/domains/{domain}/enable", authz.DomainState, (*Server).enableDomain, 0},
	{"POST", "/domains/{domain}/disable", authz.DomainState, (*Server).disableDomain, 0},
	{"POST", "/domains/{domain}/freeze", authz.DomainFreeze, (*Server).freezeDomain, 0},
	{"GET", "/domains/{domain}/members", authz.MemberView, (*Server).listMembers, 0},
	{"POST", "/domains/{domain}/members", authz.MemberAdd, (*Server).addMember, 0},
	{"PATCH", "/domains/{domain}/members/{user}", authz.MemberUpdate, (*Server).updateMember, 0},
	{"DELETE", "/domains/{domain}/members/{user}", authz.MemberRemove, (*Server).removeMember, 0},

	{"POST", "/{domain}/clients", authz.ClientCreate, (*Server).createClient, 0},
	{"POST", "/{domain}/clients/bulk", authz.ClientCreate, (*Server).createClients, 0},
	{"GET", "/{domain}/clients", authz.ClientView, (*Server).listClients, 0},
	{"GET", "/{domain}/clients/{client}", authz.ClientView, (*Server).viewClient, 0},
	{"PATCH", "/{domain}/clients/{client}", authz.ClientUpdate, (*Server).updateClient, 0},
	{"PATCH", "/{domain}/clients/{client}/tags", authz.ClientUpdate, (*Server).updateClientTags, 0},
	{"PATCH", "/{domain}/clients/{client}/secret", authz.ClientSecret, (*Server).rotateSecret, 0},
	{"GET", "/{domain}/clients/{client}/secrets", authz.ClientView, (*Server).listSecrets, 0},
	{"DELETE", "/{domain}/clients/{client}/secrets/{secret}", authz.ClientSecret, (*Server).endSecret, 0},
	{"POST", "/{domain}/clients/{client}/certs", authz.ClientSecret, (*Server).issueCertificate, 0},
	{"GET", "/{domain}/health", authz.ClientView, (*Server).viewHealth, 0},
	{"GET", "/{domain}/traffic", authz.DomainView, (*Server).viewTraffic, 0},
	{"GET", "/{domain}/refusals", authz.ClientSessions, (*Server).listRefusals, 0},
	{"GET", "/{domain}/clients/{client}/refusals", authz.ClientSessions, (*Server).listClientRefusals, 0},
	{"GET", "/{domain}/certs", authz.ClientView, (*Server).listCertificates, 0},
	{"GET", "/{domain}/certs/{certificate}", authz.ClientView, (*Server).viewCertificate, 0},
	{"POST", "/{domain}/certs/{certificate}/revoke", authz.ClientSecret, (*Server).revokeCertificate, 0},
	{"POST", "/{domain}/certs/{certificate}/release", authz.ClientSecret, (*Server).releaseCertificate, 0},
	{"POST", "/{domain}/claims", authz.ClientCreate, (*Server).createClaims, 0},
	{"GET", "/{domain}/claims", authz.ClientView, (*Server).listClaims, 0},
	{"DELETE", "/{domain}/claims/{claim}", authz.ClientCreate, (*Server).deleteClaim, 0},
	{"POST", "/claim", anybody, (*Server).claim, 0}, // the token says who
	{"POST", "/{domain}/authorities", authz.AuthorityManage, (*Server).importAuthority, 0},
	{"GET", "/{domain}/authorities", authz.AuthorityView, (*Server).listAuthorities, 0},
	{"GET", "/{domain}/authorities/{authority}", authz.AuthorityView, (*Server).viewAuthority, 0},
	{"PATCH", "/{domain}/authorities/{authority}", authz.AuthorityManage, (*Server).updateAuthority, 0}, // crl_url: of the platform
	{"DELETE", "/{domain}/authorities/{authority}", authz.AuthorityManage, (*Server).deleteAuthority, 0},
	{"POST", "/{domain}/authorities/{authority}/prove", authz.AuthorityManage, (*Server).proveAuthority, 0},
	{"POST", "/{domain}/authorities/{authority}/override", authz.AuthorityOverride, (*Server).overrideProof, 0},
	{"POST", "/{domain}/authorities/{authority}/enable", authz.AuthorityManage, (*Server).enableAuthority, 0},
	{"POST", "/{domain}/authorities/{authority}/disable", authz.AuthorityManage, (*Server).disableAuthority, 0},
	{"POST", "/{domain}/authorities/{authority}/crl", authz.AuthorityManage, (*Server).putList, 0},
	{"GET", "/{domain}/authorities/{authority}/principals", authz.AuthorityView, (*Server).listPrincipals, 0},
	{"POST", "/{domain}/authorities/{authority}/principals", authz.PrincipalBind, (*Server).bindPrincipal, 0},
	{"DELETE", "/{domain}/authorities/{authority}/principals/{principal}", authz.PrincipalBind, (*Server).unbindPrincipal, 0},
	{"POST", "/{domain}/clients/{client}/enable", authz.ClientState, (*Server).enableClient, 0},
	{"POST", "/{domain}/clients/{client}/disable", authz.ClientState, (*Server).disableClient, 0},
	{"DELETE", "/{domain}/clients/{client}", authz.ClientDelete, (*Server).deleteClient, 0},
	{"GET", "/{domain}/clients/{client}/sessions", authz.ClientSessions, (*Server).listClientSessions, 0},
	{"DELETE", "/{domain}/clients/{client}/sessions/{session}", authz.ClientKick, (*Server).endClientSession, 0},
	{"GET", "/{domain}/clients/{client}/connections", authz.ClientView, (*Server).listClientConnections, 0},

	{"POST", "/{domain}/channels", authz.ChannelCreate, (*Server).createChannel, 0},
	{"POST", "/{domain}/channels/bulk", authz.ChannelCreate, (*Server).createChannels, 0},
	{"GET", "/{domain}/channels", authz.ChannelView, (*Server).listChannels, 0},
	{"GET", "/{domain}/channels/{channel}", authz.ChannelView, (*Server).viewChannel, 0},
	{"PATCH", "/{domain}/channels/{channel}", authz.ChannelUpdate, (*Server).updateChannel, 0},
	{"PATCH", "/{domain}/channels/{channel}/tags", authz.ChannelUpdate, (*Server).updateChannelTags, 0},
	{"POST", "/{domain}/channels/{channel}/enable", authz.ChannelState, (*Server).enableChannel, 0},
	{"POST", "/{domain}/channels/{channel}/disable", authz.ChannelState, (*Server).disableChannel, 0},
	{"DELETE", "/{domain}/channels/{channel}", authz.ChannelDelete, (*Server).deleteChannel, 0},
	{"GET", "/{domain}/channels/{channel}/connections", authz.ChannelView, (*Server).listChannelConnections, 0},
	{"GET", "/{domain}/channels/{channel}/messages", authz.Listen, (*Server).listenChannel, 0},
	{"POST", "/{domain}/channels/{channel}/messages", authz.Speak, (*Server).publishMessage, 0},
	{"GET", "/{domain}/connections", authz.ClientView, (*Server).listMatrix, 0},
	{"PATCH", "/{domain}/connections", authz.Connect, (*Server).setConnections, 0}, // whoever may connect may disconnect

	{"POST", "/{domain}/channels/connect", authz.Connect, (*Server).connect, 0},
	{"POST", "/{domain}/channels/disconnect", authz.Disconnect, (*Server).disconnect, 0},
	{"POST", "/{domain}/channels/{channel}/connect", authz.Connect, (*Server).connectChannel, 0},
	{"POST", "/{domain}/channels/{channel}/disconnect", authz.Disconnect, (*Server).disconnectChannel, 0},

	{"POST", "/{domain}/explain", authz.Explain, (*Server).explain, 0},
}

// oauthRoute is the one path that is not below /api.
var oauthRoute = route{"POST", "/oauth2/token", anybody, (*Server).oauthToken, oauthForm}
