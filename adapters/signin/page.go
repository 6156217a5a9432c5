package signin

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// titles are what the pages are called.
var titles = map[string]string{
	"sign-in": "Sign in", "second-factor": "One more step", "passkey": "Passkey", "go-on": "Go on to Postern?", "leave": "Go on at the other site",
}

// asset is where a page finds a style sheet or a script.
func (s *Server) asset(name string) string {
	if s.Asset == nil {
		return "/assets/" + name
	}
	return s.Asset(name)
}

// show sends a page.
func (s *Server) show(v *visit, status int, page string, view map[string]any) {
	view["Asset"] = s.asset
	view["Title"] = titles[page]
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, page+".html", view); err != nil {
		s.Log.Error("page not made", "page", page, "request", v.id, "err", err)
		status = http.StatusInternalServerError
		b.Reset()
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	v.w.Write(b.Bytes()) // who went away misses it
}
