package test

import (
	"errors"
	"net/url"
	"testing"
	"time"
)

const (
	revokeWithin = time.Second           // the promise
	revokeGoal   = 50 * time.Millisecond // what we aim at
	// settleFor is how long after the promise a listener is watched, for
	// silence is seen only by waiting.
	settleFor = 150 * time.Millisecond
	dripEvery = 10 * time.Millisecond
	overlap   = 700 * time.Millisecond
	// tooEarly is more than an answer takes: what ends in an overlap sooner than
	// that before its end has not been given it.
	tooEarly = overlap / 2
)

// An effect is what becomes of a session or of somebody's rights.
type effect string

const (
	unasked effect = ""       // not tried
	kept    effect = "kept"   // nothing: all goes on
	ended   effect = "ended"  // it is over, and nobody gets in again that way
	barred  effect = "barred" // it may neither publish nor hear
	mute    effect = "mute"   // it may not publish
	deaf    effect = "deaf"   // it may not hear
	absent  effect = "absent" // there is nothing left to ask about
)

// A cause is one change that takes something away. The effects say on whom.
type cause struct {
	name  string
	do    func(g *ground)
	after time.Duration // when it takes hold, from the answer on

	secret, certificate effect // the device's sessions, by what opened them
	speech, calls, key  effect // a person who publishes, one who manages, a program with the person's key
	member              bool   // the person's role is the domain's, not the platform's
}

// causes is all that can be taken away. To add one, add a line.
var causes = []cause{
	{name: "disable device", secret: ended, certificate: ended, do: func(g *ground) { g.post("/clients/" + g.device.id + "/disable") }},
	{name: "delete device", secret: ended, certificate: ended, do: func(g *ground) { g.delete("/clients/" + g.device.id) }},
	{name: "rotate secret", secret: ended, certificate: kept, do: func(g *ground) { g.rotate("0s") }},
	{name: "rotate secret, after overlap", secret: ended, certificate: kept, after: overlap, do: func(g *ground) { g.rotate(overlap.String()) }},
	{name: "end secret", secret: ended, certificate: kept, do: func(g *ground) { g.delete("/clients/" + g.device.id + "/secrets/" + g.secret()) }},
	{name: "revoke certificate", secret: kept, certificate: ended, do: func(g *ground) { g.post("/certs/" + g.fingerprint + "/revoke") }},

	{name: "remove connection", secret: barred, certificate: barred, do: func(g *ground) { g.disconnect("publish", "subscribe") }},
	{name: "remove right to publish", secret: mute, certificate: mute, do: func(g *ground) { g.disconnect("publish") }},
	{name: "remove right to subscribe", secret: deaf, certificate: deaf, do: func(g *ground) { g.disconnect("subscribe") }},
	{name: "disable channel", secret: barred, certificate: barred, speech: barred, calls: kept, do: func(g *ground) { g.post("/channels/" + g.channel + "/disable") }},
	{name: "delete channel", secret: barred, certificate: barred, speech: barred, calls: kept, do: func(g *ground) { g.delete("/channels/" + g.channel) }},

	{name: "disable domain", secret: barred, certificate: barred, speech: barred, calls: kept, do: func(g *ground) { g.owner("POST", "/domains/"+g.domain+"/disable", nil) }},
	{name: "freeze domain", secret: barred, certificate: barred, speech: barred, calls: kept, do: func(g *ground) { g.owner("POST", "/domains/"+g.domain+"/freeze", nil) }},
	{name: "delete domain", secret: ended, certificate: ended, speech: barred, calls: absent, do: func(g *ground) { g.owner("DELETE", "/domains/"+g.domain, nil) }},

	{name: "end a user's session", speech: ended, calls: ended, key: kept, do: func(g *ground) { g.owner("DELETE", "/users/sessions/"+g.session()+"?user="+g.user, nil) }},
	{name: "end all of a user's sessions", speech: ended, calls: ended, key: kept, do: func(g *ground) { g.owner("DELETE", "/users/sessions?user="+g.user, nil) }},
	{name: "set a user's password", speech: ended, calls: ended, key: ended, do: func(g *ground) {
		g.owner("PATCH", "/users/"+g.user+"/secret", map[string]string{"new_secret": ownerPassword + " again"})
	}},
	{name: "revoke an API key", speech: kept, calls: kept, key: ended, do: func(g *ground) { g.owner("DELETE", "/users/keys/"+g.keyID+"?user="+g.user, nil) }},
	{name: "demote a user", speech: barred, calls: barred, key: barred, do: func(g *ground) { g.owner("PATCH", "/users/"+g.user+"/role", roleOf("viewer")) }},
	{name: "disable a user", speech: ended, calls: ended, key: ended, do: func(g *ground) { g.owner("POST", "/users/"+g.user+"/disable", nil) }},
	{name: "delete a user", speech: ended, calls: ended, key: ended, do: func(g *ground) { g.owner("DELETE", "/users/"+g.user, nil) }},
	{name: "demote a member", member: true, speech: barred, calls: barred, key: barred, do: func(g *ground) {
		g.owner("PATCH", "/domains/"+g.domain+"/members/"+g.user, roleOf("viewer"))
	}},
	{name: "remove a member", member: true, speech: barred, calls: barred, key: barred, do: func(g *ground) {
		g.owner("DELETE", "/domains/"+g.domain+"/members/"+g.user, nil)
	}},
}

