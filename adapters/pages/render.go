package pages

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

//go:embed templates
var templateFiles embed.FS

// templates are the pages by name, each with the frame around it.
type templates map[string]*template.Template

// A page is what a template shows. The frame takes the rest from the visit.
type page struct {
	Title string
	Tab   string // of the domain's or the settings' tabs
	Data  any
	// Form is what was sent, when it comes back with a problem.
	Form form
}

// A form is what a person sent, and what is wrong with it.
type form struct {
	Values  url.Values
	Problem *Refusal
}

// Value returns what was sent for a field.
func (f form) Value(name string) string { return f.Values.Get(name) }

// Wrong is what is wrong with a field.
func (f form) Wrong(name string) string {
	if f.Problem != nil && f.Problem.Field == name {
		return f.Problem.Message
	}
	return ""
}

// General is what is wrong with no field among those that the form shows.
func (f form) General(fields ...string) *Refusal {
	if f.Problem == nil {
		return nil
	}
	for _, name := range fields {
		if f.Problem.Field == name {
			return nil
		}
	}
	return f.Problem
}

// frame is what every template gets.
type frame struct {
	page
	Me     me
	Domain domain
	Path   string
	Notice string
}

func parse(a *assets) templates {
	funcs := template.FuncMap{
		"asset": a.path,
		"when":  when,
		"dict":  dict,
		"join":  strings.Join,
		"query": url.QueryEscape,
		"why":   why,
		"kind":  kindTitle,
	}
	base := template.Must(template.New("").Funcs(funcs).ParseFS(templateFiles, "templates/parts/*.html"))
	all := templates{}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is right
	}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		all[name] = template.Must(template.Must(base.Clone()).ParseFS(templateFiles, file))
	}
	return all
}

// when shows a time: a script turns it into the reader's zone, and says how long
// ago it was.
func when(t any) template.HTML {
	var at time.Time
	switch t := t.(type) {
	case time.Time:
		at = t
	case *time.Time:
		if t != nil {
			at = *t
		}
	}
	if at.IsZero() {
		return "never"
	}
	at = at.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, at.Format(time.RFC3339Nano), at.Format("2006-01-02 15:04 MST")))
}

// dict lets a template hand several values to a part.
func dict(pairs ...any) (map[string]any, error) {
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("key %v is no string", pairs[i])
		}
		m[key] = pairs[i+1]
	}
	return m, nil
}

// show sends a page.
func (v *visit) show(status int, name string, p page) {
	v.send(status, name, "frame", p)
}

func (v *visit) send(status int, name, piece string, p page) {
	var b bytes.Buffer
	f := frame{page: p, Me: v.me, Domain: v.domain, Path: v.r.URL.Path, Notice: notices[v.r.URL.Query().Get("done")]}
	if err := v.s.pages[name].ExecuteTemplate(&b, piece, f); err != nil {
		v.s.Log.Error("page not made", "page", name, "request", v.id, "err", err)
		http.Error(v.w, "Something went wrong here. The log has more under the request id "+v.id+".", http.StatusInternalServerError)
		return
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	v.w.Write(b.Bytes()) // who went away misses it
}

// notices are what ?done= says on the page that an action leads to: fixed words,
// because everybody can write an address.
var notices = map[string]string{
	"created": "Created.", "saved": "Saved.", "deleted": "Deleted.", "enabled": "Enabled.", "disabled": "Disabled.",
	"frozen": "Frozen.", "connected": "Connected.", "disconnected": "Disconnected.",
	"invited": "An invitation is on its way.", "ended": "Signed out there.", "revoked": "Revoked.", "removed": "Removed.",
	"reset": "The second factors are gone; the next sign-in needs the password alone.", "unlinked": "Unlinked.",
	"secret-ended": "The secret has ended, and the sessions that were opened with it.",
	"added":        "Added.",
	"proved":       "Proved. It vouches from now on.", "let-in": "Let in. It vouches from now on.",
	"listed": "The list is in force.", "bound": "Bound.", "unbound": "Unbound.",
}

// again shows a form once more with what is wrong, when that can be mended
// there; any other error it returns.
func (v *visit) again(err error, name string, p page) error {
	refusal, ok := err.(*Refusal)
	if !ok || !refusal.mends() {
		return err
	}
	p.Form = form{Values: v.r.PostForm, Problem: refusal}
	v.show(refusal.Status, name, p)
	return nil
}

// misshapen refuses a form that no page of ours sends.
func misshapen() *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Word: "malformed_request", Message: "The form is not what is expected here."}
}

// posted reads the form that was sent.
func (v *visit) posted() error {
	if err := v.r.ParseForm(); err != nil {
		return misshapen()
	}
	return nil
}

// partial reports whether a script asks for a piece of the page.
func (v *visit) partial() bool { return v.r.Header.Get("HX-Request") == "true" }

// showList sends a page with a list, or the list alone to a script that asks for
// it.
func (v *visit) showList(name, list string, p page) {
	if v.partial() {
		v.send(http.StatusOK, name, list, p)
		return
	}
	v.show(http.StatusOK, name, p)
}
