package pages

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/api"
)

// An overviewView is all of a domain's first page.
type overviewView struct {
	traffic
	Live    string // where news come from
	Devices int    // that there are
	Command string // that publishes a message
	Kinds   []api.HealthOfKind
}

// traffic is what a page remembers of a domain's traffic, for the reader's eyes.
type traffic struct {
	api.Traffic
}

const windowPoints = int(adapters.TrafficWindow / adapters.TrafficStep)

// add takes what came since.
func (t *traffic) add(news api.Traffic) {
	points := append(t.Points, news.Points...)
	t.Traffic = news
	t.Points = points[max(0, len(points)-windowPoints):]
}

// last returns the last n points.
func (t traffic) last(n int) []api.TrafficPoint { return t.Points[max(0, len(t.Points)-n):] }

// since is the time of the last point, as the API takes it; "" for none.
func (t traffic) since() string {
	if len(t.Points) == 0 {
		return ""
	}
	return t.Points[len(t.Points)-1].At.UTC().Format(time.RFC3339)
}

// Messages counts those of the window.
func (t traffic) Messages() (n int) {
	for _, p := range t.Points {
		n += p.Messages
	}
	return n
}

// A number is one of those on top of the page.
type number struct{ ID, Title, Value string }

// Numbers are what is so now: rates of the last step, refusals of the last
// minute, latencies of the last step of that minute that had any.
func (t traffic) Numbers() []number {
	var newest api.TrafficPoint
	if len(t.Points) > 0 {
		newest = t.Points[len(t.Points)-1]
	}
	refused, p50, p99 := 0, "–", "–"
	for _, p := range t.last(int(time.Minute / adapters.TrafficStep)) {
		refused += p.Refused
		if p.AckP50Ms != nil && p.AckP99Ms != nil {
			p50, p99 = milliseconds(*p.AckP50Ms), milliseconds(*p.AckP99Ms)
		}
	}
	return []number{
		{"devices", "Connected devices", strconv.Itoa(t.Devices)},
		{"sessions", "Sessions", strconv.Itoa(t.Sessions)},
		{"messages", "Messages per second", t.rate(newest.Messages)},
		{"stored", "Stored per second", t.rate(newest.Stored)},
		{"refused", "Refusals per minute", strconv.Itoa(refused)},
		{"p50", "Acknowledged in (p50)", p50},
		{"p99", "Acknowledged in (p99)", p99},
	}
}

// rate is how many came in a second of a step.
func (t traffic) rate(n int) string {
	perSecond := float64(n) / float64(max(1, t.Step))
	if perSecond == 0 || perSecond >= 100 {
		return strconv.FormatFloat(perSecond, 'f', 0, 64)
	}
	return strconv.FormatFloat(perSecond, 'f', 1, 64)
}

