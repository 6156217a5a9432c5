package pages

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/registry"
)

const peoplePath = "/settings/workspace/users"

// A roleOption is a role that somebody could be given, with the reason why the
// caller may not give it.
type roleOption struct {
	Name, Does, Why  string
	Chosen, Disabled bool
}

// roles are all that there are, as the caller may give them. why is why none may
// be given, which the button of the form tells.
func (m me) roles(chosen, why string) []roleOption {
	all := []roleOption{
		{Name: "", Does: "none on the platform; a member of domains at most"},
		{Name: "viewer", Does: "reads"},
		{Name: "editor", Does: "reads, creates, changes and deletes"},
		{Name: "admin", Does: "also manages people"},
		{Name: "owner", Does: "everything"},
	}
	for i := range all {
		o := &all[i]
		role, _ := registry.ParseRole(o.Name) // they are above
		o.Chosen = o.Name == chosen
		switch {
		case why != "":
			o.Disabled = true
		case authz.Manage(m.Role, role) != nil:
			o.Why, o.Disabled = "Only an owner gives this role.", true
		}
	}
	return all
}

// whyNotManage tells why the caller may not touch an account of this role; ""
// when they may. The API decides; see me.Why.
func (m me) whyNotManage(role api.Role) string {
	r, err := registry.ParseRole(string(role))
	switch {
	case err != nil, authz.Manage(m.Role, r) == nil:
		return ""
	case m.Role == registry.Admin:
		return "Only an owner changes admins and owners."
	}
	return m.Why("user.update")
}

type peopleView struct {
	listing
	People []user
	Roles  []roleOption
	Mail   bool
}

// Selected marks an option of a filter.
func (l listing) Selected(name, value string) bool { return l.Query.Get(name) == value }

func (v *visit) people() (peopleView, error) {
	view := peopleView{listing: v.listing("name", "min_role", "status"), Roles: v.me.roles(v.r.PostForm.Get("role"), v.me.Why("user.register"))}
	query := view.listing
	if query.Value("status") == "" {
		query.Query = url.Values{"status": {"all"}}
		for name, values := range view.Query {
			query.Query[name] = values
		}
	}
	var all api.UserPage
	if err := v.ask(http.MethodGet, "/users"+query.ask(), nil, &all); err != nil {
		return view, err
	}
	view.People, view.Total = all.Users, all.Total
	c, err := v.config()
	view.Mail = c.Mail
	return view, err
}

func (v *visit) config() (c api.Config, err error) {
	return c, v.ask(http.MethodGet, "/config", nil, &c)
}

func listPeople(v *visit) error {
	view, err := v.people()
	if err != nil {
		return err
	}
	v.showList("users", "people-list", page{Title: "People", Tab: "users", Data: view})
	return nil
}

// addPerson makes an account. How the person gets a password is chosen: by an
// invitation, or one made up here, which is shown once.
func addPerson(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	f := v.r.PostForm
	in := map[string]any{"email": f.Get("email"), "first_name": f.Get("first_name"), "last_name": f.Get("last_name"), "role": f.Get("role")}
	credentials := map[string]string{"username": f.Get("username")}
	if f.Get("how") != "invite" {
		credentials["secret"] = f.Get("password")
		if credentials["secret"] == "" {
			credentials["secret"] = madeUp()
		}
	}
	in["credentials"] = credentials
	var made user
	if err := v.ask(http.MethodPost, "/users", in, &made); err != nil {
		view, e := v.people()
		if e != nil {
			return e
		}
		return v.again(err, "users", page{Title: "People", Tab: "users", Data: view})
	}
	next := peoplePath + "/" + made.ID
	switch {
	case f.Get("how") == "invite":
		v.redirect(next + "?done=invited")
	case f.Get("password") == "":
		return v.showOnce("Password of "+made.Credentials.Username, "users", once{
			Says: "Give this password to its person by a safe way. It is shown this once.", Secret: credentials["secret"],
			After: "The person can choose another one under Account.", Next: next,
		})
	default:
		v.redirect(next + "?done=created")
	}
	return nil
}

