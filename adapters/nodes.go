package adapters

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/messaging"
	"github.com/postern-io/postern/registry"
)

const (
	nodesSubject = "postern.nodes"
	// helloEvery is how often a node says that it is there, forgottenAfter how
	// long after its last word it is taken for gone.
	helloEvery     = 5 * time.Second
	forgottenAfter = 3 * helloEvery
	// answerWithin bounds the wait for other nodes: one that does not answer
	// leaves a gap in a list, not a hanging page.
	answerWithin = time.Second
)

// Nodes asks all gateways of a cluster as if they were one: who is connected
// where, what happens in a domain and whom the doors refused; it ends sessions
// wherever they are. Join it, then have Run running while it is used; it is safe
// for concurrent use.
type Nodes struct {
	Gateway *Gateway
	Bus     *messaging.Bus
	Log     *slog.Logger

	node    string
	stop    func()
	mu      sync.Mutex
	others  map[string]time.Time // when each was last heard
	waiting map[string]chan nodeWord
}

// nodeWord is what nodes say to each other.
type nodeWord struct {
	Node     string            `json:"node"`
	Ask      string            `json:"ask,omitempty"`    // a question's id
	Answer   string            `json:"answer,omitempty"` // the id of the question answered
	Device   registry.DeviceID `json:"device,omitempty"`
	End      string            `json:"end,omitempty"` // the session to end; without, all are listed
	Sessions []SessionInfo     `json:"sessions,omitempty"`
	Bye      bool              `json:"bye,omitempty"`

	// What a question is about. A node that does not know it answers with
	// sessions, of which a question without End ends none.
	About    string            `json:"about,omitempty"`
	Domain   registry.DomainID `json:"domain,omitempty"`
	Reason   registry.Reason   `json:"reason,omitempty"`
	Since    time.Time         `json:"since,omitzero"`
	Traffic  *Traffic          `json:"traffic,omitempty"`
	Refusals []Refusal         `json:"refusals,omitempty"`
}

// The questions beside that for sessions, which has no name.
const (
	aboutTraffic  = "traffic"
	aboutRefusals = "refusals"
)

// Join begins to listen to the other nodes. Call it once, before all else.
func (n *Nodes) Join() (err error) {
	n.node = uuid.NewString()
	n.others, n.waiting = map[string]time.Time{}, map[string]chan nodeWord{}
	n.stop, err = n.Bus.OnNotice(nodesSubject, n.heard)
	return err
}

// Run greets the other nodes until ctx ends.
func (n *Nodes) Run(ctx context.Context) error {
	defer n.stop()
	tick := time.NewTicker(helloEvery)
	defer tick.Stop()
	for {
		n.say(ctx, nodeWord{})
		select {
		case <-tick.C:
		case <-ctx.Done():
			n.say(context.WithoutCancel(ctx), nodeWord{Bye: true})
			return nil
		}
	}
}

func (n *Nodes) say(ctx context.Context, w nodeWord) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	w.Node = n.node
	data, err := json.Marshal(w)
	if err == nil {
		err = n.Bus.Notify(ctx, nodesSubject, data)
	}
	if err != nil {
		n.Log.Debug("not heard by other nodes", "err", err)
	}
}

func (n *Nodes) heard(data []byte) {
	var w nodeWord
	if err := json.Unmarshal(data, &w); err != nil {
		n.Log.Error("unreadable word from another node", "err", err)
		return
	}
	if w.Node == n.node {
		return
	}
	n.mu.Lock()
	_, known := n.others[w.Node]
	if w.Bye {
		delete(n.others, w.Node)
	} else {
		n.others[w.Node] = time.Now()
	}
	answer := n.waiting[w.Answer]
	n.mu.Unlock()
	switch {
	case w.Ask != "":
		answer := n.answer(w)
		answer.Answer = w.Ask
		n.say(context.Background(), answer)
	case answer != nil:
		select {
		case answer <- w:
		default: // nobody waits any longer
		}
	case !known && !w.Bye:
		n.say(context.Background(), nodeWord{}) // so that a newcomer knows us at once
	}
}

