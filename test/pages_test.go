package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A site is a server with people of every role.
type site struct {
	*server
	token string // the owner's
}

func newSite(t *testing.T, env ...string) *site {
	t.Helper()
	s := &site{server: newServer(t, append(env, "POSTERN_OWNER_EMAIL=owner@example.com", "POSTERN_OWNER_PASSWORD="+ownerPassword, "POSTERN_LOG_LEVEL=warn")...)}
	s.token = s.signIn("owner", ownerPassword)
	for _, role := range []string{"viewer", "editor", "admin"} {
		s.want(201, "POST", "/users", s.token, map[string]any{
			"credentials": map[string]string{"username": role, "secret": ownerPassword}, "email": role + "@example.com", "role": role,
		})
	}
	return s
}

// browse tells a story of the directory browser in Debian's Chromium. With
// POSTERN_TEST_SHOTS set, pictures of the pages are left there.
func (s *site) browse(t *testing.T, name string, env ...string) {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		need(t, err)
	}
	people := map[string]string{"owner": ownerPassword, "viewer": ownerPassword, "editor": ownerPassword, "admin": ownerPassword}
	text, err := json.Marshal(people)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join("browser", name+".mjs"))
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "NODE_PATH=" + nodeModules(t), "CHROMIUM=" + chromium,
		"BASE=https://localhost:" + s.https, "PEOPLE=" + string(text), "SHOTS=" + os.Getenv("POSTERN_TEST_SHOTS"),
	}, env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the story %s: %v\n%s", name, err, out)
	}
}

// TestPages drives the pages as viewer, editor, admin and owner.
func TestPages(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, story := range []string{"channels", "devices", "live", "matrix", "members"} {
		t.Run(story, func(t *testing.T) { s.browse(t, story) })
	}
}