// madeUp is a password of 130 random bits, in letters and digits that are not
// mistaken for one another, in groups to be read aloud.
func madeUp() string {
	text := strings.ToLower(rand.Text())
	var groups []string
	for ; len(text) > 5; text = text[5:] {
		groups = append(groups, text[:5])
	}
	return strings.Join(append(groups, text), "-")
}

type personView struct {
	Person     user
	Sessions   []api.Session
	Keys       []api.APIKey
	Identities []api.Identity
	Roles      []roleOption
	Mail       bool

	Why         string // nothing of this person may be changed
	WhyLast     string // the last owner stays
	WhyPassword string
	WhyInvite   string
}

// WhyNot is the first reason that there is.
func (personView) WhyNot(reasons ...string) string {
	for _, why := range reasons {
		if why != "" {
			return why
		}
	}
	return ""
}

func (v *visit) person() (personView, error) {
	var view personView
	id := url.PathEscape(v.r.PathValue("user"))
	if err := v.ask(http.MethodGet, "/users/"+id, nil, &view.Person); err != nil {
		return view, err
	}
	u := view.Person
	view.Why = v.me.whyNotManage(u.Role)
	if u.Role == "owner" && u.Status == "enabled" {
		var owners api.UserPage
		if err := v.ask(http.MethodGet, "/users?min_role=owner&status=enabled&limit=1", nil, &owners); err != nil {
			return view, err
		}
		if owners.Total == 1 {
			view.WhyLast = "This is the last owner; make another one first."
		}
	}
	view.Roles = v.me.roles(string(u.Role), view.WhyNot(view.Why, view.WhyLast))
	c, err := v.config()
	if err != nil {
		return view, err
	}
	view.Mail = c.Mail
	switch {
	case u.ID == v.me.ID:
		view.WhyPassword = "This is you: change your own password under Account."
	case u.Provider != "" && u.Provider != registry.LocalProvider:
		view.WhyPassword = "This person signs in at " + u.Provider + "; the password is kept there."
	}
	switch {
	case !c.Mail:
		view.WhyInvite = "Mail is not configured on this server."
	case u.Email == "":
		view.WhyInvite = "There is no e-mail address to send it to."
	}
	if view.Why != "" && u.ID != v.me.ID { // they are not shown either
		return view, nil
	}
	var sessions api.SessionPage
	var keys api.APIKeyPage
	var links api.IdentityPage
	for path, to := range map[string]any{"sessions": &sessions, "keys": &keys, "identities": &links} {
		if err := v.ask(http.MethodGet, "/users/"+path+"?user="+u.ID, nil, to); err != nil {
			return view, err
		}
	}
	view.Sessions, view.Keys, view.Identities = sessions.Sessions, keys.Keys, links.Identities
	return view, nil
}

func (view personView) page() page {
	return page{Title: view.Person.Credentials.Username, Tab: "users", Data: view}
}

func showPerson(v *visit) error {
	view, err := v.person()
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "user", view.page())
	return nil
}

// An act is something done to the person of a page: it returns the ?done= of the
// page that follows, or "" when it has answered itself.
type act func(v *visit, u user) (done string, err error)

// personActs are the forms of the page of a person.
var personActs = map[string]act{
	"profile":  saveProfile,
	"role":     giveRole,
	"password": givePassword,
	"invite":   inviteAgain,
	"enable": func(v *visit, u user) (string, error) {
		return "enabled", v.ask("POST", "/users/"+u.ID+"/enable", nil, nil)
	},
	"disable": func(v *visit, u user) (string, error) {
		return "disabled", v.ask("POST", "/users/"+u.ID+"/disable", nil, nil)
	},
	"factors":  resetFactors,
	"sessions": endSessions,
	"keys":     revokeKey,
	"delete":   deletePerson,
}

