package adapters

import (
	"cmp"
	"context"
	"time"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/messaging"
)

// Persons lets people speak and listen on channels, with their sign-in in place
// of a device's credential. It is safe for concurrent use.
type Persons struct {
	Users    *authn.Users
	People   *authz.People
	Channels *authz.Channels
	Bus      *messaging.Bus
	Now      func() time.Time

	listeners listeners
}

// PublishAs publishes m to topic for the person who holds the access token or
// API key, which came from that address, and waits until it is stored or, on a live channel, on the bus. The message says
// "user:<id>" where a device's says its id.
//
// Errors are those of authn.Users.VerifyFrom, authz and Session.PublishWait.
func (p *Persons) PublishAs(ctx context.Context, token, ip, topic string, m *messaging.Message) (seq uint64, err error) {
	person, err := p.Users.VerifyFrom(ctx, token, authn.Client{IP: ip})
	if err != nil {
		return 0, err
	}
	if person.Only != "" { // something else comes first
		return 0, &authz.DeniedError{Reason: person.Only}
	}
	return p.Speak(ctx, person, topic, m)
}

// Speak is PublishAs for somebody whom the caller has recognised.
func (p *Persons) Speak(ctx context.Context, person authn.Person, topic string, m *messaging.Message) (seq uint64, err error) {
	t, err := messaging.ParseTopic(topic)
	if err != nil {
		return 0, err
	}
	grant, err := p.allow(ctx, person, authz.Speak, t.Domain, t.Channel)
	if err != nil {
		return 0, err
	}
	t.Domain, t.Channel = string(grant.Domain), string(grant.Channel)
	m.Topic, m.Publisher, m.Protocol, m.Created = t, "user:"+string(person.User.ID), "http", p.Now()
	return published(ctx, func(done func(uint64, error)) {
		p.Bus.Lane(cmp.Or(string(person.Session.ID), string(person.Key))).Publish(m, grant.Store, done)
	})
}

// allow decides whether a person may do something on a channel. What is not
// there and what is not theirs look alike.
func (p *Persons) allow(ctx context.Context, who authn.Person, what authz.Action, domain, channel string) (authz.Grant, error) {
	grant, err := p.Channels.Open(ctx, domain, channel)
	if err != nil {
		return authz.Grant{}, err
	}
	return grant, p.People.Allow(ctx, who.User, what, grant.Domain)
}

// published waits for the one answer of a publish.
func published(ctx context.Context, publish func(done func(seq uint64, err error))) (uint64, error) {
	type answer struct {
		seq uint64
		err error
	}
	answers := make(chan answer, 1)
	publish(func(seq uint64, err error) { answers <- answer{seq, err} })
	select {
	case a := <-answers:
		return a.seq, a.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
