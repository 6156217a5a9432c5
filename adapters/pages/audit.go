package pages

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/postern-io/postern/adapters/api"
)

// auditFilters are those that the API offers; from and to are days here.
var auditFilters = []string{"action", "outcome", "actor", "object", "domain", "provider", "ip", "request", "from", "to"}

type auditView struct {
	listing
	Events []api.AuditEvent
	Wrong  *Refusal // a filter that will not do
}

// A filter is a field of the search.
type filter struct{ Name, Title string }

// More are the filters that are rarely wanted.
func (auditView) More() []filter {
	return []filter{
		{"actor", "Id of who did it"}, {"object", "Id of what it was done to"}, {"domain", "Id of the domain"},
		{"provider", "Way to sign in"}, {"ip", "Address"}, {"request", "Id of the request"},
	}
}

// Narrow reports whether one of them is set.
func (view auditView) Narrow() bool {
	return slices.ContainsFunc(view.More(), func(f filter) bool { return view.Value(f.Name) != "" })
}

func listAudit(v *visit) error {
	view := auditView{listing: v.listing(auditFilters...)}
	query := view.listing
	query.Query = url.Values{}
	for name, values := range view.Query {
		query.Query[name] = values
	}
	// A day, in UTC, is the whole of it.
	for name, days := range map[string]int{"from": 0, "to": 1} {
		if day, err := time.Parse(time.DateOnly, query.Value(name)); err == nil {
			query.Query.Set(name, day.AddDate(0, 0, days).Format(time.RFC3339))
		}
	}
	var all api.AuditPage
	err := v.ask(http.MethodGet, "/audit"+query.ask(), nil, &all)
	if refusal, ok := err.(*Refusal); ok && refusal.Status == http.StatusBadRequest {
		view.Wrong, err = refusal, nil
	}
	if err != nil {
		return err
	}
	view.Events, view.Total = all.Events, all.Total
	v.showList("audit", "audit-list", page{Title: "Audit", Tab: "audit", Data: view})
	return nil
}

type eventView struct {
	Event   api.AuditEvent
	Details []detail
}

type detail struct{ Name, Text string }

func showEvent(v *visit) error {
	var view eventView
	if err := v.ask(http.MethodGet, "/audit/"+url.PathEscape(v.r.PathValue("event")), nil, &view.Event); err != nil {
		return err
	}
	for name, value := range view.Event.Details {
		text, plain := value.(string)
		if !plain {
			b, err := json.MarshalIndent(value, "", "  ")
			if err != nil {
				return err
			}
			text = string(b)
		}
		view.Details = append(view.Details, detail{name, text})
	}
	slices.SortFunc(view.Details, func(a, b detail) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	v.show(http.StatusOK, "event", page{Title: "Event", Tab: "audit", Data: view})
	return nil
}