func changePerson(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	do, known := personActs[v.r.PathValue("act")]
	if !known {
		return &Refusal{Status: http.StatusNotFound, Message: "There is no such thing to do here."}
	}
	var u user
	if err := v.ask(http.MethodGet, "/users/"+url.PathEscape(v.r.PathValue("user")), nil, &u); err != nil {
		return err
	}
	v.r.PostForm.Set("act", v.r.PathValue("act"))
	done, err := do(v, u)
	if err != nil {
		view, e := v.person()
		if e != nil {
			return e
		}
		return v.again(err, "user", view.page())
	}
	switch {
	case v.r.PathValue("act") == "delete":
		v.redirect(peoplePath + "?done=deleted")
	case done != "":
		v.redirect(peoplePath + "/" + u.ID + "?done=" + done)
	}
	return nil
}

// saveProfile changes what differs, each by its own question: they are about
// different things, and a new address asks for a fresh sign-in.
func saveProfile(v *visit, u user) (string, error) {
	f := v.r.PostForm
	for _, part := range []struct {
		path    string
		changed bool
		body    map[string]string
	}{
		{"/username", f.Get("username") != u.Credentials.Username, map[string]string{"username": f.Get("username")}},
		{"", f.Get("first_name") != u.FirstName || f.Get("last_name") != u.LastName, map[string]string{"first_name": f.Get("first_name"), "last_name": f.Get("last_name")}},
		{"/email", f.Get("email") != u.Email, map[string]string{"email": f.Get("email")}},
	} {
		if !part.changed {
			continue
		}
		if err := v.ask(http.MethodPatch, "/users/"+u.ID+part.path, part.body, nil); err != nil {
			return "", err
		}
	}
	return "saved", nil
}

func giveRole(v *visit, u user) (string, error) {
	return "saved", v.ask(http.MethodPatch, "/users/"+u.ID+"/role", map[string]string{"role": v.r.PostForm.Get("role")}, nil)
}

func givePassword(v *visit, u user) (string, error) {
	pass, chosen := v.r.PostForm.Get("password"), true
	if pass == "" {
		pass, chosen = madeUp(), false
	}
	err := v.ask(http.MethodPatch, "/users/"+u.ID+"/secret", map[string]string{"new_secret": pass}, nil)
	if err != nil || chosen {
		return "saved", err
	}
	return "", v.showOnce("New password of "+u.Credentials.Username, "users", once{
		Says: "Give this password to its person by a safe way. It is shown this once.", Secret: pass,
		After: "It opens nothing but its own change. All sign-ins of the person have ended.", Next: peoplePath + "/" + u.ID,
	})
}

func inviteAgain(v *visit, u user) (string, error) {
	return "invited", v.ask(http.MethodPost, "/users/"+u.ID+"/invite", nil, nil)
}

func resetFactors(v *visit, u user) (string, error) {
	if err := v.named(u.Credentials.Username); err != nil {
		return "", err
	}
	return "reset", v.ask(http.MethodPost, "/users/"+u.ID+"/factors/reset", nil, nil)
}

// endSessions ends the one that the form names, or all.
func endSessions(v *visit, u user) (string, error) {
	path := "/users/sessions"
	if id := v.r.PostForm.Get("session"); id != "" {
		path += "/" + url.PathEscape(id)
	}
	return "ended", v.ask(http.MethodDelete, path+"?user="+u.ID, nil, nil)
}

func revokeKey(v *visit, u user) (string, error) {
	return "revoked", v.ask(http.MethodDelete, "/users/keys/"+url.PathEscape(v.r.PostForm.Get("key"))+"?user="+u.ID, nil, nil)
}

func deletePerson(v *visit, u user) (string, error) {
	if err := v.named(u.Credentials.Username); err != nil {
		return "", err
	}
	return "deleted", v.ask(http.MethodDelete, "/users/"+u.ID, nil, nil)
}
