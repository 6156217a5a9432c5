package test

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

const thousand = 1000

// A crowd is many sessions that are open at once, half of the devices at each
// node.
type crowd struct {
	*ground
	crowdOf
	devices []device
	members []member
}

// A crowdOf says how many of the thousand devices have a session by MQTT 5, and
// how many, perhaps the same, one by WebSocket; and how these end.
type crowdOf struct {
	byMQTT, byWS   int
	mqttEnd, wsEnd string
}

type member struct {
	live   *live
	device int
	want   string // how it ends
}

func (m member) other() bool { return m.device%2 == 1 }

func (w *revocations) newCrowd(t *testing.T, name string, of crowdOf) *crowd {
	t.Helper()
	c := &crowd{ground: w.newDomain(t, name), crowdOf: of}
	births := make([]map[string]string, thousand)
	for i := range births {
		births[i] = map[string]string{"name": fmt.Sprintf("sensor %d", i)}
	}
	var made struct{ Clients []named }
	w.nodes[0].api(w.token, "POST", "/"+c.domain+"/clients/bulk", births, &made)
	for _, m := range made.Clients {
		c.devices = append(c.devices, device{m.ID, m.Credentials.Secret})
	}
	if len(c.devices) != thousand {
		t.Fatalf("%d devices were made, want %d", len(c.devices), thousand)
	}
	c.connect(c.devices...)
	c.openAll()
	return c
}

func (c *crowd) openAll() {
	c.t.Helper()
	c.t.Cleanup(func() {
		for _, m := range c.members {
			m.live.hang()
		}
	})
	const callers = 8
	var (
		mu    sync.Mutex
		work  sync.WaitGroup
		queue = make(chan int)
	)
	for range callers {
		work.Go(func() {
			for i := range queue {
				opened, err := c.open(i)
				mu.Lock()
				c.members = append(c.members, opened...)
				mu.Unlock()
				if err != nil {
					c.t.Errorf("device %d: %v", i, err)
				}
			}
		})
	}
	for i := range c.devices {
		queue <- i
	}
	close(queue)
	work.Wait()
	if want := c.byMQTT + c.byWS; len(c.members) != want {
		c.t.Fatalf("%d sessions are open, want %d", len(c.members), want)
	}
}

// open opens the sessions of one device, which all listen.
func (c *crowd) open(i int) (opened []member, err error) {
	at, d := c.nodes[i%2], c.devices[i]
	if i < c.byMQTT {
		l, err := c.mqtt(wire{addr: "127.0.0.1:" + at.mqtt, device: d}, 5, true)
		if err != nil {
			return opened, err
		}
		opened = append(opened, member{l, i, c.mqttEnd})
	}
	if i < c.byWS {
		l, err := openWS(wire{addr: "127.0.0.1:" + at.http, device: d}, c.topic)
		if err != nil {
			return opened, err
		}
		opened = append(opened, member{l, i, c.wsEnd})
	}
	return opened, nil
}

// underWay is how many changes may be under way at once.
const underWay = 8

// gone waits until some sessions have ended.
func (c *crowd) gone(some []member) {
	c.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for _, m := range some {
		select {
		case <-m.live.gone:
		case <-limit.C:
			c.t.Fatalf("the session of device %d is open after %s", m.device, patience)
		}
	}
}

// wait waits until all sessions have ended and logs how long that took each,
// from the answer that took its device's right away.
func (c *crowd) wait(answered func(device int) time.Time) {
	c.t.Helper()
	c.gone(c.members)
	var same, other []time.Duration
	for _, m := range c.members {
		how, at := m.live.over()
		if how != m.want {
			c.t.Errorf("the session of device %d ended with %q, want %q", m.device, how, m.want)
		}
		took := max(0, at.Sub(answered(m.device)))
		if took > revokeWithin {
			c.t.Errorf("the session of device %d ended %s after the answer, want at most %s", m.device, took, revokeWithin)
		}
		if m.other() {
			other = append(other, took)
		} else {
			same = append(same, took)
		}
	}
	all := append(append([]time.Duration(nil), same...), other...)
	c.t.Logf("from the API's answer to the closed socket (0s: before it)\nsame node   %s\nother node  %s\nboth        %s",
		distribution(same), distribution(other), distribution(all))
}

// TestRevocationOfAThousand takes their ground away from a thousand live
// sessions on two nodes: one by one, and from all with one change. Like
// TestRevocation it runs alone.
func TestRevocationOfAThousand(t *testing.T) {
	w := newRevocations(t)
	t.Run("devices are disabled one by one", func(t *testing.T) {
		c := w.newCrowd(t, "one by one", crowdOf{byMQTT: thousand, byWS: 100, mqttEnd: "0x98", wsEnd: "4401"})
		sessions := make([][]member, thousand)
		for _, m := range c.members {
			sessions[m.device] = append(sessions[m.device], m)
		}
		// A few changes are under way at a time: it is a delay that is measured,
		// not how many changes a busy machine takes in a second.
		answers := make([]time.Time, thousand)
		for i, d := range c.devices {
			c.post("/clients/" + d.id + "/disable")
			answers[i] = time.Now()
			if i >= underWay {
				c.gone(sessions[i-underWay])
			}
		}
		c.wait(func(device int) time.Time { return answers[device] })
	})
	atOnce := func(name string, of crowdOf, method, path string) {
		t.Run(name, func(t *testing.T) {
			c := w.newCrowd(t, name, of)
			c.owner(method, "/domains/"+c.domain+path, nil)
			answered := time.Now()
			c.wait(func(int) time.Time { return answered })
		})
	}
	atOnce("their domain is deleted", crowdOf{byMQTT: thousand, byWS: 100, mqttEnd: "0x98", wsEnd: "4401"}, "DELETE", "")
	// An MQTT session outlives its subscriptions; a WebSocket is its one topic.
	atOnce("their domain is disabled", crowdOf{byWS: thousand, wsEnd: "4403"}, "POST", "/disable")
}
