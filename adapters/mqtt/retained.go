package mqtt

import (
	"bytes"
	"sync"
	"time"

	"github.com/postern-io/postern/messaging"
)

// retained keeps the last retained message of each topic, in memory and within
// a bound. It is told of a message after the bus has it.
type retained struct {
	srv *Server

	mu       sync.Mutex
	channels map[channelKey]map[string]*kept // by subtopic
	count    int
	bytes    int
}

type kept struct {
	message *messaging.Message
	expires time.Time
}

// published takes a message that is on the bus, when its publisher asked for it
// to be retained. An empty payload clears the topic [MQTT-3.3.1-6].
func (r *retained) published(m *messaging.Message) {
	if !m.Retain {
		return
	}
	key := channelKey{m.Topic.Domain, m.Topic.Channel}
	now := r.srv.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.channels[key][m.Topic.Subtopic]
	if old != nil && old.message.Created.After(m.Created) {
		return // the bus's answers to two publishers may cross
	}
	if len(m.Payload) == 0 {
		r.remove(key, m.Topic.Subtopic)
		return
	}
	count, size := r.count, r.bytes
	if old != nil {
		count, size = count-1, size-len(old.message.Payload)
	}
	if count >= r.srv.limits.Retained || size+len(m.Payload) > r.srv.limits.RetainedBytes {
		r.srv.Metrics.lost(lostRetained)
		return
	}
	r.remove(key, m.Topic.Subtopic)
	if r.channels[key] == nil {
		r.channels[key] = make(map[string]*kept)
	}
	keep := *m
	keep.Payload = bytes.Clone(m.Payload)
	r.channels[key][m.Topic.Subtopic] = &kept{&keep, expiry(m, now)}
	r.count, r.bytes = r.count+1, r.bytes+len(m.Payload)
}

// remove forgets a topic. r.mu is held.
func (r *retained) remove(key channelKey, subtopic string) {
	old := r.channels[key][subtopic]
	if old == nil {
		return
	}
	r.count, r.bytes = r.count-1, r.bytes-len(old.message.Payload)
	delete(r.channels[key], subtopic)
	if len(r.channels[key]) == 0 {
		delete(r.channels, key)
	}
}

// sweep forgets what has expired.
func (r *retained) sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, topics := range r.channels {
		for subtopic, k := range topics {
			if !k.expires.IsZero() && !now.Before(k.expires) {
				r.remove(key, subtopic)
			}
		}
	}
}

// matching returns what a new subscription has to be told.
func (r *retained) matching(f messaging.Filter, now time.Time) []*kept {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*kept
	for _, k := range r.channels[channelKey{f.Domain, f.Channel}] {
		if f.Matches(k.message.Topic) && (k.expires.IsZero() || now.Before(k.expires)) {
			found = append(found, k)
		}
	}
	return found
}

// send tells the session of sub what is retained [MQTT-3.3.1-9].
func (r *retained) send(sub *subscription) {
	f := newFan(r.srv.now())
	defer f.free()
	var ids []uint32
	if sub.id > 0 {
		ids = []uint32{sub.id}
	}
	for _, k := range r.matching(sub.filter, f.now) {
		it := item{
			message: k.message, expires: k.expires, prefix: sub.prefix, ids: ids,
			qos: min(sub.qos, k.message.QoS), retain: true,
		}
		f.arena, f.forms = f.arena[:0], f.forms[:0]
		sub.session.deliver(f, &it)
	}
}
