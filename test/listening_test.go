package test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestListeningAcrossNodes: a person hears at one node, by curl, what a device
// says at another; what takes the right away there ends it here; and a stop does
// not wait for those who listen.
func TestListeningAcrossNodes(t *testing.T) {
	t.Parallel()
	shared := []string{
		"POSTERN_DATABASE_URL=" + postgres.URL(t), "POSTERN_NATS_URL=" + outside(t),
		"POSTERN_SECRET_KEY=" + strings.Repeat("0f", 32), "POSTERN_PUBLIC_URL=https://localhost",
	}
	one := newServer(t, shared...)
	g := one.quick()
	two := newServer(t, shared...)
	owner := strings.TrimSpace(one.postern("token"))
	member := one.want(201, "POST", "/users", owner, map[string]any{
		"credentials": map[string]string{"username": "member", "secret": ownerPassword}, "email": "member@example.com",
	})["id"].(string)
	one.want(201, "POST", "/domains/"+g.domain+"/members", owner, map[string]string{"user_id": member, "role": "viewer"})

	curl := func(token string) *shell {
		return two.shell("curl -sN -H 'Authorization: Bearer " + token + "' http://localhost:" + two.http + "/api/" + g.domain + "/channels/" + g.channel + "/messages")
	}
	theirs, ours := curl(two.signIn("member", ownerPassword)), curl(owner)
	publish := g.find("mosquitto_pub", "-P")
	for _, ear := range []*shell{theirs, ours} {
		one.eventually("the listener at the other node hears", func() error {
			if out, err := one.run(publish); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			if !strings.Contains(ear.output(), `"payload":"21.5"`) {
				return fmt.Errorf("it printed %q", ear.output())
			}
			return nil
		})
	}
	start := time.Now()
	one.want(204, "DELETE", "/domains/"+g.domain+"/members/"+member, owner, nil)
	for !strings.Contains(theirs.output(), "event: end\n") {
		if time.Since(start) > time.Second {
			t.Fatalf("a second after the membership went: %q", theirs.output())
		}
		time.Sleep(time.Millisecond)
	}
	t.Logf("from the API's call at one node to the end at the other: %s", time.Since(start))
	if !strings.Contains(theirs.output(), `"role_too_low"`) {
		t.Errorf("it ended with %q", theirs.output())
	}
	heard := theirs.output()
	before := strings.Count(ours.output(), `"payload"`)
	one.eventually("who may still listen hears on", func() error {
		if out, err := one.run(publish); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if strings.Count(ours.output(), `"payload"`) == before {
			return fmt.Errorf("it printed %q", ours.output())
		}
		return nil
	})
	if theirs.output() != heard {
		t.Errorf("after the end came %q", strings.TrimPrefix(theirs.output(), heard))
	}
	start = time.Now()
	two.stop(syscall.SIGTERM)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the stop took %s", took)
	} else {
		t.Logf("the stop took %s", took)
	}
	if out := ours.output(); !strings.Contains(out, `"reason":"unavailable"`) {
		t.Errorf("at the stop it printed %q", out)
	}
}