func roleOf(role string) map[string]string { return map[string]string{"role": role} }

// What becomes of a session where no word is said.
const (
	goesOn = "goes on"
	silent = "silent" // the session is there and hears nothing
)

// words is what somebody at a door sees of each effect.
type words map[effect]string

// A door is one way in, with what is seen there: by the session that publishes
// or calls, and by the one that listens. A door without listeners has no words
// for them.
type door struct {
	name            string
	of              func(cause) effect // what a cause does to who comes this way
	open            func(g *ground, at *server, listen bool) (*live, error)
	speaks, listens words
}

var (
	bySecret      = func(c cause) effect { return c.secret }
	byCertificate = func(c cause) effect { return c.certificate }

	mqtt3Speaks  = words{kept: goesOn, deaf: goesOn, ended: "closed", barred: "closed", mute: "closed"} // it knows no other no
	mqtt3Listens = words{kept: goesOn, mute: goesOn, ended: "closed", barred: silent, deaf: silent}
	mqtt5Speaks  = words{kept: goesOn, deaf: goesOn, ended: "0x98", barred: "0x87", mute: "0x87"}
	mqtt5Listens = words{kept: goesOn, mute: goesOn, ended: "0x98", barred: silent, deaf: silent}
	wsSpeaks     = words{kept: goesOn, deaf: goesOn, ended: "4401", barred: "4403", mute: "4403"}
	wsListens    = words{kept: goesOn, mute: goesOn, ended: "4401", barred: "4403", deaf: silent}
	httpSpeaks   = words{kept: goesOn, deaf: goesOn, ended: "401", barred: "403", mute: "403"}
	apiSpeaks    = words{kept: goesOn, ended: "401", barred: "403", absent: "404"}
)

