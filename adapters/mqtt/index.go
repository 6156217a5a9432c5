package mqtt

import (
	"slices"
	"strings"
)

// cached is how many subtopics an index remembers the listeners of.
const cached = 4096

// An index finds the subscriptions within one channel that match a subtopic. It
// is a tree of levels with a cache of whole answers before it, which every
// change empties: devices repeat their topics far more often than they
// subscribe. Its owner locks it.
type index struct {
	root  node
	cache map[string][]target
}

type node struct {
	children map[string]*node // + among them
	here     []*subscription  // filters that end here
	below    []*subscription  // filters that end with # here
}

func (x *index) add(sub *subscription) {
	clear(x.cache)
	n := &x.root
	for level := range levels(sub.filter.Subtopic) {
		if level == "#" {
			n.below = append(n.below, sub)
			return
		}
		child := n.children[level]
		if child == nil {
			child = &node{}
			if n.children == nil {
				n.children = make(map[string]*node, 1)
			}
			n.children[level] = child
		}
		n = child
	}
	n.here = append(n.here, sub)
}

// remove reports whether sub was there.
func (x *index) remove(sub *subscription) bool {
	clear(x.cache)
	return x.root.remove(sub, sub.filter.Subtopic, sub.filter.Subtopic != "")
}

func (n *node) remove(sub *subscription, filter string, more bool) bool {
	if !more {
		return take(&n.here, sub)
	}
	level, rest, more := strings.Cut(filter, "/")
	if level == "#" {
		return take(&n.below, sub)
	}
	child := n.children[level]
	if child == nil || !child.remove(sub, rest, more) {
		return false
	}
	if len(child.children) == 0 && len(child.here) == 0 && len(child.below) == 0 {
		delete(n.children, level)
	}
	return true
}

func take(list *[]*subscription, sub *subscription) bool {
	i := slices.Index(*list, sub)
	if i < 0 {
		return false
	}
	// Not in place: order of listeners is kept, and nobody else holds the list.
	*list = slices.Delete(*list, i, i+1)
	return true
}

// match returns who listens to subtopic, each session once. The answer is not
// changed afterwards and may be used without the owner's lock.
func (x *index) match(subtopic string) []target {
	if targets, ok := x.cache[subtopic]; ok {
		return targets
	}
	var found []*subscription
	x.root.match(subtopic, subtopic != "", &found)
	targets := merge(found)
	if x.cache == nil || len(x.cache) >= cached {
		x.cache = make(map[string][]target)
	}
	x.cache[subtopic] = targets
	return targets
}

func (n *node) match(topic string, more bool, found *[]*subscription) {
	*found = append(*found, n.below...) // # matches its parent too [MQTT-4.7.1-2]
	if !more {
		*found = append(*found, n.here...)
		return
	}
	level, rest, more := strings.Cut(topic, "/")
	if child := n.children[level]; child != nil {
		child.match(rest, more, found)
	}
	if child := n.children["+"]; child != nil {
		child.match(rest, more, found)
	}
}

// merge makes one target of all the subscriptions of a session.
func merge(found []*subscription) []target {
	targets := make([]target, 0, len(found))
	at := make(map[*session]int, len(found))
	for _, sub := range found {
		i, ok := at[sub.session]
		if !ok {
			i = len(targets)
			at[sub.session] = i
			targets = append(targets, target{session: sub.session, prefix: sub.prefix, qos: sub.qos, noLocal: true})
		}
		t := &targets[i]
		if sub.qos > t.qos {
			t.qos, t.prefix = sub.qos, sub.prefix
		}
		t.noLocal = t.noLocal && sub.noLocal // one filter that wants it is enough
		t.asIs = t.asIs || sub.asIs
		if sub.id > 0 {
			t.ids = append(t.ids, sub.id)
		}
	}
	for i := range targets {
		slices.Sort(targets[i].ids)
		targets[i].ids = slices.Compact(targets[i].ids)
	}
	return targets
}

// levels yields the levels of a subtopic; "" has none.
func levels(subtopic string) func(func(string) bool) {
	return func(yield func(string) bool) {
		if subtopic != "" {
			strings.SplitSeq(subtopic, "/")(yield)
		}
	}
}
