package httpd_test

import (
	"fmt"
	"testing"

	"github.com/postern-io/postern/adapters/adaptertest"
	"github.com/postern-io/postern/registry"
)

// TestSessionIsKept has a device publish again and again: its session stays
// open between the requests, and a change reaches it there.
func TestSessionIsKept(t *testing.T) {
	w, door, addr := open(t, nil)
	d := w.NewDevice(t, both)
	post := func(want int, headers string) {
		t.Helper()
		response, body := send(t, addr, fmt.Sprintf("POST /http/%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: 1\r\n\r\nx", adaptertest.Topic(w.Channel, ""), headers))
		if response.StatusCode != want {
			t.Errorf("got %s %s, want %d", response.Status, body, want)
		}
	}
	client := "Authorization: Client " + d.Secret + "\r\n"
	sessions := func(want int) {
		t.Helper()
		if n := len(w.Gateway.Sessions(d.ID)); n != want {
			t.Errorf("%d sessions are open, want %d", n, want)
		}
	}
	post(202, client)
	first := w.Gateway.Sessions(d.ID)
	post(202, client)
	if again := w.Gateway.Sessions(d.ID); len(first) != 1 || len(again) != 1 || first[0] != again[0] {
		t.Errorf("the sessions are %+v and then %+v, want one and the same", first, again)
	}
	post(401, client+"Authorization: Client "+w.NewDevice(t, both).Secret+"\r\n")
	sessions(1)

	channel, devices := []registry.ChannelID{w.Channel.ID}, []registry.DeviceID{d.ID}
	if err := w.Registry.Disconnect(t.Context(), w.Domain.ID, devices, channel, registry.Publish); err != nil {
		t.Fatal(err)
	}
	post(403, client)
	if err := w.Registry.Connect(t.Context(), w.Domain.ID, devices, channel, registry.Publish); err != nil {
		t.Fatal(err)
	}
	post(202, client)

	old := client
	client = "Authorization: Client " + w.Rotate(t, d, 0).Secret + "\r\n"
	sessions(0)
	post(401, old)
	post(202, client)
	w.Disable(t, d)
	sessions(0)
	post(401, client)

	other := w.NewDevice(t, both)
	post(202, "Authorization: Client "+other.Secret+"\r\n")
	if err := door.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(w.Gateway.Sessions(other.ID)); n != 0 {
		t.Errorf("%d sessions are open after Shutdown", n)
	}
}
