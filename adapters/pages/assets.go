package pages

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets
var assetFiles embed.FS

// assets are the style sheets and scripts of the pages. A page names each with a
// piece of its hash, so a browser may keep it for good.
type assets struct {
	files map[string]asset
}

type asset struct {
	kind, etag   string
	body, zipped []byte
}

func loadAssets() *assets {
	a := &assets{files: map[string]asset{}}
	entries, err := assetFiles.ReadDir("assets")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, e := range entries {
		body, err := assetFiles.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err) // the same
		}
		sum := sha256.Sum256(body)
		var zipped bytes.Buffer
		z, _ := gzip.NewWriterLevel(&zipped, gzip.BestCompression) // fails for an unknown level only
		z.Write(body)                                              // a buffer takes all
		z.Close()
		a.files[e.Name()] = asset{mime.TypeByExtension(path.Ext(e.Name())), hex.EncodeToString(sum[:8]), body, zipped.Bytes()}
	}
	return a
}

// path is where a page finds the file.
func (a *assets) path(name string) string {
	return "/assets/" + name + "?v=" + a.files[name].etag
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, there := a.files[r.PathValue("name")]
	if !there {
		http.Error(w, "there is no such file here", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == f.etag {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body := f.body
	h.Set("ETag", `"`+f.etag+`"`)
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		body = f.zipped
		h.Set("Content-Encoding", "gzip")
		h.Set("ETag", `"`+f.etag+`-gz"`)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
