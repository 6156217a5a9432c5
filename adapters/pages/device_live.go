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
	Was      string // a sum of it all, which differs when any of it does
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
	view.Unknown = ""
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

// deviceStep is how often an open page of a device is told what is new, in seconds.
const deviceStep = 2

// deviceNews is what such a page is told.
type deviceNews struct {
	Was  string `json:"was"`
	HTML string `json:"html"`
}

// liveDevice sends the part of a device's page that changes by itself whenever it
// has changed.
func liveDevice(v *visit, d deviceRecord) error {
	was := v.has("was")
	view := deviceView{listing: v.listing(), Device: d}
	view.Path = v.devicesPath() + "/" + d.ID
	return v.follow(func() int { return deviceStep }, func(begun bool) (string, any, error) {
		if err := v.live(d, &view.liveDeviceView); err != nil && !(begun && isAway(err)) {
			return "", nil, err
		}
		if was == view.Was {
			return "", nil, nil
		}
		html, err := v.text("device", "device-live", page{Data: view})
		was = view.Was
		return was, deviceNews{was, html}, err
	})
}
