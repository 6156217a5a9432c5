package pages

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"

	"github.com/postern-io/postern/adapters/api"
)

// A liveDeviceView is the part of a device's page that changes by itself.
type liveDeviceView struct {
	Sessions []api.ClientSession
	Unknown  string // why the sessions cannot be told
	Refusals []api.ClientRefusal
	Was      string // what the page has, as liveDevice is asked for it
}

// live asks who is connected as a device, and what it was refused.
func (v *visit) live(d deviceRecord, view *liveDeviceView) error {
	var (
		sessions api.ClientSessionPage
		refused  api.ClientRefusalPage
	)
	err := v.device(http.MethodGet, d.ID, "/sessions", nil, &sessions)
	if err == nil {
		err = v.device(http.MethodGet, d.ID, "/refusals", nil, &refused)
	}
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Status == http.StatusServiceUnavailable {
		view.Unknown, err = refusal.Message, nil // another node is away; the rest can be shown
	}
	if err != nil {
		return err
	}
	view.Sessions, view.Refusals = sessions.Sessions, refused.Refusals
	sum := fnv.New64a()
	_, _ = fmt.Fprint(sum, view.Sessions, view.Refusals, view.Unknown) // a hash takes all
	view.Was = fmt.Sprintf("%x", sum.Sum64())
	return nil
}

// liveDevice answers a page that asks what has changed: with nothing when
// nothing has, so that what the reader does there is not disturbed.
func liveDevice(v *visit, d deviceRecord) error {
	view := deviceView{listing: v.listing(), Device: d}
	view.Path = v.devicesPath() + "/" + d.ID
	if err := v.live(d, &view.liveDeviceView); err != nil {
		return err
	}
	if v.r.URL.Query().Get("was") == view.Was {
		v.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	v.send(http.StatusOK, "device", "device-live", page{Title: d.Title(), Tab: "devices", Data: view})
	return nil
}
