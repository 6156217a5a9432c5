package mqtt

import (
	"context"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/postern-io/postern/adapters"
	"github.com/postern-io/postern/adapters/mqtt/wire"
	"github.com/postern-io/postern/messaging"
)

// subscribe decides on one filter and returns its code in the SUBACK.
func (c *conn) subscribe(ctx context.Context, f packets.Subscription) byte {
	code := c.subscribe5(ctx, f)
	if code >= 0x80 && c.version != wire.Version5 {
		return 0x80 // MQTT 3.1.1 §3.9.3 knows no other
	}
	return code
}

func (c *conn) subscribe5(ctx context.Context, f packets.Subscription) byte {
	raw := strings.Clone(f.Filter)
	if strings.HasPrefix(raw, "$") && !strings.HasPrefix(raw, "$share/") {
		return codeNotAuthorized // $SYS and the like are for operators
	}
	// Held from the decision until the subscription stands: a change between
	// the two would be looked into (recheck) before there is anything to see.
	c.session.subsMu.Lock()
	defer c.session.subsMu.Unlock()
	filter, err := c.gateway.CanSubscribe(ctx, raw)
	if err != nil {
		return answerTo(err).suback
	}
	sub := &subscription{
		session: c.session, raw: raw, filter: filter, prefix: prefixOf(raw),
		id: uint32(f.Identifier), qos: f.Qos, noLocal: f.NoLocal, asIs: f.RetainAsPublished,
	}
	existed, err := c.session.add(sub)
	if err != nil {
		return answerTo(err).suback
	}
	if filter.Group == "" && (f.RetainHandling == 0 || f.RetainHandling == 1 && !existed) {
		c.news = append(c.news, sub) // [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]
	}
	return f.Qos
}

// prefixOf returns the m/<domain>/c/<channel> of a valid filter, in the form in
// which the client wrote it: ids or routes.
func prefixOf(raw string) string {
	if rest, ok := strings.CutPrefix(raw, "$share/"); ok {
		_, raw, _ = strings.Cut(rest, "/")
	}
	end, slashes := 0, 0
	for ; end < len(raw); end++ {
		if raw[end] == '/' {
			if slashes++; slashes == 4 {
				break
			}
		}
	}
	return raw[:end]
}

// add adds or replaces a subscription [MQTT-3.8.4-3]. existed says which.
// s.subsMu is held.
func (s *session) add(sub *subscription) (existed bool, err error) {
	old := s.subs[sub.raw]
	switch {
	case s.closed:
		return false, errEnded
	case old == nil && len(s.subs) >= s.srv.limits.Subscriptions:
		return false, adapters.ErrLimited
	}
	if err := s.srv.hub.subscribe(sub); err != nil {
		return false, err
	}
	if old != nil { // after the new one, so that nothing is missed
		s.srv.hub.unsubscribe(old)
	}
	if s.subs == nil {
		s.subs = make(map[string]*subscription, 1)
	}
	s.subs[sub.raw] = sub
	return old != nil, nil
}

// unsubscribe returns the code of one filter in the UNSUBACK.
func (s *session) unsubscribe(raw string) byte {
	s.subsMu.Lock()
	defer s.subsMu.Unlock()
	sub := s.subs[raw]
	if sub == nil {
		return codeNoSubscription
	}
	s.srv.hub.unsubscribe(sub)
	delete(s.subs, sub.raw)
	return 0
}

// recheck asks again for every subscription, and ends those that are refused
// now. What waits from a channel that may not be heard any more is not sent. An
// error says that the answer cannot be had.
func (s *session) recheck(ctx context.Context, gateway *adapters.Session) error {
	s.subsMu.Lock()
	defer s.subsMu.Unlock()
	lost := false
	for raw, sub := range s.subs {
		filter, err := gateway.CanSubscribe(ctx, raw)
		switch k := adapters.KindOf(err); {
		case err == nil && filter == sub.filter:
			continue
		case k == adapters.Unavailable, k == adapters.Internal, k == adapters.Limited:
			return err
		}
		lost = true
		s.srv.hub.unsubscribe(sub)
		delete(s.subs, raw)
		if err != nil {
			continue
		}
		moved := *sub // the route leads to another channel now
		moved.filter = filter
		if err := s.srv.hub.subscribe(&moved); err != nil {
			return err
		}
		s.subs[raw] = &moved
	}
	if lost {
		s.keepAllowed()
	}
	return nil
}

// keepAllowed drops what waits from channels that are not subscribed any more.
// s.subsMu is held.
func (s *session) keepAllowed() {
	allowed := make(map[channelKey]bool, len(s.subs))
	for _, sub := range s.subs {
		allowed[sub.key()] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.keep(func(it *item) bool { return allowed[keyOf(it.message.Topic)] })
}

func keyOf(t messaging.Topic) channelKey { return channelKey{t.Domain, t.Channel} }
