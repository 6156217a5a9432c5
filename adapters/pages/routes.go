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
	{"GET /domains/{domain}/channels", listChannels, false},
	{"POST /domains/{domain}/channels", createChannel, false},

	{"GET /settings", settings, false},
	{"GET /settings/workspace/users", listPeople, false},
	{"POST /settings/workspace/users", addPerson, false},
	{"GET /settings/workspace/users/{user}", showPerson, false},
	{"POST /settings/workspace/users/{user}/{act}", changePerson, false},
	{"GET /settings/authentication", showAuthentication, false},
	{"GET /settings/audit", listAudit, false},
	{"GET /settings/audit/{event}", showEvent, false},
	{"GET /settings/account", showAccount, false},
	{"POST /settings/account/{act}", changeAccount, false},
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
