package pages

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/postern-io/postern/registry"
)

// An outcome is what became of something that was done to many devices.
type outcome struct {
	Done   string // such as "enabled"
	Worked int
	Failed []failure
}

// A failure names one of the many, and why.
type failure struct{ ID, Name, Reason string }

// Total is how many were chosen.
func (o outcome) Total() int { return o.Worked + len(o.Failed) }

// A deed is what can be done to many devices at once.
type deed struct {
	done string
	// need says what must be filled in beside; nil is nothing.
	need func(*visit) *Refusal
	do   func(v *visit, id string) error
}

var deeds = map[string]deed{
	"enable":  {"enabled", nil, func(v *visit, id string) error { return v.device(http.MethodPost, id, "/enable", nil, nil) }},
	"disable": {"disabled", nil, func(v *visit, id string) error { return v.device(http.MethodPost, id, "/disable", nil, nil) }},
	"tag":     {"tagged", needTags, addTags},
	"connect": {"connected", needChannel, func(v *visit, id string) error {
		return v.connect(id, v.r.PostForm.Get("channel"), rightsSent(v.r.PostForm))
	}},
	"delete": {"deleted", needRoute, func(v *visit, id string) error { return v.device(http.MethodDelete, id, "", nil, nil) }},
}

func needTags(v *visit) *Refusal {
	if len(tagsOf(v.r.PostForm.Get("add"))) == 0 {
		return mend("add", "Name the tags to add.")
	}
	return nil
}

func needChannel(v *visit) *Refusal {
	switch {
	case v.r.PostForm.Get("channel") == "":
		return mend("channel", "Choose a channel.")
	case len(rightsSent(v.r.PostForm)) == 0:
		return mend("channel", "Choose publish, subscribe or both.")
	}
	return nil
}

func needRoute(v *visit) *Refusal {
	if !same(v.r.PostForm.Get("confirm"), v.domain.Route) {
		return mend("confirm", "To delete, type the route of the domain: "+v.domain.Route)
	}
	return nil
}

// mend is what a person can put right in a field.
func mend(field, message string) *Refusal {
	return &Refusal{Status: http.StatusUnprocessableEntity, Word: "record_invalid", Field: field, Message: message}
}

// same compares a name with what was typed to confirm it, but for white space,
// of which a page does not show how much there is.
func same(typed, name string) bool {
	return slices.Equal(strings.Fields(typed), strings.Fields(name))
}

// rightsSent are the rights whose boxes were ticked.
func rightsSent(sent url.Values) []string {
	var types []string
	for _, right := range []string{"publish", "subscribe"} {
		if sent.Get(right) != "" {
			types = append(types, right)
		}
	}
	return types
}

// addTags is no single step of the API: who changes the tags in between loses.
func addTags(v *visit, id string) error {
	var d deviceRecord
	if err := v.device(http.MethodGet, id, "", nil, &d); err != nil {
		return err
	}
	tags := append(d.Tags, tagsOf(v.r.PostForm.Get("add"))...)
	return v.device(http.MethodPatch, id, "/tags", map[string]any{"tags": tags}, nil)
}

// device asks the API about one device.
func (v *visit) device(method, id, rest string, in, out any) error {
	if _, err := registry.ParseID(id); err != nil { // a path could mean something else
		return &Refusal{Status: http.StatusNotFound, Word: "record_not_found", Message: "There is no such device."}
	}
	return v.ask(method, v.inDomain("/clients/"+id+rest), in, out)
}

// bulkDevices does one thing to the chosen devices, at most a page of them. One
// that fails does not hold up the others.
func bulkDevices(v *visit) error {
	if err := v.posted(); err != nil {
		return err
	}
	chosen, what := v.r.PostForm["device"], v.r.PostForm.Get("do")
	act, known := deeds[what]
	var problem *Refusal
	switch {
	case !known:
		problem = mend("do", "Choose what to do.")
	case len(chosen) == 0:
		problem = mend("device", "Choose devices in the list first.")
	case len(chosen) > perPage:
		problem = mend("device", fmt.Sprintf("Choose at most %d devices.", perPage))
	case act.need != nil:
		problem = act.need(v)
	}
	if problem != nil {
		return v.devicesAgain(problem)
	}
	names := map[string]string{}
	if before, err := v.devices(); err == nil {
		for _, d := range before.Devices {
			names[d.ID] = d.Name
		}
	}
	result := outcome{Done: act.done}
	for _, id := range chosen {
		err := act.do(v, id)
		if err == nil {
			result.Worked++
			continue
		}
		result.Failed = append(result.Failed, failure{id, names[id], v.told(err).Message})
	}
	view, err := v.devices()
	if err != nil {
		return err
	}
	view.Outcome = &result
	v.show(http.StatusOK, "devices", page{Title: "Devices", Tab: "devices", Data: view})
	return nil
}