// answer is what this node knows.
func (n *Nodes) answer(question nodeWord) nodeWord {
	switch question.About {
	case "":
		return nodeWord{Sessions: n.local(question.Device, question.End)}
	case aboutTraffic:
		t := n.Gateway.Traffic(question.Domain, question.Since)
		return nodeWord{Traffic: &t}
	case aboutRefusals:
		return nodeWord{Refusals: n.Gateway.Refusals(RefusalQuery{question.Domain, question.Device, question.Reason})}
	}
	return nodeWord{} // of a later version; so that it does not wait
}

// local lists the sessions of a device on this node, or ends the one named and
// lists it alone.
func (n *Nodes) local(device registry.DeviceID, end string) []SessionInfo {
	open := n.Gateway.Sessions(device)
	if end == "" {
		return open
	}
	open = slices.DeleteFunc(open, func(s SessionInfo) bool { return s.ID != end })
	if len(open) > 0 {
		n.Gateway.EndSession(device, end)
	}
	return open
}

// Sessions returns the open sessions of a device on all nodes, the oldest first.
// A node that does not answer within a second is left out.
func (n *Nodes) Sessions(ctx context.Context, device registry.DeviceID) ([]SessionInfo, error) {
	return n.ask(ctx, device, "")
}

// EndSession ends one session of a device, on whichever node it is. It is
// registry.ErrNotFound when there is none. The device may come back: this is no
// revocation.
func (n *Nodes) EndSession(ctx context.Context, device registry.DeviceID, id string) error {
	ended, err := n.ask(ctx, device, id)
	if err == nil && len(ended) == 0 {
		err = registry.ErrNotFound
	}
	return err
}

func (n *Nodes) ask(ctx context.Context, device registry.DeviceID, end string) ([]SessionInfo, error) {
	all := n.local(device, end)
	if others := n.reachable(); others > 0 && (end == "" || len(all) == 0) {
		for _, w := range n.askOthers(ctx, others, nodeWord{Device: device, End: end}) {
			all = append(all, w.Sessions...)
		}
	}
	slices.SortFunc(all, func(a, b SessionInfo) int { return a.Opened.Compare(b.Opened) })
	return all, ctx.Err()
}

// Refusals returns what devices were refused lately on all nodes, the latest
// first. A node that does not answer within a second is left out.
func (n *Nodes) Refusals(ctx context.Context, q RefusalQuery) ([]Refusal, error) {
	var all []Refusal
	answers, _ := n.everywhere(ctx, nodeWord{About: aboutRefusals, Domain: q.Domain, Device: q.Device, Reason: q.Reason})
	for _, w := range answers {
		for _, r := range w.Refusals {
			all = fold(all, r)
		}
	}
	return q.latest(all), ctx.Err()
}

// Traffic tells what happened in a domain on all nodes: one point for each step
// that began after since and is over, at most those of TrafficWindow. A node that
// does not answer within a second makes the answer partial.
func (n *Nodes) Traffic(ctx context.Context, domain registry.DomainID, since time.Time) (Traffic, error) {
	var sum Traffic
	now := n.Gateway.Now()
	answers, missing := n.everywhere(ctx, nodeWord{About: aboutTraffic, Domain: domain, Since: since})
	for _, w := range answers {
		if w.Traffic == nil { // a node of an older version
			sum.Partial = true
			continue
		}
		sum.merge(*w.Traffic)
	}
	sum.Partial = sum.Partial || missing
	sum.fill(since, now)
	return sum, ctx.Err()
}

// everywhere is the answer of this node and those of the others.
func (n *Nodes) everywhere(ctx context.Context, question nodeWord) (answers []nodeWord, missing bool) {
	answers = append(answers, n.answer(question))
	others := n.reachable()
	if others > 0 {
		answers = append(answers, n.askOthers(ctx, others, question)...)
	}
	return answers, len(answers) <= others
}

func (n *Nodes) askOthers(ctx context.Context, others int, question nodeWord) []nodeWord {
	id, answers := uuid.NewString(), make(chan nodeWord, others)
	n.mu.Lock()
	n.waiting[id] = answers
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.waiting, id)
		n.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	question.Ask = id
	n.say(ctx, question)
	var all []nodeWord
	for range others {
		select {
		case w := <-answers:
			all = append(all, w)
		case <-ctx.Done():
			return all
		}
	}
	return all
}

// reachable counts the other nodes that were heard of lately.
func (n *Nodes) reachable() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	gone := time.Now().Add(-forgottenAfter)
	maps.DeleteFunc(n.others, func(_ string, heard time.Time) bool { return heard.Before(gone) })
	return len(n.others)
}
