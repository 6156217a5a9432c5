package main

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/postern-io/postern/certs"
	"github.com/postern-io/postern/registry"
)

const (
	// listsEvery is how often is looked whether a list is due, and fetchAgain how
	// soon after one that could not be fetched.
	listsEvery = 30 * time.Second
	fetchAgain = time.Minute
	// fetchesAtOnce bounds the memory that lists take while they are read.
	fetchesAtOnce = 4
)

// lists fetches what imported authorities revoked, on every node: what one gets
// all share, over the database. It raises an alarm when a list is past its time.
type lists struct {
	house  *house
	client *http.Client
	wake   chan struct{}
	ends   *prometheus.GaugeVec

	mu    sync.Mutex
	known map[registry.AuthorityID]*listState
}

// A listState is what was said about a list, so that it is said once.
type listState struct {
	stale  bool
	failed string
	again  time.Time // not before
	url    string    // that this is about
}

func newLists(h *house) *lists {
	l := &lists{house: h, client: certs.ListClient(nil), wake: make(chan struct{}, 1), known: map[registry.AuthorityID]*listState{}}
	l.ends = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "postern_authority_list_ends_seconds",
		Help: "Unix time at which the CRL of an imported authority ends; 0 while there is none.",
	}, []string{"authority"})
	h.metrics.MustRegister(l.ends)
	return l
}

// look asks for a look at all lists now.
func (l *lists) look() {
	select {
	case l.wake <- struct{}{}:
	default: // already asked for
	}
}

// Run fetches until ctx ends.
func (l *lists) Run(ctx context.Context) error {
	tick := time.NewTicker(listsEvery)
	defer tick.Stop()
	for {
		if err := l.round(ctx); err != nil && ctx.Err() == nil {
			l.house.log.Warn("the lists of imported authorities could not be looked at", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		case <-tick.C:
		}
	}
}

func (l *lists) round(ctx context.Context) error {
	all, err := l.house.store.ImportedAuthorities(ctx, "")
	if err != nil {
		return err
	}
	found, err := l.house.store.ForeignLists(ctx)
	if err != nil {
		return err
	}
	heads := make(map[registry.AuthorityID]registry.ForeignList, len(found))
	for _, head := range found {
		heads[head.Authority] = head
	}
	l.watch(all, heads)
	var fetches errgroup.Group
	fetches.SetLimit(fetchesAtOnce)
	for _, a := range all {
		if a.ListURL == "" || !heads[a.ID].Due(time.Now()) || !l.mayFetch(a.ID) {
			continue
		}
		fetches.Go(func() error {
			l.fetched(ctx, a, l.fetch(ctx, a))
			return nil
		})
	}
	return fetches.Wait()
}

func (l *lists) fetch(ctx context.Context, a registry.ImportedAuthority) error {
	body, err := certs.FetchList(ctx, l.client, a.ListURL)
	if err != nil {
		return err
	}
	list, err := l.house.imports.List(a, body)
	if err != nil {
		return err
	}
	_, err = l.house.registry.PutForeignList(ctx, a.Domain, list)
	if errors.Is(err, registry.ErrNotFound) {
		return nil // it went meanwhile
	}
	return err
}

// watch raises the alarms: the measure, and one line in the log.
func (l *lists) watch(all []registry.ImportedAuthority, heads map[registry.AuthorityID]registry.ForeignList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := maps.Clone(l.known)
	for _, a := range all {
		head, got := heads[a.ID]
		if a.ListURL == "" && !got {
			continue // it revokes nothing
		}
		delete(gone, a.ID)
		ends := 0.0
		if got {
			ends = float64(head.NextUpdate.Unix())
		}
		l.ends.WithLabelValues(string(a.ID)).Set(ends)
		state := l.known[a.ID]
		if state == nil {
			state = &listState{}
			l.known[a.ID] = state
		}
		if state.url != a.ListURL { // another place may answer at once
			state.url, state.again, state.failed = a.ListURL, time.Time{}, ""
		}
		stale := got && !time.Now().Before(head.NextUpdate)
		if stale && !state.stale {
			l.house.log.Warn("the list of what an imported authority revoked is past its time", "authority", a.ID, "domain", a.Domain, "ended", head.NextUpdate, "policy", a.StaleList)
		}
		state.stale = stale
	}
	for id := range gone {
		delete(l.known, id)
		l.ends.DeleteLabelValues(string(id))
	}
}

func (l *lists) mayFetch(id registry.AuthorityID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[id] != nil && !time.Now().Before(l.known[id].again)
}

// fetched notes how a fetch went; what goes wrong is told once until it changes.
func (l *lists) fetched(ctx context.Context, a registry.ImportedAuthority, err error) {
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	state := l.known[a.ID]
	switch {
	case err == nil && state.failed != "":
		l.house.log.Info("the list of an imported authority is there again", "authority", a.ID, "domain", a.Domain)
		state.failed = ""
	case err == nil:
	default:
		state.again = time.Now().Add(fetchAgain)
		if state.failed != err.Error() {
			state.failed = err.Error()
			l.house.log.Warn("the list of an imported authority could not be fetched; trying again", "authority", a.ID, "domain", a.Domain, "policy", a.StaleList, "err", err)
		}
	}
}
