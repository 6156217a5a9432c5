package pages

// A route is one page, or one thing that is done from it.
type route struct {
	pattern string
	do      func(*visit) error
	stream  bool // goes on until the browser leaves
}

// routes is all of the door.
var routes = []route{
	{"GET /{$}", home, false},
	{"GET /domains", listDomains, false},
	{"POST /domains", createDomain, false},
	{"GET /domains/{domain}", showOverview, false},
	{"GET /domains/{domain}/live", liveOverview, true},
	{"GET /domains/{domain}/health", showHealth, false},
	{"GET /domains/{domain}/refusals", showRefusals, false},
	{"GET /domains/{domain}/devices/{device}/live", onDevice(liveDevice), true},
	{"GET /domains/{domain}/channels", listChannels, false},
	{"POST /domains/{domain}/channels", createChannel, false},
	{"GET /domains/{domain}/channels/{channel}", onChannel(showChannel), false},
	{"POST /domains/{domain}/channels/{channel}/edit", onChannel(editChannel), false},
	{"POST /domains/{domain}/channels/{channel}/state", onChannel(stateChannel), false},
	{"POST /domains/{domain}/channels/{channel}/connect", onChannel(connectChannel), false},
	{"POST /domains/{domain}/channels/{channel}/may", onChannel(linkChannel), false},
	{"POST /domains/{domain}/channels/{channel}/delete", onChannel(deleteChannel), false},
	{"GET /domains/{domain}/channels/{channel}/live", onChannel(showLive), false},
	{"POST /domains/{domain}/channels/{channel}/publish", onChannel(publishMessage), false},
	{"GET /domains/{domain}/connections", showMatrix, false},
	{"POST /domains/{domain}/connections", changeMatrix, false},
	{"GET /domains/{domain}/members", listMembers, false},
	{"POST /domains/{domain}/members", addMember, false},
	{"POST /domains/{domain}/members/{user}/{act}", changeMember, false},
	{"GET /domains/{domain}/authorities", listAuthorities, false},
	{"POST /domains/{domain}/authorities", importAuthority, false},
	{"GET /domains/{domain}/authorities/{authority}", showAuthority, false},
	{"POST /domains/{domain}/authorities/{authority}/{act}", changeAuthority, false},
	{"GET /domains/{domain}/settings", showDomain, false},
	{"POST /domains/{domain}/settings/{act}", changeDomain, false},

	{"GET /settings", settings, false},
	{"GET /settings/workspace/users", listPeople, false},
	{"POST /settings/workspace/users", addPerson, false},
	{"GET /settings/workspace/users/{user}", showPerson, false},
	{"POST /settings/workspace/users/{user}/{act}", changePerson, false},
	{"GET /settings/authentication", showAuthentication, false},
	{"GET /settings/authentication/{way}", showWay, false},
	{"POST /settings/authentication/{way}", changeWay, false},
	{"POST /settings/authentication/{way}/{act}", changeWay, false},
	{"GET /settings/audit", listAudit, false},
	{"GET /settings/audit/{event}", showEvent, false},
	{"GET /settings/account", showAccount, false},
	{"POST /settings/account/{act}", changeAccount, false},

	{"GET /domains/{domain}/devices", listDevices, false},
	{"POST /domains/{domain}/devices", createDevice, false},
	{"POST /domains/{domain}/devices/bulk", bulkDevices, false},
	{"GET /domains/{domain}/devices/export", exportDevices, true},
	{"GET /domains/{domain}/devices/import", askImport, false},
	{"POST /domains/{domain}/devices/import", importDevices, true},
	{"GET /domains/{domain}/devices/claims", listClaims, false},
	{"POST /domains/{domain}/devices/claims", createClaims, false},
	{"POST /domains/{domain}/devices/claims/{claim}/delete", deleteClaim, false},
	{"GET /domains/{domain}/devices/{device}", onDevice(showDevice), false},
	{"POST /domains/{domain}/devices/{device}/edit", onDevice(editDevice), false},
	{"POST /domains/{domain}/devices/{device}/state", onDevice(stateDevice), false},
	{"POST /domains/{domain}/devices/{device}/secret", onDevice(rotateSecret), false},
	{"POST /domains/{domain}/devices/{device}/secrets/{secret}/end", onDevice(endSecret), false},
	{"POST /domains/{domain}/devices/{device}/connect", onDevice(connectDevice), false},
	{"POST /domains/{domain}/devices/{device}/disconnect", onDevice(disconnectDevice), false},
	{"POST /domains/{domain}/devices/{device}/end", onDevice(endSession), false},
	{"POST /domains/{domain}/devices/{device}/delete", onDevice(deleteDevice), false},
	{"POST /domains/{domain}/devices/{device}/certs", onDevice(issueCertificate), false},
	{"GET /domains/{domain}/devices/{device}/certs/{certificate}", onDevice(downloadCertificate), false},
	{"POST /domains/{domain}/devices/{device}/certs/{certificate}/revoke", onDevice(revokeCertificate), false},
	{"POST /domains/{domain}/devices/{device}/certs/{certificate}/release", onDevice(releaseCertificate), false},
	{"GET /domains/{domain}/explain", askExplain, false},
	{"POST /domains/{domain}/explain", explain, false},
	{"POST /download", download, false},
}

// entrances are the pages of who is not signed in (yet).
var entrances = []route{
	{"GET /recover", showRecovery, false},
	{"POST /recover", requestRecovery, false},
	{"POST /recover/password", recoverPassword, false},
	{"GET /invite", showInvitation, false},
	{"POST /invite", acceptInvitation, false},
	{"GET /verify-email", showVerification, false},
	{"POST /verify-email", verifyEmail, false},
	{"GET /setup", showSetUp, false},
	{"POST /setup", setUp, false},
}

// Patterns returns the paths of this door, as http.ServeMux takes them.
func Patterns() []string {
	all := []string{"GET /assets/{name}"}
	for _, rt := range append(routes[:len(routes):len(routes)], entrances...) {
		all = append(all, rt.pattern)
	}
	return all
}
