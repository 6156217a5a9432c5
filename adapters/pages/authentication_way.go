package pages

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-io/postern/adapters/api"
	"github.com/postern-io/postern/registry"
)

// blankRows are the empty rows of the editor of mappings, for who has no script.
const blankRows = 3

// A wayView is the page of one way to sign in.
type wayView struct {
	wayCard
	Revision int64
	Why      string // why the reader cannot change anything
	Parts    []settingsPart
	Tests    bool // whether there is somebody to ask
	Tested   *api.AuthenticationTested
	Switch   *settingField // of sign-in by password
}

// A settingsPart is some settings under a heading.
type settingsPart struct {
	Title  string
	Folded bool
	Fields []settingField
}

// A settingField is a setting as a form has it.
type settingField struct {
	api.AuthenticationSetting
	Label, Hint string
	Off         bool // it cannot be changed
	Wrong       string
	Rows        []mapRow
}

// A mapRow is a group and the role that it gives.
type mapRow struct{ Group, Role string }

func (view wayView) page() page {
	return page{Title: view.Name, Tab: "authentication", Data: view}
}

// way asks for the settings and makes the form of the one that the path names.
func (v *visit) way() (wayView, error) {
	view := wayView{Why: v.me.Why("settings.change")}
	all, err := v.authentication()
	if err != nil {
		return view, err
	}
	i := slices.IndexFunc(all.Ways, func(w api.AuthenticationWay) bool { return w.Key == v.r.PathValue("way") })
	if i < 0 {
		return view, &Refusal{Status: http.StatusNotFound, Message: "There is no such way to sign in."}
	}
	view.wayCard = wayCard{wayForms[all.Ways[i].Key], all.Ways[i]}
	view.Revision, view.Tests = all.Revision, view.Kind != "header" && view.Key != registry.LocalProvider
	v.parts(&view)
	return view, nil
}

// parts divides the settings of a way as its form says.
func (v *visit) parts(view *wayView) {
	rest := map[string]settingField{}
	var order []string
	for _, s := range view.Settings {
		f := v.field(s, view)
		if s.Name == "auth-local-enabled" {
			view.Switch = &f
			continue
		}
		rest[s.Name] = f
		order = append(order, s.Name)
	}
	for _, part := range view.sections {
		shown := settingsPart{Title: part.title}
		for _, name := range part.names {
			if !strings.HasPrefix(name, "auth-") {
				name = "auth-" + view.Key + "-" + name
			}
			if f, there := rest[name]; there {
				shown.Fields = append(shown.Fields, f)
				delete(rest, name)
			}
		}
		view.Parts = append(view.Parts, shown)
	}
	more := settingsPart{Title: "More settings", Folded: len(view.sections) > 0}
	for _, name := range order {
		if f, left := rest[name]; left {
			more.Fields = append(more.Fields, f)
		}
	}
	if !more.Folded {
		more.Title = ""
	}
	if len(more.Fields) > 0 {
		view.Parts = append(view.Parts, more)
	}
}

func (v *visit) field(s api.AuthenticationSetting, view *wayView) settingField {
	f := settingField{AuthenticationSetting: s, Off: s.Locked != "" || view.Why != "", Wrong: s.Wrong}
	end := strings.TrimPrefix(s.Name, "auth-"+view.Key+"-")
	f.Label = cmp.Or(labels[end], capital(strings.ReplaceAll(end, "-", " ")))
	switch {
	case s.Name == "auth-providers":
		f.Hint = "The first that says yes lets the person in."
	case s.Kind != "roles": // of which the form says it
		f.Hint = capital(s.Usage) + "."
	}
	if s.Kind == "text" && s.Default != "" && s.Default != s.Value {
		f.Hint += " The default is " + s.Default + "."
	}
	if s.Locked != "" && (view.Kind != "header" || s.Source == "environment") { // of the header the page says it once
		f.Hint = s.Locked + " " + f.Hint
	}
	if s.Kind == "roles" {
		f.Rows = rowsOf(s.Value)
	}
	if sent := v.r.PostForm; len(sent) > 1 && !f.Off { // more than the name of what is done
		f.Value = typed(sent, s)
		if s.Kind == "roles" {
			f.Rows = typedRows(sent, s.Name)
		}
	}
	if s.Kind == "roles" && !f.Off {
		f.Rows = append(f.Rows, make([]mapRow, blankRows)...)
	}
	return f
}