// doors is every way in. People have no WebSocket and no MQTT of their own:
// those doors refuse their tokens, so there is nothing of theirs to close.
var doors = []door{
	{name: "MQTT 3.1.1", of: bySecret, speaks: mqtt3Speaks, listens: mqtt3Listens, open: func(g *ground, at *server, listen bool) (*live, error) {
		return g.mqtt(wire{addr: "127.0.0.1:" + at.mqtt, device: g.device}, 4, listen)
	}},
	{name: "MQTT 5", of: bySecret, speaks: mqtt5Speaks, listens: mqtt5Listens, open: func(g *ground, at *server, listen bool) (*live, error) {
		return g.mqtt(wire{addr: "127.0.0.1:" + at.mqtt, device: g.device}, 5, listen)
	}},
	{name: "MQTT 3.1.1, TLS", of: bySecret, speaks: mqtt3Speaks, listens: mqtt3Listens, open: func(g *ground, at *server, listen bool) (*live, error) {
		return g.mqtt(wire{addr: "127.0.0.1:" + at.mqtts, tls: g.trust(at), device: g.device}, 4, listen)
	}},
	{name: "MQTT 5, certificate", of: byCertificate, speaks: mqtt5Speaks, listens: mqtt5Listens, open: func(g *ground, at *server, listen bool) (*live, error) {
		return g.mqtt(wire{addr: "127.0.0.1:" + at.mqtts, tls: g.certified(at)}, 5, listen)
	}},
	{name: "MQTT 5 over WebSocket", of: bySecret, speaks: mqtt5Speaks, listens: mqtt5Listens, open: func(g *ground, at *server, listen bool) (*live, error) {
		conn, err := wire{addr: "127.0.0.1:" + at.http}.dialFramed()
		if err != nil {
			return nil, err
		}
		return openMQTT(conn, 5, g.device, g.topic, listen)
	}},
	{name: "HTTP", of: bySecret, speaks: httpSpeaks, open: func(g *ground, at *server, _ bool) (*live, error) {
		return openHTTP(wire{addr: "127.0.0.1:" + at.http}, g.said("Client "+g.device.secret))
	}},
	{name: "HTTPS, certificate", of: byCertificate, speaks: httpSpeaks, open: func(g *ground, at *server, _ bool) (*live, error) {
		return openHTTP(wire{addr: "127.0.0.1:" + at.https, tls: g.certified(at)}, g.said(""))
	}},
	{name: "WebSocket", of: bySecret, speaks: wsSpeaks, listens: wsListens, open: func(g *ground, at *server, _ bool) (*live, error) {
		return openWS(wire{addr: "127.0.0.1:" + at.http, device: g.device}, g.topic)
	}},
	{name: "WebSocket, certificate", of: byCertificate, speaks: wsSpeaks, listens: wsListens, open: func(g *ground, at *server, _ bool) (*live, error) {
		return openWS(wire{addr: "127.0.0.1:" + at.https, tls: g.certified(at)}, g.topic)
	}},

	{name: "person publishes", of: func(c cause) effect { return c.speech }, speaks: httpSpeaks, open: func(g *ground, at *server, _ bool) (*live, error) {
		return openHTTP(wire{addr: "127.0.0.1:" + at.https, tls: g.trust(at)}, g.said("Bearer "+g.access))
	}},
	{name: "person calls the API", of: func(c cause) effect { return c.calls }, speaks: apiSpeaks, open: func(g *ground, at *server, _ bool) (*live, error) {
		return openHTTP(wire{addr: "127.0.0.1:" + at.https, tls: g.trust(at)}, g.asked("Bearer "+g.access))
	}},
	{name: "program calls the API", of: func(c cause) effect { return c.key }, speaks: apiSpeaks, open: func(g *ground, at *server, _ bool) (*live, error) {
		return openHTTP(wire{addr: "127.0.0.1:" + at.https, tls: g.trust(at)}, g.asked("Bearer "+g.secretKey))
	}},
}

// TestRevocation takes everything away that can be taken away, while sessions
// are open at every door of the node that is asked and of another one, and
// measures from the API's answer until each has ended or is refused. It does not
// run beside others: it measures time.
func TestRevocation(t *testing.T) {
	w := newRevocations(t)
	var all tally
	for _, c := range causes {
		t.Run(c.name, func(t *testing.T) { w.take(t, c, &all) })
	}
	all.print(t, "cause and node", func(s sample) string { return s.cause + ", " + s.node() })
	all.print(t, "door and node", func(s sample) string { return s.at.name + ", " + s.node() })
	all.print(t, "all of it", func(s sample) string { return s.node() })
}

// take opens the sessions that a cause concerns, brings it about, and watches.
func (w *revocations) take(t *testing.T, c cause, all *tally) {
	g := w.newGround(t, c)
	watched := g.openAll(c)
	c.do(g)
	answered := time.Now()
	results := make(chan sample, len(watched))
	for _, s := range watched {
		go func() { results <- s.watch(answered.Add(c.after)) }()
	}
	for range watched {
		s := <-results
		switch {
		case s.saw != s.want:
			t.Errorf("%s: got %q after %s, want %q", s.name(), s.saw, s.took, s.want)
		case s.want == goesOn:
			continue
		case s.took > revokeWithin:
			t.Errorf("%s: %q took %s, want at most %s", s.name(), s.saw, s.took, revokeWithin)
		case s.took < -tooEarly:
			t.Errorf("%s: %q came %s too early", s.name(), s.saw, -s.took)
		}
		all.add(s)
	}
	if still := time.Since(w.drips.last()); still > settleFor {
		t.Errorf("nothing was on the bus for %s: that nobody hears proves nothing", still)
	}
	for _, s := range watched {
		s.live.hang()
		if s.effect != ended {
			continue
		}
		if again, err := s.at.open(g, s.server, s.listener); err == nil {
			again.hang()
			t.Errorf("%s: it is let in again", s.name())
		}
	}
}

