package signin

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
)

//go:embed pages
var files embed.FS

var pages = template.Must(template.ParseFS(files, "pages/*.html"))

// styleHash names the one style sheet of the pages in their policy.
var styleHash = func() string {
	css, err := files.ReadFile("pages/style.css")
	if err != nil {
		panic(err) // it is embedded
	}
	sum := sha256.Sum256(css)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}()

// style is the sheet itself; it is ours, so it may stand in a page as it is.
func style() template.CSS {
	css, _ := files.ReadFile("pages/style.css") // see styleHash
	return template.CSS(css)
}

// show sends a page.
func (s *Server) show(v *visit, status int, page string, view map[string]any) {
	view["Style"] = style()
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