// Open reports whether a folded part holds what is wrong.
func (p settingsPart) Open(f form) bool {
	return slices.ContainsFunc(p.Fields, func(s settingField) bool { return s.Wrong != "" || f.Wrong(s.Name) != "" })
}

func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// typed is what a form says of a setting that it has; else what counts now.
func typed(sent map[string][]string, s api.AuthenticationSetting) string {
	value := func(name string) string {
		if len(sent[name]) == 0 {
			return ""
		}
		return sent[name][0]
	}
	switch _, has := sent[s.Name]; {
	case s.Kind == "switch" && slices.Contains(sent["shown"], s.Name):
		return strconv.FormatBool(value(s.Name) != "")
	case s.Kind == "roles" && sent[s.Name+"-group"] != nil:
		return mapOf(typedRows(sent, s.Name))
	case s.Kind == "secret": // as it stands
		return value(s.Name)
	case s.Kind == "list" && has:
		return strings.Join(strings.FieldsFunc(value(s.Name), func(r rune) bool { return r == ',' || r == ' ' }), ",")
	case s.Kind == "switch", s.Kind == "roles", !has:
		return s.Value
	}
	return strings.TrimSpace(value(s.Name))
}

// rowsOf reads {"group":"role"}, or a list of roles of which the highest counts.
func rowsOf(text string) (rows []mapRow) {
	var given map[string]any
	if json.Unmarshal([]byte(text), &given) != nil {
		return nil
	}
	for group, v := range given {
		words, isList := v.([]any)
		if !isList {
			words = []any{v}
		}
		highest := registry.NoRole
		for _, w := range words {
			name, _ := w.(string)
			if role, err := registry.ParseRole(strings.ToLower(name)); err == nil {
				highest = max(highest, role)
			}
		}
		rows = append(rows, mapRow{group, highest.String()})
	}
	slices.SortFunc(rows, func(a, b mapRow) int { return cmp.Compare(a.Group, b.Group) })
	return rows
}

// typedRows are the rows of a form that name a group.
func typedRows(sent map[string][]string, name string) (rows []mapRow) {
	roles := sent[name+"-role"]
	for i, group := range sent[name+"-group"] {
		if group = strings.TrimSpace(group); group != "" && i < len(roles) {
			rows = append(rows, mapRow{group, roles[i]})
		}
	}
	return rows
}

func mapOf(rows []mapRow) string {
	if len(rows) == 0 {
		return ""
	}
	given := map[string]string{}
	for _, r := range rows {
		given[r.Group] = r.Role
	}
	text, err := json.Marshal(given)
	if err != nil {
		panic(err) // of text there is always JSON
	}
	return string(text)
}

// twice is a group that rows name twice.
func twice(rows []mapRow) string {
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[r.Group] {
			return r.Group
		}
		seen[r.Group] = true
	}
	return ""
}

// changes are what a form says that differs from what counts.
func (v *visit) changes(view wayView) (map[string]*string, error) {
	changes := map[string]*string{}
	for _, s := range view.Settings {
		if s.Locked != "" {
			continue
		}
		if group := twice(typedRows(v.r.PostForm, s.Name)); group != "" {
			return nil, &Refusal{Status: http.StatusUnprocessableEntity, Word: "record_invalid", Field: s.Name, Message: s.Name + " names the group " + group + " twice"}
		}
		value := typed(v.r.PostForm, s)
		switch {
		case s.Kind == "secret" && v.r.PostForm.Get(s.Name+"-drop") != "":
			changes[s.Name] = nil
		case s.Kind == "secret" && value == "", s.Kind != "secret" && s.Wrong == "" && counts(s, value):
		case value == s.Default && s.Kind != "secret":
			changes[s.Name] = nil
		default:
			changes[s.Name] = &value
		}
	}
	return changes, nil
}

// counts reports whether a value says what counts already.
func counts(s api.AuthenticationSetting, value string) bool {
	return value == s.Value || s.Kind == "roles" && value == mapOf(rowsOf(s.Value))
}

// put has changes made, from the revision that the form was made from.
func (v *visit) put(changes map[string]*string) error {
	revision, err := strconv.ParseInt(v.r.PostForm.Get("revision"), 10, 64)
	if err != nil {
		return misshapen()
	}
	return v.ask(http.MethodPatch, authenticationPath, map[string]any{"revision": revision, "changes": changes, "confirm": v.r.PostForm.Get("confirm")}, nil)
}

