package pages

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/postern-io/postern/adapters/api"
)

type explainView struct {
	Asked  form // what is filled in
	Answer *api.Explanation
}

// askExplain shows the form; a link from elsewhere may fill it in.
func askExplain(v *visit) error {
	v.show(http.StatusOK, "explain", explainPage(v.r.URL.Query(), nil))
	return nil
}

func explainPage(asked url.Values, answer *api.Explanation) page {
	return page{Title: "Explain", Tab: "explain", Data: explainView{form{Values: asked}, answer}}
}

// explain asks why, and keeps what was asked in the form, except the secret.
func explain(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	sent := v.r.PostForm
	in := map[string]any{"topic": strings.TrimSpace(sent.Get("topic")), "action": sent.Get("action")}
	if id := strings.TrimSpace(sent.Get("client_id")); id != "" {
		in["client_id"] = id
	}
	shown := map[string]string{"username": sent.Get("username"), "secret": sent.Get("secret")}
	sent.Del("secret")
	if shown["username"]+shown["secret"] != "" {
		in["credential"] = shown
	}
	var answer api.Explanation
	if err := v.ask(http.MethodPost, v.inDomain("/explain"), in, &answer); err != nil {
		return v.again(err, "explain", explainPage(sent, nil))
	}
	v.show(http.StatusOK, "explain", explainPage(sent, &answer))
	return nil
}
