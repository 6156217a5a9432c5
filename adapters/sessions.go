package adapters

import (
	"maps"
	"slices"
	"sync"

	"github.com/postern-io/postern/registry"
)

// sessions holds the open sessions of this node by what a change can name.
type sessions struct {
	mu        sync.Mutex
	byDevice  index[registry.DeviceID]
	byDomain  index[registry.DomainID]
	byChannel index[registry.ChannelID]
}

type index[K comparable] map[K]map[*Session]struct{}

func (x *index[K]) add(k K, s *Session) {
	if *x == nil {
		*x = make(index[K])
	}
	set := (*x)[k]
	if set == nil {
		set = make(map[*Session]struct{}, 1)
		(*x)[k] = set
	}
	set[s] = struct{}{}
}

func (x index[K]) remove(k K, s *Session) {
	set := x[k]
	delete(set, s)
	if len(set) == 0 {
		delete(x, k)
	}
}

// add registers s unless its device has limit sessions already.
func (t *sessions) add(s *Session, limit int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.byDevice[s.device.ID]) >= limit {
		return false
	}
	t.byDevice.add(s.device.ID, s)
	t.byDomain.add(s.device.Domain, s)
	s.traffic.entered(1, len(t.byDevice[s.device.ID]) == 1)
	return true
}

// subscribe notes that s listens to a channel. A session listens to few, so a
// list will do; it is kept until the session ends.
func (t *sessions) subscribe(s *Session, c registry.ChannelID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slices.Contains(s.channels, c) {
		return
	}
	if _, open := t.byDevice[s.device.ID][s]; !open {
		return
	}
	s.channels = append(s.channels, c)
	t.byChannel.add(c, s)
}

func (t *sessions) remove(s *Session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byDevice.remove(s.device.ID, s)
	t.byDomain.remove(s.device.Domain, s)
	s.traffic.entered(-1, len(t.byDevice[s.device.ID]) == 0)
	for _, c := range s.channels {
		t.byChannel.remove(c, s)
	}
	s.channels = nil
}

func (t *sessions) ofDevice(id registry.DeviceID) []*Session   { return list(t, &t.byDevice, id) }
func (t *sessions) inDomain(id registry.DomainID) []*Session   { return list(t, &t.byDomain, id) }
func (t *sessions) onChannel(id registry.ChannelID) []*Session { return list(t, &t.byChannel, id) }

func list[K comparable](t *sessions, x *index[K], k K) []*Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys((*x)[k]))
}

func (t *sessions) all() []*Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*Session
	for _, set := range t.byDomain {
		all = slices.AppendSeq(all, maps.Keys(set))
	}
	return all
}

func (t *sessions) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, set := range t.byDomain {
		n += len(set)
	}
	return n
}