func saveWay(v *visit, view wayView) error {
	changes, err := v.changes(view)
	if err == nil {
		err = v.put(changes)
	}
	if err != nil {
		return err
	}
	v.redirect(authenticationPath + "/" + view.Key + "?done=saved")
	return nil
}

// testWay shows what a test says: a piece of the page to a script, which keeps
// what was typed, else the page with it.
func testWay(v *visit, view wayView) error {
	changes, err := v.changes(view)
	if err == nil {
		var said api.AuthenticationTested
		if err = v.ask(http.MethodPost, authenticationPath+"/test", map[string]any{"way": view.Key, "changes": changes}, &said); err == nil {
			view.Tested = &said
		}
	}
	if refusal, ok := err.(*Refusal); ok && v.partial() {
		p := view.page()
		said := *refusal
		for _, part := range view.Parts {
			for _, f := range part.Fields {
				if f.Name == said.Field { // which is far from here
					said.Message = sentence(f.Label + ": " + strings.TrimPrefix(said.Message, said.Field+" "))
				}
			}
		}
		p.Form = form{Problem: &said}
		v.send(http.StatusOK, "way", "tested", p)
		return nil
	}
	if err != nil {
		return err
	}
	if v.partial() {
		v.send(http.StatusOK, "way", "tested", view.page())
		return nil
	}
	v.show(http.StatusOK, "way", view.page())
	return nil
}

// generateKey saves the form with a new signing key, which is shown once.
func generateKey(v *visit, view wayView) error {
	if view.Key != "jwt" {
		return &Refusal{Status: http.StatusNotFound, Message: "There is no such thing to do here."}
	}
	var b [32]byte
	rand.Read(b[:])
	key := hex.EncodeToString(b[:])
	changes, err := v.changes(view)
	if err != nil {
		return err
	}
	changes["auth-jwt-shared-secret"] = &key
	if err := v.put(changes); err != nil {
		return err
	}
	return v.showOnce("New signing key", "authentication", once{
		Says: "Give this key to the application that signs people in. It is shown this once.", Secret: key,
		After: "Tokens that are signed with the key before it count no more.", Next: authenticationPath + "/jwt",
	})
}

// passwordsOff is confirmed by typing, whoever else can still sign in.
func passwordsOff(v *visit, view wayView) error {
	if err := v.named(v.me.Name); err != nil {
		return err
	}
	return v.switchPasswords(view, "false")
}

func passwordsOn(v *visit, view wayView) error { return v.switchPasswords(view, "true") }

func (v *visit) switchPasswords(view wayView, to string) error {
	if view.Switch == nil {
		return &Refusal{Status: http.StatusNotFound, Message: "There is no such thing to do here."}
	}
	changes := map[string]*string{view.Switch.Name: &to}
	if to == view.Switch.Default {
		changes[view.Switch.Name] = nil
	}
	v.r.PostForm.Set("revision", strconv.FormatInt(view.Revision, 10))
	if err := v.put(changes); err != nil {
		return err
	}
	v.redirect(authenticationPath + "/" + view.Key + "?done=saved")
	return nil
}

// named makes of what the API says of a setting what can stand beside its field,
// or, when the form does not have it, above the form.
func (view wayView) named(refusal *Refusal) *Refusal {
	said := *refusal
	has := slices.ContainsFunc(view.Settings, func(s api.AuthenticationSetting) bool { return s.Name == said.Field })
	if has || said.Field == "confirm" && said.Word == "record_invalid" {
		said.Message = sentence("This " + strings.TrimPrefix(said.Message, said.Field+" "))
	}
	return &said
}

func sentence(s string) string { return strings.TrimSuffix(s, ".") + "." }

// General is what is wrong with no field that the form shows.
func (view wayView) General(f form) *Refusal {
	names := []string{"confirm"}
	for _, p := range view.Parts {
		for _, s := range p.Fields {
			names = append(names, s.Name)
		}
	}
	return f.General(names...)
}

// Means says what a choice means, where its word alone does not.
func (f settingField) Means(choice string) string {
	return cmp.Or(map[string]string{
		"local": "passwords kept here", "ldap": "the directory", "ldap,local": "the directory, then passwords kept here", "local,ldap": "passwords kept here, then the directory",
		"always": "at every sign-in", "first": "at the first sign-in", "never": "never",
	}[choice], choice, "none")
}

// GivenRoles are those that a group may give.
func (frame) GivenRoles() []string { return []string{"viewer", "editor", "admin", "owner"} }
