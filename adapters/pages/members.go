package pages

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/registry"
)

// A memberRow is a member with what the caller may do to them.
type memberRow struct {
	api.Member
	Roles   []roleOption
	Why     string // why nothing of them may be changed; "" when it may
	Confirm bool   // to remove them, their name is typed
	Says    string // what their going brings about
}

// Name is what a member is called.
func (m memberRow) Name() string {
	if name := strings.TrimSpace(m.FirstName + " " + m.LastName); name != "" {
		return name + " (" + m.Username + ")"
	}
	return m.Username
}

type membersView struct {
	listing
	Members []memberRow
	Roles   []roleOption // that a new member may be given
}

// memberRoles are the roles of a domain as the caller may give them.
func (m me) memberRoles(chosen string) []roleOption {
	all := []roleOption{
		{Name: "viewer", Does: "reads, and listens to channels"},
		{Name: "editor", Does: "also creates, changes and deletes devices and channels"},
		{Name: "admin", Does: "also manages members and the domain"},
		{Name: "owner", Does: "also deletes the domain"},
	}
	for i := range all {
		o := &all[i]
		role, _ := registry.ParseRole(o.Name) // they are above
		o.Chosen = o.Name == chosen
		if m.roleHere >= registry.Admin && authz.Manage(m.roleHere, role) != nil {
			o.Why, o.Disabled = "Only an owner gives this role.", true
		}
	}
	return all
}

// whyNotMember tells why the caller may not touch a member of this role.
func (m me) whyNotMember(role api.Role) string {
	r, err := registry.ParseRole(string(role))
	if why := m.Why("member.update"); why != "" || err != nil || authz.Manage(m.roleHere, r) == nil {
		return why
	}
	return "Only an owner changes admins and owners."
}

func (v *visit) membersPath() string { return domainPath(v.domain) + "/members" }

func (v *visit) members() (membersView, error) {
	view := membersView{listing: v.listing(), Roles: v.me.memberRoles("viewer")}
	view.Path = v.membersPath()
	if role := v.r.PostForm.Get("role"); role != "" {
		view.Roles = v.me.memberRoles(role)
	}
	var all api.MemberPage
	if err := v.ask(http.MethodGet, "/domains/"+v.domain.ID+"/members"+view.ask(), nil, &all); err != nil {
		return view, err
	}
	view.Total = all.Total
	owners := 0
	for _, m := range all.Members {
		if m.Role == "owner" {
			owners++
		}
	}
	for _, m := range all.Members {
		row := memberRow{Member: m, Roles: v.me.memberRoles(string(m.Role)), Why: v.me.whyNotMember(m.Role), Confirm: m.Role == "owner" || m.UserID == v.me.ID}
		if m.UserID == v.me.ID {
			row.Says = "This is you. Without a role on the platform you cannot come back by yourself."
		}
		if m.Role == "owner" && owners == 1 && all.Total == len(all.Members) {
			row.Says += " This is the only owner: after that, only owners of the platform can delete the domain or make another owner."
		}
		view.Members = append(view.Members, row)
	}
	return view, nil
}

func listMembers(v *visit) error { return v.showMembers(nil) }

// showMembers shows the list, with what is wrong with a form of it.
func (v *visit) showMembers(cause error) error {
	view, err := v.members()
	if err != nil {
		return err
	}
	p := page{Title: "Members", Tab: "members", Data: view}
	if cause != nil {
		return v.retry(cause, "members", p, http.StatusNotFound)
	}
	v.show(http.StatusOK, "members", p)
	return nil
}

// addMember makes a member of who has this user name or e-mail address.
func addMember(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	v.r.PostForm.Set("act", "add")
	id, err := v.userNamed(strings.TrimSpace(v.r.PostForm.Get("user")))
	if err == nil {
		err = v.ask(http.MethodPost, "/domains/"+v.domain.ID+"/members", map[string]string{"user_id": id, "role": v.r.PostForm.Get("role")}, nil)
	}
	if refusal, ok := err.(*Refusal); ok && refusal.Field == "user_id" {
		refusal.Field, refusal.Message = "user", "That person is a member already. Change the role in the list."
	}
	if err != nil {
		return v.showMembers(err)
	}
	v.redirect(v.membersPath() + "?done=added")
	return nil
}

// userNamed finds a person by the whole user name or e-mail address. Of the
// address the API tells nothing, so it must be one person's alone.
func (v *visit) userNamed(text string) (id string, err error) {
	if text == "" {
		return "", mend("user", "Name somebody.")
	}
	var found api.UserPage
	if err := v.ask(http.MethodGet, "/users/search?limit=100&username="+url.QueryEscape(text), nil, &found); err != nil {
		return "", err
	}
	for _, u := range found.Users {
		if strings.EqualFold(u.Credentials.Username, text) {
			return u.ID, nil
		}
	}
	switch {
	case found.Total == 1 && strings.Contains(text, "@"):
		return found.Users[0].ID, nil
	case found.Total > 0:
		return "", mend("user", fmt.Sprintf("Nobody is called just that; %d have it in their names. Type the whole user name or address.", found.Total))
	}
	return "", mend("user", "There is nobody like that who is enabled.")
}

// changeMember gives a member another role, or removes them.
func changeMember(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	act, id := v.r.PathValue("act"), v.r.PathValue("user")
	if _, err := registry.ParseID(id); err != nil || act != "role" && act != "remove" {
		return &Refusal{Status: http.StatusNotFound, Message: "There is no such thing to do here."}
	}
	v.r.PostForm.Set("act", act+" "+id)
	path := "/domains/" + v.domain.ID + "/members/" + id
	var err error
	done := "saved"
	if act == "role" {
		err = v.ask(http.MethodPatch, path, map[string]string{"role": v.r.PostForm.Get("role")}, nil)
	} else if err = v.confirmed(id); err == nil {
		done, err = "removed", v.ask(http.MethodDelete, path, nil, nil)
	}
	if err != nil {
		return v.showMembers(err)
	}
	if done == "removed" && id == v.me.ID {
		v.redirect("/domains?done=removed") // perhaps this one cannot be seen any more
		return nil
	}
	v.redirect(v.membersPath() + "?done=" + done)
	return nil
}

// confirmed asks for the name of a member whose going is a matter.
func (v *visit) confirmed(id string) error {
	view, err := v.members()
	if err != nil {
		return err
	}
	for _, m := range view.Members {
		if m.UserID == id && m.Confirm {
			return v.named(m.Username)
		}
	}
	return nil
}
