package pages

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/postern-io/postern/authz"
)

// A domainRecord is a domain with its metadata as they are written.
type domainRecord struct {
	domain
	Metadata json.RawMessage `json:"metadata"`
}

type domainView struct {
	Record   domainRecord
	Metadata string
	Frozen   string // why nothing can be changed
}

// Tags are the tags as a person edits them.
func (v domainView) Tags() string { return strings.Join(v.Record.Tags, ", ") }

func (v *visit) domainSettings() (page, error) {
	var view domainView
	if err := v.ask(http.MethodGet, "/domains/"+v.domain.ID, nil, &view.Record); err != nil {
		return page{}, err
	}
	view.Metadata = metadataText(view.Record.Metadata, "  ")
	if view.Record.Status == "frozen" {
		view.Frozen = "The domain is frozen."
	}
	return page{Title: "Settings", Tab: "settings", Data: view}, nil
}

// WhyNot is the first reason that there is.
func (domainView) WhyNot(reasons ...string) string { return personView{}.WhyNot(reasons...) }

// WhyThaw tells why the caller may not enable or disable the domain: a frozen one
// is the platform's matter.
func (v domainView) WhyThaw(m me) string {
	if v.Frozen != "" {
		if why := m.Why(string(authz.DomainFreeze)); why != "" {
			return "The domain is frozen by the platform. " + why
		}
	}
	return m.Why(string(authz.DomainState))
}

func showDomain(v *visit) error {
	p, err := v.domainSettings()
	if err != nil {
		return err
	}
	v.show(http.StatusOK, "settings", p)
	return nil
}

// domainActs are the forms of the domain's settings. Each returns where to go on
// below the domain, or above it with a slash.
var domainActs = map[string]func(*visit) (string, error){
	"edit":    editDomain,
	"enable":  domainState("enabled"),
	"disable": domainState("disabled"),
	"freeze":  domainState("frozen"),
	"delete":  deleteDomain,
}

func changeDomain(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	do, known := domainActs[v.r.PathValue("act")]
	if !known {
		return &Refusal{Status: http.StatusNotFound, Message: "There is no such thing to do here."}
	}
	v.r.PostForm.Set("act", v.r.PathValue("act"))
	to, err := do(v)
	if err != nil {
		p, e := v.domainSettings()
		if e != nil {
			return e
		}
		return v.again(err, "settings", p)
	}
	v.redirect(to)
	return nil
}

func editDomain(v *visit) (string, error) {
	sent := v.r.PostForm
	metadata, problem := sentMetadata(sent)
	if problem != nil {
		return "", problem
	}
	var now domain // the route may be another one
	err := v.ask(http.MethodPatch, "/domains/"+v.domain.ID, map[string]any{
		"name": sent.Get("name"), "route": sent.Get("route"), "tags": tagsOf(sent.Get("tags")), "metadata": metadata,
	}, &now)
	return domainPath(now) + "/settings?done=saved", err
}

func domainState(to string) func(*visit) (string, error) {
	words := map[string]string{"enabled": "enable", "disabled": "disable", "frozen": "freeze"}
	return func(v *visit) (string, error) {
		if to != "enabled" {
			if err := v.named(v.domain.Name); err != nil {
				return "", err
			}
		}
		return domainPath(v.domain) + "/settings?done=" + to, v.ask(http.MethodPost, "/domains/"+v.domain.ID+"/"+words[to], nil, nil)
	}
}

func deleteDomain(v *visit) (string, error) {
	if err := v.named(v.domain.Name); err != nil {
		return "", err
	}
	return "/domains?done=deleted", v.ask(http.MethodDelete, "/domains/"+v.domain.ID, nil, nil)
}