// A sample is one session and what was seen of it.
type sample struct {
	cause    string
	at       door
	server   *server
	other    bool // it stands at the node that was not asked
	listener bool
	effect   effect
	want     string
	live     *live

	saw  string
	took time.Duration // from the moment that the change was due
}

func (s sample) node() string {
	if s.other {
		return "other node"
	}
	return "same node"
}

func (s sample) name() string {
	if s.listener {
		return s.at.name + ", listening, " + s.node()
	}
	return s.at.name + ", " + s.node()
}

// openAll opens a session for each door, node and part that the cause says
// something of, and sees that each is alive.
func (g *ground) openAll(c cause) (all []sample) {
	g.t.Helper()
	for _, d := range doors {
		e := d.of(c)
		if e == unasked {
			continue
		}
		for i, at := range g.nodes {
			s := sample{cause: c.name, at: d, server: at, other: i > 0, effect: e, want: d.speaks[e]}
			all = append(all, g.opened(s))
			if d.listens != nil {
				s.listener, s.want = true, d.listens[e]
				all = append(all, g.opened(s))
			}
		}
	}
	for _, s := range all {
		if s.want == "" {
			g.t.Fatalf("%s has no word for %s", s.name(), c.name)
		}
		if s.listener {
			eventually(g.t, s.name()+" hears", func() error {
				if s.live.lastHeard().IsZero() {
					return errors.New("nothing yet")
				}
				return nil
			})
		} else if word := s.live.speak(); word != "" {
			g.t.Fatalf("%s: refused from the beginning: %s", s.name(), word)
		}
	}
	return all
}

func (g *ground) opened(s sample) sample {
	g.t.Helper()
	l, err := s.at.open(g, s.server, s.listener)
	if err != nil {
		g.t.Fatalf("%s: %v", s.name(), err)
	}
	g.t.Cleanup(l.hang)
	s.live = l
	return s
}

// watch waits until something happens to the session, or the promise is due.
func (s sample) watch(from time.Time) sample {
	due := time.NewTimer(time.Until(from.Add(revokeWithin + settleFor)))
	defer due.Stop()
	var at time.Time
	if s.listener {
		s.saw, at = s.live.listen(due.C)
	} else {
		s.saw, at = s.live.speakOn(due.C)
	}
	s.took = at.Sub(from)
	return s
}

// listen returns how the session ended, or at due whether it hears.
func (l *live) listen(due <-chan time.Time) (string, time.Time) {
	select {
	case <-l.gone:
		return l.over()
	case <-due:
	}
	last := l.lastHeard()
	if time.Since(last) < settleFor {
		return goesOn, last
	}
	return silent, last
}

// speakOn publishes until it is refused or due.
func (l *live) speakOn(due <-chan time.Time) (string, time.Time) {
	tick := time.NewTicker(dripEvery)
	defer tick.Stop()
	for {
		if word := l.speak(); word != "" {
			return word, time.Now()
		}
		select {
		case <-tick.C:
		case <-l.gone:
			return l.over()
		case <-due:
			return goesOn, time.Now()
		}
	}
}

// The rest of a ground is what the causes and the doors need of it.

func (g *ground) post(path string)   { g.owner("POST", "/"+g.domain+path, nil) }
func (g *ground) delete(path string) { g.owner("DELETE", "/"+g.domain+path, nil) }

func (g *ground) rotate(overlap string) {
	g.owner("PATCH", "/"+g.domain+"/clients/"+g.device.id+"/secret", map[string]string{"overlap": overlap})
}

func (g *ground) disconnect(rights ...string) {
	g.owner("POST", "/"+g.domain+"/channels/disconnect", map[string]any{
		"client_ids": []string{g.device.id}, "channel_ids": []string{g.channel}, "types": rights,
	})
}

func (g *ground) mqtt(w wire, version byte, listen bool) (*live, error) {
	conn, err := w.dial()
	if err != nil {
		return nil, err
	}
	return openMQTT(conn, version, w.device, g.topic, listen)
}

// said is a message on the topic.
func (g *ground) said(authorization string) request {
	return request{path: "/http/" + g.topic, authorization: authorization, body: "said", contentType: "text/plain"}
}

// asked is a question that an editor may ask and that changes nothing.
func (g *ground) asked(authorization string) request {
	return request{path: "/api/" + url.PathEscape(g.domain) + "/explain", authorization: authorization,
		body: `{"client_id":"` + g.device.id + `"}`, contentType: "application/json"}
}
