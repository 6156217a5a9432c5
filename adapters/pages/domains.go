package pages

import (
	"net/http"
	"net/url"

	"github.com/postern-io/postern/adapters/api"
)

// home leads to the one domain there is, or to the list.
func home(v *visit) error {
	var all api.DomainPage
	if err := v.ask(http.MethodGet, "/domains?limit=2", nil, &all); err != nil {
		return err
	}
	if all.Total == 1 {
		v.redirect(domainPath(all.Domains[0]))
		return nil
	}
	v.redirect("/domains")
	return nil
}

func domainPath(d domain) string { return "/domains/" + url.PathEscape(d.Route) }

type domainsView struct {
	listing
	Domains []domain
}

func (v *visit) domains() (domainsView, error) {
	view := domainsView{listing: v.listing("name", "status")}
	var all api.DomainPage
	if err := v.ask(http.MethodGet, "/domains"+view.ask(), nil, &all); err != nil {
		return view, err
	}
	view.Domains, view.Total = all.Domains, all.Total
	return view, nil
}

func listDomains(v *visit) error {
	view, err := v.domains()
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "domains", page{Title: "Domains", Data: view})
	return nil
}

func createDomain(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	in := map[string]string{"name": v.r.PostForm.Get("name")}
	if route := v.r.PostForm.Get("route"); route != "" {
		in["route"] = route
	}
	var made domain
	if err := v.ask(http.MethodPost, "/domains", in, &made); err != nil {
		view, e := v.domains()
		if e != nil {
			return e
		}
		return v.again(err, "domains", page{Title: "Domains", Data: view})
	}
	v.redirect(domainPath(made) + "/channels?done=created")
	return nil
}
