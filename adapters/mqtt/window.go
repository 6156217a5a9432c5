package mqtt

import (
	"cmp"
	"slices"
)

// A window holds the messages that were sent to a session and are not finished,
// by packet identifier. Identifiers count upwards, so a ring finds them; it
// grows to what is used, up to limit.
type window struct {
	limit int
	slots []sent
	n     int    // slots in use
	last  uint16 // identifier given last
	order uint64
	again []uint16 // to be sent again on this connection, oldest first
}

// room is how many more messages the client may be sent now.
func (w *window) room() int { return w.limit - w.n + len(w.again) }

// A sent is one message in flight. Its state is what the client owes.
type sent struct {
	item  item
	order uint64
	id    uint16
	state state
}

type state uint8

const (
	free    state = iota
	ackDue        // PUBACK or PUBREC
	compDue       // PUBCOMP
)

// add gives it an identifier. There is room.
func (w *window) add(it *item) (id uint16) {
	if w.n == len(w.slots) {
		w.grow()
	}
	for {
		if w.last++; w.last == 0 {
			w.last = 1
		}
		// There is a free slot, and a run of identifiers visits them all.
		if s := w.at(w.last); s.state == free {
			w.order++
			*s = sent{item: *it, order: w.order, id: w.last, state: ackDue}
			w.n++
			return w.last
		}
	}
}

func (w *window) at(id uint16) *sent { return &w.slots[int(id)&(len(w.slots)-1)] }

// find returns the message with an identifier, nil when there is none.
func (w *window) find(id uint16) *sent {
	if len(w.slots) == 0 {
		return nil
	}
	if s := w.at(id); s.state != free && s.id == id {
		return s
	}
	return nil
}

func (w *window) remove(s *sent) {
	*s = sent{}
	w.n--
}

func (w *window) grow() {
	old := w.slots
	w.slots = make([]sent, max(8, 2*len(old))) // a power of two
	for _, s := range old {
		if s.state != free {
			*w.at(s.id) = s // no two meet: they did not in half the room
		}
	}
}

// unfinished returns the identifiers in the order in which they were sent.
func (w *window) unfinished() []uint16 {
	ids := make([]uint16, 0, w.n)
	for i := range w.slots {
		if w.slots[i].state != free {
			ids = append(ids, w.slots[i].id)
		}
	}
	slices.SortFunc(ids, func(a, b uint16) int { return cmp.Compare(w.at(a).order, w.at(b).order) })
	return ids
}
