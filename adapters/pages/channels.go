package pages

import (
	"net/http"

	"github.com/postern-io/postern/adapters/api"
)

// inDomain is the API's path of the domain of the page.
func (v *visit) inDomain(path string) string { return "/" + v.domain.ID + path }

type channelsView struct {
	listing
	Channels []channel
}

func (v *visit) channels() (channelsView, error) {
	view := channelsView{listing: v.listing("name", "tag", "status")}
	var all api.ChannelPage
	if err := v.ask(http.MethodGet, v.inDomain("/channels"+view.ask()), nil, &all); err != nil {
		return view, err
	}
	view.Channels, view.Total = all.Channels, all.Total
	return view, nil
}

func listChannels(v *visit) error {
	view, err := v.channels()
	if err != nil {
		return err
	}
	v.showList("channels", "channel-list", page{Title: "Channels", Tab: "channels", Data: view})
	return nil
}

func createChannel(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	in := map[string]any{"name": v.r.PostForm.Get("name"), "store": v.r.PostForm.Get("kind") != "live"}
	if route := v.r.PostForm.Get("route"); route != "" {
		in["route"] = route
	}
	if err := v.ask(http.MethodPost, v.inDomain("/channels"), in, nil); err != nil {
		view, e := v.channels()
		if e != nil {
			return e
		}
		return v.again(err, "channels", page{Title: "Channels", Tab: "channels", Data: view})
	}
	v.redirect(v.r.URL.Path + "?done=created")
	return nil
}
