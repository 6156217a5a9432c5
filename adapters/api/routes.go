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
	orSelf          bool // {user} is the caller: allowed whatever the role
}

// routes is all of the API. openapi.yaml describes the same.
var routes = []route{
	{"GET", "/openapi.yaml", anybody, (*Server).viewSpecification, false},

	{"POST", "/users", anybody, (*Server).registerUser, false}, // strangers when SelfRegister is on
	{"GET", "/users", authz.UserList, (*Server).listUsers, false},
	{"GET", "/users/profile", signedIn, (*Server).viewProfile, false},
	{"GET", "/users/search", signedIn, (*Server).searchUsers, false},
	{"PATCH", "/users/secret", signedIn, (*Server).changePassword, false},
	{"GET", "/users/sessions", signedIn, (*Server).listSessions, false},
	{"DELETE", "/users/sessions/{session}", signedIn, (*Server).endSession, false},
	{"POST", "/users/tokens/issue", anybody, (*Server).issueToken, false},
	{"POST", "/users/tokens/refresh", anybody, (*Server).refreshToken, false},
	{"POST", "/users/tokens/revoke", anybody, (*Server).revokeToken, false},
	{"GET", "/users/{user}", authz.UserView, (*Server).viewUser, true},
	{"PATCH", "/users/{user}", authz.UserUpdate, (*Server).updateUser, true},
	{"PATCH", "/users/{user}/username", authz.UserUpdate, (*Server).updateUsername, true},
	{"PATCH", "/users/{user}/email", authz.UserUpdate, (*Server).updateEmail, true},
	{"PATCH", "/users/{user}/tags", authz.UserUpdate, (*Server).updateUserTags, true},
	{"PATCH", "/users/{user}/picture", authz.UserUpdate, (*Server).updatePicture, true},
	{"PATCH", "/users/{user}/role", authz.UserRole, (*Server).updateUserRole, false},
	{"POST", "/users/{user}/enable", authz.UserState, (*Server).enableUser, false},
	{"POST", "/users/{user}/disable", authz.UserState, (*Server).disableUser, false},
	{"DELETE", "/users/{user}", authz.UserDelete, (*Server).deleteUser, false},
	{"POST", "/setup", anybody, (*Server).setUp, false}, // the token says who
	{"POST", "/password/reset-request", anybody, (*Server).requestPasswordReset, false},
	{"PUT", "/password/reset", anybody, (*Server).resetPassword, false},

	{"POST", "/domains", authz.DomainCreate, (*Server).createDomain, false},
	{"GET", "/domains", signedIn, (*Server).listDomains, false}, // the caller's
	{"GET", "/domains/{domain}", authz.DomainView, (*Server).viewDomain, false},
	{"PATCH", "/domains/{domain}", authz.DomainUpdate, (*Server).updateDomain, false},
	{"DELETE", "/domains/{domain}", authz.DomainDelete, (*Server).deleteDomain, false},
	{"POST", "/domains/{domain}/enable", authz.DomainState, (*Server).enableDomain, false},
	{"POST", "/domains/{domain}/disable", authz.DomainState, (*Server).disableDomain, false},
	{"POST", "/domains/{domain}/freeze", authz.DomainFreeze, (*Server).freezeDomain, false},
	{"GET", "/domains/{domain}/members", authz.MemberView, (*Server).listMembers, false},
	{"POST", "/domains/{domain}/members", authz.MemberAdd, (*Server).addMember, false},
	{"PATCH", "/domains/{domain}/members/{user}", authz.MemberUpdate, (*Server).updateMember, false},
	{"DELETE", "/domains/{domain}/members/{user}", authz.MemberRemove, (*Server).removeMember, false},

	{"POST", "/{domain}/clients", authz.ClientCreate, (*Server).createClient, false},
	{"POST", "/{domain}/clients/bulk", authz.ClientCreate, (*Server).createClients, false},
	{"GET", "/{domain}/clients", authz.ClientView, (*Server).listClients, false},
	{"GET", "/{domain}/clients/{client}", authz.ClientView, (*Server).viewClient, false},
	{"PATCH", "/{domain}/clients/{client}", authz.ClientUpdate, (*Server).updateClient, false},
	{"PATCH", "/{domain}/clients/{client}/tags", authz.ClientUpdate, (*Server).updateClientTags, false},
	{"PATCH", "/{domain}/clients/{client}/secret", authz.ClientSecret, (*Server).rotateSecret, false},
	{"POST", "/{domain}/clients/{client}/certs", authz.ClientSecret, (*Server).issueCertificate, false},
	{"POST", "/{domain}/clients/{client}/enable", authz.ClientState, (*Server).enableClient, false},
	{"POST", "/{domain}/clients/{client}/disable", authz.ClientState, (*Server).disableClient, false},
	{"DELETE", "/{domain}/clients/{client}", authz.ClientDelete, (*Server).deleteClient, false},
	{"GET", "/{domain}/clients/{client}/sessions", authz.ClientSessions, (*Server).listClientSessions, false},
	{"DELETE", "/{domain}/clients/{client}/sessions/{session}", authz.ClientKick, (*Server).endClientSession, false},
	{"GET", "/{domain}/clients/{client}/connections", authz.ClientView, (*Server).listClientConnections, false},

	{"POST", "/{domain}/channels", authz.ChannelCreate, (*Server).createChannel, false},
	{"POST", "/{domain}/channels/bulk", authz.ChannelCreate, (*Server).createChannels, false},
	{"GET", "/{domain}/channels", authz.ChannelView, (*Server).listChannels, false},
	{"GET", "/{domain}/channels/{channel}", authz.ChannelView, (*Server).viewChannel, false},
	{"PATCH", "/{domain}/channels/{channel}", authz.ChannelUpdate, (*Server).updateChannel, false},
	{"PATCH", "/{domain}/channels/{channel}/tags", authz.ChannelUpdate, (*Server).updateChannelTags, false},
	{"POST", "/{domain}/channels/{channel}/enable", authz.ChannelState, (*Server).enableChannel, false},
	{"POST", "/{domain}/channels/{channel}/disable", authz.ChannelState, (*Server).disableChannel, false},
	{"DELETE", "/{domain}/channels/{channel}", authz.ChannelDelete, (*Server).deleteChannel, false},
	{"GET", "/{domain}/channels/{channel}/connections", authz.ChannelView, (*Server).listChannelConnections, false},

	{"POST", "/{domain}/channels/connect", authz.Connect, (*Server).connect, false},
	{"POST", "/{domain}/channels/disconnect", authz.Disconnect, (*Server).disconnect, false},
	{"POST", "/{domain}/channels/{channel}/connect", authz.Connect, (*Server).connectChannel, false},
	{"POST", "/{domain}/channels/{channel}/disconnect", authz.Disconnect, (*Server).disconnectChannel, false},

	{"POST", "/{domain}/explain", authz.Explain, (*Server).explain, false},
}