func milliseconds(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// chartRow is a point as overview.js draws it: seconds since 1970, devices, sessions,
// messages and stored by second, refusals, and both latencies or null.
func (t traffic) chartRow(p api.TrafficPoint) []any {
	step := float64(max(1, t.Step))
	return []any{p.At.Unix(), p.Devices, p.Sessions, float64(p.Messages) / step, float64(p.Stored) / step, p.Refused, p.AckP50Ms, p.AckP99Ms}
}

// chartRows are those after a time in seconds since 1970.
func (t traffic) chartRows(since int64) [][]any {
	rows := [][]any{}
	for _, p := range t.Points {
		if p.At.Unix() > since {
			rows = append(rows, t.chartRow(p))
		}
	}
	return rows
}

// Rows is all that the charts begin with, as JSON.
func (t traffic) Rows() (string, error) {
	text, err := json.Marshal(t.chartRows(0))
	return string(text), err
}

// askTraffic brings t up to date.
func (v *visit) askTraffic(t *traffic) error {
	path := v.inDomain("/traffic")
	if since := t.since(); since != "" {
		path += "?since=" + url.QueryEscape(since)
	}
	var news api.Traffic
	if err := v.ask(http.MethodGet, path, nil, &news); err != nil {
		return err
	}
	t.add(news)
	return nil
}

// showOverview is the first page of a domain.
func showOverview(v *visit) error {
	view := overviewView{Live: domainPath(v.domain) + "/live"}
	if err := v.askTraffic(&view.traffic); err != nil {
		return err
	}
	var devices devicePage
	if err := v.ask(http.MethodGet, v.inDomain("/clients?limit=1&status=all"), nil, &devices); err != nil {
		return err
	}
	view.Devices = devices.Total
	var health api.Health
	if err := v.ask(http.MethodGet, v.inDomain("/health"), nil, &health); err != nil {
		return err
	}
	for _, k := range health.Kinds {
		if k.Total > 0 {
			view.Kinds = append(view.Kinds, k)
		}
	}
	if view.Devices > 0 {
		var err error
		if view.Command, err = v.publishCommand(); err != nil {
			return err
		}
	}
	v.show(http.StatusOK, "overview", page{Title: "Overview", Tab: "overview", Data: view})
	return nil
}

// publishCommand publishes to a channel of the domain, with a device's id and
// secret put in.
func (v *visit) publishCommand() (string, error) {
	some, err := v.choice()
	if err != nil {
		return "", err
	}
	topic := "m/" + v.domain.Route + "/c/CHANNEL"
	if len(some.Channels) > 0 {
		topic = v.topic(some.Channels[0])
	}
	if line := v.mqtt(); line != "" {
		return "mosquitto_pub " + line + " -u DEVICE -P SECRET -t " + topic + " -q 1 -m 21.5", nil
	}
	web, _ := v.origin()
	return "curl -i -X POST -H 'Authorization: Client SECRET' " + web + "/http/" + topic + " -d 21.5", nil
}

// A bulletin is what a page that is open is told of each step.
type bulletin struct {
	Points  [][]any           `json:"points"`
	Now     map[string]string `json:"now"`
	Partial bool              `json:"partial,omitempty"`
	Reasons string            `json:"reasons,omitempty"` // the table, when it has changed
}

// bulletin tells what came after a time, in seconds since 1970. reasons is the
// table that the page has.
func (v *visit) bulletin(t traffic, since int64, reasons *string) (bulletin, error) {
	b := bulletin{Points: t.chartRows(since), Now: map[string]string{}, Partial: t.Partial}
	for _, n := range t.Numbers() {
		b.Now[n.ID] = n.Value
	}
	table, err := v.text("overview", "refused", page{Data: overviewView{traffic: t}})
	if err != nil {
		return b, err
	}
	if table != *reasons {
		b.Reasons, *reasons = table, table
	}
	return b, nil
}

// liveOverview sends a bulletin in every step.
func liveOverview(v *visit) error {
	since, _ := strconv.ParseInt(v.has("since"), 10, 64) // none: all
	var (
		t       traffic
		b       bulletin
		reasons string
	)
	return v.follow(func() int { return t.Step }, func(begun bool) (string, any, error) {
		switch err := v.askTraffic(&t); {
		case begun && isAway(err):
			b = bulletin{Points: [][]any{}, Now: b.Now, Partial: true} // of a moment ago
		case err != nil:
			return "", nil, err
		default:
			if b, err = v.bulletin(t, since, &reasons); err != nil {
				return "", nil, err
			}
		}
		if len(t.Points) > 0 {
			since = t.Points[len(t.Points)-1].At.Unix()
		}
		return strconv.FormatInt(since, 10), b, nil
	})
}

// kindTitle is what is the matter, in words.
func kindTitle(kind api.HealthKind) string {
	switch kind {
	case api.CertificateShared:
		return "Certificates in use at two addresses"
	case api.CertificateEnds:
		return "Certificates that end soon"
	case api.SecretNotTaken:
		return "New secrets that were never used"
	case api.SecretIdle:
		return "Old secrets that are no longer used"
	case api.SecretOld:
		return "Secrets older than a year"
	case api.CertificateOfDisabled:
		return "Good certificates of disabled devices"
	case api.CertificateUnused:
		return "Certificates that were never used"
	}
	return strings.ReplaceAll(string(kind), "_", " ")
}

// A healthView is what is the matter, and one page of what is so of one kind.
type healthView struct {
	listing
	Kinds    []api.HealthOfKind // all
	Kind     *api.HealthOfKind  // the one shown; nil: nothing is the matter
	Findings []api.Finding
}

// showHealth asks once when the kind is known: to count a large fleet takes a
// while.
func showHealth(v *visit) error {
	view := healthView{listing: v.listing("kind")}
	var health api.Health
	if err := v.ask(http.MethodGet, v.inDomain("/health"+view.ask()), nil, &health); err != nil {
		return err
	}
	chosen := view.Value("kind")
	for i := range health.Kinds {
		k := &health.Kinds[i]
		if chosen == string(k.Kind) || chosen == "" && view.Kind == nil && k.Total > 0 {
			view.Kind = k
		}
	}
	view.Kinds = health.Kinds
	if chosen == "" && view.Kind != nil {
		view.Query.Set("kind", string(view.Kind.Kind))
		if err := v.ask(http.MethodGet, v.inDomain("/health"+view.ask()), nil, &health); err != nil {
			return err
		}
	}
	view.Findings, view.Total = health.Findings, health.Total
	v.show(http.StatusOK, "health", page{Title: "Health", Tab: "overview", Data: view})
	return nil
}

// A refusalsView is whom the doors refused lately, for one reason or for any.
type refusalsView struct {
	Reason   string
	Refusals []api.ClientRefusal
}

func showRefusals(v *visit) error {
	view := refusalsView{Reason: v.r.URL.Query().Get("reason")}
	var all api.ClientRefusalPage
	if err := v.ask(http.MethodGet, v.inDomain("/refusals?reason="+url.QueryEscape(view.Reason)), nil, &all); err != nil {
		return err
	}
	view.Refusals = all.Refusals
	v.show(http.StatusOK, "refusals", page{Title: "Refusals", Tab: "overview", Data: view})
	return nil
}
