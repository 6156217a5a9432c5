package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/postern-io/postern/registry"
)

const (
	changesSubject = "postern.changes"
	// maxNotice bounds the changes in one notice, so that it fits a message.
	maxNotice = 1000
	// announceTimeout bounds how long an API call waits for the bus.
	announceTimeout = 2 * time.Second
	// readTimeout bounds the look at the database that a notice causes, and
	// learnAgain how long after one that failed, or how often anyway, all that
	// is revoked is read again.
	readTimeout = 5 * time.Second
	learnAgain  = time.Minute
)

// notices carries what the registry changed to the caches and sessions of every
// node: here at once, before the API answers; elsewhere over NATS. Notices that
// could not be sent or heard are made up for by forgetting everything when the
// connection is back.
type notices struct {
	house *house
	node  string
	stop  func()

	all    chan struct{} // asks the worker to forget everything
	unsent atomic.Bool   // a notice did not get out
	done   chan struct{}
}

// A notice is what travels on postern.changes.
type notice struct {
	Node    string            `json:"node"`
	Changes []registry.Change `json:"changes,omitempty"`
	All     bool              `json:"all,omitempty"` // more changed than could be said
}

func newNotices(h *house) *notices {
	return &notices{house: h, node: uuid.NewString(), all: make(chan struct{}, 1)}
}

// listen begins to hear other nodes. Until then nothing is announced.
func (n *notices) listen(ctx context.Context) error {
	stop, err := n.house.bus.OnNotice(changesSubject, n.heard)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.done = make(chan struct{})
	n.stop = func() { stop(); cancel(); <-n.done }
	go n.catchUp(ctx)
	return nil
}

func (n *notices) close() {
	if n.stop != nil {
		n.stop()
	}
}

// announce is registry.OnChange.
func (n *notices) announce(ctx context.Context, changes []registry.Change) {
	n.apply(ctx, changes)
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	for len(changes) > 0 {
		some := changes[:min(maxNotice, len(changes))]
		changes = changes[len(some):]
		if err := n.send(ctx, notice{Node: n.node, Changes: some}); err != nil {
			n.unsent.Store(true)
			n.house.log.Error("change not announced to other nodes; it will be when NATS is back", "err", err)
			return
		}
	}
}

func (n *notices) send(ctx context.Context, what notice) error {
	data, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return n.house.bus.Notify(ctx, changesSubject, data)
}

func (n *notices) apply(ctx context.Context, changes []registry.Change) {
	for _, c := range changes {
		n.house.users.Changed(c)
		n.certificate(ctx, c)
		n.settings(ctx, c)
	}
	n.house.gateway.Changed(ctx, changes)
	n.house.persons.Changed(changes)
}

// certificate takes the notice of a certificate or an authority, before the
// sessions are looked at. What cannot be read now is read when the worker looks
// at everything again.
func (n *notices) certificate(ctx context.Context, c registry.Change) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var err error
	switch {
	case c.Certificate != "":
		err = n.house.trust.Changed(ctx, c.Certificate)
	case c.Authority != "" && c.Domain == "":
		err = n.authorities(ctx)
	case c.Domain != "" && c.Device == "" && (c.Authority != "" || c.Gone && c.Channel == "" && c.User == ""):
		err = n.imported(ctx, c.Authority)
	}
	if err != nil {
		n.house.log.Warn("what changed could not be read; trying again", "err", err)
		n.lost()
	}
}

// settings takes the notice of settings of signing in.
func (n *notices) settings(ctx context.Context, c registry.Change) {
	if !c.Settings {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if err := n.house.signIn.reload(ctx); err != nil {
		n.house.log.Error("the changed settings of signing in could not be read; trying again", "err", err)
		n.lost()
	}
}

func (n *notices) authorities(ctx context.Context) error {
	if err := n.house.ca.Reload(ctx); err != nil {
		return err
	}
	return n.house.trustOurs()
}

// imported takes the notice of an imported authority; "" of several, with their
// domain.
func (n *notices) imported(ctx context.Context, id registry.AuthorityID) error {
	err := n.house.trust.LoadImported(ctx, n.house.store)
	if err != nil && id != "" {
		n.house.trust.Doubt(id) // on doubt, no
	}
	n.house.lists.look()
	return err
}

func (n *notices) heard(data []byte) {
	var what notice
	if err := json.Unmarshal(data, &what); err != nil {
		n.house.log.Error("unreadable change notice", "err", err)
		n.lost()
		return
	}
	switch {
	case what.Node == n.node:
	case what.All:
		n.lost()
	default:
		n.apply(context.Background(), what.Changes)
	}
}

// lost says that notices may have been missed.
func (n *notices) lost() {
	select {
	case n.all <- struct{}{}:
	default: // already asked for
	}
}

func (n *notices) catchUp(ctx context.Context) {
	defer close(n.done)
	tick := time.NewTicker(learnAgain)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C: // a notice may have been lost without a trace
			n.learn(ctx)
		case <-n.all:
			n.house.log.Warn("change notices may have been lost: looking at everything again")
			n.learn(ctx)
			n.house.users.ChangedAll()
			n.house.gateway.ChangedAll(ctx)
			n.house.persons.ChangedAll()
			if n.unsent.CompareAndSwap(true, false) {
				if err := n.send(ctx, notice{Node: n.node, All: true}); err != nil {
					n.unsent.Store(true)
				}
			}
		}
	}
}

// learn reads our authorities, all that is revoked, and the settings of signing
// in again. While the database is away what was known stays.
func (n *notices) learn(ctx context.Context) {
	if err := errors.Join(n.authorities(ctx), n.house.trust.Load(ctx), n.house.trust.LoadImported(ctx, n.house.store), n.house.signIn.reload(ctx)); err != nil && ctx.Err() == nil {
		n.house.log.Warn("what is revoked, or how people sign in, could not be read; next try in a minute", "err", err)
	}
}
