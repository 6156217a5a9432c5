package test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFilm takes the pictures of the README, which `make screenshots` keeps
// (POSTERN_FILM names the file, POSTERN_FILM_STEPS how much traffic to wait for).
func TestFilm(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	type m = map[string]any
	var d, made struct{ ID string }
	s.api(s.token, "POST", "/domains", m{"name": "Riverside water", "route": "riverside"}, &d)
	channels := map[string]string{}
	for _, c := range []m{{"name": "Readings", "route": "readings"}, {"name": "Alarms", "route": "alarms"}, {"name": "Commands", "route": "commands", "store": false}} {
		s.api(s.token, "POST", "/"+d.ID+"/channels", c, &made)
		channels[c["route"].(string)] = made.ID
	}
	var devices, secrets []string
	for i := range 24 {
		side := []string{"north", "south"}[i%2]
		var pump named
		s.api(s.token, "POST", "/"+d.ID+"/clients", m{"name": fmt.Sprintf("Pump %02d", i+1), "tags": []string{side, "pump"}}, &pump)
		devices, secrets = append(devices, pump.ID), append(secrets, pump.Credentials.Secret)
	}
	connect := func(devices []string, channel string, types ...string) {
		s.api(s.token, "POST", "/"+d.ID+"/channels/connect", m{"client_ids": devices, "channel_ids": []string{channels[channel]}, "types": types}, nil)
	}
	connect(devices, "readings", "publish")
	connect(devices[:12], "alarms", "publish")
	connect(devices[4:], "commands", "subscribe")
	s.api(s.token, "POST", "/"+d.ID+"/clients/"+devices[0]+"/certs", nil, nil)

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.pump(ctx, secrets)
	}()
	film := os.Getenv("POSTERN_FILM")
	if film == "" {
		film = filepath.Join(t.TempDir(), "film.png")
	}
	fleet, err := json.Marshal(m{"channel": channels["readings"], "device": devices[0]})
	if err != nil {
		t.Fatal(err)
	}
	s.browse(t, "film", "FLEET="+string(fleet), "FILM="+film, "STEPS="+os.Getenv("POSTERN_FILM_STEPS"))
	stop()
	<-done
}

// pump publishes readings of the devices, and now and then what is refused, until
// ctx ends.
func (s *server) pump(ctx context.Context, secrets []string) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		topic := "readings/pressure"
		if n%40 == 39 {
			topic = "valves" // there is no such channel
		}
		value := fmt.Sprintf(`{"bar":%.2f,"rpm":%d}`, 4+math.Sin(float64(n)/40), 1400+n%60)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:"+s.http+"/http/m/riverside/c/"+topic, strings.NewReader(value))
		if err != nil {
			return
		}
		req.Header.Set("Authorization", "Client "+secrets[n%len(secrets)])
		req.Header.Set("Content-Type", "application/json")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}
}
